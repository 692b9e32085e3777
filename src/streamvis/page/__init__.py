"""The half for pages: `Server` runs an author's two functions in a Bokeh document, `NewData` is what they get."""

from streamvis.page.new_data import NewData
from streamvis.page.server import Server

__all__ = ["NewData", "Server"]
