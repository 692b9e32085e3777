"""Kills, stops and cuts whatever it can, at random, and compares record by record what was sent, acknowledged, stored and seen.

    python benchmarks/faults.py --rounds 200 --seed 1

Three producers (two of them of one run), an endpoint, a page server and a reader run as real processes; all of them reach the
endpoint through a proxy of this program, which can cut connections in the middle of a request or of an answer. Every round one
of them is killed (SIGKILL), stopped for a while (SIGSTOP), or cut off, and brought back. Ends with status 1 when anything that
was acknowledged is lost, anything is there twice, out of its producer's order, or was missed or repeated by the reader.

What a killed producer had handed over but nobody had acknowledged may be lost if it was sent in the last moments before the kill;
how long before, at most, is part of the result.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import socket
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from streamvis.errors import StreamvisError
from streamvis.transport import Transport, path
from streamvis.wire.arrow import ARROW, decode_head, decode_tail_body
from support.conditions import wait_until
from support.processes import ENDPOINT_READY, PAGES_READY, Program, Service

PRODUCERS = {"one": "shared", "two": "shared", "three": "alone"}
"""Producers, and the run of each."""
PAUSE_S = 0.003
KINDS = [
    *["endpoint killed", "producer killed", "connections cut"] * 4,
    *["endpoint stopped", "producer stopped", "reader killed", "page server killed"] * 2,
    *["reader stopped", "page server stopped"],
]
"""The harder ones more often."""

PRODUCER = f"""
import json, os, sys, time
from streamvis import Client

name, run, url, spool, told, last = *sys.argv[1:6], int(sys.argv[6])
log = open(told, "a", buffering=1)
client = Client(url, "faults", spool=spool)
client.init({{"of": run}}, run=run)
life = os.getpid()
tell = lambda what, n: log.write(json.dumps([what, n, life, time.time()]) + "\\n")
n = last
while True:
    n += 1
    tell("sends", n)
    if n % 10:
        client.sendl(n, "own " + name, {{"n": n, "life": life}})
    else:
        client.send(n, "value " + name, {{"n": n}})
    if n % 3 == 0:
        client.sendl(n, "of all", {{"n": n, "life": life, "name": name}})
    tell("sent", n)
    if n % 50 == 0:
        before = n
        if client.flush(timeout_s=1.0):
            tell("stored", before)
    time.sleep({PAUSE_S})
"""

READER = """
import json, os, sys
from streamvis.errors import StreamvisError
from streamvis.page.reader import EndpointReader
from streamvis.records import Rows

run, url, seen = sys.argv[1:4]
reader = EndpointReader(url)
cursor = None
if os.path.exists(seen):
    with open(seen, "rb+") as file:
        whole = file.read()
        file.truncate(whole.rfind(b"\\n") + 1)  # what was being written when it was killed
    lines = whole[: whole.rfind(b"\\n") + 1].splitlines()
    cursor = json.loads(lines[-1])[0] if lines else None
log = open(seen, "ab", buffering=0)
while True:
    try:
        piece = reader.tail(run, after=cursor, wait_s=1)
    except StreamvisError:
        continue
    items = [item for item in piece.items if isinstance(item, Rows)]
    rows = [[item.key, list(zip(item.columns["n"].tolist(), item.columns["life"].tolist()))] for item in items]
    if piece.cursor != cursor:
        cursor = piece.cursor
        log.write(json.dumps([cursor, piece.restart, rows]).encode() + b"\\n")
"""

PAGE = """
def init_page(doc, config):
    pass

def update_page(doc, new_data):
    pass
"""


class Proxy:
    """Passes bytes between its port and the endpoint's; `cut` ends all connections after a random number of further bytes."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=100)
        self.port = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.target = 0
        self.cuts = 0
        self._links: set[_Link] = set()
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """Let all connections that there are, and the next few, end in mid-request or in mid-answer."""
        for link in list(self._links):
            link.left = self._some()
        self.cuts = self._chance.randint(1, 6)

    def _some(self) -> list[int]:
        """How many bytes may still pass, up and down; often the whole request, and nothing of the answer."""
        return [self._chance.choice([0, 200, 1000, 10_000, 10**9]), self._chance.choice([0, 0, 0, 50, 150, 10**9])]

    def _accept(self) -> None:
        while True:
            near, _ = self._listener.accept()
            try:
                far = socket.create_connection(("127.0.0.1", self.target), timeout=5)
            except OSError:
                near.close()
                continue
            link = _Link(near, far)
            if self.cuts > 0:
                self.cuts -= 1
                link.left = self._some()
            self._links.add(link)
            for ends, side in (((near, far), 0), ((far, near), 1)):
                threading.Thread(target=self._pass_on, args=(link, *ends, side), daemon=True).start()

    def _pass_on(self, link: _Link, source: socket.socket, sink: socket.socket, side: int) -> None:
        try:
            source.settimeout(None)
            while data := source.recv(65536):
                if link.left is not None:
                    data, link.left[side] = data[: link.left[side]], link.left[side] - len(data)
                    sink.sendall(data)
                    if link.left[side] < 0 or link.left[side] == 0 == side:
                        break
                else:
                    sink.sendall(data)
        except OSError:
            pass
        finally:
            self._links.discard(link)
            for end in (source, sink):
                try:
                    end.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass
                end.close()


@dataclass(eq=False, slots=True)
class _Link:
    near: socket.socket
    far: socket.socket
    left: list[int] | None = None


@dataclass(slots=True)
class Result:
    """What was found. `window_s` is how long before a kill the oldest record was sent that the kill lost."""

    rounds: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    sent: int = 0
    acknowledged: int = 0
    compared: int = 0
    lost: int = 0
    doubled: int = 0
    disordered: int = 0
    misread: int = 0
    unacknowledged: int = 0
    window_s: float = 0.0

    @property
    def is_good(self) -> bool:
        """Whether nothing was found that must not be."""
        return not (self.lost or self.doubled or self.disordered or self.misread)

    def lines(self) -> Iterator[str]:
        """What to tell."""
        yield f"{self.rounds} rounds: " + ", ".join(f"{count} x {fault}" for fault, count in sorted(self.faults.items()))
        yield f"{self.sent:,} records sent, {self.acknowledged:,} of them acknowledged, {self.compared:,} compared in the store"
        yield f"lost {self.lost}, doubled {self.doubled}, out of order {self.disordered}, misread {self.misread}"
        yield (
            f"gone with a killed producer before they were acknowledged: {self.unacknowledged}, "
            f"sent {self.window_s * 1e3:.0f} ms before the kill at most"
        )


class Faults:
    """The processes, and what is known of them. `endpoint` is the program to run as endpoint, in place of `streamvis rest`."""

    def __init__(self, folder: Path, seed: int, endpoint: list[str] | None = None) -> None:
        self.chance, self.folder, self.result = random.Random(seed), folder, Result()
        self.proxy = Proxy(self.chance)
        command = endpoint or [sys.executable, "-m", "streamvis.cli", "rest"]
        self.endpoint = Service([*command, "--data", folder / "data"], ready=ENDPOINT_READY, log=folder / "endpoint.log")
        self.proxy.target = self.endpoint.port
        (folder / "page.py").write_text(PAGE)
        pages = [sys.executable, "-m", "streamvis.cli", "page", folder / "page.py", "--url", self.proxy.url]
        self.pages = Service(pages, ready=PAGES_READY, log=folder / "pages.log")
        self.kills: dict[str, list[float]] = {name: [] for name in PRODUCERS}
        self.producers = {name: self._producer(name) for name in PRODUCERS}
        self.readers = {run: self._reader(run) for run in sorted(set(PRODUCERS.values()))}

    def _producer(self, name: str) -> Program:
        last = max((n for _, n, _, _ in self._told(name)), default=0)
        files = [self.folder / f"spool {name}", self.folder / f"told {name}", last]
        command = [sys.executable, "-c", PRODUCER, name, PRODUCERS[name], self.proxy.url, *map(str, files)]
        return Program(command, log=self.folder / f"{name}.log")

    def _reader(self, run: str) -> Program:
        command = [sys.executable, "-c", READER, run, self.proxy.url, str(self.folder / f"seen {run}")]
        return Program(command, log=self.folder / f"reader {run}.log")

    def _told(self, name: str) -> list[tuple[str, int, int, float]]:
        file = self.folder / f"told {name}"
        return [json.loads(line) for line in file.read_text().splitlines() if line.endswith("]")] if file.exists() else []

    def round(self, kinds: Sequence[str]) -> str:
        """Do something bad to somebody, and bring it back."""
        time.sleep(self.chance.uniform(0.1, 0.5))
        fault = self.chance.choice(kinds)
        who, _, what = fault.rpartition(" ")
        if who == "connections":
            self.proxy.cut()
        elif who == "producer":
            self._harm_producer(self.chance.choice(list(PRODUCERS)), what)
        elif who == "reader":
            run = self.chance.choice(list(self.readers))
            if what == "stopped":
                self._stop(self.readers[run])
            else:
                self.readers[run].close()
                self.readers[run] = self._reader(run)
        else:
            program = self.endpoint if who == "endpoint" else self.pages
            if what == "stopped":
                self._stop(program)
            else:
                program.kill()
                time.sleep(self.chance.uniform(0, 0.6))
                program.restart()
        self.result.rounds += 1
        self.result.faults[fault] += 1
        return fault

    def _harm_producer(self, name: str, what: str) -> None:
        if what == "stopped":
            self._stop(self.producers[name])
            return
        self.producers[name].kill()
        self.kills[name].append(time.time())
        self.producers[name].close()
        time.sleep(self.chance.uniform(0, 0.3))
        self.producers[name] = self._producer(name)

    def _stop(self, program: Program) -> None:
        program.stop()
        time.sleep(self.chance.uniform(0.1, 1.5))
        program.resume()

    # Comparing

    def compare(self, *, is_end: bool = False) -> None:
        """Hold what was told by the producers against what is stored, and that against what the readers saw."""
        told = {name: self._told(name) for name in PRODUCERS}
        result = self.result
        result.sent = sum(what == "sent" for its in told.values() for what, *_ in its)
        result.lost = result.doubled = result.disordered = result.misread = result.compared = 0
        result.acknowledged = result.unacknowledged = 0
        for run in self.readers:
            stored, values = self._stored(run)
            result.compared += sum(map(len, stored.values()))
            for key, rows in stored.items():
                result.doubled += len(rows) - len(set(rows))
                if key != "of all":
                    result.doubled += len(rows) - len({n for n, _ in rows})
                lives: dict[int, list[int]] = defaultdict(list)
                for n, life in rows:
                    lives[life].append(n)
                result.disordered += sum(
                    later < earlier for steps in lives.values() for earlier, later in zip(steps, steps[1:], strict=False)
                )
            for name in (name for name, its in PRODUCERS.items() if its == run):
                self._hold_against(told[name], name, stored, values, is_end)
            self._check_reader(run, stored, is_end)

    def _hold_against(self, told, name: str, stored, values: set[int], is_end: bool) -> None:
        result = self.result
        there = {n for n, _ in stored.get(f"own {name}", ())} | values
        safe, life_safe = set(), {}
        for what, n, life, _ in told:
            if what == "stored":
                life_safe[life] = n
        sent = {n: (life, at) for what, n, life, at in told if what == "sent"}
        for n, (life, _) in sent.items():
            if n <= life_safe.get(life, 0):
                safe.add(n)
        result.acknowledged += len(safe)
        # Of values the newest alone is in a tail; those are counted as they are found there.
        result.lost += sum(n % 10 != 0 and n not in there for n in safe)
        if not is_end:
            return
        for n, (_, at) in sent.items():
            if n not in safe and n % 10 and n not in there:
                killed = min((moment for moment in self.kills[name] if moment >= at), default=None)
                if killed is None:
                    result.lost += 1
                else:
                    result.unacknowledged += 1
                    result.window_s = max(result.window_s, killed - at)

    def _stored(self, run: str) -> tuple[dict[str, list[tuple[int, int]]], set[int]]:
        """The rows of each key, as (n, life) in log order, and what values there are."""
        transport, after = Transport(self.endpoint.url), None
        rows: dict[str, list[tuple[int, int]]] = defaultdict(list)
        values: set[int] = set()
        while True:
            answer = transport.request("GET", path("runs", run, "tail"), params={"after": after}, headers={"Accept": ARROW})
            if answer.status != 200:
                raise SystemExit(f"the endpoint answered {answer.status}: {answer.body[:300]!r}")
            head, body = decode_head(answer.body)
            for item in decode_tail_body(body):
                if hasattr(item, "data"):
                    values.add(item.data["n"])
                else:
                    columns = (item.columns["n"].tolist(), item.columns["life"].tolist())
                    rows[item.key] += [(int(n), int(life)) for n, life in zip(*columns, strict=True)]
            if not head["more"]:
                return rows, values
            after = head["cursor"]

    def _check_reader(self, run: str, stored, is_end: bool) -> None:
        """What a reader saw of a key is the beginning of what is stored of it, and in the end all."""
        file = self.folder / f"seen {run}"
        seen: dict[str, list[tuple[int, int]]] = defaultdict(list)
        for line in file.read_text().splitlines() if file.exists() else ():
            try:
                _, restart, rows = json.loads(line)
            except ValueError:
                break  # being written
            self.result.misread += restart
            for key, its in rows:
                seen[key] += map(tuple, its)
        for key, rows in stored.items():
            expected = rows if is_end else rows[: len(seen[key])]
            self.result.misread += sum(a != b for a, b in zip(seen[key], expected, strict=False))
            self.result.misread += abs(len(seen[key]) - len(expected)) if is_end else 0

    def end(self) -> None:
        """Kill the producers, deliver what they left, let the readers catch up, and compare everything."""
        for name, program in self.producers.items():
            program.kill()
            self.kills[name].append(time.time())
        for name in PRODUCERS:
            spool = self.folder / f"spool {name}"
            if spool.exists():
                command = [sys.executable, "-m", "streamvis.cli", "sync", str(spool), "--url", self.endpoint.url]
                program = Program(command, log=self.folder / f"sync {name}.log")
                if program.wait(60):
                    print(program.output())
        try:
            wait_until(self._readers_are_there, within_s=15)
        except AssertionError:
            pass  # then it shows in the comparison
        self.compare(is_end=True)

    def _readers_are_there(self) -> bool:
        for run in self.readers:
            lines = (self.folder / f"seen {run}").read_text().splitlines()
            info = json.loads(Transport(self.endpoint.url).request("GET", path("runs", run)).body)
            if json.loads(lines[-1])[0] != info["cursor"]:
                return False
        return True

    def close(self) -> None:
        """End all processes."""
        for program in (*self.producers.values(), *self.readers.values(), self.pages, self.endpoint):
            program.close()


def run(
    rounds: int, seed: int, *, kinds: Sequence[str] = KINDS, endpoint: list[str] | None = None, quiet: bool = False
) -> Result:
    """So many rounds in a folder of their own."""
    folder = Path(tempfile.mkdtemp(prefix="streamvis-faults-"))
    faults = Faults(folder, seed, endpoint)
    try:
        wait_until(lambda: all((folder / f"seen {run}").exists() for run in faults.readers), within_s=30)
        for number in range(rounds):
            fault = faults.round(kinds)
            # A connection of ours may meet an endpoint that has just come back.
            try:
                faults.compare()
            except (StreamvisError, OSError) as error:
                print(f"not compared in this round: {error}")
            if not quiet:
                result = faults.result
                told = f"{result.compared:,} compared, lost {result.lost}, doubled {result.doubled}, misread {result.misread}"
                print(f"round {number + 1} of {rounds}: {fault}; {told}", flush=True)
        faults.end()
    finally:
        faults.close()
        if faults.result.is_good:
            shutil.rmtree(folder, ignore_errors=True)
        else:
            print(f"What happened can be read in {folder}")
    return faults.result


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description="Kills, stops and cuts at random, and compares every record.")
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--only", nargs="+", default=KINDS, help="faults to choose from, such as 'endpoint killed'")
    parser.add_argument("--endpoint", nargs="+", help="program to run in place of streamvis rest")
    options = parser.parse_args()
    print(f"seed {options.seed}")
    result = run(options.rounds, options.seed, kinds=options.only, endpoint=options.endpoint)
    print("\n".join(result.lines()))
    sys.exit(0 if result.is_good else 1)


if __name__ == "__main__":
    main()
