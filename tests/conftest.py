"""What every test gets: the harness's fixtures, a home of its own, and hypothesis' profile."""

import gc
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from support import warm

pytest_plugins = [
    "support.browser",
    "support.postgresql",
    "support.pgbouncer",
    "support.processes",
    "support.proxies",
    "support.scripts",
    "support.stores",
]

# On a busy machine a slow example says nothing about the code: no deadline for one example.
settings.register_profile("ci", max_examples=25, deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("thorough", settings.get_profile("ci"), max_examples=1000)
settings.load_profile(os.environ.get("STREAMVIS_HYPOTHESIS_PROFILE", "ci"))

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # As a shell leaves it for what it starts in the background: the programs that tests start would ignore Ctrl-C too.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("numprocesses", None) and sys.platform == "linux":
        warm.share()  # with the processes that are about to start


def pytest_sessionstart(session: pytest.Session) -> None:
    """Each worker rewrites the asserts of its share of the files, and finds those of the others done when it collects them.

    Each would rewrite those of all files otherwise. In a version of pytest without these private parts, each does.
    """
    worker = getattr(session.config, "workerinput", None)
    if worker is None:
        return
    with suppress(ImportError, AttributeError, KeyError, TypeError, SyntaxError):
        from _pytest.assertion import rewrite

        state, first = session.config.stash[rewrite.assertstate_key], int(worker["workerid"].removeprefix("gw"))
        for path in sorted(Path(__file__).parent.rglob("test_*.py"))[first :: worker["workercount"]]:
            folder = rewrite.get_cache_dir(path)
            cached = folder / f"{path.stem}{rewrite.PYC_TAIL}"
            if rewrite.try_makedirs(folder) and rewrite._read_pyc(path, cached) is None:
                about, code = rewrite._rewrite_test(path, session.config)
                rewrite._write_pyc(state, code, about, cached)


def pytest_collection_finish() -> None:
    """What was imported and collected stays: the garbage collector need not look at it, and seldom at what tests make."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 20, 20)


_USER_FOLDERS = ("XDG_DATA_HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_RUNTIME_DIR")


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Spools, stores and settings go to the test's own folder, never to the person's who runs the tests."""
    for name in list(os.environ):
        if name.startswith("STREAMVIS_"):
            monkeypatch.delenv(name)
    home = tmp_path / "home"
    for name in _USER_FOLDERS:
        folder = home / name.lower()
        folder.mkdir(parents=True, mode=0o700)
        monkeypatch.setenv(name, str(folder))
    return home
