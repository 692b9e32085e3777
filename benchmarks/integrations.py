"""By how much logging slows a training loop down: nothing, PyTorch's SummaryWriter, and Streamvis, interleaved in one process.

    python benchmarks/integrations.py --steps 2000 --rounds 5

Each step trains a small network on the processor and logs four scalars. `watch` also logs norms and histograms of the network's
parameters at each 100th step. Needs torch and tensorboard (`make test-integrations` installs them). The endpoint is a process
of its own on this machine. Printed are medians over the rounds: the time of a step, and the processor time that the training
thread itself took for it, which other programs on a busy machine change less.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch.utils.tensorboard import SummaryWriter as TorchWriter

import streamvis
from streamvis.integrations.tensorboard import SummaryWriter
from streamvis.integrations.torch import watch

Log = Callable[[int, float], None]


Took = tuple[float, float]
"""Microseconds for each step: of time, and of the thread's processor time."""


def train(steps: int, log: Log) -> Took:
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(64, 128), torch.nn.ReLU(), torch.nn.Linear(128, 1))
    return timed(model, steps, log)


def timed(model: torch.nn.Module, steps: int, log: Log) -> Took:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    batch = torch.randn(64, 64)
    began, worked = time.perf_counter(), time.thread_time()
    for step in range(steps):
        loss = model(batch).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        log(step, loss.item())
    return (time.perf_counter() - began) / steps * 1e6, (time.thread_time() - worked) / steps * 1e6


def nothing(steps: int, folder: Path) -> Took:
    return train(steps, lambda step, loss: None)


def writer(kind: type) -> Callable[[int, Path], Took]:
    def measure(steps: int, folder: Path) -> Took:
        with kind(str(folder)) as its:

            def log(step: int, loss: float) -> None:
                its.add_scalar("train/loss", loss, step)
                its.add_scalar("train/double", 2 * loss, step)
                its.add_scalar("train/square", loss * loss, step)
                its.add_scalar("lr", 0.01, step)

            return train(steps, log)

    return measure


def streamvis_log(steps: int, folder: Path) -> Took:
    with streamvis.run("slowdown"):

        def log(step: int, loss: float) -> None:
            streamvis.log({"train/loss": loss, "train/double": 2 * loss, "train/square": loss * loss, "lr": 0.01})

        return train(steps, log)


def watched(steps: int, folder: Path) -> Took:
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(64, 128), torch.nn.ReLU(), torch.nn.Linear(128, 1))
    with streamvis.run("slowdown"):
        watch_it = watch(model, every=100)
        try:
            return timed(model, steps, lambda step, loss: streamvis.log({"train/loss": loss}))
        finally:
            watch_it.remove()


SIDES = {
    "nothing": nothing,
    "torch SummaryWriter": writer(TorchWriter),
    "Streamvis SummaryWriter": writer(SummaryWriter),
    "streamvis.log": streamvis_log,
    "streamvis.log and watch": watched,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        command = [sys.executable, "-m", "streamvis.cli", "rest", "--port", "0", "--data", f"{scratch}/data"]
        endpoint = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        try:
            ready = next(filter(None, (re.search(r"ready at (http\S+:\d+)", line) for line in endpoint.stdout)))
            os.environ["STREAMVIS_URL"], os.environ["STREAMVIS_SPOOL"] = ready[1], f"{scratch}/spool"
            found: dict[str, list[Took]] = {name: [] for name in SIDES}
            for number in range(given.rounds + 1):
                for name, measure in SIDES.items():
                    took = measure(given.steps, Path(scratch) / "logs" / f"{name} {number}")
                    if number:  # the first round warms up
                        found[name].append(took)
        finally:
            endpoint.terminate()
            endpoint.wait()
    print(f"Python {platform.python_version()}, torch {torch.__version__}, load {os.getloadavg()[0]:.1f}, {given.steps} steps")
    medians = {name: [statistics.median(side) for side in zip(*times, strict=True)] for name, times in found.items()}
    base, base_worked = medians["nothing"]
    for name, (median, worked) in medians.items():
        print(
            f"{name:26} {median:8.0f} us a step ({median - base:+5.0f}, x{median / base:.2f})"
            f"   of the thread {worked:6.0f} us ({worked - base_worked:+5.0f}, x{worked / base_worked:.2f})"
        )


if __name__ == "__main__":
    main()
