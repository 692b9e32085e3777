"""Where another thread is: found, whatever the garbage collector and other threads do meanwhile."""

import subprocess
import sys
import threading

from streamvis.thread_frames import frame_of

LOOKS = """
import faulthandler, gc, os, sys, threading, weakref
from streamvis.thread_frames import frame_of

class Cycle:
    def __init__(self):
        self.me = self
        alive.add(mine := weakref.ref(self, lambda _: [None for _ in range(50)] and alive.discard(mine)))

def start_threads():
    while True:
        thread = threading.Thread(target=int)
        thread.start()
        thread.join()

alive = set()
faulthandler.dump_traceback_later(30, exit=True)
sys.setswitchinterval(1e-6)
for _ in range(3):
    threading.Thread(target=start_threads, daemon=True).start()
gc.set_threshold(20)

def look():
    for _ in range(2000):
        Cycle()
        assert frame_of(threading.main_thread().ident) is not None

looking = threading.Thread(target=look)
looking.start()
looking.join()
assert gc.isenabled()
os._exit(0)
"""


def test_a_look_at_another_thread_never_stops_the_process():
    done = subprocess.run([sys.executable, "-c", LOOKS], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


def test_of_its_own_thread_it_is_the_frame_of_the_caller():
    assert frame_of(threading.get_ident()) is sys._getframe()
    assert frame_of(None) is None
