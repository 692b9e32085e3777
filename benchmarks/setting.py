"""What all benchmarks share: peers in environments of their own, an endpoint of our own, a browser, how figures are printed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
from playwright.sync_api import Browser, Playwright

CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "streamvis-bench"
INSTALL_LIMIT_S = 600
# The first shows no pages of its own beside ours.
BROWSERS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
QUIET = (
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)


def chromium(playwright: Playwright) -> Browser:
    """The system's Chromium, started. Raises RuntimeError where there is none."""
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        raise RuntimeError("There is no Chromium to measure pages with. Install it: sudo apt-get install chromium")
    sandbox = ["--no-sandbox"] if os.getuid() == 0 else []
    return playwright.chromium.launch(executable_path=path, args=[*QUIET, *sandbox])


def installed(peer: str, packages: list[str]) -> tuple[str, str] | None:
    """The interpreter of a peer's environment, and the peer's version; None when it cannot be installed."""
    folder, wanted = CACHE / packages[0], " ".join(packages)
    python, stamp = folder / "bin" / "python", folder / "installed.txt"
    ask = [str(python), "-c", f"from importlib.metadata import version; print(version({packages[0]!r}))"]
    try:
        if not stamp.exists() or stamp.read_text() != wanted:
            print(f"installing {wanted} into {folder} ...", flush=True)
            subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True, timeout=INSTALL_LIMIT_S)
            install = [str(python), "-m", "pip", "--disable-pip-version-check", "install", "-q", *packages, "numpy"]
            subprocess.run(install, check=True, timeout=INSTALL_LIMIT_S)
            stamp.write_text(wanted)
        return str(python), subprocess.run(ask, capture_output=True, check=True, text=True).stdout.strip()
    except (OSError, subprocess.SubprocessError) as error:
        print(f"{peer} is left out: {error}", flush=True)
        return None


class Endpoint:
    """An endpoint of our own, with a folder of its own; started with the options `arguments`."""

    def __init__(self, *arguments: str) -> None:
        self.folder = tempfile.TemporaryDirectory(prefix="streamvis-bench-")
        command = [sys.executable, "-m", "streamvis.cli", "rest", "--port", "0", "--data", self.folder.name, *arguments]
        self.process = psutil.Popen(command, stdout=subprocess.PIPE, text=True)
        self.url = self.process.stdout.readline().split()[-1]

    def wait_until_idle(self) -> float:
        """Wait until nothing is merged any more; how many seconds of the processor it took since it began."""
        before, quiet = -1.0, 0
        while quiet < 4:
            time.sleep(1)
            used = sum(self.process.cpu_times()[:2])
            quiet = quiet + 1 if used - before < 0.05 else 0
            before = used
        return before

    def size_bytes(self) -> int:
        """What its files take."""
        return folder_bytes(Path(self.folder.name))

    def stop(self) -> None:
        """End it; its files are checkpointed by that."""
        self.process.terminate()
        self.process.wait(20)


def folder_bytes(folder: Path) -> int:
    """What the files in a folder take, those of locks and caches of models not counted."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def number(value: float) -> str:
    """Three digits that count."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
