"""The demo's page: how a small neural network learns handwritten digits, in plain Bokeh.

Made to be copied. `init_page` draws empty panels, `update_page` puts new data into their sources: nothing is drawn anew, so
what a viewer zoomed, selected or hid stays as it is. It knows the keys that the producer sends, not how they were made.

    streamvis serve page.py
"""

from html import escape

import numpy as np
from bokeh.models import CDSView, ColumnDataSource, DataRange1d, Div, GroupFilter, LinearColorMapper, NumeralTickFormatter
from bokeh.plotting import figure

app = "digits"

BLUE, ORANGE, GREY = "#3486d6", "#d4611c", "#767f89"  # right and wrong, or training and held out; all read on dark and light
INK = [f"#3486d6{alpha:02x}" for alpha in range(256)]
DIVERGING = [f"#3486d6{alpha:02x}" for alpha in range(255, 0, -2)] + [f"#d4611c{alpha:02x}" for alpha in range(1, 256, 2)]
# Ten classes for colour-blind readers too: Petroff 2021, https://arxiv.org/abs/2107.02270
CLASS_COLORS = "#3f90da #ffa90e #bd1f01 #94a4a2 #832db6 #a96b59 #e76300 #b9ac70 #717581 #92dadd".split()
CLASSES = [str(digit) for digit in range(10)]
GRIDS = {"weights": (6, 6, 9), "selected": (7, 5, 13), "mistakes": (7, 5, 13)}  # columns, rows, pixels per row

# Only the browser knows whether its user prefers dark pages, so such colours are CSS variables; Bokeh's begin with --bk-.
# The roots of the document, a header and the panels, are the cells of one grid.
TEMPLATE = """
{% block postamble %}
<style>
  :root {
    color-scheme: light dark;
    --page: #f3f4f6; --panel: #ffffff; --line: #e2e5e9; --text: #1f2933; --muted: #66717d;
    --bk-background-fill-color: transparent; --bk-border-fill-color: transparent; --bk-outline-line-color: transparent;
    --bk-grid-line-color: var(--line); --bk-axis-line-color: var(--line); --bk-major-tick-line-color: var(--line);
    --bk-minor-tick-line-color: transparent; --bk-major-label-text-color: var(--muted);
    --bk-axis-label-text-color: var(--muted); --bk-label-text-color: var(--muted); --bk-text-color: var(--text);
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
  main > div > .bk-Figure { grid-column: auto; background: var(--panel); border: 1px solid var(--line); border-radius: 8px; }
  main > div > .wide { grid-column: span 2; }
  @media (max-width: 1000px) { main { grid: auto / repeat(2, minmax(0, 1fr)); grid-auto-rows: minmax(320px, auto); } }
</style>
{% endblock %}
{% block contents %}<main>{{ super() }}</main>{% endblock %}
"""


def init_page(doc, config):
    doc.title, doc.template = "Digits", TEMPLATE
    doc.add_root(Div(name="header", styles={"font-size": "14px"}))
    add_curves(doc)
    add_confusion(doc)
    add_pictures(doc, "weights", "First-layer weights", LinearColorMapper(DIVERGING, low=-0.5, high=0.5, nan_color="#00000000"))
    add_projection(doc)
    add_pictures(doc, "selected", "", LinearColorMapper(INK, low=0, high=16, nan_color="#00000000"))
    add_pictures(doc, "mistakes", "Read wrong now (true → predicted)", LinearColorMapper(INK, low=0, high=16, nan_color="#00000000"))
    show_selected(doc)


def update_page(doc, new_data):
    for key in ("train_curve", "held_out_curve"):
        if key in new_data:
            doc.get_model_by_name(key).stream(new_data[key], rollover=10_000)
    if "confusion" in new_data:
        show_confusion(doc, new_data["confusion"]["count"])
    if "weights" in new_data:
        show_pictures(doc, "weights", new_data["weights"]["image"])
    if "mistakes" in new_data:
        show_pictures(doc, "mistakes", *(new_data["mistakes"][column] for column in ("image", "true", "predicted")))
    if "held_out" in new_data:  # sent once
        doc.get_model_by_name("points").tags = [new_data["held_out"]["image"], new_data["held_out"]["true"]]
    if "projection" in new_data:
        show_projection(doc, **new_data["projection"])
    show_header(doc, new_data.run)


def panel(doc, title, *, tools="", **options):
    plot = figure(title=title, tools=tools, toolbar_location="above", sizing_mode="stretch_both", min_border=10, **options)
    plot.toolbar.update(logo=None, autohide=True)
    plot.stylesheets = [".bk-events:focus:not(:focus-visible) { outline: none; }"]
    doc.add_root(plot)
    return plot


def style_legend(plot, **options):
    plot.legend.update(click_policy="hide", label_text_color=GREY, label_text_font_size="12px", **options)
    plot.legend.update(inactive_fill_color=GREY, inactive_fill_alpha=0.4, background_fill_alpha=0, border_line_color=None)
    plot.legend.update(padding=2, spacing=0, glyph_height=16, glyph_width=16)


def add_curves(doc):
    sources = [ColumnDataSource({"step": [], "loss": [], "accuracy": []}, name=f"{name}_curve") for name in ("train", "held_out")]
    options = {"x_axis_label": "step", "tools": "box_zoom,pan,wheel_zoom,reset", "active_drag": "box_zoom"}
    loss = panel(doc, "Loss", y_axis_type="log", **options)
    accuracy = panel(doc, "Accuracy", x_range=loss.x_range, **options)
    accuracy.yaxis.formatter = NumeralTickFormatter(format="0%")
    for plot, column, corner in [(loss, "loss", "bottom_left"), (accuracy, "accuracy", "bottom_right")]:
        plot.line("step", column, source=sources[0], legend_label="training", color=BLUE, alpha=0.6)
        plot.line("step", column, source=sources[1], legend_label="held out", color=ORANGE, line_width=2.5)
        style_legend(plot, location=corner)
        plot.update(min_border_left=50, min_border_bottom=50)


def add_confusion(doc):
    cells = {"true": np.repeat(CLASSES, 10), "predicted": np.tile(CLASSES, 10), "count": np.zeros(100), "alpha": np.zeros(100)}
    cells["color"] = [BLUE if right else ORANGE for right in cells["true"] == cells["predicted"]]
    source = ColumnDataSource({**cells, "text": [""] * 100, "text_color": [GREY] * 100}, name="confusion")
    plot = panel(
        doc, "Confusion", x_range=CLASSES, y_range=CLASSES[::-1], x_axis_label="predicted", y_axis_label="true",
        tools="hover", tooltips="@count of the true @true were read as @predicted",
    )  # fmt: skip
    plot.rect("predicted", "true", 0.94, 0.94, source=source, color="color", alpha="alpha", line_color=None)
    plot.text(
        "predicted", "true", "text", source=source, text_color="text_color", text_font_size="11px",
        text_align="center", text_baseline="middle",
    )  # fmt: skip
    plot.grid.visible = False
    plot.update(min_border_left=50, min_border_bottom=50)


def show_confusion(doc, count):
    share = (count / count.sum(axis=1, keepdims=True)).ravel()
    doc.get_model_by_name("confusion").data.update(
        count=count.ravel(),
        alpha=share**0.5,
        text=[str(n) if n else "" for n in count.ravel()],
        text_color=np.where(share > 0.25, "white", GREY),
    )


def add_projection(doc):
    source = ColumnDataSource({"x": [], "y": [], "true": [], "predicted": [], "marker": []}, name="points")
    source.selected.on_change("indices", lambda attr, old, new: show_selected(doc))
    plot = panel(
        doc, "Held-out images in the last hidden layer (PCA; × is read wrong)", css_classes=["wide"],
        tools="lasso_select,box_select,tap,pan,wheel_zoom,reset", active_drag="lasso_select",
        x_range=(-2.1, 2.1), y_range=(-2.1, 2.1),
    )  # fmt: skip
    for digit, color in zip(CLASSES, CLASS_COLORS, strict=True):
        view = CDSView(filter=GroupFilter(column_name="true", group=digit))
        plot.scatter(
            "x", "y", source=source, view=view, marker="marker", size=8, color=color, alpha=0.75, line_width=1.5,
            nonselection_alpha=0.15,
            legend_label=digit,
        )  # fmt: skip
        plot.scatter([np.nan], [np.nan], size=8, color=color, legend_label=digit)  # what the legend draws
    style_legend(plot)
    plot.add_layout(plot.legend[0], "right")
    plot.axis.visible = False


def show_projection(doc, x, y, predicted):
    source = doc.get_model_by_name("points")
    true = source.tags[1]
    marker = np.where(predicted == true, "circle", "x")
    source.data = {"x": x, "y": y, "true": true.astype(str), "predicted": predicted.astype(str), "marker": marker}
    show_selected(doc)


def show_selected(doc):
    points = doc.get_model_by_name("points")
    chosen = sorted(points.selected.indices)
    title = f"Selected: {len(chosen)}" if chosen else "Selected: none yet, draw around some points"
    doc.get_model_by_name("selected_panel").title.text = title
    if points.tags:
        images, true = points.tags
        show_pictures(doc, "selected", images[chosen], true[chosen], points.data["predicted"][chosen].astype(int))


def add_pictures(doc, name, title, color_mapper):
    """A panel of pictures, all in one image, each with a gap to its right and room for a caption below."""
    columns, rows, cell_height = GRIDS[name]
    plot = panel(doc, title, name=f"{name}_panel", match_aspect=True)
    plot.x_range, plot.y_range = DataRange1d(range_padding=0), DataRange1d(range_padding=0, flipped=True)
    plot.axis.visible = plot.grid.visible = False
    image = ColumnDataSource({"image": [np.full((rows * cell_height, columns * 9), np.nan)]}, name=name)
    plot.image(
        "image", source=image, x=0, y=0, dw=columns * 9, dh=rows * cell_height, color_mapper=color_mapper,
    )  # fmt: skip
    captions = ColumnDataSource({"x": [], "y": [], "text": [], "color": []}, name=f"{name}_captions")
    plot.text("x", "y", "text", source=captions, text_color="color", text_font_size="11px", text_align="center")


def show_pictures(doc, name, images, true=(), predicted=()):
    columns, rows, cell_height = GRIDS[name]
    cells = np.full((rows * columns, cell_height, 9), np.nan, dtype=np.float32)
    cells[: len(images), :8, :8] = images[: len(cells)]
    image = cells.reshape(rows, columns, cell_height, 9).swapaxes(1, 2).reshape(rows * cell_height, columns * 9)
    doc.get_model_by_name(name).data = {"image": [image]}

    row, column = np.divmod(np.arange(min(len(true), len(cells))), columns)
    true, predicted = true[: len(row)], predicted[: len(row)]
    doc.get_model_by_name(f"{name}_captions").data = {
        "x": column * 9 + 4,
        "y": (row + 1) * cell_height - 1,
        "text": [f"{t} → {p}" for t, p in zip(true, predicted, strict=True)],
        "color": np.where(np.equal(true, predicted), GREY, ORANGE),
    }


def show_header(doc, run):
    steps, accuracies = doc.get_model_by_name("train_curve").data["step"], doc.get_model_by_name("held_out_curve").data["accuracy"]
    facts = [f"{run.name or run.id}", run.state]
    if len(steps):
        facts.append(f"step {steps[-1]:.0f} of {run.config['steps']}")
    if len(accuracies):
        facts.append(f"reads {accuracies[-1]:.1%} of the held-out images right")
    text = " &ensp;·&ensp; ".join(escape(fact) for fact in facts)
    doc.get_model_by_name("header").text = f"<b style='font-size: 20px'>Learning to read digits</b> &emsp; {text}"
