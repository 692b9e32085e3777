"""What no file of the repository may hold, and what no test may do."""

import ast
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# Written in parts, so that this file does not hold what it looks for.
UNWANTED = {
    "the address of a package registry": r"pypi\.(?:org|python)|python" r"hosted\.org|registry\.(?:npmjs|yarnpkg)|deb\.debian",
    "an option that names a package index": r"--(?:extra-)?index" r"-url|--find" r"-links|\b(?:PIP|UV)_\w*INDEX" r"_",
    "a path of one machine": r"(?<![\w.~-])/(?:work|root|home|Users|workspace|opt/pypi[\w-]*)" r"/[\w.]",
}
LOCK_FILES = re.compile(r".*\.lock|package-lock\.json|npm-shrinkwrap\.json|pnpm-lock\.yaml|Pipfile\.lock", re.IGNORECASE)


def files() -> list[Path]:
    """The files that are tracked, and those that would be with the next `git add`."""
    listed = subprocess.run(
        ["git", "-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    found = [ROOT / name for name in listed.stdout.split("\0") if name]
    assert found, "git lists no file"
    return [path for path in found if path.is_file()]


def texts() -> list[tuple[Path, str]]:
    found = []
    for path in files():
        content = path.read_bytes()
        if b"\0" not in content:
            found.append((path, content.decode(errors="replace")))
    return found


def test_no_file_names_a_registry_or_a_path_of_one_machine():
    faults = [
        f"{path.relative_to(ROOT)}:{text[: match.start()].count(chr(10)) + 1} holds {what}: {match[0]}"
        for path, text in texts()
        for what, pattern in UNWANTED.items()
        for match in re.finditer(pattern, text)
    ]
    assert not faults, "\n".join(faults)


@pytest.mark.parametrize(
    "parts",  # of a line, so that this file does not hold it
    [
        "https://py{}pi.org/simple",
        "pip install --index{}-url x",
        'open("/ro{}ot/.cache")',
        "/ho{}me/me/data",
        "file:///wo{}rk/main",
    ],
)
def test_what_is_unwanted_is_seen(parts: str):
    assert any(re.search(pattern, parts.replace("{}", "")) for pattern in UNWANTED.values())


@pytest.mark.parametrize("line", ["docs/work/notes", "~/home/x", "GET /roots", "http://localhost:8080/work/1", "./home/x"])
def test_what_looks_alike_is_not(line):
    assert not any(re.search(pattern, line) for pattern in UNWANTED.values())


def test_no_lock_file_is_kept():
    assert [str(path.relative_to(ROOT)) for path in files() if LOCK_FILES.fullmatch(path.name)] == []


def test_constraints_are_exact_and_name_each_package_once():
    texts = [(ROOT / name).read_text() for name in ("constraints.txt", "constraints-integrations.txt")]
    lines = [line for text in texts for line in text.splitlines() if not line.startswith("#")]
    assert [line for line in lines if not re.fullmatch(r"[\w.-]+==[\w.]+(?:; \w+ [=<>!]+ '[\w.]+')?", line)] == []
    names = [re.split("==", line)[0].lower().replace("_", "-") for line in lines]
    assert len(names) == len(set(names))


def sleeps_in(source: str) -> list[int]:
    """The lines on which a program asks for a sleep, or imports one."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute) and node.attr == "sleep":
            found.append(node.lineno)
        elif isinstance(node, ast.ImportFrom) and any(alias.name == "sleep" for alias in node.names):
            found.append(node.lineno)
    return found


def test_no_test_sleeps():
    faults = [
        f"{path.relative_to(ROOT)}:{line}: wait for a condition instead, with support.conditions.wait_until"
        for path in sorted((ROOT / "tests").rglob("*.py"))
        for line in sleeps_in(path.read_text())
    ]
    assert not faults, "\n".join(faults)


@pytest.mark.parametrize("source", ["time.sleep(1)", "async def f():\n    await asyncio.sleep(0)", "from time import sleep"])
def test_a_sleep_is_seen(source):
    assert sleeps_in(source)
