"""Four processes that send into one run: python producer.py URL producers [STEPS]"""

import math
import multiprocessing
import os
import random
import sys
import time

from streamvis import Client

WORKERS = 4


def work(url, app, run, number, steps):
    # Each process has its own client, which joins the run.
    with Client(url, app) as client:
        client.init(run=run)
        client.sendl(0, "log", {"text": f"worker {number} has started, in process {os.getpid()}"})
        for step in range(steps):
            began = time.perf_counter()
            time.sleep(random.uniform(0.02, 0.08))
            loss = math.exp(-step / (60 + 20 * number)) + random.gauss(0, 0.02)
            client.sendl(step, f"worker {number}", {"loss": loss, "batches per second": 1 / (time.perf_counter() - began)})
        client.sendl(steps, "log", {"text": f"worker {number} is done"})


def main(url, app, steps=2000):
    with Client(url, app) as client:
        run = client.init({"workers": WORKERS, "steps": steps})
        spawn = multiprocessing.get_context("spawn")
        workers = [spawn.Process(target=work, args=(url, app, run, number, steps)) for number in range(WORKERS)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()


if __name__ == "__main__":
    main(*sys.argv[1:3], *map(int, sys.argv[3:]))
