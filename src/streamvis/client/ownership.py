"""Whose a spool's folder is: its producer's for as long as that lives, and then whoever takes it first.

The lock is the operating system's, on the file `owner` in the folder, so it is free when its holder is gone, however that went.
What the file says is for those who come later: which endpoint the records are for, and on which machine they were written. A
forked child inherits the lock, and gives it back by closing its copy (`leave`), which frees nothing for the parent.
"""

from __future__ import annotations

import json
import os
import platform
from pathlib import Path
from typing import NamedTuple

try:
    import fcntl
except ImportError:  # Windows, where all there is to go by is whether the owner's process lives
    fcntl = None

__all__ = ["Owner", "hold", "leave", "take"]

_NAME = "owner"


class Owner(NamedTuple):
    """What is known of who wrote a spool; `url` is None where there was no endpoint."""

    url: str | None
    host: str
    pid: int

    @classmethod
    def here(cls, url: str | None) -> Owner:
        """This process."""
        return cls(url, platform.node(), os.getpid())


def hold(folder: Path, owner: Owner) -> int | None:
    """Make the folder the owner's; what to give to `leave`. None where files cannot be locked: then nobody takes it either."""
    held = None
    try:
        held = os.open(folder / _NAME, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
        if fcntl is not None:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.write(held, json.dumps(owner._asdict()).encode())
    except OSError:
        leave(held, folder)
        return None
    return held


def take(folder: Path) -> tuple[int, Owner] | None:
    """Become the owner of a folder that its producer left; None while somebody has it, or where nobody ever had."""
    try:
        held = os.open(folder / _NAME, os.O_RDWR)
    except OSError:
        return None
    try:
        owner = Owner(**json.loads(os.read(held, 2**16)))
        if fcntl is not None:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        elif _lives(owner.pid):
            raise BlockingIOError
    except (OSError, ValueError, TypeError):
        os.close(held)
        return None
    return held, owner


def leave(held: int | None, folder: Path | None = None) -> None:
    """Own it no longer; with `folder`, take the file away too, since nothing is left there."""
    if held is None:
        return
    if folder is not None:
        try:
            (folder / _NAME).unlink()
        except OSError:
            pass  # somebody else took it away
    os.close(held)


def _lives(pid: int) -> bool:
    import psutil

    return psutil.pid_exists(pid)
