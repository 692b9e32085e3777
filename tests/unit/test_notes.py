"""Notes, as what was sent lies in a producer's log until it is brought into Arrow form: they lose nothing."""

from __future__ import annotations

import datetime as dt
import math

from hypothesis import example, given
from hypothesis import strategies as st

from streamvis.client.outbox import CONTROL, Begin
from streamvis.client.spool.frames import entries_of, notes_of
from streamvis.client.values.describing import described

LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.text(max_size=5),
    st.datetimes(allow_imaginary=False).map(lambda time: time.replace(fold=0)),
    st.timedeltas(),
)
CONFIGS = st.dictionaries(
    st.text(max_size=5) | st.just("~t"),
    st.recursive(LEAVES, lambda part: st.lists(part, max_size=3) | st.dictionaries(st.text(max_size=3) | st.just("~a"), part)),
    max_size=4,
)


def began(config):
    return Begin("run", described(config), None, False, "attempt")


@given(CONFIGS)
@example({"when": dt.datetime(2024, 1, 1), "lr": math.nan, "~odd": [1, None]})
def test_any_config_comes_back_as_it_was(config):
    begin = began(config)
    ((*_, read, _),) = entries_of(notes_of([(CONTROL, None, 1.0, None, begin, 0)]))
    assert repr(read._replace(config=dict(read.config))) == repr(begin._replace(config=dict(begin.config)))
