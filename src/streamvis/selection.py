"""Which runs a page shows, and as of when: read from an address, and written into one. Pure.

A link is a view: everything that a page shows follows from its selection. Without `runs` and `where` that is one run of the
app (see `FOLLOWS`); `runs` names runs; `where` takes all runs of the app that fit, also those that come later. With `group`, runs
with the same value there are one thing, drawn as a middle and a band. With `at`, a page shows the past: what the runs had at that
step.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

from streamvis.errors import UsageError

__all__ = ["FOLLOWS", "NEWEST", "OLDEST", "PINNED", "STATS", "Selection"]

NEWEST, OLDEST, PINNED = FOLLOWS = "newest", "oldest", "pinned"
"""Which run is shown where none is named: the newest; the oldest that is running; or the newest when the page opened."""
STATS = ("std", "sem", "ci95", "quartiles", "range")
"""What a band shows around its middle: mean and standard deviation, standard error, or 95 % interval; median and quartiles; mean,
lowest and highest."""


@dataclass(frozen=True, slots=True)
class Selection:
    """What a page's address says; `app` None is the newest run of all apps. `follow` matters where one run is shown."""

    app: str | None = None
    runs: Sequence[str] = ()
    where: str = ""
    group: str = ""
    stat: str = STATS[0]
    follow: str = NEWEST
    at: int | None = None

    @classmethod
    def read(cls, arguments: Mapping[str, Sequence[str]], *, app: str | None = None, follow: str = NEWEST) -> Selection:
        """From an address's arguments, each with its values; `app` and `follow` where none is named there.

        Raises UsageError where `stat`, `follow` or `at` is not one that there can be.
        """

        def one(name: str, default: str = "") -> str:
            return (list(arguments.get(name, ())) or [default])[0] or default

        stat, follows = one("stat", STATS[0]), one("follow", follow)
        for name, given, allowed in (("stat", stat, STATS), ("follow", follows, FOLLOWS)):
            if given not in allowed:
                raise UsageError(f"{name}={given!r} in the address is not valid. Use one of {', '.join(allowed)}.")
        at = one("at")
        if at and not (at.isascii() and at.isdigit() and int(at) < 2**63):
            raise UsageError(f"at={at!r} in the address is not a step. Use a whole number from 0.")
        runs = tuple(dict.fromkeys(run for run in arguments.get("run", ()) if run))
        return cls(one("app") or app, runs, one("where"), one("group"), stat, follows, int(at) if at else None)

    @property
    def is_many(self) -> bool:
        """Whether this may be more runs than one."""
        return len(self.runs) > 1 or (not self.runs and bool(self.where or self.group))

    def query(self) -> str:
        """As the query of an address, without what is as usual."""
        pairs = [("app", self.app), *(("run", run) for run in self.runs), ("where", self.where), ("group", self.group)]
        pairs += [("stat", self.stat if self.stat != STATS[0] else ""), ("follow", self.follow if self.follow != NEWEST else "")]
        pairs += [("at", "" if self.at is None else str(self.at))]
        return urlencode([(name, text) for name, text in pairs if text])
