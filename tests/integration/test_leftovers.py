"""What producers leave behind in their spools, with real processes that are killed, and how it is delivered."""

from __future__ import annotations

import json
import os
import signal
import sys
import textwrap
from glob import glob

import pytest

from streamvis import Client
from streamvis.client.exchange import Answer
from streamvis.client.spool.folders import take
from streamvis.client.spool.frames import read_segment
from streamvis.client.spool.leftovers import Leftover, spools_in
from support.conditions import wait_until
from support.stored import Stored

ROWS = 500


@pytest.fixture
def spool(tmp_path):
    return tmp_path / "spool"


@pytest.fixture
def start_producer(start_program, tmp_path, spool):
    """`start_producer(url, source)` runs a program that finds a client named `client` on the spool, its run begun."""

    def start(url, source, *, options=""):
        head = f"""
            import os, signal, sys, threading, time
            from streamvis import Client
            client = Client({url!r}, "app", spool={str(spool)!r}{options})
            print("run", client.init({{"a": 1}}), flush=True)
        """
        path = tmp_path / f"producer-{len(list(tmp_path.glob('producer-*')))}.py"
        path.write_text(textwrap.dedent(head) + textwrap.dedent(source))
        return start_program([sys.executable, path], is_warm=True)

    return start


SEND_AND_WAIT = f"""
for step in range({ROWS}):
    client.sendl(step, "k", {{"x": step}})
    time.sleep(0.0005)
print("sent", flush=True)
threading.Event().wait()
"""


def spooled(spool):
    """How many records lie in whole batches in the segments of a folder of spools."""
    segments = [path for path in spool.glob("*/*.spool") if path.parent.name != "refused"]
    return sum(batch.records for path in segments for batch, _ in read_segment(path))


def killed_producer(start_producer, spool, url, source=SEND_AND_WAIT):
    """The run of a producer that was killed with all it had sent in its spool."""
    program = start_producer(url, source)
    run = program.wait_for_line(r"run (\S+)")[1]
    program.wait_for_line("sent")
    wait_until(lambda: spooled(spool) == ROWS)
    program.kill()
    program.wait()
    return run


def sync(start_streamvis, spool, *options, status=0):
    program = start_streamvis("sync", spool, *options)
    assert program.wait() == status, program.output()
    return program.output()


def test_sync_delivers_what_a_killed_producer_left_without_an_endpoint(start_producer, start_streamvis, start_endpoint, spool):
    run = killed_producer(start_producer, spool, None)
    endpoint = start_endpoint()
    output = sync(start_streamvis, spool, "--url", endpoint.url)
    assert f"Delivered to the run {run}" in output and f"{ROWS} records delivered, 0 refused, 0 bytes left" in output
    stored = Stored(endpoint.url)
    assert stored.rows(run, "k", "x") == list(range(ROWS))
    assert not stored.run(run)["newest"]
    assert not list(spool.glob("*/*"))
    assert "0 records delivered" in sync(start_streamvis, spool, "--url", endpoint.url)
    assert stored.rows(run, "k", "x") == list(range(ROWS))


def test_what_was_delivered_without_the_run_is_delivered_with_it(start_producer, start_streamvis, start_endpoint, spool):
    """The endpoint that the run began at is gone with all its data: what is in the spool makes the run again at another."""
    first = start_endpoint()
    flag = spool.with_name("go")
    program = start_producer(first.url, f"while not os.path.exists({str(flag)!r}): time.sleep(0.01)\n" + SEND_AND_WAIT)
    run = program.wait_for_line(r"run (\S+)")[1]
    first.kill()
    flag.touch()
    program.wait_for_line("sent")
    wait_until(lambda: spooled(spool) == ROWS)
    program.kill()
    program.wait()
    other = start_endpoint()
    sync(start_streamvis, spool, "--url", other.url)
    assert Stored(other.url).rows(run, "k", "x") == list(range(ROWS))
    assert Stored(other.url).run(run)["config"] == {"a": 1}


def test_the_next_producer_delivers_what_the_last_one_left(start_producer, start_endpoint, spool):
    endpoint = start_endpoint()
    endpoint.kill()
    run = killed_producer(start_producer, spool, endpoint.url)
    endpoint.restart()
    with Client(endpoint.url, "other", spool=spool) as client:
        own = client.init()
        client.sendl(0, "mine", {"x": 1})
        stored = Stored(endpoint.url)
        wait_until(lambda: any(one["run"] == run for one in stored.runs("app")) and len(stored.rows(run, "k", "x")) == ROWS)
        assert stored.rows(run, "k", "x") == list(range(ROWS))
        assert stored.rows(own, "mine", "x") == [1]
    wait_until(lambda: not glob(f"{spool}/*/*.spool"))


def test_a_spool_is_gone_with_its_last_batch_also_if_no_more_is_asked_for(spool):
    with Client(None, "app", spool=spool) as client:
        client.init()
        client.sendl(0, "k", {"x": 1})
    (folder,) = spools_in(spool)
    left = Leftover(folder, *take(folder))
    deliveries = left.deliver(lambda batch, **_: Answer(None, 0, []))
    batches = sum(1 for segment in folder.glob("*.spool") for _ in read_segment(segment))
    assert batches and [next(deliveries).problem for _ in range(batches)] == [""] * batches
    assert not list(folder.glob("*.spool"))
    left.close()
    assert not folder.exists()


def test_a_spool_whose_producer_lives_is_left_alone(start_producer, start_streamvis, start_endpoint, spool):
    endpoint = start_endpoint()
    program = start_producer(None, SEND_AND_WAIT)
    run = program.wait_for_line(r"run (\S+)")[1]
    program.wait_for_line("sent")
    wait_until(lambda: spooled(spool) == ROWS)
    assert "Left alone" in sync(start_streamvis, spool, "--url", endpoint.url)
    assert spooled(spool) == ROWS
    program.kill()
    program.wait()
    sync(start_streamvis, spool, "--url", endpoint.url)
    assert Stored(endpoint.url).rows(run, "k", "x") == list(range(ROWS))


def test_a_forked_child_does_not_free_its_parents_spool(start_producer, start_streamvis, start_endpoint, spool):
    endpoint = start_endpoint()
    program = start_producer(
        None,
        """
        client.sendl(0, "k", {"x": 1})
        client.flush()
        if os.fork() == 0:
            sys.exit()
        os.wait()
        print("forked", flush=True)
        threading.Event().wait()
        """,
    )
    program.wait_for_line("forked")
    assert "Left alone" in sync(start_streamvis, spool, "--url", endpoint.url)


def test_of_a_spool_that_was_cut_off_all_whole_batches_are_delivered(start_producer, start_streamvis, start_endpoint, spool):
    run = killed_producer(start_producer, spool, None)
    (segment,) = spool.glob("*/*.spool")
    os.truncate(segment, segment.stat().st_size - 100)
    left = spooled(spool)
    assert 0 < left < ROWS
    endpoint = start_endpoint()
    sync(start_streamvis, spool, "--url", endpoint.url)
    assert Stored(endpoint.url).rows(run, "k", "x") == list(range(left))


def test_two_at_once_deliver_everything_once(start_producer, start_streamvis, start_endpoint, spool):
    run = killed_producer(start_producer, spool, None)
    endpoint = start_endpoint()
    programs = [start_streamvis("sync", spool, "--url", endpoint.url) for _ in range(2)]
    assert [program.wait() for program in programs] == [0, 0]
    assert Stored(endpoint.url).rows(run, "k", "x") == list(range(ROWS))


def test_without_an_endpoint_sync_leaves_all_and_says_so(start_producer, start_streamvis, spool):
    killed_producer(start_producer, spool, None)
    output = sync(start_streamvis, spool, "--url", "http://127.0.0.1:1", status=1)
    assert "No answer from http://127.0.0.1:1" in output
    assert spooled(spool) == ROWS
    assert "--url" in sync(start_streamvis, spool, status=1)


def test_a_client_without_an_endpoint_keeps_all_and_says_how_to_deliver_it(
    start_producer, start_streamvis, start_endpoint, spool
):
    program = start_producer(None, 'client.sendl(0, "k", {"x": 1})\nprint("closed", client.close(), flush=True)')
    run = program.wait_for_line(r"run (\S+)")[1]
    assert program.wait() == 0
    assert "closed True" in program.output()
    assert f"streamvis sync {spool} --url" in program.output()
    endpoint = start_endpoint()
    sync(start_streamvis, spool, "--url", endpoint.url)
    assert Stored(endpoint.url).run(run)["state"] == "finished"


@pytest.mark.parametrize("given", ["argument", "environment"])
def test_a_relative_spool_stays_where_it_was_when_the_program_changes_its_folder(
    given, start_streamvis, start_endpoint, tmp_path, monkeypatch
):
    for name in ("one", "two", "three"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "one")
    monkeypatch.setenv("STREAMVIS_SPOOL", "kept/here")
    client = Client(None, "app", **({"spool": "kept/here"} if given == "argument" else {}))
    run = client.init()
    for part, name in enumerate(["two", "three", "one"]):
        os.chdir(tmp_path / name)
        for step in range(20 * part, 20 * part + 20):
            client.sendl(step, "k", {"x": step})
        client.flush()
    client.close()
    assert not list((tmp_path / "two").iterdir()) and not list((tmp_path / "three").iterdir())
    endpoint = start_endpoint()
    sync(start_streamvis, tmp_path / "one" / "kept" / "here", "--url", endpoint.url)
    assert Stored(endpoint.url).rows(run, "k", "x") == list(range(60))


@pytest.mark.parametrize("is_there", [True, False])
def test_a_durable_record_is_never_lost(is_there, start_producer, start_streamvis, start_endpoint, spool):
    endpoint = start_endpoint()
    if not is_there:
        endpoint.kill()
    program = start_producer(
        endpoint.url,
        """
        for step in range(30):
            client.sendl(step, "k", {"x": step})
        os.kill(os.getpid(), signal.SIGKILL)
        """,
        options=", durable=True",
    )
    run = program.wait_for_line(r"run (\S+)")[1]
    assert program.wait() == -signal.SIGKILL
    if not is_there:
        endpoint.restart()
    if any(spool.glob("*/owner")):  # also where the endpoint was there, and slow for a moment
        sync(start_streamvis, spool)
    assert Stored(endpoint.url).rows(run, "k", "x") == list(range(30))


def test_records_that_were_dropped_are_counted_in_the_run(start_endpoint, spool):
    endpoint = start_endpoint()
    with Client(endpoint.url, "app", spool=spool, max_spool_bytes=50_000) as client:
        run = client.init()
        endpoint.kill()
        for step in range(20):
            client.sendl(step, "k", {"x": [float(step)] * 1000})
            client.flush(timeout_s=0.15)  # in vain, but every record is a batch of its own by that
        assert 0 < spooled(spool) < 20
        endpoint.restart()
        wait_until(lambda: client.flush(timeout_s=5))
        client.sendl(99, "k", {"x": [1.0]})
        assert client.flush()
        stored = Stored(endpoint.url)
        steps = len(stored.rows(run, "k", "x")) // 1000
        assert 0 < steps < 20
        assert stored.run(run)["dropped"] == 20 - steps


@pytest.mark.parametrize("owner", ["", None, {"host": "elsewhere", "boot": "another"}])
def test_a_spool_of_another_machine_or_of_nobody_is_delivered_only_when_asked_to(
    owner, start_producer, start_streamvis, start_endpoint, spool
):
    run = killed_producer(start_producer, spool, None)
    (path,) = spool.glob("*/owner")
    if owner is None:
        path.unlink()
    else:
        path.write_text(json.dumps(json.loads(path.read_text()) | owner) if owner else "")
    url = start_endpoint().url
    with Client(url, "other", spool=spool) as client:
        client.init()
    assert "--other-hosts delivers it" in sync(start_streamvis, spool, "--url", url, status=1)
    assert spooled(spool) == ROWS
    sync(start_streamvis, spool, "--url", url, "--other-hosts")
    assert Stored(url).rows(run, "k", "x") == list(range(ROWS))


def test_the_folder_of_one_producer_can_be_delivered_alone(start_producer, start_streamvis, start_endpoint, spool):
    run = killed_producer(start_producer, spool, None)
    (folder,) = spool.iterdir()
    endpoint = start_endpoint()
    sync(start_streamvis, folder, "--url", endpoint.url)
    assert Stored(endpoint.url).rows(run, "k", "x") == list(range(ROWS)) and not folder.exists()


def test_of_a_damaged_spool_all_that_is_whole_is_delivered_and_a_copy_stays(
    start_producer, start_streamvis, start_endpoint, spool
):
    # Every record is a batch of its own: a durable one is on the disk before the next is sent.
    source = f"""
    for step in range({ROWS}):
        client.sendl(step, "k", {{"x": step}})
    print("sent", flush=True)
    threading.Event().wait()
    """
    program = start_producer(None, source, options=", durable=True")
    run = program.wait_for_line(r"run (\S+)")[1]
    program.wait_for_line("sent")
    program.kill()
    (segment,) = spool.glob("*/*.spool")
    content = bytearray(segment.read_bytes())
    content[len(content) // 2] ^= 1
    segment.write_bytes(content)
    endpoint = start_endpoint()
    output = sync(start_streamvis, spool, "--url", endpoint.url, status=1)
    stored = Stored(endpoint.url).rows(run, "k", "x")
    assert len(stored) == ROWS - 1 and stored == sorted(stored)
    assert "is damaged" in output
    (copy,) = (spool / "refused").glob("*.damaged")
    assert copy.read_bytes() == content


def test_a_kill_loses_what_was_sent_just_before_and_no_more(start_producer, start_streamvis, start_endpoint, spool):
    """Whether the endpoint takes everything at once, or is there and answers nothing."""
    endpoint = start_endpoint()
    spool.mkdir()  # an endpoint that takes everything at once may leave nothing to be spooled
    source = """
    step = 0
    while True:
        client.sendl(step, "k", {"x": step})
        step += 1
        if step % 50 == 0: print("sent", step, flush=True)
        time.sleep(0.01)
    """
    for is_stopped in (False, True):
        program = start_producer(endpoint.url, source)
        run = program.wait_for_line(r"run (\S+)")[1]
        program.wait_for_line("sent 50$")
        if is_stopped:
            endpoint.stop()
        program.wait_for_line("sent 200$")
        program.kill()
        if is_stopped:
            endpoint.resume()
        sync(start_streamvis, spool)
        stored = Stored(endpoint.url).rows(run, "k", "x")
        # A record every 10 ms at most: those of the last half a second may be missing, where a tenth is promised.
        assert stored == list(range(len(stored))) and len(stored) > 200 - 50


def test_what_is_refused_is_set_aside_and_delivered_when_asked_to(
    start_producer, start_streamvis, start_endpoint, spool, tmp_path
):
    endpoint, elsewhere = start_endpoint(), start_endpoint(tmp_path / "elsewhere")
    with Client(endpoint.url, "another app") as client:
        client.init(run="taken")
    program = start_producer(
        None,
        """
        client.init(run="taken")
        client.sendl(0, "k", {"x": 1})
        print("next", client.init(), flush=True)
        client.sendl(0, "k", {"x": 2})
        """,
    )
    following = program.wait_for_line(r"next (\S+)")[1]
    assert program.wait() == 0
    output = sync(start_streamvis, spool, "--url", endpoint.url, status=1)
    assert "1 record delivered, 1 refused" in output and "another app" in output
    assert Stored(endpoint.url).rows(following, "k", "x") == [2]
    assert "taken" in "".join(path.read_text() for path in (spool / "refused").glob("*.txt"))
    assert "0 records delivered, 0 refused" in sync(start_streamvis, spool, "--url", elsewhere.url)
    assert "0 records delivered, 1 refused" in sync(start_streamvis, spool, "--url", endpoint.url, "--refused", status=1)
    assert "1 record delivered, 0 refused" in sync(start_streamvis, spool, "--url", elsewhere.url, "--refused")
    assert Stored(elsewhere.url).rows("taken", "k", "x") == [1]
    assert not list((spool / "refused").iterdir())


def test_what_a_killed_producer_dropped_is_counted_in_the_run(start_producer, start_streamvis, start_endpoint, spool):
    program = start_producer(
        None,
        """
        for step in range(100):
            client.sendl(step, "k", {"x": [float(step)] * 1000})
            client.flush(timeout_s=1)
        print("sent", flush=True)
        threading.Event().wait()
        """,
        options=", max_spool_bytes=100_000",
    )
    run = program.wait_for_line(r"run (\S+)")[1]
    program.wait_for_line("sent")
    wait_until(lambda: glob(f"{spool}/*/dropped"))
    program.kill()
    endpoint = start_endpoint()
    sync(start_streamvis, spool, "--url", endpoint.url)
    stored = Stored(endpoint.url)
    kept = len(stored.rows(run, "k", "x")) // 1000
    assert 0 < kept < 100 and stored.run(run)["dropped"] == 100 - kept
