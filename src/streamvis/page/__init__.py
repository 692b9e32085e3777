"""The half for pages: `Server` runs an author's two functions in a Bokeh document, `NewData` is what they get.

`live_source` and `band_source` make sources that need no code to be filled, and `runs` lists the runs of a page's app.
"""

from streamvis.page.new_data import NewData
from streamvis.page.runs import runs
from streamvis.page.server import Server
from streamvis.page.sources import band_source, live_source

__all__ = ["NewData", "Server", "band_source", "live_source", "runs"]
