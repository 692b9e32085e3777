"""`audio`: sound that was sent as a value."""

from __future__ import annotations

import base64
import io
import wave
from collections.abc import Mapping
from typing import Any

import numpy as np
from bokeh.models import Div

from streamvis.errors import UsageError
from streamvis.page.fillers import attach
from streamvis.panels.boxes import box, boxed, title_of
from streamvis.panels.contents import number_array
from streamvis.panels.side_by_side import for_each_run
from streamvis.panels.value_filler import ValueFiller

__all__ = ["audio"]

_RATES = ("rate", "sample_rate", "sampling_rate", "sr")
_FULL = 32767


@for_each_run
def audio(key: str, column: str | None = None, *, rate: int | None = None, title: str | None = None, **options: Any) -> Div:
    """Make a player for the sound of a value.

    Args:
        key: the key whose value to play
        column: samples as floats from -1 to 1 or as int16, of shape (n,) or (n, channels), or the bytes of a WAV file; by
            default the first column that is an array
        rate: samples a second, by default the value's column `rate` or `sample_rate`
        title: by default the key
        options: of Bokeh's `Div`
    """
    heading = title_of(title, key)
    div = box(heading, options, css="audio { width: 100% }", height=None)
    attach(div, _Audio(div, key, column, rate, heading))
    return div


class _Audio(ValueFiller):
    def __init__(self, div: Div, key: str, column: str | None, rate: int | None, title: str) -> None:
        super().__init__(key)
        self._div, self._column, self._rate, self._title = div, column, rate, title

    def show(self, data: Mapping[str, Any], step: int) -> None:
        arrays = {name: array for name, cells in data.items() if (array := number_array(cells)) is not None and array.ndim}
        name = self._column or next(iter(arrays), None)
        rate = self._rate or next((int(data[name]) for name in _RATES if name in data), None)
        if name is None or name not in data:
            raise UsageError(f"The value of {self.key!r} has no samples. It has {', '.join(map(repr, data))}.")
        samples = np.asarray(data[name])
        if samples.dtype == np.uint8 and samples[:4].tobytes() == b"RIFF":
            content = samples.tobytes()
        elif rate is None:
            raise UsageError(f"The value of {self.key!r} does not say how many samples a second it has. Send a column 'rate'.")
        else:
            content = wav(samples, rate)
        uri = f"data:audio/wav;base64,{base64.b64encode(content).decode()}"
        self._div.text = boxed(self._title, f'<audio controls src="{uri}"></audio><div class="muted">step {step:,}</div>')


def wav(samples: np.ndarray, rate: int) -> bytes:
    """A WAV file of samples (n,) or (n, channels), floats from -1 to 1 or int16."""
    if samples.dtype != np.int16:
        samples = np.rint(np.clip(np.nan_to_num(samples.astype(np.float64)), -1, 1) * _FULL).astype(np.int16)
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(1 if samples.ndim == 1 else samples.shape[1])
        writer.setsampwidth(2)
        writer.setframerate(rate)
        writer.writeframes(samples.astype("<i2").tobytes())
    return file.getvalue()
