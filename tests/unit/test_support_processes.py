"""The harness's own promises about processes, without which a green fault test says nothing."""

import os
import signal
import subprocess
import sys
import urllib.request

import pytest

from support.conditions import wait_until
from support.processes import Program, is_gone

TALKS = "print('ready at 4711'); import threading; threading.Event().wait()"
# Prints its ready line, and starts a child that would outlive it.
HAS_A_CHILD = """
import subprocess, sys, threading
child = subprocess.Popen([sys.executable, "-c", "import threading; threading.Event().wait()"])
print("child", child.pid)
threading.Event().wait()
"""
LISTENS = """
import http.server, sys
server = http.server.HTTPServer(("127.0.0.1", int(sys.argv[sys.argv.index("--port") + 1])), http.server.BaseHTTPRequestHandler)
print(f"listens at http://127.0.0.1:{server.server_port}", *sys.argv[1:])
server.serve_forever()
"""
LISTENS_READY = r"listens at (?P<url>http://\S+:(?P<port>\d+))"


def python(source: str) -> list[str]:
    return [sys.executable, "-c", source]


@pytest.fixture(params=[False, True], ids=["", "warm"])
def is_warm(request):
    return request.param


def test_a_line_is_awaited_and_gives_its_groups(start_program):
    program = start_program(python(TALKS))
    assert program.wait_for_line(r"ready at (\d+)")[1] == "4711"


def test_a_program_that_ends_without_its_line_fails_at_once_and_tells_what_it_said(start_program, is_warm):
    program = start_program(python("import sys; sys.exit('no such folder')"), is_warm=is_warm)
    with pytest.raises(AssertionError, match=r"ended with status 1 before(?s:.*)no such folder"):
        program.wait_for_line("ready", within_s=60)


def test_a_line_that_never_comes_fails_at_its_deadline_and_tells_what_was_said(start_program):
    program = start_program(python(TALKS))
    program.wait_for_line("ready")
    with pytest.raises(AssertionError, match=r"a line like 'never'(?s:.*)ready at 4711"):
        program.wait_for_line("never", within_s=0.1)


def test_a_killed_program_starts_again_and_old_lines_do_not_count(start_program, is_warm):
    program = start_program(python(TALKS), is_warm=is_warm)
    program.wait_for_line("ready")
    program.kill()
    assert program.status == -signal.SIGKILL
    program.restart(python("print('again')"))
    program.wait_for_line("again")
    assert program.wait() == 0
    with pytest.raises(AssertionError, match="ended with status 0"):
        program.wait_for_line("ready")
    assert "ready" in program.output(all_starts=True)


def test_terminate_gives_the_status_that_the_program_chose(start_program, is_warm):
    source = "import signal, sys; signal.signal(15, lambda *_: sys.exit(7)); print('ready'); signal.pause()"
    program = start_program(python(source), is_warm=is_warm)
    program.wait_for_line("ready")
    assert program.terminate() == 7


def test_a_stopped_program_says_nothing_until_it_is_resumed(start_service, is_warm):
    service = start_service(python(LISTENS), ready=LISTENS_READY, is_warm=is_warm)
    service.stop()
    with pytest.raises(TimeoutError):
        urllib.request.urlopen(service.url, timeout=0.3)
    service.resume()
    with pytest.raises(urllib.request.HTTPError, match="501"):
        urllib.request.urlopen(service.url, timeout=10)


def test_a_service_restarts_on_its_port_with_the_arguments_it_is_given(start_service, is_warm):
    service = start_service(python(LISTENS), ready=LISTENS_READY, is_warm=is_warm)
    port = service.port
    service.kill()
    service.restart([*python(LISTENS), "--changed"])
    assert service.port == port
    service.wait_for_line("--changed")


def test_closing_a_program_ends_what_it_started(tmp_path, is_warm):
    program = Program(python(HAS_A_CHILD), log=tmp_path / "log", is_warm=is_warm)
    child = int(program.wait_for_line(r"child (\d+)")[1])
    program.kill()
    assert not is_gone(child)
    program.close()
    wait_until(lambda: is_gone(child), 10, "the child to end with its program")


def test_closing_a_program_that_has_ended_leaves_the_process_that_has_its_number_now(tmp_path):
    ended, other = (Program(python(HAS_A_CHILD), log=tmp_path / f"log-{i}") for i in range(2))
    ended.kill()
    ended._groups = [other.pid]
    ended.close()
    assert other.running
    other.close()


def test_programs_end_when_the_test_process_is_killed(tmp_path, is_warm):
    starts_one = f"""
import os, pathlib, signal
from support.processes import Program, is_gone
program = Program({python(TALKS)!r}, log=pathlib.Path({str(tmp_path / "log")!r}), is_warm={is_warm})
program.wait_for_line("ready")
print(program.pid, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    said = subprocess.run(python(starts_one), env=environment, stdout=subprocess.PIPE, timeout=60, check=False)
    assert said.returncode == -signal.SIGKILL
    wait_until(lambda: is_gone(int(said.stdout)), 10, "the program to end with the process that started it")


PRINTS = """
import os, sys
print("has", sys.argv, os.environ.get("GIVEN"), os.environ.get("TAKEN"), os.getcwd(), os.getsid(0) == os.getpid(), flush=True)
os.close(os.open("made", os.O_CREAT, 0o666))
print("holds", [one for one in sorted(map(int, os.listdir("/proc/self/fd")))[:-1]])
print("reads", sys.stdin.read(), file=sys.stderr)
"""


def test_a_warm_program_finds_the_words_environment_folder_and_descriptors_of_any_other(start_program, tmp_path, monkeypatch):
    monkeypatch.setenv("TAKEN", "1")
    before = os.umask(0o027)
    try:
        said = []
        for is_warm in (False, True):
            folder = tmp_path / f"{is_warm}"
            folder.mkdir()
            options = {"env": {"GIVEN": "here", "TAKEN": None}, "cwd": folder, "is_warm": is_warm}
            program = start_program([*python(PRINTS), "word", "--option"], **options)
            assert program.wait() == 0 and (folder / "made").stat().st_mode & 0o777 == 0o640
            said.append(program.output().replace(str(folder), "FOLDER"))
        assert said[0] == said[1] and "['-c', 'word', '--option'] here None FOLDER True" in said[0]
    finally:
        os.umask(before)
