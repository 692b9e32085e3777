"""`streamvis.open`: runs to read, of an endpoint by its address, or of a data folder, directly where no endpoint has it."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from streamvis.addresses.access import READ_TOKEN
from streamvis.errors import EndpointUnreachable, UsageError
from streamvis.reading import Reader

__all__ = ["open_reader"]


def open_reader(place: str | os.PathLike[str], token: str | None = None) -> Reader:
    """Read from the endpoint at the address `place`, or from the data folder `place`.

    The endpoint that has a folder is asked, if there is one that answers; else the folder is read directly, and not changed: it
    may be one that cannot be written to. `token` is for endpoints that need one (by default, that of STREAMVIS_TOKEN).

    Raises EndpointError (of the kind that fits) when no endpoint answers there, UsageError for a folder without a store, and
    FolderUnusable for one that cannot be read.
    """
    if isinstance(place, str) and "://" in place:
        return Reader(place, token=token)
    folder = Path(place).expanduser()
    if isinstance(place, str) and not folder.exists():
        raise UsageError(f"{place!r} is neither the address of an endpoint, such as http://localhost:8080, nor a folder.")
    return _of_folder(folder, token)


def _of_folder(folder: Path, token: str | None) -> Reader:
    from streamvis.store import endpoint_of, is_store

    if not is_store(folder):
        raise UsageError(
            f"{folder} is not a data folder: no endpoint has kept runs in it. Runs that `streamvis export` wrote are read with "
            "`streamvis import`."
        )
    if (url := endpoint_of(folder)) is not None:
        # It may be in another container, where its address means another machine. SQLite reads beside it.
        with suppress(EndpointUnreachable):
            return Reader(url, token=token or _kept_token(folder))
    from streamvis.endpoint.in_process import InProcessEndpoint
    from streamvis.store import ReadOnlySqliteStore

    return Reader(str(folder), transport=InProcessEndpoint(ReadOnlySqliteStore(folder), url=str(folder)))


def _kept_token(folder: Path) -> str | None:
    """The token that may read, where the endpoint keeps one in its folder and this user may see it."""
    try:
        return (folder / READ_TOKEN).read_text().strip() or None
    except OSError:
        return None
