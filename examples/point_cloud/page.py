"""50,000 points during clustering; a callback counts the selected ones. streamvis serve page.py"""

from bokeh.models import GlyphRenderer

from streamvis import panels

app = "point_cloud"


def init_page(doc, config):
    doc.title = "Point cloud"
    cloud = panels.points("points", color="cluster", size=3, title=f"{config['points']:,} points; draw around some")
    source = next(renderer for renderer in cloud.renderers if isinstance(renderer, GlyphRenderer)).data_source

    def tell(attr, old, new):
        cloud.title.text = f"{len(new):,} of {config['points']:,} points are selected"

    source.selected.on_change("indices", tell)
    doc.add_root(cloud)
    doc.add_root(panels.curves("fit", "distance", title="Mean distance to the nearest centre", y_axis_type="log"))
