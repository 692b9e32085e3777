"""The producer's half: `Client`, and what carries its records to the endpoint."""

from streamvis.client.client import Client

__all__ = ["Client"]
