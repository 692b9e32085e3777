"""Rules for series of numbers: which rows or steps stand for all of them, and how they are smoothed. Pure."""
