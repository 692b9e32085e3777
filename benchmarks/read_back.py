"""Reading a whole run back: every row of four columns, with the memory that it takes.

    python benchmarks/read_back.py --rows 10000000 --peer-rows 100000

Each side writes its run in its own way and reads it in a process of its own: Streamvis through an endpoint and directly from
its folder, in batches and as one table; TensorBoard with `EventAccumulator` (all events, not its sample); wandb's file with the
reader of `streamvis import`, since wandb itself reads from its servers alone; MLflow with its client. Peers log so slowly that
they get fewer rows; what is compared is rows a second. The memory is by how much the most that the reading process ever took
rose while it read.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

COLUMNS = ("loss", "accuracy", "norm", "rate")
AT_ONCE = 100_000
LIMIT_S = 1200
PEERS = {
    "tensorboard": ["tensorboardX", "tensorboard", "setuptools<81"],
    "wandb": ["wandb"],
    "mlflow": ["mlflow"],
}


def walks(rows: int, first: int) -> dict:
    import numpy as np

    random = np.random.default_rng(first)
    return {name: random.normal(size=rows).cumsum() for name in COLUMNS}


def write_streamvis(folder: Path, rows: int, url: str) -> None:
    from streamvis import Client

    with Client(url, "read back") as client:
        client.init(run="run")
        for first in range(0, rows, AT_ONCE):
            client.sendl(first, "main", walks(min(AT_ONCE, rows - first), first))
        while not client.flush():
            pass


def read_batches(place: str) -> Callable[[], int]:
    import streamvis

    run = streamvis.open(place).run("run")
    return lambda: sum(batch.num_rows for batch in run.batches("main"))


def read_table(place: str) -> Callable[[], int]:
    import streamvis

    run = streamvis.open(place).run("run")
    return lambda: run.rows("main").num_rows


def write_tensorboard(folder: Path, rows: int, url: str) -> None:
    from tensorboardX import SummaryWriter

    with SummaryWriter(str(folder), flush_secs=600) as writer:
        columns = walks(rows, 0)
        for step in range(rows):
            for name in COLUMNS:
                writer.add_scalar(name, columns[name][step], step)


def read_tensorboard(place: str) -> Callable[[], int]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    def read() -> int:
        found = EventAccumulator(place, size_guidance={"scalars": 0})
        found.Reload()
        return min(len(found.Scalars(name)) for name in COLUMNS)

    return read


def write_wandb(folder: Path, rows: int, url: str) -> None:
    os.environ |= {"WANDB_MODE": "offline", "WANDB_SILENT": "true", "WANDB_DIR": str(folder)}
    import wandb

    columns = walks(rows, 0)
    with wandb.init(project="bench") as run:
        for step in range(rows):
            run.log({name: columns[name][step] for name in COLUMNS})


def read_wandb(place: str) -> Callable[[], int]:
    from streamvis.reading.wandb_files import WandbRun

    (file,) = Path(place).rglob("*.wandb")
    return lambda: sum(len(piece.steps) for piece in WandbRun(file, None).read() if piece.key == "metrics")


def write_mlflow(folder: Path, rows: int, url: str) -> None:
    from mlflow import MlflowClient
    from mlflow.entities import Metric

    client = MlflowClient(f"sqlite:///{folder}/mlflow.db")
    run = client.create_run(client.create_experiment("bench")).info.run_id
    columns = walks(rows, 0)
    for first in range(0, rows, 250):
        steps = range(first, min(first + 250, rows))
        client.log_batch(run, [Metric(name, float(columns[name][step]), step, step) for step in steps for name in COLUMNS])


def read_mlflow(place: str) -> Callable[[], int]:
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{place}/mlflow.db")
    (run,) = client.search_runs([client.get_experiment_by_name("bench").experiment_id])
    return lambda: min(len(client.get_metric_history(run.info.run_id, name)) for name in COLUMNS)


SIDES = {
    "streamvis, batches": (write_streamvis, read_batches),
    "streamvis, one table": (write_streamvis, read_table),
    "tensorboard": (write_tensorboard, read_tensorboard),
    "wandb": (write_wandb, read_wandb),
    "mlflow": (write_mlflow, read_mlflow),
}


def memory_kib(what: str) -> int:
    """What Linux says of this process's memory: VmHWM is the most that it took since that was reset."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{what}:"))


def read_side(name: str, place: str) -> None:
    """Read in this process; prints the figures."""
    read = SIDES[name][1](place)
    # Not getrusage, which also counts what the process had before it became this program.
    Path("/proc/self/clear_refs").write_text("5")
    before = memory_kib("VmHWM")
    began = time.perf_counter()
    rows = read()
    took_s = time.perf_counter() - began
    rose_mib = (memory_kib("VmHWM") - before) / 1024
    print("figures", json.dumps({"rows": rows, "s": took_s, "mib": rose_mib}))


def ask(python: str, *words: str) -> dict[str, float] | None:
    """What this file says when another interpreter runs it; None when it fails."""
    command = [python, __file__, *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    if done.returncode:
        print(f"{words[1]} failed: {done.stderr.strip().splitlines()[-1:]}", flush=True)
        return None
    line = next((line for line in done.stdout.splitlines() if line.startswith("figures ")), "figures {}")
    return json.loads(line.removeprefix("figures "))


def told(name: str, figures: dict[str, float], size_bytes: int) -> None:
    rows, took_s = figures["rows"], figures["s"]
    per_number = size_bytes / rows / len(COLUMNS)
    print(f"| {name} | {rows:,} | {took_s:.3g} | {rows / took_s:,.0f} | {figures['mib']:,.0f} | {per_number:.3g} |", flush=True)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rows", type=int, default=10_000_000)
    options.add_argument("--peer-rows", type=int, default=100_000)
    options.add_argument("--peers", nargs="*", default=list(PEERS), metavar="NAME[=PYTHON]", help="by default, all")
    given = options.parse_args()
    from setting import Endpoint, folder_bytes, installed

    print("| reader | rows | seconds | rows/s | memory (MiB) | bytes on disk per number |")
    print("|---|---|---|---|---|---|")
    endpoint = Endpoint()
    try:
        write_streamvis(Path(), given.rows, endpoint.url)
        endpoint.wait_until_idle()
        for name in list(SIDES)[:2]:
            if figures := ask(sys.executable, "--read", name, endpoint.url):
                told(f"{name}, through the endpoint", figures, endpoint.size_bytes())
    finally:
        endpoint.stop()
    for name in list(SIDES)[:2]:
        if figures := ask(sys.executable, "--read", name, endpoint.folder.name):
            told(f"{name}, from the folder", figures, endpoint.size_bytes())
    for peer in given.peers:
        name, _, python = peer.partition("=")
        if not python:
            found = installed(name, PEERS[name])
            python = found[0] if found else ""
        with tempfile.TemporaryDirectory(prefix="streamvis-bench-") as folder:
            if python and ask(python, "--write", name, folder, str(given.peer_rows)) is not None:
                if figures := ask(sys.executable if name == "wandb" else python, "--read", name, folder):
                    told(name, figures, folder_bytes(Path(folder)))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--read"]:
        read_side(*sys.argv[2:])
    elif sys.argv[1:2] == ["--write"]:
        SIDES[sys.argv[2]][0](Path(sys.argv[3]), int(sys.argv[4]), "")
    else:
        main()
