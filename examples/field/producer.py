"""Waves on a square pond: the two-dimensional wave equation, with a drop every 150 steps.

python producer.py http://localhost:8080 field [STEPS]
"""

import sys
import time

import numpy as np

from streamvis import Client

SIZE, SPEED, DAMPING, STEPS_PER_IMAGE = 150, 0.45, 0.008, 4


def main(url, app, steps=1_000_000):
    random = np.random.default_rng()
    height = np.zeros((SIZE, SIZE))
    before = height.copy()
    at = np.arange(SIZE)
    with Client(url, app) as client:
        client.init({"size": SIZE})
        for step in range(steps):
            if step % 150 == 0:
                x, y = random.uniform(0.2 * SIZE, 0.8 * SIZE, 2)
                drop = np.exp(-((at[:, None] - y) ** 2 + (at - x) ** 2) / 18)
                height, before = height + drop, before + drop  # changes the height, not the velocity
            around = sum(np.roll(height, shift, axis) for shift in (1, -1) for axis in (0, 1))
            after = (2 - DAMPING) * height - (1 - DAMPING) * before + SPEED**2 * (around - 4 * height)
            after[[0, -1], :] = after[:, [0, -1]] = 0
            before, height = height, after
            energy = float(((height - before) ** 2).sum())
            client.sendl(step, "energy", {"energy": energy})
            if step % STEPS_PER_IMAGE == 0:
                client.send(step, "field", {"height": height.astype(np.float32)})
            time.sleep(0.02)


if __name__ == "__main__":
    main(*sys.argv[1:3], *map(int, sys.argv[3:]))
