"""A board of panels: where each lies, which exist, and what it makes of settings from anywhere."""

from __future__ import annotations

import json

import numpy as np
import pytest
from bokeh.models import Div
from hypothesis import example, given
from hypothesis import strategies as st
from tornado.escape import parse_qs_bytes

from streamvis import panels
from streamvis.pages import runs
from streamvis.panels.board_layout import Settings
from streamvis.panels.curves import _distinct
from support.panels import Panels, control_of, layout_of

WIDTH, HEIGHT = 1400, 900


def boxes(count, *, sections=1, wide=()):
    return [
        panels.card(f"box {i}", lambda shared: Div(text="box"), section=f"s{i % sections}", wide=i in wide) for i in range(count)
    ]


def opened(cards, *, width=WIDTH):
    site = Panels(panels.board(cards))
    site.settle()
    look(site, 0, width=width)
    return site


def look(site, top, *, width=WIDTH, height=HEIGHT):
    control_of(site).view = json.dumps({"top": top, "bottom": top + height, "width": width})
    site.settle()


def choose(site, **settings):
    control = control_of(site)
    control.settings = json.dumps({**json.loads(control.settings), **settings})
    site.settle()


def space_of(site):
    return site.doc.roots[0].children[1]


def made(site):
    """The styles of the frames with panels, each by its card's name."""
    styles = {child.elements[0].id: child.styles for child in space_of(site).children if child.elements}
    return {one["name"]: styles[one["id"]] for one in layout_of(site)["cards"]}


def left_and_width(styles):
    return tuple(float(styles[side].split("(")[1].split("%")[0]) for side in ("left", "width"))


def test_cards_lie_side_by_side_in_order_as_many_as_fit():
    site = opened(lambda keys: boxes(8))
    places = [(float(its["top"][:-2]), *left_and_width(its)) for its in made(site).values()]
    assert places == sorted(places)
    assert [round(left) for _, left, _ in places[:4]] == [0, 25, 50, 75] and len({top for top, *_ in places[:4]}) == 1
    assert places[4][0] > places[0][0] and places[4][1] == 0
    look(site, 0, width=340)
    assert {left_and_width(its) for its in made(site).values()} == {(0.0, 100.0)}


def test_a_wide_card_takes_two_places_and_never_leaves_its_row():
    site = opened(lambda keys: boxes(6, wide={3}))
    assert left_and_width(made(site)["s0/box 3"]) == (0.0, 50.0)
    look(site, 0, width=340)
    assert left_and_width(made(site)["s0/box 3"]) == (0.0, 100.0)


@pytest.mark.parametrize("size", ["s", "l"])
def test_cards_come_in_sizes(size):
    site = opened(lambda keys: boxes(8))
    choose(site, size=size)
    assert (left_and_width(made(site)["s0/box 0"])[1] < 25) == (size == "s")


def test_however_many_cards_there_are_only_those_near_the_view_exist():
    site = opened(lambda keys: boxes(5_000))
    counts = []
    for top in (0, 100_000, 300_000, 0, 300_000, 0):
        look(site, top)
        counts.append(len(site.doc.models))
        assert 8 <= len(made(site)) <= 40
    assert counts[3] == counts[-1] and max(counts) < 200
    look(site, 0, height=10**7)
    assert len(made(site)) <= 300, "in a frame as high as its page, all is in view"


def test_a_large_window_is_filled_without_waiting_for_the_browser_which_lays_out_what_there_is_once():
    site = Panels(panels.board(lambda keys: boxes(5000)))
    site.settle()
    layouts, updates = [], []
    space_of(site).on_change("children", lambda attr, old, new: layouts.append(len(new)))
    site.fillers.update = updates.append  # only once the browser has painted what came before
    look(site, 0, width=2500, height=1300)
    assert len(made(site)) == 7 * 7
    assert len(layouts) <= 1 and not updates
    for top in (3000, 1_000, 0):
        look(site, top, width=2500, height=1300)
        assert len(made(site)) >= 7 * 6
    assert len(layouts) <= 2


def test_the_search_finds_by_words_in_any_order_and_case():
    site = opened(lambda keys: boxes(5000))
    choose(site, q="BOX 4711")
    assert list(made(site)) == ["s0/box 4711"] and layout_of(site)["found"] == 1 and layout_of(site)["total"] == 5000
    choose(site, q="4711 s0")
    assert list(made(site)) == ["s0/box 4711"]
    choose(site, q="nothing like it")
    assert not made(site) and layout_of(site)["found"] == 0
    choose(site, q="")
    assert layout_of(site)["found"] == 5000


def test_sections_fold_and_of_very_many_only_the_first_are_open():
    site = opened(lambda keys: boxes(9, sections=3))
    choose(site, fold={"s1": True})
    assert {name.split("/")[0] for name in made(site)} == {"s0", "s2"}
    assert [head["folded"] for head in layout_of(site)["heads"]] == [False, True, False]
    choose(site, fold={"s1": False})
    assert len(made(site)) == 9
    site = opened(lambda keys: boxes(200, sections=100))
    assert [head["folded"] for head in layout_of(site)["heads"]] == [False] * 3 + [True] * 97
    choose(site, q="box")
    assert not any(head["folded"] for head in layout_of(site)["heads"])


def test_an_enlarged_card_exists_wherever_the_viewer_looks():
    site = opened(lambda keys: boxes(5000))
    choose(site, big="s0/box 4000")
    assert made(site)["s0/box 4000"]["position"] == "fixed"
    choose(site, big="")
    assert "s0/box 4000" not in made(site)
    choose(site, big="no such card")
    assert made(site)


def test_cards_of_one_section_and_title_are_all_shown():
    site = opened(lambda keys: [panels.card("twin", lambda shared, i=i: Div(text=f"twin {i}")) for i in range(3)])
    assert sorted(div.text for div in site.doc.select({"type": Div}) if "twin" in div.text) == ["twin 0", "twin 1", "twin 2"]


def test_a_value_and_a_column_of_one_name_are_both_on_the_default_page():
    site = opened(runs.cards)
    site.learn(train={"loss": "float64"})
    site.send_all({"train/loss": {"words": ["text"]}, "metrics/loss": {"words": ["more"]}})
    assert layout_of(site)["total"] == 3


def test_every_column_of_rows_is_somewhere_on_the_default_page():
    site = opened(runs.cards)
    site.learn(odd={"flag": "bool", "at": "datetime64[us, UTC]", "span": "timedelta64[us]"}, log={"line": "string"})
    titles = {one["title"] for one in layout_of(site)["cards"]}
    assert "log line" in titles and "odd" in titles


def test_a_value_that_becomes_something_else_gets_another_panel():
    site = opened(runs.cards)
    site.send(samples={"what": {"a": {"b": 1}}})
    before = {one["name"]: one["id"] for one in layout_of(site)["cards"]}
    site.send(samples={"image": np.zeros((3, 8, 8))})
    after = {one["name"]: one["id"] for one in layout_of(site)["cards"]}
    assert after.keys() == before.keys() and after != before
    assert site.html().count("<img") == 3
    site.send(samples={"image": np.ones((3, 8, 8))})
    assert {one["name"]: one["id"] for one in layout_of(site)["cards"]} == after


def test_a_column_that_comes_later_comes_onto_the_board_and_the_other_panels_stay():
    site = opened(runs.cards)
    site.learn(train={"loss": "float64"})
    before = {one["name"]: one["id"] for one in layout_of(site)["cards"]}
    site.learn(train={"loss": "float64", "accuracy": "float64"})
    after = {one["name"]: one["id"] for one in layout_of(site)["cards"]}
    assert len(after) == 2 and before.items() <= after.items()


def test_splits_are_drawn_together_and_other_names_are_not():
    places = runs.places_of(["train/loss", "val/loss", "rest/loss", "train/a/b", "m/val_f1", "m/train_f1"])
    assert places["train/loss"] == places["val/loss"] == ("metrics", "loss")
    assert places["m/val_f1"] == places["m/train_f1"] == ("m", "f1")
    assert len(set(places.values())) == 4


def test_only_what_two_columns_begin_with_is_a_section():
    curves = [("train", "images/s"), ("train", "loss"), ("net", "layer1/norm"), ("net", "layer1/mean"), ("k", "y")]
    names = runs.names_of(curves)
    assert names == ["train/images/s", "train/loss", "layer1/norm", "layer1/mean", "k/y"]
    assert list(runs.places_of(names).values()) == [
        ("metrics", "images/s"),
        ("metrics", "loss"),
        ("layer1", "norm"),
        ("layer1", "mean"),
        ("metrics", "k/y"),
    ]


ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda part: st.lists(part, max_size=3) | st.dictionaries(st.text(max_size=4), part, max_size=3),
    max_leaves=5,
)


@given(st.fixed_dictionaries({}, optional=dict.fromkeys(("q", "x", "smooth", "log", "size", "big", "fold"), ANY)))
def test_settings_are_sound_whatever_the_address_says(said):
    found = Settings.of(said)
    assert 0 <= found.smooth < 1 and found.size in "sml" and found.x and isinstance(found.log, bool)
    assert json.loads(json.dumps(found.q)) == found.q and all(isinstance(folded, bool) for folded in found.fold.values())


@pytest.mark.parametrize(
    "query", [b"fold=" + b"[" * 50_000, b"fold={", b"smooth=nan", b"smooth=1e999", b"x=&size=&q=%00", b"fold=%22a%22", b"q=%C3"]
)
def test_a_hostile_address_opens_the_page_as_it_is(query):
    arguments = parse_qs_bytes(query)
    site = asked_for(boxes(3), arguments=arguments)
    look(site, 0)
    assert not site.troubles
    json.loads(control_of(site).settings)


def asked_for(cards, *, arguments=None, headers=None):
    """A page with a board, as a browser asks for it."""
    request = type("Request", (), {"arguments": arguments or {}, "headers": headers or {}})()
    context = type("Context", (), {"request": request})()
    site = Panels()
    site.doc._session_context = lambda: context
    site.doc.add_root(panels.board(lambda keys: cards))
    site.settle()
    return site


@pytest.mark.parametrize(
    ("said", "across", "count"),
    [({}, 3, 9), ({"Streamvis-Frame": "2580x1360"}, 6, 30), ({"Streamvis-Frame": "0x0"}, 3, 9), ({"User-Agent": "Mobi"}, 1, 3)],
)
def test_the_first_panels_have_their_places_for_the_frame_that_they_are_asked_for(said, across, count):
    site = asked_for(boxes(100), headers=said)
    assert {round(100 / left_and_width(its)[1]) for its in made(site).values()} == {across}
    assert len(made(site)) == count


KEYS, COLUMNS = st.sampled_from(["a", "b", "a/b", "a/b/c"]), st.sampled_from(["c", "b/c", "a/b/c", "d", "a/c"])
NAMES = st.lists(st.tuples(KEYS, COLUMNS), min_size=1)


@given(NAMES.map(lambda pairs: list(dict.fromkeys(pairs))))
@example([("a", "b/c"), ("a/b", "c")])
def test_curves_have_names_of_their_own(pairs):
    names = _distinct(pairs)
    assert len(set(names)) == len(pairs) and all(names)


def test_curves_are_called_by_what_differs():
    assert _distinct([("train", "loss"), ("val", "loss")]) == ["train", "val"]
    assert _distinct([("k", "loss"), ("k", "accuracy")]) == ["loss", "accuracy"]
    assert _distinct([("k", "train/loss"), ("k", "val/loss")]) == ["train", "val"]
    assert _distinct([("k", "loss")]) == ["loss"]
