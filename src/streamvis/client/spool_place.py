"""Where a user's spools lie: in the folder that was asked for, else the user's own, else a temporary one.

It is made when something is to be written, not before: a producer whose endpoint takes everything needs no folder. A folder that
was asked for is the only one. Where none was, and the user's own cannot be written or there is none, the temporary folder serves.
"""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

from streamvis.client.notices import say

__all__ = ["SpoolPlace"]


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
