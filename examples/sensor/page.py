"""A sensor with a limit: its last ten minutes, and all alarms. streamvis serve page.py"""

from bokeh.models import BoxAnnotation

from streamvis import panels

app = "sensor"


def init_page(doc, config):
    doc.title = "Boiler"
    temperature = panels.curves("boiler", "temperature", x="time", window=600, band=("low", "high"), title="Temperature in °C")
    temperature.add_layout(BoxAnnotation(bottom=config["limit"], fill_color="#d63a20", fill_alpha=0.12))
    doc.add_root(temperature)
    doc.add_root(panels.curves("boiler", "pressure", x="time", window=600, title="Pressure in bar"))
    doc.add_root(panels.numbers("boiler", ["temperature", "pressure"], title="Now"))
    doc.add_root(panels.table("alarm", title="Alarms"))
