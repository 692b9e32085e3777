"""The names that users may rely on. Changing this list changes what Streamvis promises."""

import subprocess
import sys

import streamvis

PUBLIC = ["Client", "NewData", "Server", "StreamvisError", "band_source", "live_source", "open", "panels"]


def test_the_public_names_are_these_and_no_others():
    assert streamvis.__all__ == PUBLIC
    assert sorted(PUBLIC) == PUBLIC


def test_each_public_name_is_there_also_in_a_fresh_interpreter():
    for name in PUBLIC:
        program = f"from streamvis import {name}; print(getattr({name}, '__module__', {name}.__name__))"
        said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
        assert said.returncode == 0, said.stderr
        assert said.stdout.startswith("streamvis")


def test_dir_shows_the_public_names():
    assert set(PUBLIC) <= set(dir(streamvis))
