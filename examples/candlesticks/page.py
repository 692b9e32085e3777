"""Candlesticks: finished bars are rows; the current bar is a value, which every trade replaces.

streamvis serve page.py
"""

import numpy as np
from bokeh.layouts import column
from bokeh.models import ColumnDataSource, HoverTool
from bokeh.plotting import figure

app = "candlesticks"

UP, DOWN, MEAN = "#1b8a5a", "#d1495b", "#3867b8"
NAMES = ["number", "open", "high", "low", "close", "volume", "mean", "color"]


def init_page(doc, config):
    doc.title = "Candlesticks"
    done = ColumnDataSource({name: [] for name in NAMES}, name="bars")
    current = ColumnDataSource({name: [] for name in NAMES}, name="current")
    price = figure(title="Price", height=420, sizing_mode="stretch_width", tools="xpan,xwheel_zoom,box_zoom,reset,save")
    volume = figure(title="Volume", height=180, sizing_mode="stretch_width", x_range=price.x_range, tools=price.tools)
    price.x_range.follow, price.x_range.follow_interval = "end", 80
    for source in (done, current):
        price.segment("number", "low", "number", "high", source=source, color="color")
        bars = price.vbar("number", 0.7, "open", "close", source=source, fill_color="color", line_color="color")
        price.add_tools(HoverTool(renderers=[bars], tooltips=[(name, f"@{name}{{0.00}}") for name in NAMES[1:5]]))
        volume.vbar("number", 0.7, "volume", source=source, fill_color="color", line_color=None)
    price.line("number", "mean", source=done, color=MEAN, line_width=2, legend_label="mean of 20 bars")
    price.legend.location = "top_left"
    volume.xaxis.axis_label = f"bar, of {config['trades_per_bar']} trades"
    doc.add_root(column(price, volume, sizing_mode="stretch_width"))


def update_page(doc, new_data):
    if "bars" in new_data:
        doc.get_model_by_name("bars").stream(colored(new_data["bars"]), rollover=5_000)
    if "current" in new_data:
        doc.get_model_by_name("current").data = colored(new_data["current"])


def colored(bars):
    rises = np.asarray(bars["close"]) >= np.asarray(bars["open"])
    return {**bars, "color": np.where(rises, UP, DOWN).tolist()}
