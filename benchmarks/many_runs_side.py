"""Makes many runs with one library, in an environment of its own, then serves its page: see `many_runs`.

    python many_runs_side.py LIBRARY FOLDER RUNS [URL]

LIBRARY is `streamvis` (which sends to the endpoint at URL), `tensorboard` or `trackio`. Prints how many seconds it took to make
the runs; all but Streamvis then print the address of their page, and serve it until they are ended.
"""

from __future__ import annotations

import json
import os
import random
import socket
import subprocess
import sys
import time
from pathlib import Path
from urllib.request import urlopen

ROWS = 100


def config_of(number: int) -> dict:
    """The config of a run."""
    return {"lr": [0.1, 0.03, 0.01][number % 3], "seed": number, "model": "mlp", "depth": number % 5}


def rows_of(number: int) -> list[dict]:
    """The rows of a run, each of four columns."""
    chance = random.Random(number)
    return [{"loss": 1 / (1 + step) + chance.random() / 10, **{name: chance.random() for name in "abc"}} for step in range(ROWS)]


def name_of(number: int) -> str:
    """The name of a run."""
    return f"run-{number:05}"


def streamvis(folder: Path, runs: int, url: str) -> None:
    """One client after the other, as one training after the other makes them."""
    from streamvis import Client

    for number in range(runs):
        with Client(url, "bench") as client:
            client.init(config_of(number), name=name_of(number))
            for step, row in enumerate(rows_of(number)):
                client.sendl(step, "train", row)


def tensorboard(folder: Path, runs: int, url: str) -> None:
    """A folder of event files for each run, its config as hyperparameters in a text."""
    from tensorboardX import SummaryWriter

    for number in range(runs):
        writer = SummaryWriter(str(folder / name_of(number)), flush_secs=600)
        writer.add_text("config", repr(config_of(number)))
        for step, row in enumerate(rows_of(number)):
            for name, value in row.items():
                writer.add_scalar(name, value, step)
        writer.close()


def trackio(folder: Path, runs: int, url: str) -> None:
    """One run after the other into its local store, without measuring the processor."""
    os.environ["TRACKIO_DIR"] = str(folder)
    import trackio as library

    for number in range(runs):
        library.init(project="bench", name=name_of(number), config=config_of(number), auto_log_gpu=False, auto_log_cpu=False)
        for step, row in enumerate(rows_of(number)):
            library.log(row, step=step)
        library.finish()


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def serve(library: str, folder: Path, runs: int) -> tuple[subprocess.Popen, str]:
    """Start the library's server, and print the address of its page, which is returned too, once it knows all runs."""
    port = free_port()
    if library == "tensorboard":
        command = [sys.executable, "-m", "tensorboard.main", "--logdir", str(folder), "--port", str(port)]
        address = f"http://127.0.0.1:{port}/#timeseries"
    else:
        program = f"import trackio; trackio.show(project='bench', open_browser=False, block_thread=True, server_port={port})"
        command = [sys.executable, "-c", program]
        address = f"http://127.0.0.1:{port}/?project=bench"
    environment = os.environ | {"TRACKIO_DIR": str(folder), "GRADIO_ANALYTICS_ENABLED": "False"}
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment)
    while library == "tensorboard" and runs_known(port) < runs:
        time.sleep(0.5)
    print(server.pid, address, flush=True)
    return server, address


def runs_known(port: int) -> int:
    """How many runs TensorBoard has found so far."""
    try:
        return len(json.load(urlopen(f"http://127.0.0.1:{port}/data/runs")))
    except OSError:
        return 0


def main() -> None:
    """Make the runs, and serve them."""
    library, folder, runs = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    said, sys.stdout = sys.stdout, open(os.devnull, "w")  # libraries write there too
    began = time.perf_counter()
    {"streamvis": streamvis, "tensorboard": tensorboard, "trackio": trackio}[library](folder, runs, *(sys.argv[4:] or [""]))
    sys.stdout = said
    print(time.perf_counter() - began, flush=True)
    if library != "streamvis":
        server, _ = serve(library, folder, runs)
        try:
            server.wait()
        finally:
            server.terminate()


if __name__ == "__main__":
    main()
