"""Reading runs from a script, and taking them out of an endpoint and back in."""

from streamvis.reading.following import Update
from streamvis.reading.runs import Reader, Run, Runs

__all__ = ["Reader", "Run", "Runs", "Update"]
