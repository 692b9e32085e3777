"""A small convolutional network learns to classify four shapes: python producer.py URL convolution [STEPS]

Needs PyTorch. The shapes are drawn by this program, with noise; nothing is downloaded.
"""

import sys
import time

import numpy as np
import torch
from torch import nn

from streamvis import Client

CLASSES = ["circle", "cross", "square", "stripes"]
SIZE, BATCH = 16, 64


def draw(count, random):
    """Images (count, SIZE, SIZE) of noisy shapes, and their classes."""
    labels = random.integers(0, len(CLASSES), count)
    y, x = np.indices((SIZE, SIZE))[:, None] - random.uniform(5, 10, (2, count, 1, 1))
    radius = random.uniform(3, 6, (count, 1, 1))
    shapes = [
        np.abs(np.hypot(x, y) - radius) < 1,
        (np.abs(np.abs(x) - np.abs(y)) < 1) & (np.abs(x) < radius),
        np.abs(np.maximum(np.abs(x), np.abs(y)) - radius) < 1,
        np.broadcast_to(np.sin(x * 9 / radius) > 0.4, x.shape),
    ]
    images = np.stack(shapes)[labels, np.arange(count)] + random.normal(0, 0.45, (count, SIZE, SIZE))
    return torch.tensor(images[:, None], dtype=torch.float32), torch.tensor(labels)


def network():
    """Ten layers with weights: eight convolutions and two dense ones."""
    layers, channels = [], 1
    for i, width in enumerate([8, 8, 12, 12, 16, 16, 24, 24]):
        layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()]
        layers += [nn.MaxPool2d(2)] if i % 3 == 2 else []
        channels = width
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(24 * 16, 32), nn.ReLU(), nn.Linear(32, len(CLASSES)))


def main(url, app, steps=2000):
    torch.manual_seed(0)
    torch.set_num_threads(1)  # the network is too small to profit from more
    random = np.random.default_rng(0)
    model = network()
    weighted = [layer for layer in model if hasattr(layer, "weight")]
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    images, labels = draw(400, random)
    with Client(url, app) as client:
        client.init({"steps": steps, "layers": len(weighted), "batch": BATCH, "classes": CLASSES})
        for step in range(steps):
            began = time.perf_counter()
            batch, targets = draw(BATCH, random)
            logits = model(batch)
            loss = nn.functional.cross_entropy(logits, targets)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            accuracy = (logits.argmax(1) == targets).float().mean()
            client.sendl(step, "train", {"loss": loss, "accuracy": accuracy, "rate": schedule.get_last_lr()[0]})
            client.sendl(step, "gradients", {f"layer{i}": layer.weight.grad.norm() for i, layer in enumerate(weighted)})
            client.sendl(step, "throughput", {"images per second": BATCH / (time.perf_counter() - began)})
            if step % 20 == 0:
                evaluate(client, step, model, images, labels)
                client.send(step, "weights", {"weights": weighted[7].weight})


@torch.no_grad()
def evaluate(client, step, model, images, labels):
    """Send the results on the validation set."""
    logits = model(images)
    predicted = logits.argmax(1)
    loss, accuracy = nn.functional.cross_entropy(logits, labels), (predicted == labels).float().mean()
    client.sendl(step, "val", {"loss": loss, "accuracy": accuracy})
    counts = torch.bincount(labels * len(CLASSES) + predicted, minlength=len(CLASSES) ** 2)
    client.send(step, "confusion", {"count": counts.reshape(len(CLASSES), -1)})
    names = {name: [CLASSES[i] for i in found[:24]] for name, found in (("true", labels), ("predicted", predicted))}
    client.send(step, "samples", {"image": images[:24, 0].clamp(0, 1), **names})
    client.sendl(step, "log", {"text": f"step {step}: validation loss {loss:.3f}, accuracy {accuracy:.1%}"})


if __name__ == "__main__":
    main(*sys.argv[1:3], *map(int, sys.argv[3:]))
