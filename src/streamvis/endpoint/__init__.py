"""The endpoint: the REST server, and the only process that touches the store."""

from streamvis.endpoint.process import run_endpoint

__all__ = ["run_endpoint"]
