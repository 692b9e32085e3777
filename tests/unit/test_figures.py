"""Figures that draw live sources are found, changed and forgotten as they come and go, at a cost that follows what changed."""

from __future__ import annotations

import json
from datetime import timedelta

import numpy as np
import pytest
from bokeh.document import Document
from bokeh.document.models import DocumentModelManager
from bokeh.layouts import column, row
from bokeh.models import ColumnDataSource, DataRange1d, Range1d, Span
from bokeh.plotting import figure

from streamvis import live_source
from streamvis.page.live.figures import Figures, computed_once
from streamvis.page.live.first_ranges import fit_once
from streamvis.page.live.moved_ranges import kept_by, range_instead_of, spread
from streamvis.series.exponential_mean import DebiasedMean

MANY = 40


class Site:
    """A document and its figures, and how many plots were looked at, and models computed, for them."""

    def __init__(self, monkeypatch):
        self.doc, self.walked, self.computed, self.noted = Document(), 0, 0, 0
        know, recompute = Figures._know, DocumentModelManager.recompute

        def counted_know(figures, plot):
            self.walked += 1
            know(figures, plot)

        def counted_recompute(models):
            self.computed += 1
            recompute(models)

        monkeypatch.setattr(Figures, "_know", counted_know)
        monkeypatch.setattr(DocumentModelManager, "recompute", counted_recompute)

    def begin(self, *roots):
        for root in roots:
            self.doc.add_root(root)
        self.figures = Figures(self.doc, self._note)
        return self.look()

    def _note(self):
        self.noted += 1

    def look(self):
        self.walked = self.computed = 0
        return self.figures.look()


@pytest.fixture
def site(monkeypatch):
    return Site(monkeypatch)


def live_figure(key="loss", source=None, **options):
    source = source or live_source(key, columns=["y"])
    plot = figure(width=200, height=150, **options)
    plot.line("step", "y", source=source)
    return plot, source


def test_bokeh_computes_the_models_once_for_any_number_of_live_figures(site):
    made = [live_figure(f"key {i}") for i in range(MANY)]
    changes = site.begin(row(*(plot for plot, _ in made)))
    assert site.computed == 1
    assert set(changes.plots) == {plot.id for plot, _ in made}
    assert [spec.key for _, spec in changes.added] == [f"key {i}" for i in range(MANY)]
    assert all(isinstance(plot.x_range, Range1d) and plot.x_range.document is site.doc for plot, _ in made)


def test_a_figure_that_comes_later_is_all_that_is_walked(site):
    layout = column(*(live_figure(f"key {i}")[0] for i in range(MANY)))
    site.begin(layout)
    plot, source = live_figure("late")
    layout.children.append(plot)
    assert site.noted
    changes = site.look()
    assert site.walked == 1
    assert site.computed == 1
    assert list(changes.plots) == [plot.id]
    assert [its.id for its, _ in changes.added] == [source.id]
    assert changes.plots[plot.id]["ranges"][plot.x_range.id]["follows"]


def test_what_is_not_changed_is_not_looked_at(site):
    plot, source = live_figure()
    site.begin(plot)
    source.stream({"step": [1], "y": [2.0]})
    source.data = {"step": [1, 2], "y": [2.0, 3.0]}
    plot.title.text = "loss"
    plot.renderers[0].visible = False
    plot.renderers[0].glyph.line_color = "red"
    plot.x_range.end = 7
    assert not site.figures.is_changed
    assert not site.noted


def test_removed_figures_and_their_sources_are_forgotten_and_follow_again_when_they_are_back(site):
    (kept, _), (gone, source) = live_figure("a"), live_figure("b")
    layout = column(kept, gone)
    before = site.begin(layout)
    layout.children = [kept]
    changes = site.look()
    assert changes.plots == {gone.id: None}
    assert changes.gone == [source.id]
    assert list(site.figures.drawn) == [kept.id]
    layout.children = [kept, gone]
    again = site.look()
    assert [its.id for its, _ in again.added] == [source.id]
    assert again.plots == {gone.id: before.plots[gone.id]}
    site.doc.remove_root(layout)
    assert sorted(site.look().gone) == sorted(its.id for its, _ in before.added)
    assert not site.figures.drawn


def test_an_automatic_range_that_figures_share_is_replaced_in_all_of_them_whenever_they_come(site):
    shared = DataRange1d()
    plain = figure(x_range=shared)
    plain.line([1, 2], [3, 4])
    layout = column(plain)
    site.begin(layout)
    assert plain.x_range is shared
    first, _ = live_figure("a", x_range=shared)
    layout.children.append(first)
    site.look()
    assert plain.x_range is first.x_range is not shared
    second, _ = live_figure("b", x_range=shared)
    third, _ = live_figure("c", x_range=first.x_range)
    layout.children += [second, third]
    changes = site.look()
    assert second.x_range is third.x_range is first.x_range
    assert site.computed == 1
    assert changes.plots[third.id]["ranges"][first.x_range.id]["follows"]


def test_what_a_known_figure_draws_may_change(site):
    plot, source = live_figure("a")
    more, late = ColumnDataSource({"step": [], "y": []}), live_source("late", columns=["y"])
    drawn = plot.scatter("step", "y", source=more)
    plot.extra_y_ranges["right"] = DataRange1d()
    site.begin(plot, live_figure("other")[0])
    per_look = site.walked
    drawn.data_source = late
    changes = site.look()
    assert site.walked < per_look
    assert [spec.key for _, spec in changes.added] == ["late"]
    assert [curve["source"] for curve in changes.plots[plot.id]["curves"]] == [source.id, late.id]
    drawn.y_range_name = "right"
    curves = site.look().plots[plot.id]["curves"]
    assert curves[1]["y"] == plot.extra_y_ranges["right"].id != curves[0]["y"]
    drawn.glyph.y = "step"
    assert site.look().plots[plot.id]["curves"][1]["y_fields"] == ["step"]
    plot.add_layout(Span(dimension="width", location=1))
    assert not site.look().plots
    plot.renderers = []
    changes = site.look()
    assert changes.plots == {plot.id: None}
    assert sorted(changes.gone) == sorted([source.id, late.id])


def test_a_source_is_logarithmic_while_one_of_its_figures_is(site):
    plot, source = live_figure()
    layout = column(plot)
    site.begin(layout)
    assert not site.figures.is_log(source.id)
    layout.children.append(live_figure(source=source, x_axis_type="log")[0])
    assert source.id in site.look().redrawn
    assert site.figures.is_log(source.id)
    layout.children.pop()
    assert source.id in site.look().redrawn
    assert not site.figures.is_log(source.id)


@pytest.mark.parametrize(("x", "axis"), [("step", "linear"), ("time", "datetime"), ("when", "datetime")])
def test_the_browser_is_told_of_a_window_as_the_author_gave_it(site, x, axis):
    source = live_source("loss", x=x, columns=["y"], window=600)
    plot = figure(x_axis_type=axis)
    plot.line(x, "y", source=source)
    (found,) = site.begin(plot).plots.values()
    assert found["ranges"][plot.x_range.id]["window"] == 600


def test_a_range_that_the_author_set_stays(site):
    fixed = Range1d(0, 10)
    plot, _ = live_figure(x_range=fixed)
    changes = site.begin(plot)
    assert plot.x_range is fixed
    assert not changes.plots[plot.id]["ranges"][fixed.id]["follows"]


@pytest.mark.parametrize("side", ["x", "y"])
def test_beside_a_range_of_factors_the_other_one_follows(site, side):
    source = live_source("loss", columns=["kind", "y"])
    plot = figure(**{f"{side}_range": ["cat", "dog"]})
    plot.scatter(*(("kind", "y") if side == "x" else ("step", "kind")), source=source)
    (found,) = site.begin(plot).plots.values()
    factors, numbers = (plot.x_range, plot.y_range) if side == "x" else (plot.y_range, plot.x_range)
    assert not found["ranges"][factors.id]["follows"] and not found["ranges"][factors.id]["is_number"]
    assert found["ranges"][numbers.id]["follows"] and found["ranges"][numbers.id]["is_number"]


def test_what_the_author_set_of_an_automatic_range_is_kept_and_nothing_else(site):
    plot, _ = live_figure(x_range=DataRange1d(flipped=True, end=-3, min_interval=timedelta(seconds=2)))
    plot.y_range.start = 0
    plot.y_range.bounds = (-1, None)
    plain, _ = live_figure("plain")
    told = site.begin(row(plot, plain)).plots
    kept = [told[its.id]["ranges"][side.id]["kept"] for its in (plot, plain) for side in (its.x_range, its.y_range)]
    assert kept == [{"flipped": 1, "end": -3, "min_interval": 2000}, {"start": 0}, {}, {}]
    assert (plot.x_range.min_interval, plot.x_range.bounds) == (timedelta(seconds=2), None)
    assert (plot.y_range.min_interval, plot.y_range.bounds) == (None, (-1, None))
    json.dumps(told)


def test_where_bokeh_put_a_range_in_the_browser_is_not_what_its_author_set(site):
    plot = figure(y_range=DataRange1d(end=50), x_range=DataRange1d(start=4))
    plot.line([1, 2], [3, 4])
    site.begin(plot)
    for side, start, end in ((plot.x_range, 4.0, 2.1), (plot.y_range, 2.9, 50.0)):
        for name, value in (("start", start), ("end", end)):
            if getattr(side, name) != value:
                site.doc.apply_json_patch({"events": [changed(side, name, value)]}, setter=object())
    plot.x_range.end = 9  # by the author, later
    plot.line("step", "y", source=live_source("late", columns=["y"]))
    (found,) = site.look().plots.values()
    assert found["ranges"][plot.y_range.id]["kept"] == {"end": 50}
    assert (plot.x_range.start, plot.x_range.end) == (4, 9)
    assert not found["ranges"][plot.x_range.id]["follows"]


def changed(model, attr, value):
    return {"kind": "ModelChanged", "model": {"id": model.id}, "attr": attr, "new": value}


@pytest.mark.parametrize(
    ("range_", "axis", "shown"),
    [
        (DataRange1d(), "linear", (9.5, 20.5)),
        (DataRange1d(start=0), "linear", (0, 21)),
        (DataRange1d(end=15), "linear", (9.75, 15)),
        (DataRange1d(start=40), "linear", (40, 42)),  # above all data: as for one value
        (DataRange1d(flipped=True), "linear", (20.5, 9.5)),
        (DataRange1d(flipped=True, start=30), "linear", (30, 9)),
        (DataRange1d(range_padding=0), "linear", (10, 20)),
        (DataRange1d(range_padding=3, range_padding_units="absolute"), "linear", (7, 23)),
        (DataRange1d(range_padding=3, range_padding_units="absolute", end=25), "linear", (7, 25)),
        (DataRange1d(min_interval=30), "linear", (0, 30)),
        (DataRange1d(min_interval=30, start=0), "linear", (0, 30)),
        (DataRange1d(max_interval=4), "linear", (13, 17)),
        (DataRange1d(start=1, range_padding=0), "log", (1, 20)),
        (DataRange1d(start=-1, range_padding=0), "log", (10, 20)),
        (DataRange1d(start=-5, end=5), "linear", (-5, 5)),
    ],
)
def test_a_fitted_range_respects_its_author(range_, axis, shown):
    found = range_instead_of(range_, log=axis == "log")
    kept = kept_by(found)
    is_there = (found.start, found.end)
    assert (is_there if kept is None else spread(10, 20, is_x=False, log=axis == "log", kept=kept)) == pytest.approx(shown)


@pytest.mark.parametrize("value", [1.0, -5e7, 1e-9])
def test_a_constant_that_was_smoothed_is_shown_as_a_constant(value):
    smoothed = DebiasedMean(0.9).add(np.full(1000, value))
    low, high = float(smoothed.min()), float(smoothed.max())
    assert low < high, "rounding"
    start, end = spread(low, high, is_x=False, log=False, kept={})
    assert end - start > 0.05 * abs(value) and start < value < end


def test_the_first_picture_fits_y_to_the_rows_that_x_shows(site):
    cut, source = live_figure(x_range=DataRange1d(end=3))
    fixed, _ = live_figure(source=source, x_range=Range1d(6, 9))
    whole, _ = live_figure(source=source)
    site.begin(row(cut, fixed, whole))
    source.data = {"step": np.arange(11), "y": np.arange(11) * 10.0}
    fit_once(site.doc, site.figures.drawn)
    shown = [[(side.start, side.end) for side in (plot.x_range, plot.y_range)] for plot in (cut, fixed, whole)]
    assert shown == [[(0, 3), (-1.5, 31.5)], [(6, 9), (58.5, 91.5)], [(0, 10), (-5, 105)]]


def test_a_change_that_fails_leaves_the_document_released(site):
    plot = figure()
    site.begin(plot)
    with pytest.raises(ValueError, match="no good"), computed_once(site.doc):
        raise ValueError("no good")
    other = figure()
    site.doc.add_root(other)
    assert other.document is site.doc
