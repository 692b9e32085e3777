"""Whether the endpoint keeps up: many keys that are sent often, a long run resumed or deleted, many runs with long configs.

    python benchmarks/housekeeping.py --seconds 60 --values 450000 --runs 8000

Each part has an endpoint of its own. Chunks are counted in the endpoint's file, which is opened to be read only.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sqlite3
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from setting import Endpoint, number

from streamvis import Client
from streamvis.errors import EndpointError
from streamvis.records import Batch, Start
from streamvis.store import SqliteStore
from streamvis.transport import Transport
from streamvis.wire.arrow import encode_value

KEYS = 50
CONFIG_CHARS = 200_000
AT_ONCE = 20


def chunks_in(folder: Path) -> int:
    """How many chunks there are."""
    with contextlib.closing(sqlite3.connect(f"{(folder / 'streamvis.sqlite').as_uri()}?mode=ro", uri=True)) as db:
        return db.execute("SELECT count(*) FROM chunks").fetchone()[0]


def keep_up(seconds: float, runs: int) -> None:
    """So many runs of fifty keys, a row a second each: chunks by quarters, and what reading a run costs then."""
    endpoint = Endpoint()
    clients = [Client(endpoint.url, "many", spool=Path(endpoint.folder.name) / "spool") for _ in range(runs)]
    ids = [client.init() for client in clients]
    began, counts, step = time.monotonic(), [], 0
    while (now := time.monotonic() - began) < seconds:
        for client in clients:
            for key in range(KEYS):
                client.sendl(step, f"k{key}", {"x": step, "y": 0.5})
        step += 1
        if now >= seconds * (len(counts) + 1) / 4:
            counts.append(chunks_in(Path(endpoint.folder.name)))
        time.sleep(max(0.0, began + step - time.monotonic()))
    counts.append(chunks_in(Path(endpoint.folder.name)))
    used_s = sum(endpoint.process.cpu_times()[:2])
    transport, after, read = Transport(endpoint.url), None, 0
    before = time.monotonic()
    while True:
        head = json.loads(transport.request("GET", f"/api/v1/runs/{ids[0]}/tail", params={"after": after}, timeout_s=60).body)
        after, read = head["cursor"], read + len(head["records"])
        if not head["more"]:
            break
    took_s = time.monotonic() - before
    for client in clients:
        client.close()
    print(f"| {runs} runs of {KEYS} keys at 1 Hz, {seconds:.0f} s |  |")
    print(f"| chunks after each quarter, and at the end | {', '.join(map(number, counts))} |")
    print(f"| chunks that came | {number(step * runs * KEYS)} at most |")
    print(f"| reading one of the runs, in JSON | {number(took_s)} s, {read:,} pieces |")
    print(f"| processor of the endpoint | {number(used_s / seconds * 100)}% of one |")
    endpoint.stop()


def take_back(values: int) -> None:
    """A resume and a delete of a run with so many values, while another producer sends: the longest it waits."""
    with tempfile.TemporaryDirectory(prefix="streamvis-bench-") as folder:
        store = SqliteStore(Path(folder))
        for run in ("resumed", "deleted"):
            store.append([Batch(run, "app", "p", 0, [Start("{}", 1.0)])])
            for first in range(0, values, 5000):
                sent = [encode_value(f"k{i % KEYS}", i // KEYS, 0.0, {"n": i}) for i in range(first, min(values, first + 5000))]
                store.append([Batch(run, "app", "p", 1 + first, sent)])
        store.close()
        endpoint = Endpoint("--data", folder)
        transport = Transport(endpoint.url)
        orders = {
            "resume": lambda: transport.request(
                "POST", "/api/v1/runs", body=json.dumps({"app": "app", "run": "resumed", "resume_at": 1}).encode(), timeout_s=120
            ),
            "delete": lambda: transport.request("DELETE", "/api/v1/runs/deleted", timeout_s=120),
        }
        for name, order in orders.items():
            with waits(endpoint.url, name) as longest:
                before = time.monotonic()
                status = order().status
                took_s = time.monotonic() - before
                time.sleep(70 if name == "delete" else 0.5)  # its space is freed after a minute
            print(f"| {name} of a run with {values:,} values (answer {status}) | {number(took_s)} s |")
            print(f"| meanwhile, and just after it, another producer's batch waits at most | {number(max(longest))} s |")
        endpoint.stop()


@contextlib.contextmanager
def waits(url: str, run: str):
    """How long each batch of another producer takes to be acknowledged, in seconds."""
    transport, took, is_over = Transport(url), [], threading.Event()
    head = {"Content-Type": "application/json"}
    transport.request("POST", "/api/v1/runs", body=json.dumps({"app": "other", "run": f"other-{run}"}).encode(), headers=head)

    def send() -> None:
        sent = 0
        while not is_over.is_set():
            sent += 1
            records = [{"kind": "rows", "key": "k", "step": sent, "data": {"x": [sent]}}]
            body = json.dumps({"producer": "me", "number": sent, "records": records}).encode()
            before = time.monotonic()
            transport.request("POST", f"/api/v1/runs/other-{run}/batches", body=body, headers=head, timeout_s=120)
            took.append(time.monotonic() - before)
            is_over.wait(0.02)

    thread = threading.Thread(target=send)
    thread.start()
    yield took
    is_over.set()
    thread.join()


def list_runs(runs: int) -> None:
    """Many runs with long configs: what the app's tail costs, alone, asked often at once, and given up."""
    with tempfile.TemporaryDirectory(prefix="streamvis-bench-") as folder:
        store = SqliteStore(Path(folder))
        config = json.dumps({"text": "x" * CONFIG_CHARS})
        for first in range(0, runs, 50):
            batches = [Batch(f"run-{i}", "app", "p", 0, [Start(config, float(i))]) for i in range(first, min(runs, first + 50))]
            store.append(batches)
        store.close()
        endpoint = Endpoint("--data", folder)
        ask(endpoint.url, 120)
        alone = ask(endpoint.url, 120)
        with ThreadPoolExecutor(AT_ONCE) as pool:
            together = sorted(pool.map(lambda _: ask(endpoint.url, 300), range(AT_ONCE)))
        memory = endpoint.process.memory_info().rss / 2**20
        used_s = sum(endpoint.process.cpu_times()[:2])
        with ThreadPoolExecutor(AT_ONCE) as pool:
            list(pool.map(lambda _: ask(endpoint.url, 0.2), range(3 * AT_ONCE)))
        endpoint.wait_until_idle()
        used_s = sum(endpoint.process.cpu_times()[:2]) - used_s
        print(f"| tail of an app with {runs:,} runs, configs of {CONFIG_CHARS:,} characters | {number(alone)} s |")
        print(f"| {AT_ONCE} asked for at once: half of them, all | {number(together[AT_ONCE // 2])}, {number(together[-1])} s |")
        print(f"| memory of the endpoint after that | {number(memory)} MiB |")
        print(f"| {3 * AT_ONCE} asked for and given up after 0.2 s: processor of the endpoint | {number(used_s)} s |")
        endpoint.stop()


def ask(url: str, timeout_s: float) -> float:
    """Ask for the app's tail once: how many seconds the answer took, or until it was given up."""
    transport = Transport(url)
    before = time.monotonic()
    with contextlib.suppress(EndpointError):
        transport.request("GET", "/api/v1/apps/tail", params={"app": "app"}, timeout_s=timeout_s)
    transport.close()
    return time.monotonic() - before


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60, help="how long rows are sent; 0 leaves it out")
    parser.add_argument("--producers", type=int, default=40)
    parser.add_argument("--values", type=int, default=450_000, help="of the run that is resumed; 0 leaves it out")
    parser.add_argument("--runs", type=int, default=8000, help="of the app that is listed; 0 leaves it out")
    chosen = parser.parse_args()
    print("| | |\n|---|---|")
    if chosen.seconds:
        keep_up(chosen.seconds, chosen.producers)
    if chosen.values:
        take_back(chosen.values)
    if chosen.runs:
        list_runs(chosen.runs)


if __name__ == "__main__":
    main()
