"""A page as one file, in a real Chromium without a network: the numbers of the live page, at each of its moments."""

from __future__ import annotations

import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from PIL import Image

from streamvis import Client, testing
from streamvis.page.scripts.script import read_script
from streamvis.snapshot.file import take_snapshot
from streamvis.testing_run import rows, value
from support.conditions import wait_until

PAGE = """
from bokeh.models import ColumnDataSource, Div
from bokeh.plotting import figure
from streamvis import live_source, panels

def init_page(doc, config):
    plot = figure(name="plot")
    plot.line("step", "loss", source=live_source("train", columns=["loss"], name="live"))
    own = ColumnDataSource({"step": [], "loss": []}, name="own")
    for model in (plot, figure(), Div(name="told"), panels.matrix("confusion"), panels.curves([("train", "loss")])):
        doc.add_root(model)
    doc.roots[1].scatter("step", "loss", source=own)

def update_page(doc, new_data):
    if "late" in new_data:
        doc.get_model_by_name("own").stream({"step": new_data.steps("late"), "loss": new_data["late"]["loss"]})
    if "confusion" in new_data:
        doc.get_model_by_name("told").text = f"as of {new_data.steps('confusion')[0]}"
"""
READ = """() => {
  const doc = Bokeh.documents[0], get = (name) => doc.get_model_by_name(name)
  const entries = ({data}) => data instanceof Map ? [...data] : Object.entries(data)
  const list = (source) => Object.fromEntries(entries(source).map(([name, column]) => [name, [...column]]))
  return {live: list(get("live")), own: list(get("own")), told: get("told").text, end: get("plot").x_range.end}
}"""


def send(step):
    yield rows(step, "train", {"loss": float(np.sin(step / 9))})
    # Some come late, for a step that was there before.
    yield rows(step - 7 if step % 5 == 4 and step > 7 else step, "late", {"loss": float(step)})
    if step % 20 == 10:
        yield value(step, "confusion", {"count": np.full((2, 2), step)})


def taken(path):
    """The snapshot of a new run's page, and what the page shows at each of its moments. In a thread: where tabs open, no other
    event loop may run."""
    records = [record for step in range(121) for record in send(step)]
    with testing.open_page(path, config={"lr": 0.25}, records=records) as live:
        made, expected = take_snapshot(read_script(path), live.reader, [live.run], moments=5), {}
        for step in made.steps:
            live.at(step=step)
            columns = {name: {column: list(cells) for column, cells in live[name].data.items()} for name in ("live", "own")}
            expected[step] = {**columns, "told": live["told"].text, "end": max(step, 0.5)}
    return made, expected


def test_a_file_without_a_network_shows_the_numbers_of_the_live_page_at_each_moment(tmp_path, open_page):
    path, file = tmp_path / "page.py", tmp_path / "run.html"
    path.write_text(PAGE)
    with ThreadPoolExecutor(1) as executor:
        made, expected = executor.submit(taken, path).result()
    assert made.steps == [0, 30, 60, 90, 120]
    file.write_text(made.html)
    tab = open_page(file.as_uri(), offline=True).page
    tab.wait_for_function("() => window.Bokeh?.documents?.[0]?.is_idle")
    for step in (120, 30, 90, 0, 60, 120):
        tab.evaluate("(step) => streamvisSnapshot.show(step)", step)
        wait_until(lambda step=step: tab.evaluate(READ) == expected[step], 5, f"the numbers of step {step}")
    assert '"lr": 0.25' in tab.locator("#streamvis-snapshot pre").text_content()
    names = tab.evaluate("performance.getEntriesByType('resource').map(({name}) => name)")
    assert [name for name in names if not name.startswith(("file:", "data:", "blob:"))] == []


def test_the_command_writes_an_animation_with_a_frame_for_each_moment(tmp_path, shared_endpoint, start_streamvis):
    path, gif, film = tmp_path / "page.py", tmp_path / "run.gif", tmp_path / "run.mp4"
    path.write_text(PAGE)
    with Client(shared_endpoint.url, "page") as client:
        run = client.init({})
        for record in (record for step in range(41) for record in send(step)):
            (client.sendl if record.is_rows else client.send)(record.step, record.key, record.data)
        assert client.flush(timeout_s=30)
    asked = ["--run", run, "--url", shared_endpoint.url, "--moments", "3", "--gif", str(gif), "--size", "600x400", "--dark"]
    asked += ["--mp4", str(film)] if shutil.which("ffmpeg") else []
    command = start_streamvis("snapshot", path, *asked)
    assert command.wait(within_s=100) == 0, command.output()
    image = Image.open(gif)
    assert image.n_frames == 3 and image.size == (600, 400)
    if film.exists():
        probe = [
            "ffprobe",
            "-v",
            "error",
            "-count_frames",
            "-show_entries",
            "stream=width,height,nb_read_frames",
            "-of",
            "csv=p=0",
            film,
        ]
        # The last moment stays for six more frames.
        assert subprocess.run(probe, capture_output=True, text=True, check=True).stdout.strip() == "600,400,9"
    assert film.exists() or shutil.which("ffmpeg") is None
