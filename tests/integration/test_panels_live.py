"""Panels on a page that is open show what they show on a page that is opened now, and so does what producers say of columns."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from itertools import count

import numpy as np
import pytest
from bokeh.models import ColumnDataSource, DataTable, Div, Legend, Line, Plot
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from streamvis import Client, panels
from streamvis.page.documents import document
from streamvis.page.feeds.inbox import Inbox
from streamvis.page.feeds.reader import EndpointReader
from streamvis.page.feeds.table import Feeds
from streamvis.page.folding import fold as fold_pieces
from streamvis.pages import runs
from streamvis.palette import PALETTE
from streamvis.testing import rows
from support.conditions import wait_until
from support.panels import Panels, control_of, controls_of, layout_of

NUMBERS = st.one_of(st.integers(-1000, 1000), st.floats(-1e6, 1e6), st.sampled_from([math.nan, math.inf]))
ROWS = st.fixed_dictionaries({}, optional={"a": NUMBERS, "b": NUMBERS, "late": NUMBERS, "odd/part": NUMBERS})
LINES = st.fixed_dictionaries({"line": st.sampled_from(["x < y", "<script>", "", "İ 🧪"])}, optional={"level": NUMBERS})
SMALL = st.integers(0, 4)
POINTS = st.integers(0, 5).flatmap(
    lambda n: st.tuples(
        *[st.lists(NUMBERS, min_size=n, max_size=n)] * 2, st.lists(st.sampled_from("pqr"), min_size=n, max_size=n)
    )
)


def floats(cells):
    return np.array(cells, np.float64)


VALUES = {
    "matrix": st.tuples(st.integers(1, 4), st.integers(2, 4), NUMBERS).map(lambda its: {"m": np.full(its[:2], float(its[2]))}),
    "images": st.tuples(SMALL, st.integers(4, 6)).map(lambda its: {"image": np.ones((its[0], its[1], 5)), "n": [*range(its[0])]}),
    "points": POINTS.map(lambda its: {"x": floats(its[0]), "y": floats(its[1]), "c": its[2]}),
    "weights": st.lists(NUMBERS, max_size=5).map(lambda its: {"w": floats(its)}),
    "cells": st.integers(0, 3).map(lambda n: {"name": ["a", "<b>", "c"][:n], "n": np.arange(n)}),
    "note": st.text("ab<>&\n", max_size=6).map(lambda said: {"said": said}),
    "sound": SMALL.map(lambda n: {"samples": np.zeros(n), "rate": 8000}),
    "tree": st.recursive(
        NUMBERS | st.text("<a"), lambda its: st.lists(its, max_size=3) | st.dictionaries(st.text("k<"), its)
    ).map(lambda its: {"what": its}),
}
ACTIONS = st.one_of(
    st.tuples(st.just("rows"), st.just("train"), st.lists(ROWS.filter(bool), min_size=1, max_size=4)),
    st.tuples(st.just("rows"), st.just("val"), st.lists(ROWS.filter(bool), min_size=1, max_size=4)),
    st.tuples(st.just("rows"), st.just("log"), st.lists(LINES, min_size=1, max_size=3)),
    st.one_of(*(st.tuples(st.just("value"), st.just(key), its) for key, its in VALUES.items())),
    st.tuples(st.just("again"), st.sampled_from(sorted(VALUES))),
    st.sampled_from([("look",), ("look",), ("finish",)]),
)
# An open page meets columns one by one, a fresh one all at once: seldom enough to draw it from actions that know nothing of it.
ARRIVING = st.permutations([("train", "a"), ("train", "late"), ("val", "a"), ("val", "late")]).map(
    lambda places: [act for key, column in places[:2] for act in (("rows", key, [{column: 1}]), ("look",))]
)


def all_panels():
    """One of each, with the keys of this test; some twice, where they can show several things."""
    return [
        panels.curves("train", title="all columns"),
        panels.curves(["train", "val"], ["a", "late"]),
        panels.curves("train", "a", "time", smooth=0.6),
        panels.curves("val", y_axis_type="log", title="log"),
        panels.numbers("train", total=50),
        panels.numbers("val", ["a", "nothing"]),
        panels.table("train"),
        panels.table("cells"),
        panels.text("log"),
        panels.text("log", "line"),
        panels.text("note", "said"),
        panels.matrix("matrix"),
        panels.matrix("matrix", confusion=True),
        panels.images("images", "image", captions="n"),
        panels.points("points", color="c", marker="c"),
        panels.histograms("weights"),
        panels.audio("sound"),
        panels.tree("tree"),
        panels.config(),
        panels.board(runs.cards),
    ]


def tables_of(page):
    """The cells of each table of a page, by column."""
    return [dict(one.source.data) for one in page.site.doc.models if isinstance(one, DataTable)]


def test_rows_of_mixed_or_nested_cells_stand_in_a_table_of_the_default_page(start_endpoint):
    endpoint = start_endpoint()
    reader, feeds = EndpointReader(endpoint.url), Feeds()
    with Client(endpoint.url, "free") as client:
        client.init()
        client.sendl(0, "event", {"what": 1.5})
        client.sendl(0, "call", {"arguments": [{"depth": [1, {"<i>": "z" * 900}]}]})
        assert client.flush()
        page = OpenPage(reader, feeds, client.run, panels.board(runs.cards))
        (cells,) = tables_of(page)
        assert cells["step"] == [0] and cells["arguments"][0].startswith("{'depth': [1, {'<i>'")
        assert len(cells["arguments"][0]) < 300 and not page.site.troubles

        # What was a number until now turns out to be of any form.
        for step in range(1, 260):
            client.sendl(step, "event", {"what": "stop" if step % 3 else [{"code": step}]})
        assert client.flush()
        page.look(reader.run(client.run).cursor)
        fresh = OpenPage(reader, feeds, client.run, panels.board(runs.cards))
        what = {"step": list(range(259, 59, -1))}
        what["what"] = ["stop" if step % 3 else f"{{'code': {step}}}" for step in what["step"]]
        assert what in tables_of(page) and what in tables_of(fresh) and len(tables_of(page)) == len(tables_of(fresh)) == 2
        page.close()
        fresh.close()
    reader.close()


class OpenPage:
    """A page with these panels on a run, which reads the past and then what comes, as a session does."""

    def __init__(self, reader: EndpointReader, feeds: Feeds, run: str, *made) -> None:
        self.reader, self.inbox = reader, Inbox(lambda: None)
        self.feed = feeds.run(reader, run, self, lambda: None)
        self.site = Panels(*made, reader=reader, run=reader.run(run).run, live=True)
        self.target = wait_until(lambda: self.feed.join(self, self.inbox), within_s=20, what="the feed knows its end")
        self.cursor = None
        self.site.live.refetch(self.site.run.id)
        while self.cursor != self.target:
            excluded = sorted(self.site.live.keys(self.site.run.id))
            piece = reader.tail(run, after=self.cursor, until=self.target, max_bytes=2_000, exclude=excluded)
            assert not piece.restart
            self.cursor = piece.cursor if piece.more else self.target
            self.take([piece])
        self.show_boards()

    def look(self, cursor: str) -> None:
        """Take all that the run has up to the cursor."""

        def has_come():
            if pieces := self.inbox.take():
                self.take(pieces)
                self.cursor = pieces[-1].cursor
            return self.cursor == cursor

        wait_until(has_come, within_s=20, what="the page has what was sent")
        self.show_boards()

    def take(self, pieces) -> None:
        run = self.site.run
        run = replace(run, name=pieces[-1].name, state=pieces[-1].state, dropped=pieces[-1].dropped)
        self.site.run = run
        self.site.take(pieces, fold_pieces(run, pieces, without=self.site.live.keys(self.site.run.id)))

    def show_boards(self) -> None:
        if controls_of(self.site):
            control_of(self.site).view = json.dumps({"top": 0, "bottom": 5000, "width": 1200})
            self.site.settle()

    def close(self) -> None:
        self.feed.leave(self)


def shown(page: OpenPage) -> list:
    """What each panel holds, as far as a person sees it; its place in the document is its name."""
    found = [what(root) for root in page.site.doc.roots if type(root).__name__ != "StreamvisLiveControl"]
    cards = layout_of(page.site)["cards"]
    found[-1] = {card["name"]: (card["series"], what(page.site.doc.models[card["id"]])) for card in cards}
    return found


def what(root) -> dict:
    found: dict = {"texts": [], "sources": [], "axes": [], "colors": [], "tables": []}
    for model in sorted(root.references(), key=lambda model: int(model.id.lstrip("p") or 0)):
        if isinstance(model, Div):
            # The small lines of the past are drawn from whatever rows there are.
            found["texts"].append(
                model.text.split("<svg")[0] + "".join(p.split("</svg>")[-1] for p in model.text.split("<svg")[1:])
            )
        elif isinstance(model, DataTable):
            data = {column.field: cells(model.source.data[column.field]) for column in model.columns}
            found["tables"].append((data, [type(column.formatter).__name__ for column in model.columns]))
        elif isinstance(model, Plot):
            labels = [[item.label.value for item in legend.items] for legend in model.select({"type": Legend}) if legend.visible]
            found["axes"].append((model.title.text, labels))
            found["colors"] += [one.glyph.line_color for one in model.renderers if isinstance(one.glyph, Line)]
            found["sources"] += [
                {name: cells(column) for name, column in renderer.data_source.data.items()}
                for renderer in model.renderers
                if isinstance(renderer.data_source, ColumnDataSource)
            ]
    return found


def cells(column) -> list:
    return [cell if isinstance(cell, (str, bool)) or cell is None else repr(cell) for cell in np.asarray(column).tolist()]


@pytest.mark.timeout(240)
def test_every_panel_that_is_open_shows_what_a_fresh_one_shows(start_endpoint):
    endpoint, apps = start_endpoint(), count()
    reader, feeds = EndpointReader(endpoint.url), Feeds()

    @settings(max_examples=3, suppress_health_check=list(HealthCheck), phases=[Phase.explicit, Phase.generate])
    @given(ARRIVING, st.lists(ACTIONS, min_size=1, max_size=7))
    def check(arriving, others):
        with Client(endpoint.url, f"app {next(apps)}") as client:
            client.init({"steps": 40, "<b>": ["<i>"]})
            assert client.flush(timeout_s=20)
            live = OpenPage(reader, feeds, client.run, *all_panels())
            values = {}
            for step, (action, *details) in enumerate(arriving + others):
                act(client, values, step, action, *details)
                if action == "look":
                    assert client.flush(timeout_s=20)
                    live.look(reader.run(client.run).cursor)
            assert client.flush(timeout_s=20)
            live.look(reader.run(client.run).cursor)
            fresh = OpenPage(reader, feeds, client.run, *all_panels())
            assert not live.site.troubles and not fresh.site.troubles
            for i, (one, other) in enumerate(zip(shown(live), shown(fresh), strict=True)):
                assert one == other, f"panel {i}"
            live.close()
            fresh.close()

    try:
        check()
    finally:
        reader.close()


SENT = {
    "matrix": {"m": np.eye(2)},
    "images": {"image": np.ones((2, 4, 5)), "n": [0, 1]},
    "points": {"x": floats([1, 2]), "y": floats([3, 4]), "c": ["p", "q"]},
    "weights": {"w": floats([1, 2, 3])},
    "cells": {"name": ["a"], "n": np.arange(1)},
    "note": {"said": "something"},
    "sound": {"samples": np.ones(8), "rate": 8000},
    "tree": {"what": {"k": 1}},
}


def test_every_panel_shows_what_came(start_endpoint):
    assert SENT.keys() == VALUES.keys()
    endpoint = start_endpoint()
    reader, feeds = EndpointReader(endpoint.url), Feeds()
    with Client(endpoint.url, "filled") as client:
        client.init({"steps": 40})
        assert client.flush(timeout_s=20)
        page = OpenPage(reader, feeds, client.run, *all_panels())
        before = shown(page)
        for key in ("train", "val"):
            client.sendl(0, key, {"a": [1.0, 2.0], "late": [3.0, 4.0]})
        client.sendl(0, "log", {"line": ["one", "two"]})
        for key, value in SENT.items():
            client.send(0, key, value)
        run = client.run
    page.look(reader.run(run).cursor)
    unchanged = [i for i, (one, other) in enumerate(zip(before, shown(page), strict=True)) if one == other]
    assert not unchanged, f"panels of all_panels() that show nothing: {unchanged}"
    page.close()
    reader.close()


def act(client, values, step, action, *details) -> None:
    if action == "rows":
        key, rows = details
        for row in rows:
            client.sendl(step, key, row)
    elif action == "value":
        key, data = details
        client.send(step, key, data)
        values[key] = (step, data)
    elif action == "again" and details[0] in values:
        at, data = values[details[0]]
        client.send(at, details[0], data)


def test_what_a_producer_says_of_its_columns_is_followed_whenever_it_says_so(start_endpoint):
    endpoint = start_endpoint()
    reader, feeds = EndpointReader(endpoint.url), Feeds()
    with Client(endpoint.url, "described") as client:
        client.init()
        client.describe("train/loss", title="Error <b>", scale="log", unit="m/s", section="Main")
        client.describe("train/other", best="max")
        client.sendl(0, "train", {"loss": 1.0, "other": 2.0})
        assert client.flush()
        page = OpenPage(reader, feeds, client.run, panels.board(runs.cards))
        named = {one["name"]: one for one in layout_of(page.site)["cards"]}
        assert set(named) == {"Main/Error <b>", "metrics/other"}
        plot = plot_of(page, "Error <b>")
        assert plot.yaxis[0].axis_label == "m/s" and type(plot.y_scale).__name__ == "LogScale"
        assert type(plot_of(page, "other · best 2 at step 0").y_scale).__name__ == "LinearScale"

        client.describe("*", title="The same for all", section="All")
        client.describe("train/loss", title="Replaced")
        assert client.flush()
        page.look(reader.run(client.run).cursor)
        assert layout_of(page.site)["total"] == 2
        assert plot_of(page, "Replaced").yaxis[0].axis_label is None and plot_of(page, "The same for all · best 2 at step 0")
        fresh = OpenPage(reader, feeds, client.run, panels.board(runs.cards))
        assert {one["name"] for one in layout_of(fresh.site)["cards"]} == {one["name"] for one in layout_of(page.site)["cards"]}
        page.close()
        fresh.close()
    reader.close()


def test_the_best_of_a_run_stays_in_the_title_while_its_viewer_looks_at_another_part(start_endpoint):
    endpoint = start_endpoint()
    reader, feeds = EndpointReader(endpoint.url), Feeds()

    def titles(page):
        return {one.title.text for one in page.site.doc.models if isinstance(one, Plot)}

    with Client(endpoint.url, "zoomed") as client:
        client.init()
        client.describe("fit/error", best="min")
        client.describe("fit/score", best="max")
        steps = np.arange(6000)
        client.sendl(0, "fit", {"step": steps, "error": np.abs(steps - 321) + 7.5, "score": -np.abs(steps - 5000) / 8})
        assert client.flush()
        page = OpenPage(reader, feeds, client.run, panels.board(runs.cards))
        assert titles(page) == {"error · best 7.5 at step 321", "score · best 0 at step 5,000"}

        drawn = [one for one in page.site.doc.models if isinstance(one, ColumnDataSource) and len(one.data["step"]) > 1000]
        page.site.live.control.views = json.dumps({one.id: ([2000, 2400], 900) for one in drawn})
        page.site.settle()
        assert len(drawn) == 2 and all(one.data["step"].max() < 3000 for one in drawn)
        assert titles(page) == {"error · best 7.5 at step 321", "score · best 0 at step 5,000"}

        client.sendl(6000, "fit", {"step": 6000, "error": 9.0, "score": 2.0})
        assert client.flush()
        page.look(reader.run(client.run).cursor)
        assert titles(page) == {"error · best 7.5 at step 321", "score · best 2 at step 6,000"}
        fresh = OpenPage(reader, feeds, client.run, panels.board(runs.cards))
        assert titles(fresh) == titles(page)
        page.close()
        fresh.close()
    reader.close()


def plot_of(page, title):
    (plot,) = (plot for plot in page.site.doc.models if isinstance(plot, Plot) and plot.title.text == title)
    return plot


def test_a_table_shows_each_of_the_newest_thousand_rows_however_many_columns_are_equal(start_endpoint):
    endpoint = start_endpoint()
    reader, feeds = EndpointReader(endpoint.url), Feeds()
    with Client(endpoint.url, "table") as client:
        client.init()
        names = [f"c{i}" for i in range(11)]
        client.sendl(0, "k", {"i": np.arange(1500), **{name: np.ones(1500) for name in names}})
        assert client.flush()
        page = OpenPage(reader, feeds, client.run, panels.table("k"))
        (grid,) = page.site.doc.select({"type": DataTable})
        assert list(grid.source.data["i"]) == list(range(1499, 499, -1))
        for i in range(1500, 1900, 50):
            client.sendl(i, "k", {"i": np.arange(i, i + 50), **{name: np.ones(50) for name in names}})
            assert client.flush()
            page.look(reader.run(client.run).cursor)
        assert list(grid.source.data["i"]) == list(range(1899, 899, -1))
        page.close()
    reader.close()


MIXED = """
from streamvis import panels
from streamvis.pages import runs

def init_page(doc, config):
    doc.add_root(panels.curves(["train", "val"], ["a", "late"], name="named"))
    doc.add_root(panels.curves(["train", "val"], name="all", smooth=0.5, band=("low", "high")))
    doc.add_root(panels.numbers("train"))
    doc.add_root(panels.table("train"))
    doc.add_root(panels.text("log"))
    doc.add_root(panels.board(runs.cards))
"""
ARRIVALS = {
    "the last column of the last key first": [("val", "late"), ("train", "late"), ("val", "a"), ("train", "a")],
    "the keys in turns": [
        ("train", "late"),
        ("val", "low"),
        ("train", "a"),
        ("val", "late"),
        ("train", "high"),
        ("train", "low"),
    ],
}


@pytest.mark.parametrize("order", ARRIVALS)
def test_what_came_first_makes_no_difference_on_a_page_that_is_open(tmp_path, streamvis_page, order):
    (tmp_path / "page.py").write_text(MIXED)
    page = streamvis_page(tmp_path / "page.py")
    for i, (key, column) in enumerate(ARRIVALS[order]):
        page.sendl(0, key, {column: float(i)})
        page.sendl(0, "log", {"said": None, "line": "a"} if i == 0 else {"said": "b"})
    page.check()
    named = [f"{key}/{column}" for key in ("train", "val") for column in ("a", "late") if (key, column) in ARRIVALS[order]]
    assert [item.label.value for item in page["named"].legend[0].items] == named
    drawn = [one.glyph.y for one in page["named"].renderers if isinstance(one.glyph, Line)]
    assert drawn == [name.partition("/")[2] for name in named]


def test_a_named_column_has_its_colour_whatever_else_is_there(tmp_path, streamvis_page):
    (tmp_path / "page.py").write_text(MIXED)
    page = streamvis_page(tmp_path / "page.py", records=[rows(0, "val", {"late": 1.0}), rows(1, "val", {"late": 2.0})])
    before = [one.glyph.line_color for one in page["named"].renderers]
    page.sendl(2, "train", {"a": [1.0, 2.0]})
    assert [one.glyph.line_color for one in page["named"].renderers][1:] == before == [PALETTE[3]]


LONE = """
from streamvis import panels

def init_page(doc, config):
    doc.add_root(panels.curves("train"))
"""


def test_a_curve_of_one_row_is_a_dot_until_there_is_a_line(tmp_path, streamvis_page):
    (tmp_path / "page.py").write_text(LONE)
    page = streamvis_page(tmp_path / "page.py", records=[rows(0, "train", {"loss": 1.0})])
    (plot,) = [root for root in page.doc.roots if hasattr(root, "renderers")]
    assert [type(one.glyph).__name__ for one in plot.renderers] == ["Line", "Scatter"]
    page.check()
    page.sendl(1, "train", {"loss": 2.0})
    assert [type(one.glyph).__name__ for one in plot.renderers] == ["Line"]
    page.check()


MANY = """
from streamvis import panels

def init_page(doc, config):
    for i in range(9):
        doc.add_root(panels.curves("train", f"y{i}"))
    doc.add_root(panels.numbers("train", ["y1"]))
    doc.add_root(panels.table("train"))
"""


def test_an_update_of_many_panels_walks_the_document_once_and_one_that_brings_no_model_never(
    tmp_path, streamvis_page, monkeypatch
):
    walks, walk = [], document.reachable
    monkeypatch.setattr(document, "reachable", lambda roots: walks.extend(roots[:1]) or walk(roots))
    (tmp_path / "page.py").write_text(MANY)
    row = {f"y{i}": float(i) for i in range(9)}
    page = streamvis_page(tmp_path / "page.py", records=[rows(0, "train", row)])
    drawn = [type(one.glyph).__name__ for plot in page.doc.roots[:9] for one in plot.renderers]
    assert drawn == ["Line", "Scatter"] * 9
    counts = []
    for step in range(1, 4):
        walks.clear()
        page.sendl(step, "train", row)
        assert [plot.renderers[0].data_source.data["step"][-1] for plot in page.doc.roots[:9]] == [step] * 9
        counts.append(len(walks))
    assert [len(plot.renderers) for plot in page.doc.roots[:9]] == [1] * 9
    assert counts == [1, 0, 0]


LAST = """
from streamvis import panels

def init_page(doc, config):
    doc.add_root(panels.numbers("train", name="numbers"))
"""


def test_numbers_of_many_columns_are_written_once_an_update(tmp_path, streamvis_page):
    (tmp_path / "page.py").write_text(LAST)
    columns = [f"y{i}" for i in range(9)]
    page = streamvis_page(tmp_path / "page.py", records=[rows(0, "train", dict.fromkeys(columns, 0.5))])
    written = []
    page["numbers"].on_change("text", lambda attr, old, new: written.append(new))
    for step in (1, 2):
        page.sendl(step, "train", dict.fromkeys(columns, float(step)))
        assert len(written) == step and written[-1].count(f'<div class="now">{step}</div>') == 9
    page.check()


@pytest.mark.parametrize(("last", "told"), [(math.nan, "NaN"), (math.inf, "∞"), (-math.inf, "−∞"), (0.25, "0.25")])
def test_numbers_say_what_came_last_of_many_rows_also_where_it_is_not_finite(tmp_path, streamvis_page, last, told):
    (tmp_path / "page.py").write_text(LAST)
    random = np.random.default_rng(1)
    sent = [rows(step, "train", {"y": random.normal(size=5)}) for step in range(600)]
    page = streamvis_page(tmp_path / "page.py", records=sent)
    page.sendl(600, "train", {"y": last})
    assert f'<div class="now">{told}</div>' in page["numbers"].text
    page.check()
