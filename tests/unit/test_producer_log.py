"""The log: its order, what it frees, how it survives being cut off, and whose its folder is."""

import errno
import gc
import json
import os
import shutil
import threading
import tracemalloc
from functools import partial
from pathlib import Path

import pytest

from streamvis.client.exchange import post
from streamvis.client.outbox import CONTROL, ROW, Begin, Marker, Outbox
from streamvis.client.producer_log import Log, Settings
from streamvis.client.spool.folders import OWNER, SpoolPlace, leave, take
from streamvis.client.spool.frames import Outgoing, entries_of, notes_of, read_segment, scan_segment
from streamvis.client.spool.leftovers import Leftover, forget_refused, refused_in, set_aside
from streamvis.records import RowsChunk, ValueChunk
from streamvis.wire.arrow import decode_tail_body
from support.fake_endpoint import FakeEndpoint

BEFORE = Path(__file__).parent / "data" / "spools-1"


@pytest.fixture
def new_log(tmp_path):
    """`new_log(**options)`: a log without a cache, so that all that is read comes from its files."""

    def new(name="producer", *, folder=tmp_path, url="http://fake", segment_bytes=1_000, cache_bytes=0, **limits):
        limits = {"max_spool_bytes": 100_000, "max_memory_bytes": 1_000, **limits}
        settings = Settings(url, "äpp", SpoolPlace(folder), lambda: None, **limits)
        return Log(
            name,
            settings,
            Outbox(lambda: None, max_bytes=1),
            say=lambda *_: None,
            segment_bytes=segment_bytes,
            cache_bytes=cache_bytes,
        )

    return new


@pytest.fixture
def log(new_log):
    return new_log()


def body(size=100):
    return b"\xff" + os.urandom(size - 1)


def append(log, count=1, *, size=100, run="run", sealed=True):
    """Append frames, each of which is a batch of its own where it is `sealed`; the batches that the log is to hold."""
    batches = []
    for _ in range(count):
        content, number = body(size), log.end + 1
        if not log.append(run, content, number):
            break
        batches.append(Outgoing(run, "äpp", "producer", number, number, (content,)))
        if sealed:
            seal(log)
    return batches


def seal(log):
    """Let the batch that came last take no more frames, as the sender does that takes it."""
    log._open.run = ""


def files(log):
    return sorted(path for path in log.segments.folder.glob("*.spool") if path.stat().st_size)


def taken(log):
    """All batches, each settled when it was read."""
    batches = []
    while (one := log.head()) is not None:
        batches.append(one)
        log.settle(one)
    return batches


@pytest.mark.parametrize("cache_bytes", [0, 300, 10**6])
def test_what_goes_in_comes_out_in_order(new_log, cache_bytes):
    log = new_log(cache_bytes=cache_bytes)
    batches = append(log, 20)
    for one in batches[:10]:
        assert log.head() == log.head() == one
        log.settle(one)
    batches += append(log, 20)
    assert taken(log) == batches[10:]
    assert log.head() is None and log.segments.bytes == 0 and log.settled == log.end == 40 and log.unsettled_records == 0


def test_what_was_delivered_is_deleted(log):
    batches = append(log, 30)
    at_first = len(files(log))
    assert at_first > 3
    for one in batches[:20]:
        log.head()
        log.settle(one)
    assert 0 < len(files(log)) < at_first / 2
    taken(log)
    assert files(log) == []
    append(log)
    taken(log)
    log.close()
    assert not log.segments.folder.exists()


def test_a_sender_that_keeps_up_makes_and_reads_no_files(new_log, monkeypatch):
    log = new_log(cache_bytes=10**6)
    append(log)
    taken(log)
    opened = []
    real = Path.open
    monkeypatch.setattr(Path, "open", lambda path, *args, **options: opened.append(path) or real(path, *args, **options))
    for _ in range(100):
        (one,) = append(log)
        assert taken(log) == [one]
    assert not opened and [path.stat().st_size for path in log.segments.folder.glob("*.spool")] == [0]


def test_what_was_not_delivered_stays_and_can_be_read_by_others(log):
    batches = append(log, 20)
    log.close()
    assert [one for path in files(log) for one, _ in read_segment(path)] == batches


def test_a_segment_cut_off_anywhere_gives_its_whole_batches(log, tmp_path):
    batches, ends = [], []
    for size in (50, 60, 70):
        batches += append(log, size=size)
        ends.append(log.segments.bytes)
    (path,) = files(log)
    content = path.read_bytes()
    cut = tmp_path / "cut.spool"
    for length in range(len(content) + 1):
        cut.write_bytes(content[:length])
        assert [one for one, _ in read_segment(cut)] == batches[: sum(end <= length for end in ends)]


def test_a_damaged_batch_is_never_read(log, tmp_path):
    append(log, size=50)
    (path,) = files(log)
    content = bytearray(path.read_bytes())
    damaged = tmp_path / "damaged.spool"
    for place in range(len(content)):
        content[place] ^= 1
        damaged.write_bytes(content)
        assert [one for one, _ in read_segment(damaged)] == []
        content[place] ^= 1


def test_the_limit_holds(log):
    batches = append(log, 3000)
    assert log.segments.bytes <= 100_000 and sum(path.stat().st_size for path in files(log)) <= 100_000
    assert [one.number for one in batches] == list(range(1, len(batches) + 1)) and len(batches) > 100


def test_a_frame_that_is_larger_than_the_limit_is_sent_from_memory_where_nothing_else_waits(new_log):
    log = new_log(max_spool_bytes=1_000)
    (large,) = append(log, size=5_000)
    assert log.kept_records == 0 and not append(log)
    assert taken(log) == [large] and append(log)


def test_without_a_disk_memory_serves_up_to_its_limit(new_log, tmp_path):
    (tmp_path / "file").write_text("not a folder")
    log = new_log(folder=tmp_path / "file")
    batches = append(log, 20)
    assert 0 < len(batches) < 10 and isinstance(log.segments.problem, OSError) and log.kept_records == 0
    assert taken(log) == batches
    assert log.segments.memory_bytes == 0 and append(log)


def test_in_memory_too_frames_are_added_to_a_batch_that_nobody_took(new_log, tmp_path):
    (tmp_path / "file").write_text("not a folder")
    log = new_log(folder=tmp_path / "file", max_memory_bytes=10**6)
    append(log, 5, sealed=False)
    assert log.end == 1 and len(log.head().bodies) == 5
    append(log, 2, sealed=False)
    assert log.end == 2 and [len(one.bodies) for one in taken(log)] == [5, 2] and log.segments.memory_bytes == 0


def test_a_segment_that_somebody_deleted_loses_its_batches_and_no_others(log):
    append(log, 30)
    files(log)[0].unlink()
    first = log.head().number
    assert first > 1 and log.runs.lost_records == sum(range(1, first))
    assert [one.number for one in taken(log)] == list(range(first, 31))
    assert log.segments.bytes == 0 and log.unsettled_records == 0 and log.settled == 30


def test_a_folder_that_somebody_takes_away_is_made_again(new_log):
    log = new_log(cache_bytes=10**6)
    (one,) = append(log)
    shutil.rmtree(log.segments.folder)
    assert taken(log) == [one]
    (another,) = append(log)
    assert [batch for path in files(log) for batch, _ in read_segment(path)] == [another] and log.kept_records == 2
    assert take(log.segments.folder) is None


def test_who_looks_at_a_folder_that_is_being_made_does_not_have_it(log):
    log.segments.folder.mkdir(parents=True)
    looks, _ = take(log.segments.folder, unsigned=True)
    threading.Timer(0.02, leave, [looks]).start()
    append(log)
    assert log.kept_records == 1 and log.segments.problem is None


def test_where_no_file_can_be_opened_now_nothing_is_lost(log, monkeypatch):
    batches = append(log, 3)

    def none_left(*args, **options):
        raise OSError(errno.EMFILE, "Too many open files")

    with monkeypatch.context() as exhausted:
        exhausted.setattr(Path, "open", none_left)
        with pytest.raises(OSError, match="Too many"):
            log.head()
    assert taken(log) == batches and log.runs.lost_records == 0


def test_the_last_segment_may_be_taken_away_too(log):
    append(log, 2)
    files(log)[0].unlink()
    assert log.head() is None and log.runs.lost_records == 3 and log.settled == 2
    (one,) = append(log)
    assert taken(log) == [one]


def test_frames_are_added_to_the_last_batch_until_it_is_taken(log):
    first = append(log, 3, sealed=False)
    assert log.end == 1
    assert log.head().bodies == tuple(one.bodies[0] for one in first) and log.head().records == sum(one.records for one in first)
    append(log, 2, sealed=False)
    assert log.end == 2 and len(log.head().bodies) == 3
    assert [len(one.bodies) for one in taken(log)] == [3, 2]
    assert log.segments.bytes == 0


def test_frames_of_two_runs_are_no_batch(log):
    append(log, sealed=False)
    append(log, sealed=False, run="another")
    assert [(one.run, one.number) for one in taken(log)] == [("run", 1), ("another", 2)]


def test_a_batch_takes_a_bounded_number_of_frames(log, monkeypatch):
    monkeypatch.setattr("streamvis.client.producer_log._OPEN_FRAMES", 3)
    append(log, 7, sealed=False)
    assert [len(one.bodies) for one in taken(log)] == [3, 3, 1]


def test_the_frames_of_a_batch_lie_in_one_segment_and_are_read_as_one(log, tmp_path):
    ends = []
    for _ in range(5):
        append(log, size=400, sealed=False)
        ends.append(log.segments.bytes)
    (path,) = files(log)
    seal(log)
    append(log)
    assert len(files(log)) == 2
    ((whole, size),) = read_segment(path)
    assert whole == log.head() and size == path.stat().st_size
    cut = tmp_path / "cut.spool"
    cut.write_bytes(path.read_bytes()[: ends[2] + 10])
    ((part, size),) = read_segment(cut)
    assert part.bodies == whole.bodies[:3] and size == ends[2]


def test_what_lies_behind_a_damage_is_read(log):
    batches = append(log, 5)
    (path,) = files(log)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    whole = [batches[i] for i in (0, 1, 3, 4)]
    assert [one for one, _ in read_segment(path)] == whole
    assert sum(size for one, size in scan_segment(path) if one is None) == len(content) // 5
    assert taken(log) == whole and log.runs.lost_records == 3 and log.segments.bytes == 0


def test_the_frames_of_a_batch_on_both_sides_of_a_damage_are_one_batch(log):
    frames = append(log, 3, sealed=False)
    seal(log)
    append(log)
    (path,) = files(log)
    content = bytearray(path.read_bytes())
    content[log.segments.bytes * 3 // 8] ^= 1  # in the second of four
    path.write_bytes(content)
    # Apart they would have one number, and the endpoint would take the second for one that it has.
    first, second = taken(log)
    assert first.number == 1 and first.bodies == (*frames[0].bodies, *frames[2].bodies)
    assert second.number == 2 and log.runs.lost_records == frames[1].records and log.unsettled_records == 0


def test_a_cut_off_frame_is_no_damage(log, tmp_path):
    append(log, 2)
    (path,) = files(log)
    cut = tmp_path / "cut.spool"
    for length in range(log.segments.bytes // 2, log.segments.bytes):
        cut.write_bytes(path.read_bytes()[:length])
        assert [one.number for one, _ in scan_segment(cut)] == [1]


def test_memory_does_not_grow_with_what_waits_on_the_disk(new_log):
    log = new_log(max_spool_bytes=10**9, segment_bytes=2**25, cache_bytes=2**16)
    append(log, 2_000)
    tracemalloc.start()
    append(log, 1)
    gc.collect()  # what the interpreter keeps for the next tuples is none of the log's
    before, _ = tracemalloc.get_traced_memory()
    for _ in range(10_000):
        log.append("run", b"\xff" * 100, 1)
        seal(log)
    gc.collect()
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert log.end == 12_001 and grown < 2**18  # of a megabyte on the disk


def no_room(*args):
    raise OSError(errno.ENOSPC, "No space left on device")


def test_what_was_in_memory_keeps_its_place_when_the_disk_takes_it(new_log, monkeypatch):
    log = new_log(max_memory_bytes=10**5)
    batches = append(log)
    with monkeypatch.context() as full:
        full.setattr("streamvis.client.spool.segments.write_whole", lambda file, content: False)
        full.setattr("streamvis.client.spool.segments.Path.replace", no_room)
        batches += append(log, 2)
    assert log.segments.memory_bytes and log.kept_records == 1
    batches += append(log, 3)
    assert log.segments.memory_bytes == 0 and log.kept_records == sum(range(1, 7))
    log.close()
    assert [one for path in files(log) for one, _ in read_segment(path)] == batches


def test_a_frame_that_the_disk_does_not_take_is_no_part_of_a_batch_that_is_there(new_log, monkeypatch):
    log = new_log(max_memory_bytes=10**5)
    append(log, 2, sealed=False)
    with monkeypatch.context() as full:
        full.setattr("streamvis.client.spool.segments.write_whole", lambda file, content: False)
        full.setattr("streamvis.client.spool.segments.Path.replace", no_room)
        append(log, 2, sealed=False)
    append(log, 1, sealed=False)
    assert [(one.number, len(one.bodies)) for one in taken(log)] == [(1, 2), (2, 2), (3, 1)]


def test_a_segment_that_cannot_be_emptied_costs_nothing(new_log, monkeypatch):
    log = new_log(cache_bytes=10**6)
    (one,) = append(log)

    class Stale:
        def __init__(self, file):
            self._file = file

        def __getattr__(self, name):
            return getattr(self._file, name)

        def __enter__(self):
            return self._file.__enter__()

        def __exit__(self, *about):
            return self._file.__exit__(*about)

        def truncate(self, size):
            raise OSError(116, "Stale file handle")

    log.segments._writing = Stale(log.segments._writing)
    assert taken(log) == [one] and files(log) == []
    (another,) = append(log)
    assert taken(log) == [another] and log.segments.bytes == 0


def test_who_waits_continues_when_all_before_it_is_settled_or_on_the_disk(new_log):
    log = new_log()
    early, late, durable = Marker(), Marker(), Marker(durable=True)
    log.hold_for(early)
    assert early.reached.is_set()
    append(log)
    log.hold_for(late)
    append(log)
    log.hold_for(durable)
    log.release_kept()
    assert durable.reached.is_set() and not late.reached.is_set() and log.is_awaited
    log.settle(log.head())
    assert late.reached.is_set() and not log.is_awaited


def test_what_a_disk_failed_to_sync_once_is_never_called_synced(new_log, monkeypatch):
    log = new_log()
    append(log)
    marker, later = Marker(durable=True), Marker(durable=True)
    log.hold_for(marker)
    with monkeypatch.context() as failing:
        failing.setattr("streamvis.client.spool.segments.os.fsync", no_room)
        log.release_kept()
    log.release_kept()  # the system reports the error once, and says that all is well from then on
    assert not marker.reached.is_set()
    log.settle(log.head())
    assert marker.reached.is_set()
    append(log)
    log.hold_for(later)
    log.release_kept()
    assert later.reached.is_set()


def test_without_an_endpoint_what_is_on_the_disk_is_settled(new_log):
    log, marker = new_log(url=None), Marker()
    append(log)
    log.hold_for(marker)
    log.release_kept()
    assert marker.reached.is_set() and log.settled == 1 and log.kept_records == log.unsettled_records == 1


def test_without_an_endpoint_how_each_run_began_stays_with_what_waits_of_it(new_log):
    log = new_log(url=None)
    for run in ("one", "two"):
        log.runs.begin(Begin(run, {}, None, False), log.end)
        append(log, run=run)
        log.release_kept()
    assert log.settled == 2 and log.runs.known("one") and log.runs.known("two")
    log.close()
    assert {path.name for path in log.segments.folder.glob("*.begin")} == {"one.begin", "two.begin"}


def test_how_a_run_began_lies_beside_what_waits_of_it(log):
    log.runs.begin(Begin("run", {"a": 1}, "n", False), log.end)
    append(log)
    ((_, _, _, _, begin, _),) = entries_of((log.segments.folder / "run.begin").read_bytes())
    assert begin == Begin("run", {"a": 1}, "n", True)


@pytest.mark.parametrize(
    ("kind", "steps", "dropped"), [("segments", [*range(20), *range(30, 33)], 1), ("notes", [30, 31, 32], 1)]
)
def test_a_spool_of_the_version_before_is_delivered_whole(kind, steps, dropped, tmp_path):
    folder = tmp_path / "spool" / "0before"
    shutil.copytree(BEFORE / kind, folder)
    endpoint = FakeEndpoint()
    leftover = Leftover(folder, *take(folder))
    assert leftover.owner.url == endpoint.url and not leftover.owner.is_of_this_machine
    done = list(leftover.deliver(partial(post, endpoint)))
    assert not any(one.problem for one in done)
    leftover.close()
    start, *chunks = endpoint.runs["kept-from-before"]
    assert start.name == "a name" and start.config == '{"lr": 0.1}'
    rows = [rows for chunk in chunks if isinstance(chunk, RowsChunk) for rows in decode_tail_body(chunk.body)]
    assert [step for its in rows if its.key == "k" for step in its.steps.tolist()] == steps
    assert {text for its in rows if its.key == "k" for text in its.columns["text"]} <= {"α", "β"}
    assert {params["dropped"] for params, _ in endpoint.requests} == {1}
    assert sum(isinstance(chunk, ValueChunk) for chunk in chunks) == (kind == "segments")
    assert not folder.exists() and not list((tmp_path / "spool").iterdir())


def test_of_a_leftover_too_records_whose_key_is_refused_are_not_delivered(new_log):
    log = new_log()
    log.runs.begin(Begin("run", {}, None, False), 0)
    rows = [(ROW, step, float(step), key, {"x": step}, 0) for key, step in (("k", 0), ("bad", 1), ("bad", 2))]
    assert log.append("run", notes_of([(CONTROL, None, 0.0, None, Begin("run", {}, None, False), 0), *rows]), 3)
    log.close()
    endpoint = FakeEndpoint()
    endpoint.refused = [{"key": "bad", "reason": "it holds a value"}]
    leftover = Leftover(log.segments.folder, *take(log.segments.folder))
    (done,) = leftover.deliver(partial(post, endpoint))
    leftover.close()
    assert (done.batch.records, done.unstored_records) == (3, 2) and "'bad'" in done.problem and "holds a value" in done.problem


def owned(log, **changes):
    """The spool's folder, left by an owner with some changes."""
    append(log)
    path = log.segments.folder / OWNER
    log.close()
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    return log.segments.folder


def test_only_one_at_a_time_has_a_folder(log):
    append(log)
    assert take(log.segments.folder) is None
    log.close()
    held, owner = take(log.segments.folder)
    assert owner.pid == os.getpid() and owner.is_of_this_machine
    assert take(log.segments.folder) is None
    leave(held)
    assert take(log.segments.folder)


def test_a_folder_that_was_taken_away_meanwhile_is_nobodys(log, monkeypatch):
    folder = owned(log)
    real = os.open

    def opened_late(path, *args):
        held = real(path, *args)
        os.unlink(path)
        return held

    monkeypatch.setattr("streamvis.client.spool.folders.os.open", opened_late)
    assert take(folder) is None


@pytest.mark.parametrize(
    ("changes", "here"),
    [
        ({}, True),
        ({"host": "elsewhere"}, os.path.exists("/proc/sys/kernel/random/boot_id")),  # another container on this machine
        ({"boot": "before"}, True),
        ({"host": "elsewhere", "boot": "another"}, False),
        ({"host": "", "boot": ""}, False),
    ],
)
def test_who_wrote_a_spool_is_of_this_machine_or_not(changes, here, log):
    _, owner = take(owned(log, **changes))
    assert owner.is_of_this_machine is here


@pytest.mark.parametrize("content", ["", "{", "[]", '{"strange": 1}'])
def test_a_folder_whose_owner_cannot_be_read_is_of_no_machine(content, log):
    folder = owned(log)
    (folder / OWNER).write_text(content)
    _, owner = take(folder)
    assert not owner.is_of_this_machine


def test_where_nothing_can_be_locked_the_process_tells(log, new_log, monkeypatch):
    def no_locks(*args):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("streamvis.client.spool.folders.fcntl.flock", no_locks)
    folder = owned(log)
    assert take(folder) is None
    # A process that began after the spool was written only has the number of the one that wrote it.
    assert take(owned(new_log("other"), since=1.0))


def batch(number):
    return Outgoing("run", "app", "producer", number, number, (body(400),))


def test_what_was_refused_is_kept_up_to_a_limit(tmp_path):
    places = [set_aside(tmp_path, batch(number), "no", max_bytes=1_200) for number in range(1, 6)]
    assert [place is not None for place in places] == [True, True, False, False, False]
    assert refused_in(tmp_path) == places[:2]
    assert set_aside(tmp_path, batch(1), "again", max_bytes=1_200) == places[0]
    forget_refused(places[0])
    assert refused_in(tmp_path) == places[1:2] and len(list((tmp_path / "refused").iterdir())) == 2
