"""Makes the pictures of the docs: runs every example with its page, and photographs that in Chromium.

    python docs/pictures.py [NAME ...] [--to FOLDER] [--dark] [--size 1366x768]

Names are those of examples, `panels`, `runs`, `shell`, `shell-dark` and `run-list`; without any, all are made. Needs Chromium and
what the tests need.
"""

from __future__ import annotations

import argparse
import io
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, sync_playwright

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"
DEMO = ROOT / "src" / "streamvis" / "demo"
IMAGES = ROOT / "docs" / "images"
MAX_BYTES = 80_000
# Selects some points of the first scatter on the page.
SELECT = """for (const model of Bokeh.documents[0]._all_models.values())
  if (model.type == "GlyphRenderer" && model.glyph.type == "Scatter" && model.glyph.x?.field == "x" &&
      model.data_source.get_length() > 20) {
    model.data_source.selected.indices = [...model.data_source.get_array("x")].flatMap((x, i) => %s ? [i] : [])
    break
  }"""
HIDE_NOTICES = """addEventListener("DOMContentLoaded", () =>
  document.head.append(Object.assign(document.createElement("style"), {textContent: "#streamvis-notices { display: none }"})))"""
READY = re.compile(r"ready at (http://\S+?)[/.]?\s")
BROWSERS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


@dataclass(frozen=True)
class Picture:
    """A page to photograph so many seconds after it was opened, and the producer that fills it."""

    name: str
    page: str
    producer: Path
    wait_s: float = 12
    before: str = field(default="", kw_only=True)  # JavaScript to run in the page a second before
    height: int | None = field(default=None, kw_only=True)  # of the window, for pages that fill only what is in view
    runs: str = field(default="", kw_only=True)  # which runs, as an address says it; then the list of runs is in the picture too
    dark: bool = field(default=False, kw_only=True)
    ended_app: str = field(default="", kw_only=True)  # its app, where it is shown after its producer has ended


def pictures() -> list[Picture]:
    """All pictures, by name."""
    waits = {"reinforcement": 25, "sensor": 40, "convolution": 50, "sweep": 30, "seeds": 60, "producers": 25, "widgets": 15}
    waits["point_cloud"] = 25
    groups = {"seeds": "group=config.rate"}
    selects = {"histograms": SELECT % "x < 0"}
    found = []
    for page in sorted(EXAMPLES.glob("*/page.py")):
        name = page.parent.name
        more = {"before": selects.get(name, ""), "runs": groups.get(name, "")}
        found.append(Picture(name, name, page.parent / "producer.py", waits.get(name, 12), **more))
    everything = Path(__file__).parent / "everything"
    producer, demo = everything / "producer.py", Picture("demo", "demo", DEMO / "train.py", 30, before=SELECT % "x < -1")
    seeds, bands = EXAMPLES / "seeds" / "producer.py", "group=config.rate&smooth=0.6"
    columns = "%0A".join(("config.rate", "config.seed", "val.loss.min", "val.accuracy.max"))
    shells = [
        Picture("shell", "runs", seeds, runs=bands, ended_app="six seeds"),
        Picture("shell-dark", "runs", seeds, runs=bands, dark=True, ended_app="six seeds"),
        Picture("run-list", "", seeds, runs=f"list.columns={columns}", ended_app="six seeds"),
    ]
    return [*found, demo, Picture("panels", "panels", producer, 15), Picture("runs", "runs", producer, 15, height=1100), *shells]


@contextmanager
def serving(data: Path) -> Iterator[tuple[str, str]]:
    """One endpoint and one page server for the pages of all pictures; gives their addresses."""
    scripts = [f"{page.parent.name}={page}" for page in sorted(EXAMPLES.glob("*/page.py"))]
    scripts += [f"panels={Path(__file__).parent / 'everything' / 'page.py'}", f"demo={DEMO / 'page.py'}"]
    command = [sys.executable, "-m", "streamvis.cli", "serve", *scripts, "--port", "0", "--rest-port", "0", "--no-browser"]
    server = subprocess.Popen([*command, "--data", str(data)], stdout=subprocess.PIPE, text=True)
    try:
        addresses: list[str] = []
        for line in server.stdout:
            print(line, end="", file=sys.stderr)
            if found := READY.search(line):
                addresses.append(found[1])
            if len(addresses) == 2:
                break
        yield addresses[0], addresses[1]
    finally:
        server.terminate()
        server.wait()


def photograph(
    browser: Browser, picture: Picture, addresses: tuple[str, str], *, size: tuple[int, int], dark: bool, ended: set[str]
) -> bytes:
    """A PNG of the page while its producer runs, or after it ended, which `ended` notes."""
    endpoint, pages = addresses
    app = picture.ended_app or picture.name
    producer = subprocess.Popen([sys.executable, str(picture.producer), endpoint, app]) if app not in ended else None
    if producer is not None and picture.ended_app:
        producer.wait()
        ended.add(app)
    viewport = {"width": size[0], "height": picture.height or size[1]}
    context = browser.new_context(viewport=viewport, color_scheme="dark" if dark or picture.dark else "light")
    try:
        tab = context.new_page()
        tab.on("console", lambda message: message.type == "error" and print(picture.name, message.text, file=sys.stderr))
        # What the page says of the pace of this machine does not belong into a picture.
        tab.add_init_script(HIDE_NOTICES)
        view = "" if picture.runs else "/view"
        tab.goto(f"{pages}{view}/{picture.page}?app={app}&{picture.runs}")
        time.sleep(picture.wait_s)
        if picture.before:
            tab.evaluate(picture.before)
            time.sleep(1)
        return tab.screenshot(full_page=True)
    finally:
        context.close()
        if producer is not None:
            producer.terminate()
            producer.wait()


def small(png: bytes) -> bytes:
    """The picture as a PNG with a palette, at most `MAX_BYTES` long: narrower and with fewer colours until it fits."""
    image = Image.open(io.BytesIO(png)).convert("RGB")
    for width in (image.width, 1100, 900, 700):
        size = width, round(image.height * width / image.width)
        scaled = image if width >= image.width else image.resize(size, Image.LANCZOS)
        for colors in (256, 128, 64):
            written = io.BytesIO()
            # Not by the median, which gives thin lines the colours of others.
            few = scaled.quantize(colors, Image.Quantize.MAXCOVERAGE, kmeans=1, dither=Image.Dither.NONE)
            few.save(written, "PNG", optimize=True)
            if written.tell() <= MAX_BYTES:
                return written.getvalue()
    return written.getvalue()


def main() -> None:
    there = {picture.name: picture for picture in pictures()}
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one of {', '.join(there)}")
    parser.add_argument("--to", type=Path, default=IMAGES, help="folder for the pictures (default docs/images)")
    parser.add_argument("--dark", action="store_true", help="as a browser in dark mode shows the pages")
    parser.add_argument("--size", default="1366x768", help="of the window (default %(default)s)")
    args = parser.parse_args()
    unknown = set(args.names) - there.keys()
    if unknown:
        parser.error(f"There is no picture {sorted(unknown)[0]!r}. There are: {', '.join(there)}")
    width, height = map(int, args.size.split("x"))
    browser_path = next(filter(None, map(shutil.which, BROWSERS)), None)
    args.to.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as data, serving(Path(data)) as addresses, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_path, args=["--no-sandbox", "--disable-dev-shm-usage"])
        ended: set[str] = set()
        for name in args.names or there:
            png = small(photograph(browser, there[name], addresses, size=(width, height), dark=args.dark, ended=ended))
            (args.to / f"{name}.png").write_bytes(png)
            print(f"{name}.png: {len(png):,} bytes")
        browser.close()


if __name__ == "__main__":
    main()
