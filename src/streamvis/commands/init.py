"""`streamvis init`: creates a page and a producer to start from, or a copy of a page that is included in Streamvis."""

from __future__ import annotations

import json
import re
import shlex
from importlib.resources import files
from pathlib import Path

import click

from streamvis.errors import UsageError

__all__ = ["init"]

_SOURCES = {
    "start": {"page.py": "pages/start.py", "producer.py": "pages/start_producer.py"},
    "runs": {"page.py": "pages/runs.py"},
    "demo": {"page.py": "demo/page.py", "producer.py": "demo/train.py"},
}
_APP = re.compile(r'^app = ".*"', re.MULTILINE)
_AFTER_IMPORTS = re.compile(r"^(?:from|import) .*\n(?=\n)", re.MULTILINE)


@click.command()
@click.argument("name", default="my-page")
@click.option("--from", "source", type=click.Choice(list(_SOURCES)), default="start", show_default=True, help="What to copy.")
@click.option("--app", help="App that the page shows. [default: NAME]")
def init(name: str, source: str, app: str | None) -> None:
    """Create a page and its producer in the folder NAME, as a starting point.

    \b
    - start: a page of panels, and a producer with a loop
    - runs: the page that shows any run
    - demo: the page and the training of `streamvis demo`
    """
    folder = Path(name)
    app = app or folder.name
    written = {folder / file: _text(path, app) for file, path in _SOURCES[source].items()}
    there = [str(path) for path in written if path.exists()]
    if there:
        raise UsageError(f"{there[0]} exists already. Use another NAME: streamvis init NAME")
    folder.mkdir(parents=True, exist_ok=True)
    for path, text in written.items():
        path.write_text(text, encoding="utf-8")
        click.echo(f"Wrote {path}")
    page, producer = (shlex.quote(str(folder / name)) for name in ("page.py", "producer.py"))
    click.echo(f"Watch it:  streamvis serve {page}")
    if "producer.py" in _SOURCES[source]:
        click.echo(f"Send to it: python {producer}")


def _text(path: str, app: str) -> str:
    """A file of the package, with the app's name in it."""
    text = files("streamvis").joinpath(path).read_text(encoding="utf-8")
    line = f"app = {json.dumps(app, ensure_ascii=False)}"
    if path.endswith("producer.py"):
        return text.replace('APP = "start"', f"APP = {json.dumps(app, ensure_ascii=False)}")
    if _APP.search(text):
        return _APP.sub(lambda _: line, text, count=1)
    last = list(_AFTER_IMPORTS.finditer(text))[-1]
    return f"{text[: last.end()]}\n{line}\n{text[last.end() :]}"
