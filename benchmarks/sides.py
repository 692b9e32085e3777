"""One side of a comparison, run in an environment of its own: does some work with one library, and prints the figures as JSON.

    python sides.py LIBRARY WORK FOLDER [URL]

LIBRARY is one of `SIDES`; `plain` is the bound, a checked copy of the dict, put into a deque. WORK is one of `WORKS`. Needs
nothing but the library itself and NumPy, so that it runs in each library's own environment.
"""

from __future__ import annotations

import importlib
import json
import os
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.request import urlopen

import numpy as np

TIGHT_STEPS, PACED_STEPS, ARRAY_CALLS, WARM_UP = 3_000, 500, 60, 100
ANSWER_STEPS = 1_000_000
PACE_S = 0.002
DURABLE_STEPS = {"streamvis": 200_000, "tensorboardX": 5_000, "wandb": 5_000, "trackio": 20_000, "rerun": 20_000, "mlflow": 300}


class Plain:
    """What any library has to do at least: look at the values, copy them, and put them somewhere."""

    def __init__(self, folder: Path, url: str) -> None:
        self.kept: deque = deque(maxlen=100_000)

    def log(self, step: int, data: dict) -> None:
        for name, value in data.items():
            if type(name) is not str or type(value) is not float:
                raise TypeError(name)
        self.kept.append((step, time.time(), dict(data)))

    def arrays(self, step: int, one: np.ndarray, other: np.ndarray) -> None:
        self.kept.append((step, one.copy(), other.copy()))

    def finish(self) -> None:
        self.kept.clear()


class Streamvis:
    """`sendl` to a running endpoint."""

    def __init__(self, folder: Path, url: str) -> None:
        from streamvis import Client

        self.client = Client(url, f"bench {os.getpid()}")
        self.url, self.run = url, self.client.init({})

    def log(self, step: int, data: dict) -> None:
        self.client.sendl(step, "main", data)

    def arrays(self, step: int, one: np.ndarray, other: np.ndarray) -> None:
        self.client.sendl(step, "arrays", {"one": one, "other": other})

    def finish(self) -> None:
        self.client.close()

    @contextmanager
    def answering(self) -> Iterator[Callable[[], float]]:
        """Ask as a live source of four columns does: of each of its buckets every column's lowest and highest row."""
        import urllib3

        time.sleep(20)  # for the endpoint to merge what came
        http, width = urllib3.PoolManager(), 1024
        buckets = ANSWER_STEPS // width + 1
        query = {"key": "main", "x": "step", "from": 0, "to": width * buckets, "buckets": buckets}
        headers = {"Accept": "application/vnd.apache.arrow.stream"}

        def ask() -> float:
            answer = http.request("GET", f"{self.url}/api/v1/runs/{self.run}/history", fields=query, headers=headers)
            assert answer.status == 200, answer.data
            from streamvis.wire.arrow import decode_history

            return 4 * len(decode_history(answer.data)[1])

        yield ask


class TensorboardX:
    """`add_scalar` for each value. Its page is TensorBoard's."""

    def __init__(self, folder: Path, url: str) -> None:
        from tensorboardX import SummaryWriter

        self.folder = folder
        self.writer = SummaryWriter(str(folder))

    def log(self, step: int, data: dict) -> None:
        for name, value in data.items():
            self.writer.add_scalar(name, value, step)

    def finish(self) -> None:
        self.writer.close()

    @contextmanager
    def answering(self) -> Iterator[Callable[[], float]]:
        """Ask TensorBoard for each of the four tags, as its page does."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        command = [sys.executable, "-m", "tensorboard.main", "--logdir", str(self.folder), "--port", str(port)]
        server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

        def ask() -> float:
            at = f"http://127.0.0.1:{port}/data/plugin/scalars/scalars?run=.&tag="
            return sum(len(json.load(urlopen(at + tag))) for tag in ("loss", "accuracy", "norm", "rate"))

        try:
            last, quiet_since = -1, time.monotonic()
            while time.monotonic() - quiet_since < 10:  # it reads the run bit by bit
                try:
                    newest = json.load(urlopen(f"http://127.0.0.1:{port}/data/plugin/scalars/scalars?run=.&tag=rate"))[-1][1]
                except (OSError, ValueError, IndexError):
                    newest = -1
                if newest != last or newest < ANSWER_STEPS - 1:
                    last, quiet_since = newest, time.monotonic()
                time.sleep(0.5)
            yield ask
        finally:
            server.terminate()
            server.wait()


class Wandb:
    """`log` of an offline run."""

    def __init__(self, folder: Path, url: str) -> None:
        os.environ |= {"WANDB_MODE": "offline", "WANDB_SILENT": "true", "WANDB_DISABLE_GIT": "true"}
        import wandb

        self.run = wandb.init(project="bench", dir=str(folder))

    def log(self, step: int, data: dict) -> None:
        self.run.log(data, step=step)

    def finish(self) -> None:
        self.run.finish()


class Trackio:
    """`log` of a local project."""

    def __init__(self, folder: Path, url: str) -> None:
        os.environ |= {"TRACKIO_DIR": str(folder), "HF_HUB_OFFLINE": "1", "HF_HOME": str(folder)}
        import trackio

        self.trackio = trackio
        trackio.init(project="bench")

    def log(self, step: int, data: dict) -> None:
        self.trackio.log(data, step=step)

    def finish(self) -> None:
        self.trackio.finish()

    @contextmanager
    def answering(self) -> Iterator[Callable[[], float]]:
        """What its server does for its page, without the way over HTTP."""
        from trackio.server import get_logs

        storage = importlib.import_module("trackio.sqlite_storage").SQLiteStorage
        run = storage.get_runs("bench")[0]
        yield lambda: 4 * len(get_logs("bench", run))


class Rerun:
    """`log` of `Scalars` to a file."""

    def __init__(self, folder: Path, url: str) -> None:
        import rerun

        self.rerun = rerun
        rerun.init("bench")
        rerun.save(str(folder / "bench.rrd"))

    def log(self, step: int, data: dict) -> None:
        self.rerun.set_time("step", sequence=step)
        for name, value in data.items():
            self.rerun.log(name, self.rerun.Scalars(value))

    def arrays(self, step: int, one: np.ndarray, other: np.ndarray) -> None:
        self.rerun.set_time("step", sequence=step)
        self.rerun.log("one", self.rerun.Tensor(one))
        self.rerun.log("other", self.rerun.Tensor(other))

    def finish(self) -> None:
        self.rerun.disconnect()


class Mlflow:
    """`log_metrics`, synchronous as it is by default, into SQLite."""

    def __init__(self, folder: Path, url: str) -> None:
        os.environ |= {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}
        import mlflow

        self.mlflow = mlflow
        mlflow.set_tracking_uri(f"sqlite:///{folder}/mlflow.db")
        mlflow.start_run()

    def log(self, step: int, data: dict) -> None:
        self.mlflow.log_metrics(data, step=step)

    def finish(self) -> None:
        self.mlflow.end_run()


SIDES = {
    "plain": Plain,
    "streamvis": Streamvis,
    "tensorboardX": TensorboardX,
    "wandb": Wandb,
    "trackio": Trackio,
    "rerun": Rerun,
    "mlflow": Mlflow,
}


def scalars(random: np.random.Generator, steps: int) -> list[dict[str, float]]:
    """Values with full mantissas, as a random walk has them."""
    walks = random.normal(size=(4, steps)).cumsum(axis=1).T.tolist()
    return [dict(zip(("loss", "accuracy", "norm", "rate"), row, strict=True)) for row in walks]


def percentiles(times_s: list[float]) -> dict[str, float]:
    """Median and 99th percentile in microseconds."""
    return {"p50_us": float(np.median(times_s) * 1e6), "p99_us": float(np.percentile(times_s, 99) * 1e6)}


def calls(side: object, steps: int, pace_s: float) -> dict[str, float]:
    """What the loop sees of a call, one after another or one every `pace_s`."""
    data, times = scalars(np.random.default_rng(0), steps + WARM_UP), []
    due = time.perf_counter()
    for step, row in enumerate(data):
        if pace_s:
            due += pace_s
            time.sleep(max(0.0, due - time.perf_counter()))
        began = time.perf_counter()
        side.log(step, row)
        times.append(time.perf_counter() - began)
    return percentiles(times[WARM_UP:])


def work_tight(make, name: str) -> dict[str, float]:
    """One step of four floats after another."""
    side = make()
    found = calls(side, TIGHT_STEPS if name != "mlflow" else 200, 0.0)
    side.finish()
    return found


def work_paced(make, name: str) -> dict[str, float]:
    """One step of four floats every two milliseconds."""
    side = make()
    found = calls(side, PACED_STEPS, PACE_S)
    side.finish()
    return found


def work_arrays(make, name: str) -> dict[str, float]:
    """Two arrays of 10,000 floats in one call."""
    side, random = make(), np.random.default_rng(0)
    pairs, times = random.normal(size=(ARRAY_CALLS + 10, 2, 10_000)), []
    for step, (one, other) in enumerate(pairs):
        began = time.perf_counter()
        side.arrays(step, one, other)
        times.append(time.perf_counter() - began)
        time.sleep(0.01)
    side.finish()
    return percentiles(times[10:])


def work_durable(make, name: str) -> dict[str, float]:
    """Steps of four floats a second, until all of them are where they are to stay."""
    side = make()
    steps = DURABLE_STEPS[name]
    data = scalars(np.random.default_rng(0), steps)
    began = time.perf_counter()
    for step, row in enumerate(data):
        side.log(step, row)
    side.finish()
    return {"steps_per_s": steps / (time.perf_counter() - began)}


def work_start(make, name: str) -> dict[str, float]:
    """Import, init and first call, where NumPy is loaded already."""
    began = time.perf_counter()
    side = make()
    side.log(0, {"loss": 1.0, "accuracy": 0.0, "norm": 1.5, "rate": 0.1})
    took_s = time.perf_counter() - began
    side.finish()
    return {"start_ms": took_s * 1e3}


def work_answer(make, name: str) -> dict[str, float]:
    """A run of a million steps of four scalars, logged step by step; then what its page asks for, answered, all four together."""
    side = make()
    walks = np.random.default_rng(0).normal(size=(4, ANSWER_STEPS)).cumsum(axis=1).T
    for step, row in enumerate(walks):
        side.log(step, dict(zip(("loss", "accuracy", "norm", "rate"), row.tolist(), strict=True)))
    side.finish()
    times = []
    with side.answering() as ask:
        points = ask()
        for _ in range(7):
            began = time.perf_counter()
            ask()
            times.append(time.perf_counter() - began)
    return {"answer_ms": float(np.median(times) * 1e3), "points": points}


WORKS = {
    "answer": work_answer,
    "arrays": work_arrays,
    "durable": work_durable,
    "paced": work_paced,
    "start": work_start,
    "tight": work_tight,
}


def main() -> None:
    """Do the work that the command line names."""
    name, work, folder, *url = sys.argv[1:]
    found = WORKS[work](lambda: SIDES[name](Path(folder), url[0] if url else ""), name)
    print("figures " + json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
