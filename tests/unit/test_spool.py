"""The spool: a queue on the disk that keeps its order, frees what was delivered, and survives being cut off."""

import os

import pytest

from streamvis.client.frames import Outgoing, read_segment
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
