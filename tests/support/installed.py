"""Tries an installed Streamvis: `python installed.py` starts `streamvis serve`, sends a run, reads it back and opens its page.

`make package` runs it where nothing but the built package and what it needs is installed. Raises where anything fails.
"""

from __future__ import annotations

import importlib.metadata
import platform
import re
import signal
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path

import streamvis
from streamvis import Client

READY = {"rest": r"endpoint ready at (http\S+)", "page": r"Open (http\S+) in a browser"}


def main() -> None:
    assert "site-packages" in streamvis.__file__, f"not the installed one: {streamvis.__file__}"
    program = Path(sys.executable).with_name("streamvis")
    with tempfile.TemporaryDirectory() as folder:
        command = [program, "serve", "--no-browser", "--port", "0", "--rest-port", "0", "--data", folder]
        server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        try:
            said = ""
            while len(found := {name: told for name, line in READY.items() if (told := re.search(line, said))}) < len(READY):
                line = server.stdout.readline()
                assert line, f"it ended: {said}"
                said += line
            try_out(found["rest"][1], found["page"][1])
        finally:
            server.send_signal(signal.SIGINT)
            assert server.wait(30) == 0
    versions = {name: importlib.metadata.version(name) for name in ("streamvis", "bokeh", "numpy", "pyarrow")}
    print(f"Python {platform.python_version()} works with {versions}")


def try_out(rest: str, page: str) -> None:
    with Client(rest, "installed") as client:
        client.init({"lr": 0.1})
        for step in range(100):
            client.sendl(step, "train", {"loss": 1 / (step + 1)})
        client.send(99, "weights", {"matrix": [[1.0, 2.0]]})
    with streamvis.open(rest) as reader:
        (run,) = reader.runs("installed")
        assert run.state == "finished" and run.rows("train")["loss"].to_pylist() == [1 / (step + 1) for step in range(100)]
        assert run.value("weights")["matrix"] == [[1.0, 2.0]]
    for address in (page, page.replace("/runs", "/view/runs")):
        with urllib.request.urlopen(address) as answer:
            assert answer.status == 200 and "<html" in answer.read().decode().lower()


if __name__ == "__main__":
    main()
