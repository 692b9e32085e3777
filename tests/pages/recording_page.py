"""A page that keeps all it is given where a test can read it: rows of `a` and `b` in sources, values in a third."""

import json

from bokeh.models import ColumnDataSource

COLUMNS = {"a": ["x", "y"], "b": ["x", "late", "word"]}
app = "recorded"
values = {}


def init_page(doc, config):
    for key, columns in COLUMNS.items():
        doc.add_root(ColumnDataSource({column: [] for column in columns}, name=key))
    doc.add_root(ColumnDataSource({"json": []}, name="values"))
    doc.add_root(ColumnDataSource({"config": [json.dumps(config, sort_keys=True)]}, name="config"))


def update_page(doc, new_data):
    for key in ("a", "b"):
        if key in new_data:
            columns = new_data[key]
            missing = [float("nan")] * len(new_data.steps(key))
            doc.get_model_by_name(key).stream({column: columns.get(column, missing) for column in COLUMNS[key]})
    for key in ("v", "w"):
        if key in new_data:
            values[key] = [int(new_data.steps(key)[0]), new_data[key]["n"]]
    doc.get_model_by_name("values").data = {"json": [json.dumps(values, sort_keys=True)]}
