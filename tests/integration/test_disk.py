"""Backups of a store that is in use, and disks that are full, gone, or not to be written to."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import psutil
import pytest

from streamvis import Client
from streamvis.errors import FolderUnusable
from streamvis.page.feeds.reader import EndpointReader
from streamvis.records import Batch, Start
from streamvis.store import DataFolder, SqliteStore, backup, folder, restore, sqlite
from streamvis.transport import Transport
from support.conditions import wait_until
from support.stored import Stored

FIRST_SCHEMA = Path(__file__).parents[1] / "unit" / "data" / "schema-1.sqlite"
ROWS = 300


def send(client, first, last):
    for step in range(first, last):
        client.sendl(step, "k", {"x": step})
    assert client.flush()


def steps(endpoint, run):
    return Stored(endpoint.url).rows(run, "k", "x")


@pytest.fixture
def streamvis(start_streamvis):
    """Runs the program to its end: its status, and what it printed."""

    def run(*words):
        program = start_streamvis(*words)
        return program.wait(), program.output()

    return run


SHARED_MEMORY = Path("/dev/shm")


@pytest.mark.skipif(not SHARED_MEMORY.is_mount(), reason="needs a second file system")
@pytest.mark.parametrize("linked", ["folder", "parent"])
def test_a_link_to_a_network_file_system_is_refused_like_the_place_itself(linked, tmp_path, monkeypatch):
    monkeypatch.setattr(folder, "_NETWORK", ("tmpfs",))  # the nearest to a network's that every machine has
    with tempfile.TemporaryDirectory(dir=SHARED_MEMORY) as there:
        (tmp_path / "link").symlink_to(there)
        for path in (Path(there), tmp_path / "link" if linked == "folder" else tmp_path / "link" / "data"):
            with pytest.raises(FolderUnusable, match="network file system"):
                DataFolder(path)
    DataFolder(tmp_path / "local").release()


def test_a_backup_made_under_a_writing_endpoint_is_a_whole_store(start_endpoint, streamvis, tmp_path):
    endpoint = start_endpoint(tmp_path / "data")
    with Client(endpoint.url, "app") as client:
        run = client.init({"a": 1})
        send(client, 0, ROWS)
        client.send(1, "image", {"pixels": np.eye(3)})
        for step in range(ROWS, 3 * ROWS):
            client.sendl(step, "k", {"x": step})  # on their way while the backup is made
        status, output = streamvis("backup", tmp_path / "backup.sqlite", "--data", tmp_path / "data")
        assert status == 0 and "All runs are in" in output
        assert client.flush()
    status, output = streamvis("restore", tmp_path / "backup.sqlite", "--data", tmp_path / "other", "--yes")
    assert status == 0, output
    other = start_endpoint(tmp_path / "other")
    there = steps(other, run)
    assert there == list(range(len(there))) and ROWS <= len(there) <= 3 * ROWS
    assert Stored(other.url).run(run)["config"] == {"a": 1}
    assert steps(endpoint, run) == list(range(3 * ROWS))


def test_a_backup_put_back_under_a_working_endpoint_makes_every_reader_start_over(start_endpoint, streamvis, tmp_path):
    endpoint = start_endpoint(tmp_path / "data")
    with Client(endpoint.url, "app") as client:
        run = client.init()
        send(client, 0, ROWS)
        assert streamvis("backup", tmp_path / "backup.sqlite", "--data", tmp_path / "data")[0] == 0
        send(client, ROWS, 2 * ROWS)
        reader = EndpointReader(endpoint.url)
        head = reader.run(run)
        status, output = streamvis("restore", tmp_path / "backup.sqlite", "--data", tmp_path / "data", "--yes")
        assert status == 0 and "The running endpoint uses it" in output
        assert steps(endpoint, run) == list(range(ROWS))
        assert reader.tail(run, after=head.cursor, wait_s=20).restart
        send(client, 5000, 5010)  # the producer goes on
        assert steps(endpoint, run) == [*range(ROWS), *range(5000, 5010)]
        endpoint.kill()
        endpoint.restart()
        assert steps(endpoint, run) == [*range(ROWS), *range(5000, 5010)]


def test_a_reader_that_waits_is_woken_by_a_restore(start_endpoint, streamvis, tmp_path):
    endpoint = start_endpoint(tmp_path / "data")
    with Client(endpoint.url, "app") as client:
        run = client.init()
        send(client, 0, 5)
        assert streamvis("backup", tmp_path / "b", "--data", tmp_path / "data")[0] == 0
        head = EndpointReader(endpoint.url).run(run)
        address = f"{endpoint.url}/api/v1/runs/{run}/tail?wait=25&after={head.cursor}"
        waiting = subprocess.Popen(["curl", "-sS", address], stdout=subprocess.PIPE, text=True)
        assert streamvis("restore", tmp_path / "b", "--data", tmp_path / "data", "--yes")[0] == 0
        assert json.loads(waiting.communicate(timeout=15)[0])["restart"]


def test_what_is_no_backup_changes_nothing(start_endpoint, streamvis, tmp_path):
    endpoint = start_endpoint(tmp_path / "data")
    with Client(endpoint.url, "app") as client:
        run = client.init()
        send(client, 0, 5)
    assert streamvis("backup", tmp_path / "b", "--data", tmp_path / "data")[0] == 0
    status, output = streamvis("backup", tmp_path / "b", "--data", tmp_path / "data")
    assert status == 1 and "--force" in output
    assert streamvis("backup", tmp_path / "b", "--data", tmp_path / "data", "--force")[0] == 0
    assert "no streamvis.sqlite" in streamvis("backup", tmp_path / "c", "--data", tmp_path / "nothing")[1]
    (tmp_path / "text").write_text("no database " * 1000)
    sqlite3.connect(tmp_path / "strange").execute("CREATE TABLE a (b)").connection.close()
    shutil.copy(tmp_path / "b", tmp_path / "newer")
    newer = sqlite3.connect(tmp_path / "newer")
    newer.execute("PRAGMA user_version = 99").connection.close()
    for name, told in (("text", "is not a backup"), ("strange", "is not a backup"), ("newer", "newer Streamvis")):
        status, output = streamvis("restore", tmp_path / name, "--data", tmp_path / "data", "--yes")
        assert status == 1 and told in output, output
    assert steps(endpoint, run) == list(range(5))
    assert not list((tmp_path / "data").glob("restore-*"))


def test_a_backup_never_takes_the_place_of_the_store_itself(start_endpoint, streamvis, tmp_path):
    endpoint = start_endpoint(tmp_path / "data")
    with Client(endpoint.url, "app") as client:
        run = client.init()
        send(client, 0, 5)
        (tmp_path / "link").symlink_to(tmp_path / "data" / "streamvis.sqlite")
        for name in ("data/streamvis.sqlite", "data/../data/streamvis.sqlite-wal", "link"):
            status, output = streamvis("backup", tmp_path / name, "--data", tmp_path / "data", "--force")
            assert status == 1 and "is the store itself" in output
        send(client, 5, 10)
    assert steps(endpoint, run) == list(range(10))


@pytest.mark.parametrize("in_use", [False, True])
def test_a_backup_of_the_first_schema_can_be_put_back(in_use, start_endpoint, streamvis, tmp_path):
    endpoint = start_endpoint(tmp_path / "data") if in_use else None
    status, output = streamvis("restore", FIRST_SCHEMA, "--data", tmp_path / "data", "--yes")
    assert status == 0, output
    endpoint = endpoint or start_endpoint(tmp_path / "data")
    assert len(steps(endpoint, "run")) == 40


def test_a_backup_takes_the_place_of_a_damaged_store(start_endpoint, streamvis, tmp_path):
    damaged = tmp_path / "data" / "streamvis.sqlite"
    damaged.parent.mkdir()
    damaged.write_bytes(b"no database any more " * 1000)
    status, output = streamvis("restore", FIRST_SCHEMA, "--data", tmp_path / "data", "--yes")
    assert status == 0, output
    assert len(steps(start_endpoint(tmp_path / "data"), "run")) == 40


def test_an_endpoint_of_another_version_gets_no_store_that_it_cannot_read(start_endpoint, streamvis, tmp_path):
    endpoint = start_endpoint(tmp_path / "data")
    live = sqlite3.connect(tmp_path / "data" / "streamvis.sqlite")
    (schema,) = live.execute("PRAGMA user_version").fetchone()
    live.execute(f"PRAGMA user_version = {schema - 1}").connection.close()
    status, output = streamvis("restore", FIRST_SCHEMA, "--data", tmp_path / "data", "--yes")
    assert status == 1 and "has another version" in output
    assert Stored(endpoint.url).runs("app") == []


def test_the_log_of_a_restore_gives_its_space_back(tmp_path, monkeypatch):
    monkeypatch.setattr(sqlite, "_WAL_BYTES", 2**16)
    held = DataFolder(tmp_path / "data")
    store = SqliteStore(held.path)
    backup(held.path, tmp_path / "b", progress=lambda done, all_: None)
    with sqlite3.connect(tmp_path / "b") as larger:
        larger.execute("INSERT INTO meta VALUES ('large', ?)", ("x" * 5_000_000,))
    larger.close()
    assert restore(tmp_path / "b", held.path, progress=lambda done, all_: None)
    wal = held.path / "streamvis.sqlite-wal"
    assert wal.stat().st_size > 5_000_000
    for number in range(3):  # the first checkpoints, a later one begins the log anew
        store.append([Batch("run", "app", "p", number, [Start("{}", 1.0)])])
    assert wal.stat().st_size < 2**17
    store.close()
    held.release()


def test_nothing_is_acknowledged_into_a_log_that_was_deleted_and_an_orderly_end_saves_what_was(start_endpoint, tmp_path):
    endpoint = start_endpoint(tmp_path / "data")
    with Client(endpoint.url, "app") as client:
        run = client.init()
        send(client, 0, 5)
        (tmp_path / "data" / "streamvis.sqlite-wal").unlink()
        client.sendl(5, "k", {"x": 5})
        assert not client.flush(timeout_s=1.5)
        endpoint.terminate()
        endpoint.restart()
        wait_until(lambda: client.flush(timeout_s=5))
        assert steps(endpoint, run) == [0, 1, 2, 3, 4, 5]


READ_WITHOUT_A_LOG = """
import sys
from pathlib import Path
from streamvis.errors import StreamvisError
from streamvis.records import Batch, Start
from streamvis.store import SqliteStore
store = SqliteStore(Path(sys.argv[1]))
store.append([Batch("run", "app", "p", 0, [Start("{}", 0.0)])])
with store._reading() as first:
    (Path(sys.argv[1]) / "streamvis.sqlite-wal").unlink()
    try:
        with store._reading() as second:
            second.execute("SELECT count(*) FROM runs").fetchone()
    except StreamvisError as error:
        print(error)
store.close()
"""


def test_an_orderly_end_saves_what_was_in_a_deleted_log_also_where_someone_read_meanwhile(tmp_path):
    done = subprocess.run([sys.executable, "-c", READ_WITHOUT_A_LOG, tmp_path], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and "damaged" in done.stdout, done.stderr
    store = SqliteStore(tmp_path)
    assert store.run("run").app == "app"
    store.close()


def test_nothing_is_acknowledged_into_a_file_that_was_deleted(start_endpoint, tmp_path):
    endpoint = start_endpoint(tmp_path / "data")
    with Client(endpoint.url, "app") as client:
        run = client.init()
        send(client, 0, 5)
        for path in (tmp_path / "data").glob("streamvis.sqlite*"):
            path.unlink()
        client.sendl(5, "k", {"x": 5})
        assert not client.flush(timeout_s=1.5)
        response = Transport(endpoint.url).request(
            "POST", "/api/v1/runs", body=b'{"app": "b"}', headers={"Content-Type": "application/json"}
        )
        assert response.status == 503 and b"is gone" in response.body
        endpoint.kill()
        endpoint.restart()
        wait_until(lambda: client.flush(timeout_s=5))
        assert steps(endpoint, run) == [5]  # what was acknowledged before went with the file


@pytest.fixture
def small_disk(tmp_path):
    """A file system of a few MiB, with other things on it that can make room."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", folder], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.decode().strip()}")
    (folder / "other").write_bytes(bytes(2 * 2**20))
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def fill(disk):
    """Leave no room at all."""
    with (disk / "rest").open("wb", buffering=0) as file:
        for size in (2**16, 2**12):
            try:
                while file.write(bytes(size)) == size:
                    pass
            except OSError:
                pass


class FailingDisk:
    """An ext4 in a file, which the kernel sets to read only as it does after a disk's error."""

    def __init__(self, image, folder):
        self.image, self.folder = image, folder

    def mount(self):
        command = ["mount", "-o", "loop,errors=remount-ro", self.image, self.folder]
        return subprocess.run(command, capture_output=True, check=False)

    def fail(self):
        subprocess.run(["mount", "-o", "remount,abort", self.folder], check=True)

    def mend(self):
        subprocess.run(["umount", self.folder], check=True)
        assert subprocess.run(["e2fsck", "-p", self.image], capture_output=True, check=False).returncode in (0, 1)
        assert self.mount().returncode == 0


@pytest.fixture
def failing_disk(tmp_path):
    """A file system that can be told to fail."""
    disk = FailingDisk(tmp_path / "image", tmp_path / "failing")
    disk.folder.mkdir()
    disk.image.write_bytes(b"")
    os.truncate(disk.image, 32 * 2**20)
    if shutil.which("mkfs.ext4") is None or shutil.which("e2fsck") is None:
        pytest.skip("there is no mkfs.ext4")
    subprocess.run(["mkfs.ext4", "-q", "-F", disk.image], check=True)
    if (mounted := disk.mount()).returncode:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.decode().strip()}")
    yield disk
    subprocess.run(["umount", "-l", disk.folder], check=True)


def test_on_a_full_disk_nothing_is_lost_and_all_arrives_when_there_is_room(small_disk, start_endpoint, caplog):
    endpoint = start_endpoint(small_disk / "data")
    stored = Stored(endpoint.url)
    with Client(endpoint.url, "app") as client:
        run = client.init()
        random, sent = np.random.default_rng(0), []
        while client.flush(timeout_s=1.0):
            sent += (values := random.normal(size=20_000)).tolist()
            client.sendl(len(sent), "k", {"x": values})
            assert len(sent) < 10**6, "the disk is never full"
        (warning,) = [record.getMessage() for record in caplog.records]
        assert "answered 507: The disk of the data folder is full" in warning
        assert Transport(endpoint.url).request("GET", "/healthz").status == 200
        assert stored.rows(run, "k", "x") == sent[: len(stored.rows(run, "k", "x"))]  # what is there can be read
        (small_disk / "other").unlink()
        subprocess.run(["mount", "-o", "remount,size=64m", small_disk], check=True)
        wait_until(lambda: client.flush(timeout_s=5))
        assert stored.rows(run, "k", "x") == sent


def test_an_endpoint_without_room_for_a_store_does_not_start(small_disk, streamvis):
    fill(small_disk)
    status, output = streamvis("rest", "--data", small_disk / "data", "--port", "0")
    assert status == 1 and "is full" in output and "Traceback" not in output


def test_a_restore_without_room_changes_nothing(small_disk, start_endpoint, streamvis, tmp_path):
    endpoint = start_endpoint(small_disk / "data")
    with Client(endpoint.url, "app") as client:
        run = client.init()
        send(client, 0, 5)
        assert streamvis("backup", tmp_path / "b", "--data", small_disk / "data")[0] == 0
        send(client, 5, 10)
        fill(small_disk)
        status, output = streamvis("restore", tmp_path / "b", "--data", small_disk / "data", "--yes")
        assert status == 1 and "No space left" in output and "is unchanged" in output
        assert steps(endpoint, run) == list(range(10))
        status, output = streamvis("backup", small_disk / "b", "--data", small_disk / "data")
        assert status == 1 and "could not be copied" in output
        assert not list(small_disk.glob("b*"))
        (small_disk / "rest").unlink()


def test_a_store_that_may_not_grow_loses_nothing(start_endpoint, caplog):
    endpoint = start_endpoint()
    process = psutil.Process(endpoint.pid)
    limits = process.rlimit(psutil.RLIMIT_FSIZE)
    with Client(endpoint.url, "app") as client:
        run = client.init()
        send(client, 0, 5)
        process.rlimit(psutil.RLIMIT_FSIZE, (2**16, limits[1]))
        for step in range(5, 50):
            client.sendl(step, "k", {"x": step})
        assert not client.flush(timeout_s=1.5)
        (warning,) = [record.getMessage() for record in caplog.records]
        assert "answered 503: The store cannot be used now" in warning
        assert Transport(endpoint.url).request("GET", "/healthz").status == 200
        assert steps(endpoint, run) == list(range(5))
        process.rlimit(psutil.RLIMIT_FSIZE, limits)
        wait_until(lambda: client.flush(timeout_s=5))
        assert steps(endpoint, run) == list(range(50))


def test_a_disk_that_becomes_read_only_under_the_endpoint_loses_nothing(failing_disk, start_endpoint, caplog):
    endpoint = start_endpoint(failing_disk.folder / "data")
    with Client(endpoint.url, "app") as client:
        run = client.init()
        send(client, 0, 50)
        failing_disk.fail()
        for step in range(50, 100):
            client.sendl(step, "k", {"x": step})
        assert not client.flush(timeout_s=1.5)
        (warning,) = [record.getMessage() for record in caplog.records]
        assert "answered 503: The store cannot be used now" in warning
        assert steps(endpoint, run) == list(range(50))
        endpoint.kill()
        failing_disk.mend()
        endpoint.restart()
        wait_until(lambda: client.flush(timeout_s=5))
        assert steps(endpoint, run) == list(range(100))


def test_a_folder_that_may_only_be_read_is_refused_with_a_clear_line(small_disk, streamvis):
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    status, output = streamvis("rest", "--data", small_disk / "data", "--port", "0")
    assert status == 1 and "Read-only file system" in output and "--data" in output and "Traceback" not in output


def test_a_spool_on_a_full_disk_keeps_what_memory_holds(small_disk, start_endpoint):
    endpoint = start_endpoint()
    with Client(endpoint.url, "app", spool=small_disk) as client:
        run = client.init()
        endpoint.kill()
        (small_disk / "more").write_bytes(bytes(4 * 2**20 - 2**16))
        values = np.random.default_rng(0).normal(size=20_000)
        for step in range(10):
            client.sendl(step, "k", {"x": values})
        assert not client.flush(timeout_s=1)
        endpoint.restart()
        wait_until(lambda: client.flush(timeout_s=5))
        assert steps(endpoint, run) == values.tolist() * 10
