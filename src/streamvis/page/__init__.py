"""The half for pages: `Server` runs an author's two functions in a Bokeh document, `NewData` is what they get.

`live_source` makes a source that needs no code to be filled.
"""

from streamvis.page.new_data import NewData
from streamvis.page.server import Server
from streamvis.page.sources import live_source

__all__ = ["NewData", "Server", "live_source"]
