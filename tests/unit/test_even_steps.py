"""Which of many steps stand for all: the same ones whenever it is asked, and however many at a time they came."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from streamvis.series.even_steps import kept_steps, stretch_ends

STEPS = st.sets(st.integers(0, 2**63 - 1) | st.integers(0, 300), min_size=1)


@given(STEPS, st.integers(2, 40))
@example({2**62, 2**63 - 1}, 2)
def test_what_stays_is_what_lies_before_each_of_few_places_with_the_first_and_the_last(steps, most):
    ends = stretch_ends(min(steps), max(steps), most)
    found = dict.fromkeys(max(step for step in steps if step <= end) for end in ends)
    assert list(found) == kept_steps(steps, most) and ends == sorted(ends) and len(ends) <= most
    assert {min(steps), max(steps)} <= set(found)


@given(STEPS, st.integers(2, 40))
def test_what_was_left_out_before_is_never_wanted_again(steps, most):
    kept: list[int] = []
    for step in sorted(steps):
        kept = kept_steps([*kept, step], most)
    assert kept == kept_steps(steps, most)


def test_all_of_as_many_steps_as_there_may_be_stay_and_of_one_the_last():
    assert stretch_ends(7, 106, 100) == list(range(7, 107)) and stretch_ends(7, 106, 1) == [106]
