"""The fault program's own promises: its comparison sees what it is there to see, and its proxy cuts where it says."""

import contextlib
import socket
import threading

import pytest

from support.faults.ledger import Findings, Life, StoredRow, Told, compare_store, compare_told
from support.faults.proxy import DOWN, UP, Proxy


@pytest.fixture
def make_life(tmp_path):
    """`make_life(count, stored=0, killed_at=None)`: a life that sent `count` rows of the key k, every 10 ms from 100 s on."""

    def make(count, *, stored=0, killed_at=None, life=1):
        lines = [f"begin\t{n}\t1\trows\tk\t{n}\t{100 + n / 100}\nhanded\t{n + 1}\n" for n in range(count)]
        path = tmp_path / f"life {life}"
        path.write_text("".join(lines) + f"stored\t{stored}\n")
        made = Life(life, path)
        made.killed_at = killed_at
        made.read()
        made.demand()
        return made

    return make


def rows(*numbers, life=1):
    return [StoredRow(life, n, n, n / 2) for n in numbers]


def found(life, *numbers, spooled=(), window_s=0.05):
    findings = Findings()
    compare_store(findings, [life], {"k": rows(*numbers)}, {}, spooled={(1, n) for n in spooled}, window_s=window_s)
    return findings


def test_what_was_acknowledged_and_is_not_stored_is_lost(make_life):
    assert found(make_life(5, stored=4), 0, 1, 2, 3).is_good
    assert found(make_life(5, stored=4), 0, 1, 3).lost == {("store", 1, 2)}


def test_what_ended_by_itself_takes_nothing_with_it(make_life):
    ended = make_life(5, stored=2)
    ended.has_ended = True
    assert found(ended, 0, 1, 2, 3, 4).is_good and found(ended, 0, 1, spooled=[2, 3, 4]).is_good
    assert found(ended, 0, 1, 2, 3, spooled=[]).lost == {("ended", 1, 4)}


def test_what_is_stored_twice_is_doubled(make_life):
    assert found(make_life(3, stored=3), 0, 1, 2, 1).doubled == {("store", 1, 1)}


def test_what_overtook_an_earlier_row_is_out_of_order(make_life):
    assert found(make_life(3, stored=3), 1, 0, 2).out_of_order == {("store", "k", 1, 0)}


def test_what_nobody_sent_or_not_like_that_is_seen(make_life):
    assert found(make_life(2, stored=2), 0, 1, 2).invented
    findings = Findings()
    changed = [*rows(0), StoredRow(1, 1, 1, 7.0)]
    compare_store(findings, [make_life(2, stored=2)], {"k": changed}, {}, spooled=set(), window_s=1)
    assert findings.invented == {("store", "k", 1, 1, 1, 7.0)}


def test_a_killed_producer_may_take_its_last_moments_with_it_and_no_more(make_life):
    life = make_life(10, stored=3, killed_at=100.1)
    findings = found(life, *range(6), window_s=0.05)
    assert findings.is_good and findings.gone_with_producer == {(1, n) for n in range(6, 10)}
    assert findings.longest_window_s == pytest.approx(0.04)
    assert found(life, *range(4), window_s=0.05).lost == {("killed", 1, 4)}


def test_what_lies_in_a_spool_is_not_lost_and_what_lacks_before_it_is(make_life):
    life = make_life(10, stored=3, killed_at=100.1)
    findings = found(life, *range(4), spooled=range(4, 10), window_s=0)
    assert findings.is_good and findings.left_in_spool == {(1, n) for n in range(4, 10)}
    assert found(life, *range(4), spooled=[4, 5, 7, 8, 9], window_s=1).lost == {("killed", 1, 6)}


def test_a_value_that_was_replaced_is_not_lost_and_a_newer_one_is(tmp_path):
    path = tmp_path / "life"
    path.write_text("".join(f"begin\t{n}\t1\tvalue\tv\t0\t100\nhanded\t{n + 1}\n" for n in range(3)) + "stored\t3\n")
    life = Life(1, path)
    life.read()
    life.demand()
    for stored, lost in ((2, set()), (1, {("store", 1, 2)})):
        findings = Findings()
        compare_store(findings, [life], {}, {("v", 0): (1, stored)}, spooled=set(), window_s=0)
        assert findings.lost == lost


@pytest.fixture
def told(tmp_path):
    """`told(*pieces, values=())`: what a reader wrote that was given these rows of k, piece by piece, and these values of v."""

    def make(*pieces, values=()):
        lines = [f'{{"rows": {{"k": {[[1, n] for n in piece]}}}, "values": {{}}}}' for piece in pieces]
        lines += [f'{{"rows": {{}}, "values": {{"v": [1, {n}]}}}}' for n in values]
        (tmp_path / "told").write_text("\n".join(lines) + "\n")
        made = Told("reader", tmp_path / "told")
        for _ in made.read():
            pass
        return made

    return make


def compared(told, *numbers, newest=(), whole=True):
    findings = Findings()
    compare_told(findings, told, {"k": [(1, n) for n in numbers]}, {"v": (1, max(newest))} if newest else {}, whole=whole)
    return findings


def test_a_reader_that_saw_the_log_is_good(told):
    assert compared(told([0, 1], [2], values=[1, 3]), 0, 1, 2, newest=[3]).is_good
    assert compared(told([0, 1], [2, 3]), 0, 1, 2).is_good
    assert compared(told([0]), 0, 1, 2, whole=False).is_good


def test_a_reader_that_missed_repeated_or_swapped_is_found_out(told):
    assert compared(told([0], [2]), 0, 1, 2).lost == {("reader", 1, 1)}
    assert compared(told([0], [2]), 0, 1, 2, whole=False).lost == {("reader", 1, 1)}
    assert compared(told([0, 1], [1, 2]), 0, 1, 2).doubled == {("reader", 1, 1)}
    assert compared(told([1, 0, 2]), 0, 1, 2).out_of_order
    assert compared(told([2], [1]), 2, 1).out_of_order
    assert compared(told(values=[1]), newest=[3]).lost == {("reader", "v", 1, 3)}
    assert compared(told(values=[3, 2]), newest=[2]).out_of_order
    assert compared(told(values=[3, 3]), newest=[3]).doubled


@pytest.fixture
def echoing():
    """A proxy before a server that answers each piece with the same."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve(near):
        with near, contextlib.suppress(ConnectionError):  # a cut is a reset here
            while piece := near.recv(1000):
                near.sendall(piece)

    def accept():
        while True:
            try:
                near, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(near,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    proxy = Proxy(listener.getsockname()[1])
    yield proxy
    proxy.close()
    listener.close()


def exchanged(proxy, text):
    """What comes back of `text` until the connection ends, or all of it is there."""
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=10) as near:
        near.sendall(text)
        back = b""
        try:
            while len(back) < len(text) and (piece := near.recv(1000)):
                back += piece
        except ConnectionError:
            pass
        return back


@pytest.mark.parametrize(("direction", "after"), [(UP, 0), (UP, 4), (DOWN, 0), (DOWN, 4)])
def test_a_proxy_cuts_one_connection_after_so_many_bytes(echoing, direction, after):
    assert exchanged(echoing, b"0123456789") == b"0123456789"
    happened = []
    cutting = threading.Thread(target=lambda: happened.append(echoing.cut(direction, after, within_s=10)))
    cutting.start()
    backs = []
    while cutting.is_alive():
        backs.append(exchanged(echoing, b"0123456789"))
    assert happened == [True]
    (cut,) = [back for back in backs if back != b"0123456789"]
    assert b"0123456789".startswith(cut) and len(cut) <= after
    assert exchanged(echoing, b"0123456789") == b"0123456789"


def test_where_nothing_passes_there_is_nothing_to_cut(echoing):
    assert not echoing.cut(UP, 0, within_s=0.01)
