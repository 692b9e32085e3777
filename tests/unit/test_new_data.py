"""What `update_page` gets: columns in one form for as long as a page is open, whatever the pieces were."""

import datetime as dt

import numpy as np
import pytest
from bokeh.models import ColumnDataSource
from hypothesis import given
from hypothesis import strategies as st

from streamvis.page import folding
from streamvis.page.feeds.reader import Piece
from streamvis.page.new_data import Names, NewData, column_form, merge_rows
from streamvis.page.runs import PageRun
from streamvis.page.shared import Shared
from streamvis.records import Rows, Value
from streamvis.selection import Selection
from streamvis.wire.arrow import decode_tail_body, encode_rows, encode_value
from streamvis.wire.columns import unify_dtypes

CELLS = {
    "int": st.integers(-(2**53), 2**53),
    "float": st.floats(allow_nan=True, allow_infinity=True),
    "bool": st.booleans(),
    "str": st.text(max_size=5),
    "time": st.datetimes(),
    "missing": st.none(),
    "array": st.lists(st.floats(allow_nan=False), max_size=4),
    "dict": st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
}


def piece(columns):
    count = len(next(iter(columns.values())))
    (rows,) = decode_tail_body(encode_rows("k", range(count), [0.0] * count, columns).body)
    return rows


def registry(pieces_of_columns):
    """The dtype words that the store keeps for these pieces."""
    dtypes = {}
    for columns in pieces_of_columns:
        count = len(next(iter(columns.values())))
        for name, word in encode_rows("k", range(count), [0.0] * count, columns).columns.items():
            dtypes[name] = unify_dtypes(dtypes.get(name, word), word)
    return dtypes


@st.composite
def histories(draw):
    """Pieces of a key: some have the column, of one kind of cells or another."""
    kinds = draw(st.lists(st.sampled_from(sorted(CELLS)), min_size=1, max_size=4))
    pieces = []
    for kind in kinds:
        count = draw(st.integers(1, 3))
        columns = {"x": list(range(count))}
        if draw(st.booleans()):
            columns["y"] = draw(st.lists(CELLS[kind], min_size=count, max_size=count))
        pieces.append(columns)
    return pieces


@given(histories())
def test_merged_rows_always_fit_a_source_that_began_empty(pieces):
    dtypes = registry(pieces)
    source = ColumnDataSource({name: [] for name in dtypes})
    for columns in pieces:
        source.stream(dict(merge_rows("k", [piece(columns)], dtypes).columns))
    for name in dtypes:
        assert len(source.data[name]) == sum(len(columns["x"]) for columns in pieces)


@given(histories())
def test_pieces_handed_over_one_by_one_equal_those_handed_over_at_once(pieces):
    dtypes = registry(pieces)
    decoded = [piece(columns) for columns in pieces]
    at_once = merge_rows("k", decoded, dtypes)
    apart = [merge_rows("k", [one], dtypes) for one in decoded]
    for name in dtypes:
        parts = [one.columns[name] for one in apart]
        if isinstance(at_once.columns[name], list):
            joined = [cell for part in parts for cell in part]
            assert repr(joined) == repr(at_once.columns[name])
        else:
            np.testing.assert_array_equal(np.concatenate(parts), at_once.columns[name])


def test_whole_numbers_reach_pages_as_doubles():
    merged = merge_rows("k", [piece({"x": [1, 2]})], {"x": "int64"})
    assert merged.columns["x"].dtype == np.float64


def test_a_column_that_a_piece_lacked_is_filled_in():
    merged = merge_rows(
        "k",
        [piece({"x": [1]}), piece({"x": [2], "y": [0.5], "s": ["a"], "t": np.array(["2026-01-01"], "M8[us]")})],
        {"x": "int64", "y": "float64", "s": "string", "t": "datetime64[us]"},
    )
    assert np.isnan(merged.columns["y"][0])
    assert merged.columns["y"][1] == 0.5
    assert merged.columns["s"] == [None, "a"]
    assert np.isnat(merged.columns["t"][0])


def test_merging_shares_nothing_with_the_pieces():
    rows = Rows("k", np.array([0]), np.array([0.0]), {"y": np.array([1.0])})
    merged = merge_rows("k", [rows], {"y": "float64"})
    merged.columns["y"][0] = 5.0
    assert rows.columns["y"][0] == 1.0


def test_sessions_that_take_the_same_pieces_share_the_merging_and_nothing_else(monkeypatch):
    made, merge = [], folding.merge_rows
    monkeypatch.setattr(folding, "merge_rows", lambda *args: made.append(args) or merge(*args))
    rows = Rows("k", np.array([0]), np.array([0.0]), {"y": np.array([1.0]), "s": ["a"]})
    pieces = [Piece("c", False, False, "run", "running", {"k": {"y": "float64", "s": "string"}}, [rows], 100)]
    folds = folding.Folds()
    one, other = (folds.fold(PageRun("r", "r", {}, "running"), list(pieces), without=frozenset()) for _ in range(2))
    assert len(made) == 1
    one["k"]["y"][0], one["k"]["s"][0], one.steps("k")[0] = 5.0, "b", 7
    assert (other["k"]["y"][0], other["k"]["s"], other.steps("k").tolist()) == (1.0, ["a"], [0])
    assert "k" not in folds.fold(PageRun("r", "r", {}, "running"), pieces, without=frozenset({"k"}))


PARTS = st.recursive(
    st.one_of(st.integers(0, 9), st.booleans(), st.sampled_from([0.5, "a", None])),
    lambda parts: st.one_of(st.lists(parts, max_size=3), st.dictionaries(st.sampled_from("ab"), parts, max_size=2)),
    max_leaves=6,
)
VALUES = st.dictionaries(
    st.sampled_from(["names", "image", "flags", "nested"]),
    st.one_of(PARTS, st.just(np.ones((2, 2))), st.just([np.array([True, False])]), st.just({"deep": [{"a": np.zeros(2)}]})),
    min_size=1,
)
COLUMNS = {
    "number": st.just([1, 2.5]),
    "flag": st.just([True, False]),
    "array": st.just(np.zeros((2, 3))),
    "flags": st.just(np.zeros((2, 3), bool)),
    "ragged": st.just([[1], [2, 3]]),
    "mixed": st.tuples(PARTS, PARTS).map(list),
    "time": st.just(np.array([0, 1], "M8[ns]")),
}


def spoil(node):
    """Change all that can be changed, at every depth, as an author's code may."""
    if isinstance(node, np.ndarray):
        if node.dtype.kind == "O":
            for cell in node:
                spoil(cell)
        node[...] = np.zeros(1, node.dtype)[0] if node.dtype.kind != "b" else ~node
    elif isinstance(node, dict):
        for part in node.values():
            spoil(part)
        node["spoilt"] = True
    elif isinstance(node, list):
        for part in node:
            spoil(part)
        node.insert(0, "spoilt")


@given(VALUES, st.fixed_dictionaries({}, optional=COLUMNS).filter(bool), st.sampled_from([100, 2**24]))
def test_what_one_tab_does_to_its_data_no_other_sees_and_no_later_one(value, columns, size_bytes):
    rows_chunk = encode_rows("k", [0, 1], [0.0, 0.0], columns)
    items = decode_tail_body(rows_chunk.body + encode_value("v", 0, 0.0, value).body)
    pieces = [Piece("c", False, False, "run", "running", {"k": dict(rows_chunk.columns)}, items, size_bytes)]
    folds, run = folding.Folds(), PageRun("r", "r", {}, "running")
    first = folds.fold(run, list(pieces), without=frozenset())
    expected = repr({key: dict(first[key]) for key in first})
    for _ in range(2):
        spoil(dict(first["v"]))
        for part in [*first["v"].values(), *first["k"].values(), first.steps("k")]:
            spoil(part)
        first = folds.fold(run, list(pieces), without=frozenset())
        assert repr({key: dict(first[key]) for key in first}) == expected
        assert first.steps("k").tolist() == [0, 1]


def test_a_feed_is_of_an_endpoint_and_a_token():
    shared = Shared()
    feeds = shared.feeds
    url = "http://127.0.0.1:9"
    one, other = shared.reader(url, "right"), shared.reader(url, "wrong")
    made = [feeds.run(reader, "run", "me", lambda: None) for reader in (one, other, one)]
    apps = [feeds.choice(reader, Selection("app"), "me", lambda: None) for reader in (one, other, one)]
    assert made[0] is made[2] and made[0] is not made[1]
    assert apps[0] is apps[2] and apps[0] is not apps[1]
    assert shared.reader(url, "right") is one
    for followed in made + apps:
        followed.leave("me")


def test_pages_get_times_in_microseconds_whatever_came_before():
    far, fine = [np.datetime64("2400-01-01", "us").item()], np.array(["2024-01-02T00:00:00.000000007"], "M8[ns]")
    merged = merge_rows("k", [piece({"t": far}), piece({"t": fine})], {"t": "datetime64[ns]"})
    assert merged.columns["t"].dtype == "M8[us]"
    assert merged.columns["t"].tolist() == [far[0], np.datetime64("2024-01-02", "us").item()]
    lengths = merge_rows("k", [piece({"d": [dt.timedelta(days=200_000)]}), piece({"d": fine - fine})], {"d": "timedelta64[ns]"})
    assert lengths.columns["d"].tolist() == [dt.timedelta(days=200_000), dt.timedelta(0)]


@pytest.mark.parametrize(
    ("dtype", "form"),
    [("uint8", "number"), ("null", "number"), ("bool", "list"), ("datetime64[ns, UTC]", "time"), ("array<float32>", "list")],
)
def test_the_form_of_a_column_follows_from_its_dtype(dtype, form):
    assert column_form(dtype) == form


def test_a_name_that_is_not_there_is_said_with_those_that_are():
    run = PageRun("id", "name", {}, "running")
    rows = {"loss": merge_rows("loss", [piece({"x": [1.0], "y": [2.0]})], {"x": "float64", "y": "float64"})}
    new_data = NewData(run, rows, {"weights": Value("weights", 3, 0.0, {"image": [1], "of": {"layer": 2}})})
    for asked, has in [
        (lambda: new_data["lss"], "'loss', 'weights'"),
        (lambda: new_data.steps("lss"), "'loss', 'weights'"),
        (lambda: new_data["loss"]["z"], "'x', 'y'"),
        (lambda: new_data["weights"]["images"], "'image', 'of'"),
        (lambda: new_data["weights"]["of"]["depth"], "'layer'"),
        (lambda: Names({"model": {"lr": 1}}, what="config")["model"]["rate"], "'lr'"),
    ]:
        with pytest.raises(KeyError) as raised:
            asked()
        assert str(raised.value).endswith(f"It has {has}.")
    assert new_data.get("lss") is None and "lss" not in new_data
    assert new_data["weights"] == {"image": [1], "of": {"layer": 2}}
    ColumnDataSource({"x": [], "y": []}).stream(new_data["loss"])
