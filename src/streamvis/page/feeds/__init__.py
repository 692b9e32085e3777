"""From the endpoint to a session: the `reader`, one `feed` per run for all sessions, an `inbox` for each, and the past."""
