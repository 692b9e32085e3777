"""What the OpenAPI document says of states is what runs have."""

from __future__ import annotations

from typing import get_args

from streamvis.endpoint.request_schemas import EndState
from streamvis.endpoint.response_schemas import State
from streamvis.records import STATES, VANISHED


def test_the_states_of_the_schemas_are_those_of_runs():
    assert get_args(EndState) == STATES[1:]
    assert get_args(State) == (*STATES, VANISHED)
