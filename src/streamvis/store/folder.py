"""The data folder of an endpoint: usable, and used by one endpoint only.

The lock is the operating system's, so it is free again when its owner dies, however it dies. Beside it lies the address at which
the owner listens, for the message to a second one.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import psutil
from filelock import FileLock, Timeout

from streamvis.errors import FolderInUse, FolderUnusable

__all__ = ["DataFolder", "endpoint_of", "make_own", "sync"]

_NETWORK = ("nfs", "cifs", "smb", "fuse.sshfs", "afs", "9p", "lustre", "gpfs", "beegfs", "ceph", "glusterfs", "fuse.glusterfs")


class DataFolder:
    """The folder at `path`, made where it is not there, and held until `release`.

    Raises FolderUnusable or FolderInUse.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self._address = self.path / "address"
        try:
            self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
            probe = self.path / ".writable"
            probe.touch()
            probe.unlink()
        except OSError as error:
            raise FolderUnusable(str(self.path), f"{error.strerror}. Choose one that you can write to with --data.") from error
        kind = _file_system(self.path)
        if kind.startswith(_NETWORK):
            raise FolderUnusable(
                str(self.path),
                f"it lies on a network file system ({kind}), where SQLite cannot lock. Choose a local one with --data.",
            )
        self._lock = FileLock(self.path / "lock")
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            listening = self._address.read_text().strip() if self._address.exists() else None
            raise FolderInUse(str(self.path), listening=listening) from None

    def announce(self, url: str) -> None:
        """Note where the endpoint of this folder listens."""
        self._address.write_text(url)

    def release(self) -> None:
        """Release the folder."""
        self._address.unlink(missing_ok=True)
        self._lock.release()


def endpoint_of(folder: Path) -> str | None:
    """The address of the endpoint that holds the folder now; None where there is none, or it does not listen yet."""
    address = folder.absolute() / "address"
    try:
        return address.read_text().strip() if _is_held(folder.absolute() / "lock") else None
    except OSError:
        return None


def _is_held(lock: Path) -> bool:
    """Whether an endpoint has the lock. Who asks needs no right to write, and does not get in the way of others who ask."""
    opened = os.open(lock, os.O_RDONLY)
    try:
        fcntl.flock(opened, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(opened)
    return False


def make_own(file: Path) -> None:
    """Make the file for its owner alone, where it is not there yet. SQLite gives what lies beside it the same mode."""
    os.close(os.open(file, os.O_RDWR | os.O_CREAT, 0o600))


def sync(path: Path) -> None:
    """Have the disk hold what was written to the file, or the names that the folder holds."""
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def _file_system(path: Path) -> str:
    """The type of the file system on which the path lies, or what it is a link to, in lower case."""
    path = path.resolve()
    mounts = {part.mountpoint: part.fstype for part in psutil.disk_partitions(all=True)}
    for folder in (path, *path.parents):
        if str(folder) in mounts:
            return mounts[str(folder)].lower()
    return ""
