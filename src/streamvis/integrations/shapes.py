"""Arrays in the form in which Streamvis shows them: images with their channels last, videos as GIF files, curves, projections.

Arrays may be NumPy's or tensors of PyTorch; an image on a device stays there.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np

from streamvis.errors import InvalidData

__all__ = ["channels_last", "curve_of", "gifs_of", "numbers", "projected", "with_boxes"]

_ORDER = "NTHWC"
_LEAST_COUNT = 1e-7


def numbers(array: Any) -> np.ndarray:
    """A NumPy array of what may be a tensor on a device, or a list."""
    if hasattr(array, "detach"):
        array = array.detach().cpu()
        array = array.float() if "bfloat16" in str(array.dtype) else array
    return np.asarray(array)


def channels_last(image: Any, formats: str) -> Any:
    """The images with the axes (n, h, w, channels), given the letters of their axes, such as "CHW". One channel is left out.

    Raises InvalidData for letters that do not fit.
    """
    image = image if hasattr(image, "permute") else np.asarray(image)
    letters = formats.upper()
    if len(letters) != image.ndim or len(set(letters)) != len(letters) or not set(letters) <= set(_ORDER):
        raise InvalidData(f"{formats!r} for an image of shape {tuple(image.shape)}", where="dataformats", allowed="such as 'CHW'")
    order = [letters.index(letter) for letter in _ORDER if letter in letters]
    turned = image.permute(order) if hasattr(image, "permute") else image.transpose(order)
    return turned[..., 0] if "C" in letters and turned.shape[-1] == 1 else turned


def gifs_of(video: Any, fps: float) -> list[bytes]:
    """A GIF file of each video, given an array (n, t, c, h, w), floats from 0 to 1 or bytes."""
    from PIL import Image

    frames = channels_last(numbers(video), "NTCHW")
    if frames.dtype.kind == "f":
        frames = np.clip(np.nan_to_num(frames) * 255, 0, 255)
    made = []
    for pictures in frames.astype(np.uint8):
        first, *rest = map(Image.fromarray, pictures)
        file = io.BytesIO()
        first.save(file, "GIF", save_all=True, append_images=rest, duration=max(20, round(1000 / fps)), loop=0)
        made.append(file.getvalue())
    return made


def with_boxes(image: Any, boxes: Any, labels: Sequence[str] | None, formats: str) -> Any:
    """The image with red rectangles, given as (left, top, right, bottom), and their labels."""
    from PIL import Image, ImageDraw

    pixels = channels_last(numbers(image), formats)
    if pixels.dtype.kind == "f":
        pixels = np.clip(np.nan_to_num(pixels) * 255, 0, 255)
    picture = Image.fromarray(pixels.astype(np.uint8)).convert("RGB")
    draw = ImageDraw.Draw(picture)
    for i, box in enumerate(numbers(boxes).reshape(-1, 4).tolist()):
        draw.rectangle(box, outline="red", width=2)
        if labels is not None:
            draw.text((box[0] + 3, box[1] + 1), str(labels[i]), fill="red")
    return picture


def curve_of(labels: Any, predictions: Any, count: int, weights: Any = None) -> dict[str, np.ndarray]:
    """Precision over recall at `count` thresholds, as TensorBoard computes them, with the counts that they come from."""
    labels, predictions = numbers(labels).astype(np.float64).ravel(), numbers(predictions).ravel()
    weights = 1.0 if weights is None else numbers(weights)
    places = np.floor(predictions * (count - 1)).astype(np.int64)
    found = [
        np.histogram(places, count, (0, count - 1), weights=part * weights * np.ones_like(labels))
        for part in (labels, 1 - labels)
    ]
    tp, fp = (np.cumsum(counts[::-1])[::-1] for counts, _ in found)
    tn, fn = fp[0] - fp, tp[0] - tp
    recall, precision = tp / np.maximum(_LEAST_COUNT, tp + fn), tp / np.maximum(_LEAST_COUNT, tp + fp)
    return {"x": recall, "y": precision, "threshold": np.linspace(0, 1, count), "tp": tp, "fp": fp, "tn": tn, "fn": fn}


def projected(vectors: np.ndarray) -> np.ndarray:
    """The first two principal components of vectors (n, d), as (n, 2)."""
    centred = np.nan_to_num(vectors.astype(np.float64))
    centred = centred - centred.mean(axis=0)
    _, axes = np.linalg.eigh(centred.T @ centred)
    found = centred @ axes[:, ::-1][:, :2]
    return np.pad(found, ((0, 0), (0, 2 - found.shape[1])))
