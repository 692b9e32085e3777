"""A page script of the fault program: each key of rows in a source of its own, and the newest value of each key in one more."""

from bokeh.models import ColumnDataSource

app = "faults"


def init_page(doc, config):
    doc.title = config["run"]


def update_page(doc, new_data):
    for key in new_data:
        source = doc.get_model_by_name(key)
        if source is None:
            source = ColumnDataSource({"life": [], "n": []}, name=key, tags=["value" if key.startswith("value ") else "rows"])
            doc.add_root(source)
        if key.startswith("value "):
            source.data = {"life": [new_data[key]["life"]], "n": [new_data[key]["n"]]}
        else:
            source.stream({name: new_data[key][name] for name in ("life", "n")})
