"""The client in its process: how it was launched, its threads, how it ends, and signals that the main thread does not hear."""
