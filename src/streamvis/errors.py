"""Every error of Streamvis: what happened, and what to do about it.

Errors are split by who can fix them. `UsageError` and `InvalidData` are the caller's: they are raised on the caller's
line and nothing was stored or sent. `EndpointError` and its kinds are about the endpoint at the other end of an address.
`StoreError` and its kinds are about the folder or the runs that an endpoint keeps. No message ever holds a token.
"""

from __future__ import annotations

from collections.abc import Sequence

__all__ = [
    "DamagedData",
    "DeletedRun",
    "EndpointError",
    "EndpointRefused",
    "EndpointUnreachable",
    "FilterError",
    "FolderInUse",
    "FolderUnusable",
    "InvalidData",
    "LiveSourceRefused",
    "NoSuchName",
    "NotAnEndpoint",
    "PageScriptError",
    "PortTaken",
    "RunConflict",
    "StoreError",
    "StoreUnavailable",
    "StreamvisError",
    "TokenRefused",
    "UnknownKey",
    "UnknownRun",
    "UsageError",
    "VersionMismatch",
]


class StreamvisError(Exception):
    """Base of every error that Streamvis raises."""


class UsageError(StreamvisError):
    """A call that cannot be carried out as it was made, such as `send` before `init`."""


class InvalidData(StreamvisError, ValueError):
    """Data that cannot be sent or stored. `where` names the place in the input, `allowed` what would be right."""

    def __init__(self, problem: str, *, where: str = "", allowed: str = "") -> None:
        self.problem, self.where, self.allowed = problem, where, allowed
        text = f"{where}: {problem}" if where else problem
        super().__init__(f"{text}. Allowed: {allowed}." if allowed else f"{text}.")


class FilterError(StreamvisError, ValueError):
    """A filter of runs that cannot be read: the fault is `length` characters from the column `position` on, counted from 0."""

    def __init__(self, message: str, *, position: int, length: int = 1) -> None:
        self.position, self.length = position, length
        super().__init__(message)


class EndpointError(StreamvisError):
    """Something between this process and the endpoint at `url`."""

    def __init__(self, message: str, *, url: str) -> None:
        self.url = url
        super().__init__(message)


class EndpointUnreachable(EndpointError):
    """No answer from `url`: refused, timed out, or cut off. Worth trying again."""


class EndpointRefused(EndpointError):
    """The endpoint answered `status` with `detail`."""

    def __init__(self, status: int, detail: str, *, url: str) -> None:
        self.status, self.detail = status, detail
        super().__init__(f"The endpoint at {url} answered {status}: {detail}", url=url)


class NotAnEndpoint(EndpointError):
    """Something that is not a Streamvis endpoint answers at `url`."""

    def __init__(self, *, url: str) -> None:
        super().__init__(
            f"{url} answers, but not as a Streamvis endpoint. Check host and port: the endpoint prints its address when "
            "it starts (`streamvis rest`).",
            url=url,
        )


class TokenRefused(EndpointError):
    """The endpoint at `url` needs a token, or another one. `why` is "missing", "wrong" or "read-only".

    `hint` says where the right one is.
    """

    def __init__(self, *, url: str, why: str = "wrong", hint: str = "") -> None:
        self.why = why
        problem = {
            "missing": f"The endpoint at {url} needs a token, and this program has none.",
            "read-only": f"The token that this program has may only read from the endpoint at {url}, not write to it.",
        }.get(why, f"The endpoint at {url} does not know the token that this program has.")
        super().__init__(f"{problem} {hint or 'Pass the right one in the environment variable STREAMVIS_TOKEN.'}", url=url)


class VersionMismatch(EndpointError):
    """The endpoint at `url` speaks another version of the protocol."""

    def __init__(self, *, ours: int, theirs: str, url: str) -> None:
        self.ours, self.theirs = ours, theirs
        super().__init__(
            f"The endpoint at {url} speaks protocol {theirs}, this Streamvis speaks {ours}. Install the same version of "
            "streamvis on both sides.",
            url=url,
        )


class StoreError(StreamvisError):
    """Something about the store of an endpoint."""


class UnknownRun(StoreError):
    """No run `run` is in the store. `near` are ids or names like it, `listing` says how to see all."""

    def __init__(self, run: str, *, near: Sequence[str] = (), listing: str = "GET /api/v1/runs") -> None:
        self.run, self.near = run, tuple(near)
        super().__init__(f"There is no run {run!r}.{_did_you_mean(near)} {listing} lists all runs.")


class DeletedRun(StoreError):
    """The run `run` was deleted. Its id cannot be used again."""

    def __init__(self, run: str) -> None:
        self.run = run
        super().__init__(f"The run {run!r} was deleted. Start another run: the id of a deleted one cannot be used again.")


class UnknownKey(StoreError):
    """The run has no key of that name. `near` are keys with a name like it, `listing` says how to see all."""

    def __init__(self, run: str, key: str, *, near: Sequence[str] = (), listing: str = "") -> None:
        self.run, self.key, self.near = run, key, tuple(near)
        listing = listing or f"GET /api/v1/runs/{run}"
        super().__init__(f"The run {run!r} has no key {key!r}.{_did_you_mean(near)} {listing} lists its keys.")


class RunConflict(StoreError):
    """What was asked does not fit the run as it is: another app's run, or a key of the other kind."""


class FolderInUse(StoreError):
    """Another endpoint holds the data folder; `listening` is its address where it is known."""

    def __init__(self, folder: str, *, listening: str | None) -> None:
        self.folder, self.listening = folder, listening
        first = f" that listens at {listening}" if listening else ""
        super().__init__(
            f"The data folder {folder} is in use by another endpoint{first}. Use that one, or choose another folder with --data."
        )


class FolderUnusable(StoreError):
    """The data folder cannot be used, for the reason given."""

    def __init__(self, folder: str, reason: str) -> None:
        self.folder, self.reason = folder, reason
        super().__init__(f"The data folder {folder} cannot be used: {reason}")


class StoreUnavailable(StoreError):
    """The store cannot take or give data now (disk full, file gone); `full` tells a full disk from the rest."""

    def __init__(self, message: str, *, full: bool = False) -> None:
        self.full = full
        super().__init__(message)


class DamagedData(StoreError):
    """What is stored under the key `key` of the run `run` cannot be read, or is not what was written; "" where it is not known
    which. `problem` says what was found."""

    def __init__(self, problem: str, *, run: str = "", key: str = "") -> None:
        self.problem, self.run, self.key = problem, run, key
        what = f"The key {key!r} of the run {run!r}" if key else f"The run {run!r}" if run else "The store's file"
        super().__init__(
            f"{what} is damaged: {problem}. Everything else is still served. `streamvis check`, given the data folder or the "
            "database, lists all damage. A folder is repaired with --repair, a database from its backup."
        )


class LiveSourceRefused(StreamvisError):
    """A live source asks for what its key does not have, or not yet."""


class NoSuchName(StreamvisError, KeyError):
    """Page code asked `what` for a name that is not there; `names` are those that are."""

    def __init__(self, what: str, name: object, names: list[str]) -> None:
        self.what, self.name, self.names = what, name, names
        shown = ", ".join(map(repr, names[:50])) + (", ..." if len(names) > 50 else "")
        super().__init__(f"{what} has no {name!r}. It has {shown or 'nothing at all'}.")

    def __str__(self) -> str:
        # A KeyError would show the sentence in quotation marks.
        return str(self.args[0])


class PageScriptError(StreamvisError):
    """A page script that cannot be served: missing, not Python, or without `init_page`."""


class PortTaken(StreamvisError):
    """The port is in use by another program."""

    def __init__(self, host: str, port: int, *, option: str) -> None:
        self.host, self.port = host, port
        super().__init__(f"Port {port} on {host} is taken. Choose another with {option}, or {option} 0 for any free one.")


def _did_you_mean(near: Sequence[str]) -> str:
    return f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
