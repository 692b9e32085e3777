"""Counts in texts for people."""

import pytest

from streamvis.counting import agreeing, counted


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 records are"), (1, "1 record is"), (2, "2 records are"), (12_345, "12,345 records are")]
)
def test_one_thing_is_told_in_the_singular(count, text):
    assert f"{counted(count, 'record')} {agreeing(count, 'is', 'are')}" == text
