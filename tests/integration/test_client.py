"""The client in real processes against a real endpoint: every way to end, forks, and an endpoint that comes and goes."""

import ast
import gc
import multiprocessing
import os
import runpy
import signal
import socket
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from streamvis import Client
from streamvis.errors import DeletedRun, NotAnEndpoint, TokenRefused, UsageError, VersionMismatch
from support.conditions import wait_until
from support.scripts import run_of
from support.stored import Stored


@pytest.fixture
def endpoint(shared_endpoint):
    return shared_endpoint


@pytest.fixture
def mortal(start_endpoint):
    """An endpoint that a test may kill."""
    return start_endpoint()


@pytest.fixture
def stored(endpoint):
    return Stored(endpoint.url)


@pytest.fixture
def client(endpoint):
    client = Client(endpoint.url, "app")
    yield client
    client.close()


def test_what_is_sent_is_stored(client, stored):
    image = np.arange(12, dtype=np.float32).reshape(3, 4)
    run = client.init({"lr": 0.1, "names": ["a"], "nan": float("nan")})
    assert client.run == run and len(run) <= 32
    for step in range(100):
        client.sendl(step, "curve", {"x": step, "y": step / 2})
        client.send(step, "image", {"image": image + step})
    assert client.flush()
    assert stored.rows(run, "curve", "x") == list(range(100))
    assert stored.rows(run, "curve", "y") == [step / 2 for step in range(100)]
    np.testing.assert_array_equal(stored.values(run)["image"]["image"], image + 99)
    assert stored.values(run)["image"]["image"].dtype == np.float32
    assert stored.run(run)["config"]["lr"] == 0.1 and stored.run(run)["state"] == "running"
    assert client.close()
    assert stored.run(run)["state"] == "finished" and stored.run(run)["newest"]


def test_init_again_starts_another_run_and_finishes_the_one_before(client, stored):
    one = client.init()
    client.sendl(0, "k", {"x": 1})
    two = client.init()
    client.send(0, "k", {"x": [1]})
    assert client.flush()
    assert one < two and [run["run"] for run in stored.runs("app")][:2] == [two, one]
    assert stored.run(one)["state"] == "finished" and stored.run(two)["state"] == "running"
    assert client.close()
    three = client.init()
    client.sendl(0, "k", {"x": 1})
    assert client.close() and stored.run(three)["state"] == "finished"


def test_a_call_without_a_run_says_what_to_do(client):
    for call in (lambda: client.send(0, "k", {}), lambda: client.sendl(0, "k", {}), client.clear):
        with pytest.raises(UsageError, match="init"):
            call()
    client.init()
    client.close()
    with pytest.raises(UsageError, match="init"):
        client.sendl(0, "k", {"x": 1})


def test_two_clients_share_a_run(client, endpoint, stored):
    run = client.init({"a": 1}, run="shared.run-1")
    with Client(endpoint.url, "app") as other:
        assert other.init({"a": 1}, run=run) == run
        other.sendl(0, "k", {"x": 1})
        client.sendl(0, "k", {"x": 2})
        assert client.flush() and other.flush()
    assert sorted(stored.rows(run, "k", "x")) == [1, 2]
    assert stored.run(run)["state"] == "running"
    client.close()
    assert stored.run(run)["state"] == "finished"


def test_clear_takes_back_what_was_sent_before_it(client, stored):
    run = client.init({"a": 1})
    client.sendl(0, "k", {"x": 1})
    client.clear()
    client.send(0, "k", {"x": [2]})
    client.sendl(0, "other", {"x": 3})
    assert client.flush()
    assert stored.values(run) == {"k": {"x": [2]}} and stored.rows(run, "other", "x") == [3]


def test_a_run_that_was_deleted_is_not_begun_again(client, endpoint):
    from streamvis.transport import Transport, path

    run = client.init()
    Transport(endpoint.url).request("DELETE", path("runs", run))
    client.sendl(0, "k", {"x": 1})
    assert not client.flush()
    with pytest.raises(DeletedRun):
        client.init(run=run)
    assert client.init() != run


@pytest.mark.parametrize(
    ("status", "headers", "error"),
    [
        (404, {}, NotAnEndpoint),
        (200, {"Streamvis-Protocol": "99"}, VersionMismatch),
        (401, {"Streamvis-Protocol": "1"}, TokenRefused),
    ],
)
def test_a_wrong_answer_at_init_is_an_error_there(status, headers, error):
    class Other(BaseHTTPRequestHandler):
        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Other)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with pytest.raises(error):
        with Client(f"http://127.0.0.1:{server.server_port}", "app", token="secret") as client:
            client.init()
    with pytest.raises(UsageError):
        client.sendl(0, "k", {"x": 1})
    server.shutdown()
    server.server_close()


def test_a_producer_may_start_before_the_endpoint(start_endpoint, caplog):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    client = Client(f"http://127.0.0.1:{port}", "app")
    began = time.monotonic()
    run = client.init({"a": 1})
    assert time.monotonic() - began < 4
    for step in range(100):
        client.sendl(step, "k", {"x": step})
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    endpoint = start_endpoint(port=port)
    assert client.flush()
    stored = Stored(endpoint.url)
    assert stored.rows(run, "k", "x") == list(range(100)) and stored.run(run)["newest"]
    assert len(wait_until(lambda: len(caplog.records) == 2 and caplog.records)) == 2
    assert client.close()


def test_a_killed_endpoint_costs_the_loop_no_exception_and_no_record(mortal, caplog):
    client = Client(mortal.url, "app")
    run = client.init()
    for step in range(6000):
        client.sendl(step, "k", {"x": step})
        if step == 2000:
            assert client.flush()
            mortal.kill()
        if step % 500 == 0:
            client.send(step, "value", {"step": [step]})
    wait_until(lambda: len(caplog.records) == 1, what="one warning")
    wait_until(lambda: client._road.producer.log.kept_records, what="records in files")
    folder = client._road.producer.log.segments.folder
    mortal.restart()
    assert client.flush()
    stored = Stored(mortal.url)
    assert stored.rows(run, "k", "x") == list(range(6000)) and stored.values(run) == {"value": {"step": [5500]}}
    wait_until(lambda: len(caplog.records) == 2, what="one line on the recovery")
    assert folder.is_dir() and not any(path.stat().st_size for path in folder.glob("[0-9]*.spool"))
    assert client.close() and not folder.exists()


def test_traffic_resumes_within_a_second_of_the_endpoints_return(mortal):
    client = Client(mortal.url, "app")
    run = client.init()
    mortal.kill()
    for step in range(10):
        client.sendl(step, "k", {"x": step})
    wait_until(lambda: client._road.producer._sender._failures > 8, what="the tries to be far apart")
    mortal.restart()
    wait_until(lambda: Stored(mortal.url).rows(run, "k", "x") == list(range(10)), within_s=1.5)
    assert client.close()


def test_a_stopped_endpoint_holds_up_no_call_and_loses_nothing(client, endpoint, stored):
    run = client.init()
    endpoint.stop()
    try:
        for step in range(1000):
            client.sendl(step, "k", {"x": step})
        wait_until(lambda: client._road.producer.log.kept_in, what="records in the spool")
    finally:
        endpoint.resume()
    assert client.flush()
    assert stored.rows(run, "k", "x") == list(range(1000))


def test_threads_send_in_their_own_order(client, stored):
    run = client.init()

    def send(i):
        for step in range(3000):
            client.sendl(step, f"k{i}", {"x": step})

    threads = [threading.Thread(target=send, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert client.flush()
    assert all(stored.rows(run, f"k{i}", "x") == list(range(3000)) for i in range(4))


def test_a_second_ctrl_c_gives_up_waiting(start_script, endpoint):
    program = start_script(
        """
        print("sending", flush=True)
        client.sendl(0, "k", {"x": 1})
        threading.Event().wait()
        """
    )
    program.wait_for_line("sending")
    endpoint.stop()
    try:
        program.send_signal(signal.SIGINT)
        program.wait_for_line("delivering")
        program.send_signal(signal.SIGINT)
        program.wait(within_s=5)
        assert "did not reach" in program.output() or "KeyboardInterrupt" in program.output()
    finally:
        endpoint.resume()


def test_a_program_whose_endpoint_is_gone_ends_in_time_and_says_what_is_kept(start_script, mortal, own_home):
    program = start_script(
        """
        print("ready", flush=True)
        sys.stdin.read()
        while not os.path.exists(sys.argv[0] + ".go"): time.sleep(0.01)
        client.sendl(0, "k", {"x": 1})
        client.close(timeout_s=1.5)
        """,
        url=mortal.url,
    )
    program.wait_for_line("ready")
    mortal.kill()
    open(program.command[1] + ".go", "w").close()
    assert program.wait() == 0
    program.wait_for_line("delivering 1")
    folder = program.wait_for_line(r"1 record did not reach .* kept in (\S+)\.")[1]
    assert os.listdir(folder) and folder.startswith(str(own_home))


def test_forked_children_join_the_run_as_producers_of_their_own(start_script, stored):
    before = len(stored.runs("app"))
    program = start_script(
        """
        for step in range(100): client.sendl(step, "parent", {"x": step})
        child = os.fork()
        if child == 0:
            for step in range(100): client.sendl(step, "child", {"x": step})
            sys.exit()
        os.waitpid(child, 0)
        silent = os.fork()
        if silent == 0:
            sys.exit()
        os.waitpid(silent, 0)
        for step in range(100, 200): client.sendl(step, "parent", {"x": step})
        """
    )
    assert program.wait() == 0, program.output()
    run = run_of(program)
    assert stored.rows(run, "parent", "x") == list(range(200))
    assert stored.rows(run, "child", "x") == list(range(100))
    assert stored.run(run)["state"] == "finished" and len(stored.runs("app")) == before + 1


@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
def test_the_end_of_a_worker_delivers(method, start_script, stored):
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"no {method} here")
    program = start_script(
        f"""
        def work(run, key):
            global client
            if "{method}" != "fork":
                client = Client(url, app)
                client.init({{"a": 1}}, run=run)
            for step in range(200): client.sendl(step, key, {{"x": step}})

        if __name__ == "__main__":
            client = Client(url, app)
            print("run", run := client.init({{"a": 1}}), flush=True)
            context = multiprocessing.get_context("{method}")
            workers = [context.Process(target=work, args=(run, f"k{{i}}")) for i in range(2)]
            for worker in workers: worker.start()
            for worker in workers: worker.join()
            print([worker.exitcode for worker in workers])
        """,
        head=False,
    )
    assert program.wait(60) == 0 and "[0, 0]" in program.output()
    run = run_of(program)
    assert [stored.rows(run, f"k{i}", "x") for i in range(2)] == [list(range(200))] * 2
    assert stored.run(run)["state"] == "finished"


def test_a_fork_amid_traffic_of_many_threads_neither_hangs_nor_doubles(start_script, stored):
    program = start_script(
        """
        stop = threading.Event()
        sent = [0] * 3
        def send(i):
            while not stop.is_set():
                client.sendl(sent[i], f"k{i}", {"x": sent[i]})
                sent[i] += 1
                if sent[i] % 50 == 0: time.sleep(0.001)
        threads = [threading.Thread(target=send, args=(i,)) for i in range(3)]
        for thread in threads: thread.start()
        for round in range(20):
            child = os.fork()
            if child == 0:
                client.sendl(round, "child", {"x": round})
                code = 0 if client.close() else 1
                os._exit(code)
            assert os.waitpid(child, 0)[1] == 0
        stop.set()
        for thread in threads: thread.join()
        print("sent", *sent)
        """
    )
    assert program.wait(100) == 0, program.output()
    run = run_of(program)
    sent = [int(word) for word in program.wait_for_line(r"sent (.*)")[1].split()]
    for i in range(3):
        assert stored.rows(run, f"k{i}", "x") == list(range(sent[i]))
    assert sorted(stored.rows(run, "child", "x")) == list(range(20))


def test_a_client_that_nobody_holds_delivers_and_leaves_no_thread(endpoint, stored):
    client = Client(endpoint.url, "app")
    run = client.init()
    client.sendl(0, "k", {"x": 1})
    threads = list(client._road.producer._threads._threads)
    del client
    gc.collect()
    wait_until(lambda: not any(thread.is_alive() for thread in threads), what="the threads to end")
    assert stored.rows(run, "k", "x") == [1] and stored.run(run)["state"] == "finished"


def test_a_client_that_begins_and_closes_again_and_again_keeps_nothing_of_it(start_script, endpoint):
    # In a process of its own: what earlier tests left behind would come and go in these counts.
    program = start_script(
        """
        import collections, gc, weakref

        kinds = ("Road", "Producer", "Writer", "Sender", "Outbox", "Log", "Transport", "Thread", "Marker", "Begin", "finalize")

        def counts():
            while threading.active_count() > 1:
                time.sleep(0.01)
            gc.collect()
            found = collections.Counter(type(one).__name__ for one in gc.get_objects())
            own = {"descriptors": len(os.listdir("/proc/self/fd")), "ends": len(weakref.finalize._registry)}
            return {kind: found[kind] for kind in kinds} | own

        def counts_after(times):
            for step in range(times):
                client.init({"step": step})
                client.sendl(step, "k", {"x": step})
                client.init({"step": step})
                client.send(step, "k", {"x": [step]})
                assert client.close()
            return counts()

        client = Client(url, app)
        few, many = counts_after(2), counts_after(12)
        del client
        print("counted", [few, many, counts()])
        """,
        head=False,
    )
    assert program.wait(60) == 0, program.output()
    few, many, none = ast.literal_eval(program.wait_for_line(r"counted (.*)")[1])
    assert few == many and few["Road"] == 1 and none["Road"] == none["ends"] == 0


def test_parameters_changed_in_place_arrive_as_they_were_when_sent(client, stored):
    torch = pytest.importorskip("torch")
    run = client.init()
    torch.manual_seed(0)
    model = torch.nn.Linear(50, 20)
    half = torch.nn.Parameter(torch.zeros(8, dtype=torch.bfloat16))
    optimizer = torch.optim.SGD([*model.parameters(), half], lr=0.1)
    expected = []
    for step in range(30):
        expected.append(model.weight.detach().numpy().copy())
        weight = model.weight
        client.send(step, "weights", {"weight": weight, "bias": [model.bias], "half": half, "slice": weight[:, ::2].T})
        loss = model(torch.ones(50)).square().mean() + (half.float() - step).square().sum()
        client.sendl(step, "loss", {"step": step, "loss": loss, "grid": model.weight[None]})
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert client.flush()
    for step in (0, 1, 29):
        np.testing.assert_array_equal(stored.value(run, "weights", step)["weight"], expected[step])
    value = stored.values(run)["weights"]
    np.testing.assert_array_equal(value["weight"], expected[29])
    np.testing.assert_array_equal(value["slice"], expected[29][:, ::2].T)
    assert value["half"].dtype == np.float32 and value["bias"][0].shape == (20,)
    for got, wanted in zip(stored.rows(run, "loss", "grid"), expected, strict=True):
        np.testing.assert_array_equal(got, wanted)
    assert all(type(loss) is np.float64 for loss in stored.rows(run, "loss", "loss"))


def test_the_example_of_a_training_loop_runs(endpoint, stored, monkeypatch):
    pytest.importorskip("torch")  # in this process, which has loaded it for the tests above
    example = Path(__file__).parents[2] / "examples" / "training_pytorch.py"
    monkeypatch.setattr(sys, "argv", [str(example), endpoint.url, "training", "--steps", "50"])
    runpy.run_path(str(example), run_name="__main__")
    (run,) = stored.runs("training")
    losses = stored.rows(run["run"], "loss", "loss")
    assert len(losses) == 50 and losses[-1] < losses[0]
    assert stored.values(run["run"])["parameters"]["0.weight"].shape == (32, 1)


def test_arrays_of_jax_arrive(client, stored):
    jax = pytest.importorskip("jax")
    run = client.init()
    jnp = jax.numpy
    client.send(0, "v", {"a": jnp.arange(6).reshape(2, 3), "half": jnp.ones(3, dtype="bfloat16"), "s": jnp.float32(2)})
    client.sendl(0, "r", {"x": jnp.arange(3.0), "y": [1, 2, 3]})
    assert client.flush()
    value = stored.values(run)["v"]
    assert value["a"].tolist() == [[0, 1, 2], [3, 4, 5]] and value["half"].dtype == np.float32 and value["s"] == 2
    assert stored.rows(run, "r", "x") == [0, 1, 2]
