"""A config as a description: whatever an object in it is, its fields or a text stand for it, and none of it stops a run.

What has fields becomes a dict of them: mappings, namespaces, dataclasses, named tuples, and the models of pydantic, attrs,
OmegaConf and others. Arrays become lists. The rest becomes a text that is the same in every process of a run: without addresses
in memory, and with sets in order. In data, what cannot be stored is an error; here nothing is, whatever an object does when it is
read.

Libraries are known by what their objects have, and are not imported.
"""

from __future__ import annotations

import collections.abc as abc
import dataclasses
import datetime as dt
import enum
import json
import logging
import math
import re
import types
from collections.abc import Callable, Iterable
from typing import Any

from streamvis.client.values.arrays import is_ndarray, is_torch_tensor, nested_lists
from streamvis.client.values.copying import HIGHEST, LOWEST, Copier, Deferred
from streamvis.errors import InvalidData
from streamvis.wire.limits import MAX_CONFIG_BYTES, MAX_DEPTH

__all__ = ["described"]

log = logging.getLogger("streamvis")

_MAX_BYTES = MAX_CONFIG_BYTES - 2**16
"""About how long the JSON of a config may be."""
_NODE_BYTES = 24
"""What a number takes, or the signs around anything else."""
_LONGEST_ESCAPE = 12
"""So many bytes one character may take in JSON."""
_MAX_TEXT = 500
"""Characters of a name, and of the text that stands for an object. Texts in the config are kept whole."""
_LEFT_OUT = "..."
"""Stands for what is nested too deep, contains itself, or is too much."""
_ADDRESS = re.compile(r" at 0x[0-9A-Fa-f]+")
_NAMED = (type, types.FunctionType, types.BuiltinFunctionType, types.MethodType)

Fields = tuple[list[Any], Callable[[Any], Any]]
"""Names, and a function that reads one of them."""


def described(config: Any) -> dict[str, Any]:
    """A config as JSON can say it. Raises InvalidData when it has no fields at all."""
    if config is None:
        return {}
    fields = _fields_of(config) or _attributes_of(config)
    if fields is None:
        allowed = 'a dict, such as {"lr": 0.1}, or an object with fields'
        raise InvalidData(f"{type(config).__name__} is not a config", where="config", allowed=allowed)
    describer = _Describer()
    told = describer.fields(fields, (id(config),))
    if describer.left_bytes < 0:
        log.warning("Streamvis: the config is longer than %s bytes. What follows after that is left out.", f"{_MAX_BYTES:,}")
    return told


class _Describer:
    """Describes the parts of one config. `left_bytes` is how much more there may be; below 0, something was left out.

    `around` holds the ids of what a part lies in.
    """

    def __init__(self) -> None:
        self.left_bytes = _MAX_BYTES

    def fields(self, fields: Fields, around: tuple[int, ...]) -> dict[str, Any]:
        """A dict of what the fields hold."""
        names, read = fields
        told: dict[str, Any] = {}
        for key in names:
            name = self._text(_name_of(key)[:_MAX_TEXT])
            if name in told:
                name = f"{name} ({type(key).__name__})"  # 1 beside "1"
            told[name] = self._part(read, key, around)
            if self.left_bytes < 0:
                break
        return told

    def _part(self, read: Callable[[Any], Any], place: Any, around: tuple[int, ...]) -> Any:
        self.left_bytes -= _NODE_BYTES
        if self.left_bytes < 0:
            return _LEFT_OUT
        try:
            return self._node(read(place), around)
        except Exception as error:  # noqa: BLE001 - around an author's code: whatever reading the object runs into
            return self._text(f"({type(error).__name__})")

    def _node(self, node: Any, around: tuple[int, ...]) -> Any:
        if node is None or isinstance(node, bool):
            return node
        if isinstance(node, enum.Enum) and not isinstance(node, (int, float, str)):
            return self._text(_name_of(node))
        if isinstance(node, str):
            return self._text(str.__str__(node))
        if isinstance(node, int):
            return int.__int__(node) if LOWEST <= node <= HIGHEST else self._text(_text_of(int.__int__(node)))
        if isinstance(node, float):
            return float.__float__(node)
        if isinstance(node, (dt.date, dt.timedelta)):
            return Copier().tree(node)
        if isinstance(node, _NAMED):
            return self._text(_text_of(node))
        if _is_array(node):
            return self._array(node, around)
        if id(node) in around or len(around) >= MAX_DEPTH - 2:
            return _LEFT_OUT
        around = (*around, id(node))
        if (fields := _fields_of(node)) is not None:
            return self.fields(fields, around)
        if isinstance(node, abc.Set):
            parts = [self._part(lambda part: part, part, around) for part in node]
            return sorted(parts, key=lambda part: json.dumps(part, default=str, sort_keys=True))
        if isinstance(node, abc.Sequence) and not isinstance(node, (bytes, bytearray, memoryview)):
            return self._list(node, around)
        return self._text(_text_of(node))

    def _list(self, node: abc.Sequence[Any], around: tuple[int, ...]) -> list[Any]:
        told: list[Any] = []
        for place in range(len(node)):
            told.append(self._part(node.__getitem__, place, around))
            if self.left_bytes < 0:
                break
        return told

    def _array(self, node: Any, around: tuple[int, ...]) -> Any:
        shape = tuple(getattr(node, "shape", None) or ())
        if math.prod(shape) * _NODE_BYTES > self.left_bytes:
            return self._text(_shape_text(node, shape))
        try:
            copied = Copier().array(node)
            copied = copied.fetch() if type(copied) is Deferred else copied
        except Exception:  # noqa: BLE001 - around an author's code: libraries raise anything for arrays without data
            return self._text(_shape_text(node, shape))
        if is_ndarray(copied):
            copied = nested_lists(copied)
        elif type(copied).__module__ == "numpy":
            return copied  # a time finer than microseconds, which nothing else can say
        return self._node(copied, (*around, id(node)))

    def _text(self, text: str) -> str:
        text = text.encode("utf-8", "backslashreplace").decode()  # as a path's surrogates
        size = len(json.dumps(text))
        if size > self.left_bytes:
            text = f"{text[: max(0, self.left_bytes) // _LONGEST_ESCAPE]}{_LEFT_OUT}"
            self.left_bytes = -1
        self.left_bytes -= size
        return text


def _fields_of(node: Any) -> Fields | None:
    """The fields of what is made of fields; None for all else."""
    if isinstance(node, type):
        return None
    for reading in _READINGS:
        try:
            fields = reading(node, type(node))
        except Exception:  # noqa: BLE001 - around an author's code: what an object does when it is asked for its fields
            continue
        if fields is not None:
            return fields
    return None


def _named(node: Any, names: Iterable[Any]) -> Fields:
    return list(names), lambda name: getattr(node, name)


def _mapping(node: Any, kind: type) -> Fields | None:
    is_duck = hasattr(kind, "keys") and hasattr(kind, "__getitem__")
    return (list(node.keys()), node.__getitem__) if isinstance(node, abc.Mapping) or is_duck else None


def _dataclass(node: Any, kind: type) -> Fields | None:
    return _named(node, [field.name for field in dataclasses.fields(node)]) if dataclasses.is_dataclass(kind) else None


def _named_tuple(node: Any, kind: type) -> Fields | None:
    names = getattr(kind, "_fields", None)
    return _named(node, names) if isinstance(node, tuple) and names is not None else None


def _struct(node: Any, kind: type) -> Fields | None:
    if attributes := getattr(kind, "__attrs_attrs__", None):
        return _named(node, [attribute.name for attribute in attributes])
    return _named(node, kind.__struct_fields__) if hasattr(kind, "__struct_fields__") else None  # msgspec


def _namespace(node: Any, kind: type) -> Fields | None:
    is_one = any(f"{base.__module__}.{base.__qualname__}" == "argparse.Namespace" for base in kind.__mro__)
    return _mapping(vars(node), dict) if is_one or isinstance(node, types.SimpleNamespace) else None


def _dumping(node: Any, kind: type) -> Fields | None:
    """Models of pydantic and of transformers, and others that turn themselves into a dict."""
    for name in ("model_dump", "to_dict", "as_dict", "dict"):
        if callable(getattr(kind, name, None)) and isinstance(told := getattr(node, name)(), abc.Mapping):
            return _mapping(told, dict)
    return None


_READINGS = (_mapping, _dataclass, _named_tuple, _struct, _namespace, _dumping)


def _attributes_of(config: Any) -> Fields | None:
    """The public attributes of an object, or a class, that was given as the whole config."""
    if _is_array(config) or type(config).__module__ == "builtins" and not isinstance(config, type):
        return None
    kind = config if isinstance(config, type) else type(config)
    names = {name: None for base in reversed(kind.__mro__[:-1]) for name in vars(base)} | getattr(config, "__dict__", {})
    public = [name for name in names if not name.startswith("_") and not callable(getattr(kind, name, None))]
    return _named(config, public) if public else None


def _is_array(node: Any) -> bool:
    kind = type(node)
    has_numbers = hasattr(kind, "__array__") or hasattr(kind, "__array_interface__") or kind.__module__ == "array"
    return has_numbers or is_torch_tensor(node)


def _shape_text(node: Any, shape: tuple[int, ...]) -> str:
    return f"{type(node).__name__} of {getattr(node, 'dtype', 'objects')}, shape {shape}"


def _name_of(key: Any) -> str:
    if isinstance(key, enum.Enum) and not isinstance(key, str):
        return key.name or str(key)  # flags together have no name
    return str.__str__(key) if isinstance(key, str) else _text_of(key)


def _text_of(node: Any) -> str:
    """A text for an object, the same in every process."""
    if isinstance(node, _NAMED):
        module = getattr(node, "__module__", None)
        return node.__qualname__ if module in (None, "builtins") else f"{module}.{node.__qualname__}"
    try:
        text = repr(node) if isinstance(node, (bytes, bytearray)) else str(node)
    except Exception:  # noqa: BLE001 - around an author's code: an object's own text
        text = object.__repr__(node)
    text = _ADDRESS.sub("", text)
    return text if len(text) <= _MAX_TEXT else f"{text[:_MAX_TEXT]}{_LEFT_OUT}"
