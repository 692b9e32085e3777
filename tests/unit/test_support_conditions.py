"""Deadlines say what was awaited and what was seen last."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.conditions import wait_until


def test_the_value_that_fits_is_returned():
    values = iter([0, None, "", 3])
    assert wait_until(lambda: next(values), 5, "a value") == 3


def test_a_missed_deadline_names_what_was_awaited_and_the_last_value():
    with pytest.raises(AssertionError, match=r"waited 0.05 s for: rows to arrive; the last value was \[\]"):
        wait_until(list, 0.05, "rows to arrive")


def test_a_failed_assertion_means_not_yet_and_is_told_at_the_deadline():
    seen = []

    def second_look() -> bool:
        seen.append(1)
        assert len(seen) > 1, "too early"
        return True

    assert wait_until(second_look, 5)

    def never() -> bool:
        raise AssertionError("still 3 rows")

    with pytest.raises(AssertionError, match="for: never; it last failed with: still 3 rows"):
        wait_until(never, 0.05)


def test_any_other_error_of_the_predicate_ends_the_wait():
    with pytest.raises(ZeroDivisionError):
        wait_until(lambda: 1 / 0, 60)


@given(st.integers())
def test_property_tests_run_beside_the_fixture_that_every_test_gets(number):
    assert number == int(str(number))
