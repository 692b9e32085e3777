"""A random search over two parameters of a model: python producer.py URL sweep [TRIALS]"""

import sys
import time

import numpy as np

from streamvis import Client


def train(rate, width, random):
    """The final loss of a model with these parameters."""
    return 0.05 + (np.log10(rate) + 2.4) ** 2 / 6 + (width - 96) ** 2 / 40_000 + random.exponential(0.02)


def main(url, app, trials=300):
    random = np.random.default_rng()
    tried = {"log10(rate)": [], "width": [], "loss": []}
    with Client(url, app) as client:
        client.init({"trials": trials, "rate": [1e-4, 1e-1], "width": [16, 256]})
        for trial in range(trials):
            rate, width = 10 ** random.uniform(-4, -1), int(random.integers(16, 257))
            loss = train(rate, width, random)
            for name, value in zip(tried, (np.log10(rate), width, loss), strict=True):
                tried[name].append(value)
            client.sendl(trial, "trial", {"rate": rate, "width": width, "loss": loss, "best": min(tried["loss"])})
            client.send(trial, "trials", {name: np.array(values, float) for name, values in tried.items()})
            time.sleep(0.3)


if __name__ == "__main__":
    main(*sys.argv[1:3], *map(int, sys.argv[3:]))
