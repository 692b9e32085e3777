"""A page for any run: everything that it has, without being told.

Rows become charts, one for each column; columns of one name under several splits ("train/loss" and "val/loss", or keys "train"
and "val" with a column "loss") are drawn together. Values are shown by what they hold. Made to be copied and changed:

    streamvis init mine --from runs
"""

from collections import Counter

from bokeh.layouts import row

from streamvis import panels

SPLITS = {"train", "training", "val", "valid", "validation", "test", "testing", "eval", "evaluation", "dev", "held_out"}
PANELS = {
    "audio": panels.audio,
    "histogram": panels.histograms,
    "images": panels.images,
    "matrix": panels.matrix,
    "points": panels.points,
    "table": panels.table,
    "text": panels.text,
    "tree": panels.tree,
}
WIDE = {"histogram", "table", "text"}


def init_page(doc, config):
    side = panels.config(width=250, height=None, max_height=900)
    # On a phone the config comes below the charts.
    fold = {"flex-wrap": "wrap-reverse", "align-items": "flex-end"}
    doc.add_root(row(side, panels.board(cards, min_width=340), sizing_mode="stretch_width", spacing=10, styles=fold))


def cards(keys):
    """What to show of the run: called with its keys, again when there are new ones."""
    curves = [
        (key.name, column)
        for key in keys
        for column, dtype in key.columns.items()
        if is_number(dtype) and column not in ("step", "epoch", "time")
    ]
    values = [key.name for key in keys if key.kind == "value"]
    names = names_of(curves)
    places = places_of([*names, *values])
    charts, others = {}, []
    for name, series in zip(names, curves, strict=True):
        charts.setdefault(places[name], []).append(series)
    for key in keys:
        if key.kind == "value":
            section, title = places[key.name]
            section = "values" if section == "metrics" else section
            make = PANELS[key.holds]
            show = lambda shared, make=make, key=key: make(key.name)  # noqa: E731
            others.append(panels.card(title, show, section=section, wide=key.holds in WIDE, shows=(key.name, key.holds)))
        for column in (column for column, dtype in key.columns.items() if is_text(dtype)):
            make = lambda shared, key=key, column=column: panels.text(key.name, column)  # noqa: E731
            others.append(panels.card(f"{key.name} {column}", make, section="text", wide=True, shows=(key.name, column)))
        if any(is_for_tables(dtype) for dtype in key.columns.values()):
            make = lambda shared, key=key: panels.table(key.name)  # noqa: E731
            others.append(panels.card(key.name, make, section="tables", wide=True, shows=key.name))
    for (section, title), series in charts.items():
        yield panels.card(
            title, lambda shared, series=series, title=title: chart(shared, series, title), section=section, series=series
        )
    yield from others


def chart(shared, series, title):
    """One chart of some columns, each with its key."""
    options = {"y_axis_type": shared.y_axis_type, "toolbar_location": None, "x_axis_label": None}
    return panels.curves(series, x=shared.x, smooth=shared.smooth, title=title, **options)


def names_of(curves):
    """What each column is called: as it is where it begins as another one does ("layer1/norm"), else after its key."""
    begins = Counter(column.partition("/")[0] for _, column in curves if "/" in column)
    names = []
    for key, column in curves:
        begin = column.partition("/")[0] if "/" in column else ""
        names.append(column if begins[begin] > 1 or begin.lower() in SPLITS else f"{key}/{column}")
    return names


def places_of(names):
    """The section and the title of each name, the same under all splits. What two names begin with is a section."""
    paths = {name: without_split(name) for name in names}
    begins = Counter(path.partition("/")[0] for path in paths.values() if "/" in path)
    places = {}
    for name, path in paths.items():
        section, _, title = path.partition("/")
        places[name] = (section, title) if begins[section] > 1 and title else ("metrics", path)
    return places


def without_split(name):
    """The name without its split: "train/loss" and "val/loss" are both "loss", and "a/val_f1" is "a/f1"."""
    parts = name.split("/")
    rest = [part for part in parts if part.lower() not in SPLITS]
    if len(rest) < len(parts):
        return "/".join(rest) or name
    start, _, end = parts[-1].partition("_")
    return "/".join([*parts[:-1], end]) if start.lower() in SPLITS and end else name


def is_number(dtype):
    """Whether a column of this dtype can be drawn as a curve."""
    return dtype.startswith(("int", "uint", "float", "null"))


def is_text(dtype):
    """Whether a column of this dtype holds texts."""
    return dtype == "string"


def is_for_tables(dtype):
    """Whether a column of this dtype is neither drawn nor a text, but can stand in a table."""
    return dtype.startswith(("bool", "datetime", "timedelta", "json"))
