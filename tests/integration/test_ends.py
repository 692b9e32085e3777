"""Every end of a program, in real processes: what was sent is delivered, and the run's state says how it ended."""

import signal
import textwrap

import pytest

from streamvis import Client
from streamvis.errors import UsageError
from support.conditions import wait_until
from support.scripts import run_of
from support.stored import Stored


@pytest.fixture
def endpoint(shared_endpoint):
    return shared_endpoint


@pytest.fixture
def stored(endpoint):
    return Stored(endpoint.url)


SIGNALLED = "os.kill(os.getpid(), signal.{}); threading.Event().wait()"
ENDINGS = {
    "the end of the program": ("", "finished", 0),
    "an exception": ("raise ValueError('mine')", "failed", 1),
    "an exit": ("sys.exit()", "finished", 0),
    "an exit with 0": ("sys.exit(0)", "finished", 0),
    "an exit with a status": ("sys.exit(3)", "failed", 3),
    "an exit with a negative status": ("sys.exit(-1)", "failed", 255),
    "an exit with a status that wraps": ("sys.exit(512)", "finished", 0),
    "an exit with a text": ("sys.exit('no data')", "failed", 1),
    "an exit for a signal": ("sys.exit(128 + signal.SIGHUP)", "interrupted", 129),
    "an exit of argparse": ("import argparse; argparse.ArgumentParser().parse_args(['--nothing'])", "failed", 2),
    "an exit of site": ("def main(): exit(4)\nmain()", "failed", 4),
    "an exit that was caught": ("try: sys.exit(5)\nexcept SystemExit: pass", "finished", 0),
    "an exception after an exit that was caught": ("try: sys.exit(0)\nexcept SystemExit: 1 / 0", "failed", 1),
    "an exit after an error": ("try: 1 / 0\nexcept ZeroDivisionError: sys.exit(0)", "finished", 0),
    "an exit of a thread": ("one = threading.Thread(target=sys.exit, args=(6,)); one.start(); one.join()", "finished", 0),
    "Ctrl-C": (SIGNALLED.format("SIGINT"), "interrupted", -signal.SIGINT),
    "SIGTERM": (SIGNALLED.format("SIGTERM"), "interrupted", -signal.SIGTERM),
}
IN_BLOCKS = {
    "an exit that nobody notes": ("raise SystemExit('no data')", "failed", 1),
    "a task that was cancelled": ("import asyncio; raise asyncio.CancelledError", "interrupted", 1),
    "a group of errors": ("raise BaseExceptionGroup('both', [KeyboardInterrupt(), ValueError()])", "failed", 1),
}
SEND = "for step in range(500): client.sendl(step, 'k', {'x': step})\n"


@pytest.mark.parametrize("ending", ENDINGS)
def test_every_end_of_a_program_delivers_and_says_how_it_ended(ending, start_script, stored):
    source, state, status = ENDINGS[ending]
    program = start_script(SEND + source)
    assert program.wait() == status
    run = run_of(program)
    assert stored.run(run)["state"] == state
    assert stored.rows(run, "k", "x") == list(range(500))


@pytest.mark.parametrize("ending", [*IN_BLOCKS, "an exception", "an exit", "an exit with a status", "SIGTERM"])
def test_every_end_of_a_with_block_delivers_and_says_how_it_ended(ending, start_script, stored):
    source, state, status = {**ENDINGS, **IN_BLOCKS}[ending]
    block = 'with Client(url, app) as client:\n    print("run", client.init(), flush=True)\n'
    program = start_script(block + textwrap.indent(SEND + source, "    "), head=False)
    assert program.wait() == status
    run = run_of(program)
    assert stored.run(run)["state"] == state
    assert stored.rows(run, "k", "x") == list(range(500))


def test_who_knows_how_a_run_ended_says_so(endpoint, stored):
    for state in ("failed", "interrupted", "finished"):
        client = Client(endpoint.url, "said")
        run = client.init()
        with pytest.raises(UsageError, match="failed, interrupted|finished"):
            client.close(state="broken")
        assert client.close(state=state) and stored.run(run)["state"] == state
        assert client.close(state="failed") and stored.run(run)["state"] == state


WORKERS = {
    "an exception": ("raise ValueError('mine')", "failed"),
    "a status": ("sys.exit(2)", "failed"),
    "nothing": ("", "finished"),
}


@pytest.mark.parametrize("ending", WORKERS)
def test_how_a_worker_ends_makes_the_runs_state(ending, start_script, stored):
    source, state = WORKERS[ending]
    program = start_script(
        f"""
        def work():
            client.sendl(0, "k", {{"x": 0}})
            {source}

        worker = multiprocessing.get_context("fork").Process(target=work)
        worker.start()
        worker.join()
        """
    )
    assert program.wait() == 0
    run = run_of(program)
    assert stored.rows(run, "k", "x") == [0] and stored.run(run)["state"] == state


WAITS = 'print("ready", flush=True)\nwhile True: time.sleep(0.01)'


def terminated(program):
    program.wait_for_line("ready")
    return program.terminate()


def test_sigterm_delivers_what_waits_even_while_the_program_is_busy(start_script, stored):
    busy = 'print("ready", flush=True)\nstep = 500\nwhile True:\n    client.sendl(step, "k", {"x": step}); step += 1\n'
    program = start_script(SEND + busy + "    if step % 100 == 0: time.sleep(0.001)")
    assert terminated(program) == -signal.SIGTERM
    run = run_of(program)
    rows = stored.rows(run, "k", "x")
    assert rows == list(range(len(rows))) and len(rows) >= 500
    assert stored.run(run)["state"] == "interrupted"


def test_a_second_sigterm_ends_at_once(start_script, endpoint):
    program = start_script(f"client.sendl(0, 'k', {{'x': 0}})\n{WAITS}")
    program.wait_for_line("ready")
    endpoint.stop()
    try:
        program.send_signal(signal.SIGTERM)
        program.wait_for_line("delivering")
        assert program.terminate(within_s=3) == -signal.SIGTERM
    finally:
        endpoint.resume()


OWN_HANDLERS = {
    "before the client": (
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))\n"
        "client = Client(url, app); print('run', client.init(), flush=True)",
        7,
        "failed",
    ),
    "after it": ("signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))", 0, "finished"),
    "one that calls the one before": (
        "before = signal.getsignal(signal.SIGTERM)\n"
        "def own(*about):\n    before(*about); sys.exit(8)\n"
        "signal.signal(signal.SIGTERM, own)",
        8,
        "failed",
    ),
    "one that closes the client": (
        "signal.signal(signal.SIGTERM, lambda *_: (client.close(state='interrupted'), sys.exit(9)))",
        9,
        "interrupted",
    ),
}


@pytest.mark.parametrize("when", OWN_HANDLERS)
def test_a_handler_of_the_programs_own_decides(when, start_script, stored):
    source, status, state = OWN_HANDLERS[when]
    program = start_script(f"{source}\nclient.sendl(0, 'k', {{'x': 0}})\n{WAITS}", head=when != "before the client")
    assert terminated(program) == status
    run = run_of(program)
    assert stored.run(run)["state"] == state and stored.rows(run, "k", "x") == [0]


def test_a_signal_that_is_ignored_stays_so(start_script, stored):
    source = """
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    client = Client(url, app)
    print("run", client.init(), flush=True)
    os.kill(os.getpid(), signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
    """
    program = start_script(textwrap.dedent(source), head=False)
    assert program.wait() == 0 and stored.run(run_of(program))["state"] == "finished"


SERVERS = {
    "asyncio": """
        import asyncio
        async def serve():
            loop, over = asyncio.get_running_loop(), asyncio.Event()
            loop.add_signal_handler(signal.SIGTERM, over.set)
            client.sendl(0, "k", {"x": 0})
            print("ready", flush=True)
            await over.wait()
            loop.remove_signal_handler(signal.SIGTERM)
            client.sendl(1, "k", {"x": 1})
        asyncio.run(serve())
        print("served", flush=True)
    """,
    "uvicorn": """
        import uvicorn
        async def app(scope, receive, send):
            if scope["type"] == "lifespan":
                assert (await receive())["type"] == "lifespan.startup"
                client.sendl(0, "k", {"x": 0})
                await send({"type": "lifespan.startup.complete"})
                print("ready", flush=True)
                await receive()
                client.sendl(1, "k", {"x": 1})
                print("served", flush=True)
                await send({"type": "lifespan.shutdown.complete"})
        uvicorn.run(app, port=0, log_level="error")
    """,
}


@pytest.mark.parametrize("server", SERVERS)
@pytest.mark.parametrize("client_is_first", [True, False])
def test_a_server_that_manages_signals_ends_in_its_own_way(server, client_is_first, start_script, stored):
    source = textwrap.dedent(SERVERS[server])
    if not client_is_first:
        start = 'client = Client(url, "app"); print("run", client.init(), flush=True)'
        source = source.replace("client.sendl(0", f"global client; {start}; client.sendl(0")
        source = source.replace('{"x": 1})', '{"x": 1}); client.close()')
    program = start_script(source, head=client_is_first)
    program.wait_for_line("ready")
    status = program.terminate()
    assert "served" in program.output()
    # uvicorn raises the signal again when it has shut down, as it does without a client.
    assert status == (0 if server == "asyncio" else -signal.SIGTERM)
    run = run_of(program)
    assert stored.rows(run, "k", "x") == [0, 1]
    assert stored.run(run)["state"] == ("interrupted" if server == "uvicorn" and client_is_first else "finished")


def test_a_child_that_sends_nothing_handles_the_signal_as_ever_and_ends_no_run(start_script, stored):
    program = start_script(
        """
        silent = os.fork()
        if silent == 0:
            assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
            time.sleep(60)
        sending = os.fork()
        if sending == 0:
            client.sendl(0, "k", {"x": 0})
            time.sleep(60)
        while not client.flush(): pass
        time.sleep(0.3)
        for child in (silent, sending):
            os.kill(child, signal.SIGTERM)
            assert os.waitpid(child, 0)[1] == signal.SIGTERM
        client.sendl(1, "k", {"x": 1})
        """
    )
    assert program.wait() == 0, program.output()
    run = run_of(program)
    assert sorted(stored.rows(run, "k", "x")) == [0, 1] and stored.run(run)["state"] == "interrupted"


def test_a_worker_that_waits_for_a_lock_which_no_one_releases_ends_at_sigterm_whichever_thread_got_it(start_script, stored):
    program = start_script(
        """
        def work(lock, has_sent):
            client.sendl(0, "k", {"x": 0})
            def get_signal():
                # As if it had come just before the main thread began to wait, which then does not hear it.
                has_sent.set()
                signal.pthread_kill(threading.get_ident(), signal.SIGTERM)
            threading.Timer(0.5, get_signal).start()
            lock.acquire()

        context = multiprocessing.get_context("fork")
        lock, has_sent = context.Lock(), context.Event()
        lock.acquire()
        worker = context.Process(target=work, args=(lock, has_sent))
        worker.start()
        assert has_sent.wait(30)
        worker.join(20)
        print("worker", worker.exitcode, flush=True)
        worker.kill()
        """
    )
    assert program.wait() == 0 and program.wait_for_line(r"worker (\S+)")[1] == str(-signal.SIGTERM), program.output()
    assert stored.rows(run_of(program), "k", "x") == [0]


def test_a_child_that_is_ended_as_soon_as_it_is_there_ends_and_its_parent_does_not(start_script, stored):
    program = start_script(
        """
        def work():
            client.sendl(0, "k", {"x": 0})
            for i in range(20):
                child = os.fork()
                if child == 0:
                    signal.pause()
                os.kill(child, signal.SIGTERM)
                assert os.waitpid(child, 0)[1] == signal.SIGTERM
            client.sendl(1, "k", {"x": 1})

        worker = multiprocessing.get_context("fork").Process(target=work)
        worker.start()
        worker.join(30)
        print("worker", worker.exitcode, flush=True)
        worker.kill()
        """
    )
    assert program.wait(60) == 0 and program.wait_for_line(r"worker (\S+)")[1] == "0", program.output()
    assert stored.rows(run_of(program), "k", "x") == [0, 1]


def test_a_pool_that_is_terminated_does_not_interrupt_the_run(start_script, stored):
    program = start_script(
        """
        def work(step):
            client.sendl(step, "k", {"x": step})
            return client.flush()

        with multiprocessing.get_context("fork").Pool(2) as pool:
            assert all(pool.map(work, range(8)))
        """
    )
    assert program.wait() == 0, program.output()
    run = run_of(program)
    assert sorted(stored.rows(run, "k", "x")) == list(range(8))
    assert wait_until(lambda: stored.run(run)["state"] != "running", what="the run to end")
    assert stored.run(run)["state"] == "finished"


def test_what_goes_wrong_as_one_run_is_finished_holds_up_no_other(start_script, stored):
    program = start_script(
        """
        def fail(state):
            raise ZeroDivisionError("of ours")

        client.sendl(0, "k", {"x": 0})
        client._road.end = fail
        other = Client(url, app)
        print("second", other.init(), flush=True)
        other.sendl(1, "k", {"x": 1})
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(60)
        """
    )
    assert program.wait() == -15
    assert "of ours" in program.output() and "unexpected error" in program.output()
    second = program.wait_for_line(r"second (\S+)")[1]
    assert stored.rows(run_of(program), "k", "x") == [0] and stored.rows(second, "k", "x") == [1]
    assert stored.run(second)["state"] == "interrupted"
