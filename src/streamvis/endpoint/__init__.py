"""The endpoint: the REST server, and the only process that touches the store."""

from streamvis.endpoint.app import create_app
from streamvis.endpoint.limits import Limits
from streamvis.endpoint.serve import run_endpoint

__all__ = ["Limits", "create_app", "run_endpoint"]
