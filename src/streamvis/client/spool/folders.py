"""The folders of spools: where they lie, whose each is, and writing there.

Spools lie in the folder that was asked for, else in the user's own, else in a temporary one. It is made when something is to be
written. A folder that was asked for is the only one; where none was, and the user's own cannot be written or there is none, the
temporary folder serves.

A spool's folder is its producer's for as long as that lives, and then whoever takes it first. The lock is the operating system's,
on the file `owner` in the folder, so it is free when its holder is gone, however that went. What the file says is for those who
come later: which endpoint the records are for, and which process on which machine wrote them. A free lock proves something only
to who shares the writer's kernel, or its host name; across machines many shared file systems do not lock at all. Where nothing
can be locked, whether the process lives is all there is to go by. A forked child inherits the lock, and closes its copy
(`leave`), which releases nothing for the parent.
"""

from __future__ import annotations

import json
import os
import platform
import stat
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, NamedTuple

from streamvis.client.notices import say
from streamvis.client.process.imports import undisturbed

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

__all__ = [
    "BEGIN",
    "DROPPED",
    "OWNER",
    "Owner",
    "SpoolPlace",
    "boot",
    "hold",
    "leave",
    "remove",
    "sync_folder",
    "take",
    "write_whole",
]

OWNER, BEGIN, DROPPED = "owner", ".begin", "dropped"
"""Files beside the segments, the second by how its name ends; see `producer_log`."""
_BOOT = Path("/proc/sys/kernel/random/boot_id")
_CLOCKS_DIFFER_S = 2.0
_LOOKS, _LOOK_S = 20, 0.005


class Owner(NamedTuple):
    """Who wrote a spool, and `since` when (seconds since 1970); `url` is None where there was no endpoint.

    `boot` names the running kernel, which containers on one machine share under different host names.
    """

    url: str | None
    host: str
    boot: str
    pid: int
    since: float

    @classmethod
    def of(cls, pid: int, since: float, url: str | None = None) -> Owner:
        """The process of this machine that has a pid, and had it at `since`."""
        return cls(url, platform.node(), boot(), pid, since)

    @property
    def is_of_this_machine(self) -> bool:
        """Whether a free lock here means that the writer is gone."""
        return bool(self.host and self.host == platform.node()) or bool(self.boot and self.boot == boot())

    @property
    def lives(self) -> bool:
        """Whether the process is there, has not ended, and is not another one that has its number now."""
        if hasattr(os, "getppid") and self.pid == os.getppid():
            return True  # a process that has ended is not a parent
        try:
            with undisturbed():
                import psutil
            process = psutil.Process(self.pid)
            return process.create_time() <= self.since + _CLOCKS_DIFFER_S and process.status() != psutil.STATUS_ZOMBIE
        except (ImportError, AttributeError):
            return True  # asked by a signal's handler that came in the middle of the import: nothing is known
        except psutil.Error:
            return False

    @property
    def is_gone(self) -> bool:
        """Whether it is known here that the process has ended. Containers on one machine do not see each other's."""
        return self.host == platform.node() and self.boot == boot() and not self.lives


_UNKNOWN = Owner(None, "", "", 0, 0.0)


def hold(folder: Path, url: str | None) -> int:
    """Make the folder this process's; what to give to `leave`. Raises OSError when it cannot be made so."""
    held = os.open(folder / OWNER, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        _lock_soon(held)
        os.ftruncate(held, 0)
        told = json.dumps(Owner.of(os.getpid(), time.time(), url)._asdict()).encode()
        if os.write(held, told) != len(told):
            raise OSError(f"no room in {folder}")
    except OSError:
        os.close(held)
        raise
    return held


def take(folder: Path, *, unsigned: bool = False) -> tuple[int, Owner] | None:
    """Become the owner of a folder that its producer left; None while somebody has it, or it is gone.

    With `unsigned` also of one that lacks the file. An owner of whom nothing can be read is of no machine, and another user's
    word for where the records go is not taken: the token goes there too. Raises OSError when the folder cannot be looked at.
    """
    try:
        held = os.open(folder / OWNER, os.O_RDWR | (os.O_CREAT if unsigned else 0) | getattr(os, "O_NOFOLLOW", 0), 0o600)
    except FileNotFoundError:
        return None
    try:
        locked = _lock(held)
        owner = _read(held)
        is_gone = os.fstat(held).st_nlink == 0  # who had it before delivered all, and took the folder away
        if is_gone or (not locked and owner.is_of_this_machine and owner.lives):
            raise BlockingIOError
    except BlockingIOError:
        os.close(held)
        return None
    except OSError:
        os.close(held)
        raise
    return held, owner


def leave(held: int | None) -> None:
    """Own the folder no longer."""
    if held is not None:
        os.close(held)


def remove(held: int, folder: Path) -> None:
    """Take the folder away, in which no batch is left; it stays where others put something there."""
    with suppress(OSError):  # somebody else took it away
        ours = [path for path in folder.iterdir() if path.name in (OWNER, DROPPED) or path.name.endswith((BEGIN, ".new"))]
        for path in sorted(ours, key=lambda path: path.name == OWNER):  # without it, the rest is not known as a spool
            with suppress(OSError):
                path.unlink()
    os.close(held)
    with suppress(OSError):
        folder.rmdir()


def _lock_soon(held: int) -> None:
    """Lock a file that others may look at for a moment. Raises BlockingIOError when somebody keeps it."""
    for _ in range(_LOOKS):
        try:
            _lock(held)
            return
        except BlockingIOError:
            time.sleep(_LOOK_S)
    _lock(held)


def _lock(held: int) -> bool:
    """Lock the file; False where files cannot be locked. Raises BlockingIOError while somebody else has it."""
    if fcntl is None:
        return False
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError:
        return False
    return True


def _read(held: int) -> Owner:
    try:
        owner = Owner(**json.loads(os.pread(held, 2**16, 0)))
    except (ValueError, TypeError, RecursionError):
        return _UNKNOWN
    texts = all(isinstance(one, str) for one in (owner.url or "", owner.host, owner.boot))
    if not (texts and type(owner.pid) is int and isinstance(owner.since, (int, float))):
        return _UNKNOWN
    is_ours = not hasattr(os, "geteuid") or os.fstat(held).st_uid == os.geteuid()
    return owner if is_ours else owner._replace(url=None)


def boot() -> str:
    """The id of the running kernel; "" where there is none."""
    try:
        return _BOOT.read_text().strip()
    except OSError:
        return ""


class SpoolPlace:
    """The folder of one client's spools; `given` is the one that was asked for."""

    def __init__(self, given: Path | None) -> None:
        own = given if given is not None else _own_folder()
        self._has_own, self._is_settled = own is not None, given is not None
        self._untold = ""
        self.folder = own if own is not None else _temporary_folder()

    def writable(self) -> Path:
        """The folder, made if it is not there; the temporary one where that cannot be."""
        if not self._has_own:
            self.turn(OSError("this user has no home folder"))
        elif not self._is_settled:
            try:
                _make(self.folder)
            except OSError as error:
                self.turn(error)
        return self.folder

    def turn(self, error: OSError) -> bool:
        """The folder cannot be written: use the temporary one; False where there is no other."""
        if self._is_settled:
            return False
        try:
            other = _made_temporary_folder()
        except OSError:
            return False
        self._has_own = self._is_settled = True
        why = f"{self.folder} cannot be written ({error.strerror or error})" if error.errno else str(error)
        self._untold = f"{why}; records that have to wait are kept in {other}."
        self.folder = other
        return True

    def tell(self) -> None:
        """Records have to wait: say once where, if that is not where the user looks for them."""
        untold, self._untold = self._untold, ""
        if untold:
            say("%s", untold)

    def folders(self) -> Iterator[Path]:
        """The folders in which earlier producers may have left something."""
        yield self.folder
        if not self._is_settled and self.folder != (other := _temporary_folder()) and _is_ours(other):
            yield other


def _own_folder() -> Path | None:
    """The user's folder for states; None where there is no home."""
    import platformdirs

    try:
        folder = platformdirs.user_state_path("streamvis") / "spool"
    except (RuntimeError, KeyError, OSError):
        return None
    return folder if folder.is_absolute() else None


def _temporary_folder() -> Path:
    """A folder of this user's alone under the system's temporary one."""
    import tempfile

    user = os.geteuid() if hasattr(os, "geteuid") else "user"
    try:
        parent = tempfile.gettempdir()
    except OSError:
        parent = os.sep
    return Path(parent) / f"streamvis-{user}" / "spool"


def _made_temporary_folder() -> Path:
    folder = _temporary_folder()
    try:
        folder.parent.mkdir(exist_ok=True, mode=0o700)
        if _is_ours(folder.parent):
            _make(folder)
            return folder
    except OSError:
        pass
    import tempfile

    return Path(tempfile.mkdtemp(prefix="streamvis-"))


def _make(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionError(13, "Permission denied", str(folder))


def _is_ours(folder: Path) -> bool:
    """Whether no one else can write there: under the temporary folder anybody may have made it, or a link."""
    try:
        seen = os.lstat(folder)
    except OSError:
        return False
    is_safe = not hasattr(os, "geteuid") or (seen.st_uid == os.geteuid() and not seen.st_mode & 0o022)
    return stat.S_ISDIR(seen.st_mode) and is_safe


def write_whole(file: BinaryIO, content: bytes) -> bool:
    """Write at the end, all or nothing: half a frame would hide those after it. False where there is no room."""
    offset = file.tell()
    try:
        if file.write(content) == len(content):
            return True
    except OSError:
        pass
    file.truncate(offset)
    file.seek(offset)
    return False


def sync_folder(folder: Path) -> None:
    """Bring the names in a folder to the disk."""
    if os.name == "nt":
        return
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
