"""Images as PNG: arrays of every shape that people send, and files that are images already. Pure."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

__all__ = ["Picture", "are_pictures", "pictures_of"]

_MAGIC = {b"\x89PNG": "png", b"\xff\xd8\xff": "jpeg", b"GIF8": "gif", b"RIFF": "webp"}
_FEW_LEVELS = 32
"""Bytes up to this are taken for levels of their own scale, not for nearly black pictures."""
_BLUE, _ORANGE = (63, 144, 218), (231, 99, 0)

Picture = tuple[str, int, int]
"""A data URI, the width and the height in pixels (0 where a file's own size counts)."""


def pictures_of(cells: Any, *, low: float | None = None, high: float | None = None, most: int | None = None) -> list[Picture]:
    """Images as data URIs. Raises ValueError with what was expected.

    Args:
        cells: an array (h, w), (h, w, 3 or 4), (n, h, w) or (n, h, w, 1, 3 or 4), the bytes of a PNG, JPEG, GIF or WebP file,
            or a list of such things
        low: what is black; by default 0 for floats from 0 to 1 and for bytes, else the lowest of all
        high: what is white, accordingly. With numbers below 0 and no `low`, blue is below and orange above 0
        most: how many images to make at most; by default all
    """
    parts = _split(cells)[:most]
    arrays = [part for part in parts if not isinstance(part, bytes)]
    shade = _shade_of(arrays, low, high)
    return [_file(part) if isinstance(part, bytes) else _encoded(shade(part)) for part in parts]


def are_pictures(cells: Any) -> bool:
    """Whether `pictures_of` takes these for images: files, or arrays of at least 4 by 4 pixels."""
    try:
        parts = _split(cells)
    except (TypeError, ValueError):
        return False
    return bool(parts) and all(isinstance(part, bytes) or min(part.shape[:2]) >= 4 for part in parts)


def _split(cells: Any) -> list[np.ndarray | bytes]:
    if isinstance(cells, (bytes, bytearray)):
        return [bytes(cells)]
    if isinstance(cells, np.ndarray) and cells.dtype.kind in "buif":
        if cells.ndim == 1 and cells.dtype == np.uint8 and _kind(cells[:4].tobytes()):
            return [cells.tobytes()]
        if cells.ndim == 2 or (cells.ndim == 3 and cells.shape[2] in (3, 4) and cells.shape[0] > 4):
            return [cells]
        if cells.ndim == 3 or (cells.ndim == 4 and cells.shape[3] in (1, 3, 4)):
            return [image[..., 0] if image.ndim == 3 and image.shape[2] == 1 else image for image in cells]
    elif isinstance(cells, Sequence) and not isinstance(cells, str) and cells:
        if not isinstance(cells[0], (list, tuple, np.ndarray, bytes)):
            return _split(np.asarray(cells))
        if isinstance(cells[0], (list, tuple)):
            return _split(np.asarray(cells))
        return [part for cell in cells for part in _split(cell)]
    shape = getattr(cells, "shape", type(cells).__name__)
    raise ValueError(f"{shape} holds no images: send (h, w), (h, w, 3), (n, h, w) or (n, h, w, 3), or the bytes of PNG files")


def _kind(head: bytes) -> str | None:
    return next((kind for magic, kind in _MAGIC.items() if head.startswith(magic)), None)


def _file(content: bytes) -> Picture:
    kind = _kind(content)
    if kind is None:
        raise ValueError("bytes that begin as no PNG, JPEG, GIF or WebP file")
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}", 0, 0


def _shade_of(arrays: Sequence[np.ndarray], low: float | None, high: float | None) -> Any:
    """What makes bytes of the arrays, all on one scale."""
    lowest, highest = 0.0, 1.0
    for i, array in enumerate(arrays):
        finite = array[np.isfinite(array)] if array.dtype.kind == "f" else array
        if finite.size:
            bounds = float(finite.min()), float(finite.max())
            lowest, highest = bounds if i == 0 else (min(lowest, bounds[0]), max(highest, bounds[1]))
    are_bytes = all(array.dtype.kind in "bu" for array in arrays)
    if low is None and high is None and lowest < 0:
        return lambda array: _signed(array, max(-lowest, highest))
    if low is None:
        low = 0.0 if are_bytes or lowest >= 0 and highest <= 1 else lowest
    if high is None:
        high = (
            255.0
            if are_bytes and highest > _FEW_LEVELS
            else 1.0
            if 0 <= lowest and 0.1 < highest <= 1 and not are_bytes
            else highest
        )
    span = high - low or 1.0

    def shade(array: np.ndarray) -> np.ndarray:
        with np.errstate(invalid="ignore"):
            return np.nan_to_num(np.clip((array.astype(np.float64) - low) / span, 0, 1) * 255).astype(np.uint8)

    return shade


def _signed(array: np.ndarray, most: float) -> np.ndarray:
    """Blue below 0, orange above, and the more opaque the larger: it reads on light and on dark."""
    if array.ndim == 3:
        return np.nan_to_num(np.clip((array.astype(np.float64) / most + 1) * 127.5, 0, 255)).astype(np.uint8)
    found = np.empty((*array.shape, 4), np.uint8)
    found[..., :3] = np.where((array < 0)[..., None], _BLUE, _ORANGE)
    found[..., 3] = np.nan_to_num(np.clip(np.abs(array.astype(np.float64)) / most, 0, 1) * 255)
    return found


def _encoded(pixels: np.ndarray) -> Picture:
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(file, "PNG", compress_level=1)
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}", pixels.shape[1], pixels.shape[0]
