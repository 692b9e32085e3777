"""All rows of a chart as CSV, and what producers say of their columns."""

from __future__ import annotations

import csv
import io
import math
from fnmatch import fnmatchcase

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from streamvis.descriptions import Description, description_of, key_of, pattern_of
from streamvis.page.web.csv_export import csv_pieces
from streamvis.records import Rows
from support.panels import Shelf

TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=12)


def table(rows, series):
    shelf = Shelf()
    for its in rows:
        shelf.rows.setdefault(its.key, []).append(its)
    return list(csv.reader(io.StringIO("".join(csv_pieces(shelf, ["run"], series)))))


def rows(key, count, **columns):
    steps = np.arange(count)
    return Rows(key, steps, steps / 4, columns)


@given(st.lists(st.floats(), min_size=1, max_size=40), st.lists(st.one_of(st.none(), TEXT), min_size=40, max_size=40))
def test_numbers_and_texts_read_back_as_they_were_sent(numbers, texts):
    count = len(numbers)
    found = table([rows("k", count, n=np.array(numbers), t=texts[:count])], [("k", "n"), ("k", "t")])
    assert found[0] == ["step", "time", "key", "n", "t"]
    expected = [
        (i, number, text)
        for i, (number, text) in enumerate(zip(numbers, texts, strict=False))
        if not math.isnan(number) or text is not None
    ]
    assert [int(row[0]) for row in found[1:]] == [i for i, _, _ in expected]
    for row, (_, number, text) in zip(found[1:], expected, strict=True):
        assert row[3] == "" if math.isnan(number) else float(row[3]) == number
        assert row[4] == (text or "")


def test_each_key_has_its_columns_and_pieces_may_lack_some():
    pieces = [
        rows("a", 2, x=np.array([1, 2**60 + 1])),
        rows("a", 1, y=np.array([0.1])),
        rows("b", 1, x=np.array([5]), y=np.array([6])),
    ]
    found = table(pieces, [("a", "x"), ("b", "x"), ("a", "y")])
    assert [row[2:] for row in found] == [
        ["key", "x", "y"],
        ["a", "1", ""],
        ["a", str(2**60 + 1), ""],
        ["a", "", "0.1"],
        ["b", "5", ""],
    ]
    assert found[2][1] == "1970-01-01T00:00:00.250000Z"


def test_arrays_times_and_nested_cells_are_written_as_text():
    cells = {
        "arrays": [np.array([1.0, 2.0]), np.array([]), None],
        "square": np.zeros((3, 2)),
        "times": np.array(["2024-01-01", "NaT", "2024-01-02"], "M8[us]"),
        "nested": [{"a": [1]}, None, "=1+1"],
    }
    found = table([rows("k", 3, **cells)], [("k", name) for name in cells])
    assert len(found) == 4 and found[1][5].startswith("2024-01-01T") and found[2][5] == ""
    assert found[1][6] == "{'a': [1]}" and found[1][3] == "[1.0, 2.0]"


def test_nothing_that_exists_gives_the_head_alone():
    assert table([], [("nope", "x")]) == [["step", "time", "key", "x"]]


SIMPLE = st.text("abc/*?[].-!", max_size=8)
FIELDS = ("title", "section", "x", "scale", "unit", "best")
SAID = st.builds(Description, **{name: st.none() | st.sampled_from(["one", "two", ""]) for name in FIELDS})


@given(SIMPLE, st.dictionaries(SIMPLE, SAID, max_size=5))
def test_the_longest_pattern_that_fits_decides_each_part(name, described):
    found = description_of(name, described)
    for part in FIELDS:
        saying = [pattern for pattern, said in described.items() if fits(name, pattern) and getattr(said, part) is not None]
        longest = max(map(len, saying), default=None)
        allowed = {getattr(described[pattern], part) for pattern in saying if len(pattern) == longest} or {None}
        assert getattr(found, part) in allowed


def fits(name: str, pattern: str) -> bool:
    """The slow way: `*` stands for any text, and every other character for itself."""
    if not pattern:
        return not name
    if pattern[0] == "*":
        return any(fits(name[i:], pattern[1:]) for i in range(len(name) + 1))
    return bool(name) and name[0] == pattern[0] and fits(name[1:], pattern[1:])


@given(st.text())
def test_a_pattern_is_found_in_its_key(pattern):
    assert pattern_of(key_of(pattern)) == pattern
    assert pattern_of("x" + key_of(pattern)) is None


@given(
    st.recursive(
        st.none() | st.text() | st.integers(), lambda part: st.dictionaries(st.text(), part) | st.lists(part), max_leaves=6
    )
)
def test_anything_may_be_stored_as_a_description(says):
    assert isinstance(Description.read({"says": says}), Description)


def test_names_are_matched_with_their_case():
    assert not fnmatchcase("Loss", "loss")
    assert description_of("Loss", {"loss": Description(title="no")}) == Description()


def test_of_several_runs_each_row_says_of_which_it_is():
    shelf = Shelf()
    shelf.rows["k"] = [rows("k", 2, x=np.array([1, 2]))]
    found = list(csv.reader(io.StringIO("".join(csv_pieces(shelf, ["one", "two"], [("k", "x")])))))
    assert found[0] == ["run", "step", "time", "key", "x"]
    assert [" ".join([row[0], row[1], row[4]]) for row in found[1:]] == ["one 0 1", "one 1 2", "two 0 1", "two 1 2"]
