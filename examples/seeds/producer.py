"""Six training runs, with two learning rates and three seeds each: python producer.py URL seeds [STEPS]

A small network learns to classify the handwritten digits of scikit-learn.
"""

import sys

import numpy as np
from sklearn.datasets import load_digits
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier

from streamvis import Client

RATES, SEEDS, BATCH = (0.003, 0.0005), (0, 1, 2), 64


def train(client, rate, seed, steps):
    """Train one network, and send loss and accuracy."""
    digits = load_digits()
    images, val_images, labels, val_labels = train_test_split(digits.data / 16, digits.target, random_state=seed)
    model = MLPClassifier((32,), learning_rate_init=rate, random_state=seed)
    batches = np.random.default_rng(seed)
    for step in range(steps):
        batch = batches.integers(len(images), size=BATCH)
        model.partial_fit(images[batch], labels[batch], classes=range(10))
        client.sendl(step, "train", {"loss": model.loss_, "accuracy": model.score(images[batch], labels[batch])})
        if step % 5 == 0:
            predicted = model.predict_proba(val_images)
            accuracy = np.mean(predicted.argmax(axis=1) == val_labels)
            client.sendl(step, "val", {"loss": log_loss(val_labels, predicted), "accuracy": accuracy})


def main(url, app, steps=400):
    for rate in RATES:
        for seed in SEEDS:
            with Client(url, app) as client:
                client.init({"rate": rate, "seed": seed, "hidden_units": 32, "batch": BATCH})
                train(client, rate, seed, steps)


if __name__ == "__main__":
    main(*sys.argv[1:3], *map(int, sys.argv[3:]))
