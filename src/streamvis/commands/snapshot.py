"""The command `streamvis snapshot`."""

from __future__ import annotations

import os
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

import click

from streamvis.commands import cli_options
from streamvis.counting import counted
from streamvis.errors import StreamvisError, UsageError
from streamvis.log_lines import one_line

if TYPE_CHECKING:
    from streamvis.page.feeds.reader import EndpointReader
    from streamvis.page.scripts.script import PageScript

__all__ = ["snapshot"]

_file = click.Path(path_type=Path, dir_okay=False)


@click.command()
@click.argument("page", metavar="[NAME=]PAGE.py|runs")
@click.option("--run", "runs", metavar="ID", multiple=True, help="Run to show, or several. [default: the newest]")
@click.option("--at", metavar="STEP", type=click.IntRange(0), help="As of this step. [default: all there is]")
@click.option("--query", metavar="NAME=TEXT&...", default="", help="More parameters of the page's address, such as group=lr.")
@click.option(
    "--moments", type=click.IntRange(1, 500), default=20, show_default=True, help="Maximum number of steps on the time bar."
)
@click.option("--max-size", metavar="MB", type=click.FloatRange(0.001), default=10.0, show_default=True, help="Size limit.")
@click.option("-o", "--output", type=_file, help="HTML file to write. [default: PAGE.html, if no other output is chosen]")
@click.option("--png", type=_file, help="Write a picture of the page. Needs a browser here, and streamvis[pictures].")
@click.option("--gif", type=_file, help="Write an animation of the steps. Needs the same as --png.")
@click.option("--mp4", type=_file, help="Write a video of the steps. Also needs ffmpeg.")
@click.option("--size", default="1366x768", show_default=True, help="Size of the window for pictures, in pixels.")
@click.option("--dark", is_flag=True, help="Take pictures in dark mode.")
@cli_options.url
@cli_options.app
@click.option("--token", envvar="STREAMVIS_TOKEN", show_envvar=True, help="Token of the endpoint.")
def snapshot(
    page: str,
    runs: tuple[str, ...],
    at: int | None,
    query: str,
    moments: int,
    max_size: float,
    output: Path | None,
    png: Path | None,
    gif: Path | None,
    mp4: Path | None,
    size: str,
    dark: bool,
    url: str,
    app: str | None,
    token: str | None,
) -> None:
    """Write a page as one HTML file that needs no server and no network, with a time bar over moments of the run's past.

    PAGE is a page script, a page folder, or `runs` for the default page. What an author's Python code would do when a viewer
    clicks is not in the file: such widgets are marked.
    """
    from streamvis.page.feeds.reader import EndpointReader
    from streamvis.page.scripts.script import DEFAULT_PAGE, default_page, read_script
    from streamvis.snapshot.file import take_snapshot
    from streamvis.transport import checked_url

    script = default_page() if page == DEFAULT_PAGE and not Path(page).exists() else read_script(page)
    if not any((output, png, gif, mp4)):
        output = Path(f"{script.name}.html")
    window = _window(size)
    if png or gif or mp4:
        from streamvis.snapshot import pictures

        pictures.require(film=mp4 is not None)
    reader = EndpointReader(checked_url(url), token=token)
    chosen = list(runs) or [_newest(script, reader, app, url)]
    with click.progressbar(length=1, label="Opening the page", file=sys.stderr) as bar:

        def progress(done: int, all_: int) -> None:
            bar.length = all_
            bar.update(done - bar.pos)

        limits = {"moments": moments, "max_bytes": round(max_size * 1e6)}
        try:
            made = take_snapshot(script, reader, chosen, at=at, query=parse_qsl(query), progress=progress, **limits)
        except StreamvisError:
            raise
        except Exception as error:  # around an author's code
            from streamvis.page.author.error_text import Mistake

            told = Mistake(error)
            click.echo("\n\n".join(filter(None, (told.around, told.text))), err=True)
            raise UsageError(f"The page {script.name} failed: {told.headline}") from error
    for line in made.left_out:
        click.echo(one_line(line), err=True)
    with _written(made.html, output) as path:
        if output:
            shown = f"{counted(len(made.steps), 'moment')} up to step {made.steps[-1]:,}"
            click.echo(f"{output}: {made.size_bytes / 1e6:.1f} MB, {shown}")
        if png or gif or mp4:
            look = {"size": window, "dark": dark}
            if png:
                pictures.write_png(path, png, **look)
            if gif:
                pictures.write_gif(path, gif, made.steps, **look)
            if mp4:
                pictures.write_mp4(path, mp4, made.steps, **look)
            for one in filter(None, (png, gif, mp4)):
                click.echo(f"{one}: {one.stat().st_size / 1e6:.1f} MB")


def _newest(script: PageScript, reader: EndpointReader, app: str | None, url: str) -> str:
    shown = script.app or app or (None if script.any_app else script.name)
    run = reader.app_tail(shown, after=None, wait_s=0).newest
    if run is None:
        which = f"The app {shown!r} has no run" if shown else "There is no run"
        raise UsageError(f"{which} at {url} yet. Start a producer, or name a run with --run.")
    return run


def _window(size: str) -> tuple[int, int]:
    found = re.fullmatch(r"(\d{2,5})x(\d{2,5})", size)
    if found is None:
        raise UsageError(f"--size is {size!r}. Give width and height in pixels, such as 1366x768.")
    return int(found[1]), int(found[2])


@contextmanager
def _written(text: str, output: Path | None) -> Iterator[Path]:
    """The file with this text: the one that was asked for, or one that is removed again."""
    if output is not None:
        output.write_text(text, encoding="utf-8")
        yield output
        return
    descriptor, name = tempfile.mkstemp(suffix=".html", prefix="streamvis-")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        yield Path(name)
    finally:
        Path(name).unlink(missing_ok=True)
