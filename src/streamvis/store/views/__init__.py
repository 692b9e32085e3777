"""A key's past for a screen: what is kept of many rows, how columns are smoothed, and what several runs have in common."""
