"""The test harness: real processes, a real browser, and conditions with deadlines instead of sleeps."""
