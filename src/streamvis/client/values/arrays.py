"""What arrays are, and what becomes of those that neither Arrow nor a page could read as they are.

NumPy is imported only where an array is at hand, and so there already; PyTorch is looked up, never imported.
"""

from __future__ import annotations

import sys
from typing import Any

__all__ = [
    "asarray",
    "is_ndarray",
    "is_storable",
    "is_text",
    "is_torch_tensor",
    "moment_of",
    "nested_lists",
    "unmasked",
    "widened",
]

_FLOATS_OF_OTHERS = ("bfloat16", "float8", "float6", "float4")


def is_ndarray(node: Any) -> bool:
    """Whether it is an array of NumPy itself, not of a subclass."""
    kind = type(node)
    return kind.__name__ == "ndarray" and kind.__module__ == "numpy"


def is_torch_tensor(node: Any) -> bool:
    """Whether it is a tensor of PyTorch, or of a subclass."""
    torch = sys.modules.get("torch")
    tensor = getattr(torch, "Tensor", None)
    return tensor is not None and isinstance(node, tensor)


def is_text(text: str) -> bool:
    """Whether UTF-8 can say it."""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def asarray(node: Any) -> Any:
    """`node` as an array; one that is masked stays so."""
    import numpy as np

    return np.asanyarray(node)


def unmasked(array: Any) -> Any:
    """Masked cells become NaN, NaT, or None; those of whole numbers in several dimensions make the array one of floats, or None
    where floats cannot say the others."""
    import numpy as np

    if not np.ma.getmaskarray(array).any():
        return array.filled()
    kind = array.dtype.kind
    if kind == "f":
        return array.filled(np.nan)
    if kind in "iu" and array.ndim > 1:
        numbers = array.filled(0)
        is_exact = numbers.max() <= 2**53 and numbers.min() >= -(2**53)
        return array.astype(np.float64).filled(np.nan) if is_exact else None
    if kind in "mM":
        return array.filled(np.array("NaT", dtype=array.dtype))
    return np.array(array.tolist(), dtype=object)


def moment_of(array: Any) -> Any:
    """The one time or duration in an array: as Python's own where that says the same, None for NaT, else a scalar of NumPy.

    A whole number where it cannot be stored.
    """
    from streamvis.wire.moments import converted

    made = converted(array.reshape(1), "us")
    item = made[0].item() if made is not None else 0
    return array[()] if isinstance(item, int) and is_storable(array.reshape(1)) else item


def is_storable(array: Any) -> bool:
    """Whether times or durations can be stored as they are."""
    from streamvis.wire.moments import storable

    return storable(array) is not None


def widened(array: Any) -> Any:
    """Small numbers of other libraries (bfloat16 and similar) as NumPy's next wider ones; None for records."""
    import numpy as np

    name = array.dtype.name
    if array.dtype.names is None and name.startswith(_FLOATS_OF_OTHERS):
        return array.astype(np.float32)
    if array.dtype.names is None and name in ("int4", "uint4", "int2", "uint2"):
        return array.astype(np.int8)
    return None


def nested_lists(array: Any) -> list[Any]:
    """The array as nested lists; times as Python's own, in microseconds."""
    if array.dtype.kind in "mM":
        array = array.astype(f"{array.dtype.kind}8[us]")
    return array.tolist()
