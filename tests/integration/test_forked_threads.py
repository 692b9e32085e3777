"""Children that a thread of the program forks, and that no end of the interpreter follows: they deliver, and end."""

import textwrap

import pytest

from support.scripts import run_of
from support.stored import Stored


@pytest.fixture
def endpoint(shared_endpoint):
    return shared_endpoint


@pytest.fixture
def stored(endpoint):
    return Stored(endpoint.url)


SEND = "for step in range({}): client.sendl(step, 'k', {{'x': step}})\n"
CHILDREN = {
    "an exit": (SEND.format(1) + "sys.exit(0)", 1),
    "the end of the thread, and many records": (SEND.format(5000), 5000),
    "an exception": (SEND.format(300) + "raise ValueError('mine')", 300),
    "a close before": (SEND.format(300) + "client.close()", 300),
    "a thread that goes on": (
        SEND.format(100)
        + """
def go_on():
    main = threading.main_thread()
    main.join()
    for step in range(100, 200): client.sendl(step, 'k', {'x': step})
threading.Thread(target=go_on, daemon=True).start()
""",
        200,
    ),
    "a child of its own": (
        SEND.format(100)
        + """
client.flush()
child = os.fork()
if child == 0:
    for step in range(100, 200): client.sendl(step, 'k', {'x': step})
    sys.exit(0)
assert os.waitpid(child, 0)[1] == 0
""",
        200,
    ),
}
FORK = """
def fork():
    child = os.fork()
    if child == 0:
        in_child()
        return
    print("child", os.waitpid(child, 0)[1], flush=True)

def in_child():
{}

def fork_in_thread():
    thread = threading.Thread(target=fork)
    thread.start()
    thread.join()
"""
ALONE = "fork_in_thread()\n"
WORKER = """
worker = multiprocessing.get_context("fork").Process(target=fork_in_thread)
worker.start()
worker.join()
"""


@pytest.mark.parametrize("child", CHILDREN)
def test_a_child_that_a_thread_forked_delivers_and_ends(child, start_script, stored):
    source, rows = CHILDREN[child]
    program = start_script(FORK.format(textwrap.indent(source, "    ")) + ALONE)
    assert program.wait() == 0 and "child 0" in program.output(), program.output()
    run = run_of(program)
    assert sorted(stored.rows(run, "k", "x")) == list(range(rows))
    assert stored.run(run)["state"] == "finished"


def test_a_child_that_a_thread_of_a_worker_forked_delivers_and_ends(start_script, stored):
    program = start_script(FORK.format(textwrap.indent(SEND.format(50), "    ")) + WORKER)
    assert program.wait() == 0 and "child 0" in program.output(), program.output()
    assert stored.rows(run_of(program), "k", "x") == list(range(50))


def test_a_run_that_such_a_child_began_is_finished_with_it(start_script, stored, endpoint):
    source = "global client; client = Client(url, 'of the child'); print('began', client.init(), flush=True)\n" + SEND.format(10)
    program = start_script(FORK.format(textwrap.indent(source, "    ")) + "threading.Thread(target=fork).start()\n")
    assert program.wait() == 0 and "child 0" in program.output(), program.output()
    run = program.wait_for_line(r"began (\S+)")[1]
    assert stored.rows(run, "k", "x") == list(range(10)) and stored.run(run)["state"] == "finished"


def test_such_a_child_that_cannot_deliver_keeps_what_it_sent_and_ends(start_script, tmp_path):
    client = f"client = Client(None, app, spool={str(tmp_path / 'spool')!r}); client.init()\n"
    program = start_script(client + FORK.format(textwrap.indent(SEND.format(10), "    ")) + ALONE, head=False)
    assert program.wait() == 0 and "child 0" in program.output(), program.output()
    assert "10 records are kept in" in program.output()
