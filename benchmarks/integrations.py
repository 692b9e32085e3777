"""By how much each integration slows its framework's training loop down, on the processor.

    python benchmarks/integrations.py --rounds 5
    python benchmarks/integrations.py --only keras,optuna

Each framework trains something small, with and without Streamvis, interleaved in one process; `make test-integrations` installs
the frameworks. Those that are not there are left out. The endpoint is a process of its own on this machine. Printed are the time
of a step (medians over the rounds), and the processor time that the training thread took for a step and, of that, in the code of
Streamvis (the lowest of the rounds). The last changes least where other programs are busy too. The runs have begun before, and
are delivered after what is measured, but for Optuna and Ray: they make a run for each trial.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import logging
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "torch")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
import torch
from torch.utils.tensorboard import SummaryWriter as TorchWriter

import streamvis
from streamvis import Client
from streamvis.client.active import ActiveRun
from streamvis.integrations.logging import StreamvisHandler, StreamvisSink
from streamvis.integrations.sending import Sending
from streamvis.integrations.system import SystemMonitor
from streamvis.integrations.tensorboard import SummaryWriter
from streamvis.integrations.torch import Watch, watch

Train = Callable[[int, Client | None], Callable[[], object]]
"""Prepares so many steps, which send to the client where there is one, and returns what does them."""
Took = tuple[float, float, float]
"""Microseconds for each step: of time, of the thread's processor time, and of that in Streamvis's code."""


@dataclass(frozen=True)
class Side:
    """A framework's loop: what a step of it is, and of which package the version is told."""

    name: str
    step: str
    steps: int
    train: Train
    package: str = "torch"


def perceptron(log: Callable[[torch.nn.Module, int, float], None], steps: int) -> Callable[[], None]:
    """A loop as people write them: a small network, and `log` with each step."""
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(64, 128), torch.nn.ReLU(), torch.nn.Linear(128, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    batch = torch.randn(64, 64)

    def train() -> None:
        for step in range(steps):
            loss = model(batch).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            log(model, step, loss.item())

    return train


def streamvis_log(steps: int, client: Client | None) -> Callable[[], object]:
    def log(model: torch.nn.Module, step: int, loss: float) -> None:
        if client is not None:
            streamvis.log({"train/loss": loss, "train/double": 2 * loss, "train/square": loss * loss, "lr": 0.01})

    return perceptron(log, steps)


def scalars_of(writer: Any) -> Callable[[torch.nn.Module, int, float], None]:
    def log(model: torch.nn.Module, step: int, loss: float) -> None:
        writer.add_scalar("train/loss", loss, step)
        writer.add_scalar("train/double", 2 * loss, step)
        writer.add_scalar("train/square", loss * loss, step)
        writer.add_scalar("lr", 0.01, step)

    return log


def tensorboard(steps: int, client: Client | None) -> Callable[[], object]:
    if client is None:
        return perceptron(lambda model, step, loss: None, steps)
    return perceptron(scalars_of(SummaryWriter(client=client)), steps)


def torch_writer(steps: int, client: Client | None) -> Callable[[], object]:
    """For comparison: PyTorch's own."""
    if client is None:
        return perceptron(lambda model, step, loss: None, steps)
    writer = TorchWriter(tempfile.mkdtemp())
    train = perceptron(scalars_of(writer), steps)

    def close() -> None:
        train()
        writer.close()

    return close


def watched(steps: int, client: Client | None) -> Callable[[], object]:
    watching: list[Any] = []

    def log(model: torch.nn.Module, step: int, loss: float) -> None:
        if client is not None and not watching:
            watching.append(watch(model, every=100, client=client))

    train = perceptron(log, steps)

    def close() -> None:
        train()
        for its in watching:
            its.remove()

    return close


def lightning(steps: int, client: Client | None) -> Callable[[], object]:
    import lightning.pytorch as pl

    from streamvis.integrations.lightning import StreamvisLogger

    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)

    class Model(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.layers = torch.nn.Sequential(torch.nn.Linear(64, 128), torch.nn.ReLU(), torch.nn.Linear(128, 1))

        def training_step(self, batch: Any) -> torch.Tensor:
            loss = self.layers(batch[0]).square().mean()
            self.log("train/loss", loss)
            self.log("train/double", 2 * loss)
            return loss

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.parameters(), lr=0.01)

    data = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(torch.randn(64 * steps, 64)), batch_size=64)
    quiet = {"enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}
    logger = StreamvisLogger(client=client) if client is not None else False
    trainer = pl.Trainer(max_epochs=1, logger=logger, log_every_n_steps=1, accelerator="cpu", **quiet)
    return lambda: trainer.fit(Model(), data)


def transformers(steps: int, client: Client | None) -> Callable[[], object]:
    from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainingArguments
    from transformers.trainer_callback import PrinterCallback

    from streamvis.integrations.transformers import StreamvisCallback

    model = GPT2LMHeadModel(GPT2Config(vocab_size=16, n_positions=16, n_embd=16, n_layer=1, n_head=1))
    texts = [{"input_ids": torch.arange(8) % 7, "labels": torch.arange(8) % 7}] * (4 * steps)
    args = TrainingArguments(
        output_dir=tempfile.mkdtemp(),
        num_train_epochs=1,
        per_device_train_batch_size=4,
        logging_steps=1,
        save_strategy="no",
        report_to=[],
        use_cpu=True,
        disable_tqdm=True,
    )
    callbacks = [StreamvisCallback(client=client)] if client is not None else []
    trainer = Trainer(model, args, train_dataset=texts, callbacks=callbacks)
    trainer.remove_callback(PrinterCallback)
    return trainer.train


def accelerate(steps: int, client: Client | None) -> Callable[[], object]:
    from accelerate import Accelerator

    from streamvis.integrations.accelerate import StreamvisTracker

    accelerator = Accelerator(log_with=StreamvisTracker(client=client) if client is not None else None, cpu=True)
    accelerator.init_trackers("benchmark", config={"lr": 0.01})
    return perceptron(lambda model, step, loss: accelerator.log({"train/loss": loss, "lr": 0.01}, step=step), steps)


def keras(steps: int, client: Client | None) -> Callable[[], object]:
    import keras as its

    from streamvis.integrations.keras import StreamvisCallback

    model = its.Sequential([its.Input((64,)), its.layers.Dense(128, activation="relu"), its.layers.Dense(1)])
    model.compile("sgd", "mse")
    x, y = np.random.default_rng(0).random((64 * steps, 64)), np.zeros(64 * steps)
    callbacks = [StreamvisCallback(client=client)] if client is not None else []
    return lambda: model.fit(x, y, batch_size=64, epochs=1, verbose=0, callbacks=callbacks)


def stable_baselines3(steps: int, client: Client | None) -> Callable[[], object]:
    from stable_baselines3 import PPO

    from streamvis.integrations.stable_baselines3 import StreamvisCallback

    model = PPO("MlpPolicy", "CartPole-v1", n_steps=64, batch_size=64, n_epochs=1, device="cpu", seed=0)
    return lambda: model.learn(64 * steps, callback=StreamvisCallback(client=client) if client is not None else None)


def xgboost(steps: int, client: Client | None) -> Callable[[], object]:
    import xgboost as its

    from streamvis.integrations.xgboost import StreamvisCallback

    x = np.random.default_rng(1).random((500, 10))
    data = its.DMatrix(x, x[:, 0])
    callbacks = [StreamvisCallback(client=client)] if client is not None else []
    params = {"nthread": 1, "eval_metric": ["rmse", "mae"]}
    return lambda: its.train(params, data, steps, evals=[(data, "train")], verbose_eval=False, callbacks=callbacks)


def lightgbm(steps: int, client: Client | None) -> Callable[[], object]:
    import lightgbm as its

    from streamvis.integrations.lightgbm import StreamvisCallback

    x = np.random.default_rng(1).random((500, 10))
    data = its.Dataset(x, x[:, 0])
    callbacks = [StreamvisCallback(client=client)] if client is not None else []
    params = {"num_threads": 1, "metric": ["l1", "l2"], "verbose": -1, "objective": "regression"}
    return lambda: its.train(params, data, steps, valid_sets=[data], valid_names=["train"], callbacks=callbacks)


def optuna(steps: int, client: Client | None) -> Callable[[], object]:
    import optuna as its

    from streamvis.integrations.optuna import StreamvisCallback

    its.logging.set_verbosity(its.logging.ERROR)

    def objective(trial: Any) -> float:
        x = trial.suggest_float("x", -1, 1)
        for step in range(10):
            trial.report(x * step, step)
        return x * x

    callbacks = [StreamvisCallback("slowdown")] if client is not None else []
    return lambda: its.create_study().optimize(objective, n_trials=steps, callbacks=callbacks)


def ray(steps: int, client: Client | None) -> Callable[[], object]:
    """What the process of the tuner does with each result; the trials themselves are in other processes."""
    from ray.tune.experiment import Trial

    from streamvis.integrations.ray import StreamvisCallback

    callback, trial = StreamvisCallback("slowdown"), Trial("train", config={"x": 1}, stub=True)

    def train() -> None:
        if client is not None:
            callback.on_trial_start(0, [trial], trial)
        for i in range(steps):
            result = {"loss": 0.5 * i, "train/acc": i / 2, "time_total_s": 1.0 * i, "training_iteration": i, "done": False}
            if client is not None:
                callback.on_trial_result(i, [trial], trial, result)
        if client is not None:
            callback.on_trial_complete(steps, [trial], trial)

    return train


def log_lines(steps: int, client: Client | None) -> Callable[[], object]:
    logger = logging.getLogger("benchmark")
    logger.setLevel(logging.INFO)
    logger.propagate = False
    logger.handlers[:] = [logging.FileHandler(os.devnull), *([StreamvisHandler(client=client)] if client is not None else [])]
    return perceptron(lambda model, step, loss: logger.info("step %d: loss %f", step, loss), steps)


def loguru(steps: int, client: Client | None) -> Callable[[], object]:
    from loguru import logger

    logger.remove()
    logger.add(os.devnull)
    if client is not None:
        logger.add(StreamvisSink(client=client), format="{level} {message}")
    return perceptron(lambda model, step, loss: logger.info("step {}: loss {}", step, loss), steps)


def system(steps: int, client: Client | None) -> Callable[[], object]:
    train = perceptron(lambda model, step, loss: None, steps)

    def monitored() -> None:
        with SystemMonitor(client=client, every_s=0.1):
            train()

    return train if client is None else monitored


SIDES = [
    Side("streamvis.log", "4 scalars in one call", 1000, streamvis_log),
    Side("tensorboard", "4 calls of add_scalar", 1000, tensorboard),
    Side("(torch's SummaryWriter)", "4 calls of add_scalar", 1000, torch_writer),
    Side("watch", "norms and histograms, each 100th", 1000, watched),
    Side("lightning", "2 values logged", 250, lightning, "lightning"),
    Side("transformers", "logging_steps=1", 100, transformers, "transformers"),
    Side("accelerate", "2 values logged", 1000, accelerate, "accelerate"),
    Side("keras", "a batch", 250, keras, "keras"),
    Side("stable_baselines3", "a rollout of 64, 15 values", 15, stable_baselines3, "stable_baselines3"),
    Side("xgboost", "a round, 2 metrics", 250, xgboost, "xgboost-cpu"),
    Side("lightgbm", "a round, 2 metrics", 250, lightgbm, "lightgbm"),
    Side("optuna", "a trial of 10 reports, a run of its own", 20, optuna, "optuna"),
    Side("ray", "a result, in the tuner's process", 1000, ray, "ray"),
    Side("logging", "a line", 1000, log_lines),
    Side("loguru", "a line", 1000, loguru, "loguru"),
    Side("system", "none: a row each 0.1 s", 1000, system, "psutil"),
]


class Inside:
    """The processor time of this thread within the calls that log; a call within a call counts once."""

    def __init__(self) -> None:
        self.spent_s, self._thread, self._is_inside = 0.0, threading.get_ident(), False

    def count(self, owner: Any, *names: str) -> None:
        for name in names:
            setattr(owner, name, self._counted(getattr(owner, name)))

    def _counted(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*given: Any, **options: Any) -> Any:
            if self._is_inside or threading.get_ident() != self._thread:
                return call(*given, **options)
            self._is_inside, began = True, time.thread_time()
            try:
                return call(*given, **options)
            finally:
                self.spent_s, self._is_inside = self.spent_s + time.thread_time() - began, False

        return counted


def took(side: Side, inside: Inside, *, sends: bool) -> Took:
    with sending(side.name) if sends else nothing() as client:
        train = side.train(side.steps, client)
        began, worked, inside.spent_s = time.perf_counter(), time.thread_time(), 0.0
        train()
        spent = time.perf_counter() - began, time.thread_time() - worked, inside.spent_s
        return tuple(seconds / side.steps * 1e6 for seconds in spent)


@contextmanager
def sending(name: str) -> Iterator[Client]:
    with streamvis.run("slowdown", name=name) as run:
        yield run.client


@contextmanager
def nothing() -> Iterator[None]:
    yield None


@contextmanager
def endpoint() -> Iterator[None]:
    with tempfile.TemporaryDirectory() as scratch:
        command = [sys.executable, "-m", "streamvis.cli", "rest", "--port", "0", "--data", f"{scratch}/data"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        try:
            ready = next(filter(None, (re.search(r"ready at (http\S+:\d+)", line) for line in process.stdout)))
            os.environ["STREAMVIS_URL"], os.environ["STREAMVIS_SPOOL"] = ready[1], f"{scratch}/spool"
            yield
        finally:
            process.terminate()
            process.wait()


def version_of(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def told(side: Side, rounds: int, inside: Inside) -> str:
    """A line of the table."""
    found: dict[bool, list[Took]] = {False: [], True: []}
    for number in range(rounds + 1):
        for sends in (False, True):
            one = took(side, inside, sends=sends)
            if number:  # the first round warms up
                found[sends].append(one)
    plain, logged = (statistics.median(one[0] for one in found[sends]) for sends in (False, True))
    _, worked, ours = map(min, zip(*found[True], strict=True))
    name = f"{side.name} {version_of(side.package)}" if side.package not in ("torch", "psutil") else side.name
    return f"| {name} | {side.step} | {plain:,.0f} | {logged:,.0f} | {worked:,.0f} | {ours:,.0f} | {100 * ours / worked:.1f} % |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default="", help="names of integrations, with commas between")
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    chosen = [side for side in SIDES if not given.only or side.name in given.only.split(",")]
    print(f"Python {platform.python_version()}, torch {torch.__version__}, load {os.getloadavg()[0]:.1f}; microseconds a step")
    print("| integration | a step | without | with | the thread's processor time | of that in the logger's code | |")
    print("|---|---|---|---|---|---|---|")
    inside = Inside()
    inside.count(Sending, "begin", "log", "send_rows", "send_value", "end")
    inside.count(Watch, "_look")
    inside.count(ActiveRun, "log")
    inside.count(TorchWriter, "add_scalar")
    with endpoint():
        for side in chosen:
            if version_of(side.package) is None:
                print(f"{side.name} is left out: {side.package} is not installed", file=sys.stderr)
                continue
            print(told(side, given.rounds, inside), flush=True)
    print(f"load {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
