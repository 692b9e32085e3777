"""Times and durations of NumPy: from one unit to another without a change of what they say, and as texts. Pure.

NumPy and Arrow count them in 64 bits from 1970: nanoseconds reach from 1677 to 2262, microseconds 292,000 years to both sides.
NumPy converts what is out of reach into some other time, without a word.
"""

from __future__ import annotations

import re

import numpy as np

__all__ = [
    "UNITS",
    "converted",
    "duration_texts",
    "durations_of",
    "microseconds",
    "moment_texts",
    "scalar_of",
    "seconds",
    "storable",
    "unit_of",
]

UNITS = ("s", "ms", "us", "ns")
_PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9, "ps": 10**12, "fs": 10**15, "as": 10**18}
_MOST_SECONDS = {"m": 60, "h": 3600, "D": 86_400, "W": 7 * 86_400, "M": 31 * 86_400, "Y": 366 * 86_400}
"""How long the units of NumPy that are coarser than seconds are at the most."""
_SECONDS = {**_MOST_SECONDS, "M": 2_629_746, "Y": 31_556_952}
"""How long NumPy makes durations in these units when it converts them: months and years are those of the calendar's mean."""
_MOMENT = re.compile(r"(?:-\d{3,}|\d{4,})(-\d\d(-\d\d(T\d\d(:\d\d(:\d\d(\.\d{1,18})?)?)?)?)?)?")
_DURATION = re.compile(r"(-?)PT(\d+)(?:\.(\d{1,9}))?S")


def unit_of(array: np.ndarray) -> str:
    """The unit of an array of times or durations, such as "us" or "D"."""
    return np.datetime_data(array.dtype)[0]


def converted(array: np.ndarray, unit: str) -> np.ndarray | None:
    """The same times or durations in another unit; None where a single one would not be the same. NaT stays NaT."""
    try:
        made = array.astype(f"{array.dtype.kind}8[{unit}]")
        is_same = made.astype(array.dtype) == array
    except OverflowError:  # of the factor between units that are too far from each other
        return None
    # What was out of reach may come back as it was.
    is_same &= _is_in_reach(array, unit)
    return made if bool((is_same | np.isnat(array)).all()) else None


def storable(array: np.ndarray) -> np.ndarray | None:
    """The same times or durations in one of `UNITS`; None where one is finer than these, or out of reach of microseconds, which
    pages take."""
    unit, multiple = np.datetime_data(array.dtype)
    if unit not in UNITS or multiple > 1:
        made = converted(array, "ns" if unit in ("ps", "fs", "as") else unit if unit in UNITS else "s")
        if made is None:
            return None
        array = made
    return array if bool((_is_in_reach(array, "us") | np.isnat(array)).all()) else None


def microseconds(array: np.ndarray) -> np.ndarray:
    """Times or durations in microseconds, as pages take them: without what is finer, NaT where they are out of reach."""
    if np.datetime_data(array.dtype) == ("us", 1):
        return array.copy()
    made = array.astype(f"{array.dtype.kind}8[us]")
    made[~_is_in_reach(array, "us")] = "NaT"
    return made


def scalar_of(text: str) -> np.datetime64:
    """The time that NumPy writes so, exactly. Raises ValueError."""
    made = np.datetime64(text) if _MOMENT.fullmatch(text) else None
    if made is None or str(made) != text:
        raise ValueError(f"{text[:40]!r} is not a time")
    return made


def seconds(count: int, unit: str, multiple: int = 1) -> float | str:
    """A duration of any unit of NumPy in seconds, or as an ISO text where no double says it. Without a unit it is in seconds."""
    per_second = _PER_SECOND.get(unit, 1)
    count *= multiple * _SECONDS.get(unit, 1)
    made = count / per_second
    if round(made * per_second) == count:
        return made
    return _duration_text(count, per_second)


def moment_texts(array: np.ndarray) -> list[str | None]:
    """Times as ISO texts; None for NaT."""
    texts = np.datetime_as_string(array).tolist()
    return [None if text == "NaT" else text for text in texts]


def duration_texts(array: np.ndarray) -> list[str | None]:
    """Durations as ISO texts in seconds, such as "PT1.5S"; None for NaT."""
    per_second = _PER_SECOND[unit_of(array)]
    missing = np.isnat(array).tolist()
    counts = array.view(np.int64).tolist()
    return [None if gone else _duration_text(count, per_second) for count, gone in zip(counts, missing, strict=True)]


def _duration_text(count: int, per_second: int) -> str:
    seconds, rest = divmod(abs(count), per_second)
    fraction = f".{rest:0{len(str(per_second)) - 1}d}".rstrip("0") if rest else ""
    return f"{'-' if count < 0 else ''}PT{seconds}{fraction}S"


def durations_of(texts: list[str | None]) -> np.ndarray:
    """What `duration_texts` wrote, in microseconds, without what is finer; NaT where it is out of reach."""
    counts: list[int | None] = []
    for text in texts:
        found = _DURATION.fullmatch(text) if text else None
        if text and found is None:
            raise ValueError(f"{text[:40]!r} is not a duration")
        count = int(f"{found[1]}{found[2]}{(found[3] or '').ljust(6, '0')[:6]}") if found else None
        counts.append(count if count is not None and abs(count) < 2**63 else None)
    return np.array(["NaT" if count is None else count for count in counts], dtype="m8[us]")


def _is_in_reach(array: np.ndarray, unit: str) -> np.ndarray:
    """Whether each count in the array's own unit is one of 64 bits in the other unit."""
    own, multiple = np.datetime_data(array.dtype)
    most = (2**63 - 1) * _PER_SECOND.get(own, 1) // (_PER_SECOND[unit] * _MOST_SECONDS.get(own, 1) * multiple)
    if most >= 2**63 - 1:
        return np.ones(array.shape, dtype=bool)
    counts = array.view(np.int64)
    return (counts <= most) & (counts >= -most)
