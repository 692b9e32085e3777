"""Pictures of a snapshot, by a browser on this machine: one as a PNG, or its moments as a GIF or an MP4.

The browser is driven by Playwright, which is not installed with Streamvis; MP4 is made by ffmpeg. Nothing is downloaded.
"""

from __future__ import annotations

import io
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from PIL import Image

from streamvis.errors import UsageError

__all__ = ["require", "write_gif", "write_mp4", "write_png"]

_BROWSERS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
_FRAME_MS, _LAST_FRAMES = 250, 6
_READY = "() => document.fonts.ready.then(() => window.Bokeh?.documents?.some((doc) => doc?.is_idle))"
_PAINTED = "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"


def require(*, film: bool) -> None:
    """Raise UsageError where pictures, or a film, cannot be made: before anything is opened for them."""
    if find_spec("playwright") is None:
        raise UsageError("Pictures need Playwright, which drives a browser: pip install 'streamvis[pictures]'")
    if film and shutil.which("ffmpeg") is None:
        raise UsageError("MP4 needs ffmpeg, which is not on this machine. Install it, or write a GIF instead: --gif FILE.gif")


def write_png(snapshot: Path, to: Path, *, size: tuple[int, int], dark: bool) -> None:
    """Photograph the whole page of a snapshot's file."""
    with _opened(snapshot, size, dark) as tab:
        to.write_bytes(tab.screenshot(full_page=True))


def write_gif(snapshot: Path, to: Path, steps: Sequence[int], *, size: tuple[int, int], dark: bool) -> None:
    """Make an animation of the snapshot's moments, the last of which stays for a while."""
    with _opened(snapshot, size, dark) as tab:
        frames = [Image.open(io.BytesIO(png)).convert("RGB") for png in _frames(tab, steps)]
    # One palette for all: else colours flicker.
    palette = frames[-1].quantize(256, Image.Quantize.MAXCOVERAGE)
    small = [frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames]
    durations = [_FRAME_MS] * (len(small) - 1) + [_FRAME_MS * _LAST_FRAMES]
    small[0].save(to, "GIF", save_all=True, append_images=small[1:], duration=durations, loop=0)


def write_mp4(snapshot: Path, to: Path, steps: Sequence[int], *, size: tuple[int, int], dark: bool) -> None:
    """Make a film of the snapshot's moments."""
    size = size[0] // 2 * 2, size[1] // 2 * 2
    with _opened(snapshot, size, dark) as tab:
        frames = list(_frames(tab, steps))
    given = ["-f", "image2pipe", "-framerate", str(1000 // _FRAME_MS), "-c:v", "png", "-i", "-"]
    made = ["-c:v", "libx264", "-pix_fmt", "yuv420p", "-movflags", "+faststart", str(to)]
    stream = b"".join([*frames, *frames[-1:] * _LAST_FRAMES])
    done = subprocess.run(["ffmpeg", "-y", "-loglevel", "error", *given, *made], input=stream, capture_output=True, check=False)
    if done.returncode != 0:
        raise UsageError(f"ffmpeg could not write {to}: {done.stderr.decode(errors='replace').strip()[-300:]}")


def _frames(tab: Any, steps: Sequence[int]) -> Iterator[bytes]:
    for step in steps:
        tab.evaluate("(step) => window.streamvisSnapshot.show(step)", step)
        tab.evaluate(_PAINTED)
        yield tab.screenshot()


@contextmanager
def _opened(snapshot: Path, size: tuple[int, int], dark: bool) -> Iterator[Any]:
    """A tab of a browser without a network, in which the snapshot has been painted."""
    from playwright.sync_api import Error, sync_playwright
    from playwright.sync_api import TimeoutError as PageTimeout

    with sync_playwright() as playwright:
        path = next(filter(None, map(shutil.which, _BROWSERS)), None)
        try:
            browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-dev-shm-usage"])
        except Error as error:
            told = "Pictures need Chromium or Chrome, which was not found or could not start on this machine"
            raise UsageError(f"{told}: {error.message.splitlines()[0]}") from error
        look = {"viewport": {"width": size[0], "height": size[1]}, "color_scheme": "dark" if dark else "light"}
        context = browser.new_context(offline=True, **look)
        tab = context.new_page()
        try:
            tab.goto(snapshot.resolve().as_uri())
            tab.wait_for_function(_READY)
            tab.evaluate(_PAINTED)
            yield tab
        except PageTimeout as error:
            told = "The browser did not show the page in time, so there is no picture"
            raise UsageError(f"{told}: {error.message.splitlines()[0]} Try a smaller --max-size.") from error
        finally:
            browser.close()
