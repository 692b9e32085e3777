"""How arrays of numbers reach the browser where Bokeh has no binary form for their dtype: as the nearest one that it has.

Bokeh sends int64 beyond 32 bits, uint64, float16, long doubles and numbers in foreign byte order as lists of objects, which a
browser's image cannot draw. In the browser, numbers are doubles; float16 needs only half of one.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from bokeh.core.serialization import Serializer
from bokeh.util.serialization import array_encoding_disabled, transform_array

__all__ = ["drawable"]


def drawable(array: np.ndarray) -> np.ndarray:
    """The array in a dtype that Bokeh sends in binary form, where it holds numbers; any other array as it is."""
    if array.dtype.kind not in "iuf" or array.shape == ():
        return array
    native = transform_array(array.astype(array.dtype.newbyteorder("="), copy=False))
    if not array_encoding_disabled(native):
        return native
    return native.astype(np.float32 if native.dtype == np.float16 else np.float64)


class _Drawable(np.ndarray):
    """What is encoded as an array by Bokeh itself."""


def _encode(array: np.ndarray, serializer: Serializer) -> Any:
    return serializer.encode(drawable(array).view(_Drawable))


Serializer.register(np.ndarray, _encode)
