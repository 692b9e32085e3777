"""A page as one file: what differs between moments, and what is left out to fit a size."""

from __future__ import annotations

import base64
import json
import re
from functools import partial

import numpy as np
import pytest

from streamvis.errors import UsageError
from streamvis.page.scripts.script import read_script
from streamvis.snapshot.file import take_snapshot
from streamvis.snapshot.graph import Graph, pair
from streamvis.snapshot.moments import Moments, evenly
from streamvis.snapshot.pictures import require
from streamvis.snapshot.static_files import StaticFiles
from streamvis.testing import open_page, rows

PAGE = """
from bokeh.models import Button, CustomJS, Div, Slider, Toggle
from bokeh.plotting import figure
from streamvis import live_source

def init_page(doc, config):
    plot = figure()
    plot.line("x", "loss", source=live_source("train", x="x", columns=["loss"], name="live"))
    python, script, unheard = Button(name="python"), Toggle(name="script"), Slider(name="unheard", start=0, end=1, value=0)
    python.on_click(lambda: None)
    script.js_on_change("active", CustomJS(code="console.log(1)"))
    for model in (plot, python, script, unheard, Div(name="told")):
        doc.add_root(model)

def update_page(doc, new_data):
    if "note" in new_data:
        doc.get_model_by_name("told").text = str(new_data["note"]["text"][-1])
"""


def model(kind, its, **attributes):
    return {"type": "object", "name": kind, "id": its, "attributes": attributes}


def graph(*roots):
    return Graph.of({"title": "t", "roots": list(roots)})


def test_a_document_taken_apart_and_put_together_is_the_same():
    shared = model("Source", "p1", data={"type": "map", "entries": [("x", [1])]})
    doc = {"title": "t", "roots": [model("Plot", "p2", source=shared), model("Plot", "p3", source={"id": "p1"})]}
    assert json.loads(json.dumps(doc)) == Graph.of(doc).written()


def test_models_are_paired_by_place_and_by_look_where_some_are_missing():
    one = graph(model("Column", "a", children=[model("Plot", "b", name="first"), model("Plot", "c", name="second")]))
    other = graph(model("Column", "x", children=[model("Plot", "y", name="second")]))
    assert pair(one, other, keep=lambda node: False).of == {"x": "a", "y": "c"}


def test_a_moment_says_what_differs_in_terms_of_the_first_document():
    base = graph(model("Column", "a", children=[model("Div", "b", text="late"), model("Plot", "c")]))
    other = graph(model("Column", "x", children=[model("Div", "y", text="early"), model("Table", "z", rows=3)]))
    moments = Moments(base, lambda its, name: None)
    moments.add(other, lambda its, name: None)
    (found,) = moments.changes
    assert {(its, name): moments.values[place] for its, name, place in found} == {
        ("a", "children"): [{"id": "b"}, {"id": "z-0"}],
        ("b", "text"): "early",
    }
    written = moments.base.written(also=list(base.models))
    assert '"z-0", "attributes": {"rows": 3}' in json.dumps(written)


def test_moments_are_spread_from_the_first_step_to_the_last():
    assert evenly(0, 10, 3) == [0, 5, 10]
    assert evenly(0, 2, 20) == [0, 1, 2]
    assert evenly(7, 7, 20) == [7]


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "page.py"
    path.write_text(PAGE)
    noise = np.random.default_rng(0).normal(size=30_000)
    pieces = [np.arange(step * 1000, step * 1000 + 1000) for step in range(30)]
    records = [rows(step, "train", {"x": its, "loss": noise[its]}) for step, its in enumerate(pieces)]
    with open_page(path, records=[*records, rows(3, "note", {"text": "a </script> note"})]) as opened:
        yield partial(take_snapshot, read_script(path), opened.reader, [opened.run])


def held(snapshot):
    return json.loads(re.search(r"window\.streamvisSnapshot = (.*?);\n", snapshot.html)[1])


def test_a_file_that_is_too_large_holds_fewer_rows_then_fewer_moments_and_says_so(page):
    whole = page(moments=3, max_bytes=100_000_000)
    assert whole.steps == [0, 14, 29] and "at most" not in str(whole.left_out)
    small = page(moments=3, max_bytes=whole.size_bytes - 1000)
    assert small.size_bytes < whole.size_bytes and len(small.steps) == 3
    assert "Live sources hold at most about" in small.html and "Live sources hold at most about" in str(small.left_out)
    least = page(moments=3, max_bytes=1)
    assert least.steps == [29] and "1 of 3 moments" in str(least.left_out) and "above the limit" in str(least.left_out)


def test_widgets_that_need_python_are_marked_and_data_cannot_end_the_script(page):
    made = page(at=5, moments=2)
    assert made.steps == [0, 5] and len(held(made)["changes"]) == 2
    assert "python, unheard" in str(made.left_out) or "unheard, python" in str(made.left_out)
    assert "script" not in made.left_out[0].replace("</script>", "")
    assert "a </script> note" not in made.html


def test_a_page_without_roots_is_refused(tmp_path, page):
    (tmp_path / "empty.py").write_text("def init_page(doc, config): pass\n")
    with pytest.raises(UsageError, match="shows nothing"):
        take_snapshot(read_script(tmp_path / "empty.py"), *page.args[1:], moments=1)


def test_a_film_without_ffmpeg_is_refused_before_anything_is_opened(monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(UsageError, match="MP4 needs ffmpeg"):
        require(film=True)
    require(film=False)


ASKING = """
from bokeh.models import Div

def init_page(doc, config):
    doc.add_root(Div(text=str(sorted(doc.session_context.request.arguments.items()))))
"""


def test_what_the_address_says_for_the_page_holds_in_the_file_but_not_another_run_or_step(tmp_path):
    path = tmp_path / "page.py"
    path.write_text(ASKING)
    with open_page(path, records=[rows(0, "train", {"loss": 1.0})]) as opened:
        query = [("x", "time"), ("q", "a&b\r\nHost: c"), ("run", "other"), ("at", "9")]
        made = take_snapshot(read_script(path), opened.reader, [opened.run], query=query)
        expected = [("at", [b"0"]), ("q", [b"a&b\r\nHost: c"]), ("run", [opened.run.encode()]), ("x", [b"time"])]
    assert json.dumps(str(expected))[1:-1].replace("&", "&amp;") in made.html or json.dumps(str(expected))[1:-1] in made.html


COUNTING = """
from bokeh.models import Div

def init_page(doc, config):
    doc.add_root(Div(name="told"))

def update_page(doc, new_data):
    doc.get_model_by_name("told").text = f"newest n is {new_data['train']['n'][-1]:g}"
"""


def test_the_last_moment_of_a_run_that_goes_on_is_its_step_and_no_later_one(tmp_path):
    path = tmp_path / "page.py"
    path.write_text(COUNTING)
    with open_page(path, records=[rows(step, "train", {"n": step}) for step in range(10)]) as opened:

        def go_on(done, all_):
            opened.sendl(9 + done, "train", {"n": 9 + done})

        made = take_snapshot(read_script(path), opened.reader, [opened.run], moments=3, progress=go_on)
    assert made.steps == [0, 4, 9]
    assert "newest n is 9" in made.html and "newest n is 1" not in made.html


FOLDER_PAGE = """
from bokeh.models import Div

def init_page(doc, config):
    for name in ("logo.png", "missing.png"):
        doc.add_root(Div(text=f"<img src='lab 1/static/{name}?v=1'> is at https://example.org/other/static/logo.png"))
"""
TEMPLATE = (
    """{% extends base %}{% block postamble %}<link rel="stylesheet" href="/view/lab%201/static/css/style.css">{% endblock %}"""
)
STYLE = """@import url(more.css); body { background: url("../logo.png#a") } .far { background: url(https://example.org/x.png) }"""


def data(kind, content):
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def test_static_files_of_a_page_folder_are_in_the_file_and_missing_ones_are_named(tmp_path):
    folder = tmp_path / "lab 1"
    (folder / "static" / "css").mkdir(parents=True)
    (folder / "templates").mkdir()
    (folder / "main.py").write_text(FOLDER_PAGE)
    (folder / "templates" / "index.html").write_text(TEMPLATE)
    for name, text in (("logo.png", "png"), ("css/style.css", STYLE), ("css/more.css", "p { margin: 0 }")):
        (folder / "static" / name).write_text(text)
    (tmp_path / "secret.png").write_text("no")
    with open_page(folder, records=[rows(0, "train", {"loss": 1.0})]) as page:
        made = take_snapshot(read_script(folder), page.reader, [page.run])
    logo, more = data("image/png", b"png"), data("text/css", b"p { margin: 0 }")
    style = STYLE.replace("url(more.css)", f'url("{more}")').replace('url("../logo.png#a")', f'url("{logo}")')
    assert f"img src='{logo}'&gt; is at https://example.org/other/static/logo.png" in made.html
    assert f'href="{data("text/css", style.encode())}"' in made.html
    assert made.left_out == ["The page names lab 1/static/missing.png?v=1, which is not in its folder."]


@pytest.mark.parametrize(
    "address",
    [f"lab/static/{name}" for name in ("../secret.png", "%2e%2e/secret.png", "", "b.png")]
    + ["slab/static/a.png", "https://e.org/lab/static/a.png"],
)
def test_nothing_but_the_files_of_the_static_folder_is_put_in(tmp_path, address):
    (tmp_path / "static").mkdir()
    for name in ("secret.png", "static/a.png"):
        (tmp_path / name).write_text("content")
    static = StaticFiles("lab", tmp_path / "static")
    assert static.put_into(f'<img src="{address}">') == f'<img src="{address}">'
    assert "base64" in static.put_into("background: url(lab/static/a.png)")
