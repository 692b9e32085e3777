"""A page of growing lines: bokeh serve my-app-server.py --args REST_HOST REST_PORT APP_NAME"""

import sys

from bokeh.models import ColumnDataSource
from bokeh.palettes import Category10_10
from bokeh.plotting import curdoc, figure

from streamvis import Server


def init_page(doc, config):
    """Draw as many lines as the config names. Called once, before the page is shown."""
    columns = config["ycolumns"]
    source = ColumnDataSource({name: [] for name in ["x", *columns]}, name="main_plot")
    plot = figure(title="Sine waves", x_axis_label="step", height=400, sizing_mode="stretch_width")
    for name, color in zip(columns, Category10_10, strict=False):
        plot.line("x", name, source=source, legend_label=name, line_width=2, color=color)
    plot.legend.click_policy = "hide"
    doc.title = "My app"
    doc.add_root(plot)


def update_page(doc, new_data):
    """Append the new rows. Called with all existing data, then each time there is new data."""
    if "main_plot" in new_data:
        doc.get_model_by_name("main_plot").stream(new_data["main_plot"])


rest_host, rest_port, app_name = sys.argv[1:4]
Server(curdoc(), f"http://{rest_host}:{rest_port}", app_name, init_page, update_page).start()
