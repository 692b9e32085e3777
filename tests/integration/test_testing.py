"""`streamvis.testing`: pages of one's own and of the examples, tested without a browser and without a server."""

from __future__ import annotations

import socket
import threading
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from click.testing import CliRunner

from streamvis import Client
from streamvis.cli import cli
from streamvis.errors import InvalidData, NoSuchName, PageScriptError, UnknownRun
from streamvis.page import stepped_page
from streamvis.page.documents.link import StreamvisLink
from streamvis.page.scripts.application import page_application
from streamvis.testing import open_page, rows, value

PAGE = """
from bokeh.models import Button, ColumnDataSource, Div, Slider, Toggle
from bokeh.plotting import figure
import sizes

source = ColumnDataSource({"step": [], "loss": []}, name="train")
told = Div(text="", name="told")

def init_page(doc, config):
    plot = figure(name="plot", width=sizes.WIDTH, title=f"lr {config['lr']}")
    plot.line("step", "loss", source=source, name="points")
    stop, slider, toggle = Button(name="stop"), Slider(start=0, end=99, value=1, name="window"), Toggle(name="log")
    stop.on_click(lambda: setattr(told, "text", "stopped"))
    slider.on_change("value", lambda attr, old, new: setattr(plot.title, "text", f"window {100 // new}"))
    source.selected.on_change("indices", lambda attr, old, new: setattr(told, "text", str(new)))
    for model in (plot, stop, slider, toggle, told):
        doc.add_root(model)

def update_page(doc, new_data):
    if "train" in new_data:
        source.stream({"step": new_data.steps("train"), **new_data["train"]})
    if "note" in new_data:
        told.text = new_data["note"]["text"]
"""


@pytest.fixture
def write(tmp_path):
    """`write(source)` gives the path of a page script, with a module `sizes` beside it."""

    def write_page(source: str = PAGE) -> Path:
        (tmp_path / "sizes.py").write_text("WIDTH = 321\n")
        path = tmp_path / "page.py"
        path.write_text(source)
        return path

    return write_page


def test_a_page_gets_what_was_recorded_and_what_is_sent(write, streamvis_page):
    page = streamvis_page(write(), config={"lr": np.float32(0.5)}, records=[rows(0, "train", {"loss": [3.0, 2.0]})])
    assert page["plot"].title.text == "lr 0.5" and page["plot"].width == 321
    assert list(page["train"].data["loss"]) == [3.0, 2.0]
    page.sendl(5, "train", {"loss": 1.0})
    page.send(5, "note", {"text": "lowest"})
    assert list(page["train"].data["step"]) == [0, 0, 5] and page["told"].text == "lowest"
    page.check()


def test_a_viewer_selects_clicks_and_sets(write, streamvis_page):
    page = streamvis_page(write(), config={"lr": 1}, records=[rows(0, "train", {"loss": [3.0, 2.0, 1.0]})])
    page.select("points", [1, 2])
    assert page["told"].text == "[1, 2]"
    page.click("stop")
    assert page["told"].text == "stopped"
    page.click("log")
    assert page["log"].active
    page.set("window", 50)
    assert page["plot"].title.text == "window 2"
    with pytest.raises(NoSuchName, match="'plot'"):
        page["plott"]


def test_after_a_clear_the_page_is_made_anew_with_what_was_set(write, streamvis_page):
    page = streamvis_page(write(), config={"lr": 1}, records=[rows(0, "train", {"loss": 3.0})])
    page.set("window", 20)
    page.clear()
    page.sendl(0, "train", {"loss": 4.0})
    assert list(page["train"].data["loss"]) == [4.0] and page["plot"].title.text == "window 5"


def test_as_of_a_step_the_page_shows_what_was_sent_up_to_it(write, streamvis_page):
    page = streamvis_page(write(), config={"lr": 1}, records=[rows(i, "train", {"loss": 9.0 - i}) for i in range(6)])
    page.set("window", 20)
    page.send(5, "note", {"text": "late"})
    page.at(step=3)
    assert list(page["train"].data["loss"]) == [9.0, 8.0, 7.0, 6.0] and page["told"].text == ""
    page.check()
    page.at(step=None)
    assert len(page["train"].data["loss"]) == 6 and page["told"].text == "late" and page["plot"].title.text == "window 5"
    page.check()


@pytest.mark.parametrize(
    ("old", "new", "error"),
    [
        ("config['lr']", "config['learning_rate']", NoSuchName),
        ("import sizes", "import sizess", ModuleNotFoundError),
        ("told.text = new", "told.texxt = new", AttributeError),
    ],
)
def test_what_page_code_raises_is_raised_in_the_test(write, old, new, error):
    with pytest.raises(error):
        open_page(write(PAGE.replace(old, new)), config={"lr": 1}, records=[value(0, "note", {"text": "a"})])


def test_what_a_callback_raises_is_raised_by_the_act_that_led_to_it(write, streamvis_page):
    page = streamvis_page(write(), config={"lr": 1})
    with pytest.raises(ZeroDivisionError):
        page.set("window", 0)
    with pytest.raises(InvalidData):
        page.sendl(-1, "train", {"loss": 1.0})
    with pytest.raises(PageScriptError):
        open_page("no such page.py")


def test_a_page_that_forgets_what_came_before_fails_its_check(write, streamvis_page):
    forgets = PAGE.replace("source.stream(", "source.data = dict(")
    page = streamvis_page(write(forgets), config={"lr": 1}, records=[rows(0, "train", {"loss": 2.0})])
    page.sendl(1, "train", {"loss": 1.0})
    with pytest.raises(AssertionError, match=r"'train'\.data\['loss'\]: live has 1 items .* fresh has 2"):
        page.check()


def test_a_misspelled_key_fails_the_check(write, streamvis_page):
    page = streamvis_page(write(), config={"lr": 1}, records=[rows(0, "train", {"loss": 2.0})])
    page.check()  # that there is no note yet is no mistake
    page.send(1, "notes", {"text": "a"})
    with pytest.raises(AssertionError, match="reads 'note', which the run does not have. Nothing reads 'notes'"):
        page.check()


def test_a_document_that_no_browser_could_be_sent_fails_the_check(write, streamvis_page):
    unsendable = PAGE.replace("told.text = new", "told.tags = [object()]; told.text = new")
    page = streamvis_page(write(unsendable), config={"lr": 1})
    page.send(1, "note", {"text": "a"})
    with pytest.raises(Exception, match="serialize"):
        page.check()


def test_no_socket_is_opened(write, streamvis_page, monkeypatch):
    streamvis_page(write(), config={"lr": 1})  # the endpoint in this process, which has none either, has begun
    here, asked = threading.get_ident(), []
    for name in ("connect", "bind"):
        real = getattr(socket.socket, name)

        def ask(self, *args, real=real):
            # A thread that an earlier test left may go on with its own.
            return asked.append(args) if threading.get_ident() == here else real(self, *args)

        monkeypatch.setattr(socket.socket, name, ask)
    page = streamvis_page(write(), config={"lr": 1}, records=[rows(0, "train", {"loss": 2.0})])
    page.sendl(1, "train", {"loss": 2.0})
    assert len(page["train"].data["loss"]) == 2 and asked == []


def test_streamvis_check_says_what_is_wrong_with_a_page_on_a_real_run(write, shared_endpoint):
    with Client(shared_endpoint.url, "checked") as client:
        client.init({"lr": 0.1})
        for step in range(3):
            client.sendl(step, "train", {"loss": [float(step)]})
            assert client.flush()

    def check(source, *more):
        words = ["check", str(write(source)), "--url", shared_endpoint.url, "--app", "checked", *more]
        found = CliRunner().invoke(cli, words, catch_exceptions=False)
        return found.exit_code, found.output

    status, told = check(PAGE)
    assert status == 0 and "It reads the keys: 'note', 'train'" in told and "Nothing is wrong" in told, told
    status, told = check(PAGE.replace("source.stream(", "source.data = dict("))
    assert status == 1 and "'train'.data['loss']: live has 1 items" in told and "fresh has 3" in told, told
    status, told = check(PAGE.replace("import sizes", "import sizess"))
    assert status == 1 and "ModuleNotFoundError" in told and ">    4  import sizess" in told, told
    live = "from streamvis import live_source\n" + PAGE.replace("name='train'", "").replace(
        "    plot.line(", "    plot.line('step', 'los', source=live_source('train', columns=['los']))\n    plot.line("
    )
    status, told = check(live)
    assert status == 1, told
    assert "Wrong: The live source of “train” has nothing to show: columns: there is no column 'los'" in told
    with pytest.raises(UnknownRun, match="'nosuch'"):
        check(PAGE, "--run", "nosuch")


def test_a_save_that_is_heard_of_twice_reloads_no_page_that_was_made_of_it(tmp_path, monkeypatch):
    watch, script = SimpleNamespace(follow=lambda who, folders, heard: setattr(watch, "heard", heard)), tmp_path / "page.py"
    monkeypatch.setattr(stepped_page, "page_application", partial(page_application, watch=watch))
    (tmp_path / "settings.py").write_text("TITLE = 1")
    script.write_text("import settings\ndef init_page(doc, config):\n    pass\n")
    with open_page(script) as page:

        def told(*names):
            before = page.doc.select_one({"type": StreamvisLink}).edited
            watch.heard({str(script.parent.resolve() / name) for name in names})
            page._load.settle()
            return page.doc.select_one({"type": StreamvisLink}).edited - before

        assert told("page.py") == 0
        script.write_text(script.read_text() + "# saved")
        assert told("page.py") == 1 and told("page.py") == 1, "the page is still the one of before"
        page._reopen()
        assert told("page.py") == 0 and told("settings.py", "page.py") == 0
        (tmp_path / "settings.py").write_text("TITLE = 2")
        assert told("settings.py", "page.py") == 1
        script.unlink()
        assert told("page.py") == 1


MAPPED = """
from bokeh.models import ColumnDataSource
from bokeh.plotting import figure
from bokeh.transform import linear_cmap
from streamvis import panels

def init_page(doc, config):
    doc.add_root(panels.matrix("m"))
    plot = figure()
    source = ColumnDataSource({"x": [1, 2], "y": [1, 2]})
    plot.scatter("x", "y", source=source, color=linear_cmap("y", "Viridis256", 0, 2))
    doc.add_root(plot)
"""


def test_glyphs_whose_colours_come_from_a_model_are_compared_by_what_it_holds(tmp_path, streamvis_page):
    (tmp_path / "page.py").write_text(MAPPED)
    page = streamvis_page(tmp_path / "page.py", records=[value(0, "m", {"m": np.eye(3)})])
    page.check()
    mapper = page.doc.roots[1].renderers[0].glyph.fill_color.transform
    page._load.do(lambda: setattr(mapper, "high", 7))
    with pytest.raises(AssertionError, match=r"fill_color.*high: live 7"):
        page.check()


WHENS = """
from bokeh.models import ColumnDataSource
from streamvis import panels

def init_page(doc, config):
    doc.add_root(ColumnDataSource({"t": [], "y": []}, name="times"))
    doc.add_root(panels.config())
    doc.add_root(panels.numbers("k", total=20))

def update_page(doc, new_data):
    if "k" in new_data:
        doc.get_model_by_name("times").stream({"t": new_data.times("k"), "y": new_data["k"]["y"]})
"""


def test_a_page_that_shows_when_things_were_sent_and_how_the_run_ended_passes_its_check(tmp_path, streamvis_page):
    (tmp_path / "page.py").write_text(WHENS)
    page = streamvis_page(tmp_path / "page.py", records=[rows(i, "k", {"y": float(i)}) for i in range(6)])
    page.check()
    page.finish("failed")
    page.check()
    page.at(step=3)
    page.check()


BAND = """
from bokeh.plotting import figure
from streamvis import band_source

def init_page(doc, config, runs):
    plot = figure()
    plot.line("step", "y.middle", source=band_source("k", columns=["y"], runs=runs, name="band"))
    doc.add_root(plot)
"""


def test_a_band_has_what_was_sent_when_the_call_returns(tmp_path, streamvis_page):
    (tmp_path / "page.py").write_text(BAND)
    page = streamvis_page(tmp_path / "page.py", records=[rows(0, "k", {"y": 0.0})])
    for step in range(1, 4):
        page.sendl(step, "k", {"y": float(step)})
        assert list(page["band"].data["step"]) == list(range(step + 1))


def test_a_panel_that_cannot_show_its_data_fails_the_check(tmp_path, streamvis_page):
    (tmp_path / "page.py").write_text(
        "from streamvis import panels\n\ndef init_page(doc, config):\n    doc.add_root(panels.histograms('v'))\n"
    )
    page = streamvis_page(tmp_path / "page.py", records=[value(0, "v", {"y": "text"})])
    with pytest.raises(AssertionError, match="no column of numbers. Its columns: 'y'"):
        page.check()
