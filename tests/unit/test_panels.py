"""Panels with data as people send it: empty, broken, of another shape than before, and with names that are markup."""

from __future__ import annotations

import datetime as dt
import io
import re

import numpy as np
import pytest
from bokeh.document import Document
from bokeh.models import ColumnDataSource, CustomJS, DataTable, Div
from bokeh.plotting import figure
from PIL import Image

from streamvis import panels
from streamvis.page.fillers import Fillers
from streamvis.page.new_data import NewData
from streamvis.page.runs import PageRun
from streamvis.panels.contents import contents_of
from streamvis.panels.curve import Curve, Drawing
from streamvis.panels.curves import best_of
from streamvis.panels.side_by_side import Thing
from streamvis.records import KeyInfo, Rows, Value
from support.panels import RUN, AtOnce, Loop, Panels, Shelf, piece

NAN, INF = float("nan"), float("inf")
MARKUP = "<script>alert(1)</script>&\"'><img src=x onerror=alert(1)>"
LONG = "name/" * 60
NAMES = ["", MARKUP, "👩‍🚀🧪 ελ", LONG, "a b", "@x", "$$\\frac$$"]


def grid_of(site):
    (grid,) = site.doc.select({"type": DataTable})
    return grid


def source_of(site, *columns):
    """The data of the one source that has these columns."""
    (found,) = (model.data for model in site.doc.models if hasattr(model, "data") and set(columns) <= set(model.data))
    return found


def png(height, width):
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(1).integers(0, 255, (height, width, 3), np.uint8)).save(file, "PNG")
    return np.frombuffer(file.getvalue(), np.uint8)


# Matrices

MATRICES = {
    "empty": np.zeros((0, 3)),
    "no columns": np.zeros((3, 0)),
    "one": np.array([[5.0]]),
    "all NaN": np.full((2, 2), NAN),
    "all zero": np.zeros((3, 2)),
    "infinite": np.array([[1.0, INF], [-INF, 2.0]]),
    "booleans": np.eye(3, dtype=bool),
    "wide": np.arange(12).reshape(1, 12),
    "lists": [[1, 2], [3, 4]],
    "in a list": [np.ones((2, 3))],
}


@pytest.mark.parametrize("confusion", [False, True])
@pytest.mark.parametrize("name", MATRICES)
def test_a_matrix_shows_any_numbers(name, confusion):
    site = Panels(panels.matrix("k", confusion=confusion, labels=[MARKUP, "b"]))
    site.send(k={"m": MATRICES[name]})
    assert not site.troubles
    data = source_of(site, "alpha", "text")
    cells = np.asarray(MATRICES[name], np.float64).size
    assert {len(column) for column in data.values()} == {cells}
    assert all(0 <= alpha <= 1 for alpha in data["alpha"])


def test_one_infinite_cell_does_not_take_the_colour_of_the_others():
    site = Panels(panels.matrix("k"))
    site.send(k={"m": np.array([[1.0, INF], [2.0, 4.0]])})
    alpha = source_of(site, "alpha")["alpha"]
    assert alpha[1] == 1 and alpha[3] == 1 and 0 < alpha[0] < alpha[2] < 1


def test_a_matrix_that_changes_its_shape_has_the_axes_of_the_new_one():
    site = Panels(panels.matrix("k"))
    for shape in ((2, 3), (5, 4), (1, 1)):
        site.send(k={"m": np.ones(shape)})
        (plot,) = site.doc.roots
        assert (plot.y_range.start, plot.x_range.end) == shape and len(plot.xaxis[0].ticker.ticks) == shape[1]


# Histograms

NUMBERS = {
    "empty": np.array([]),
    "one": np.array([3.0]),
    "all NaN": np.full(5, NAN),
    "some infinite": np.array([1.0, INF, -INF, NAN, 2.0]),
    "nearly equal": np.array([1.0, np.nextafter(1.0, 2.0)]),
    "huge": np.array([-1.7e308, 1.7e308]),
    "booleans": np.array([True, False, True]),
    "of any shape": np.arange(24.0).reshape(2, 3, 4),
    "half": np.arange(8, dtype=np.float16),
}


@pytest.mark.parametrize("name", NUMBERS)
def test_a_histogram_counts_every_finite_number(name):
    site = Panels(panels.histograms("k"))
    site.send(k={"w": NUMBERS[name]})
    assert not site.troubles
    (now,) = (m for m in site.doc.models if hasattr(m, "data") and "left" in m.data and "alpha" not in m.data)
    numbers = np.asarray(NUMBERS[name], np.float64)
    assert np.sum(now.data["count"]) == np.isfinite(numbers).sum()
    assert np.isfinite(now.data["left"]).all() and np.isfinite(now.data["right"]).all()


def test_a_histogram_of_counts_is_shown_as_it_is_also_as_lists():
    site = Panels(panels.histograms("k"))
    site.send(k={"counts": [1, 0, 3], "edges": [0.0, 1.0, 2.0, 4.0]})
    assert not site.troubles
    data = source_of(site, "alpha")
    assert list(data["count"]) == [1, 3] and list(data["bottom"]) == [0, 2]


class Postman(Loop):
    """A loop to which answers come when they are brought."""

    def __init__(self):
        self.letters = []

    def add_future(self, future, then):
        self.letters.append(lambda: then(future))

    def bring(self):
        letters, self.letters = self.letters, []
        for letter in letters:
            letter()


def test_panels_of_one_value_read_it_once_but_never_one_from_before_they_came(monkeypatch):
    shelf, loop, asked, doc = Shelf(), Postman(), [], Document()
    monkeypatch.setattr(shelf, "value", lambda run, key: asked.append(key) or Value(key, 1, 0.0, {"what": "read"}))
    for name in ("one", "other"):
        doc.add_root(panels.tree("k", name=name))
    fillers = Fillers(doc, shelf, [RUN], executor=AtOnce(), loop=loop, wake=lambda: None)
    fillers.seek(shelf)
    assert asked == ["k"]
    news = (NewData(RUN, {}, {}), [piece()])
    fillers.update([news])
    doc.add_root(panels.tree("k", name="late"))
    fillers.look()
    assert asked == ["k", "k"]
    loop.bring()
    fillers.update([])
    assert all("read" in doc.get_model_by_name(name).text for name in ("one", "other", "late"))


def test_a_histogram_has_also_the_values_that_came_together_with_a_newer_one():
    site = Panels(panels.histograms("k"))
    for step in (1, 5, 9):
        # A page is given the newest value alone, however many came since its last update.
        site.reader.stored.setdefault("k", []).append(Value("k", step, 0.0, {"w": np.array([0.0, 1.0])}))
        site.step = step + 1
        site.send(k={"w": np.array([0.0, 1.0])})
    assert not site.troubles
    steps = [value.step for value in site.reader.stored["k"]]
    assert sorted(set(source_of(site, "alpha")["step"])) == sorted(set(steps))


class Brief(Shelf):
    """One whose answers hold one value at most, as those of an endpoint where values are very large."""

    asked = 0

    def values(self, run, key, *, limit, after=-1, until=None):
        self.asked += 1
        return [value for value in self.stored.get(key, []) if value.step > after][:1]


def test_large_histograms_of_a_long_past_are_asked_for_once():
    site = Panels(panels.histograms("k"), reader=Brief())
    site.reader.stored["k"] = [Value("k", step, 0.0, {"w": np.array([0.0, 1.0])}) for step in range(50)]
    site.step = 49
    site.send(k={"w": np.array([0.0, 1.0])})
    assert site.reader.asked == 1 and set(source_of(site, "alpha")["step"]) == {0, 50}


@pytest.mark.parametrize(("every", "first"), [(1, 0), (7, 1_000_000)])
def test_histograms_of_a_long_run_are_those_of_a_fresh_page_and_ask_for_what_is_new_alone(every, first, monkeypatch):
    site = Panels(panels.histograms("k"))
    shelf, random, read = site.reader, np.random.default_rng(0), []
    values = shelf.values
    monkeypatch.setattr(shelf, "values", lambda *its, **how: read.append(len(found := values(*its, **how))) or found)
    site.step = first
    for tick in range(80):
        # Of several that come at once a page is given the newest.
        for _ in range(random.integers(0, 20)):
            site.step += int(random.integers(1, 2 * every))
            shelf.stored.setdefault("k", []).append(Value("k", site.step, 0.0, {"w": random.normal(size=8)}))
        site.send(k={"w": random.normal(size=8)})
        if tick % 8 == 7:
            asked, fresh = len(read), Panels(panels.histograms("k"), reader=shelf)
            fresh.step = site.step
            fresh.fillers.seek(shelf)
            fresh.settle()
            del read[asked:]
            live, other = source_of(site, "alpha"), source_of(fresh, "alpha")
            assert len(set(live["step"])) <= 120
            for name, cells in other.items():
                np.testing.assert_array_equal(live[name], cells)
    assert len(shelf.stored["k"]) > 600 and sum(read) < 500


def test_columns_that_come_later_leave_what_others_hang_on_a_panel():
    first = panels.numbers("train")
    site = Panels(first)
    held = Div(text="of others")
    first.js_on_change("name", CustomJS(args={"held": held}, code=""))
    for columns in ({"a": "int64"}, {"a": "int64", "b": "float64"}):
        site.learn(train=columns)
        assert held.document is site.doc
    sources = [model for model in site.doc.models if isinstance(model, ColumnDataSource)]
    assert len(sources) == 2


# Curves


def test_a_curve_whose_renderer_an_author_took_out_does_not_come_back_and_costs_no_other():
    plot = panels.curves("k")
    site = Panels(plot)
    site.learn(k={"a": "float64", "b": "float64"})
    first, second = plot.renderers
    plot.renderers = [second]
    site.learn(k={"a": "float64", "b": "float64", "c": "float64"})
    assert first not in plot.renderers and second in plot.renderers and len(plot.renderers) == 2


def test_a_group_s_curve_that_got_another_number_looks_like_one_that_had_it_from_the_start():
    def looks(*numbers):
        its = Drawing(figure(), "step", 0.0, None, {}, is_log=False, in_update=list, dotted=list, gapped=list)
        curve = Curve(its, Thing(("a", "b"), "group", "#123456", "std"), "k", "y", numbers[0])
        for number in numbers[1:]:
            curve.renumber(number)
        return [one.glyph.properties_with_values() for one in curve.renderers]

    assert looks(0, 1) == looks(1)


# Points


def test_points_that_become_categories_and_a_scale_again_are_coloured_as_fresh_ones():
    rng = np.random.default_rng(0)
    x = rng.normal(size=40)
    sent = [
        {"x": x, "y": x, "c": ["one", "two"] * 20},
        {"x": x, "y": x, "c": x},
        {"x": x, "y": x, "c": ["red", "two", "green", MARKUP] * 10},
        {"x": x[:0], "y": x[:0], "c": x[:0]},
        {"x": x, "y": x, "c": [True, False] * 20},
    ]
    live = Panels(panels.points("k", color="c"))
    for data in sent:
        live.send(k=data)
        fresh = Panels(panels.points("k", color="c"))
        fresh.send(k=data)
        assert drawn(live) == drawn(fresh) and not live.troubles and not fresh.troubles


def drawn(site):
    (plot,) = site.doc.roots
    renderer = plot.renderers[0]
    names = [item.label.value for legend in plot.legend if legend.visible for item in legend.items]
    by = "scale" if "LinearColorMapper" in str(renderer.glyph.fill_color) else "colour"
    bars = [bar.visible for bar in plot.right if type(bar).__name__ == "ColorBar" and bar.visible]
    return names, by, bars, [str(cell) for cell in renderer.data_source.data["color"]]


POINTS = {
    "empty": ([], [], []),
    "one": ([1.0], [2.0], [3.0]),
    "NaN": ([NAN, 1.0], [1.0, INF], [NAN, NAN]),
    "other lengths": ([1.0, 2.0, 3.0], [1.0, 2.0], ["a", "b", "c", "d"]),
    "gaps": ([1.0, 2.0], [1.0, 2.0], [None, "a"]),
    "lists": ([1.0, 2.0], [1.0, 2.0], [[1, 2], [3]]),
    "many": (np.arange(30.0), np.arange(30.0), [str(i) for i in range(30)]),
}


@pytest.mark.parametrize("name", POINTS)
def test_points_show_what_can_be_drawn(name):
    x, y, color = POINTS[name]
    site = Panels(panels.points("k", color="c", marker="c"))
    site.send(k={"x": np.asarray(x), "y": np.asarray(y), "c": color})
    assert not site.troubles
    assert len({len(column) for column in site.doc.roots[0].renderers[0].data_source.data.values()}) == 1


def test_many_points_are_drawn_by_webgl_unless_the_author_says_otherwise():
    for count, options, backend in ((500, {}, "canvas"), (6000, {}, "webgl"), (6000, {"output_backend": "svg"}, "svg")):
        site = Panels(panels.points("k", **options))
        site.send(k={"x": np.arange(count), "y": np.arange(count)})
        assert site.doc.roots[0].output_backend == backend


# Images

IMAGES = {
    "one high one": (np.zeros((200, 90, 3), np.uint8), 1),
    "one high one of grey": (np.zeros((200, 90)), 1),
    "a file": (png(100, 100), 1),
    "files": ([png(20, 20), png(30, 30)], 2),
    "very many": (np.zeros((80, 5, 5)), 64),
    "none": (np.zeros((0, 5, 5)), 0),
    "NaN": (np.full((2, 5, 5), NAN), 2),
    "infinite": (np.array([[[INF, -INF], [NAN, -1.0]]] * 3), 3),
    "infinite colours": (np.full((2, 6, 6, 3), -INF), 2),
    "booleans": (np.ones((2, 5, 5), bool), 2),
}


@pytest.mark.parametrize("name", IMAGES)
def test_images_of_every_shape_are_shown_whole(name):
    cells, count = IMAGES[name]
    site = Panels(panels.images("k", "image", captions="c"))
    with np.errstate(all="raise"):
        site.send(k={"image": cells, "c": [MARKUP] * 100})
    assert not site.troubles and site.html().count("<img") == count
    if name.startswith("one high"):
        assert sizes(site) == [(90, 200)]
    if name == "a file":
        assert sizes(site) == [(100, 100)]


def sizes(site):
    import base64

    found = [part.split('"')[0] for part in site.html().split(";base64,")[1:]]
    images = [Image.open(io.BytesIO(base64.b64decode(part))) for part in found]
    for image in images:
        image.load()
    return [image.size for image in images]


# Tables


def test_the_columns_of_a_table_keep_their_forms_when_what_they_hold_changes():
    site = Panels(panels.table("k"))
    site.send(k={"a": np.array([1.0, 2.0]), "b": ["x", "y"]})
    assert [type(column.formatter).__name__ for column in grid_of(site).columns] == ["NumberFormatter", "StringFormatter"]
    site.send(k={"a": ["now", "texts"], "b": np.array([1.0, NAN])})
    assert [type(column.formatter).__name__ for column in grid_of(site).columns] == ["StringFormatter", "NumberFormatter"]


def test_a_table_shows_times_booleans_and_nested_things_as_people_read_them():
    times = np.array(["2024-01-01T00:00:00", "NaT"], "M8[us]")
    spans = np.array([1_500_000, 0], "m8[us]")
    site = Panels(panels.table("k"))
    site.send(k={"t": times, "d": spans, "b": np.array([True, False]), "n": [{"a": MARKUP}, [1, 2]], "one": 7, "none": []})
    grid = grid_of(site)
    forms = {column.field: type(column.formatter).__name__ for column in grid.columns}
    assert forms["t"] == "DateFormatter" and forms["d"] == forms["b"] == forms["n"] == "StringFormatter"
    assert grid.source.data["d"] == ["0:00:01.500000", "0:00:00"] and grid.source.data["n"][1] == "[1, 2]"
    assert {len(cells) for cells in grid.source.data.values()} == {2} and not site.troubles


def test_columns_that_come_later_do_not_leave_sources_behind():
    site = Panels(panels.table("k"))
    for count in range(1, 6):
        site.learn(k={f"c{i}": "float64" for i in range(count)})
    lives = [model for model in site.doc.models if getattr(model, "tags", None) and hasattr(model, "data")]
    assert len(lives) == 1 and {"c0", "c4"} <= set(lives[0].data)


# Numbers


def test_numbers_of_a_column_of_texts_are_said_to_be_none():
    panel = panels.numbers("k", ["word", "flag", "loss"])
    site = Panels(panel)
    for source in (model for model in site.doc.models if hasattr(model, "data")):
        (column,) = set(source.data) - {"step", "time"}
        cells = {"word": ["a", None], "flag": [True, False], "loss": np.array([NAN, INF])}[column]
        source.data = {"step": np.array([0.0, 1.0]), "time": np.array([0, 1], "M8[us]"), column: cells}
    site.take([], NewData(site.run, {}, {}))
    assert panel.text.count("–") == 2 and panel.text.count("∞") == 1


def test_the_time_left_is_not_told_of_a_run_that_has_ended():
    running, ended = (PageRun("run", "", {"steps": 100}, state) for state in ("running", "finished"))
    panel = panels.numbers("k", "loss")
    site = Panels(panel, run=running)
    (source,) = (model for model in site.doc.models if hasattr(model, "data"))
    source.data = {"step": np.arange(10.0), "time": np.arange(10).astype("M8[s]").astype("M8[us]"), "loss": np.ones(10)}
    site.take([], NewData(running, {}, {}))
    assert "left" in panel.text
    site.take([], NewData(ended, {}, {}))
    assert "left" not in panel.text and "10 of 100" in panel.text


# Texts


def text_site(lines):
    panel = panels.text("log", "line")
    site = Panels(panel)
    site.reader.held["log"] = KeyInfo("rows", {"line": "string"})
    steps = np.arange(len(lines))
    site.reader.rows["log"] = [Rows("log", steps, steps.astype(float), {"line": lines})]
    site.learn(log={"line": "string"})
    (source,) = (model for model in site.doc.models if hasattr(model, "data"))
    source.data = {"row": steps.astype(float), "step": steps.astype(float), "line": list(lines)}
    return site, panel


def test_the_search_marks_what_was_sought_and_nothing_else():
    site, panel = text_site(["a < b & lt", "İİ <b>x</b> needle", "nothing", None])
    _, search, div = panel.children
    search.value = "LT"
    site.settle()
    assert "a &lt; b &amp; <mark>lt</mark>" in div.text and "İ" not in div.text
    search.value = "needle"
    site.settle()
    assert "İİ &lt;b&gt;x&lt;/b&gt; <mark>needle</mark>" in div.text
    search.value = "<b>"
    site.settle()
    assert "<mark>&lt;b&gt;</mark>x" in div.text
    search.value = ""
    assert "<mark>" not in div.text and div.text.count('class="line"') == 4


def test_the_named_text_of_a_value_is_followed():
    panel = panels.text("note", "said")
    site = Panels(panel)
    site.reader.held["note"] = KeyInfo("value")
    for said in ("first", "second", MARKUP):
        site.send(note={"said": said, "other": "hidden"})
        assert "hidden" not in site.html()
    assert "&lt;script&gt;" in site.html() and "first" not in site.html()


# Sound


@pytest.mark.parametrize(
    ("sent", "holds"),
    [
        ({"samples": [0.0, 0.5, -0.5] * 500, "rate": 8000}, "audio"),
        ({"weights": [0.1 * i for i in range(50)]}, "histogram"),
        ({"weights": [[1, 2, 3]] * 50}, "histogram"),
        ({"x": [1, 2, 3], "y": [0.5, 0.25, 0]}, "points"),
        ({"name": ["a", "b"], "score": [1, 2]}, "table"),
        ({"parts": [[1, 2], [3]]}, "table"),
        ({"words": ["a", "b"]}, "text"),
        ({"mixed": [1, "a"]}, "table"),
    ],
)
def test_lists_of_numbers_are_shown_as_arrays_of_them_are(sent, holds):
    arrays = {
        name: np.asarray(cells) if holds in ("audio", "histogram", "points") and isinstance(cells, list) else cells
        for name, cells in sent.items()
    }
    assert contents_of(sent) == contents_of(arrays) == holds
    if holds in ("audio", "histogram"):
        panel = (panels.audio if holds == "audio" else panels.histograms)("k")
        site = Panels(panel)
        site.send(k=sent)
        assert not site.troubles


def test_one_column_may_be_named_without_a_list():
    panel = panels.table("k", "loss")
    site = Panels(panel)
    site.send(k={"loss": [1.0, 2.0], "other": [3.0, 4.0]})
    assert [column.field for column in panel.children[1].columns] == ["loss"]


def test_what_is_no_sound_is_not_taken_for_one():
    assert contents_of({"samples": np.zeros(100), "rate": 8000}) == "audio"
    assert contents_of({"samples": np.zeros((100, 2), np.int16), "sample_rate": np.int64(44100)}) == "audio"
    assert contents_of({"rate": 0.001, "weights": np.zeros(100)}) != "audio"
    assert contents_of({"rate": np.zeros(10), "x": np.zeros(10)}) == "table"


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"a": []},
        {"a": np.array([])},
        {"a": np.array([True, False])},
        {"a": np.array(5.0)},
        {"counts": 3, "edges": 4},
        {"counts": [1, 2], "edges": [1, 2]},
        {"rate": [], "a": np.zeros(3)},
        {"image": 5},
        {"image": np.zeros((2, 2))},
        {"x": np.zeros(0), "y": np.zeros(0)},
        {"x": np.array([1]), "y": np.array(["a"], object)},
        {"a": {"b": {"c": [None, {"d": np.zeros((50, 50, 50))}]}}},
        {"a": None},
        {"a": "", MARKUP: ""},
        {"a": [[1, 2], [3]]},
        {"a": [[], []]},
        {"a": np.full((3, 3), NAN), "b": "text"},
        {"a": np.array(["NaT", "2024-01-01"], "M8[us]")},
        {"a": 2**62, "b": -0.0, "c": INF},
        {"a": b"bytes"},
    ],
    ids=lambda data: str(data)[:30],
)
def test_the_default_page_shows_any_value(data):
    from streamvis.pages.runs import PANELS

    site = Panels(PANELS[contents_of(data)]("k"))
    site.send(k=data)
    assert not site.troubles


# Markup


@pytest.mark.parametrize("name", NAMES)
def test_names_come_out_as_text(name):
    key = name or "k"
    made = [
        panels.numbers(key, name or "c", names={"c": name}, title=name),
        panels.images(key, captions=[name or "c"]),
        panels.tree(key),
        panels.text(key),
        panels.audio(key),
        panels.table(key),
        panels.matrix(key),
        panels.config(title=name),
    ]
    config = {name: name, "nested": {name: [{name: name}, [name, name]]}, "more": [name] * 300}
    site = Panels(*made, run=PageRun(f"run {name}", name, config, "running"))
    pictures = np.zeros((2, 8, 8))
    site.send_all({key: {"image": pictures, name or "c": [name, name], "deep": {name: {name: name}}, "rate": 8000}})
    site.learn(**{f"{key} rows": {name or "c": "string"}})
    assert all("<script" not in its and "onerror=alert(1)>" not in its for its in htmls(site))
    if name == MARKUP:
        assert "&lt;script&gt;" in site.html()


def htmls(site):
    """Everything that a browser takes for HTML."""
    for model in site.doc.models:
        if isinstance(model, Div) and not model.render_as_text:
            yield model.text
        if isinstance(model, DataTable):
            yield from (column.title for column in model.columns)


def test_arrays_of_few_numbers_are_written_out():
    site = Panels(panels.tree("k"))
    site.send(k={"mean": np.array([0.5, NAN]), "big": np.zeros((3, 4)), "words": np.array(["<b>"]), "text": [1, MARKUP]})
    assert "0.5, –" in site.html() and "array (3, 4) of float64" in site.html() and "<b>" not in site.html()


def test_numbers_too_large_for_floats_are_written_somehow():
    site = Panels(panels.config(), run=PageRun("run", "", {"n": 10**400, "m": -(10**30), "f": INF, "z": NAN}, "running"))
    assert not site.troubles and "inf" in site.html()


def beside(*configs):
    """The HTML of the configs of several runs: what differs, and what is the same in all."""
    site = Panels(
        panels.config(), run=[PageRun(f"r{i}", "", config, "running", label=f"r{i}") for i, config in enumerate(configs)]
    )
    differing, _, same = site.html().partition("The same in all")
    return differing, same


@pytest.mark.parametrize(
    ("one", "other", "shown"),
    [
        (31415926535897, 31415926535898, ["31\u202f415\u202f926\u202f535\u202f897", "31\u202f415\u202f926\u202f535\u202f898"]),
        (2**64 - 1, 2**64 - 2, ["18\u202f446\u202f744\u202f073\u202f709\u202f551\u202f615", "\u202f551\u202f614"]),
        (0.2, 0.2 + 2**-54, ["0.2<", "0.20000000000000007"]),
        (1.5e9 + 0.5, 1.5e9 + 0.75, ["1500000000.5", "1500000000.75"]),
        (1e13, 1e13 + 1, ["10000000000000.0", "10000000000001.0"]),
        ("a" * 4000 + "left" + "b" * 4000, "a" * 4000 + "right" + "b" * 4000, ["aleft", "aright", "(8,004 characters)"]),
        ("q" * 3000, "q" * 3001, ["(3,000 characters)", "(3,001 characters)"]),
        ("7", 7, ["&#x27;7&#x27;", ">7<"]),
        (None, "None", [">None<", "&#x27;None&#x27;"]),
        (NAN, "–", [">nan<", "&#x27;–&#x27;"]),
        (np.arange(5000.0), np.arange(5000.0) + (np.arange(5000) == 2500), ["2.500e+03, 2.501e+03", "2.501e+03, 2.501e+03"]),
    ],
)
def test_values_of_configs_that_differ_in_anything_are_shown_as_different(one, other, shown):
    differing, same = beside({"its": one, "all": 5}, {"its": other, "all": 5}, {"its": one, "all": 5})
    assert all(text in differing for text in shown) and "its" not in same and ">5<" in same and len(differing) < 20_000
    cells = re.findall(r"<b>(?!r\d<)(.*?)</b>", differing, re.DOTALL)
    assert len(cells) == 3 and cells[0] == cells[2] != cells[1]


def test_a_config_without_a_value_is_not_taken_for_one_whose_value_is_nan():
    differing, same = beside({"x": NAN}, {"x": NAN}, {})
    assert differing.count(">nan<") == 2 and differing.count(">–<") == 1 and not same
    differing, same = beside({"x": NAN, "long": "z" * 5000}, {"x": NAN, "long": "z" * 5000})
    assert ">–<" in same and "(5,000 characters)" in same and "<b>–" not in differing


def test_the_trouble_of_one_panel_leaves_the_others_alone():
    site = Panels(panels.images("k", "no such"), panels.tree("k"))
    site.send(k={MARKUP: dt.date(2024, 1, 1).isoformat()})
    assert len(site.troubles) == 1 and "2024-01-01" in site.html()


def test_a_value_from_before_the_panel_came_is_shown():
    site = Panels()
    site.send(k={"a": [1, 2]})
    site.reader.stored["k"] = [Value("k", 9, 0.0, {"a": "the newest"})]
    site.doc.add_root(panels.tree("k"))
    site.take([piece()], NewData(site.run, {}, {}))
    assert "the newest" in site.html()


def test_a_notice_on_data_that_cannot_be_shown_goes_when_they_are_right_again():
    site = Panels(panels.histograms("h"), panels.histograms("other"))
    site.send(h={"w": ["a"]})
    assert site.troubles
    site.send(other={"w": np.arange(5.0)})
    assert site.troubles
    site.send(h={"w": np.arange(5.0)})
    assert not site.troubles


def test_the_best_value_is_the_lowest_or_highest_of_those_that_are_numbers():
    data = {"step": np.array([0, 10, 20, 30]), "y": np.array([np.nan, 2.0, -1.0, np.inf])}
    assert best_of(data, "y", "min") == (-1.0, 20) and best_of(data, "y", "max") == (2.0, 10)
    nothing = {"step": [], "y": []}, data | {"y": np.array([np.nan] * 4)}
    assert all(best_of(its, "y", best) is None for its in nothing for best in ("min", "max"))
