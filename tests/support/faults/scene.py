"""The processes of the fault program, what can be done to them, and the check of a run.

A run has producers and a reader of its own; endpoints, page servers and their browsers live on. All go through proxies: the
producers, the reader and the page servers to the endpoints, each browser to its page server.
"""

from __future__ import annotations

import contextlib
import random
import signal
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from glob import glob
from pathlib import Path

import psutil
import pyarrow as pa

from streamvis.client.encoding import encode_bodies
from streamvis.client.spool.frames import read_segment
from streamvis.records import Rows, RowsChunk, ValueChunk
from streamvis.transport import Response, Transport, path
from streamvis.wire.arrow import ARROW, decode_batch_body, decode_tail_body
from support.balancers import Balancer
from support.conditions import wait_until
from support.faults.ledger import Findings, Life, StoredRow, Told, compare_store, compare_told
from support.faults.producer import EXIT_STATUS, LIVES_PER_PARENT, VALUES_PER_STEP
from support.faults.proxy import DOWN, UP, Proxy
from support.postgresql import PostgresServer
from support.processes import ENDPOINT_READY, PAGES_READY, Program, Service, is_gone
from support.standby import StandbyPair

__all__ = ["DATABASE_FAULTS", "FAULTS", "HARDER", "STANDBY_FAULTS", "Fault", "Scene", "Stuck"]

HERE = Path(__file__).parent
APP = "faults"
_SHORT_BYTES, _LONG_BYTES = 600, 6_000
"""About as long as the head of a request, and as a batch or a piece of a tail: cuts fall inside of them, and between."""
_CUT_WITHIN_S = 2.0


@dataclass(frozen=True)
class Fault:
    """What is done to whom."""

    kind: str
    target: str

    def __str__(self) -> str:
        return f"{self.kind} {self.target}"


_CLIENTS = ("page server", "reader", "producer", "browser")
FAULTS = [
    *(Fault(kind, target) for kind in ("kill", "stop") for target in ("endpoint", *_CLIENTS)),
    *(Fault("cut", target) for target in _CLIENTS),
    *(Fault(kind, "producer") for kind in ("exit", "terminate")),
]
DATABASE_FAULTS = [Fault("kill", "database"), Fault("cut", "database")]
"""The database itself, and most of the connections to it."""
STANDBY_FAULTS = [Fault("promote", "database")]
"""The primary is killed, and its standby takes its place."""
_ENDS = {"exit": (signal.SIGUSR1, EXIT_STATUS), "terminate": (signal.SIGTERM, -signal.SIGTERM)}
"""By which signal a producer ends by itself, and the status with which it does."""
HARDER = {Fault("kill", "endpoint"), Fault("kill", "producer"), Fault("cut", "producer")}
"""Those that producers' records have most to fear from: they come more often."""


class Stuck(Exception):
    """Something did not come back within the time it had."""


@dataclass(frozen=True)
class _Shown:
    """A page server, the browser that is on its page, and what that was told."""

    pages: Service
    browser: Program
    told: Told


class Scene:
    """All processes, in `folder`. `endpoint` is another command to start in place of `streamvis rest`. With a `database` there
    are so many `endpoints` on it, and everybody knows the addresses of all, or that of a `balancer` before them. Each of the
    `page_servers` has a browser.

    In a crowded one the endpoint asks producers to gather, and they seldom flush, which would make them send at once. If all are
    warm, they start as `support.warm` says: sooner, but a producer then has its libraries before it sends for the first time.
    """

    def __init__(
        self,
        folder: Path,
        *,
        producers: int,
        dice: random.Random,
        window_s: float,
        patience_s: float,
        endpoint: Sequence[str] | None = None,
        crowded: bool = False,
        database: PostgresServer | StandbyPair | None = None,
        endpoints: int = 1,
        page_servers: int = 1,
        balancer: str | None = None,
        all_warm: bool = False,
    ) -> None:
        self.folder, self._dice, self._window_s, self._patience_s = folder, dice, window_s, patience_s
        self.findings = Findings()
        self.slots = range(producers)
        self.records = self.cuts = self.children = 0
        self._opened: list[Program | Proxy] = []
        self._life = self._run_number = 0
        self._flush_every_s = 1.0 if crowded else 0.02
        endpoint = endpoint or ([sys.executable, HERE / "crowded.py", "rest"] if crowded else None)
        self._database, self._all_warm = database, all_warm
        rest = [*(endpoint or [sys.executable, "-m", "streamvis.cli", "rest"]), "--data"]
        rest.append(f"{database.address}&schema=faults" if database else folder / "data")
        self.endpoints = [
            self._open(Service(rest, ready=ENDPOINT_READY, log=folder / f"endpoint-{i}.log", is_warm=rest[0] == sys.executable))
            for i in range(endpoints)
        ]
        ports = [one.port for one in self.endpoints]
        ports = [self._open(Balancer(balancer, ports, folder=folder / balancer)).port] if balancer else ports
        self._proxies: dict[str, list[Proxy]] = {"producer": [], "reader": [], "page server": [], "browser": []}
        self._to_producers, self._to_reader = self._through("producer", ports), self._through("reader", ports)
        self._shown = [self._show(i, ports) for i in range(page_servers)]
        self._transport = Transport(",".join(one.url for one in self.endpoints))
        self.begin_run()

    def _through(self, who: str, ports: Sequence[int]) -> str:
        """The addresses of proxies of their own to these ports."""
        proxies = [self._open(Proxy(port)) for port in ports]
        self._proxies[who] += proxies
        return ",".join(proxy.url for proxy in proxies)

    def _show(self, number: int, ports: Sequence[int]) -> _Shown:
        """Start a page server, and a browser on its page."""
        serve = [sys.executable, "-m", "streamvis.cli", "page", HERE / "page.py", "--url", self._through("page server", ports)]
        pages = self._open(Service(serve, ready=PAGES_READY, log=self.folder / f"pages-{number}.log", is_warm=True))
        journal = self.folder / f"browser-{number}.journal"
        browser = self._start("browser", f"{self._through('browser', [pages.port])}/view/page", journal)
        return _Shown(pages, browser, Told(f"browser {number}", journal))

    @property
    def runs(self) -> int:
        """How many runs there were."""
        return self._run_number

    @property
    def sessions(self) -> int:
        """How many sessions of the page the browsers had."""
        return sum(shown.told.sessions for shown in self._shown)

    def _open(self, one):
        self._opened.append(one)
        return one

    def _start(self, program: str, *words: object) -> Program:
        command = [sys.executable, HERE / f"{program}.py", *map(str, words)]
        return self._open(Program(command, log=self.folder / f"{program}-{len(self._opened)}.log", is_warm=self._all_warm))

    def close(self) -> None:
        """Kill all."""
        for one in reversed(self._opened):
            one.close()

    # Runs

    def begin_run(self) -> None:
        """Start another run, with its producers and its reader."""
        self._run_number += 1
        self.run = f"run-{self._run_number}"
        (self.folder / self.run).mkdir()
        self._lives: list[Life] = []
        self._values: dict[tuple[str, int], tuple[int, int]] = {}
        self._producers: dict[int, tuple[Program, Life]] = {}
        for slot in self.slots:
            self._start_producer(slot)
        seen = self.folder / self.run / "reader.journal"
        self.reader = self._start("reader", self._to_reader, self.run, seen)
        self._told_reader = Told("reader", seen)

    def end_run(self) -> None:
        """End the producers in good order, deliver what killed ones left and nobody took over, and check that all is there."""
        programs = [program for program, _ in self._producers.values()]
        self._wait(self._all_have_begun, "all producers to send")
        for program in programs:
            program.send_signal(signal.SIGINT)
        for program in programs:
            self._wait_for_end(program, 0)
        for program, life in self._producers.values():
            self._leave(program, life)
        for folder in {segment.parents[1] for segment in self._segments()}:
            command = [sys.executable, "-m", "streamvis.cli", "sync", folder]
            sync = Program(command, log=self.folder / f"sync-{self.run}.log", is_warm=self._all_warm)
            self._open(sync).wait(self._patience_s)
            self._opened.remove(sync)
        if left := self._segments():
            raise Stuck(f"after `streamvis sync` there was still {', '.join(map(str, left))}")
        self.check()
        self.reader.close()
        self._opened.remove(self.reader)
        self.records += sum(len(life.begun) for life in self._lives)
        self.children += sum(life.parent is not None for life in self._lives)

    def _start_producer(self, slot: int) -> None:
        self._life += 1
        journal = self.folder / self.run / f"life-{self._life}.journal"
        spool = self.folder / self.run / f"spool-{slot}"
        about = (APP, self.run, slot, self._life, spool, journal, self._flush_every_s)
        program = self._start("producer", self._to_producers, *about)
        life = Life(self._life, journal)
        self._lives.append(life)
        self._producers[slot] = program, life

    # Faults

    def begin(self, fault: Fault) -> Callable[[], None]:
        """Do it; what is returned brings back who it was done to."""
        if fault.target == "database":
            return {"kill": self._kill_database, "cut": self._cut_database, "promote": self._promote}[fault.kind]()
        if fault.kind == "cut":
            return self._cut(self._dice.choice(self._proxies[fault.target]), long=UP if fault.target == "producer" else DOWN)
        if fault.target == "producer":
            slot = self._dice.choice(self.slots)
            program, life = self._producers[slot]
            if fault.kind in _ENDS:
                return self._end_producer(program, life, slot, *_ENDS[fault.kind])
            return self._stop(program) if fault.kind == "stop" else self._kill_producer(program, life, slot)
        endpoint, shown = self._dice.choice(self.endpoints), self._dice.choice(self._shown)
        programs = {"endpoint": endpoint, "page server": shown.pages, "reader": self.reader, "browser": shown.browser}
        program = programs[fault.target]
        if fault.kind == "stop":
            return self._stop(program)
        program.kill()
        return program.restart

    def _kill_database(self) -> Callable[[], None]:
        self._database.end()
        return self._database.start

    def _promote(self) -> Callable[[], None]:
        self._database.fail_over()
        return self._database.rejoin

    def _cut_database(self) -> Callable[[], None]:
        self._database.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'streamvis' AND random() < 0.7"
        )
        return lambda: None

    def _stop(self, program: Program) -> Callable[[], None]:
        program.stop()
        return program.resume

    def _kill_producer(self, program: Program, life: Life, slot: int) -> Callable[[], None]:
        """With its children, but for those that were gone before."""
        self._read_lives()
        self._note_ends()
        for one in self._family(life):
            if not one.has_ended:
                one.killed_at = time.time()
        program.send_signal(signal.SIGKILL)
        program.close()
        self._opened.remove(program)
        return lambda: self._start_producer(slot)

    def _end_producer(self, program: Program, life: Life, slot: int, number: int, status: int) -> Callable[[], None]:
        """It ends by itself and delivers what it has, or keeps it; its children end on their own."""
        self._wait(lambda: self._has_begun(life), f"{program} to send")
        program.send_signal(number)

        def end() -> None:
            self._wait_for_end(program, status)
            self._leave(program, life)
            self._start_producer(slot)

        return end

    def _wait_for_end(self, program: Program, status: int) -> None:
        try:
            program.wait(self._patience_s)
        except AssertionError as late:
            # Where it stands, and where the children stand that it waits for.
            family = [psutil.Process(program.pid), *psutil.Process(program.pid).children(recursive=True)]
            for process in family:
                process.send_signal(signal.SIGUSR2)
            with contextlib.suppress(AssertionError):
                wait_until(lambda: program.output().count("most recent call first") >= len(family), within_s=5, what="all stacks")
            raise Stuck(f"{late}\n--- its processes: {[process.pid for process in family]} ---\n{program.output()}") from late
        if program.status != status:
            raise Stuck(f"{program} ended with status {program.status}, saying {program.output()[-500:]!r}")

    def _leave(self, program: Program, life: Life) -> None:
        """The program has ended by itself: let its children do so too."""
        life.has_ended = True
        self._wait(lambda: self._have_ended(life), f"children of {program} to end")
        program.close()
        self._opened.remove(program)

    def _cut(self, proxy: Proxy, *, long: str) -> Callable[[], None]:
        """Some cuts, one after the other; half of those of answers come before the first byte of it."""
        for _ in range(self._dice.randint(1, 4)):
            direction = self._dice.choice([UP, DOWN])
            most = _LONG_BYTES if direction == long else _SHORT_BYTES
            after = 0 if direction == DOWN and self._dice.random() < 0.5 else self._dice.randrange(most)
            # Where nothing passes any more, as to an endpoint that is stopped, there is nothing to cut.
            self.cuts += proxy.cut(direction, after, within_s=_CUT_WITHIN_S)
        return lambda: None

    # Checks

    def check(self) -> None:
        """Compare what was sent, acknowledged, stored and seen.

        Raises Stuck when acknowledgements or readers stay away, or a program ended by itself.
        """
        if ended := self._ended():
            raise Stuck(f"ended by themselves: {ended}")
        self._read_lives()
        handed = {life: life.handed for life in self._lives if life.killed_at is None}
        self._wait(lambda: self._all_stored(handed), "all that producers sent to be acknowledged")
        for life in self._lives:
            life.demand()
        spooled = self._spooled()
        rows, newest = self._stored()
        self._read_lives()
        compare_store(self.findings, self._lives, rows, self._values, spooled=spooled, window_s=self._window_s)
        ids = {key: [(row.life, row.n) for row in of_key] for key, of_key in rows.items()}
        for told in (self._told_reader, *(shown.told for shown in self._shown)):
            try:
                self._wait(lambda told=told: self._has_seen(told, ids, newest), f"the {told.who} to see what is stored")
            finally:
                if told.run == self.run or told.who == "reader":
                    compare_told(self.findings, told, ids, newest, whole=True)

    def _all_have_begun(self) -> bool:
        return all(self._has_begun(life) for _, life in self._producers.values())

    def _has_begun(self, life: Life) -> bool:
        life.read()
        return life.handed > 0

    def _all_stored(self, handed: dict[Life, int]) -> bool:
        self._read_lives()
        self._note_ends()
        return all(life.has_ended or life.stored >= due for life, due in handed.items())

    def _read_lives(self) -> None:
        """Read on in all journals, those of new children among them."""
        known = {life.life: life for life in self._lives}
        for journal in sorted((self.folder / self.run).glob("child-*.journal")):
            number = int(journal.stem.removeprefix("child-"))
            if number not in known:
                parent = known[number // LIVES_PER_PARENT]
                self._lives.append(Life(number, journal, parent=parent))
                self._lives[-1].killed_at = parent.killed_at
        for life in self._lives:
            life.read()

    def _note_ends(self) -> None:
        """See which children have ended by themselves. What those have not delivered lies in spools that are read after this."""
        for life in self._lives:
            is_over = life.parent is not None and life.pid is not None and is_gone(life.pid)
            if is_over and life.killed_at is None and not life.has_ended:
                life.read()
                if not life.is_ending:
                    raise Stuck(f"the child {life.life} ended by itself in the middle of what it sent")
                life.has_ended = True

    def _have_ended(self, life: Life) -> bool:
        self._read_lives()
        self._note_ends()
        return all(one.has_ended for one in self._family(life))

    def _family(self, life: Life) -> list[Life]:
        return [one for one in self._lives if life in (one, one.parent)]

    def _has_seen(self, told: Told, ids, newest) -> bool:
        for _ in told.read():
            # The session before this one ended: all that it saw is compared now.
            if told.run == self.run:
                compare_told(self.findings, told, ids, newest, whole=False)
        return (told.who == "reader" or told.run == self.run) and told.has_reached(ids, newest)

    def _wait(self, condition: Callable[[], bool], what: str) -> None:
        try:
            wait_until(condition, within_s=self._patience_s, what=what)
        except AssertionError as late:
            ended = self._ended()
            raise Stuck(f"{late}{'; ended by themselves: ' if ended else ''}{ended}") from late

    def _ended(self) -> str:
        """The programs that ended though nobody told them to, with the end of what they said."""
        programs = [one for one in self._opened if isinstance(one, Program) and not one.running]
        return "; ".join(f"{one} with status {one.status}, saying {one.output()[-500:]!r}" for one in programs)

    def _spooled(self) -> set[tuple[int, int]]:
        """What lies in the spools of this run's producers."""
        found = set()
        for segment in self._segments():
            try:
                batches = [batch for batch, _ in read_segment(segment)]
            except FileNotFoundError:
                continue  # delivered in this moment
            bodies = [encode_bodies(batch.bodies).body for batch in batches]
            chunks = [chunk for body in bodies for chunk in decode_batch_body(body)]
            found |= _ids_of(chunk.body for chunk in chunks if isinstance(chunk, RowsChunk | ValueChunk))
        return found

    def _segments(self) -> list[Path]:
        # Unlike that of a path, this one passes over folders that a producer removes meanwhile.
        return sorted(map(Path, glob(str(self.folder / self.run / "spool-*" / "*" / "*.spool"))))

    def _stored(self) -> tuple[dict[str, list[StoredRow]], dict[str, tuple[int, int]]]:
        """The rows of each key, and the newest value of each; brings up to date what is known of the values of each step."""
        rows = {}
        newest = {}
        records = {(record.kind, record.key, record.step) for life in self._lives for record in life.begun}
        for key in sorted({key for kind, key, _ in records if kind == "rows"}):
            rows[key] = self._rows(key)
        complete = self._complete_steps()
        for _, key, step in sorted(one for one in records if one[0] == "value"):
            if self._values.get((key, step)) not in complete and (value := self._value(key, step)) is not None:
                self._values[key, step] = value
            if (key, step) in self._values:
                newest[key] = self._values[key, step]
        return rows, newest

    def _complete_steps(self) -> set[tuple[int, int]]:
        """The last values of all steps that are complete: nothing can replace them."""
        last = set()
        for life in self._lives:
            numbers = [n for n, record in enumerate(life.begun) if record.kind == "value"]
            last |= {(life.life, n) for n in numbers[VALUES_PER_STEP - 1 :: VALUES_PER_STEP]}
        return last

    def _rows(self, key: str) -> list[StoredRow]:
        answer = self._get("rows", key=key, limit=1_000_000)
        if answer.status == 404:
            return []
        with pa.ipc.open_stream(answer.body) as stream:
            columns = stream.read_all().to_pydict()
        return list(map(StoredRow, columns["life"], columns["n"], columns["step"], columns["y"]))

    def _value(self, key: str, step: int) -> tuple[int, int] | None:
        answer = self._get("value", key=key, step=step)
        if answer.status == 404:
            return None
        (value,) = decode_tail_body(answer.body)
        n = value.data["n"]
        if not (value.data["image"] == n).all():
            self.findings.invented.add(("store", key, step, n))
        return value.data["life"], n

    def _get(self, what: str, **params: object) -> Response:
        answers: list[Response] = []

        def asked() -> bool:
            answers[:] = [self._transport.request("GET", path("runs", self.run, what), params=params, headers={"Accept": ARROW})]
            return answers[0].status != 503  # so answers an endpoint that has just lost its database

        self._wait(asked, "an endpoint to answer")
        assert answers[0].status in (200, 404), answers
        return answers[0]


def _ids_of(bodies: Iterable[bytes]) -> set[tuple[int, int]]:
    found = set()
    for body in bodies:
        for item in decode_tail_body(body):
            if isinstance(item, Rows):
                found |= set(zip(item.columns["life"].tolist(), item.columns["n"].tolist(), strict=True))
            else:
                found.add((item.data["life"], item.data["n"]))
    return found
