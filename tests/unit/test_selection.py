"""What an address selects, and the address that selects it."""

from urllib.parse import parse_qs

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamvis.errors import UsageError
from streamvis.selection import FOLLOWS, PINNED, STATS, Selection

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
SELECTIONS = st.builds(
    Selection,
    app=st.none() | TEXTS,
    runs=st.lists(TEXTS, max_size=4, unique=True).map(tuple),
    where=st.just("") | TEXTS,
    group=st.just("") | TEXTS,
    stat=st.sampled_from(STATS),
    at=st.none() | st.integers(0, 2**63 - 1),
    follow=st.sampled_from(FOLLOWS),
)


@given(SELECTIONS)
def test_a_selection_is_what_its_address_says(selection):
    assert Selection.read(parse_qs(selection.query(), keep_blank_values=True)) == selection


def test_an_address_without_an_app_is_of_the_page_s_own():
    assert Selection.read({"run": ["a", "", "b", "a"]}, app="mine") == Selection("mine", ("a", "b"))
    assert Selection.read({"app": ["other"]}, app="mine").app == "other"
    assert Selection.read({}, follow=PINNED).follow == PINNED
    assert Selection.read({"follow": ["oldest"]}, follow=PINNED).follow == "oldest"


def test_several_runs_are_named_or_chosen_by_a_filter_or_grouped():
    for selection in (Selection("a"), Selection("a", ("one",)), Selection("a", ("one",), where="x > 1")):
        assert not selection.is_many
    for selection in (Selection("a", ("one", "two")), Selection("a", where="x > 1"), Selection("a", group="config.x")):
        assert selection.is_many


@pytest.mark.parametrize("name", ["stat", "follow", "at"])
def test_what_an_address_cannot_say_is_refused_with_what_it_can(name):
    with pytest.raises(UsageError, match=f"{name}='odd'.*(std, sem|newest, oldest|whole number)"):
        Selection.read({name: ["odd"]})
