"""Which module may know which: the direction of imports, and what importing the client must not bring along."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PUBLIC = {"Client", "NewData", "Server", "StreamvisError", "band_source", "live_source", "log", "open", "panels", "run"}
PACKAGE = Path(__file__).parents[2] / "src" / "streamvis"

# A module imports only from those before it. The last are the integrations, which no module of ours imports.
ORDER = (
    "errors protocol records palette naming counting filters selection descriptions alerts series pace addresses open_files "
    "thread_frames log_lines pictures metrics wire transport notebook client reading store endpoint opening page panels shell "
    "snapshot testing_run testing commands cli pytest_plugin integrations"
).split()
# These do not import from each other, but for the pairs below.
SIDES = {"client", "reading", "store", "endpoint", "page"}
ALLOWED_BETWEEN_SIDES = {("endpoint", "store")}
# Examples, which people copy: they import what people can, `from streamvis import ...`, and nothing from inside.
EXAMPLES = {"demo", "pages"}

# What only these modules may import of the larger packages, whether at once or later.
OWNERS = {
    "bokeh": {"page", "panels", "snapshot", *EXAMPLES},
    "tornado": {"page", "shell"},
    "fastapi": {"endpoint"},
    "starlette": {"endpoint"},
    "uvicorn": {"endpoint", "cli"},
    "sqlite3": {"store", "reading"},  # reading: the databases of other programs
    "psycopg": {"store"},
    "psycopg_pool": {"store"},
    "watchfiles": {"page"},
    "pytest": {"pytest_plugin"},
}
NOT_WITH_THE_CLIENT = {"bokeh", "tornado", "fastapi", "starlette", "uvicorn", "sqlite3", "psycopg", "pyarrow", "torch", "jax"}


def imports_of(path: Path, package: Path = PACKAGE) -> list[tuple[int, str]]:
    """Each import in a file, as (line, full dotted name); `from a import b` gives `a.b`. Also those inside functions."""
    parts = ["streamvis", *path.relative_to(package).with_suffix("").parts]
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = parts[: -node.level] if node.level else []
            base = [*base, *([node.module] if node.module else [])]
            found += [(node.lineno, ".".join([*base, alias.name])) for alias in node.names]
    return found


def fault_of(importer: str, imported: str) -> str | None:
    """Why the module `importer` may not import the dotted name `imported`; None when it may."""
    top, _, inside = imported.partition(".")
    if top != "streamvis":
        owners = OWNERS.get(top)
        return f"only {' and '.join(sorted(owners))} may import {top}" if owners and importer not in owners else None
    name = inside.partition(".")[0]
    if name == importer:
        return None
    if importer in EXAMPLES:
        return None if name in ("", *PUBLIC) else "an example imports only public names, from streamvis itself"
    if name in EXAMPLES:
        return None if importer == "cli" else "only cli may import the examples"
    if name not in ORDER:
        return "import from the module that defines it: the public names are for users"
    if ORDER.index(name) > ORDER.index(importer):
        return f"{name} stands after {importer}"
    if {name, importer} <= SIDES and (importer, name) not in ALLOWED_BETWEEN_SIDES:
        return f"{importer} and {name} do not know each other"
    return None


def source_files() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def module_of(path: Path) -> str:
    """The module of ORDER that a file belongs to: `wire` for wire.py, and for wire/arrow.py."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def test_every_module_has_its_place_in_the_order():
    known = {*ORDER, *EXAMPLES, "__init__", "__main__"}
    strangers = {module_of(path) for path in source_files()} - known
    assert not strangers, f"give these a place in DESIGN's list of modules and in ORDER: {sorted(strangers)}"


def test_imports_go_one_way():
    faults = [
        f"{path.relative_to(PACKAGE)}:{line} imports {imported}: {fault}"
        for path in source_files()
        if module_of(path) in {*ORDER, *EXAMPLES}
        for line, imported in imports_of(path)
        if (fault := fault_of(module_of(path), imported))
    ]
    assert not faults, "\n".join(faults)


def test_modules_do_not_import_each_other_in_a_circle():
    files = {".".join(("streamvis", *path.relative_to(PACKAGE).with_suffix("").parts)): path for path in source_files()}
    waiting: dict[str, set[str]] = {}
    for name, path in files.items():
        waiting[name] = set()
        for _, found in imports_of(path):
            package = found.rpartition(".")[0]
            its = next((one for one in (found, package, f"{package}.__init__") if one in files), name)
            waiting[name] |= {its} - {name, "streamvis.__init__"}
    while free := [name for name, needs in waiting.items() if not needs]:
        waiting = {name: needs.difference(free) for name, needs in waiting.items() if name not in free}
    assert not waiting, f"a circle is among: {', '.join(sorted(waiting))}"


@pytest.mark.parametrize(
    ("importer", "imported"),
    [
        ("errors", "streamvis.records.Record"),
        ("wire", "streamvis.client"),
        ("client", "streamvis.store.Store"),
        ("store", "streamvis.endpoint.routes"),
        ("endpoint", "streamvis.page.feeds.feed"),
        ("page", "streamvis.client.Client"),
        ("page", "streamvis.Client"),
        ("demo", "streamvis.client.Client"),
        ("client", "streamvis.demo"),
        ("client", "bokeh.models.ColumnDataSource"),
        ("wire", "sqlite3"),
    ],
)
def test_a_wrong_import_is_seen(importer, imported):
    assert fault_of(importer, imported)


@pytest.mark.parametrize(
    ("importer", "imported"),
    [
        ("records", "streamvis.errors.StreamvisError"),
        ("client", "streamvis.client.outbox.Outbox"),
        ("endpoint", "streamvis.store.Store"),
        ("cli", "streamvis.page.Server"),
        ("demo", "streamvis.Client"),
        ("demo", "streamvis"),
        ("page", "bokeh.models.ColumnDataSource"),
        ("client", "numpy"),
    ],
)
def test_a_right_import_is_allowed(importer, imported):
    assert fault_of(importer, imported) is None


def test_every_way_to_write_an_import_is_read(tmp_path):
    source = "import a.b\nfrom . import c\nfrom ..wire import d\ndef f():\n    from streamvis.store import e\n"
    path = tmp_path / "client" / "outbox.py"
    path.parent.mkdir()
    path.write_text(source)
    assert sorted(imports_of(path, tmp_path)) == [
        (1, "a.b"),
        (2, "streamvis.client.c"),
        (3, "streamvis.wire.d"),
        (5, "streamvis.store.e"),
    ]


def test_importing_the_client_imports_nothing_heavy():
    program = f"import sys; from streamvis import Client; print(*({NOT_WITH_THE_CLIENT!r} & sys.modules.keys()))"
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert said.returncode == 0, said.stderr
    assert said.stdout.split() == [], f"`from streamvis import Client` also imported {said.stdout}"
