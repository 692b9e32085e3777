"""Makes one run with one library, in an environment of its own, then serves its page: see `runs_page`.

    python runs_page_side.py LIBRARY FOLDER ROWS COLUMNS [URL]

LIBRARY is `streamvis` (which sends to the endpoint at URL), `tensorboard` or `trackio`. All but Streamvis print the process and
the address of their page, then "read" once that knows all of the run, and serve it until they are ended.
"""

from __future__ import annotations

import json
import math
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode
from urllib.request import urlopen

from many_runs_side import serve


def rows_of(rows: int, columns: int) -> Iterator[tuple[int, dict[str, float]]]:
    """The steps of the run, each with a number for each column; fifty columns have one beginning."""
    names = [f"block{i // 50}/layer{i}" for i in range(columns)]
    for step in range(rows):
        yield step, {name: math.sin(step / (rows / 20) + i) + (step * 7919 + i) % 101 / 500 for i, name in enumerate(names)}


def streamvis(folder: Path, rows: int, columns: int, url: str) -> None:
    """All columns under one key."""
    from streamvis import Client

    with Client(url, "bench") as client:
        client.init({"columns": columns})
        for step, row in rows_of(rows, columns):
            client.sendl(step, "layers", row)
        client.flush(timeout_s=600)


def tensorboard(folder: Path, rows: int, columns: int, url: str) -> None:
    """One event for each step, with all of its scalars: `add_scalar` would take most of an hour for two million."""
    from tensorboardX import SummaryWriter
    from tensorboardX.proto.summary_pb2 import Summary

    writer = SummaryWriter(str(folder / "run"), flush_secs=600)
    for step, row in rows_of(rows, columns):
        scalars = [Summary.Value(tag=name, simple_value=value) for name, value in row.items()]
        writer.file_writer.add_summary(Summary(value=scalars), step)
    writer.close()


def trackio(folder: Path, rows: int, columns: int, url: str) -> None:
    """One call for each step, without measuring the processor."""
    os.environ["TRACKIO_DIR"] = str(folder)
    import trackio as library

    library.init(project="bench", name="run", config={"columns": columns}, auto_log_gpu=False, auto_log_cpu=False)
    for step, row in rows_of(rows, columns):
        library.log(row, step=step)
    library.finish()


def wait_until_read(address: str, last: int) -> None:
    """Wait until TensorBoard has read the run up to its last step."""
    ask = f"{address}data/plugin/scalars/scalars?{urlencode({'run': 'run', 'tag': 'block0/layer0'})}"
    while True:
        try:
            if json.load(urlopen(ask))[-1][1] == last:
                return
        except OSError:
            pass  # the tag is not there yet
        time.sleep(0.5)


def main() -> None:
    """Make the run, and serve it."""
    library, folder, rows, columns = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    # Some libraries say what they do on the standard output, which is for what is measured.
    said, sys.stdout = sys.stdout, sys.stderr
    make = {"streamvis": streamvis, "tensorboard": tensorboard, "trackio": trackio}[library]
    make(folder, rows, columns, *(sys.argv[5:] or [""]))
    sys.stdout = said
    if library != "streamvis":
        server, address = serve(library, folder, 1)
        try:
            if library == "tensorboard":
                wait_until_read(address.partition("#")[0], rows - 1)
            print("read", flush=True)
            server.wait()
        finally:
            server.terminate()


if __name__ == "__main__":
    main()
