"""What is free in the C library's heap is given back to the system, though pieces live on between it."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import psutil
import pytest
from tornado.ioloop import IOLoop

from streamvis.page.web.memory import Heap

PIECES, PIECE_BYTES, KEPT = 20_000, 4000, 200


def memory_mib() -> float:
    return psutil.Process().memory_info().rss / 2**20


def test_what_ended_sessions_left_free_is_given_back_once_for_all_of_them():
    heap = Heap(pause_s=0.05)
    if heap._trim is None:
        pytest.skip("this C library cannot give back what is free inside its heap")
    trim = heap._trim
    pieces = [b"x" * PIECE_BYTES for _ in range(PIECES)]
    kept = pieces[:: PIECES // KEPT]
    pieces.clear()
    before = memory_mib()

    async def end_sessions() -> int:
        trimmed: asyncio.Queue[int] = asyncio.Queue()
        heap._trim = lambda pad: trimmed.put_nowait(trim(pad))
        for together in (3, 1):
            for _ in range(together):
                heap.trim_later(IOLoop.current())
            await trimmed.get()
        return trimmed.qsize()

    assert asyncio.run(asyncio.wait_for(end_sessions(), 10)) == 0
    assert before - memory_mib() > 0.7 * PIECES * PIECE_BYTES / 2**20
    assert len(kept) == KEPT


THREADS = """
import threading, psutil
from streamvis.page.web.memory import Heap

heap = Heap()
if heap._trim is None:
    raise SystemExit

def read() -> None:
    large = b"x" * 6_000_000  # once such a piece was freed, glibc keeps as much at the end of a heap
    del large
    pieces = [b"x" * 1_000_000 for _ in range(5)]
    del pieces

def memory() -> int:
    heap._trim(0)
    return psutil.Process().memory_info().rss

read()
before, is_over, threads = memory(), threading.Event(), []
for _ in range(8):
    done = threading.Event()
    threads.append(threading.Thread(target=lambda: (read(), done.set(), is_over.wait())))
    threads[-1].start()
    done.wait()
more = memory() - before
is_over.set()
assert more < 12_000_000, more
"""


def test_what_threads_that_live_on_have_freed_is_given_back_too():
    subprocess.run([sys.executable, "-c", THREADS], check=True, timeout=60)
