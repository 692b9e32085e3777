"""Data for every panel: python producer.py URL panels [STEPS]"""

import sys
import time

import numpy as np

from streamvis import Client

RATE, CLASSES = 8000, 5


def main(url, app, steps=1000):
    random = np.random.default_rng(0)
    t = np.arange(RATE) / RATE
    faces = np.hypot(*(np.indices((12, 12)) - 5.5))
    digits = random.integers(0, CLASSES, 600)
    with Client(url, app) as client:
        model, optimizer = {"layers": [32, 32], "activation": "relu"}, {"name": "adam", "lr": 1e-3}
        client.init({"steps": steps, "model": model, "optimizer": optimizer})
        for step in range(steps):
            loss = float(np.exp(-step / 150)) + 0.05
            row = {"loss": loss * random.lognormal(0, 0.2), "accuracy": 1 - loss * random.uniform(0.7, 0.9)}
            client.sendl(step, "train", row)
            if step % 20 == 0:
                client.sendl(step, "val", {"loss": 1.1 * loss, "accuracy": 1 - 0.9 * loss})
                right = random.random(600) > 0.6 * loss
                predicted = np.where(right, digits, random.integers(0, CLASSES, 600))
                counts = np.zeros((CLASSES, CLASSES), int)
                np.add.at(counts, (digits, predicted), 1)
                angle = digits * 2 * np.pi / CLASSES
                spread = random.normal(0, 0.5, (2, 600)) * (0.4 + loss)
                rings = (np.abs(faces - 1 - digits[:18, None, None]) < 0.8) + random.normal(0, 0.15, (18, 12, 12))
                x, y = 2 * np.array([np.cos(angle), np.sin(angle)]) + spread
                client.send(step, "samples", {"image": np.clip(rings, 0, 1), "true": digits[:18], "predicted": predicted[:18]})
                client.send(step, "embedding", {"x": x, "y": y, "digit": digits})
                client.send(step, "confusion", {"count": counts})
                client.send(step, "weights", {"weights": random.normal(step / steps, 0.3 + step / 300, 2000)})
                client.sendl(step, "log", {"text": f"step {step}: loss {loss:.3f}, accuracy {right.mean():.1%}"})
            if step == 0:
                client.send(step, "facts", {"data": {"name": "rings", "images": 600, "classes": list("abcde")}, "device": "cpu"})
                client.send(step, "sound", {"samples": np.sin(2 * np.pi * 440 * t * t) * np.exp(-3 * t), "rate": RATE})
            time.sleep(0.01)


if __name__ == "__main__":
    main(*sys.argv[1:3], *map(int, sys.argv[3:]))
