"""What is lost when a producer is killed with SIGKILL, and what it costs to lose nothing (`durable=True`).

    python benchmarks/killed.py --kills 20

A producer sends two thousand rows a second, and notes each in memory that outlives it as soon as the call has returned. It is
killed at a random moment; then `streamvis sync` delivers its spool, and what the endpoint holds is compared with the notes.
"""

from __future__ import annotations

import argparse
import json
import mmap
import random
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from lines import Line
from setting import Endpoint, number

from streamvis.transport import Transport, path

PRODUCER = """
import json, mmap, struct, sys, threading, time
from streamvis import Client

url, folder, notes, run, durable, threads, pause_s = json.loads(sys.argv[1])
file = open(notes, "r+b")
notes = mmap.mmap(file.fileno(), 0)
client = Client(url, "killed", spool=folder, durable=durable)
client.init(run=run)
client.sendl(0, "begin", {"x": 0})
client.flush(timeout_s=3)
print("began", flush=True)

def send(thread):
    step = thread
    while True:
        began = time.monotonic()
        client.sendl(step, "k", {"x": step})
        now = time.monotonic()
        struct.pack_into("<dd", notes, 16 * step, now, now - began)
        step += threads
        if pause_s:
            time.sleep(pause_s)

for thread in range(threads):
    threading.Thread(target=send, args=(thread,), daemon=True).start()
threading.Event().wait()
"""
_NOTES = 100_000


@dataclass(frozen=True)
class Case:
    """`delay_s` is that of the line to the endpoint, each way; with None it never answers."""

    name: str
    url: str = "line"
    delay_s: float | None = 0.0
    durable: bool = False
    threads: int = 1

    @property
    def pause_s(self) -> float:
        return 0.0 if self.durable else 0.0005


CASES = [
    Case("the endpoint answers at once"),
    *(Case(f"a line of {delay * 1000:g} ms each way", delay_s=delay) for delay in (0.01, 0.02, 0.04, 0.1)),
    Case("the endpoint never answers", delay_s=None),
    Case("no server at the address", url="nobody"),
    Case("no endpoint (`url=None`)", url="none"),
    Case("durable, the endpoint answers at once", durable=True),
    Case("the same, 8 threads", durable=True, threads=8),
    Case("durable, no server at the address", url="nobody", durable=True),
    Case("the same, 8 threads", url="nobody", durable=True, threads=8),
]


def run(case: Case, endpoint: Endpoint, kills: int) -> list[str]:
    """One case; a row of the table."""
    port = int(endpoint.url.rsplit(":", 1)[1])
    url = {"line": lambda: Line(port, delay_s=case.delay_s).url, "nobody": lambda: "http://127.0.0.1:9", "none": lambda: None}
    url = endpoint.url if case.url == "line" and case.delay_s == 0.0 else url[case.url]()
    sent = lost = doubled = 0
    ages, calls = [0.0], []
    for _ in range(kills):
        sent_at, took, killed_at, stored = _killed(case, endpoint, url)
        missing = sorted(set(sent_at) - set(stored))
        sent, lost, doubled = sent + len(sent_at), lost + len(missing), doubled + len(stored) - len(set(stored))
        ages += [killed_at - sent_at[step] for step in missing]
        calls += took
    print(f"{case.name}: {sent:,} sent, {lost:,} lost, {max(ages) * 1e3:.0f} ms before the kill at most", flush=True)
    assert doubled == 0 and not (case.durable and lost)
    price = number(statistics.median(calls) * 1e6) if calls else ""
    return [case.name, f"{sent:,}", f"{lost:,}", f"{max(ages) * 1e3:.0f}", price]


def _killed(case: Case, endpoint: Endpoint, url: str | None) -> tuple[dict[int, float], list[float], float, list[int]]:
    """When each row was sent, how long the calls took, when the producer was killed, and what the endpoint has in the end."""
    name = f"run-{time.time_ns()}"
    with tempfile.TemporaryDirectory(prefix="streamvis-killed-") as folder:
        notes, spool = Path(folder) / "notes", Path(folder) / "spool"
        notes.write_bytes(bytes(16 * _NOTES))
        order = json.dumps([url, str(spool), str(notes), name, case.durable, case.threads, case.pause_s])
        process = subprocess.Popen(
            [sys.executable, "-c", PRODUCER, order], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        assert process.stdout.readline() == "began\n"
        time.sleep(random.uniform(0.5, 1.5))
        killed_at = time.monotonic()
        process.kill()
        process.wait()
        with notes.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as noted:
            found = [struct.unpack_from("<dd", noted, 16 * step) for step in range(_NOTES)]
        time.sleep(3 * (case.delay_s or 0.0))  # what was on the line may still arrive
        if spool.exists():
            command = [sys.executable, "-m", "streamvis.cli", "sync", str(spool), "--url", endpoint.url]
            subprocess.run(command, check=True, capture_output=True)
        transport = Transport(endpoint.url)
        answer = transport.request("GET", path("runs", name, "rows"), params={"key": "k", "limit": 1_000_000})
        transport.close()
        stored = json.loads(answer.body)["columns"]["x"]["data"] if answer.status == 200 else []
    sent_at = {step: at for step, (at, _) in enumerate(found) if 0 < at <= killed_at}
    return sent_at, [found[step][1] for step in sent_at], killed_at, stored


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=20, help="of each case")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    random.seed(arguments.seed)
    endpoint = Endpoint()
    try:
        rows = [run(case, endpoint, arguments.kills) for case in CASES]
    finally:
        endpoint.stop()
    print(f"\n{arguments.kills} kills each.\n")
    print("| case | rows sent | lost | sent before the kill at most, ms | median call, us |")
    print("|---|---|---|---|---|")
    for row in rows:
        print(f"| {' | '.join(row)} |")


if __name__ == "__main__":
    main()
