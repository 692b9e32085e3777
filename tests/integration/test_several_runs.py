"""Pages that show several runs: each run's data come whole and once, under its own name, colour and group."""

from __future__ import annotations

import contextlib
import json
import math
from urllib.parse import urlencode

import numpy as np
import pytest
from bokeh.models import ColumnDataSource, Div, GlyphRenderer, Plot, Scatter

import streamvis
from streamvis import Client
from streamvis.errors import UsageError
from streamvis.transport import Transport
from support.conditions import wait_until
from support.processes import endpoint, page_server
from support.sessions import OpenedPage

MANY = """
from bokeh.models import ColumnDataSource, Div


def init_page(doc, config, runs):
    about = [[run.id, run.name, run.label, run.color, run.group, run.config["lr"], run.state] for run in runs]
    doc.add_root(Div(name="runs", text=repr(about), render_as_text=True))
    for run in runs:
        doc.add_root(ColumnDataSource({"loss": []}, name=run.id))


def update_page(doc, new_data):
    if "train" in new_data:
        doc.get_model_by_name(new_data.run.id).stream({"loss": new_data["train"]["loss"]})
"""
BANDS = """
from bokeh.plotting import figure
from streamvis import band_source


def init_page(doc, config, runs):
    for stat in ("std", "sem", "ci95", "quartiles", "range"):
        source = band_source("train", columns=["loss"], runs=runs, stat=stat, name=stat)
        plot = figure()
        plot.varea("step", "loss.low", "loss.high", source=source)
        doc.add_root(plot)
"""
ONE = """
from bokeh.models import Div


def init_page(doc, config):
    doc.add_root(Div(name="config", text=repr(config["lr"])))


def update_page(doc, new_data):
    pass
"""
PANELS = """
from streamvis import panels


def init_page(doc, config):
    doc.add_root(panels.curves(["train", "val"], "loss"))
    doc.add_root(panels.matrix("confusion"))
    doc.add_root(panels.config())
"""


LISTING = """
from bokeh.models import Div
import streamvis


def init_page(doc, config):
    found = streamvis.runs("config.lr == 0.1 and state == 'finished' and config.seed > 0")
    about = [[run.id, run.name, run.config, run.state, run.color, run.label] for run in found]
    doc.add_root(Div(name="listed", text=repr(about), render_as_text=True))
    streamvis.runs("config.lr <")
"""
FOLLOWS = """
from bokeh.models import Div

follow = "FOLLOW"


def init_page(doc, config, runs):
    doc.add_root(Div(name="run", text=runs[0].id))
"""
SMOOTHED = """
from streamvis import panels


def init_page(doc, config):
    doc.add_root(panels.curves("train", "loss", smooth=0.5))
"""


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """An endpoint, and a page server with the scripts above."""
    folder = tmp_path_factory.mktemp("several runs")
    scripts = {"many": MANY, "bands": BANDS, "one": ONE, "overlaid": PANELS, "smoothed": SMOOTHED, "listing": LISTING}
    scripts |= {name: FOLLOWS.replace("FOLLOW", name) for name in ("pinned", "oldest")}
    for name, source in scripts.items():
        (folder / f"{name}.py").write_text(source)
    with contextlib.ExitStack() as stack:
        rest = stack.enter_context(contextlib.closing(endpoint(folder / "data", log=folder / "rest.log")))
        scripts = sorted(folder.glob("*.py"))
        pages = stack.enter_context(contextlib.closing(page_server(*scripts, url=rest.url, log=folder / "pages.log")))
        yield rest, pages


@pytest.fixture
def sweep(served, request):
    """The endpoint, and three runs with 5, 6 and 7 rows of an app of its own."""
    rest, app, ids = served[0], request.node.name, []
    for i, lr in enumerate((0.1, 0.1, 0.01)):
        with Client(rest.url, app) as client:
            ids.append(client.init({"lr": lr, "seed": i}, name=f"run {i}"))
            for step in range(5 + i):
                client.sendl(step, "train", {"loss": 10 * i + step})
            client.send(0, "confusion", {"matrix": [[i, 1], [2, 3]]})
    return rest, app, ids


@pytest.fixture
def open_page(served, sweep):
    """Opens one of the pages with this query; all are closed at the end."""
    opened = []

    def open_(name: str, **query) -> OpenedPage:
        opened.append(OpenedPage(f"{served[1].url}/{name}?{urlencode({'app': sweep[1], **query}, doseq=True)}"))
        return opened[-1]

    yield open_
    for page in opened:
        page.close()


def losses(page: OpenedPage) -> dict[str, list[float]]:
    return {source.name: list(source.data["loss"]) for source in page.doc.select({"type": ColumnDataSource}) if source.name}


def runs_of(page: OpenedPage) -> list[list]:
    return eval(page.doc.get_model_by_name("runs").text)


def test_each_run_of_a_page_brings_its_past_and_what_comes_live_once_and_by_its_name(open_page, sweep):
    rest, app, ids = sweep
    page = open_page("many", run=[ids[2], ids[0]])
    page.wait_for(lambda: losses(page) == {ids[2]: [20, 21, 22, 23, 24, 25, 26], ids[0]: [0, 1, 2, 3, 4]}, what="both pasts")
    with Client(rest.url, app) as client:
        client.init(run=ids[0])
        client.sendl(9, "train", {"loss": 99.0})
    page.wait_for(lambda: losses(page)[ids[0]] == [0, 1, 2, 3, 4, 99], what="the live row")
    assert losses(page)[ids[2]] == [20, 21, 22, 23, 24, 25, 26]
    about = runs_of(page)
    assert [run[:3] for run in about] == [[ids[2], "run 2", "run 2"], [ids[0], "run 0", "run 0"]]
    assert [run[5] for run in about] == [0.01, 0.1]
    assert about[0][3] != about[1][3] and all(run[3].startswith("#") for run in about)


def test_a_filter_shows_the_runs_that_fit_also_one_that_begins_later(open_page, sweep):
    rest, app, ids = sweep
    page = open_page("many", where="config.lr > 0.05", group="config.lr")
    page.wait_for(lambda: set(losses(page)) == set(ids[:2]) and all(losses(page).values()), what="the two runs that fit")
    assert {run[4] for run in runs_of(page)} == {"lr = 0.1"} and len({run[3] for run in runs_of(page)}) == 1
    with Client(rest.url, app) as client:
        client.init({"lr": 0.001})
    with Client(rest.url, app) as client:
        client.init({"lr": 0.5})
    page.wait_for(lambda: page.link.reload, what="the page reloads for the run that fits too")


@pytest.mark.parametrize("chosen", ["named", "filtered"])
def test_a_page_that_opens_beside_another_has_the_names_and_colours_of_now(open_page, sweep, chosen):
    rest, app, ids = sweep
    query = {"run": ids[:2]} if chosen == "named" else {"where": "config.lr > 0.05"}
    first = open_page("many", **query)
    first.wait_for(lambda: all(losses(first).values()) and len(losses(first)) == 2)
    change = json.dumps({"name": "the best", "color": "#123456"}).encode()
    Transport(rest.url).request("PATCH", f"/api/v1/runs/{ids[0]}", body=change, headers={"Content-Type": "application/json"})

    def shows_now():
        page = open_page("many", **query)
        return ["the best", "#123456"] in [[run[2], run[3]] for run in runs_of(page)]

    wait_until(shows_now, within_s=20, every_s=0.5, what="a new page has the new name")
    first.wait_for(lambda: first.link.reload, what="the page that was open reloads, to be swapped for one with the new name")


def test_a_page_of_two_parameters_shows_the_first_of_several_runs(open_page, sweep):
    page = open_page("one", run=[sweep[2][2], sweep[2][0]])
    page.wait_for(lambda: page.doc.get_model_by_name("config").text == "0.01")


def test_a_run_that_is_deleted_leaves_the_others_on_the_page(open_page, sweep):
    rest, app, ids = sweep
    Transport(rest.url).request("DELETE", f"/api/v1/runs/{ids[1]}")
    page = open_page("many", run=ids)
    page.wait_for(lambda: set(losses(page)) == {ids[0], ids[2]} and all(losses(page).values()), what="the runs that are there")
    assert "Some of the chosen runs are not shown" in page.told()


def test_panels_draw_each_run_in_its_colour_or_stand_side_by_side(open_page, sweep):
    rest, app, ids = sweep
    page = open_page("overlaid", run=ids)

    def drawn():
        plots = page.doc.select({"type": Plot})
        lines = [r for plot in plots for r in plot.renderers if isinstance(r, GlyphRenderer) and "loss" in r.data_source.data]
        return {r.glyph.line_color: list(r.data_source.data["loss"]) for r in lines}

    page.wait_for(lambda: sorted(map(len, drawn().values())) == [5, 6, 7], what="three lines in three colours")
    titles = [plot.title.text for plot in page.doc.select({"type": Plot})]
    assert [f"run {i} · confusion" in titles for i in range(3)] == [True] * 3
    page.wait_for(lambda: any("run 1" in div.text and "seed" in div.text for div in page.doc.select({"type": Div})))


def test_a_group_is_one_smoothed_line_with_a_mark_where_a_run_of_it_ended(open_page, sweep):
    page = open_page("smoothed", group="config.lr")

    def marks():
        (plot,) = page.doc.select({"type": Plot})
        its = [one for one in plot.renderers if isinstance(one.glyph, Scatter)]
        return [list(zip(*map(one.data_source.data.get, ("step", "loss.end")), strict=True)) for one in its]

    def smoothed(values):
        mean = 0.0
        for i, value in enumerate(values, 1):
            mean = (mean + value) / 2
            found = mean / (1 - 0.5**i)
        return found

    middle = (smoothed(range(5)) + smoothed(range(10, 15))) / 2
    its = lambda: [[step, end] for found in marks() for step, end in found if not math.isnan(end)]  # noqa: E731
    page.wait_for(lambda: len(marks()) == 2 and len(its()) == 1, what="two groups, of which one lost a run")
    assert its() == [[4, pytest.approx(middle)]]


def opened_with(model: str, open_page, name: str, **query) -> OpenedPage:
    """The page with the model of this name. One that is made before anything is known of its runs asks to be loaded again."""

    def made():
        page = open_page(name, **query)
        page.wait_for(lambda: page.doc.get_model_by_name(model) is not None or page.link.reload)
        return None if page.link.reload else page

    return wait_until(made, within_s=60, what=f"the page {name} with {model}")


def test_a_page_lists_other_runs_of_its_app_and_a_wrong_filter_is_the_author_s_mistake(open_page, sweep):
    rest, app, ids = sweep
    page = opened_with("listed", open_page, "listing", run=ids[0])
    (other,) = eval(page.doc.get_model_by_name("listed").text)
    assert other[:4] == [ids[1], "run 1", {"lr": 0.1, "seed": 1}, "finished"] and other[4].startswith("#")
    page.wait_for(lambda: "FilterError" in page.told(), what="the wrong filter in the page")
    with pytest.raises(UsageError, match="in init_page"):
        streamvis.runs()


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ({"stat": "odd"}, "Use one of std, sem"),
        ({"at": "-1"}, "Use a whole number from 0"),
        ({"follow": "me"}, "Use one of newest, oldest, pinned"),
        ({"where": "config.lr >"}, "where='config.lr >'"),
        ({"where": "config.lr = 1 and state"}, "It is at '= 1 and state'"),
    ],
)
def test_an_address_that_cannot_be_read_is_said_in_the_page_and_is_not_its_author_s_mistake(open_page, sweep, query, told):
    page = open_page("many", **query)
    page.wait_for(lambda: told in page.told())
    assert "Fix the script" not in page.told() and "Traceback" not in page.told()


def test_a_page_follows_what_its_script_says_unless_its_address_says_otherwise(open_page, sweep):
    rest, app, ids = sweep
    shown = lambda page: page.doc.get_model_by_name("run").text  # noqa: E731
    opened = lambda name, **query: opened_with("run", open_page, name, **query)  # noqa: E731
    with Client(rest.url, app) as one, Client(rest.url, app) as other:
        first, second = one.init({"lr": 1.0}), other.init({"lr": 2.0})
        pages = {name: opened(name) for name in ("pinned", "oldest")}
        newest = opened("pinned", follow="newest")
        assert (shown(pages["pinned"]), shown(pages["oldest"]), shown(newest)) == (second, first, second)
        with Client(rest.url, app) as third:
            third.init({"lr": 3.0})
            newest.wait_for(lambda: newest.link.reload, what="the page that follows turns to the new run")
            assert not pages["pinned"].link.reload and not pages["oldest"].link.reload


def bands_of(page: OpenedPage) -> dict[str, dict[str, list[float]]]:
    sources = {source.name: source for source in page.doc.select({"type": ColumnDataSource}) if source.name}
    return {
        stat: {name: [None if math.isnan(cell) else float(cell) for cell in column] for name, column in source.data.items()}
        for stat, source in sources.items()
    }


def test_a_live_band_is_what_numpy_says_of_all_rows_and_what_a_fresh_one_is(open_page, sweep):
    rest, app, ids = sweep
    rows = {run: {step: 10.0 * i + step for step in range(5 + i)} for i, run in enumerate(ids)}
    live = open_page("bands", run=ids)

    def expected():
        steps = sorted({step for its in rows.values() for step in its})
        values = [np.array([its[step] for its in rows.values() if step in its]) for step in steps]
        sd = np.array([v.std(ddof=1) if len(v) > 1 else 0.0 for v in values])
        sem = sd / np.sqrt([len(v) for v in values])
        mean = np.array([v.mean() for v in values])
        quartiles = np.array([np.quantile(v, [0.25, 0.5, 0.75]) for v in values]).T
        return (
            steps,
            [len(v) for v in values],
            {
                "std": (mean - sd, mean, mean + sd),
                "sem": (mean - sem, mean, mean + sem),
                "quartiles": quartiles,
                "range": (np.array([v.min() for v in values]), mean, np.array([v.max() for v in values])),
            },
        )

    def shows(page):
        steps, counts, bands = expected()
        found = bands_of(page)
        for stat, (low, middle, high) in bands.items():
            its = found[stat]
            marks = [step for step, mark in zip(its["step"], its["loss.end"], strict=True) if mark is not None]
            ends = {max(of_run) for of_run in rows.values()} - {steps[-1]}
            if its["step"] != steps or its["loss.runs"] != counts or set(marks) != ends:
                return False
            for name, want in (("loss.low", low), ("loss.middle", middle), ("loss.high", high)):
                if not np.allclose(its[name], want):
                    return False
        return True

    live.wait_for(lambda: shows(live), what="the bands of the past")
    with Client(rest.url, app) as client:
        client.init(run=ids[0])
        for step in range(5, 12):
            rows[ids[0]][step] = -3.5 * step
            client.sendl(step, "train", {"loss": -3.5 * step})
    live.wait_for(lambda: shows(live), what="the bands with what came live")
    fresh = open_page("bands", run=ids)
    fresh.wait_for(lambda: bands_of(fresh) == bands_of(live), what="a fresh page shows the same")


def test_which_pages_can_show_several_runs_is_known_from_their_scripts(tmp_path):
    from streamvis.page.scripts.script import default_page, read_script

    found = {}
    for name, source in (("many", MANY), ("one", ONE), ("panels", PANELS)):
        path = tmp_path / f"{name}.py"
        path.write_text(source)
        found[name] = read_script(path).many
    assert found == {"many": True, "one": False, "panels": True} and default_page().many
