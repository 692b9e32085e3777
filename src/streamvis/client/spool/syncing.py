"""Delivering all the spools in a folder at once, for the program `streamvis sync`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from streamvis.client.exchange import post
from streamvis.client.spool.folders import OWNER, take
from streamvis.client.spool.frames import read_segment
from streamvis.client.spool.leftovers import Leftover, forget_refused, refused_in, spools_in
from streamvis.client.spool.segments import SEGMENTS
from streamvis.errors import DeletedRun, EndpointError, EndpointRefused, UsageError
from streamvis.transport import Transport

__all__ = ["Sync", "Synced"]


@dataclass(slots=True)
class Synced:
    """What became of the spools in a folder.

    `running` are those whose producers live, `foreign` those of other machines with their names ("" where no one knows whose they
    are), `troubles` say why others were left or what of them was refused.
    """

    records: int = 0
    runs: set[str] = field(default_factory=set)
    refused: int = 0
    left_bytes: int = 0
    running: list[Path] = field(default_factory=list)
    foreign: dict[Path, str] = field(default_factory=dict)
    troubles: list[str] = field(default_factory=list)

    @property
    def is_complete(self) -> bool:
        """Whether nothing is left but what running producers deliver themselves."""
        return not (self.refused or self.left_bytes or self.foreign or self.troubles)


class Sync:
    """Delivers what is in `folder` to `url`, or to where each spool was meant to go.

    Spools of other machines are delivered with `other_hosts` only: whether their producers still live cannot be known here.
    """

    def __init__(self, folder: Path, *, url: str | None, token: str | None, other_hosts: bool) -> None:
        self._folder, self._url, self._token, self._other_hosts = folder, url, token, other_hosts
        self.synced = Synced()

    @property
    def bytes(self) -> int:
        """How many bytes wait in the spools, those of running producers and of other machines included."""
        return sum(map(_size, spools_in(self._folder)))

    def run(self, progress: Callable[[int], None]) -> Synced:
        """Deliver; `progress` gets how many more bytes are done. Raises UsageError where no url is known."""
        for folder in spools_in(self._folder):
            size = _size(folder)
            try:
                self._deliver_spool(folder, progress)
            except (EndpointError, OSError) as error:
                self.synced.troubles.append(str(error))
                self.synced.left_bytes += _size(folder)
            if folder in self.synced.running or folder in self.synced.foreign:
                progress(size)
        return self.synced

    def run_refused(self) -> Synced:
        """Try again to deliver what was refused. Raises UsageError where no url is known."""
        if self._url is None:
            raise UsageError("Refused batches do not record their endpoint. Name it: --url http://HOST:PORT")
        transport = Transport(self._url, token=self._token)
        try:
            for path in refused_in(self._folder):
                for batch, size in read_segment(path):
                    # Its own number was passed over since: the endpoint would take it for one that it has.
                    again = batch._replace(producer=f"{batch.producer}.{batch.number}")
                    try:
                        answer = post(transport, again)
                    except (EndpointRefused, DeletedRun) as error:
                        self.synced.refused += batch.records
                        self.synced.left_bytes += size
                        self.synced.troubles.append(str(error))
                        continue
                    if answer.unstored_records:
                        # What was stored of it is not stored again: its number stays the same.
                        self.synced.refused += answer.unstored_records
                        self.synced.left_bytes += size
                        self.synced.troubles += answer.reasons
                    else:
                        forget_refused(path)
                    if answer.unstored_records < batch.records:
                        self._count(batch.records - answer.unstored_records, batch.run)
        except (EndpointError, OSError) as error:
            self.synced.troubles.append(str(error))
        finally:
            transport.close()
        return self.synced

    def _deliver_spool(self, folder: Path, progress: Callable[[int], None]) -> None:
        taken = take(folder, unsigned=self._other_hosts)
        if taken is None:
            if not folder.exists():
                pass  # delivered by somebody else meanwhile
            elif (folder / OWNER).exists():
                if _size(folder):
                    self.synced.running.append(folder)
            else:
                self.synced.foreign[folder] = ""
            return
        leftover = Leftover(folder, *taken)
        try:
            if not (self._other_hosts or leftover.owner.is_of_this_machine):
                self.synced.foreign[folder] = leftover.owner.host
                return
            url = self._url or leftover.owner.url
            if url is None and _size(folder):
                told = f"{folder} was written without an endpoint, or by another user"
                raise UsageError(f"{told}. Name the endpoint: --url http://HOST:PORT")
            if url is not None:
                self._deliver(leftover, Transport(url, token=self._token), progress)
        finally:
            leftover.close()

    def _deliver(self, leftover: Leftover, transport: Transport, progress: Callable[[int], None]) -> None:
        try:
            for done in leftover.deliver(partial(post, transport)):
                progress(done.bytes)
                if done.problem:
                    self.synced.refused += done.unstored_records
                    self.synced.troubles.append(done.problem)
                if done.batch is not None and (not done.problem or done.unstored_records < done.batch.records):
                    self._count(done.batch.records - done.unstored_records, done.batch.run)
        finally:
            transport.close()

    def _count(self, records: int, run: str) -> None:
        self.synced.records += records
        self.synced.runs.add(run)


def _size(folder: Path) -> int:
    try:
        return sum(path.stat().st_size for path in folder.glob(SEGMENTS))
    except OSError:
        return 0
