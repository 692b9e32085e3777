"""Runs in a store: their rows, attempts, names and labels, and how runs are found."""
