"""Whose a spool's folder is: its producer's for as long as that lives, and then whoever takes it first.

The lock is the operating system's, on the file `owner` in the folder, so it is free when its holder is gone, however that went.
What the file says is for those who come later: which endpoint the records are for, and which process on which machine wrote
them. A free lock proves something only to who shares the writer's kernel, or its host name; across machines many shared file
systems do not lock at all. Where nothing can be locked, whether the process lives is all there is to go by.

A forked child inherits the lock, and gives it back by closing its copy (`leave`), which frees nothing for the parent.
"""

from __future__ import annotations

import json
import os
import platform
import time
from pathlib import Path
from typing import NamedTuple

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

__all__ = ["OWNER", "Owner", "boot", "hold", "leave", "take"]

OWNER = "owner"
_BOOT = Path("/proc/sys/kernel/random/boot_id")
_CLOCKS_DIFFER_S = 2.0


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
    def here(cls, url: str | None) -> Owner:
        """This process."""
        return cls.of(os.getpid(), time.time(), url)

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
        import psutil

        try:
            process = psutil.Process(self.pid)
            return process.create_time() <= self.since + _CLOCKS_DIFFER_S and process.status() != psutil.STATUS_ZOMBIE
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
        _lock(held)
        os.ftruncate(held, 0)
        told = json.dumps(Owner.here(url)._asdict()).encode()
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


def leave(held: int | None, folder: Path | None = None) -> None:
    """Own it no longer; with `folder`, take the file away too, since nothing is left there."""
    if held is None:
        return
    if folder is not None:
        try:
            (folder / OWNER).unlink()
        except OSError:
            pass  # somebody else took it away
    os.close(held)


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
