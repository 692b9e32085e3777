"""The producer's half: `Client`, what carries its records to the endpoint, and `run` and `log`, which need no client."""

from streamvis.client.active import log, run
from streamvis.client.client import Client

__all__ = ["Client", "log", "run"]
