"""Copies of a client, in one process and in others, and processes that go on after those that began the run."""

import copy
import os
import pickle
import textwrap

import pytest

from streamvis import Client
from support.conditions import wait_until
from support.scripts import run_of
from support.stored import Stored


@pytest.fixture
def endpoint(shared_endpoint):
    return shared_endpoint


@pytest.fixture
def stored(endpoint):
    return Stored(endpoint.url)


def finished(stored, run):
    return wait_until(lambda: stored.run(run)["state"] != "running" and stored.run(run)["state"])


class Trainer:
    def __init__(self, client):
        self.client, self.weights = client, [1.0]


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one))])
def test_a_copy_in_the_same_process_shares_the_sender(copied, endpoint, stored):
    with Client(endpoint.url, "app") as client:
        client.init()
        client.sendl(0, "k", {"x": 0})
        trainer = Trainer(client)
        other = copied(trainer)
        assert other is not trainer and other.client.run == client.run
        other.client.sendl(1, "k", {"x": 1})
        client.sendl(2, "k", {"x": 2})
        assert other.client.flush() and stored.rows(client.run, "k", "x") == [0, 1, 2]
        run = client.init()  # another run is the copy's too
        other.client.sendl(0, "k", {"x": 3})
        assert client.flush() and stored.rows(run, "k", "x") == [3]
    assert stored.run(run)["state"] == "finished"
    assert other.client.close()


def test_a_copy_of_a_client_without_a_run_has_none(endpoint):
    client = Client(endpoint.url, "app")
    assert copy.deepcopy({"client": client})["client"].run is None
    client.init()
    run, _ = client.run, client.close()
    assert pickle.loads(pickle.dumps(client)).run == run


def test_a_pickle_holds_no_token_that_came_from_the_environment(endpoint, monkeypatch):
    monkeypatch.setenv("STREAMVIS_TOKEN", "secret-of-mine")
    assert b"secret-of-mine" not in pickle.dumps(Client(endpoint.url, "app"))


WORK = """
class Trainer:
    def __init__(self, client):
        self.client = client

    def work(self, step):
        self.client.sendl(step, "k", {"x": step, "pid": os.getpid()})
        return self.client.run
"""
WORKERS = {
    "a spawned process": """
        trainer = Trainer(client)
        workers = [multiprocessing.get_context("spawn").Process(target=trainer.work, args=(step,)) for step in range(4)]
        for worker in workers: worker.start()
        for worker in workers: worker.join()
        assert [worker.exitcode for worker in workers] == [0] * 4
    """,
    "a spawned pool": """
        with multiprocessing.get_context("spawn").Pool(2) as pool:
            assert set(pool.map(Trainer(client).work, range(4))) == {client.run}
            pool.close()
            pool.join()
    """,
    "a pool that was forked before the run began": """
        early = Client(url, app)
        with multiprocessing.get_context("fork").Pool(2) as pool:
            early.init(run=client.run)
            assert set(pool.map(Trainer(early).work, range(4))) == {client.run}
            pool.close()
            pool.join()
        early.close()
    """,
    "joblib": """
        import joblib
        assert set(joblib.Parallel(n_jobs=2)(joblib.delayed(Trainer(client).work)(step) for step in range(4))) == {client.run}
    """,
    "cloudpickle": """
        import cloudpickle, subprocess
        def work(steps, trainer=Trainer(client)):
            for step in steps: trainer.work(step)
        program = "import pickle, sys; work, steps = pickle.load(sys.stdin.buffer); work(steps)"
        cloudpickle.register_pickle_by_value(sys.modules["__main__"])
        subprocess.run([sys.executable, "-c", program], input=cloudpickle.dumps((work, range(4))), check=True)
    """,
}


@pytest.mark.parametrize("how", WORKERS)
def test_a_copy_in_another_process_joins_the_run(how, start_script, stored):
    source = "".join(f"    {line}\n" for line in textwrap.dedent(WORKERS[how]).splitlines())
    begin = '    client = Client(url, app)\n    print("run", client.init({"a": 1}), flush=True)\n'
    last = '    client.sendl(4, "k", {"x": 4, "pid": os.getpid()})\n'
    program = start_script(f'{WORK}\nif __name__ == "__main__":\n{begin}{source}{last}', head=False)
    assert program.wait(60) == 0, program.output()
    run = run_of(program)
    assert sorted(stored.rows(run, "k", "x")) == list(range(5))
    assert len(set(stored.rows(run, "k", "pid"))) > 1
    assert finished(stored, run) == "finished" and stored.run(run)["config"] == {"a": 1}
    assert "another config" not in program.output()


DAEMON = """
import psutil

def daemon(leave):
    if os.fork():
        leave()
    os.setsid()
    if os.fork():
        leave()
    os.chdir("/")
    os.closerange(0, 256)
    for descriptor in range(3):
        os.open(os.devnull, os.O_RDWR)

def wait_for_the_others():
    try:
        while psutil.Process(first).status() != "zombie":
            time.sleep(0.01)
    except psutil.NoSuchProcess:
        pass

first = os.getpid()
client.sendl(0, "k", {"x": 0})
client.flush()
"""


@pytest.mark.parametrize("leaving", ["os._exit(0)", "sys.exit(0)"])
@pytest.mark.parametrize(
    ("ending", "state"), [("", "finished"), ("sys.exit(1)", "failed"), ("os.kill(os.getpid(), 15)", "interrupted")]
)
def test_a_daemon_that_goes_on_sending_ends_the_run(leaving, ending, state, start_script, stored):
    source = "daemon(lambda: {})\nwait_for_the_others()\nfor step in range(1, 200): client.sendl(step, 'k', {{'x': step}})\n{}\n"
    program = start_script(DAEMON + source.format(leaving, ending))
    assert program.wait() == 0
    run = run_of(program)
    wait_until(lambda: len(stored.rows(run, "k", "x")) == 200, what="all that the daemon sends")
    assert stored.rows(run, "k", "x") == list(range(200))
    assert finished(stored, run) == state


def test_a_child_does_not_end_the_run_of_a_parent_that_lives(start_script, stored):
    program = start_script(
        """
        child = os.fork()
        if child == 0:
            client.sendl(0, "k", {"x": 0})
            sys.exit(0)
        os.waitpid(child, 0)
        print("ready", flush=True)
        sys.stdin.read()
        while not os.path.exists(sys.argv[0] + ".go"): time.sleep(0.01)
        """
    )
    run = run_of(program)
    program.wait_for_line("ready")
    assert stored.rows(run, "k", "x") == [0] and stored.run(run)["state"] == "running"
    open(os.fspath(program.command[1]) + ".go", "w").close()
    assert program.wait() == 0 and stored.run(run)["state"] == "finished"


def test_a_copy_that_comes_back_to_a_process_is_still_one_producer(start_script, stored, tmp_path):
    program = start_script(
        """
        import pickle
        told = pickle.dumps(client)
        child = os.fork()
        if child == 0:
            one, two = pickle.loads(told), pickle.loads(told)
            assert one is two is client
            one.sendl(1, "k", {"x": 1})
            sys.exit(0)
        assert os.waitpid(child, 0)[1] == 0
        assert pickle.loads(told) is client
        """
    )
    assert program.wait() == 0, program.output()
    run = run_of(program)
    assert stored.rows(run, "k", "x") == [1] and stored.run(run)["state"] == "finished"
