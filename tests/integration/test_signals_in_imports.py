"""SIGTERM that comes in the middle of an import: nobody trips over half a module, and all that was sent is delivered."""

import pytest

from support.scripts import run_of
from support.stored import Stored


@pytest.fixture
def endpoint(shared_endpoint):
    return shared_endpoint


@pytest.fixture
def stored(endpoint):
    return Stored(endpoint.url)


# A worker of the fork server has none of these modules when it begins, and descends from a process that is not its parent.
HEAD = """
def get_signal_at(module):
    left = [module]
    def see(event, about):
        if event == "import" and about[0] in left:
            left.clear()
            signal.pthread_kill(threading.main_thread().ident, signal.SIGTERM)
    sys.addaudithook(see)

def send(client, module):
    assert "psutil" not in sys.modules and "pyarrow" not in sys.modules
    get_signal_at(module)
    for step in range(20):
        client.sendl(step, "k", {"x": step})
    return True

def close_and_leave(client):
    client.close()
    sys.exit(3)

def send_and_close_at_the_signal(client, module):
    signal.signal(signal.SIGTERM, lambda *about: close_and_leave(client))
    send(client, module)

def send_and_import_psutil(client, module):
    send(client, module)
    import psutil
"""
BEGIN = """
if __name__ == "__main__":
    context = multiprocessing.get_context("forkserver")
    client = Client(url, app)
    print("run", client.init(), flush=True)
"""
POOL = """
    with context.Pool(1) as pool:
        sent = pool.apply_async(send, (client, MODULE))
        (worker,) = pool._pool
        worker.join(30)
        # The pool asks the fork server for the status too: whoever comes second is told 255.
        print("worker", -15 if worker.exitcode == 255 else worker.exitcode, flush=True)
    client.close()
"""
PROCESS = """
    worker = context.Process(target=WORK, args=(client, MODULE))
    worker.start()
    worker.join(30)
    print("worker", worker.exitcode, flush=True)
"""
WHILE_SENDING, AFTER_ALL = [0], list(range(20))
IMPORTS = {"pyarrow.lib": WHILE_SENDING, "urllib3.connection": WHILE_SENDING, "psutil._common": AFTER_ALL}


def delivered(program, stored, *, status: int):
    assert program.wait(60) == 0, program.output()
    output = program.output()
    assert f"worker {status}" in output and "Streamvis" not in output, output
    run = run_of(program)
    assert stored.run(run)["state"] != "running"
    return stored.rows(run, "k", "x")


@pytest.mark.parametrize("module", IMPORTS)
def test_a_worker_of_a_pool_that_is_ended_within_an_import_of_the_clients_delivers(module, start_script, stored):
    program = start_script(HEAD + BEGIN + POOL.replace("MODULE", repr(module)), head=False)
    assert delivered(program, stored, status=-15) == IMPORTS[module]


@pytest.mark.parametrize("module", ["pyarrow.lib", "urllib3.connection"])
def test_a_handler_that_closes_the_client_within_an_import_of_its_delivers(module, start_script, stored):
    source = PROCESS.replace("WORK", "send_and_close_at_the_signal").replace("MODULE", repr(module))
    program = start_script(HEAD + BEGIN + source, head=False)
    assert delivered(program, stored, status=3) == WHILE_SENDING


def test_a_signal_within_the_programs_own_import_of_what_the_client_needs_too_delivers(start_script, stored):
    source = PROCESS.replace("WORK", "send_and_import_psutil").replace("MODULE", "'psutil._common'")
    program = start_script(HEAD + BEGIN + source, head=False)
    assert delivered(program, stored, status=-15) == AFTER_ALL
