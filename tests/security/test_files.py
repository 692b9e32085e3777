"""Files that are secret or come from others: who may read what is kept, and what a hostile spool makes of whoever delivers it."""

from __future__ import annotations

import json
import os
import platform
import struct
import zlib

import pytest

from streamvis import Client, StreamvisError
from streamvis.addresses.access import kept_token
from streamvis.client.spool.frames import Outgoing, frames_of
from streamvis.client.spool.leftovers import set_aside
from streamvis.errors import FolderUnusable
from streamvis.transport import Transport
from support.stored import Stored

pytestmark = pytest.mark.skipif(os.name != "posix", reason="modes of files and links are those of POSIX")


@pytest.fixture(autouse=True)
def open_umask():
    """What is made is for everybody, unless it is made otherwise."""
    before = os.umask(0)
    yield
    os.umask(before)


def modes(folder):
    return {path.name: path.stat().st_mode & 0o777 for path in folder.iterdir()}


# What is kept


def test_a_store_and_its_backups_are_their_owners_alone_whatever_the_folder_is(start_endpoint, start_streamvis, tmp_path):
    data = tmp_path / "data"
    data.mkdir(mode=0o777)
    endpoint = start_endpoint(data)
    with Client(endpoint.url, "app") as client:
        client.init()
        client.flush()
    beside = ["streamvis.sqlite", "streamvis.sqlite-wal", "streamvis.sqlite-shm"]
    assert [modes(data)[name] for name in beside] == [0o600] * 3
    assert start_streamvis("backup", tmp_path / "copy.sqlite", "--data", data).wait() == 0
    assert modes(tmp_path)["copy.sqlite"] == 0o600
    assert start_streamvis("restore", "--yes", tmp_path / "copy.sqlite", "--data", tmp_path / "other").wait() == 0
    assert modes(tmp_path)["other"] == 0o700 and modes(tmp_path / "other")["streamvis.sqlite"] == 0o600


def test_a_spool_is_its_owners_alone(tmp_path):
    with Client(None, "app", spool=tmp_path / "spool") as client:
        client.init()
        client.sendl(0, "k", {"x": 1})
    (made,) = (tmp_path / "spool").iterdir()
    assert made.stat().st_mode & 0o777 == 0o700 and any(made.glob("*.spool"))


def test_a_kept_token_is_nobody_elses(tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("x" * 40)
    os.chmod(secret, 0o644)
    (tmp_path / "leads").mkdir()
    (tmp_path / "leads" / "token").symlink_to(secret)
    (tmp_path / "nowhere").mkdir()
    (tmp_path / "nowhere" / "token").symlink_to(tmp_path / "not there")
    for folder in ("leads", "nowhere"):
        with pytest.raises(FolderUnusable):
            kept_token(tmp_path / folder, "token")
    assert not (tmp_path / "not there").exists() and secret.read_text() == "x" * 40


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root gives files away")
def test_a_token_that_another_user_put_there_is_not_used(tmp_path):
    (tmp_path / "token").write_text("y" * 40)
    os.chmod(tmp_path / "token", 0o600)
    os.chown(tmp_path / "token", 12345, 12345)
    with pytest.raises(FolderUnusable, match="others may read the token"):
        kept_token(tmp_path, "token")


def test_tokens_come_from_files_that_their_owner_wrote(start_endpoint, tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    for name in ("token", "read-token"):
        (data / name).write_text(f"my-own-{name}\n")
        os.chmod(data / name, 0o600)
    endpoint = start_endpoint(data, args=["--host", "0.0.0.0"])
    for token, status in (("my-own-token", 201), ("my-own-read-token", 403), (None, 401)):
        answer = Transport(endpoint.url, token=token).request("POST", "/api/v1/runs", body=b'{"app":"a"}')
        assert answer.status == status


# Tokens that are told to nobody


@pytest.mark.parametrize("token", ["secret\nword", "secret word", "secret€", "secret\0", b"secret", "secret\udcff"])
def test_a_token_that_no_header_holds_is_refused_and_not_told(token, start_streamvis, caplog):
    for make in (lambda: Client("http://127.0.0.1:9", "app", token=token), lambda: Transport("http://127.0.0.1:9", token=token)):
        with pytest.raises(StreamvisError) as refused:
            make()
        assert "secret" not in str(refused.value)
    if isinstance(token, str) and "\0" not in token:
        for command in (["rest", "--port", "0"], ["page", __file__, "--port", "0"]):
            env = {"STREAMVIS_TOKEN": token, "STREAMVIS_PAGE_TOKEN": token}
            program = start_streamvis(*command, env=env)
            assert program.wait() == 1 and "secret" not in program.output()
    assert "secret" not in caplog.text


def test_white_space_around_a_token_is_none_of_it(start_endpoint):
    endpoint = start_endpoint(env={"STREAMVIS_TOKEN": "secret\n", "STREAMVIS_READ_TOKEN": " reads "})
    with Client(endpoint.url, "app", token="secret\r\n") as client:
        client.init()
        assert client.flush()


# Hostile spools


def frame(**head):
    """A frame whose head says what it likes."""
    body = head.pop("body", b"")
    text = json.dumps(head.pop("text", head)).encode() if "raw" not in head else head["raw"]
    return struct.pack("<4sIII", b"SVB1", len(text), len(body), zlib.crc32(body, zlib.crc32(text))) + text + body


def good(run, number=1):
    notes = b'[0, 1.0, "k", {"x": 7}]\n'
    return frames_of(Outgoing(run, "app", f"good-{run}", number, 1, (notes,)))


@pytest.fixture
def hostile(tmp_path):
    """A folder of spools, with one that nobody owns."""
    folder = tmp_path / "spools" / "one"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def joined(shared_endpoint):
    """A run that is there."""
    answer = Transport(shared_endpoint.url).request("POST", "/api/v1/runs", body=b'{"app":"app"}')
    return json.loads(answer.body)["run"]


@pytest.fixture
def synced(shared_endpoint, start_streamvis, tmp_path):
    """Delivers all spools; returns the program, ended, and the endpoint's url."""

    def run(*options):
        options = options or ("--url", shared_endpoint.url, "--other-hosts")
        program = start_streamvis("sync", tmp_path / "spools", *options, cwd=tmp_path)
        program.wait()
        return program, shared_endpoint.url

    return run


def everything(folder):
    return {path for path in folder.rglob("*") if not path.is_dir()}


@pytest.mark.parametrize(
    "head",
    [
        {"producer": "../../../evil"},
        {"producer": "/tmp/evil"},
        {"run": "../../../joined"},
        {"run": ".."},
        {"run": "x/../../y"},
        {"run": None},
        {"number": "../../evil"},
        {"number": -1},
        {"number": 2**70},
        {"records": "many"},
        {"app": ["app"]},
        {"is_notes": "yes"},
        {"more": 1},
        {"text": [1, 2]},
        {"raw": b"[" * 60_000},
    ],
)
def test_a_frame_leads_nowhere_else_and_holds_up_nobody(head, hostile, joined, synced, tmp_path):
    sound = {"run": joined, "app": "other", "producer": "evil", "number": 1, "records": 1, "is_notes": False, "body": b"evil"}
    (hostile / "00000001.spool").write_bytes(frame(**(sound | head)) + good(joined))
    before = everything(tmp_path)
    program, url = synced()
    assert Stored(url).rows(joined, "k", "x") == [7] and "Traceback" not in program.output()
    new = everything(tmp_path) - before
    assert {path.parent for path in new if "evil" in path.name} <= {tmp_path / "spools" / "refused"}
    assert [path.name for path in new if path.suffix == ".damaged"] == ["one-00000001.damaged"]


def test_lengths_of_a_frame_are_not_believed(hostile, joined, synced):
    for number, size in enumerate((2**32 - 1, 2**31, 2**20)):
        head = struct.pack("<4sIII", b"SVB1", 100, size, 0)
        (hostile / f"0000000{number}.spool").write_bytes(head + b"x" * 200)
    (hostile / "00000009.spool").write_bytes(good(joined))
    program, url = synced()
    assert Stored(url).rows(joined, "k", "x") == [7] and "Traceback" not in program.output()


@pytest.mark.parametrize("notes", [b"[" * 10**5, b'[0, 0, "k", "text"]', b"[1, 2]", b"null", b'[{}, [], {}, {"a": 1}]', b"\xff"])
def test_notes_that_are_none_are_set_aside(notes, hostile, joined, synced):
    evil = frames_of(Outgoing(joined, "app", "evil", 1, 1, (notes,)))
    (hostile / "00000001.spool").write_bytes(evil + good(joined, number=2))
    program, url = synced()
    assert Stored(url).rows(joined, "k", "x") == [7] and "Traceback" not in program.output()
    assert (hostile.parent / "refused" / "evil-1.spool").exists()


def test_links_and_pipes_in_a_spool_are_not_followed(hostile, joined, synced, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("a private key")
    (hostile / "00000001.spool").symlink_to(secret)
    refused = hostile.parent / "refused"
    refused.mkdir()
    (refused / "evil-1.spool").symlink_to(secret)
    (refused / "evil-1.txt").symlink_to(secret)
    for name in ("two", "three"):
        (hostile.parent / name).mkdir()
    os.mkfifo(hostile.parent / "three" / "00000001.spool")
    bad = frames_of(Outgoing(joined, "app", "evil", 1, 1, (b"not arrow",)))
    (hostile.parent / "two" / "00000001.spool").write_bytes(bad + good(joined, number=2))
    program, url = synced()
    assert program.status == 1 and "Traceback" not in program.output()
    assert Stored(url).rows(joined, "k", "x") == [7]
    assert secret.read_text() == "a private key"
    kept = [path for path in everything(hostile.parent) if path.is_file() and not path.is_symlink()]
    assert kept and not any(b"private" in path.read_bytes() for path in kept)
    assert modes(refused)["evil-1.spool"] == 0o600


def test_what_is_set_aside_takes_no_links_place(tmp_path):
    target = tmp_path / "target"
    target.write_text("kept")
    (tmp_path / "refused").mkdir()
    (tmp_path / "refused" / "p-1.spool").symlink_to(target)
    assert set_aside(tmp_path, Outgoing("r", "a", "p", 1, 1, (b"",)), "no")
    assert target.read_text() == "kept"


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root gives files away")
def test_another_users_spool_does_not_say_where_the_token_goes(hostile, joined, synced, start_endpoint, tmp_path):
    thief = start_endpoint(tmp_path / "thief")
    told = {"url": thief.url, "host": platform.node(), "boot": "", "pid": 2**22 - 1, "since": 0.0}
    (hostile / "owner").write_text(json.dumps(told))
    (hostile / "00000001.spool").write_bytes(good(joined))
    os.chown(hostile / "owner", 12345, 12345)
    program, _ = synced("--token", "secret")
    assert program.status == 1 and "by another user. Name the endpoint: --url" in program.output()
    program, url = synced()
    assert Stored(url).rows(joined, "k", "x") == [7]
