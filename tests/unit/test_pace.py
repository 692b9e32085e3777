"""The pause that many are asked for: simulated crowds, each of whom comes again after its own interval or that pause."""

import heapq
from collections import Counter

import pytest

from streamvis.pace import Pace

MOST_PER_S = 100


def crowd(intervals, *, until_s=30.0, leaves=()):
    """What a crowd does: how often each came in the last ten seconds, and the pause at the end.

    `intervals` are each one's own, in seconds; `leaves` are those who go after ten seconds.
    """
    now, count, came = 0.0, 0, Counter()
    pace = Pace(lambda: count, MOST_PER_S, clock=lambda: now)
    coming = [(interval * i / len(intervals), i) for i, interval in enumerate(intervals)]
    heapq.heapify(coming)
    while coming:
        now, who = heapq.heappop(coming)
        if now > until_s:
            break
        if who in leaves and now > 10:
            continue
        count += 1
        came[who] += now > until_s - 10
        heapq.heappush(coming, (now + max(intervals[who], pace.pause_s()), who))
    return came, pace.pause_s()


@pytest.mark.parametrize("count", [20, 100, 150])
def test_however_many_come_often_there_are_never_many_more_than_may_be(count):
    came, pause_s = crowd([0.01] * count)
    assert 0.6 * MOST_PER_S < sum(came.values()) / 10 < 1.3 * MOST_PER_S
    assert pause_s > 0.5 * count / MOST_PER_S
    assert min(came.values()) > 0.7 * max(came.values())  # everybody has a share


def test_the_pause_has_an_end():
    assert crowd([0.01] * 1000)[1] == 2.0


def test_few_who_come_often_and_many_who_come_seldom_are_not_held_up():
    assert crowd([0.1] * 9)[1] == 0
    assert crowd([10.0] * 500)[1] == 0


def test_who_comes_seldom_is_not_held_up_by_those_who_come_often():
    came, _ = crowd([5.0] * 20 + [0.01] * 100)
    assert all(came[who] == 2 for who in range(20))


def test_the_pause_goes_when_the_crowd_does():
    assert crowd([0.1] * 100, leaves=range(5, 100))[1] == 0
