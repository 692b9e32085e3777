"""The road against a fake endpoint: numbers, retries, refusals, the log, and what is said about them."""

import itertools
import threading
import time

import pytest

from streamvis import records
from streamvis.client.encoding import encode_bodies
from streamvis.client.intake import Intake
from streamvis.client.outbox import CONTROL, ROW, Begin, Outbox
from streamvis.client.process.ending import close
from streamvis.client.producer_log import Log, Settings
from streamvis.client.spool.folders import SpoolPlace
from streamvis.client.spool.frames import are_notes, notes_of, read_segment
from streamvis.client.spool.segments import Segments
from streamvis.client.values.copying import Deferred, Unfetched
from streamvis.errors import DeletedRun, EndpointRefused, NotAnEndpoint, TokenRefused, VersionMismatch
from streamvis.transport import Response
from streamvis.wire.arrow import decode_batch_body
from support.conditions import wait_until
from support.fake_endpoint import away
from support.roads import fail, is_kept, spooled, steps


def test_batches_are_numbered_from_1_and_arrive_in_order(script, endpoint):
    script.start_run()
    for step in range(50):
        script.sendl(step)
        if step % 10 == 0:
            assert script.flush()
    assert script.flush()
    assert steps(endpoint) == list(range(50))
    (numbers,) = endpoint.numbers.values()
    assert numbers == list(range(1, len(numbers) + 1)) and len(numbers) >= 6
    assert {params["app"] for params, _ in endpoint.requests} == {"app"}


def test_a_batch_that_failed_is_sent_again_with_the_same_bytes_and_number(script, endpoint, said):
    script.start_run()
    left = itertools.chain([503, 429, 408, 500, 401, 403], itertools.repeat(None))
    endpoint.answer = lambda params, body: next(left)
    script.sendl(0)
    assert script.flush()
    tries = [(params["number"], body) for params, body in endpoint.requests if params["number"] == 2]
    assert len(tries) == 7 and len(set(tries)) == 1
    assert steps(endpoint) == [0]
    wait_until(lambda: len(said()) == 2)
    assert "a reason" in said()[0] and "answers again" in said()[1]


def test_a_lost_answer_does_not_store_twice(script, endpoint):
    script.start_run()
    failing = threading.Event()
    real = endpoint.request

    def lose_the_answer(*args, **options):
        answer = real(*args, **options)
        if not failing.is_set():
            failing.set()
            away({}, b"")
        return answer

    endpoint.request = lose_the_answer
    script.sendl(0)
    script.sendl(1)
    assert script.flush()
    assert steps(endpoint) == [0, 1] and failing.is_set()


def test_what_comes_while_the_endpoint_is_away_goes_to_the_spool_and_is_delivered_in_order(script, endpoint, tmp_path, said):
    script.start_run()
    endpoint.answer = away
    for step in range(100):
        script.sendl(step)
        if step % 20 == 0:
            wait_until(lambda: is_kept(script))
    wait_until(lambda: spooled(tmp_path) and is_kept(script))
    assert len(wait_until(said)) == 1
    endpoint.answer = lambda params, body: None
    assert script.flush()
    assert steps(endpoint) == list(range(100))
    assert spooled(tmp_path) == []
    wait_until(lambda: len(said()) == 2)
    (numbers,) = endpoint.numbers.values()
    assert numbers == list(range(1, len(numbers) + 1))


def begin_to_gather(script, endpoint):
    """A row of step 0 is stored, and what comes after it waits for up to ten seconds."""
    script.start_run()
    endpoint.pace_s = 10
    script.sendl(0)
    wait_until(lambda: steps(endpoint) == [0])


def test_where_the_endpoint_asks_for_it_records_go_in_fewer_requests(script, endpoint, tmp_path):
    endpoint.pace_s = 0.5
    script.start_run()
    pause = threading.Event()
    for step in range(100):
        script.sendl(step)
        pause.wait(0.01)
    assert script.flush()
    # In a second and a bit: a request every half a second, or somewhat more often; and those of the start and the flush.
    assert len(endpoint.requests) <= 6
    assert steps(endpoint) == list(range(100)) and spooled(tmp_path) == []


def test_while_records_keep_coming_the_sender_rests_nine_times_as_long_as_it_works(script, endpoint, monkeypatch):
    request = endpoint.request

    def work(*arguments, **options):
        until = time.thread_time() + 0.01
        while time.thread_time() < until:
            pass
        return request(*arguments, **options)

    script.start_run()
    monkeypatch.setattr(endpoint, "request", work)
    before, began, pause = len(endpoint.requests), time.monotonic(), threading.Event()
    for step in range(200):
        script.sendl(step)
        pause.wait(0.003)
    assert len(endpoint.requests) - before <= 2 + (time.monotonic() - began) / 0.1
    assert script.flush() and steps(endpoint) == list(range(200))


def test_what_waits_because_the_endpoint_asks_for_it_is_on_the_disk_as_notes(script, endpoint, tmp_path):
    begin_to_gather(script, endpoint)
    for step in range(1, 20):
        script.sendl(step, x=step, y=float("nan"), z=None, text="α", yes=True, large=2**60)
        if step % 5 == 0:
            wait_until(lambda: script.unsettled_records and is_kept(script))
    wait_until(lambda: script.unsettled_records == 19 and is_kept(script))
    assert len(endpoint.requests) == 2
    (file,) = spooled(tmp_path)
    ((noted, _),) = read_segment(file)
    assert (noted.number, noted.records) == (3, 19) and all(map(are_notes, noted.bodies))
    assert script.flush() and spooled(tmp_path) == []
    # What a crash would have left says exactly what was sent then.
    (sent,) = [chunk for chunk in decode_batch_body(endpoint.requests[-1][1]) if isinstance(chunk, records.RowsChunk)]
    (kept,) = decode_batch_body(encode_bodies(noted.bodies).body)
    assert (kept.columns, kept.body) == (sent.columns, sent.body)


def test_nobody_who_waits_for_the_endpoint_waits_for_the_pace_that_it_asks_for(make_script, endpoint):
    script = make_script(durable=True)
    endpoint.pace_s = 10
    script.start_run("one", within_s=5)
    script.sendl(0)
    assert script.flush(within_s=5)
    script.sendl(1)
    assert script.flush(within_s=5)
    for thread in durably(script, 2):
        thread.join(5)
        assert not thread.is_alive()
    script.start_run("two", within_s=5)
    assert steps(endpoint, "one") == [0, 1, 2] and endpoint.runs["one"][-1].state == "finished"


def test_what_is_large_or_no_plain_row_is_kept_in_its_own_form_while_producers_gather(script, endpoint, tmp_path):
    import numpy as np

    begin_to_gather(script, endpoint)
    script.sendl(1)
    wait_until(lambda: spooled(tmp_path) and is_kept(script))
    script.sendl(2, x=np.float32(0.1))
    script.sendl(3, x=np.arange(1000.0))
    wait_until(lambda: script.unsettled_records == 3 and is_kept(script))
    script.sendl(4)
    wait_until(lambda: script.unsettled_records == 4 and is_kept(script))
    assert script.flush()
    assert steps(endpoint) == [0, 1, 2, *[3] * 1000, 4] and spooled(tmp_path) == []


def test_an_endpoint_that_answers_late_is_not_overrun_by_small_batches(script, endpoint):
    script.start_run()
    late = threading.Event()
    endpoint.answer = lambda params, body: late.wait(0.3) or None
    for step in range(300):
        script.sendl(step)
        late.wait(0.01)
    before = len(endpoint.requests)
    assert script.flush()
    # What waited while one request was under way, goes with the next.
    assert len(endpoint.requests) - before <= 3
    assert steps(endpoint) == list(range(300))


def test_while_a_request_hangs_records_reach_the_disk(script, endpoint, tmp_path):
    script.start_run()
    going_on = threading.Event()
    endpoint.answer = lambda params, body: going_on.wait(30) and None
    for step in range(10):
        script.sendl(step)
    wait_until(lambda: spooled(tmp_path) and is_kept(script), what="the writer to write")
    for step in range(10, 20):
        script.sendl(step)
    wait_until(lambda: is_kept(script))
    going_on.set()
    assert script.flush()
    assert steps(endpoint) == list(range(20)) and spooled(tmp_path) == []


def test_a_refused_batch_is_set_aside_and_what_follows_goes_on(script, endpoint, said, tmp_path, capsys):
    script.start_run()
    endpoint.answer = lambda params, body: 422 if params["number"] == 2 else None
    script.sendl(0)
    assert script.flush()
    script.sendl(1)
    assert script.flush()
    assert steps(endpoint) == [1]
    assert len(said()) == 1 and "a reason" in said()[0]
    assert script.failed_records == script.producer.log.runs.set_aside_records == 1
    assert not close([script], "finished")
    ((batch, _),) = read_segment(next((tmp_path / "spool" / "refused").glob("*.spool")))
    assert (batch.run, batch.number, batch.records) == ("run", 2, 1)
    assert "a reason" in next((tmp_path / "spool" / "refused").glob("*.txt")).read_text()
    assert f"1 record was refused by {script.url}. It is in {tmp_path / 'spool' / 'refused'}." in capsys.readouterr().err


def test_an_endpoint_that_lost_the_run_is_told_of_it_again(script, endpoint):
    script.start_run()
    script.sendl(0)
    assert script.flush()
    endpoint.runs.clear()
    endpoint.numbers.clear()
    script.sendl(1)
    assert script.flush()
    assert endpoint.runs["run"][0] == records.Start('{"a": 1}', endpoint.runs["run"][0].time, None, True)
    assert steps(endpoint) == [1]


def test_nothing_more_is_sent_for_a_deleted_run(script, endpoint, said):
    script.start_run()
    endpoint.answer = lambda params, body: 410 if params["number"] == 2 else None
    for step in range(20):
        script.sendl(step)
        script.flush()
    assert len([params for params, _ in endpoint.requests if params["number"] > 1]) == 1
    assert len(said()) == 1 and "deleted" in said()[0]
    assert script.lost_records == 20
    script.start_run("another")
    script.sendl(0)
    assert script.flush() and steps(endpoint, "another") == [0]


def test_a_refused_key_and_a_warning_are_said_once(script, endpoint, said):
    script.start_run()
    endpoint.refused, endpoint.warnings = [{"key": "k", "reason": "it holds a value"}], ["the config differs"]
    for step in range(3):
        script.sendl(step)
        assert script.flush()
    key, config = sorted(said())
    assert "the key 'k' were refused: it holds a value" in key and "the config differs" in config


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (lambda: Response(404, {}, b"hello"), NotAnEndpoint),
        (lambda: Response(200, {"streamvis-protocol": "99"}, b"{}"), VersionMismatch),
        (lambda: Response(401, {"streamvis-protocol": "1"}, b"{}"), TokenRefused),
        (lambda: Response(410, {"streamvis-protocol": "1"}, b"{}"), DeletedRun),
        (lambda: Response(422, {"streamvis-protocol": "1"}, b"{}"), EndpointRefused),
    ],
)
def test_who_begins_a_run_learns_why_it_cannot_be(script, endpoint, answer, error):
    request, endpoint.request = endpoint.request, lambda *args, **options: answer()
    assert isinstance(script.start_run().error, error)
    endpoint.request = request


def test_each_run_of_a_client_has_its_own_records(script, endpoint):
    for run in ("one", "two"):
        script.start_run(run)
        script.sendl(len(run), run)
    assert script.flush()
    assert [type(chunk).__name__ for chunk in endpoint.runs["one"]] == ["Start", "RowsChunk", "Finish"]
    assert [type(chunk).__name__ for chunk in endpoint.runs["two"]] == ["Start", "RowsChunk"]


def test_many_records_make_bounded_batches(script, endpoint):
    import numpy as np

    script.start_run()
    going_on = threading.Event()
    endpoint.answer = lambda params, body: going_on.wait(30) and None
    script.sendl(0)
    for step in range(1, 33):
        script.sendl(step, x=np.zeros(2**16))
    going_on.set()
    assert script.flush()
    assert len(steps(endpoint)) == 1 + 32 * 2**16
    assert max(len(body) for _, body in endpoint.requests) < 16 * 2**20


def test_a_full_outbox_waits_a_bounded_time_then_drops_and_counts(make_script, endpoint, said):
    import numpy as np

    script = make_script(max_memory_bytes=2**20)
    script.start_run()
    with script.producer.log.lock:
        taken = [script.sendl(step, x=np.zeros(2**13)) for step in range(40)]
    assert 0 < taken.count(False) < 40 and script.lost_records == taken.count(False)
    assert script.flush()
    assert len(steps(endpoint)) == taken.count(True) * 2**13
    assert len(said()) == 1 and "dropped" in said()[0]
    assert not close([script], "finished")


def test_beyond_the_spools_limit_records_are_dropped_and_counted(make_script, endpoint, said, tmp_path):
    import numpy as np

    script = make_script(max_spool_bytes=2**20)
    script.start_run()
    endpoint.answer = away
    for step in range(40):
        script.sendl(step, x=np.full(2**13, step))
        wait_until(lambda: not script.outbox.entries)
    assert sum(path.stat().st_size for path in spooled(tmp_path)) <= 2**20
    endpoint.answer = lambda params, body: None
    assert script.flush()
    kept = sorted(set(steps(endpoint)))
    assert 2 < len(kept) < 40 and script.lost_records == 40 - len(kept)
    assert kept[0] == 0 and any("no room" in text for text in said())


def test_threads_keep_their_order(script, endpoint):
    script.start_run()

    def send(key):
        intake = Intake()
        for step in range(2000):
            script.outbox.put(intake.rows(step, key, {"x": step}))

    threads = [threading.Thread(target=send, args=(f"k{i}",)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert script.flush()
    by_key = {}
    for chunk in endpoint.runs["run"][1:]:
        from streamvis.wire.arrow import decode_tail_body

        for rows in decode_tail_body(chunk.body):
            by_key.setdefault(rows.key, []).extend(rows.steps.tolist())
    assert by_key == {f"k{i}": list(range(2000)) for i in range(4)}


@pytest.mark.parametrize("times", [1, 4])
@pytest.mark.parametrize(
    "place",
    [
        lambda script, endpoint: (script.producer._writer, "_form"),
        lambda script, endpoint: (script.producer.log, "append"),
        lambda script, endpoint: (endpoint, "request"),
        lambda script, endpoint: (script.producer.log, "settle"),
        lambda script, endpoint: (script.producer._writer, "_take_more"),
    ],
    ids=["forming", "writing", "sending", "settling", "taking"],
)
def test_a_passing_error_of_ours_loses_nothing(script, endpoint, said, place, times, capsys):
    script.start_run()
    script.sendl(0)
    assert script.flush()
    owner, name = place(script, endpoint)
    setattr(owner, name, fail(MemoryError("for a moment"), times)(getattr(owner, name)))
    for step in range(1, 50):
        script.sendl(step)
    assert script.flush() and steps(endpoint) == list(range(50))
    assert script.failed_records == 0 and 1 <= len(said()) <= 2 and all("unexpected error" in text for text in said())
    assert close([script], "finished") and capsys.readouterr().err == ""


def test_a_batch_that_an_error_of_ours_stops_again_and_again_is_set_aside_and_no_other(script, endpoint, said, tmp_path, capsys):
    script.start_run()

    def broken(params, body):
        if params["number"] == 3:
            raise ZeroDivisionError("of ours")

    endpoint.answer = broken
    for step in range(5):
        script.sendl(step)
        assert script.flush(5)
    assert steps(endpoint) == [0, 2, 3, 4] and script.failed_records == script.producer.log.runs.set_aside_records == 1
    ((batch, _),) = read_segment(next((tmp_path / "spool" / "refused").glob("*.spool")))
    assert (batch.run, batch.number, batch.records) == ("run", 3, 1)
    assert "of ours" in next((tmp_path / "spool" / "refused").glob("*.txt")).read_text()
    assert not close([script], "finished") and "1 record was refused" in capsys.readouterr().err


def test_of_many_records_the_one_that_cannot_be_encoded_is_left_out_alone(script, endpoint, said):
    script.start_run()
    real = script.producer._writer._form

    def form(entries, left_out):
        if any(entry[1] == 77 for entry in entries):
            raise ZeroDivisionError("of ours")
        return real(entries, left_out)

    with script.producer._forming:
        script.producer._writer._form = form
        for step in range(200):
            script.sendl(step)
    assert script.flush() and steps(endpoint) == [step for step in range(200) if step != 77]
    assert script.lost_records == script.failed_records == 1
    assert any("key 'k', step 77: ZeroDivisionError: of ours" in text for text in said())


def test_nothing_waiting_wakes_nobody(script, endpoint):
    script.start_run()
    wait_until(lambda: script.outbox.parked, what="the sender to park")
    script.sendl(0)
    assert not script.outbox.parked
    assert script.flush()


def test_what_is_known_of_a_run_is_forgotten_when_all_of_it_is_settled(script, endpoint, tmp_path):
    for number in range(30):
        script.start_run(f"run {number}".replace(" ", "-"))
        script.sendl(number)
    assert script.flush()
    runs, log = script.producer.log.runs, script.producer.log
    assert list(runs._begins) == ["run-29"] and len(runs._last_numbers) == 1
    # Away, each run is needed until it is delivered; also by an endpoint that lost it meanwhile.
    endpoint.answer = away
    for number in range(30, 36):
        script.begin(Begin(f"run-{number}", {"a": number}, None, False))
        script.sendl(number)
        script.producer.forget("run-32")
        wait_until(lambda: is_kept(script))
    assert set(runs._begins) >= {f"run-{number}" for number in range(30, 36)}
    assert len(list(tmp_path.rglob("*.begin"))) >= 5
    endpoint.answer = lambda params, body: None
    assert script.flush()
    assert [steps(endpoint, f"run-{number}") for number in (31, 33, 35)] == [[31], [33], [35]]
    assert list(runs._begins) == ["run-35"] and not runs.gone and not runs.lost
    assert {path.name for path in tmp_path.rglob("*.begin")} <= {"run-35.begin"} and log._remembered <= {"run-35"}
    assert script.lost_records == 1


def test_an_abandoned_client_delivers_finishes_and_leaves_no_thread(script, endpoint):
    script.start_run()
    script.sendl(0)
    wait_until(lambda: len(script.producer._threads._threads) == 2, what="both threads")
    threads = list(script.producer._threads._threads)
    script.abandon()
    wait_until(lambda: not any(thread.is_alive() for thread in threads), what="the threads to end")
    assert steps(endpoint) == [0] and endpoint.runs["run"][-1].state == "finished"


def test_closing_gives_up_in_time_and_says_where_the_records_lie(script, endpoint, tmp_path, capsys):
    script.start_run()
    endpoint.answer = away
    script.sendl(0)
    assert not close([script], "finished", timeout_s=0.2)
    (path,) = spooled(tmp_path)
    told = capsys.readouterr().err
    assert "1 record did not reach http://fake in time" in told and str(path.parent) in told


def test_who_waits_while_an_end_gives_up_is_not_told_that_all_is_stored(script, endpoint):
    script.start_run()
    endpoint.answer = away
    script.sendl(0)
    waited = []
    waits = threading.Thread(target=lambda: waited.append(script.wait(script.mark(), 20)))
    ends = threading.Thread(target=close, args=([script], "interrupted"), kwargs={"timeout_s": 0.5})
    ends.start()
    wait_until(lambda: script.producer._writer.ended.is_set(), what="the writer to end")
    waits.start()
    ends.join(20)
    waits.join(20)
    assert waited == [False] and script.unsettled_records == 1 and not script.wait(script.mark(), 5)


def test_closing_says_when_it_takes_long(script, endpoint, capsys):
    script.start_run()
    release = threading.Event()
    endpoint.answer = lambda params, body: release.wait(30) and None
    script.sendl(0)
    closing = threading.Thread(target=close, args=([script], "finished"))
    closing.start()
    told = ""

    def progress():
        nonlocal told
        told += capsys.readouterr().err
        return "delivering" in told

    wait_until(progress, what="a progress line")
    release.set()
    closing.join(10)
    assert steps(endpoint) == [0] and endpoint.runs["run"][-1].state == "finished"


def test_while_a_backlog_is_delivered_what_comes_goes_to_the_log_too(make_script, endpoint, monkeypatch):
    monkeypatch.setattr("streamvis.client.producer_log._OPEN_BYTES", 1)  # every batch of the backlog is a request of its own
    script = make_script()
    script.start_run()
    endpoint.answer = away
    for step in range(20):
        script.sendl(step)
        wait_until(lambda: is_kept(script) or script.lost_records, every_s=0.002)
    answers = threading.Semaphore(0)
    endpoint.answer = lambda params, body: answers.acquire(timeout=10) and None  # one for ten calls
    script.outbox.max_entries = 100
    step, pace = 20, threading.Event()
    while script.producer.log.is_behind and step < 2000:
        assert script.sendl(step)
        step += 1
        if step % 10 == 0:
            answers.release()
        pace.wait(0.001)
    endpoint.answer = lambda params, body: None
    answers.release(100)
    assert step > 150 and script.flush() and script.lost_records == 0
    assert steps(endpoint) == list(range(step))


def test_what_was_dropped_counts_for_the_run_that_lost_it(script, endpoint):
    script.start_run("one")
    script.outbox.dropped = 7
    script.sendl(0)
    assert script.flush() and endpoint.requests[-1][0]["dropped"] == 7
    script.start_run("two")
    script.sendl(0)
    assert script.flush() and endpoint.requests[-1][0]["dropped"] is None
    assert script.lost_records == 7


def test_a_run_ends_also_in_a_spool_that_is_full(make_script, endpoint):
    script = make_script(max_spool_bytes=3_000)
    script.start_run()
    endpoint.answer = away
    while not script.lost_records:
        script.sendl(0)
        wait_until(lambda: is_kept(script) or script.lost_records, every_s=0.002)
    with script.producer.log.lock:
        script.sendl(1)
        script.end("failed")
    wait_until(lambda: not script.outbox.entries)
    endpoint.answer = lambda params, body: None
    assert script.flush()
    assert endpoint.runs["run"][-1].state == "failed"


def durably(script, *rows):
    """Send rows durably from as many threads; the threads."""
    threads = [
        threading.Thread(target=script.put_durably, args=(Intake().rows(step, "k", {"x": step}),), daemon=True) for step in rows
    ]
    for thread in threads:
        thread.start()
    return threads


def test_a_durable_call_returns_when_the_record_is_on_the_disk_or_acknowledged(make_script, endpoint, tmp_path):
    script = make_script(durable=True)
    script.start_run()
    for thread in durably(script, 0):
        thread.join(10)
    assert script.flush() and steps(endpoint) == [0]
    endpoint.answer = away
    for thread in (threads := durably(script, *range(1, 9))):
        thread.join(10)
    assert not any(thread.is_alive() for thread in threads)
    assert sum(batch.records for path in spooled(tmp_path) for batch, _ in read_segment(path)) == 8
    assert not script.producer.log.is_awaited


def test_a_durable_call_waits_while_neither_the_disk_nor_the_endpoint_takes_the_record(make_script, endpoint, tmp_path):
    (tmp_path / "spool").write_text("no folder")
    script = make_script(durable=True)
    script.start_run()
    endpoint.answer = away
    (thread,) = durably(script, 0)
    wait_until(lambda: script.unsettled_records == 1 and not script.outbox.entries)
    script.producer.deliver_soon()
    assert thread.is_alive()
    (tmp_path / "spool").unlink()
    thread.join(10)
    assert not thread.is_alive() and spooled(tmp_path)


def left_behind(folder, endpoint, numbers, *, producer="0dead", url=None):
    """A spool whose producer is gone."""
    settings = Settings(url or endpoint.url, "app", SpoolPlace(folder), lambda: endpoint)
    log = Log(producer, settings, Outbox(lambda: None, max_bytes=1), say=print)
    begin = (CONTROL, None, 0.0, None, Begin("old", {}, None, False), 0)
    for number in numbers:
        row = (ROW, number, 0.0, "k", {"x": number}, 0)
        assert log.append("old", notes_of([begin, row] if number == numbers[0] else [row]), 1)
        log.head()
        log._open.run = ""  # a batch of its own
    log.close()
    return log.segments.folder


def test_what_another_left_is_delivered_late_and_behind_ones_own(make_script, endpoint, tmp_path):
    folder = left_behind(tmp_path / "spool", endpoint, range(1, 6))
    other = left_behind(tmp_path / "spool", endpoint, [1], producer="0other", url="http://elsewhere")
    endpoint.answer = away
    script = make_script()
    script.begin(Begin("run", {}, None, False))
    for step in range(10):
        script.sendl(step)
    wait_until(lambda: script.producer.log.kept_in)
    endpoint.answer = lambda params, body: None
    wait_until(lambda: not folder.exists())
    assert steps(endpoint, "old") == list(range(1, 6)) and other.exists()
    runs = [params["live"] for params, _ in endpoint.requests if params["producer"] == "0dead"]
    assert runs == [0] * 5
    assert list(endpoint.runs) == ["run", "old"]


def test_what_was_left_is_delivered_on_after_a_moment_without_the_endpoint(make_script, endpoint, tmp_path, monkeypatch):
    monkeypatch.setattr("streamvis.client.spool.leftovers._AGAIN_AFTER_S", 0.0)
    folder = left_behind(tmp_path / "spool", endpoint, range(1, 4))
    failed = threading.Event()

    def fail_once(params, body):
        if params["number"] == 2 and params["producer"] == "0dead" and not failed.is_set():
            failed.set()
            away(params, body)

    endpoint.answer = fail_once
    script = make_script()
    script.start_run()
    wait_until(failed.is_set)
    script.sendl(0)
    wait_until(lambda: not folder.exists())
    assert steps(endpoint, "old") == [1, 2, 3]


def test_anothers_folder_that_cannot_be_read_costs_none_of_ones_own_records(make_script, endpoint, tmp_path, monkeypatch, said):
    left_behind(tmp_path / "spool", endpoint, range(1, 4))

    def broken(path):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("streamvis.client.spool.leftovers.scan_segment", broken)
    script = make_script()
    script.start_run()
    wait_until(lambda: any("cannot be delivered from here" in text for text in said()))
    for step in range(10):
        script.sendl(step)
        assert script.flush()
    assert steps(endpoint) == list(range(10)) and script.lost_records == 0 and len(said()) == 1


def test_what_a_disk_would_not_take_goes_there_later(make_script, endpoint, tmp_path, capsys):
    (tmp_path / "spool").write_text("no folder")
    script = make_script()
    script.start_run()
    endpoint.answer = away
    for step in range(5):
        script.sendl(step)
    wait_until(lambda: script.unsettled_records == 5 and not script.outbox.entries)
    (tmp_path / "spool").unlink()
    assert not close([script], "finished", timeout_s=0.5)
    assert sum(batch.records for path in spooled(tmp_path) for batch, _ in read_segment(path)) == 5
    assert "lost" not in capsys.readouterr().err


def test_a_scalar_on_a_device_is_kept_in_its_own_form_while_the_endpoint_is_away_or_asks_to_gather(script, endpoint, tmp_path):
    import numpy as np

    def send(step):
        loss = Deferred(np.float32(step), ready=None, shape=(), nbytes=4)
        script.outbox.put((ROW, step, 0.0, "k", Unfetched({"x": loss}), 68))

    script.start_run()
    endpoint.answer = away
    send(0)
    send(1)
    wait_until(lambda: spooled(tmp_path) and script.unsettled_records == 2 and is_kept(script))
    endpoint.answer = lambda params, body: None
    endpoint.pace_s = 10
    wait_until(lambda: steps(endpoint) == [0, 1])
    send(2)
    wait_until(lambda: script.unsettled_records == 1 and is_kept(script))
    assert script.flush() and steps(endpoint) == [0, 1, 2] and script.lost_records == 0


def test_what_a_disk_would_not_take_goes_there_though_what_follows_is_little(script, endpoint, tmp_path):
    (tmp_path / "spool").write_text("no folder")
    script.start_run()
    endpoint.answer = away
    script.sendl(0)
    wait_until(lambda: script.unsettled_records == 1 and not script.outbox.entries)
    (tmp_path / "spool").unlink()
    script.sendl(1)
    wait_until(lambda: is_kept(script))
    assert sum(batch.records for path in spooled(tmp_path) for batch, _ in read_segment(path)) == 2


def test_what_waits_on_the_disk_takes_no_room_of_what_is_large(make_script, endpoint):
    import numpy as np

    script = make_script(max_memory_bytes=2**20)
    begin_to_gather(script, endpoint)
    script.sendl(1, text="α" * 100)
    wait_until(lambda: script.unsettled_records == 1 and is_kept(script))
    assert script.sendl(2, x=np.zeros(2**17))


def test_batches_that_are_complete_do_not_wait_for_the_pace(script, endpoint, monkeypatch):
    monkeypatch.setattr("streamvis.client.producer_log._OPEN_BYTES", 1)
    script.start_run()
    going_on = threading.Event()
    endpoint.answer = lambda params, body: going_on.wait(30) and None
    sent = 0
    for _ in range(8):
        for step in range(sent, sent + 1500):
            script.sendl(step)
        sent += 1500
        wait_until(lambda: script.unsettled_records == sent and is_kept(script))  # noqa: B023
    endpoint.pace_s = 10
    going_on.set()
    wait_until(lambda: len(steps(endpoint)) >= 6000, within_s=5)


def test_rows_of_every_kind_make_one_batch_where_the_endpoint_asks_to_gather(script, endpoint, tmp_path):
    import numpy as np

    begin_to_gather(script, endpoint)
    for step in range(1, 9):
        script.sendl(step, x=step if step % 2 else np.arange(1.0))
        wait_until(lambda: script.unsettled_records == step and is_kept(script))  # noqa: B023
    assert script.flush() and steps(endpoint) == list(range(9))
    assert len(endpoint.requests) <= 4


def test_who_gives_up_leaves_all_that_was_sent_in_the_log(script, endpoint, tmp_path):
    script.start_run()
    endpoint.answer = away
    script.sendl(0)
    wait_until(lambda: spooled(tmp_path) and is_kept(script))
    for step in range(1, 1000):
        script.sendl(step)
    assert not close([script], "finished", timeout_s=0)
    assert sum(batch.records for path in spooled(tmp_path) for batch, _ in read_segment(path)) == 1000


def test_a_batch_that_found_no_room_on_the_disk_is_never_behind_one_that_came_later(script, endpoint, tmp_path, monkeypatch):
    script.start_run()
    going_on = threading.Event()
    endpoint.answer = lambda params, body: going_on.wait(30) and away(params, body)
    write, full = Segments.write, threading.Event()

    def full_for_a_moment(segments, frame, content, **options):
        return not full.is_set() and write(segments, frame, content, **options)

    monkeypatch.setattr(Segments, "write", full_for_a_moment)
    monkeypatch.setattr(Segments, "settle_down", lambda segments: False)
    full.set()
    script.sendl(0)
    wait_until(lambda: script.unsettled_records == 1 and not is_kept(script))
    full.clear()
    for step in range(1, 3):
        script.sendl(step)
    monkeypatch.undo()
    wait_until(lambda: script.producer.log.kept_records == 3)
    going_on.set()
    wait_until(lambda: script.producer._sender._failures >= 2)
    endpoint.answer = lambda params, body: None
    assert script.flush() and steps(endpoint) == [0, 1, 2]


def test_what_waits_of_a_run_that_is_gone_is_forgotten(script, endpoint, tmp_path):
    begin_to_gather(script, endpoint)
    script.sendl(1)
    wait_until(lambda: script.unsettled_records == 1 and is_kept(script))
    script.producer.forget("run")
    wait_until(lambda: script.lost_records == 1)
    wait_until(lambda: spooled(tmp_path) == [])


def test_before_arrow_is_loaded_everything_is_on_the_disk_in_a_form_that_says_the_same(script, endpoint, tmp_path):
    import datetime as dt

    import numpy as np

    may_load = threading.Event()
    load = script.producer._sender.load
    script.producer._sender.load = lambda: may_load.wait(30) and load()
    intake = Intake()
    columns = {"f": np.arange(3.0), "i": [1, 2, 2**60], "t": np.array(["2024-01-02"] * 3, "M8[ns]"), "s": ["a", None, "β"]}
    value = {"image": np.eye(3, dtype=np.float32), "~odd": {"~t": 1}, "when": dt.datetime(2024, 1, 2), "long": [0.5] * 40}
    entries = [
        intake.rows(0, "k", {**columns, "ragged": [[1], [1, 2], []], "grid": np.ones((3, 2), np.int8)}),
        intake.rows(1, "one", {"x": 1, "y": float("inf")}),
        intake.value(2, "v", value, keep=3),
    ]
    script.begin(Begin("run", {"a": 1}, None, False))
    for entry in entries:
        script.outbox.put(entry)
    wait_until(lambda: script.unsettled_records == 3 and is_kept(script))
    assert not endpoint.requests and spooled(tmp_path)
    may_load.set()
    assert script.flush()
    from streamvis.client.encoding import encode

    sent = [chunk.body for chunk in endpoint.runs["run"][1:]]
    assert sent == [chunk.body for chunk in decode_batch_body(encode(entries).body)]
