"""Waves on a pond: an image, a cross-section where the viewer taps, and the energy over all steps.

streamvis serve page.py
"""

import numpy as np
from bokeh.events import Tap
from bokeh.layouts import column, row
from bokeh.models import ColorBar, ColumnDataSource, LinearColorMapper, Span
from bokeh.palettes import Blues256, Oranges256, diverging_palette
from bokeh.plotting import figure

from streamvis import live_source

app = "field"

LIMIT = 0.2  # heights beyond it have the strongest color
COLORS = diverging_palette(Blues256, Oranges256, 256)


def init_page(doc, config):
    doc.title = "Waves"
    size = config["size"]
    field = ColumnDataSource({"image": [np.zeros((size, size), np.float32)]}, name="field")
    cut = ColumnDataSource({"x": np.arange(size), "height": np.zeros(size)}, name="cut")
    energy = live_source("energy", columns=["energy"], name="energy")

    mapper = LinearColorMapper(COLORS, low=-LIMIT, high=LIMIT)
    pond = figure(title="Height; tap to cut", width=635, height=520, x_range=(0, size), y_range=(0, size), tools="tap,reset,save")
    pond.image("image", x=0, y=0, dw=size, dh=size, color_mapper=mapper, source=field)
    pond.add_layout(ColorBar(color_mapper=mapper, title="height"), "right")
    line = Span(dimension="width", location=size // 2, line_color="#333333", line_dash="dashed", name="line")
    pond.add_layout(line)

    small = {"width": 620, "height": 255}
    section = figure(title="Height along the cut", x_range=pond.x_range, y_range=(-LIMIT, LIMIT), tools="save", **small)
    section.line("x", "height", source=cut, line_width=2)
    history = figure(title="Energy", x_axis_label="step", y_axis_type="log", **small)
    history.line("step", "energy", source=energy, line_width=2, color="#d1495b")

    def choose(event):
        line.location = int(np.clip(event.y, 0, size - 1))
        show_cut(doc)

    pond.on_event(Tap, choose)
    doc.add_root(row(pond, column(section, history)))


def update_page(doc, new_data):
    if "field" in new_data:
        doc.get_model_by_name("field").data = {"image": [new_data["field"]["height"]]}
        show_cut(doc)


def show_cut(doc):
    (heights,) = doc.get_model_by_name("field").data["image"]
    at = int(doc.get_model_by_name("line").location)
    doc.get_model_by_name("cut").data = {"x": np.arange(len(heights)), "height": heights[at]}
