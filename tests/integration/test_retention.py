"""How much of the past of values is kept: by the producer's word for a key, and by age and size for all."""

from __future__ import annotations

import threading
from contextlib import contextmanager

import pytest

import streamvis
from streamvis import Client
from streamvis.errors import UsageError
from streamvis.records import Batch, Start
from streamvis.store.removing import retention
from streamvis.store.removing.retention import Keeping, KeepValues
from streamvis.testing import open_page
from streamvis.testing_run import rows
from streamvis.wire.arrow import decode_tail_body, encode_value
from support.conditions import wait_until
from support.postgresql import open_store
from support.stores import ask, hasty_store

PAGE = """
from streamvis import panels

def init_page(doc, config):
    doc.add_root(panels.matrix("weights"))
"""


@pytest.fixture
def store(place):
    made = []

    def make(**options):
        made.append(place.open(**options))
        made[-1].append([Batch("run", "app", "p", 0, [Start("{}", 0.0)])])
        return made[-1]

    yield make
    for one in made:
        one.close()


def send(store, number, step, *, keep=None, time=0.0, key="v", size=1):
    store.append([Batch("run", "app", "p", number, [encode_value(key, step, time, {"x": [step] * size}, keep=keep)])])


def steps(store, key="v"):
    bodies = store.values("run", key, limit=1000, max_bytes=10**8)
    return [value.step for body in bodies for value in decode_tail_body(body)]


def test_all_values_are_read_if_they_are_no_more_than_asked_for_however_they_lie(store):
    its = store()
    for number in range(20):
        send(its, number + 1, 10 * number)
    for limit in (21, 20, 19, 2, 1):
        bodies = its.values("run", "v", limit=limit, max_bytes=10**8)
        found = [value.step for body in bodies for value in decode_tail_body(body)]
        assert found == [*range(0, 200, 10)] if limit >= 20 else len(found) <= limit and found[-1] == 190


def test_of_a_key_the_values_of_the_greatest_steps_are_kept(store):
    its = store()
    for number, step in enumerate([1, 5, 3, 9, 2], 1):
        send(its, number, step, keep=2)
    assert steps(its) == [5, 9]
    send(its, 6, 7, key="whole")
    send(its, 7, 8, key="whole")
    assert steps(its, "whole") == [7, 8]


def test_a_first_limit_on_a_key_of_very_many_values_removes_them_over_several_sends(store):
    its = store()
    its.append([Batch("run", "app", "p", 1, [encode_value("v", step, 0.0, {"x": [step]}) for step in range(450)])])
    left = []
    for number in range(2, 5):
        send(its, number, 1000 + number, keep=1)
        left.append(ask(its, "SELECT count(*), min(step) FROM key_values"))
    assert left == [[(251, 200)], [(52, 400)], [(1, 1004)]]


def test_a_key_says_as_of_which_steps_its_value_is_not_kept_any_more(store):
    its = store()
    for number, step in enumerate([10, 20, 30], 1):
        send(its, number, step, keep=1)
    kept = {at: its.keys("run", at=at) for at in (5, 10, 29, 30)}
    assert kept[5] == {}
    assert [kept[at]["v"].is_kept for at in (10, 29, 30)] == [False, False, True]


def test_old_values_are_removed_but_for_the_newest_of_each_key(store):
    its = store(clock=lambda: 1000.0, keep_values=KeepValues(age_s=100.0))
    for number, (step, time) in enumerate([(0, 10.0), (1, 890.0), (2, 950.0)], 1):
        send(its, number, step, time=time)
    send(its, 4, 0, time=5.0, key="rare")
    while its.tidy():
        pass
    assert steps(its) == [2] and steps(its, "rare") == [0]


def test_of_too_many_bytes_the_oldest_go_first(store):
    its = store(clock=lambda: 1000.0, keep_values=KeepValues(size_bytes=60_000))
    for step in range(20):
        send(its, step + 1, step, time=float(step), size=1000)
    while its.tidy():
        pass
    left = steps(its)
    assert left == list(range(left[0], 20)) and 3 < len(left) < 8


def keeping_while(its, keep, change):
    """What is kept as `keep` says, where `change` happens after values were chosen and before they are removed."""

    @contextmanager
    def writing():
        change()
        with its._writing() as found:
            yield found

    assert Keeping(keep, its._reading, writing, lambda: 1000.0, is_indexed=True).go_on()
    return steps(its)


def test_a_value_that_is_sent_again_before_it_is_removed_stays(store):
    its = store()
    for step in range(3):
        send(its, step + 1, step)
    assert keeping_while(its, KeepValues(age_s=10.0), lambda: send(its, 4, 1, time=999.0)) == [1, 2]


def test_a_value_that_a_resume_makes_the_newest_before_it_is_removed_stays(store):
    its = store()
    for step in range(3):
        send(its, step + 1, step)
    again = Start("{}", 1.0, attempt="again", resume_at=2)
    assert keeping_while(its, KeepValues(age_s=10.0), lambda: its.append([Batch("run", "app", "q", 0, [again])])) == [1]


def test_values_of_a_backup_that_is_restored_before_they_are_removed_stay(store):
    its = store()
    for step in range(3):
        send(its, step + 1, step)

    def restore():
        with its._writing() as (db, _):
            db.execute("UPDATE meta SET value = 'another' WHERE name = 'id'")

    assert keeping_while(its, KeepValues(age_s=10.0), restore) == [0, 1, 2]


def test_a_value_that_another_endpoint_stores_again_while_it_is_removed_stays(database, postgres_server, monkeypatch):
    its, other = open_store(database), open_store(database)
    its.append([Batch("run", "app", "p", 0, [Start("{}", 0.0)])])
    for step in range(3):
        send(its, step + 1, step)
    remove = retention._remove
    again = threading.Thread(target=send, args=[other, 4, 1], kwargs={"time": 999.0})

    def interrupted(db, key, values):
        again.start()
        waiting = "SELECT 1 FROM pg_stat_activity WHERE application_name = 'streamvis' AND wait_event_type = 'Lock'"
        wait_until(lambda: not again.is_alive() or postgres_server.execute(waiting), what="the other to wait or end")
        remove(db, key, values)

    monkeypatch.setattr(retention, "_remove", interrupted)
    assert Keeping(KeepValues(age_s=10.0), its._reading, its._writing, lambda: 1000.0, is_indexed=True).go_on()
    again.join()
    assert steps(other) == [1, 2]
    its.close()
    other.close()


def test_how_much_is_held_is_added_up_once_for_all_that_is_removed(tmp_path):
    its = hasty_store(tmp_path)
    its.append([Batch("run", "app", "p", 0, [Start("{}", 0.0)])])
    its.append([Batch("run", "app", "p", 1, [encode_value("v", step, 0.0, {"x": [step]}) for step in range(900)])])
    asked = []

    @contextmanager
    def reading():
        with its._reading() as db:
            db.set_trace_callback(asked.append)
            try:
                yield db
            finally:
                db.set_trace_callback(None)

    work = Keeping(KeepValues(size_bytes=1), reading, its._writing, lambda: 1000.0, is_indexed=True)
    while work.go_on():
        pass
    assert steps(its) == [899] and sum("sum(size)" in statement for statement in asked) == 1
    its.close()


@pytest.mark.parametrize(
    ("texts", "keep"),
    [
        (["30d"], KeepValues(age_s=30 * 86400)),
        (["1.5GB", "2h"], KeepValues(age_s=7200, size_bytes=1_500_000_000)),
        ([], KeepValues()),
    ],
)
def test_what_an_operator_says_is_read(texts, keep):
    assert KeepValues.read(texts) == keep


@pytest.mark.parametrize("text", ["30", "d", "30 days", "-1d", "0d"])
def test_what_makes_no_sense_is_refused(text):
    with pytest.raises(UsageError, match="--keep-values"):
        KeepValues.read([text])


def test_a_client_says_how_many_values_to_keep_for_all_or_for_one(shared_endpoint):
    with Client(shared_endpoint.url, "keeping", keep="newest") as client:
        run = client.init({})
        for step in range(5):
            client.send(step, "newest", {"x": step})
            client.send(step, "three", {"x": step}, keep=3)
        with pytest.raises(UsageError, match="keep is 0"):
            client.send(5, "newest", {"x": 5}, keep=0)
    for wrong in ("oldest", 2**31):
        with pytest.raises(UsageError, match=f"keep is {wrong!r}"):
            Client(shared_endpoint.url, "keeping", keep=wrong)
    with streamvis.open(shared_endpoint.url) as reader:
        found = {key: [value.step for value in reader.run(run).values(key)] for key in ("newest", "three")}
    assert found == {"newest": [4], "three": [2, 3, 4]}


def test_a_page_of_the_past_says_which_values_are_not_kept(tmp_path):
    (tmp_path / "page.py").write_text(PAGE)
    with open_page(tmp_path / "page.py", records=[rows(0, "loss", {"x": 1})]) as page:
        for step in (10, 20):
            page.send(step, "weights", {"w": [[step]]}, keep=1)
        page.at(step=15)
        assert "no longer kept" in page.notices and "weights" in page.notices
        page.at(step=20)
        assert "no longer kept" not in page.notices
