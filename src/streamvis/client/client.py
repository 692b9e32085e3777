"""`Client`: what a training script, a simulation or an instrument calls.

It checks, copies, and hands on; nothing here waits for a network but `init`, `flush` and `close`.
"""

from __future__ import annotations

import os
import re
import weakref
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from streamvis.addresses.endpoint import checked_token, checked_url
from streamvis.alerts import ALERTS, alert_row
from streamvis.client.intake import Intake, checked_step, checked_text
from streamvis.client.outbox import Begin, Clear
from streamvis.client.process import ending, launch
from streamvis.client.producer import new_id
from streamvis.client.producer_log import Settings
from streamvis.client.road import Road, Traveller, arrived, known
from streamvis.client.spool.folders import SpoolPlace
from streamvis.client.values.describing import described
from streamvis.descriptions import key_of
from streamvis.errors import InvalidData, UsageError
from streamvis.wire.limits import RUN_ID

__all__ = ["Client"]

_INIT_WAIT_S = 2.0
_MAX_MEMORY_BYTES = 64 * 2**20
_MAX_SPOOL_BYTES = 2 * 2**30


class Client:
    """One producer: sends a run's data to the endpoint at `url`, under the name `app`.

    Methods may be called from any thread. A forked child can use the same client, as a separate producer; so can a process that
    unpickles it. A copy in the same process is the same client. Raises UsageError for an invalid `url`, `app` or `token`.

    Args:
        url: address of the endpoint; None writes all records to `spool`, and `streamvis sync` delivers them later
        app: the name that links producers and pages
        token: token of the endpoint; by default the environment variable STREAMVIS_TOKEN
        durable: `send` and `sendl` return only when the record is stored by the endpoint or synced to the local disk, so that
            nothing is lost when the process is killed or the power fails
        spool: folder for records that cannot be sent yet; by default STREAMVIS_SPOOL, else the user's state folder
        max_memory_bytes: about how much may wait in memory
        max_spool_bytes: how much may wait on disk; beyond that, records are dropped and counted
        keep: for every `send` that does not say otherwise: "newest", or how many values of a key to keep; None keeps all
    """

    def __init__(
        self,
        url: str | None,
        app: str,
        *,
        token: str | None = None,
        durable: bool = False,
        spool: str | os.PathLike[str] | None = None,
        max_memory_bytes: int = _MAX_MEMORY_BYTES,
        max_spool_bytes: int = _MAX_SPOOL_BYTES,
        keep: int | str | None = None,
    ) -> None:
        self._given = {name: given for name, given in locals().items() if name != "self"}
        self.url = checked_url(url) if url is not None else None
        self._durable, self._keep = durable, _checked_keep(keep)
        self.app = checked_text(app, "app")
        self._settings = Settings(
            self.url,
            self.app,
            SpoolPlace(_spool_folder(spool)),
            _transport_to(self.url or "", checked_token(token if token is not None else os.environ.get("STREAMVIS_TOKEN"))),
            durable,
            max_memory_bytes,
            max_spool_bytes,
        )
        self._run: str | None = None
        self._reserved: str | None = None
        self._intake: Intake | None = None
        self._finalizer: weakref.finalize | None = None
        self._road = self._new_road()
        self._id = new_id()
        known(self, self._id)

    @property
    def run(self) -> str | None:
        """The id of the run, once `init` was called."""
        return self._run

    def reserve(self) -> str:
        """The id of the next run that `init` starts, unless `init` gets another id."""
        self._reserved = self._reserved or new_id()
        return self._reserved

    def init(
        self,
        config: Any = None,
        *,
        run: str | None = None,
        name: str | None = None,
        resume_at: int | None = None,
        attempt: str | None = None,
    ) -> str:
        """Start a run with `config`, or join the run with the id `run`, and return its id.

        With `run="launch"`, join the run of this launch: all processes that torchrun, `srun` or MPI started together get the
        same id. Without a launcher, the process starts its own run. Only one process of a run needs to give a config.

        With `resume_at`, continue the run from a checkpoint: data of that step and later is removed, and data that earlier
        attempts still send for these steps is discarded. All producers with the same `attempt` do this once, and keep each
        other's data. The default `attempt` is the launch that torchrun or Slurm report, else each `init` is a new attempt.

        Waits for the endpoint for 2 s at most; if it cannot be reached, logs one warning and continues. Finishes a run that this
        client started before. Raises NotAnEndpoint, TokenRefused or VersionMismatch if the endpoint answers so within that time,
        DeletedRun for a deleted run, InvalidData for a config without fields or an invalid id, and UsageError for `resume_at`
        without `run`, or if the launch of one of several ranks is not known.
        """
        if resume_at is not None and run is None:
            raise UsageError("init(resume_at=...) without a run. Say which run is resumed: init(run=ID, resume_at=STEP).")
        attempt = None if attempt is None else checked_text(attempt, "attempt")
        if run == launch.LAUNCH:
            run = launch.run_of(os.environ, self.app)
        begin = Begin(
            _checked_run(run) or self.reserve(),
            described(config),
            name and checked_text(name, "name"),
            run is not None,
            launch.attempt_of(os.environ, attempt, resumes=resume_at is not None),
            None if resume_at is None else checked_step(resume_at, "resume_at"),
        )
        if self._road.is_stopped:
            self._road = self._new_road()
        marker = self._road.begin(begin)
        self._run, self._reserved, self._intake = begin.run, None, Intake()
        self._road.producer.load()
        if self.url is not None and not self._road.wait(marker, _INIT_WAIT_S):
            self._road.producer.tell_if_away()
        if marker.error is not None:
            self._road.forget(begin.run)
            if self._run == begin.run:
                self._run = self._intake = None
            raise marker.error
        return begin.run

    def sendl(self, step: int, key: str, data: Mapping[str, Any]) -> None:
        """Append rows to the columns of `key`: each column is a list or array of n cells, or a scalar for one row.

        Returns at once; the data is copied. Raises InvalidData for data that cannot be stored, and UsageError before `init`
        or if the key holds values.
        """
        intake = self._intake
        if intake is None:
            raise _not_begun("sendl")
        self._put(intake.rows(step, key, data))

    def send(self, step: int, key: str, data: Mapping[str, Any], *, keep: int | str | None = None) -> None:
        """Set the value of `key` at `step`: arrays of any shape, nested data. Replaces the value that was sent for this step.

        With `keep=N`, or "newest" for 1, only the N values of the key with the greatest steps are kept; by default all are.
        Returns at once; the data is copied. Raises InvalidData for data that cannot be stored, and UsageError before `init`
        or if the key holds rows.
        """
        intake = self._intake
        if intake is None:
            raise _not_begun("send")
        self._put(intake.value(step, key, data, keep=self._keep if keep is None else _checked_keep(keep)))
        intake.tell_hint()

    def describe(
        self,
        pattern: str,
        *,
        title: str | None = None,
        section: str | None = None,
        x: str | None = None,
        scale: str | None = None,
        unit: str | None = None,
        best: str | None = None,
    ) -> None:
        """Set how pages show the columns whose KEY/COLUMN matches `pattern`, such as "val/*" or "train/loss".

        The description is stored with the run; a later call for the same pattern replaces it. Panels use it, unless their author
        set other options.

        Args:
            pattern: a name, in which `*` stands for any text
            title: title of the chart
            section: heading of its section on the page for any run
            x: the column for the x axis, or "step" or "time"
            scale: "linear" or "log"
            unit: unit of the values, such as "m/s"
            best: "min" or "max", if the lowest or the highest value is the best

        Raises InvalidData for an invalid option, and UsageError before `init`.
        """
        intake = self._intake
        if intake is None:
            raise _not_begun("describe")
        for name, given, allowed in (("scale", scale, ("linear", "log")), ("best", best, ("min", "max"))):
            if given is not None and given not in allowed:
                raise InvalidData(f"{given!r}", where=name, allowed=" or ".join(map(repr, allowed)))
        said = {"title": title, "section": section, "x": x, "scale": scale, "unit": unit, "best": best}
        said = {name: checked_text(text, name) for name, text in said.items() if text is not None}
        self._put(intake.value(0, key_of(checked_text(pattern, "pattern")), {"says": said}))

    def alert(self, title: str, text: str = "", level: str = "info", *, step: int | None = None) -> None:
        """Raise an alert: pages show it, and an endpoint with `--alert-webhook` posts it.

        It is a row of the key "alerts". `level` is "info", "warning" or "error"; `step` is by default the one that was sent
        last. A text of more than 10,000 characters is cut there, and ends with "…". Returns at once. Raises InvalidData for
        another level and for a title that is empty or longer than 200 characters, and UsageError before `init`.
        """
        intake = self._intake
        if intake is None:
            raise _not_begun("alert")
        row = alert_row(title, text, level)
        self._put(intake.rows(intake.last_step if step is None else step, ALERTS, row))

    def clear(self) -> None:
        """Remove all rows and values of the run; its config stays. Raises UsageError before `init`."""
        if self._intake is None:
            raise _not_begun("clear")
        self._intake.forget_keys()
        self._road.control(Clear())

    def flush(self, timeout_s: float = 10.0) -> bool:
        """Wait until all data that was sent before is stored.

        Returns False if that takes longer than `timeout_s` seconds, or if records were dropped or refused since the last `flush`.
        """
        in_time = self._road.wait(self._road.mark(), timeout_s)
        return not self._road.has_failed_since_asked() and in_time

    def close(self, timeout_s: float | None = None, *, state: str = "finished") -> bool:
        """End the run in `state` (finished, failed or interrupted), and deliver all waiting records; True if all are delivered.

        Takes at most `timeout_s` seconds; by default up to 60 s while batches are acknowledged, and 10 s if none is. Undelivered
        records stay in the spool. Closing twice does nothing. Raises UsageError for another state.
        """
        if state not in ending.STATES:
            raise UsageError(f"{state!r} is not a state in which a run can end. Use one of: {', '.join(ending.STATES)}.")
        return self._close(state, timeout_s)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._close(ending.state_of(error), None)

    def __copy__(self) -> Client:
        return self

    def __deepcopy__(self, memo: Any) -> Client:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        begin, ancestors = self._road.heritage
        return arrived, Traveller(type(self), self._id, os.getpid(), self._given, self._run, begin, ancestors)

    def become(self, traveller: Traveller) -> None:
        """Be the copy that arrived from another process."""
        if self._road.is_stopped:
            self._road = self._new_road()
        self._id, self._run = traveller.id, traveller.run
        self._intake = Intake() if traveller.begin is not None else None
        self._road.join(traveller.begin, traveller.ancestors)

    def __repr__(self) -> str:
        return f"Client({self.url!r}, {self.app!r}, run={self._run!r})"

    def _close(self, state: str, timeout_s: float | None) -> bool:
        self._intake = None
        return ending.close([self._road], state, timeout_s=timeout_s)

    def _new_road(self) -> Road:
        road = Road(self._settings, on_start=ending.close_with_process)
        is_closed_for_us = ending.watch(road)
        if self._finalizer is not None:
            self._finalizer.detach()  # it would keep the road before for as long as there is this client
        self._finalizer = weakref.finalize(self, road.abandon)
        self._finalizer.atexit = False
        put = road.put_durably if self._durable else road.outbox.put
        self._put = put if is_closed_for_us else road.put_at_exit
        return road


def _checked_run(run: Any) -> str | None:
    if run is not None and not (isinstance(run, str) and re.fullmatch(RUN_ID, run) and run != "newest"):
        raise InvalidData(
            f"{run!r} is not a run id", where="run", allowed="1 to 64 of A-Z a-z 0-9 . _ -, beginning with a letter or digit"
        )
    return run


def _transport_to(url: str, token: str | None) -> Callable[[], Any]:
    def make() -> Any:
        from streamvis.transport import Transport

        return Transport(url, token=token)

    return make


def _spool_folder(spool: str | os.PathLike[str] | None) -> Path | None:
    given = spool or os.environ.get("STREAMVIS_SPOOL")
    if not given:
        return None
    try:
        # The program may change its working directory later.
        return Path(given).absolute()
    except OSError:
        return Path(given)  # the working directory is gone; the spool says so when it is needed


def _checked_keep(keep: int | str | None) -> int | None:
    """How many values of a key to keep; None for all."""
    if keep == "newest":
        return 1
    if keep is None or (isinstance(keep, int) and not isinstance(keep, bool) and 0 < keep < 2**31):
        return keep
    allowed = "1 to 2,147,483,647 values of a key, 'newest' for one, or None for all"
    raise UsageError(f"keep is {keep!r}. Give how many to keep: {allowed}.")


def _not_begun(call: str) -> UsageError:
    return UsageError(f"{call}() without a run. Call client.init(config) first: it starts one, and after close() another.")
