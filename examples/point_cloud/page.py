"""Fifty thousand points as they cluster; what is selected is counted. streamvis serve page.py"""

from bokeh.models import Div, GlyphRenderer

from streamvis import panels

app = "point_cloud"


def init_page(doc, config):
    doc.title = "Point cloud"
    cloud = panels.points("points", color="cluster", size=3, title=f"{config['points']:,} points; draw around some", height=620)
    told = Div(text="Nothing is selected.")
    source = next(renderer for renderer in cloud.renderers if isinstance(renderer, GlyphRenderer)).data_source
    source.selected.on_change("indices", lambda attr, old, new: told.update(text=f"{len(new):,} points are selected."))
    doc.add_root(cloud)
    doc.add_root(told)
    doc.add_root(panels.curves("fit", "distance", title="Mean distance to the nearest centre", y_axis_type="log"))
