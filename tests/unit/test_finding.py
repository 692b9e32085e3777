"""Finding runs by a filter, in an order, a piece at a time: against the plainest way, over runs that hypothesis thinks of."""

from __future__ import annotations

import json
import math
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamvis.errors import DeletedRun, InvalidData, UnknownRun
from streamvis.filters import MISSING, Filter, parse_path
from streamvis.naming import readable_name
from streamvis.palette import PALETTE, color_of
from streamvis.records import Batch, Description, Finish, Start
from streamvis.store import RunQuery
from streamvis.wire.arrow import encode_rows
from support.stores import hasty_store

RATES = st.sampled_from([0.1, 0.01, 1, True, None, "0.1", "low", [1], float("nan"), float("inf")])
CONFIGS = st.dictionaries(st.sampled_from(["lr", "seed", "~odd", "a b"]), RATES, max_size=3)
RUNS = st.lists(
    st.tuples(CONFIGS, st.integers(0, 3), st.sampled_from([None, "base", "Best one"]), st.booleans(), st.booleans()), max_size=12
)
ORDERS = st.sampled_from(["", "config.lr", "name", "created", "step", "state", 'config["~odd"]', "tags", "archived", "ended"])
WHERE = st.sampled_from(
    ["", "config.lr < 0.5", "state == 'finished'", "'x' in tags or config.seed == 1", "not config.lr", "name > 'b'"]
)


@pytest.fixture
def store(place):
    made = place.open(clock=iter(range(1000, 10**6)).__next__)
    yield made
    made.close()


def start(store, run, config=None, *, app="app", time=1.0, name=None, live=True):
    store.append([Batch(run, app, "p", 0, [Start(json.dumps(config or {}), time, name)], live)])


def found(store, **query):
    query = {name: parse_path(value) if name == "order" and value else value for name, value in query.items()}
    return [one.info.id for one in store.find(RunQuery(**query)).runs]


def filled(place, runs):
    store = place.open(clock=iter(range(1000, 10**6)).__next__)
    for i, (config, time, name, ends, tagged) in enumerate(runs):
        config = {("~" + key if key.startswith("~") else key): value for key, value in config.items()}
        start(store, f"r{i}", config, time=float(time), name=name)
        if ends:
            store.append([Batch(f"r{i}", "app", "p", 1, [encode_rows("k", [i], [0.0], {"x": [i]}), Finish("finished", 9.0)])])
        if tagged:
            store.describe([f"r{i}"], Description(tags=["x", f"t{time}"]))
    return store


def plainly(store, runs, *, where, order, falling):
    """The ids that fit, in their order."""
    infos = [store.run(f"r{i}") for i in range(len(runs))]

    def value(info, path):
        config = runs[int(info.id[1:])][0]
        if path[0] == "config":
            return config.get(path[1]) if path[1] in config else None
        its = {"id": info.id, "step": info.last_step, "tags": list(info.tags)}.get(path[0])
        return its if path[0] in ("id", "step", "tags") else getattr(info, path[0])

    def resolve(path):
        its = value(info, path)
        known = path[0] != "config" or path[1] in runs[int(info.id[1:])][0]
        return its if known and (its is not None or path[0] == "config") else MISSING

    kept = []
    for info in infos:
        if not where or Filter.parse(where).matches(resolve):
            kept.append(info)
    kept.sort(key=lambda info: (info.created, int(info.id[1:])), reverse=True)
    if not order:
        return [info.id for info in sorted(kept, key=lambda info: not info.newest)]
    path = parse_path(order)
    there = [info for info in kept if not is_nothing(value(info, path))]
    numbers = [info for info in there if isinstance(value(info, path), (bool, int, float))]
    groups = [numbers, [info for info in there if info not in numbers]]
    for group in groups:
        group.sort(key=lambda info: text_of(value(info, path)), reverse=falling)
    ordered = [info for group in (groups[::-1] if falling else groups) for info in group]
    return [info.id for info in (*ordered, *(info for info in kept if info not in there))]


def is_nothing(value):
    return value is None or (isinstance(value, float) and math.isnan(value))


def text_of(value):
    return value if isinstance(value, (bool, int, float, str)) else json.dumps(value)


@settings(max_examples=60)
@given(RUNS, WHERE, ORDERS, st.booleans(), st.integers(1, 5))
def test_runs_are_found_in_pieces_as_the_plainest_way_finds_them(folders, runs, where, order, falling, limit):
    falling = falling and bool(order)
    with folders() as place:
        store = filled(place, runs)
        expected = plainly(store, runs, where=where, order=order, falling=falling)
        path = parse_path(order) if order else None
        query = {"app": "app", "where": Filter.parse(where) if where else None, "order": path, "is_falling": falling}
        ids, after = [], ""
        while True:
            piece = store.find(RunQuery(**query, limit=limit, after=after))
            ids += [one.info.id for one in piece.runs]
            assert piece.matching == len(expected) and piece.more == (len(ids) < len(expected)) == (piece.after is not None)
            if not piece.more:
                break
            after = piece.after
        middle = store.find(RunQuery(**query, limit=limit, offset=2))
        assert [one.info.id for one in middle.runs] == expected[2 : 2 + limit] and middle.matching == len(expected)
        store.close()
    assert ids == expected


@settings(max_examples=8)
@given(RUNS, WHERE, ORDERS, st.booleans(), st.integers(1, 5))
def test_the_same_holds_in_postgresql(schemas, runs, where, order, falling, limit):
    in_sqlite = test_runs_are_found_in_pieces_as_the_plainest_way_finds_them
    in_sqlite.hypothesis.inner_test(schemas, runs, where, order, falling, limit)


def test_the_next_piece_goes_on_where_the_last_ended_whatever_came_or_went_meanwhile(store):
    for i in range(6):
        start(store, f"r{i}", {"lr": i % 3}, time=float(i))
    order = {"app": "app", "order": parse_path("config.lr")}
    first = store.find(RunQuery(**order, limit=3))
    assert [one.info.id for one in first.runs] == ["r3", "r0", "r4"]
    start(store, "early", {"lr": 0}, time=9.0)
    start(store, "later", {"lr": 1}, time=0.5)
    store.delete("r4")
    assert [one.info.id for one in store.find(RunQuery(**order, after=first.after)).runs] == ["r1", "later", "r5", "r2"]


@pytest.mark.parametrize("falling", [False, True])
def test_whole_numbers_that_no_float_can_hold_stand_in_their_order_too(store, falling):
    sizes = [0.5, 7**450, -(7**450), float("inf"), float("nan"), 7**450 + 1]
    for i, size in enumerate(sizes):
        start(store, f"r{i}", {"size": size}, time=float(i))
    query, ids, after = {"order": parse_path("config.size"), "is_falling": falling}, [], ""
    while after is not None:
        piece = store.find(RunQuery(app="app", limit=1, after=after, **query))
        ids, after = [*ids, piece.runs[0].info.id], piece.after
    order = ["r2", "r0", "r1", "r5", "r3"]
    assert ids == [*(reversed(order) if falling else order), "r4"]


@pytest.mark.parametrize("after", ["x", "W10", "WyIiLDEsMiwzLDRd", "bnVsbA", "\x00", "WyJjb25maWcubHIiLGZhbHNlLDAsImEiLDEsMV0"])
def test_a_place_that_was_not_given_for_this_order_is_refused(store, after):
    start(store, "one", {"lr": 1})
    with pytest.raises(InvalidData, match="after"):
        store.find(RunQuery(app="app", order=parse_path("config.lr"), after=after))


def test_words_are_looked_for_in_names_tags_notes_and_configs(store):
    start(store, "one", {"model": "ResNet", "lr": 0.003}, name="Base")
    start(store, "two", {"model": "mlp"})
    store.describe(["two"], Description(tags=["night shift"], note="Diverges at step 90"))
    assert found(store, app="app", words=("resnet", "0.003")) == ["one"]
    assert found(store, app="app", words=("diverges",)) == found(store, app="app", words=("shift",)) == ["two"]
    assert found(store, app="app", words=("resnet", "mlp")) == []
    assert found(store, words=(readable_name("two").split("-")[1],)) == ["two"]


def test_a_list_gives_the_columns_and_configs_that_are_asked_for(store):
    start(store, "one", {"lr": 0.1, "opt": {"name": "adam"}, "layers": [3, 4]})
    columns = [parse_path(text) for text in ("config.lr", "config.opt.name", "config.layers[1]", "config.none", "state")]
    (one,) = store.find(RunQuery(app="app", columns=columns, with_config=True)).runs
    assert list(one.columns) == [0.1, "adam", 4, None, "running"]
    assert json.loads(one.config) == {"lr": 0.1, "opt": {"name": "adam"}, "layers": [3, 4]}
    (one,) = store.find(RunQuery(app="app")).runs
    assert (one.columns, one.config) == ((), None)


def test_runs_are_found_over_all_apps_by_ids_and_by_whether_they_are_archived(store):
    for i, app in enumerate(["a", "b", "a"]):
        start(store, f"r{i}", app=app, time=float(i))
    store.describe(["r0"], Description(archived=True))
    assert found(store) == ["r2", "r1", "r0"]
    assert found(store, archived=False) == ["r2", "r1"] and found(store, archived=True) == ["r0"]
    assert found(store, runs=["r1", "r2", "none such"], app="a") == ["r2"]
    assert found(store, where=Filter.parse("app == 'b'")) == ["r1"]
    assert found(store, app="nobody's") == []


def test_a_vanished_run_is_found_by_the_state_that_it_is_shown_in(store):
    start(store, "one")
    start(store, "two")
    where = Filter.parse("state == 'vanished'")
    assert found(store, app="app", where=where, vanished=frozenset({"one"})) == ["one"]
    assert found(store, app="app", where=where) == []


def test_what_can_be_asked_of_runs_is_told(store):
    start(store, "one", {"lr": 0.1, "opt": {"name": "adam"}, "seed": 1, "same": "x"})
    start(store, "two", {"lr": "low", "opt": {"name": "sgd"}, "seed": 2, "same": "x", "only": None})
    start(store, "other", {"other": 1}, app="b")
    store.describe(["one"], Description(tags=["z", "a"]))
    names = store.names("app")
    told = {one.name: (one.values, one.differs, one.kind) for one in names.config}
    assert told == {
        "config.lr": (2, True, "mixed"),
        "config.opt.name": (2, True, "text"),
        "config.seed": (2, True, "number"),
        "config.same": (1, False, "text"),
        "config.only": (1, True, "null"),
    }
    assert names.tags == ["a", "z"]
    assert "config.other" in {one.name for one in store.names(None).config}


def test_a_run_has_a_color_for_good_by_the_order_in_which_its_app_got_it(store):
    for i in range(3):
        start(store, f"r{i}")
    start(store, "elsewhere", app="b")
    assert [store.run(f"r{i}").color for i in range(3)] == PALETTE[:3] and store.run("elsewhere").color == PALETTE[0]
    store.delete("r1")
    start(store, "r3")
    assert store.run("r3").color == PALETTE[3] and store.run("r2").color == PALETTE[2]
    store.describe(["r2"], Description(color="#123456"))
    assert store.run("r2").color == "#123456"
    store.describe(["r2"], Description(color=""))
    assert store.run("r2").color == PALETTE[2]


def test_colors_are_ten_then_darker_and_lighter_ones_of_them():
    colors = [color_of(number) for number in range(31)]
    assert colors[:10] == PALETTE and len(set(colors[:30])) == 30 and colors[30] == colors[0]
    assert all(re.fullmatch("#[0-9a-f]{6}", color) for color in colors)


def test_names_are_read_from_ids_alone_and_hardly_ever_shared():
    names = {readable_name(f"run-{i}") for i in range(10_000)}
    assert len(names) > 9_980 and all(re.fullmatch("[a-z]+-[a-z]+-[1-9][0-9]{0,2}", name) for name in names)
    assert readable_name("20261125-1") == readable_name("20261125-1")


def test_a_run_is_described_in_one_commit_that_its_app_hears_of(store):
    heard = []
    store.listen(heard.append)
    start(store, "one", name="first")
    start(store, "two")
    assert (store.run("one").name, store.run("one").named) == ("first", True)
    assert (store.run("two").name, store.run("two").named) == (readable_name("two"), False)
    head, before = store.app_head("app").cursor, len(heard)
    changed = store.describe(["one", "two", "one"], Description(name="both", tags=["a", "b", "a"], note="n", add_tags=["c"]))
    assert [(one.name, one.tags, one.note) for one in changed] == [("both", ("a", "b", "c"), "n")] * 2
    assert len(heard) == before + 1 and heard[-1].runs == {"one", "two"} and store.app_head("app").cursor != head
    (one,) = store.describe(["one"], Description(name="", add_tags=["d"], remove_tags=["a", "none"]))
    assert (one.name, one.tags, one.note) == (readable_name("one"), ("b", "c", "d"), "n")


def test_of_several_runs_all_are_described_or_none(store):
    start(store, "one")
    start(store, "gone")
    store.delete("gone")
    for ids, error in ((["one", "none such"], UnknownRun), (["one", "gone"], DeletedRun)):
        with pytest.raises(error):
            store.describe(ids, Description(note="n"))
    with pytest.raises(InvalidData):
        store.describe(["one"], Description(add_tags=[str(i) for i in range(51)]))
    assert (store.run("one").note, store.run("one").tags) == ("", ())


def test_the_newest_run_is_one_that_is_not_archived_while_there_is_one(store):
    for i in range(3):
        start(store, f"r{i}")
    assert store.newest("app").id == "r2"
    store.describe(["r2"], Description(archived=True))
    assert store.newest("app").id == store.app_head("app").newest == "r1"
    store.describe(["r0", "r1"], Description(archived=True))
    assert store.newest("app").id == "r2"
    store.describe(["r0"], Description(archived=False))
    assert store.newest("app").id == "r0"


def test_a_run_has_ended_when_its_last_producer_did_until_it_goes_on(store):
    store.append([Batch("one", "app", producer, 0, [Start("{}", 1.0)]) for producer in "pq"])
    store.append([Batch("one", "app", "p", 1, [Finish("finished", 50.0)])])
    assert store.run("one").ended is None
    store.append([Batch("one", "app", "q", 1, [Finish("finished", 60.0)])])
    assert store.run("one").ended == 60.0
    store.append([Batch("one", "app", "r", 0, [Start("{}", 70.0)])])
    assert store.run("one").ended is None
    assert store.finish("one", "failed").ended == store.run("one").updated


def test_finding_runs_of_one_app_reads_no_other(tmp_path):
    store = hasty_store(tmp_path)
    text = []
    store._readers._connect = lambda make=store._readers._connect: traced(make(), text)
    start(store, "one", {"lr": 1})
    store.find(RunQuery(app="app", where=Filter.parse("config.lr == 1"), order=parse_path("name")))
    (statement,) = [one for one in text if "CROSS JOIN" in one]
    plan = [row[3] for row in store._writer.execute(f"EXPLAIN QUERY PLAN {statement}")]
    assert not any(line.startswith(("SCAN runs", "SCAN configs")) for line in plan), plan
    store.close()


def traced(connection, text):
    connection.set_trace_callback(text.append)
    return connection
