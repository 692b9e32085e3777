"""What pages are made of: panels that fill themselves.

Each function returns a Bokeh model to put into any layout or to pass to `doc.add_root`. A panel follows its run, can be read in
light and dark, and is bounded however long the run: it works as a live source does. Options that a panel does not name go to the
Bokeh model that it makes.
"""

from streamvis.panels.board import board, card
from streamvis.panels.config import config, tree
from streamvis.panels.curves import curves
from streamvis.panels.histograms import histograms
from streamvis.panels.images import images
from streamvis.panels.matrix import matrix
from streamvis.panels.numbers import numbers
from streamvis.panels.points import points
from streamvis.panels.sound import audio
from streamvis.panels.table import table
from streamvis.panels.text import text

__all__ = [
    "audio",
    "board",
    "card",
    "config",
    "curves",
    "histograms",
    "images",
    "matrix",
    "numbers",
    "points",
    "table",
    "text",
    "tree",
]
