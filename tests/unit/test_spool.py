"""The spool: a queue on the disk that keeps its order, frees what was delivered, and survives being cut off."""

import errno
import gc
import json
import os
import tracemalloc

import pytest

from streamvis.client.frames import Outgoing, read_segment, scan_segment
from streamvis.client.ownership import OWNER, leave, take
from streamvis.client.refused import forget_refused, refused_in, set_aside
from streamvis.client.spool import Spool


def batch(number, size=100):
    return Outgoing("run", "äpp", "producer", number, number, os.urandom(size))


@pytest.fixture
def spool(tmp_path):
    return Spool(tmp_path / "spool", max_bytes=100_000, max_memory_bytes=1_000, segment_bytes=1_000)


def files(spool):
    return sorted(spool.folder.glob("*.spool"))


def test_what_goes_in_comes_out_in_order(spool):
    batches = [batch(number) for number in range(1, 40)]
    for one in batches[:20]:
        assert spool.append(one)
    for one in batches[:10]:
        assert spool.head_number == one.number and spool.head() == one
        spool.drop_head()
    for one in batches[20:]:
        assert spool.append(one)
    for one in batches[10:]:
        assert spool.head() == one
        spool.drop_head()
    assert spool.head() is None and spool.head_number is None and spool.bytes == 0


def test_what_was_delivered_is_deleted(spool):
    for number in range(1, 31):
        spool.append(batch(number))
    at_first = len(files(spool))
    assert at_first > 3
    for _ in range(20):
        spool.drop_head()
    assert 0 < len(files(spool)) < at_first / 2
    for _ in range(10):
        spool.drop_head()
    assert files(spool) == []
    spool.append(batch(31))
    spool.drop_head()
    spool.close()
    assert not spool.folder.exists()


def test_what_was_not_delivered_stays_and_can_be_read_by_others(spool):
    batches = [batch(number) for number in range(1, 20)]
    for one in batches:
        spool.append(one)
    spool.close()
    assert [one for path in files(spool) for one, _ in read_segment(path)] == batches


def test_a_segment_cut_off_anywhere_gives_its_whole_batches(spool, tmp_path):
    batches = [batch(1, 50), batch(2, 60), batch(3, 70)]
    ends = []
    for one in batches:
        spool.append(one)
        ends.append(spool.bytes)
    (path,) = files(spool)
    content = path.read_bytes()
    cut = tmp_path / "cut.spool"
    for length in range(len(content) + 1):
        cut.write_bytes(content[:length])
        assert [one for one, _ in read_segment(cut)] == batches[: sum(end <= length for end in ends)]


def test_a_damaged_batch_is_never_read(spool, tmp_path):
    spool.append(batch(1, 50))
    (path,) = files(spool)
    content = bytearray(path.read_bytes())
    damaged = tmp_path / "damaged.spool"
    for place in range(len(content)):
        content[place] ^= 1
        damaged.write_bytes(content)
        assert [one for one, _ in read_segment(damaged)] == []
        content[place] ^= 1


def test_the_limit_holds(spool):
    taken = [number for number in range(1, 3000) if spool.append(batch(number))]
    assert spool.bytes <= 100_000 and sum(path.stat().st_size for path in files(spool)) <= 100_000
    assert taken == list(range(1, len(taken) + 1))


def test_without_a_disk_memory_serves_up_to_its_limit(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    spool = Spool(tmp_path / "file" / "spool", max_bytes=100_000, max_memory_bytes=1_000)
    batches = [batch(number) for number in range(1, 20)]
    taken = [one for one in batches if spool.append(one)]
    assert 0 < len(taken) < 10 and isinstance(spool.problem, OSError)
    for one in taken:
        assert spool.head() == one
        spool.drop_head()
    assert spool.memory_bytes == 0 and spool.append(batches[0])


def test_a_segment_that_somebody_deleted_loses_its_batches_and_no_others(spool):
    for number in range(1, 31):
        spool.append(batch(number))
    files(spool)[0].unlink()
    first = spool.head().number
    assert first > 1 and spool.lost_records == sum(range(1, first))
    numbers = []
    while (one := spool.head()) is not None:
        numbers.append(one.number)
        spool.drop_head()
    assert numbers == list(range(first, 31)) and spool.bytes == 0


def part_of_one(parts):
    return parts[0]._replace(records=sum(part.records for part in parts), body=b"".join(part.body for part in parts))


def test_what_comes_goes_on_the_last_batch_until_somebody_has_seen_it(spool):
    parts = [batch(1), batch(1), batch(1)]
    assert spool.open_number == 0
    for one in parts:
        spool.append(one)
        assert spool.open_number == 1
    assert spool.head() == part_of_one(parts)
    assert spool.open_number == 0
    spool.append(batch(2))
    assert spool.open_number == 2 and spool.head() == part_of_one(parts)
    spool.drop_head()
    assert spool.head_number == 2 and len(files(spool)) == 1
    spool.drop_head()
    assert spool.bytes == 0 and spool.open_number == 0


def test_a_batch_that_may_have_been_sent_takes_no_parts(spool):
    spool.append(batch(1), seen=True)
    assert spool.open_number == 0


def test_the_parts_of_a_batch_lie_in_one_segment_and_are_read_as_one(spool, tmp_path):
    parts = [batch(1, 400) for _ in range(5)]
    ends = []
    for one in parts:
        spool.append(one)
        ends.append(spool.bytes)
    (path,) = files(spool)
    spool.append(batch(2))
    assert len(files(spool)) == 2
    assert list(read_segment(path)) == [(part_of_one(parts), path.stat().st_size)]
    cut = tmp_path / "cut.spool"
    cut.write_bytes(path.read_bytes()[: ends[2] + 10])
    assert list(read_segment(cut)) == [(part_of_one(parts[:3]), ends[2])]


def test_what_lies_behind_a_damage_is_read(spool):
    batches = [batch(number) for number in range(1, 6)]
    for one in batches:
        spool.append(one)
    (path,) = files(spool)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    whole = [batches[i] for i in (0, 1, 3, 4)]
    assert [one for one, _ in read_segment(path)] == whole
    assert sum(size for one, size in scan_segment(path) if one is None) == len(content) // 5
    read = []
    while (one := spool.head()) is not None:
        read.append(one)
        spool.drop_head()
    assert read == whole and spool.lost_records == 3 and spool.bytes == 0


def test_a_cut_off_frame_is_no_damage(spool, tmp_path):
    spool.append(batch(1))
    spool.append(batch(2))
    (path,) = files(spool)
    cut = tmp_path / "cut.spool"
    for length in range(spool.bytes // 2, spool.bytes):
        cut.write_bytes(path.read_bytes()[:length])
        assert [one.number for one, _ in scan_segment(cut)] == [1]


def test_memory_does_not_grow_with_what_waits_on_the_disk(tmp_path):
    spool = Spool(tmp_path / "spool", max_bytes=10**9, max_memory_bytes=1_000)
    one = batch(1)
    tracemalloc.start()
    for number in range(1, 2_000):
        spool.append(one._replace(number=number))
    gc.collect()  # what the interpreter keeps for the next tuples is none of the spool's
    before, _ = tracemalloc.get_traced_memory()
    for number in range(2_000, 12_000):
        spool.append(one._replace(number=number))
    gc.collect()
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert len(spool) == 11_999 and grown < 20_000


def no_room(*args):
    raise OSError(errno.ENOSPC, "No space left on device")


def test_what_was_in_memory_keeps_its_place_when_the_disk_takes_it(tmp_path, monkeypatch):
    spool = Spool(tmp_path / "spool", max_bytes=10**6, max_memory_bytes=10**5)
    batches = [batch(number) for number in range(1, 7)]
    spool.append(batches[0])
    with monkeypatch.context() as full:
        full.setattr("streamvis.client.spool.write_whole", lambda file, content: False)
        full.setattr("streamvis.client.spool.Path.replace", no_room)
        for one in batches[1:3]:
            assert spool.append(one)
    assert spool.memory_bytes and spool.kept_records == 1
    for one in batches[3:]:
        assert spool.append(one)
    assert spool.memory_bytes == 0 and spool.kept_records == sum(range(1, 7))
    spool.close()
    assert [one for path in files(spool) for one, _ in read_segment(path)] == batches


def test_a_part_that_the_disk_does_not_take_comes_again_as_a_batch_of_its_own(spool, monkeypatch):
    spool.append(batch(1))
    part = batch(1)
    assert spool.open_number == 1
    with monkeypatch.context() as full:
        full.setattr("streamvis.client.spool.write_whole", lambda file, content: False)
        assert not spool.append(part) and spool.is_interrupted(part)
    assert spool.append(part._replace(number=2))
    spool.close()
    assert [one.number for path in files(spool) for one, _ in read_segment(path)] == [1, 2]


def owned(spool, **changes):
    """The spool's folder, left by an owner with some changes."""
    spool.append(batch(1))
    path = spool.folder / OWNER
    spool.close()
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    return spool.folder


def test_only_one_at_a_time_has_a_folder(spool):
    spool.append(batch(1))
    assert take(spool.folder) is None
    spool.close()
    held, owner = take(spool.folder)
    assert owner.pid == os.getpid() and owner.is_of_this_machine
    assert take(spool.folder) is None
    leave(held)
    assert take(spool.folder)


def test_a_folder_that_was_taken_away_meanwhile_is_nobodys(spool, monkeypatch):
    folder = owned(spool)
    real = os.open

    def opened_late(path, *args):
        held = real(path, *args)
        os.unlink(path)
        return held

    monkeypatch.setattr("streamvis.client.ownership.os.open", opened_late)
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
def test_who_wrote_a_spool_is_of_this_machine_or_not(changes, here, spool):
    _, owner = take(owned(spool, **changes))
    assert owner.is_of_this_machine is here


@pytest.mark.parametrize("content", ["", "{", "[]", '{"strange": 1}'])
def test_a_folder_whose_owner_cannot_be_read_is_of_no_machine(content, spool):
    folder = owned(spool)
    (folder / OWNER).write_text(content)
    _, owner = take(folder)
    assert not owner.is_of_this_machine


def test_where_nothing_can_be_locked_the_process_tells(spool, monkeypatch):
    def no_locks(*args):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("streamvis.client.ownership.fcntl.flock", no_locks)
    folder = owned(spool)
    assert take(folder) is None
    # A process that began after the spool was written only has the number of the one that wrote it.
    assert take(owned(Spool(folder.with_name("other"), max_bytes=10**6, max_memory_bytes=0), since=1.0))


def test_what_was_refused_is_kept_up_to_a_limit(tmp_path):
    places = [set_aside(tmp_path, batch(number, 400), "no", max_bytes=1_200) for number in range(1, 6)]
    assert [place is not None for place in places] == [True, True, False, False, False]
    assert refused_in(tmp_path) == places[:2]
    assert set_aside(tmp_path, batch(1, 400), "again", max_bytes=1_200) == places[0]
    forget_refused(places[0])
    assert refused_in(tmp_path) == places[1:2] and len(list((tmp_path / "refused").iterdir())) == 2


def test_how_many_wait_can_be_asked_while_others_come_and_go(tmp_path, monkeypatch):
    (tmp_path / "spool").write_text("no folder")  # so each batch is a piece of its own, in memory
    spool = Spool(tmp_path / "spool", max_bytes=10**6, max_memory_bytes=10**6)
    for number in range(1, 51):
        spool.append(batch(number))
    pieces = list(spool._pieces)

    class Changing(type(pieces[0])):
        @property
        def frames(self):
            spool._pieces.append(pieces[1])
            return 1

        @frames.setter
        def frames(self, frames):
            pass

    spool._pieces[0] = Changing(1)
    assert len(spool) == 50
