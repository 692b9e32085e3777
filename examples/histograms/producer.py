"""10,000 points that move in three groups, sent ten times a second.

python producer.py http://localhost:8080 histograms [STEPS]
"""

import sys
import time

import numpy as np

from streamvis import Client

POINTS = 10_000


def main(url, app, steps=1_000_000):
    random = np.random.default_rng()
    group = random.integers(0, 3, POINTS)
    x, y = random.normal(size=(2, POINTS))
    with Client(url, app) as client:
        client.init({"points": POINTS})
        for step in range(steps):
            angle = step / 60 + group * 2 * np.pi / 3
            x += 0.08 * (2.5 * np.cos(angle) - x) + random.normal(0, 0.25, POINTS)
            y += 0.08 * (1.5 * np.sin(angle) - y) + random.normal(0, 0.25, POINTS)
            client.send(step, "cloud", {"x": x.astype(np.float32), "y": y.astype(np.float32)})
            time.sleep(0.1)


if __name__ == "__main__":
    main(*sys.argv[1:3], *map(int, sys.argv[3:]))
