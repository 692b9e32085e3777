"""A producer that sends as fast as it can, to an endpoint or a disk that cannot follow: what it costs the producer in memory.

    python benchmarks/overload.py --seconds 60

Each case is a process of its own, and its resident memory is read twice a second. A slow disk is simulated: each write to the
spool takes longer. What is dropped is counted by the client, and compared here with what is stored or still in the spool.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import psutil
from lines import Line
from setting import Endpoint, number

from streamvis.client.spool.frames import read_segment

PRODUCER = """
import json, sys, threading, time
from pathlib import Path
import numpy as np
from streamvis import Client
from streamvis.client.spool import segments

url, folder, kind, seconds, write_s, max_spool = json.loads(sys.argv[1])
if write_s:
    real = segments.write_whole
    segments.write_whole = lambda file, content: time.sleep(write_s) or real(file, content)
client = Client(url, "overload", spool=folder, max_spool_bytes=max_spool)
client.init()
array, sent, slowest = np.zeros(2**16), 0, 0.0
until = time.monotonic() + seconds
print("began", flush=True)
while (began := time.monotonic()) < until:
    if kind == "rows":
        for step in range(sent, sent + 100):
            client.sendl(step, "k", {"x": step, "y": 0.5})
        sent += 100
    else:
        client.send(sent, "v", {"array": array})
        sent += 1
    slowest = max(slowest, time.monotonic() - began)
sender = client._road
client.close(timeout_s=5.0)
told = {"sent": sent, "slowest_s": slowest, "dropped": sender.lost_records}
print(json.dumps(told | {"kept": sender.producer.log.kept_records, "left": sender.unsettled_records}))
"""


@dataclass(frozen=True)
class Case:
    """What the producer sends, and what stands in its way."""

    name: str
    kind: str
    line: str = "good"
    write_s: float = 0.0
    disk: bool = True
    max_spool_bytes: int = 2 * 2**30


CASES = [
    Case("small rows, a working endpoint", "rows"),
    Case("small rows, an endpoint that never answers", "rows", "hangs"),
    Case("arrays of 512 KiB, an endpoint that never answers", "arrays", "hangs"),
    Case("arrays, never answers, every write to the disk takes 0.2 s", "arrays", "hangs", write_s=0.2),
    Case("small rows, never answers, the disk cannot be written", "rows", "hangs", disk=False),
    Case("small rows, never answers, a spool of 64 MiB", "rows", "hangs", max_spool_bytes=64 * 2**20),
]


def run(case: Case, seconds: float) -> list[str]:
    """One case; a row of the table."""
    endpoint = Endpoint()
    port = int(endpoint.url.rsplit(":", 1)[1])
    url = endpoint.url if case.line == "good" else Line(port, delay_s=None).url
    try:
        with tempfile.TemporaryDirectory(prefix="streamvis-overload-") as folder:
            spool = Path(folder) / "spool"
            if not case.disk:
                spool.write_text("a file, where a folder should be made")
            order = json.dumps([url, str(spool), case.kind, seconds, case.write_s, case.max_spool_bytes])
            command = [sys.executable, "-c", PRODUCER, order]
            process = psutil.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
            assert process.stdout.readline() == "began\n"
            memory, at_endpoint = _memory([process, endpoint.process], seconds)
            told = json.loads(process.stdout.read())
            process.wait()
            segments = spool.glob("*/*.spool") if case.disk else ()
            spooled = sum(batch.records for path in segments for batch, _ in read_segment(path))
            print(f"{case.name}: {told}, in the spool {spooled:,}", flush=True)
            assert spooled >= told["kept"]
    finally:
        endpoint.stop()
    half = len(memory) // 2
    first, second = statistics.median(memory[:half]), statistics.median(memory[half:])
    figures = [told["sent"] / seconds, told["slowest_s"] * 1e3, first, second, max(memory), max(at_endpoint)]
    return [case.name, *map(number, figures), f"{told['dropped'] / told['sent']:.1%}"]


def _memory(processes: list[psutil.Popen], seconds: float) -> list[list[float]]:
    """The resident memory of each in MiB, twice a second until just before the producer closes."""
    memory: list[list[float]] = [[] for _ in processes]
    until = time.monotonic() + seconds - 0.5
    while time.monotonic() < until:
        for its, process in zip(memory, processes, strict=True):
            its.append(process.memory_info().rss / 2**20)
        time.sleep(0.5)
    return memory


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60)
    seconds = parser.parse_args().seconds
    rows = [run(case, seconds) for case in CASES]
    print(f"\n{seconds:g} s each.\n")
    print("| case | sent a second | slowest call, ms | MiB, first half | second half | at most | endpoint, at most | dropped |")
    print("|---|---|---|---|---|---|---|---|")
    for row in rows:
        print(f"| {' | '.join(row)} |")


if __name__ == "__main__":
    main()
