"""Damage: how it is noticed, how a whole store is checked, and what can still be saved."""
