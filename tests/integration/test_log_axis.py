"""A live source on a logarithmic axis that was there before x was above 0 shows as much as one that is made at the end."""

from __future__ import annotations

import numpy as np
import pytest

from streamvis import Client
from streamvis.page.feeds.reader import EndpointReader
from streamvis.page.live.sources import LiveSpec
from streamvis.page.live.track import LiveTrack

MAX_ROWS = 400
SPEC = LiveSpec("main", "x", ("y",), MAX_ROWS, None)
SIDE = 0.125
"""Extremes are compared in pieces of x so wide, in powers of ten: at least as wide as the buckets of either track."""


def wave(x):
    return np.where(x == 7, 99.0, np.sin(x * 12.9898) * 43758.5453 % 1)


def drawn(track):
    """The extremes of each piece of x that a logarithmic axis shows."""
    columns = track._table.columns
    above = columns["x"] > 0
    places, found = np.floor(np.log10(columns["x"][above]) / SIDE), {}
    for place, y in zip(places.tolist(), columns["y"][above].tolist(), strict=True):
        low, high = found.get(place, (y, y))
        found[place] = (min(low, y), max(high, y))
    return found


@pytest.mark.parametrize(("first", "last", "chunk"), [(0, 5000, 50), (-3000, 60_000, 1000), (-40, 60_000, 30_000)])
def test_a_track_that_saw_x_begin_at_or_below_zero_has_the_extremes_and_the_bounds_of_a_fresh_one(
    first, last, chunk, start_endpoint
):
    url = start_endpoint().url
    reader = EndpointReader(url)
    x = np.arange(first, last, dtype=float)
    begun = max(1, int(-first * 0.9) + 1)
    with Client(url, "log") as client:
        run = client.init()
        client.sendl(0, "main", {"x": x[:begun], "y": wave(x[:begun])})
        assert client.flush()
        cursor = reader.run(run).cursor
        live = LiveTrack(SPEC, log=True)
        live.is_fetching = True
        live.take(*live.fetch(reader, run))
        most = 0
        for at in range(begun, len(x), chunk):
            part = slice(at, at + chunk)
            client.sendl(at, "main", {"x": x[part], "y": wave(x[part])})
            assert client.flush()
            piece = reader.tail(run, after=cursor)
            assert not piece.more
            live.add([piece])
            cursor, most = piece.cursor, max(most, len(live.numbers))
        fresh = LiveTrack(SPEC, log=True)
        fresh.take(*fresh.fetch(reader, run))
    assert drawn(live) == drawn(fresh)
    assert (99.0 in live._table.columns["y"]) and most <= 2 * MAX_ROWS + 2
    assert len(live.numbers) >= 0.5 * len(fresh.numbers)
