"""Endpoints on one PostgreSQL database: what a producer or reader begins at one goes on at another."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import re
import sys
import threading
import time
from pathlib import Path

import numpy as np
import psycopg
import pytest

from streamvis import Client
from streamvis.addresses.database import DatabaseAddress
from streamvis.endpoint import other_endpoints
from streamvis.endpoint.news import News
from streamvis.errors import DeletedRun, InvalidData, RunConflict, StoreError, StoreUnavailable, UsageError
from streamvis.filters import Filter
from streamvis.records import Ack, Batch, Description, Finish, Start
from streamvis.store import RunQuery, SqliteStore, check_place, copy_places, copying, end_copying, tidying, writes
from streamvis.store.postgresql import connections, messages, transaction
from streamvis.store.postgresql.schema import SCHEMA_VERSION
from streamvis.store.postgresql.store import PostgresStore
from streamvis.store.postgresql.wording import in_words
from streamvis.store.removing.discarding import discard_piece
from streamvis.store.repairing import checking
from streamvis.store.views.summaries import Sizes
from streamvis.transport import Transport, path
from streamvis.wire.arrow import decode_tail_body, encode_rows, encode_value
from support.balancers import BALANCERS, Balancer
from support.conditions import wait_until
from support.plans import STATEMENTS, read_through, scanned
from support.postgresql import open_store
from support.stored import Stored
from support.stores import ask


def rows(step, key="k"):
    return encode_rows(key, [step], [0.0], {"x": [float(step)]})


def begun(store, run="run", producer="p", app="app"):
    return store.append([Batch(run, app, producer, 0, [Start("{}", 1.0)])])[0]


REFUSED = [("run", "conflict", []), ("new", "unstorable", [rows(1, "k\0")])]


def steps(store, run="run"):
    items = decode_tail_body(b"".join(store.tail(run, None).bodies))
    return [step for item in items if item.key == "k" for step in item.steps.tolist()]


@pytest.fixture
def stores(database):
    """Two, as two endpoints have them."""
    made = [open_store(database), open_store(database)]
    yield made
    for store in made:
        store.close()


def test_large_bodies_are_sent_whole_before_an_answer_to_them_is_waited_for(stores):
    store, image = stores[0], np.random.default_rng(0).random(2**20)
    begun(store)
    batches = [Batch("run", "app", "p", n, [encode_value("v", n, 0.0, {"image": image})]) for n in range(1, 9)]
    acks = []
    sending = threading.Thread(target=lambda: acks.extend(store.append([batch])[0] for batch in batches), daemon=True)
    sending.start()
    sending.join(60)
    assert [ack.seq for ack in acks] == list(range(2, 10))


def test_postgresql_takes_every_statement(stores):
    with stores[0]._reading() as db:
        for text in STATEMENTS:
            db.execute(f"PREPARE tried AS {in_words(text)}")
            db.execute("DEALLOCATE tried")


FILL = """
INSERT INTO apps (no, name, runs, newest) SELECT i, 'app ' || i, 1000, i * 200 FROM generate_series(1, 20) AS i;
INSERT INTO logs (no) SELECT i FROM generate_series(1, 4000) AS i;
INSERT INTO runs (no, id, app, state, created, updated, live, epoch, seq, log)
    SELECT i, 'run ' || i, i % 20 + 1, CASE i % 100 WHEN 0 THEN 'running' ELSE 'finished' END, i, i, i, 0, 9, i
    FROM generate_series(1, 4000) AS i;
INSERT INTO configs (no, config) SELECT i, '{}' FROM generate_series(1, 4000) AS i;
INSERT INTO producers (run, id, number, seq, refused, warnings, started, attempt)
    SELECT i, 'p', 9, 9, '[]', '[]', 1, i FROM generate_series(1, 4000) AS i;
INSERT INTO attempts (no, run, began) SELECT i, i, i FROM generate_series(1, 4000) AS i;
INSERT INTO stretches (log, seq, attempt) SELECT i, 1, i FROM generate_series(1, 4000) AS i;
INSERT INTO keys (no, log, name, kind, columns, rows, digested)
    SELECT i, i, 'k', 'rows', '{}', 100, 100 FROM generate_series(1, 4000) AS i;
INSERT INTO digests (key, "column", count) SELECT i, 'x', 100 FROM generate_series(1, 4000) AS i;
INSERT INTO chunks (log, key, first_row, first_seq, last_seq, first_step, last_step, count, size, body)
    SELECT i % 400, i % 400, i, i, i, i, i, 10, 100, '' FROM generate_series(1, 4000) AS i;
INSERT INTO summaries (key, level, first_row, body) SELECT i % 400, 1, i, '' FROM generate_series(1, 4000) AS i;
INSERT INTO key_values (key, step, seq, time, size, body) SELECT i % 400, i, i, i, 100, '' FROM generate_series(1, 4000) AS i;
INSERT INTO heard (run, at) SELECT 'run ' || i * 100, i FROM generate_series(1, 40) AS i;
ANALYZE apps, logs, runs, configs, producers, attempts, stretches, keys, digests, chunks, summaries, key_values, heard
"""


@pytest.fixture
def filled(stores):
    """A store with enough rows for PostgreSQL to plan as it does where there are very many."""
    with stores[0]._writing() as (db, _):
        for text in FILL.split(";"):
            db.execute(text)
    return stores[0]


def test_no_statement_reads_through_a_table_that_grows(filled):
    assert not scanned(filled)
    assert read_through(filled, "SELECT id FROM runs WHERE note = $1") == ["runs"], "what does is found"
    assert read_through(filled, "SELECT no FROM chunks ORDER BY no LIMIT 1 OFFSET $1") == ["chunks"]


def test_a_commit_of_many_batches_sends_as_many_statements_as_one_of_few(stores, monkeypatch):
    sent, execute = [], transaction.Found.execute
    monkeypatch.setattr(
        transaction.Found, "execute", lambda self, *given, **options: sent.append(given) or execute(self, *given, **options)
    )
    for i in range(30):
        begun(stores[0], f"run {i}", f"p{i % 2}")
        stores[0].append([Batch(f"run {i}", "app", f"p{i % 2}", 1, [rows(1), encode_value("v", 1, 0.0, {"n": 1})])])

    def statements(number, count):
        of_a_run = [Batch("run 0", "app", "p0", number + one, [rows(one)]) for one in range(count)]
        others = [
            Batch(f"run {i}", "app", f"p{i % 2}", number, [rows(2), encode_value("v", number, 0.0, {"n": 1})])
            for i in range(1, count)
        ]
        sent.clear()
        assert all(isinstance(answer, Ack) and not answer.duplicate for answer in stores[0].append([*of_a_run, *others]))
        return len(sent)

    few, many = statements(2, 2), statements(10, 25)
    assert many <= few + 1 and many < 14  # how much is unmerged is asked for now and then
    assert steps(stores[0], "run 0") == [1, 0, 1, *range(25)]


def test_a_batch_of_many_values_of_a_new_key_sends_as_many_statements_as_one_of_few(stores, monkeypatch):
    sent, execute = [], transaction.Found.execute
    begun(stores[0])
    stores[0].append([Batch("run", "app", "p", 1, [rows(0)])])
    monkeypatch.setattr(
        transaction.Found, "execute", lambda self, *given, **options: sent.append(given) or execute(self, *given, **options)
    )

    def statements(number, count, run):
        chunks = [chunk for n in range(count) for chunk in (encode_value(f"v{number}", n, 0.0, {"n": n}), rows(n, f"r{number}"))]
        start = [] if run == "run" else [Start("{}", 1.0)]
        sent.clear()
        assert isinstance(stores[0].append([Batch(run, "app", "p", number, [*start, *chunks])])[0], Ack)
        found = len(sent)
        its = [len(body.steps) for body in decode_tail_body(b"".join(stores[0].rows(run, f"r{number}").bodies))]
        assert sum(its) == count and stores[0].keys(run)[f"v{number}"].kind == "value"
        assert stores[0].value(run, f"v{number}") == stores[0].value(run, f"v{number}", step=count - 1) is not None
        return found

    for run in ("run", "new"):
        few, many = statements(2, 3, run), statements(3, 400, run if run == "run" else "newer")
        assert many <= few + 2, run


def test_what_every_batch_writes_stands_in_no_index(stores):
    columns = {
        "runs": ["updated", "first_step", "last_step", "epoch", "seq", "dropped", "late", "attempt", "ended"],
        "keys": ["columns", "rows", "pending", "open_bytes"],
        "producers": ["number", "seq", "refused", "warnings", "dropped"],
    }
    asked = "SELECT pg_get_indexdef(indexrelid) FROM pg_index WHERE indrelid = '{}'::regclass"
    for table, written in columns.items():
        indexes = " ".join(text.partition(" USING ")[2] for (text,) in ask(stores[0], asked.format(table)))
        assert indexes and not set(re.findall(r"\w+", indexes)) & set(written)


def test_many_writers_at_two_stores_keep_one_order_and_lose_nothing(stores):
    begun(stores[0])
    counts = {}

    def send(i):
        producer = f"p{i}"
        begun(stores[i % 2], producer=producer)
        for number in range(1, 21):
            batch = Batch("run", "app", producer, number, [rows(100 * i + number)])
            first = stores[(i + number) % 2].append([batch])[0]
            again = stores[number % 2].append([batch])[0]
            assert again.duplicate and again.seq == first.seq
            counts[i, number] = first.seq

    threads = [threading.Thread(target=send, args=[i]) for i in range(4)]
    for thread in threads:
        thread.start()
    seen, cursor, i = [], None, 0
    while any(thread.is_alive() for thread in threads) or cursor != stores[0].run("run").cursor:
        tail = stores[i % 2].tail("run", cursor)
        seen += [step for item in decode_tail_body(b"".join(tail.bodies)) for step in item.steps.tolist()]
        assert not tail.restart
        cursor, i = tail.cursor, i + 1
        while i % 5 == 0 and stores[i % 2].tidy():
            pass
    assert len(set(counts.values())) == len(counts) == 80
    assert seen == [100 * i + number for _, (i, number) in sorted((seq, at) for at, seq in counts.items())] == steps(stores[1])


def test_a_run_that_two_endpoints_begin_at_once_is_one_run(stores):
    for turn in range(5):
        at_once = threading.Barrier(2)
        answers = []

        def begin(i, turn=turn, at_once=at_once, answers=answers):
            at_once.wait()
            answers.append(begun(stores[i], f"run {turn}", f"p{i}", f"app {i}"))

        threads = [threading.Thread(target=begin, args=[i]) for i in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(isinstance(answer, RunConflict) for answer in answers) == [False, True]


def test_a_run_that_another_endpoint_makes_while_a_batch_is_stored_is_held_too(stores, postgres_server, monkeypatch):
    find, others = writes.find_run, []

    def interrupted(db, run, **options):
        if others:
            return find(db, run, **options)
        others.append(threading.Thread(target=stores[1].append, args=[[Batch("run", "app", "p", 1, [rows(2)])]]))
        db.execute("SELECT 1").fetchone()  # what came before it in the pipeline is done: no run was there to be held
        stores[1].append([Batch("run", "app", "p", 0, [Start("{}", 1.0), rows(0)])])
        found = find(db, run, **options)
        others[0].start()
        waiting = "SELECT 1 FROM pg_stat_activity WHERE application_name = 'streamvis' AND wait_event_type = 'Lock'"
        wait_until(lambda: not others[0].is_alive() or postgres_server.execute(waiting), what="the other to wait or end")
        return found

    monkeypatch.setattr(writes, "find_run", interrupted)
    stores[0].append([Batch("run", "", "q", 0, [rows(1)])])
    others[0].join()
    assert stores[0].run("run").cursor.seq == 3 and sorted(steps(stores[1])) == [0, 1, 2]
    assert len({seq for (seq,) in ask(stores[0], "SELECT last_seq FROM chunks")}) == 3


def test_an_endpoint_that_stalls_while_it_stores_holds_others_up_only_for_a_moment(database, monkeypatch):
    monkeypatch.setattr(connections, "_STALLED_S", 0.2)
    stalled, other = open_store(database), open_store(database)
    begun(other)
    batch = Batch("run", "app", "q", 1, [rows(1)])
    holds = [lambda db: db.hold_batches([batch]), lambda db: db.hold_runs(["run"]) or db.execute("SELECT 1").fetchone()]
    for number, hold in enumerate(holds, 1):
        with pytest.raises(StoreUnavailable), stalled._writing() as (db, _):
            hold(db)
            assert isinstance(other.append([Batch("run", "app", "p", number, [rows(number)])])[0], Ack)
    assert isinstance(stalled.append([batch])[0], Ack) and steps(other) == [1, 2, 1]
    stalled.close()
    other.close()


FINISHED = Finish("finished", 1.0)
OTHERS = {
    "append": lambda store: store.append([Batch(run, "", "p", 1, [FINISHED]) for run in ("second b", "second a")]),
    "begin": lambda store: store.append([Batch(f"third {app}", app, "p", 0, [Start("{}", 1.0)]) for app in "ba"]),
    "begin apps": lambda store: store.append([Batch(f"third {app}", app, "p", 0, [Start("{}", 1.0)]) for app in "bca"]),
    "describe": lambda store: store.describe(["second b", "second a"], Description(name="name")),
    "delete": lambda store: store.delete("second b", "second a"),
}


@pytest.mark.parametrize("other", OTHERS)
def test_commits_that_change_the_same_apps_in_another_order_wait_for_each_other_in_one(
    other, stores, postgres_server, monkeypatch
):
    for place in ("first", "second"):
        for app in "ab":
            begun(stores[0], f"{place} {app}", app=app)
    append_one, trouble, met, threads = stores[0]._append_one, PostgresStore._trouble, [], []
    waiting = "SELECT 1 FROM pg_stat_activity WHERE application_name = 'streamvis' AND wait_event_type = 'Lock'"

    def interrupted(db, batch, changes):
        answer = append_one(db, batch, changes)
        if not threads:
            db.execute("SELECT 1").fetchone()  # what came before it in the pipeline is done
            threads.append(threading.Thread(target=OTHERS[other], args=[stores[1]]))
            threads[0].start()
            wait_until(lambda: postgres_server.execute(waiting), what="the other to wait")
        return answer

    monkeypatch.setattr(stores[0], "_append_one", interrupted)
    monkeypatch.setattr(PostgresStore, "_trouble", lambda self, error: met.append(error) or trouble(self, error))
    begins = [Batch("fourth c", "c", "q", 0, [Start("{}", 1.0)])] if other == "begin apps" else []
    answers = stores[0].append([Batch("first a", "", "p", 1, [FINISHED]), *begins, Batch("first b", "", "p", 1, [FINISHED])])
    threads[0].join()
    assert not met and all(isinstance(answer, Ack) for answer in answers)


def test_a_batch_that_the_database_does_not_take_is_refused_alone(stores, monkeypatch):
    begun(stores[0])
    good, nul = rows(1), encode_rows("a\0b", [1], [0.0], {"x": [1.0]})
    answers = stores[0].append([Batch("run", "app", "p", 1, [nul]), Batch("run", "app", "q", 1, [good])])
    assert isinstance(answers[0], InvalidData) and "NUL" in str(answers[0]) and isinstance(answers[1], Ack)
    add = stores[0]._append_one

    def failing(db, batch, changes):
        # Not waited for: it shows at a later statement.
        if batch.number == 2:
            db.execute("SELECT CAST(? AS bigint)", ("no number",))
        return add(db, batch, changes)

    monkeypatch.setattr(stores[0], "_append_one", failing)
    answers = stores[0].append([Batch("run", "app", "p", 2, [rows(2)]), Batch("run", "app", "q", 3, [rows(3)])])
    assert isinstance(answers[0], InvalidData) and isinstance(answers[1], Ack) and steps(stores[0]) == [1, 3]


def test_a_name_that_is_too_long_for_an_index_refuses_its_own_batch_alone(stores):
    store, chooses = stores[0], random.Random(3)
    long = "".join(chr(chooses.randrange(0xAC00, 0xD7A3)) for _ in range(990))  # nothing that PostgreSQL could compress
    begun(store)
    start = [Start("{}", 1.0)]
    good = [Batch("run", "app", f"p{i}", 1, [rows(i)]) for i in range(4)]
    bad = [
        Batch("run", "app", "q", 1, [rows(9, long)]),
        Batch("run", "app", long, 1, [rows(9)]),
        Batch("new", long, "p", 0, start),
    ]
    answers = store.append([good[0], bad[0], good[1], bad[1], good[2], bad[2], good[3]])
    assert [type(answer) for answer in answers] == [Ack, InvalidData] * 3 + [Ack]
    assert steps(store) == [0, 1, 2, 3] and list(store.keys("run")) == ["k"]


def test_a_batch_that_is_refused_leaves_no_app(stores):
    store = stores[0]
    begun(store)
    batches = [Batch(run, app, "p", 0, [Start("{}", 1.0), *more]) for run, app, more in REFUSED]
    *refused, kept = store.append([*batches, Batch("another", "other", "p", 0, [Start("{}", 1.0)])])
    assert [type(one) for one in refused] == [RunConflict, InvalidData] and isinstance(kept, Ack)
    with store._reading() as db:
        assert sorted(name for (name,) in db.execute("SELECT name FROM apps")) == ["app", "other"]


def test_a_connection_that_met_damage_prepares_statements_again(stores):
    reads = stores[0]._readers
    for _ in range(4):
        with reads.transaction() as db, contextlib.suppress(psycopg.Error):
            db.execute("DO $$ BEGIN RAISE EXCEPTION 'damaged' USING ERRCODE = 'XX001'; END $$")
        with reads.transaction() as db:
            for _ in range(5):
                assert db.execute("SELECT 1 AS again").fetchone() == (1,)
            assert db.execute("SELECT count(*) FROM pg_prepared_statements WHERE statement LIKE '%again'").fetchone() == (1,)


def test_what_one_deletes_or_clears_is_gone_at_the_other_at_once(stores):
    one, other = stores
    begun(one)
    other.append([Batch("run", "app", "p", 1, [rows(1)])])
    cursor = one.tail("run", None).cursor
    other.clear("run")
    assert one.tail("run", cursor).restart and steps(one) == []
    one.delete("run")
    with pytest.raises(DeletedRun):
        other.run("run")
    assert isinstance(other.append([Batch("run", "app", "p", 2, [rows(2)])])[0], DeletedRun)
    assert other.restore("run").id == "run"


def test_a_column_whose_summary_the_database_refuses_costs_no_other_column_its_own(stores, caplog):
    store, chooses = stores[0], random.Random(5)
    long = "".join(chr(chooses.randrange(0xAC00, 0xD7A3)) for _ in range(990))
    for run in ("before", "odd", "after"):
        begun(store, run)
    for number in range(1, 8):
        columns = {"x": [float(number)], "lo\0ss": [1.0], long: [2.0], **{f"c{i}": [1.0] for i in range(20)}}
        odd = encode_rows("odd", [number], [0.0], columns)
        chunks = [("before", rows(number)), ("odd", odd), ("odd", rows(number)), ("after", rows(number))]
        for n, (run, chunk) in enumerate(chunks):
            assert isinstance(store.append([Batch(run, "app", f"q{n}", number, [chunk])])[0], Ack)
        while store.tidy():
            pass
    found = [store.find(RunQuery(app="app", where=Filter.parse(f"{name}.count == 7"))) for name in ("k.x", "odd.x", "odd.c19")]
    assert [sorted(run.info.id for run in one.runs) for one in found] == [["after", "before", "odd"], ["odd"], ["odd"]]
    told = [record.getMessage() for record in caplog.records if "gets no summary" in record.getMessage()]
    assert len(told) == 2 and all("key 'odd' of the run 'odd'" in line for line in told), "each is told once"
    assert "lo\\x00ss" in told[0] + told[1] and long[:40] in told[0] + told[1]


def test_only_one_tidies_at_a_time_and_another_goes_on_when_it_dies(stores, postgres_server):
    begun(stores[0])
    for number in range(1, 70):
        stores[0].append([Batch("run", "app", "p", number, [rows(number)])])
    with stores[0]._writing() as (db, _):
        assert db.execute("SELECT pg_try_advisory_xact_lock(?)", (stores[0]._lock_number,)).fetchone() == (True,)
        assert stores[1].tidy() is False and len(stores[1].rows("run", "k").bodies) == 69
    while stores[1].tidy():
        pass
    assert len(stores[0].rows("run", "k").bodies) < 10 and steps(stores[0]) == list(range(1, 70))


def test_what_a_lost_connection_kept_from_being_deleted_is_deleted_later(stores, postgres_server, monkeypatch):
    begun(stores[0])
    stores[0].append([Batch("run", "app", "p", 1, [rows(1)])])
    stores[0].clear("run")
    cut = []

    def interrupted(db, log):
        if not cut:
            cut.append(log)
            postgres_server.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'streamvis'")
        discard_piece(db, log)

    monkeypatch.setattr(tidying, "discard_piece", interrupted)
    with pytest.raises(StoreUnavailable):
        while stores[0].tidy():
            pass
    while stores[0].tidy():
        pass
    assert cut and ask(stores[0], "SELECT count(*) FROM logs WHERE dropped = 1") == [(0,)]


def test_a_commit_is_told_at_the_other_store_by_a_message(stores):
    heard = []
    stores[1].listen(heard.append)
    stores[0].listen(lambda changes: None)
    listening = "SELECT 1 FROM pg_stat_activity WHERE query LIKE 'LISTEN%'"
    wait_until(lambda: stores[0]._readers and _asked(stores[0], listening), what="both to listen")
    begun(stores[0], "told")
    wait_until(lambda: any("told" in changes.runs and "app" in changes.apps for changes in heard), what="the message")


def test_a_name_that_the_database_does_not_take_does_not_end_the_looks_for_news(stores, monkeypatch):
    app_head, looks = stores[0].app_head, []
    monkeypatch.setattr(stores[0], "app_head", lambda name: looks.append(name) or app_head(name))
    monkeypatch.setattr(other_endpoints, "_LOOK_S", 0.05)

    async def watch():
        news = News(10)
        watching = asyncio.create_task(other_endpoints.watch_others(stores[0], news))
        with news.listen("app", "a\0b"):
            await asyncio.to_thread(wait_until, lambda: len(looks) > 1 or watching.done())
        with news.listen("run", "run") as told:
            await asyncio.to_thread(begun, stores[1])
            await asyncio.wait([told, watching], timeout=30, return_when=asyncio.FIRST_COMPLETED)
        assert told.done() and not watching.done()
        watching.cancel()

    asyncio.run(watch())


def _asked(store, statement):
    with store._reading() as db:
        return len(db.execute(statement).fetchall()) >= 2


def test_messages_are_never_longer_than_postgresql_takes():
    runs, apps = {f"run {i}" * 20 for i in range(500)}, {"a" * 1000, "é" * 4000}
    texts = list(messages._texts("me", runs, apps))
    assert all(len(text.encode()) < 8000 for text in texts)
    assert {run for text in texts for run in json.loads(text)[1]} == runs
    assert {app for text in texts for app in json.loads(text)[2]} == {"a" * 1000}


def test_a_store_whose_connections_were_all_cut_goes_on(stores, postgres_server):
    begun(stores[0])
    stores[0].append([Batch("run", "app", "p", 1, [rows(1)])])
    postgres_server.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'streamvis'")
    assert not stores[0].append([Batch("run", "app", "p", 2, [rows(2)])])[0].duplicate
    assert steps(stores[0]) == [1, 2]


def test_behind_pgbouncer_in_transaction_mode_all_works_and_news_come_by_looking(pooled_database):
    stores = [open_store(pooled_database), open_store(pooled_database)]
    assert [store.is_pooled for store in stores] == [True, True]
    stores[0].listen(lambda changes: None)
    begun(stores[0])
    for number in range(1, 40):
        assert not stores[number % 2].append([Batch("run", "app", "p", number, [rows(number)])])[0].duplicate
    assert stores[0].heads(["run", "none"]) == stores[1].heads(["run"]) == {"run": stores[0].run("run").cursor}
    while stores[0].tidy() or stores[1].tidy():
        pass
    assert steps(stores[1]) == list(range(1, 40))
    for store in stores:
        store.close()


def test_tidying_behind_a_pooler_ends_while_every_other_connection_waits_for_the_runs_that_it_holds(
    pooled_database, postgres_server, monkeypatch
):
    stores = [open_store(pooled_database), open_store(pooled_database)]
    for run in ("one", "two"):
        begun(stores[0], run)
        for number in range(1, 40):
            stores[0].append([Batch(run, "app", "p", number, [rows(number)])])
    waiting = "SELECT 1 FROM pg_stat_activity WHERE application_name = 'streamvis' AND wait_event_type = 'Lock'"
    put, posting = tidying.Tidier._put_in_place, []

    def beside_posts(self, db, key, work):
        put(self, db, key, work)
        if not posting:
            db.execute("SELECT 1").fetchone()
            for number, store in enumerate(stores, 40):
                batches = [Batch(run, "app", f"q{number}", number, [rows(number)]) for run in ("one", "two")]
                posting.append(threading.Thread(target=store.append, args=[batches], daemon=True))
                posting[-1].start()
            wait_until(lambda: postgres_server.execute(waiting), what="a post to wait for the runs")

    def tidy():
        while stores[0].tidy():
            pass

    monkeypatch.setattr(tidying.Tidier, "_put_in_place", beside_posts)
    work = threading.Thread(target=tidy, daemon=True)
    work.start()
    wait_until(lambda: not any(thread.is_alive() for thread in (work, *posting)), what="all to be tidied and stored")
    assert posting and len(stores[0].rows("one", "k").bodies) < 10
    assert {run: sorted(steps(stores[1], run)) for run in ("one", "two")} == dict.fromkeys(("one", "two"), list(range(1, 42)))
    for store in stores:
        store.close()


def test_tables_of_a_newer_version_are_refused_and_those_who_start_at_once_make_one_store(database, postgres_server):
    made = []
    threads = [threading.Thread(target=lambda: made.append(open_store(database))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({store.id for store in made}) == 1 and len(made) == 3
    for store in made:
        store.close()
    schema = DatabaseAddress.of(database).schema
    postgres_server.execute(f"UPDATE {schema}.meta SET value = '99' WHERE name = 'schema'")
    with pytest.raises(StoreError, match="newer Streamvis"):
        open_store(database)
    postgres_server.execute(f"UPDATE {schema}.meta SET value = '{SCHEMA_VERSION}' WHERE name = 'schema'")


@pytest.mark.parametrize("has_column", [False, True])
def test_tables_of_version_1_get_what_later_ones_need(has_column, database, postgres_server):
    open_store(database).close()
    schema = DatabaseAddress.of(database).schema
    postgres_server.execute(f"UPDATE {schema}.meta SET value = '1' WHERE name = 'schema'")
    if not has_column:
        postgres_server.execute(f"ALTER TABLE {schema}.keys DROP COLUMN first_missing, DROP COLUMN undigested")
        postgres_server.execute(f"CREATE INDEX keys_undigested ON {schema}.keys (no) WHERE kind = 'rows' AND digested < rows")
    postgres_server.execute(f"DROP INDEX {schema}.key_values_by_time; DROP TABLE {schema}.alerts")
    store = open_store(database)
    assert store.alerts().waiting == 0
    begun(store)
    for number in (1, 2):
        store.append([Batch("run", "app", "p", number, [encode_value("v", number, 0.0, {"n": [number]}, keep=1)])])
    assert store.keys("run", at=1)["v"].is_kept is False
    store.close()


def test_a_database_with_fsync_off_is_refused_unless_allowed(database, postgres_server):
    def set_fsync(how, shown):
        postgres_server.execute(f"ALTER SYSTEM {how}")
        postgres_server.execute("SELECT pg_reload_conf()")
        wait_until(lambda: postgres_server.execute("SHOW fsync") == [(shown,)])

    set_fsync("SET fsync = off", "off")
    try:
        with pytest.raises(StoreError, match="fsync is off.*--allow-async-commit"):
            open_store(database)
        open_store(database, may_lose=True).close()
    finally:
        set_fsync("RESET fsync", "on")


def test_a_check_whose_connection_is_lost_does_not_call_that_damage(database, postgres_server, stores, monkeypatch):
    begun(stores[0])
    stores[0].append([Batch("run", "app", "p", 1, [rows(1)])])
    read = checking.read_chunk

    def cut_off(*given):
        ours = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'streamvis' AND state <> 'idle'"
        assert postgres_server.execute(ours)
        return read(*given)

    monkeypatch.setattr(checking, "read_chunk", cut_off)
    with pytest.raises(StoreError, match="could not be read to the end.*Check it again"):
        check_place(DatabaseAddress.of(database), progress=lambda *_: None)


def test_a_database_that_cannot_be_read_is_told_of_in_a_line(monkeypatch):
    address = DatabaseAddress.of("postgresql://me:geheim@localhost:1/db")
    with pytest.raises(StoreError, match="localhost:1/db.*cannot be used") as error:
        check_place(address, progress=lambda *_: None)
    assert "geheim" not in str(error.value)
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(UsageError, match="PostgreSQL support is not installed"):
        check_place(address, progress=lambda *_: None)


@pytest.mark.parametrize(
    "address", ["u:geheim#w@h/d", "u:geheim/w@h/d", "u:geheim?w@h/d", "u:w@geheim/w@h/d", "u:w@geheim?w=w@h/d", "u@h/d#geheim"]
)
def test_a_password_that_is_not_percent_encoded_is_refused_and_not_shown(address):
    with pytest.raises(UsageError, match="%2F") as error:
        DatabaseAddress.of(f"postgresql://{address}")
    assert "geheim" not in str(error.value)
    assert "geheim" not in str(DatabaseAddress.of("postgresql://u:geheim%23%2F%3F%40@h/d"))


def test_a_database_that_does_not_wait_for_its_disk_is_refused_unless_allowed(database):
    options = f"{database}&options=-c%20synchronous_commit%3Doff"
    with pytest.raises(StoreError, match="--allow-async-commit"):
        open_store(options)
    store = open_store(options, may_lose=True)
    assert "can be lost" in store.durability.told
    store.close()


def test_an_address_is_shown_without_its_password():
    address = DatabaseAddress.of("postgresql://me:geheim@localhost:1/db?password=geheim2&schema=s&connect_timeout=1")
    assert "geheim" not in repr(address) + str(address) and address.schema == "s" and "schema" not in address.conninfo
    with pytest.raises(StoreError) as error:
        PostgresStore(address)
    assert "geheim" not in str(error.value) and "localhost:1/db" in str(error.value)
    for wrong in ("postgresql://me:geheim@host:port:1/db", "postgresql://me:geheim@host/db?nonsense=geheim"):
        with pytest.raises((StoreError, UsageError)) as error:
            PostgresStore(DatabaseAddress.of(wrong))
        assert "geheim" not in str(error.value)
    with pytest.raises(UsageError, match="schema"):
        DatabaseAddress.of("postgresql://h/d", schema='x"; DROP')


@pytest.fixture
def kept_database(database, postgres_server, start_streamvis):
    """The address of a store for the role that docs/scaling.md makes for endpoints."""
    schema = DatabaseAddress.of(database).schema
    made = start_streamvis("migrate", "--data", database)
    assert made.wait() == 0 and "has the tables of this version" in made.output()
    docs = (Path(__file__).parents[2] / "docs" / "scaling.md").read_text()
    script = re.search(r"```sql\n(CREATE ROLE keeper.*?)```", docs, re.DOTALL)[1]
    postgres_server.execute(script.replace("SCHEMA streamvis", f"SCHEMA {schema}").replace("ROLE streamvis", "ROLE postgres"))
    yield database.replace("postgres@", "keeper@")
    postgres_server.execute("DROP OWNED BY keeper; DROP ROLE keeper")


def test_a_role_that_may_only_use_its_schema_can_run_an_endpoint(kept_database):
    store = open_store(kept_database)
    begun(store)
    assert store.run("run").state == "running" and store.tidy() in (True, False)
    store.close()


def test_a_copy_by_a_role_that_may_only_use_its_schema_takes_new_data(kept_database, tmp_path, start_streamvis):
    source = copied_from(tmp_path / "data", ["a", "b"])
    program = start_streamvis("copy", source, kept_database)
    assert program.wait() == 0 and "Copied 2 runs" in program.output()
    store = open_store(kept_database)
    end_copying(store)
    assert isinstance(begun(store, "c", app="other"), Ack) and steps(store, "b") == [1, 2, 3]
    store.close()


@pytest.mark.parametrize("starting", ["one endpoint", "two at once"])
def test_a_copy_that_was_killed_takes_new_data_once_an_endpoint_starts_on_it(starting, stores, tmp_path, monkeypatch):
    source = copied_from(tmp_path / "data", ["a", "b", "c"])
    copy_run, left = copying._copy_run, [2]

    def killed(*given):
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        copy_run(*given)

    monkeypatch.setattr(copying, "_copy_run", killed)
    with pytest.raises(KeyboardInterrupt):
        copy_places(source, stores[0].address, progress=lambda *_: None)
    starts = [threading.Thread(target=end_copying, args=[store]) for store in stores[: 1 + (starting == "two at once")]]
    for start in starts:
        start.start()
    for start in starts:
        start.join()
    for app in ("other", "app"):
        assert isinstance(begun(stores[0], f"new of {app}", app=app), Ack)
    assert isinstance(stores[1].append([Batch("a", "app", "q", 0, [rows(9)])])[0], Ack)
    assert {app.name: app.runs for app in stores[1].apps()} == {"app": 3, "other": 1}
    assert [run.id for run in stores[1].runs("app", limit=9)][0] == "new of app" and steps(stores[1], "a") == [1, 2, 3, 9]


def test_runs_that_a_database_cannot_hold_are_named_and_all_others_copied(database, tmp_path, start_streamvis):
    source, chooses = copied_from(tmp_path / "data", ["first", "noted", "long", "middle"]), random.Random(7)
    long = "".join(chr(chooses.randrange(0xAC00, 0xD7A3)) for _ in range(950))
    store = SqliteStore(source)
    store.describe(["noted"], Description(note="be\0fore"))
    store.append([Batch("long", "app", "p", 9, [rows(9, long)])])
    begun(store, "apart", app="o\0ther")
    begun(store, "last", app="more")
    store.close()
    program = start_streamvis("copy", source, database)
    assert program.wait() == 1
    told = program.output()
    assert "Copied 3 runs" in told and "cannot hold 3 of the runs" in told
    lines = {line.split("'")[1]: line for line in told.splitlines() if line.startswith("Not copied: ")}
    assert sorted(lines) == ["apart", "long", "noted"] and "the app 'app'" in lines["long"] and "NUL" in lines["noted"]
    copied = open_store(database)
    end_copying(copied)
    assert {app.name: (app.runs, app.newest) for app in copied.apps()} == {"app": (2, "middle"), "more": (1, "last")}
    assert all(steps(copied, run) == [1, 2, 3] for run in ("first", "middle")) and isinstance(begun(copied, "new"), Ack)
    copied.close()


def copied_from(folder, runs):
    """A data folder with these runs."""
    folder.mkdir()
    store = SqliteStore(folder)
    for run in runs:
        begun(store, run)
        for number in range(1, 4):
            store.append([Batch(run, "app", "p", number, [rows(number)])])
    store.close()
    return folder


@pytest.fixture
def pair(database, start_endpoint):
    return [start_endpoint(database, args=["--vanish-after", "2"]) for _ in range(2)]


def test_a_producer_and_a_reader_go_on_at_the_other_endpoint_when_theirs_is_killed(pair, postgres_server, tmp_path):
    one, other = pair
    client = Client(f"{one.url},{other.url}", "app", spool=tmp_path / "spool")
    run = client.init({"a": 1})
    reader = Transport(f"{one.url},{other.url}")

    def send(first, last):
        for step in range(first, last):
            client.sendl(step, "k", {"x": step})
        assert client.flush(30)

    send(0, 50)
    wait_until(lambda: Stored(other.url).rows(run, "k", "x") == list(range(50)))
    one.kill()
    send(50, 100)
    assert reader.request("GET", path("runs", run)).status == 200
    postgres_server.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'streamvis'")
    send(100, 150)
    one.restart()
    other.kill()
    send(150, 200)
    client.close()
    assert Stored(one.url).rows(run, "k", "x") == list(range(200)) and Stored(one.url).run(run)["state"] == "finished"


def test_a_reader_at_one_endpoint_is_told_of_what_comes_to_the_other(pair):
    one, other = (Transport(endpoint.url) for endpoint in pair)

    def send(number, record):
        body = json.dumps({"records": [record], "producer": "p", "number": number, "app": "app"}).encode()
        answer = one.request("POST", path("runs", "run", "batches"), body=body, headers={"Content-Type": "application/json"})
        assert answer.status == 200, answer

    send(0, {"kind": "start", "config": {}})
    cursor = json.loads(other.request("GET", path("runs", "run", "tail")).body)["cursor"]
    answers = []

    def wait():
        asked = {"after": cursor, "wait": 20}
        answers.append(other.request("GET", path("runs", "run", "tail"), params=asked, timeout_s=30))

    waiting = threading.Thread(target=wait)
    waiting.start()
    send(1, {"kind": "rows", "step": 0, "key": "k", "data": {"x": 1}})
    began = time.monotonic()
    waiting.join()
    assert json.loads(answers[0].body)["cursor"] != cursor and time.monotonic() - began < 15, "not told at the end of the wait"
    # Signs of life reach one endpoint only, and count at both; when they end, the run has vanished at both.
    states = [lambda at=at: json.loads(at.request("GET", path("runs", "run")).body)["state"] for at in (one, other)]
    wait_until(lambda: [state() for state in states] == ["vanished"] * 2, what="the run to vanish at both")
    assert one.request("POST", path("runs", "run", "alive"), params={"producer": "p"}).status == 204
    wait_until(lambda: [state() for state in states] == ["running"] * 2, what="the run to be back at both")


def test_behind_a_balancer_as_the_docs_set_it_up_a_producer_goes_on_when_an_endpoint_is_killed(pair, tmp_path):
    for kind, endpoint in zip(BALANCERS, pair, strict=True):
        balancer = Balancer(kind, [one.port for one in pair], folder=tmp_path / kind)
        try:
            client = Client(balancer.url, "app", spool=tmp_path / "spool")
            run = client.init({"a": 1})
            for part in range(3):
                for step in range(40 * part, 40 * part + 40):
                    client.sendl(step, "k", {"x": step})
                assert client.flush(30)
                [endpoint.kill, endpoint.restart, client.close][part]()
            assert Stored(pair[0].url).rows(run, "k", "x") == list(range(120))
        finally:
            balancer.close()


def test_a_store_is_copied_to_the_other_kind_and_back_while_it_is_used(database, postgres_server, tmp_path, start_streamvis):
    folder = tmp_path / "data"
    folder.mkdir()
    store = SqliteStore(folder, sizes=Sizes(seal_rows=16, merge_at=4, body_rows=32, fanout=2, block=2))
    for run in ("one", "two", "gone"):
        begun(store, run)
        for number in range(1, 80):
            value = encode_value("v", number, 0.0, {"n": [number]})
            store.append([Batch(run, "app", "p", number, [rows(number), value])])
        while store.tidy():
            pass
    store.delete("gone")

    def copy(source, target):
        program = start_streamvis("copy", source, target)
        return program.wait(), program.output()

    status, told = copy(folder, database)
    assert status == 0 and "Copied 3 runs" in told
    store.append([Batch("two", "app", "p", 99, [rows(99)])])
    status, told = copy(folder, database)
    assert status == 0 and "Copied 1 run with" in told and "2 were the same" in told
    store.close()
    assert start_streamvis("check", database).wait() == 0
    copied = open_store(database)
    end_copying(copied)
    assert steps(copied, "two") == [*range(1, 80), 99] and copied.value("one", "v") is not None
    assert copied.find(RunQuery(app="app", where=Filter.parse("k.x.max > 78"))).matching == 2
    assert copied.restore("gone").id == "gone"
    begun(copied, "three")
    copied.append([Batch("one", "app", "p", 100, [rows(100)])])
    while copied.tidy():
        pass
    status, told = copy(folder, database)
    assert status == 1 and "not a copy" in told
    back = tmp_path / "back"
    assert copy(database, back)[0] == 0 and start_streamvis("check", back).wait() == 0
    again = SqliteStore(back)
    for run in ("one", "two", "gone", "three"):
        assert steps(again, run) == steps(copied, run)
    copied.close()
    again.close()


def test_damage_in_a_database_is_found_and_named(database, start_streamvis):
    store = open_store(database)
    begun(store)
    store.append([Batch("run", "app", "p", 1, [rows(1)])])
    with store._writing() as (db, _):
        db.execute("UPDATE chunks SET body = ?", (b"nonsense",))
    store.close()
    program = start_streamvis("check", database)
    assert program.wait() == 1 and "Damaged: key 'k' of run 'run'" in program.output()
