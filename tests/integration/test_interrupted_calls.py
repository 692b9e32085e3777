"""Calls that interrupt calls: a signal handler that sends, `__del__`, functions of `atexit`, and other interpreters."""

import subprocess
import sys
import textwrap

import pytest

from streamvis.client.spool.frames import read_segment
from support.stored import Stored

HEAD = """
    import atexit, faulthandler, gc, os, signal, sys, threading, time
    faulthandler.dump_traceback_later(40, exit=True)
    from streamvis import Client
    url = sys.argv[1]
"""

# Calls are interrupted hundreds of times by a timer of 1 ms, which is set again when the handler has made its own calls.
TIMER = """
    client = Client(url, "app", durable={durable})
    print("run", client.init(), flush=True)
    handled = step = 0

    def handler(*_):
        global handled
        client.sendl(handled, "handled", {{"x": handled}})
        {call}
        handled += 1
        signal.setitimer(signal.ITIMER_REAL, 0.001)

    signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.001)
    while handled < 300:
        client.sendl(step, "main", {{"x": step}})
        {call}
        step += 1
    signal.setitimer(signal.ITIMER_REAL, 0)
    print("sent", step, handled, client.close(), flush=True)
"""

CASES = {
    "plain": TIMER.format(durable=False, call="time.sleep(0.0001)"),
    "durable": TIMER.format(durable=True, call="pass"),
    "flush": TIMER.format(durable=False, call="client.flush(0)"),
    "clear": TIMER.format(durable=False, call="other.clear()").replace(
        "handled = step", 'other = Client(url, "other"); other.init(); handled = step'
    ),
}


def start(start_program, tmp_path, name, source, url):
    path = tmp_path / f"{name}.py"
    path.write_text(textwrap.dedent(HEAD) + textwrap.dedent(source))
    return start_program([sys.executable, path, url], is_warm=True)


def test_a_signal_handler_may_send_whatever_call_it_interrupts(start_endpoint, start_program, tmp_path):
    endpoint = start_endpoint()
    programs = {name: start(start_program, tmp_path, name, source, endpoint.url) for name, source in CASES.items()}
    for program in programs.values():
        assert program.wait(30) == 0, program.output()
    stored = Stored(endpoint.url)
    for name, program in programs.items():
        run = program.wait_for_line(r"run (\S+)")[1]
        step, handled, closed = program.wait_for_line(r"sent (.*)")[1].split()
        assert closed == "True" and int(handled) >= 300, name
        assert stored.rows(run, "main", "x") == list(range(int(step)))
        assert sorted(stored.rows(run, "handled", "x")) == list(range(int(handled)))


# A call is made anew for each of the steps that it takes, and there interrupted by another: no place is left out.
EVERYWHERE = """
    def interrupted(call, place, other):
        "Make `call`, and `other` at its line `place`; how many lines it has, where that is behind the last."
        seen = 0

        def trace(frame, event, arg):
            nonlocal seen
            if event == "line":
                seen += 1
                if seen == place:
                    sys.settrace(None)
                    other()
                    return None
            return trace

        sys.settrace(trace)
        try:
            call()
        finally:
            sys.settrace(None)
        return seen

    def start_another():
        with Client(url, "another") as another:
            another.init()
            another.sendl(0, "k", {"x": 1})

    numbers = iter(range(10**6))
    def send():
        number = next(numbers)
        client.sendl(number, "k", {"x": [float(number)] * 10})  # large enough to count in bytes

    calls = {"send": send, "flush": lambda: client.flush(2), "durable": lambda: durable.sendl(0, "k", {"x": 1}),
             "start": start_another, "clear": lambda: other.clear()}
    client, other, durable = Client(url, "app"), Client(url, "other"), Client(url, "other", durable=True)
    print("run", client.init(), flush=True)
    other.init(), durable.init()
    for outer, inner, stride in [("send", "send", 1), ("send", "flush", 1), ("flush", "flush", 1), ("durable", "durable", 2),
                                 ("clear", "send", 1), ("send", "start", 5), ("start", "start", 47)]:
        place = 1
        while interrupted(calls[outer], place, calls[inner]) >= place:
            place += stride
            if place % 6 == 0:
                time.sleep(0.04)  # the sender parks, and the next call wakes it
        print(outer, inner, place, flush=True)
    print("sent", next(numbers), client.close(), other.close(), durable.close(), flush=True)
"""


def test_no_step_of_a_call_is_left_out_at_which_another_may_come(start_endpoint, start_program, tmp_path):
    endpoint = start_endpoint()
    program = start(start_program, tmp_path, "everywhere", EVERYWHERE, endpoint.url)
    assert program.wait(45) == 0, program.output()
    run = program.wait_for_line(r"run (\S+)")[1]
    sent, *closed = program.wait_for_line(r"sent (.*)")[1].split()
    assert closed == ["True"] * 3, program.output()
    assert sorted(stored_steps(endpoint, run)) == sorted([*range(int(sent))] * 10)


def stored_steps(endpoint, run):
    return [int(x) for x in Stored(endpoint.url).rows(run, "k", "x")]


# Garbage that makes calls when it is collected, which happens in any thread, those of the sender among them.
GARBAGE = """
    client, durable = Client(url, "app"), Client(url, "app", durable=True)
    print("run", run := client.init(), flush=True)
    durable.init(run=run)
    collected = {}

    class Garbage:
        def __init__(self):
            self.cycle = self

        def __del__(self):
            name = threading.current_thread().name
            n = collected.setdefault(name, [0])
            n[0] += 1
            client.sendl(n[0], name, {"x": n[0]})
            if name.startswith("streamvis"):
                durable.sendl(n[0], "durable " + name, {"x": n[0]})
                client.flush(60)

    gc.set_threshold(20, 2, 2)
    until = time.monotonic() + 2
    step = 0
    while time.monotonic() < until:
        client.sendl(step, "main", {"x": [step, step]})
        Garbage()
        step += 1
        time.sleep(0.0005)
    gc.set_threshold(700, 10, 10)
    gc.collect()
    print("sent", step, sum(n[0] for n in collected.values()), any(name.startswith("streamvis") for name in collected),
          client.close(), durable.close(), flush=True)
"""


def test_what_is_collected_within_the_senders_threads_may_call_everything(start_endpoint, start_program, tmp_path):
    endpoint = start_endpoint()
    program = start(start_program, tmp_path, "garbage", GARBAGE, endpoint.url)
    assert program.wait(30) == 0, program.output()
    run = program.wait_for_line(r"run (\S+)")[1]
    step, collected, in_ours, *closed = program.wait_for_line(r"sent (.*)")[1].split()
    assert in_ours == "True" and closed == ["True", "True"], program.output()
    stored = Stored(endpoint.url)
    assert len(stored.rows(run, "main", "x")) == 2 * int(step)
    keys = [key for key in stored.run(run)["keys"] if key != "main" and not key.startswith("durable")]
    assert sum(len(stored.rows(run, key, "x")) for key in keys) == int(collected)


LATE = """
    def late():
        {late}

    import streamvis.client.process.ending
    atexit.unregister(streamvis.client.process.ending._close_at_exit)
    atexit.register(late)  # called after what was registered later
    atexit.register(streamvis.client.process.ending._close_at_exit)
    client = Client(url, "app")
    print("run", client.init(), flush=True)
    client.sendl(0, "k", {{"x": 0}})
"""


def test_what_others_send_when_the_client_has_ended_is_counted_and_said(start_endpoint, start_program, tmp_path):
    endpoint = start_endpoint()
    late = 'client.sendl(1, "k", {"x": 1}); print("late", client.flush(), client.close(), client._road.lost_records)'
    program = start(start_program, tmp_path, "late", LATE.format(late=late), endpoint.url)
    assert program.wait(20) == 0
    assert program.wait_for_line(r"late (.*)")[1] == "False False 1"
    assert program.output().count("records that were sent after the client had ended are dropped") == 1
    assert Stored(endpoint.url).rows(program.wait_for_line(r"run (\S+)")[1], "k", "x") == [0]


def test_a_run_that_is_begun_while_the_program_ends_is_stored(start_endpoint, start_program, tmp_path):
    endpoint = start_endpoint()
    late = 'other = Client(url, "app"); print("late", other.init()); other.sendl(0, "k", {"x": 7})'
    program = start(start_program, tmp_path, "late", LATE.format(late=late), endpoint.url)
    assert program.wait(20) == 0, program.output()
    run = program.wait_for_line(r"late (\S+)")[1]
    assert Stored(endpoint.url).rows(run, "k", "x") == [7]


def test_in_an_interpreter_without_threads_calls_return_and_what_was_sent_is_kept(start_endpoint, tmp_path):
    interpreters = pytest.importorskip("_xxsubinterpreters", reason="another name since Python 3.13")
    assert interpreters.get_main() is not None
    source = f"""
        import _xxsubinterpreters as interpreters, sys
        other = interpreters.create()
        interpreters.run_string(other, '''if True:
            import sys
            sys.path[:] = {sys.path!r}
            from streamvis import Client
            client = Client({start_endpoint().url!r}, "app", spool={str(tmp_path / "spool")!r})
            client.init()
            client.sendl(0, "k", {{"x": 1}})
            print("flush", client.flush(), "close", client.close(), flush=True)
        ''')
        interpreters.destroy(other)
        print("gone")
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(source)], capture_output=True, text=True, timeout=30)
    assert done.returncode == 0 and done.stdout.split() == ["flush", "False", "close", "False", "gone"], done
    assert "no thread could be started" in done.stderr and "1 record did not reach" in done.stderr
    (segment,) = (tmp_path / "spool").glob("*/*.spool")
    assert [batch.records for batch, _ in read_segment(segment)] == [1] and f"kept in {segment.parent}" in done.stderr
