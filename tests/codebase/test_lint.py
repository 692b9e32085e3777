"""The rules of ruff, as `make lint` checks them. Types take longer: `make lint` alone checks those."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("command", [("check", "--output-format=concise"), ("format", "--check")])
def test_ruff_finds_nothing(command: tuple[str, str]):
    ruff = [sys.executable, "-m", "ruff", *command, "--no-cache", "."]
    checked = subprocess.run(ruff, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_users_get_the_types_of_the_package():
    assert (ROOT / "src" / "streamvis" / "py.typed").is_file()
