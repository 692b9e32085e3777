"""The demo's producer: a small neural network learns to classify handwritten digits, and sends its metrics.

The data is the 1797 images of 8x8 pixels included in scikit-learn, 500 of them as the validation set. The training loop uses
scikit-learn's MLPClassifier with mini-batches. The same seed gives the same run. Nothing here knows about pages.

    python -m streamvis.demo.train http://localhost:8080 digits
"""

import argparse
import sys
import time

import numpy as np
from scipy.linalg import orthogonal_procrustes  # SciPy is a dependency of scikit-learn
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.metrics import confusion_matrix, log_loss
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier

from streamvis import Client

CLASSES = np.arange(10)
HIDDEN_UNITS = (36, 16)
VALIDATION_IMAGES = 500
BATCH_IMAGES = 64
STEPS_PER_EVALUATION = 5
MAX_MISTAKES = 35


def train(client: Client, *, steps: int, pace_s: float, seed: int) -> None:
    """Train for `steps` steps, `pace_s` seconds apart, and send metrics and predictions."""
    digits = load_digits()
    images, val_images, labels, val_labels = train_test_split(
        digits.data / 16, digits.target, test_size=VALIDATION_IMAGES, stratify=digits.target, random_state=seed
    )
    model = MLPClassifier(HIDDEN_UNITS, random_state=seed)
    batches = np.random.default_rng(seed)
    points = None

    client.init({"steps": steps, "hidden_units": HIDDEN_UNITS, "batch_images": BATCH_IMAGES, "seed": seed})
    pixels = as_pixels(val_images)

    for step in range(steps):
        batch = batches.integers(len(images), size=BATCH_IMAGES)
        model.partial_fit(images[batch], labels[batch], classes=CLASSES)
        accuracy = model.score(images[batch], labels[batch])
        client.sendl(step, "train", {"loss": model.loss_, "accuracy": accuracy})

        if step % STEPS_PER_EVALUATION == 0 or step == steps - 1:
            probabilities = model.predict_proba(val_images)
            predicted = probabilities.argmax(axis=1)
            loss, accuracy = log_loss(val_labels, probabilities), np.mean(predicted == val_labels)
            client.sendl(step, "val", {"loss": loss, "accuracy": accuracy})

            points = project(last_hidden_layer(model, val_images), previous=points)
            prediction = np.where(predicted == val_labels, "correct", "wrong").tolist()
            place = {"x": points[:, 0], "y": points[:, 1], "prediction": prediction}
            client.send(step, "validation", {"image": pixels, "true": val_labels, "predicted": predicted, **place})
            client.send(step, "confusion", {"count": confusion_matrix(val_labels, predicted, labels=CLASSES)})
            client.send(step, "weights", {"image": model.coefs_[0].T.reshape(-1, 8, 8).astype(np.float32)})

            wrong = np.flatnonzero(predicted != val_labels)[:MAX_MISTAKES]
            mistakes = {"true": val_labels[wrong], "predicted": predicted[wrong]}
            client.send(step, "mistakes", {"image": pixels[wrong], **mistakes})

        time.sleep(pace_s)


def as_pixels(images: np.ndarray) -> np.ndarray:
    """Rows of 64 grey values from 0 to 1, as images of 8x8 bytes from 0 to 16 (the data set's own scale)."""
    return np.rint(images * 16).astype(np.uint8).reshape(-1, 8, 8)


def last_hidden_layer(model: MLPClassifier, images: np.ndarray) -> np.ndarray:
    """The activations (n, units) of the layer before the output, for images (n, 64)."""
    activations = images
    for weights, bias in zip(model.coefs_[:-1], model.intercepts_[:-1], strict=True):
        activations = np.maximum(activations @ weights + bias, 0)
    return activations


def project(activations: np.ndarray, *, previous: np.ndarray | None) -> np.ndarray:
    """Project activations (n, units) to points (n, 2) with PCA, at a mean squared distance of 1 from the centre.

    The axes of a PCA may flip or rotate from one step to the next although the points hardly change. Rotating the points to fit
    the previous ones (orthogonal Procrustes; Schönemann 1966) makes them move smoothly.
    """
    points = PCA(2, svd_solver="full").fit_transform(activations)
    points /= np.sqrt(np.mean(np.sum(points**2, axis=1)))
    if previous is not None:
        points = points @ orthogonal_procrustes(points, previous)[0]
    return points


def main(argv: list[str] | None = None) -> int:
    """Run the demo's producer; returns the exit status, which is 130 after Ctrl-C."""
    parser = argparse.ArgumentParser(prog="python -m streamvis.demo.train", description=__doc__.partition("\n")[0])
    parser.add_argument("url", nargs="?", default="http://localhost:8080", help="the endpoint (default %(default)s)")
    parser.add_argument("app", nargs="?", default="digits", help="the app (default %(default)s)")
    parser.add_argument("--steps", type=int, default=2000, help="number of mini-batches (default %(default)s)")
    parser.add_argument("--pace-s", type=float, default=0.1, help="seconds between steps (default %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="the same seed gives the same run (default %(default)s)")
    args = parser.parse_args(argv)
    try:
        with Client(args.url, args.app) as client:
            train(client, steps=args.steps, pace_s=args.pace_s, seed=args.seed)
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
