"""Widgets that call Python: select channels, and see their spectrum over the selected length. streamvis serve page.py"""

import numpy as np
from bokeh.layouts import column, row
from bokeh.models import CheckboxGroup, ColumnDataSource, Slider
from bokeh.plotting import figure

from streamvis import panels

app = "widgets"


def init_page(doc, config):
    doc.title = "Channels"
    names = config["channels"]
    curves = panels.curves("signal", names, window=1000, title="Signal", sizing_mode="stretch_both")
    shown = CheckboxGroup(labels=names, active=list(range(len(names))), name="shown")
    length = Slider(start=64, end=1024, step=64, value=512, title="Samples of the spectrum", name="length")
    spectrum = ColumnDataSource({"frequency": [], "power": []}, name="spectrum")
    plot = figure(title="Spectrum of what is shown", y_axis_type="log", x_axis_label="Hz", sizing_mode="stretch_both")
    plot.line("frequency", "power", source=spectrum, line_width=2)
    doc.add_root(column(row(shown, length), curves, plot, sizing_mode="stretch_both", spacing=10))

    def choose(attr, old, new):
        for i, renderer in enumerate(curves.renderers):
            renderer.visible = i in new
        draw_spectrum(doc)

    shown.on_change("active", choose)
    length.on_change("value", lambda attr, old, new: draw_spectrum(doc))


def update_page(doc, new_data):
    if "newest" in new_data:
        doc.get_model_by_name("spectrum").tags = [new_data["newest"]]
        draw_spectrum(doc)


def draw_spectrum(doc):
    spectrum = doc.get_model_by_name("spectrum")
    chosen = doc.get_model_by_name("shown").active
    if not spectrum.tags or not chosen:
        spectrum.data = {"frequency": [], "power": []}
        return
    newest, length = spectrum.tags[0], doc.get_model_by_name("length").value
    signal = np.sum([samples for i, samples in enumerate(newest["samples"]) if i in chosen], axis=0)[-length:]
    power = np.abs(np.fft.rfft(signal * np.hanning(len(signal)))) ** 2
    spectrum.data = {"frequency": np.fft.rfftfreq(len(signal), 1 / newest["rate"]), "power": power}
