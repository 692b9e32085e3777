"""An author's code: how it is run, what it may ask of the endpoint, and how its errors read."""
