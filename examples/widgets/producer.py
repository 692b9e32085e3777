"""Three channels of a signal, sampled a hundred times a second: python producer.py URL widgets [STEPS]"""

import sys
import time

import numpy as np

from streamvis import Client

CHANNELS, RATE = {"left": 3.0, "right": 7.0, "rear": 13.0}, 100


def main(url, app, steps=1_000_000):
    random = np.random.default_rng(0)
    kept = np.zeros((len(CHANNELS), 1024))
    with Client(url, app) as client:
        client.init({"channels": list(CHANNELS), "rate": RATE})
        for step in range(steps):
            t = step / RATE
            samples = [np.sin(2 * np.pi * hz * t) + random.normal(0, 0.3) for hz in CHANNELS.values()]
            client.sendl(step, "signal", dict(zip(CHANNELS, samples, strict=True)))
            kept = np.roll(kept, -1, axis=1)
            kept[:, -1] = samples
            if step % 20 == 0:
                client.send(step, "newest", {"samples": kept, "rate": RATE})
            time.sleep(1 / RATE)


if __name__ == "__main__":
    main(*sys.argv[1:3], *map(int, sys.argv[3:]))
