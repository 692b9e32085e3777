"""The demo's page: how a small neural network learns to read handwritten digits, in plain Bokeh.

Made to be copied. `init_page` draws empty panels; `update_page` puts new data into their sources and draws nothing anew, so
what a viewer zoomed, selected or hid stays so. The curves have live sources, which need no code to be filled. The page knows
the keys that come, not how they were made.

    streamvis serve page.py
"""

from html import escape

import numpy as np
from bokeh.models import (
    CDSView,
    ColumnDataSource,
    DataRange1d,
    Div,
    GroupFilter,
    LinearColorMapper,
    NumeralTickFormatter,
)
from bokeh.plotting import figure
from bokeh.themes import Theme

from streamvis import live_source

app = "digits"

BLUE, ORANGE, GREY = "#3486d6", "#d4611c", "#767f89"  # blue is right, orange is wrong; all read on light and on dark
INK = [f"{BLUE}{alpha:02x}" for alpha in range(256)]
BLUE_TO_ORANGE = INK[::-1] + [f"{ORANGE}{alpha:02x}" for alpha in range(256)]
# Ten colours that colour-blind readers can tell apart as well as ten can be: Petroff 2021, arXiv:2107.02270.
CLASS_COLORS = "#3f90da #ffa90e #bd1f01 #94a4a2 #832db6 #a96b59 #e76300 #b9ac70 #717581 #92dadd".split()
CLASSES = [str(digit) for digit in range(10)]
PICTURES = {"weights": (6, 6, 9), "selected": (7, 5, 13), "mistakes": (7, 5, 13)}  # columns, rows, row height

# Only the browser knows whether to be light or dark, so those colours are CSS variables; Bokeh reads those named --bk-.
# The roots of the document are the cells of one grid: a header across all columns, then the panels.
TEMPLATE = """
{% block postamble %}
<style>
  :root {
    color-scheme: light dark;
    --page: #f3f4f6; --panel: #ffffff; --line: #e2e5e9; --text: #1f2933; --muted: #66717d;
    --bk-background-fill-color: transparent; --bk-border-fill-color: transparent; --bk-outline-line-color: transparent;
    --bk-grid-line-color: var(--line); --bk-axis-line-color: var(--line); --bk-major-tick-line-color: var(--line);
    --bk-minor-tick-line-color: transparent; --bk-major-label-text-color: var(--muted);
    --bk-axis-label-text-color: var(--muted); --bk-text-color: var(--text);
  }
  @media (prefers-color-scheme: dark) {
    :root { --page: #0f1216; --panel: #171b21; --line: #2b323b; --text: #e4e8ec; --muted: #98a3af; }
  }
  body { background: var(--page); color: var(--text); font-family: system-ui, sans-serif; }
  main {
    display: grid; grid: auto repeat(2, minmax(270px, 1fr)) / repeat(4, minmax(0, 1fr)); gap: 10px; padding: 10px;
    box-sizing: border-box; min-height: 100%;
  }
  main > div > * { grid-column: 1 / -1; }
  main > div > .bk-Figure {
    grid-column: auto; background: var(--panel); border: 1px solid var(--line); border-radius: 8px;
  }
  main > div > .wide { grid-column: span 2; }
  @media (max-width: 1000px) { main { grid: auto / repeat(2, minmax(0, 1fr)); grid-auto-rows: minmax(320px, auto); } }
</style>
{% endblock %}
{% block contents %}<main>{{ super() }}</main>{% endblock %}
"""

HEADING = "<b style='font-size: 20px'>Learning to read digits</b>"
STYLES = {
    "Plot": {"min_border": 10, "sizing_mode": "stretch_both", "toolbar_location": "above"},
    "Toolbar": {"autohide": True, "logo": None},
    "Legend": {
        "background_fill_alpha": 0,
        "border_line_color": None,
        "click_policy": "hide",
        "glyph_height": 16,
        "glyph_width": 16,
        "inactive_fill_alpha": 0.4,
        "inactive_fill_color": GREY,
        "label_text_color": GREY,
        "label_text_font_size": "12px",
        "padding": 2,
        "spacing": 0,
    },
    "Text": {"text_align": "center", "text_baseline": "middle", "text_font_size": "11px"},
    "LinearColorMapper": {"nan_color": "#00000000"},
}


def init_page(doc, config):
    doc.title, doc.template, doc.theme = "Digits", TEMPLATE, Theme(json={"attrs": STYLES})
    doc.add_root(Div(name="header", text=HEADING, styles={"font-size": "14px"}))
    add_curves(doc)
    add_confusion(doc)
    add_pictures(doc, "weights", "First-layer weights", LinearColorMapper(BLUE_TO_ORANGE, low=-0.5, high=0.5))
    add_projection(doc)
    add_pictures(doc, "selected", "Selected: none yet, draw around some points", LinearColorMapper(INK, low=0, high=16))
    add_pictures(doc, "mistakes", "Read wrong now (true → read as)", LinearColorMapper(INK, low=0, high=16))


def update_page(doc, new_data):
    if "confusion" in new_data:
        show_confusion(doc, **new_data["confusion"])
    if "weights" in new_data:
        show_pictures(doc, "weights", **new_data["weights"])
    if "mistakes" in new_data:
        show_pictures(doc, "mistakes", **new_data["mistakes"])
    if "held_out" in new_data:  # comes once; kept here for `show_selected`
        doc.get_model_by_name("points").tags = [new_data["held_out"]]
    if "projection" in new_data:
        show_projection(doc, **new_data["projection"])
    show_header(doc, new_data.run)


def add_curves(doc):
    train = live_source("train_curve", columns=["loss", "accuracy"], name="train_curve")
    held_out = live_source("held_out_curve", columns=["loss", "accuracy"], name="held_out_curve")
    options = {"tools": "box_zoom,pan,wheel_zoom,reset", "active_drag": "box_zoom", "x_axis_label": "step"}
    options |= {"min_border_left": 50, "min_border_bottom": 50}
    loss = figure(title="Loss", y_axis_type="log", **options)
    accuracy = figure(title="Accuracy", x_range=loss.x_range, **options)
    accuracy.yaxis.formatter = NumeralTickFormatter(format="0%")
    for plot, column, corner in [(loss, "loss", "bottom_left"), (accuracy, "accuracy", "bottom_right")]:
        plot.line("step", column, source=train, legend_label="training", color=BLUE, alpha=0.6)
        plot.line("step", column, source=held_out, legend_label="held out", color=ORANGE, line_width=2.5)
        plot.legend.location = corner
        doc.add_root(plot)


def add_confusion(doc):
    true, predicted = np.repeat(CLASSES, 10), np.tile(CLASSES, 10)
    cells = {"true": true, "predicted": predicted, "color": np.where(true == predicted, BLUE, ORANGE)}
    cells |= {"count": np.zeros(100), "alpha": np.zeros(100), "text": [""] * 100, "text_color": [GREY] * 100}
    source = ColumnDataSource(cells, name="confusion")
    plot = figure(
        title="Confusion",
        tools="hover",
        tooltips="@count of the true @true were read as @predicted",
        toolbar_location=None,
        x_range=CLASSES,
        y_range=CLASSES[::-1],
        x_axis_label="read as",
        y_axis_label="true",
        min_border_left=50,
        min_border_bottom=50,
    )
    plot.rect("predicted", "true", 0.94, 0.94, source=source, color="color", alpha="alpha", line_color=None)
    plot.text("predicted", "true", "text", source=source, text_color="text_color")
    plot.grid.visible = False
    doc.add_root(plot)


def show_confusion(doc, count):
    share = (count / count.sum(axis=1, keepdims=True)).ravel()
    text = [str(number) if number else "" for number in count.ravel()]
    text_color = np.where(share > 0.25, "white", GREY)
    source = doc.get_model_by_name("confusion")
    source.data.update(count=count.ravel(), alpha=np.sqrt(share), text=text, text_color=text_color)


def add_projection(doc):
    source = ColumnDataSource({"x": [], "y": [], "true": [], "predicted": [], "marker": []}, name="points")
    source.selected.on_change("indices", lambda attr, old, new: show_selected(doc))
    plot = figure(
        title="Held-out images in the last hidden layer (PCA; × is read wrong)",
        tools="lasso_select,box_select,tap,pan,wheel_zoom,reset",
        active_drag="lasso_select",
        x_range=(-2.1, 2.1),
        y_range=(-2.1, 2.1),
        css_classes=["wide"],
    )
    style = {"size": 8, "line_width": 1.5, "alpha": 0.75, "nonselection_alpha": 0.15}
    for digit, color in zip(CLASSES, CLASS_COLORS, strict=True):
        view = CDSView(filter=GroupFilter(column_name="true", group=digit))
        plot.scatter("x", "y", source=source, view=view, marker="marker", color=color, legend_label=digit, **style)
        plot.scatter([np.nan], [np.nan], size=8, color=color, legend_label=digit)  # so the legend shows no cross
    plot.add_layout(plot.legend[0], "right")
    plot.axis.visible = False
    doc.add_root(plot)


def show_projection(doc, x, y, predicted):
    source = doc.get_model_by_name("points")
    true = source.tags[0]["true"]
    marker = np.where(predicted == true, "circle", "x")
    source.data = {"x": x, "y": y, "true": true.astype(str), "predicted": predicted, "marker": marker}
    show_selected(doc)


def show_selected(doc):
    source = doc.get_model_by_name("points")
    chosen = sorted(source.selected.indices)
    title = f"Selected: {len(chosen)}" if chosen else "Selected: none yet, draw around some points"
    doc.get_model_by_name("selected_panel").title.text = title
    image, true = (source.tags[0][column][chosen] for column in ("image", "true"))
    show_pictures(doc, "selected", image, true, source.data["predicted"][chosen])


def add_pictures(doc, name, title, color_mapper):
    columns, rows, pitch = PICTURES[name]
    pictures = ColumnDataSource({"image": [np.full((rows * pitch, columns * 9), np.nan)]}, name=name)
    captions = ColumnDataSource({"x": [], "y": [], "text": [], "color": []}, name=f"{name}_captions")
    plot = figure(
        title=title,
        name=f"{name}_panel",
        tools="",
        match_aspect=True,
        x_range=DataRange1d(range_padding=0),
        y_range=DataRange1d(range_padding=0, flipped=True),
    )
    plot.image("image", source=pictures, x=0, y=0, dw=columns * 9, dh=rows * pitch, color_mapper=color_mapper)
    plot.text("x", "y", "text", source=captions, text_color="color")
    plot.axis.visible = plot.grid.visible = False
    doc.add_root(plot)


def show_pictures(doc, name, image, true=(), predicted=()):
    """Show images of 8x8 pixels as one large image, with a gap right of each and room for a caption below."""
    columns, rows, pitch = PICTURES[name]
    image, true, predicted = (column[: columns * rows] for column in (image, true, predicted))
    cells = np.full((rows * columns, pitch, 9), np.nan)
    cells[: len(image), :8, :8] = image
    together = cells.reshape(rows, columns, pitch, 9).swapaxes(1, 2).reshape(rows * pitch, columns * 9)
    doc.get_model_by_name(name).data = {"image": [together]}

    row, column = np.divmod(np.arange(len(true)), columns)
    text = [f"{t} → {p}" for t, p in zip(true, predicted, strict=True)]
    color = np.where(np.equal(true, predicted), GREY, ORANGE)
    captions = {"x": column * 9 + 4, "y": row * pitch + 10, "text": text, "color": color}
    doc.get_model_by_name(f"{name}_captions").data = captions


def show_header(doc, run):
    step = doc.get_model_by_name("train_curve").data["step"]
    accuracy = doc.get_model_by_name("held_out_curve").data["accuracy"]
    facts = [run.name or run.id, run.state]
    if len(step):
        facts.append(f"{step[-1] + 1:.0f} of {run.config['steps']} steps")
    if len(accuracy):
        facts.append(f"reads {accuracy[-1]:.1%} of the held-out images right")
    text = " &ensp;·&ensp; ".join(escape(fact) for fact in facts)
    doc.get_model_by_name("header").text = f"{HEADING} &emsp; {text}"
