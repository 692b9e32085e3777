"""Linked histograms: moving points, and histograms of all points and of the selected ones along both axes.

streamvis serve page.py
"""

import numpy as np
from bokeh.layouts import column, row
from bokeh.models import ColumnDataSource
from bokeh.plotting import figure

app = "histograms"

ALL, SELECTED = "#b9c7d6", "#e4572e"
EDGES = np.linspace(-6, 6, 61)


def init_page(doc, config):
    doc.title = "Linked histograms"
    nothing = np.zeros(config["points"])
    cloud = ColumnDataSource({"x": nothing, "y": nothing}, name="cloud")
    tools = "box_select,lasso_select,wheel_zoom,pan,reset,save"
    wide, drag = {"width": 560, "min_border_left": 60}, "box_select"
    plot = figure(height=520, x_range=(-6, 6), y_range=(-6, 6), tools=tools, active_drag=drag, **wide)
    plot.title.text = f"{config['points']:,} points; draw around some"
    plot.scatter("x", "y", source=cloud, size=3, alpha=0.5, color=SELECTED, nonselection_color=ALL, nonselection_alpha=0.4)
    above = figure(height=170, min_border_right=30, x_range=plot.x_range, y_axis_label="points", toolbar_location=None, **wide)
    beside = figure(width=190, height=520, y_range=plot.y_range, x_axis_label="points", toolbar_location=None)
    for name, color in (("all", ALL), ("selected", SELECTED)):
        counts = {side: np.zeros(len(EDGES) - 1) for side in ("x", "y")}
        bars = ColumnDataSource({"left": EDGES[:-1], "right": EDGES[1:], **counts}, name=name)
        above.quad(top="x", bottom=0, left="left", right="right", source=bars, color=color, alpha=0.8, legend_label=name)
        beside.quad(right="y", left=0, bottom="left", top="right", source=bars, color=color, alpha=0.8)
    above.legend.location = "top_left"
    cloud.selected.on_change("indices", lambda attr, old, new: show_histograms(doc))
    doc.add_root(column(above, row(plot, beside)))


def update_page(doc, new_data):
    if "cloud" in new_data:
        # Points keep their positions in the arrays, so a selection keeps the same points when they move.
        doc.get_model_by_name("cloud").data = dict(new_data["cloud"])
        show_histograms(doc)


def show_histograms(doc):
    cloud = doc.get_model_by_name("cloud")
    points = {side: np.asarray(cloud.data[side]) for side in ("x", "y")}
    for name, chosen in (("all", slice(None)), ("selected", cloud.selected.indices)):
        bars = doc.get_model_by_name(name)
        counts = {side: np.histogram(points[side][chosen], EDGES)[0] for side in ("x", "y")}
        bars.data = {**bars.data, **counts}
