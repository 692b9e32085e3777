"""k-means on 50,000 moving points: python producer.py URL point_cloud [STEPS]"""

import sys
import time

import numpy as np

from streamvis import Client

POINTS, CLUSTERS = 50_000, 6


def main(url, app, steps=1_000_000):
    random = np.random.default_rng(0)
    homes = random.normal(0, 4, (CLUSTERS, 2))
    points = homes[random.integers(0, CLUSTERS, POINTS)] + random.normal(0, 1, (POINTS, 2))
    centres = points[random.choice(POINTS, CLUSTERS, replace=False)]
    with Client(url, app) as client:
        client.init({"points": POINTS, "clusters": CLUSTERS})
        for step in range(steps):
            squares = ((points[:, None] - centres) ** 2).sum(axis=2)
            cluster = squares.argmin(axis=1)
            members = [points[cluster == i] for i in range(CLUSTERS)]
            centres = np.stack([its.mean(axis=0) if len(its) else old for its, old in zip(members, centres, strict=True)])
            client.sendl(step, "fit", {"distance": float(np.sqrt(squares.min(axis=1)).mean())})
            client.send(step, "points", {"x": points[:, 0], "y": points[:, 1], "cluster": cluster})
            points += 0.02 * (centres[cluster] - points) + random.normal(0, 0.05, (POINTS, 2))
            time.sleep(1)


if __name__ == "__main__":
    main(*sys.argv[1:3], *map(int, sys.argv[3:]))
