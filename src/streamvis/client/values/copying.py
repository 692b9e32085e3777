"""Copies of the caller's data that no one else can change: lists, dicts, arrays, tensors.

Tensors of PyTorch and JAX are known by the module of their type, so neither library is imported. One that lies on a device is
cloned there, and becomes a `Deferred` that the sender's thread fetches: a call never waits for a device.
"""

from __future__ import annotations

import datetime as dt
import json
import math
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from streamvis.client.values.arrays import (
    asarray,
    is_ndarray,
    is_storable,
    is_text,
    is_torch_tensor,
    moment_of,
    unmasked,
    widened,
)
from streamvis.pictures import as_array, is_picture
from streamvis.wire.limits import MAX_DEPTH

__all__ = ["HIGHEST", "LOWEST", "MAX_CALL_BYTES", "Copier", "Deferred", "Refused", "Unfetched"]

MAX_CALL_BYTES = 48 * 2**20
"""The endpoint takes bodies of 64 MiB; a batch may hold some more than one call."""
_MAX_DEPTH = MAX_DEPTH - 2
"""Around what is copied here lie the data of the call, and the cells of a column."""
LOWEST, HIGHEST = -(2**63), 2**64 - 1
_SCALARS = {float, int, str, bool, type(None)}
_CELL_BYTES = 32
_MOMENT_BYTES = 16
"""What a moment as text takes more than other cells."""
_LONG_TEXT = 100
"""From so many characters on it matters how a text is written in JSON, where one character may take up to six."""
_NUMBERS = frozenset("?bBhHiIlLqQefd")
"""Characters of the dtypes that are copied as they are: booleans, whole numbers, and floats of up to 64 bits."""
_TIMES = "times within 292,000 years of 1970, no finer than nanoseconds"
_LONGEST = dt.timedelta(microseconds=2**63 - 1)
_WHOLE = "whole numbers from -2**63 to 2**64-1"
_ANYTHING = "numbers, booleans, strings, datetimes, None, arrays and tensors of these, lists and dicts"


class Refused(Exception):
    """Why a part cannot be sent; `trail` is its place, innermost first."""

    def __init__(self, problem: str, allowed: str = _ANYTHING) -> None:
        super().__init__(problem)
        self.problem, self.allowed, self.trail = problem, allowed, []


class Deferred:
    """An array on a device, cloned there; `fetch` waits for it and brings it to the host."""

    __slots__ = ("_clone", "_ready", "nbytes", "shape")

    def __init__(self, clone: Any, *, ready: Any, shape: tuple[int, ...], nbytes: int) -> None:
        self._clone, self._ready, self.shape, self.nbytes = clone, ready, shape, nbytes

    def __len__(self) -> int:
        return self.shape[0]

    def fetch(self) -> Any:
        """The array, or its item where it has no dimension."""
        if self._ready is not None:
            self._ready.synchronize()
        clone = self._clone.cpu() if hasattr(self._clone, "cpu") else self._clone
        copier = Copier()
        return copier.array(clone)


class Unfetched:
    """Data that holds `Deferred` arrays: the device's part of an entry."""

    __slots__ = ("data",)

    def __init__(self, data: Any) -> None:
        self.data = data

    def fetch(self) -> Any:
        """The data with every array on the host. Waits for the devices."""
        return _fetched(self.data)


def _fetched(node: Any) -> Any:
    if type(node) is Deferred:
        return node.fetch()
    if type(node) is dict:
        return {name: _fetched(part) for name, part in node.items()}
    if type(node) is list:
        return [_fetched(part) for part in node]
    return node


class Copier:
    """Copies the parts of one call; `size` sums up the bytes that they take when they are sent, roughly; `arrays` counts the
    arrays among them, and `deferred` lists what still lies on a device."""

    def __init__(self) -> None:
        self.size = 0
        self.arrays = 0
        self.deferred: list[Deferred] = []

    def column(self, column: Any) -> tuple[Any, int | None]:
        """A copy of a column and its number of rows; a scalar, or a dict, is one cell and has None."""
        if is_ndarray(column) and column.dtype.char in _NUMBERS and column.dtype.isnative and column.ndim:
            self.grow(column.nbytes + _shape_bytes(column))
            return column.copy(), len(column)
        if isinstance(column, (list, tuple, range)):
            copied = self._list(column, 1)
            return copied, len(copied)
        if type(column) not in _SCALARS and is_picture(column):
            raise Refused(f"{type(column).__name__} holds an image, which is not a row", "client.send(step, key, ...) for images")
        copied = self.tree(column)
        if type(copied) is list:
            return copied, len(copied)
        if type(copied) is Deferred:
            return copied, copied.shape[0] if copied.shape else None
        if is_ndarray(copied):
            if copied.ndim > 1 and copied.dtype.kind not in "biuf":
                copied = list(copied)
            else:
                self.grow(_shape_bytes(copied))
            return copied, len(copied)
        return copied, None

    def tree(self, node: Any, depth: int = 0) -> Any:
        """A copy of `node`, whatever it is made of. Raises Refused."""
        kind = type(node)
        if kind is float or kind is bool or node is None:
            return node
        if kind is int:
            return _checked_int(node)
        if kind is str:
            return self._text(node)
        if depth > _MAX_DEPTH:
            raise Refused("nested too deep, or contains itself", f"at most {_MAX_DEPTH} levels")
        if isinstance(node, (list, tuple, range)):
            return self._list(node, depth + 1)
        if isinstance(node, Mapping):
            return self._dict(node, depth + 1)
        if isinstance(node, (dt.date, dt.timedelta)):
            self.grow(_MOMENT_BYTES if depth else 0)
            return self._moment(node)
        if isinstance(node, (int, float, str)):
            return self.tree(_bare(node))
        copied = self.array(node)
        if type(copied) is Deferred:
            self.deferred.append(copied)
        return copied

    def array(self, node: Any) -> Any:
        """A copy of an array, tensor, or scalar of NumPy: an ndarray, a list, a `Deferred`, or one plain scalar."""
        try:
            return self._array(node)
        except (RuntimeError, TypeError, ValueError, BufferError) as error:  # what libraries raise for arrays without data
            reason = str(error).strip().partition("\n")[0][:200]
            raise Refused(f"{type(node).__name__} did not become an array ({reason})") from error

    def _array(self, node: Any) -> Any:
        if isinstance(node, type):
            raise Refused(f"the class {node.__qualname__} cannot be stored")  # NumPy's have what their arrays have
        library = type(node).__module__.partition(".")[0]
        if library == "torch" or (library not in ("numpy", "jax", "jaxlib") and is_torch_tensor(node)):
            return self._torch(node)
        if library in ("jax", "jaxlib"):
            return self._jax(node)
        if is_picture(node):
            return self._numpy(as_array(node), is_own=True)
        if library == "pandas" and type(node).__name__ in ("NAType", "NaTType"):
            return None
        if library == "array" or hasattr(node, "__array__") or hasattr(node, "__array_interface__"):
            return self._numpy(asarray(node), is_own=False)
        kind = type(node).__name__
        if isinstance(node, complex):
            raise Refused(f"{node!r} is a complex number", "real and imaginary part as two columns")
        if isinstance(node, (bytes, bytearray, memoryview)):
            raise Refused(f"{kind} cannot be stored", "text as str, numbers as arrays (np.frombuffer), the bytes of image files")
        if isinstance(node, (set, frozenset)):
            raise Refused(f"{kind} has no order", "a list, such as sorted(...)")
        raise Refused(f"{kind} cannot be stored")

    def _list(self, node: Sequence[Any], depth: int) -> list[Any]:
        self.grow(_CELL_BYTES * len(node))
        copied = list(node)
        kinds = set(map(type, copied))
        if kinds == {float} or kinds == {bool} or (kinds == {int} and min(copied) >= LOWEST and max(copied) <= HIGHEST):
            return copied
        if depth > _MAX_DEPTH:
            raise Refused("nested too deep, or contains itself", f"at most {_MAX_DEPTH} levels")
        for place, part in enumerate(copied):
            try:
                copied[place] = self.tree(part, depth)
            except Refused as refused:
                refused.trail.append(f"[{place}]")
                raise
        return copied

    def _dict(self, node: Mapping[Any, Any], depth: int) -> dict[str, Any]:
        copied = {}
        self.grow(64 * len(node))
        for name in list(node):
            if not isinstance(name, str):
                raise Refused(f"the name {name!r} is not a string", "dicts whose names are strings")
            try:
                copied[self._text(str.__str__(name))] = self.tree(node[name], depth)
            except Refused as refused:
                refused.trail.append(f"[{name!r}]")
                raise
        return copied

    def grow(self, size: int) -> None:
        """Count bytes, before they are copied."""
        self.size += size
        if self.size > MAX_CALL_BYTES:
            raise Refused(f"more than {MAX_CALL_BYTES:,} bytes in one call", "several calls, or smaller numbers such as float32")

    def _text(self, text: str) -> str:
        if not is_text(text):
            raise Refused("the text has a lone surrogate", "text that UTF-8 can say")
        self.grow(len(text))
        if len(text) >= _LONG_TEXT or not text.isascii():
            self.grow(len(json.dumps(text)) - len(text))
        return text

    def _moment(self, node: Any) -> Any:
        if node != node:  # pandas' NaT says that it is a datetime
            return None
        if getattr(node, "nanosecond", 0) or getattr(node, "nanoseconds", 0):  # pandas' are finer than Python's
            return self._scalar(asarray(node.asm8))
        if isinstance(node, dt.timedelta):
            if abs(node) > _LONGEST:
                raise Refused(f"a duration of {node.days:,} days", "up to 292,000 years")
            return dt.timedelta(node.days, node.seconds, node.microseconds)
        if not isinstance(node, dt.datetime):
            node = dt.datetime(node.year, node.month, node.day)
        return dt.datetime.combine(dt.date(node.year, node.month, node.day), node.timetz())

    def _numpy(self, array: Any, *, is_own: bool) -> Any:
        """`is_own` tells that no one else holds the array's memory."""
        import numpy as np

        if isinstance(array, np.ma.MaskedArray):
            array, is_own = unmasked(array), True
            if array is None:
                raise Refused("whole numbers beyond 2**53 in a masked array", "one without a mask, or of one dimension")
        kind = array.dtype.kind
        if kind == "c":
            raise Refused(f"an array of complex numbers ({array.dtype})", "real and imaginary part as two arrays")
        if kind == "S":
            raise Refused("an array of bytes", "strings (astype(str)), or numbers")
        if kind == "V":
            records, array, is_own = array, widened(array), True
            if array is None:
                raise Refused(f"an array of records ({records.dtype})", "one array per field")
        if array.dtype.kind in "OT":
            cells = array.tolist()
            if array.ndim == 0 and hasattr(cells, "__array__"):
                raise Refused(f"{type(cells).__name__} cannot be stored")  # it became no array, but a cell
            return self.tree(cells)
        if array.dtype.kind == "f" and array.dtype.itemsize > 8:
            array, is_own = array.astype(np.float64), True
        if array.ndim == 0:
            return self._item(array)
        if kind in "mM" and not is_storable(array):
            raise Refused(f"a time or duration in an array of {array.dtype} that is out of reach", _TIMES)
        self.grow(array.nbytes)
        self.arrays += 1
        if not (is_own and type(array) is np.ndarray and array.dtype.isnative and array.flags.c_contiguous):
            array = np.array(array, dtype=array.dtype.newbyteorder("="), order="C", copy=True, subok=False)
        if kind == "U" and not all(map(is_text, array.ravel().tolist())):
            raise Refused("a text in the array has a lone surrogate", "text that UTF-8 can say")
        return array

    def _item(self, array: Any) -> Any:
        return self._scalar(array) if array.dtype.kind in "Mm" else self.tree(array.item())

    def _scalar(self, array: Any) -> Any:
        """A time or duration of NumPy: as Python's own where that says the same."""
        item = moment_of(array)
        if isinstance(item, int):
            raise Refused(f"the time {array}", _TIMES)
        return item if item is None or hasattr(item, "dtype") else self._moment(item)

    def _torch(self, tensor: Any) -> Any:
        torch = sys.modules.get("torch")
        if torch is None or not isinstance(tensor, torch.Tensor):
            raise Refused(f"{type(tensor).__name__} cannot be stored")
        tensor = tensor.detach()
        if tensor.is_complex():
            raise Refused(f"a tensor of complex numbers ({tensor.dtype})", "real and imaginary part as two tensors")
        if tensor.device.type == "meta":
            raise Refused("a tensor on the meta device has no data")
        if tensor.is_quantized:
            tensor = tensor.dequantize()
        if tensor.layout is not torch.strided:
            tensor = tensor.to_dense()
        if tensor.device.type != "cpu":
            self.grow(tensor.nbytes)
            try:
                clone = tensor.clone(memory_format=torch.contiguous_format)
            except RuntimeError:  # no room on the device: wait for it this once
                return self._torch(tensor.cpu())
            ready = torch.cuda.current_stream(tensor.device).record_event() if tensor.device.type == "cuda" else None
            return Deferred(clone, ready=ready, shape=tuple(tensor.shape), nbytes=tensor.nbytes)
        if tensor.is_floating_point() and tensor.dtype not in (torch.float16, torch.float32, torch.float64):
            tensor = tensor.to(torch.float32)
        copied = tensor.resolve_conj().resolve_neg().clone(memory_format=torch.contiguous_format)
        return self._numpy(copied.numpy(), is_own=True)

    def _jax(self, array: Any) -> Any:
        jax = sys.modules.get("jax")
        if jax is None or not isinstance(array, jax.Array):
            if not hasattr(array, "__array__"):
                raise Refused(f"{type(array).__name__} cannot be stored")
            return self._numpy(asarray(array), is_own=False)
        # A later call may take the array's memory for itself (donation), so even what cannot change is copied.
        if not isinstance(array, jax.core.Tracer) and any(device.platform != "cpu" for device in array.devices()):
            nbytes = math.prod(array.shape) * array.dtype.itemsize
            self.grow(nbytes)
            return Deferred(array.copy(), ready=None, shape=tuple(array.shape), nbytes=nbytes)
        return self._numpy(asarray(array), is_own=False)


def _shape_bytes(column: Any) -> int:
    """What cells that are arrays take beside their numbers: where each begins, and its shape."""
    return len(column) * (8 + 4 * (column.ndim - 1)) if column.ndim > 1 else 0


def _bare(node: Any) -> Any:
    """The plain number or text inside a subclass, such as an enum's or NumPy's float64."""
    if isinstance(node, str):
        return str.__str__(node)
    return float.__float__(node) if isinstance(node, float) else int.__int__(node)


def _checked_int(number: int) -> int:
    if LOWEST <= number <= HIGHEST:
        return number
    raise Refused(f"a whole number of {number.bit_length()} bits", f"{_WHOLE}; larger ones as float or str")
