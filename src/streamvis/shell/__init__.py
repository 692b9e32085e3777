"""The frame around pages: the run list, the bar, and the program in the browser that swaps one load of a page for the next.

Knows pages and what the endpoint answers; nothing knows it but the program that starts the page server.
"""

from streamvis.shell.routes import shell_routes

__all__ = ["shell_routes"]
