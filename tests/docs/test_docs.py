"""Every code block of the README and the docs runs, as a reader would run it.

The blocks of one document run in order, in one folder, with one endpoint in place of http://localhost:8080. A comment above a
block says what to do with it:

    <!-- file: NAME -->             save it as NAME; a page script is then opened in a browser, while
                                    a small producer of ours sends
    <!-- file: NAME after OTHER --> a script for `bokeh serve`, which uses OTHER
    <!-- serves: PAGE -->           run it, with ports of its own; the page PAGE of it shows growing data
    <!-- make -->                   each line is a target of the Makefile that make can plan
    <!-- quickstart -->             the quickstart, whose files in examples/quickstart tests/browser/test_live_pages.py runs
    <!-- not run: WHY -->           for what cannot end by itself and is run elsewhere

A block without a comment is Python to execute (in one namespace per document), or bash to run.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from streamvis import Client
from support.browser import Tab

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"(?:<!-- (?P<what>[^>]*?) -->\n)?```(?P<language>\w+)\n(?P<text>.*?)```", re.DOTALL)
LIMIT_S = 90


@dataclass(frozen=True)
class Block:
    """A code block, and the comment above it."""

    language: str
    text: str
    what: str


def blocks(document: Path) -> list[Block]:
    return [Block(found["language"], found["text"], found["what"] or "") for found in BLOCK.finditer(document.read_text())]


def send_something(url: str) -> None:
    """What the smallest page of the docs shows: rows of `main_plot`."""
    with Client(url, "demo") as client:
        client.init({"ycolumns": ["y1", "y2"]})
        for step in range(50):
            client.sendl(step, "main_plot", {"x": step, "y1": step / 2, "y2": -step})


class Reader:
    """Runs the blocks of one document in a folder of its own."""

    def __init__(self, folder: Path, endpoint, start_pages, start_service, open_page) -> None:
        self.folder, self.endpoint = folder, endpoint
        self.start_pages, self.start_service, self.open_page = start_pages, start_service, open_page
        self.names: dict[str, object] = {"__name__": "docs"}
        self.tab: Tab | None = None
        binaries = Path(sys.executable).parent
        # Of all plugins of pytest that the tests need installed, this one takes three seconds to import.
        self.env = {**os.environ, "PATH": f"{binaries}{os.pathsep}{os.environ['PATH']}", "PYTEST_ADDOPTS": "-pno:schemathesis"}

    def run(self, block: Block) -> None:
        what, _, rest = block.what.partition(": ")
        if what == "file":
            self.save(block, *rest.split(" after "))
        elif what == "serves":
            self.serve(block, rest)
        elif what == "make":
            targets = re.findall(r"^make (\w+)", block.text, re.MULTILINE)
            assert targets
            subprocess.run(["make", "-n", *targets], cwd=ROOT, check=True, capture_output=True)
        elif what == "quickstart":
            assert "bokeh serve my-app-server.py --args $REST_HOST $REST_PORT $APP_NAME &" in block.text
        elif what == "not run":
            assert rest, "say why"
        elif block.language == "python":
            exec(compile(self.here(block.text), "a code block", "exec"), self.names)
        elif block.language == "bash":
            self.bash(self.here(block.text))
        else:
            assert block.language in ("text", "json"), f"nobody runs blocks of {block.language}"

    def here(self, text: str) -> str:
        return text.replace("http://localhost:8080", self.endpoint.url)

    def bash(self, text: str) -> str:
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", text],
            cwd=self.folder,
            env=self.env,
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
        )
        assert done.returncode == 0, f"{text}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def save(self, block: Block, name: str, needs: str | None = None) -> None:
        path = self.folder / name
        path.write_text(self.here(block.text))
        if needs:
            ready = r"Bokeh app running at: (?P<url>http://localhost:(?P<port>\d+))/\S+"
            command = [sys.executable, "-m", "bokeh", "serve", name]
            service = self.start_service(command, ready=ready, cwd=self.folder, is_warm=True)
            self.expect_growth(f"{service.url}/{path.stem}")
        elif "def update_page" in block.text:
            pages = self.start_pages(path, url=self.endpoint.url)
            self.expect_growth(f"{pages.url}/{path.stem}")

    def expect_growth(self, address: str) -> None:
        send_something(self.endpoint.url)
        self.show(address).wait_for_source("main_plot", lambda columns: len(columns.get("x", [])) >= 50)

    def show(self, address: str) -> Tab:
        """The reader's browser, which shows this page now."""
        self.tab = self.tab or self.open_page("about:blank")
        self.tab.page.goto(address)
        return self.tab

    def serve(self, block: Block, page: str) -> None:
        """Run a block of `streamvis serve PAGE &` and a producer, on ports of their own."""
        start, producer = (line for line in block.text.strip().splitlines() if not line.startswith("#"))
        words = start.removesuffix("&").split()
        assert words[:2] == ["streamvis", "serve"]
        options = ["--no-browser", "--data", str(self.folder / "served"), "--rest-port", "0"]
        ready = r"Open (?P<url>http://\S+:(?P<port>\d+))/\S+ in a browser"
        command = [sys.executable, "-m", "streamvis.cli", *words[1:], *options]
        served = self.start_service(command, ready=ready, cwd=self.folder, is_warm=True)
        url = served.wait_for_line(r"Producers send to (\S+)\.").group(1)
        script = self.folder / producer.split()[1]
        script.write_text(script.read_text().replace(self.endpoint.url, url))
        self.bash(producer)
        tab = self.show(f"{served.url}/{Path(page).stem}")
        tab.wait_for_source("main_plot", lambda columns: len(columns.get("x", [])) == 300)


@pytest.mark.browser
@pytest.mark.timeout(240)
@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_code_block_runs(document, tmp_path, start_endpoint, start_pages, start_service, open_page, monkeypatch):
    folder = tmp_path / "reader"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(str(folder))
    found = blocks(document)
    needs_endpoint = any(block.language in ("bash", "python") and not block.what.startswith("not run") for block in found)
    reader = Reader(folder, start_endpoint() if needs_endpoint else None, start_pages, start_service, open_page)
    for block in found:
        reader.run(block)


@pytest.mark.parametrize("document", sorted({*DOCUMENTS, *ROOT.glob("*.md")}), ids=lambda path: path.name)
def test_links_between_documents_lead_somewhere(document):
    for target in re.findall(r"\]\((?!http)([^)#]+)", document.read_text()):
        assert (document.parent / target).exists(), target
