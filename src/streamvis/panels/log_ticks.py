"""Ticks of logarithmic axes: as many round values as there is room for, whether an axis spans a tenth of a decade or twelve.

Bokeh's own are even steps below two decades: none in the lower half, and labels over each other at the top.
"""

from __future__ import annotations

from typing import Any

from bokeh.models import CustomJSTicker, CustomJSTickFormatter, LogAxis, Plot

__all__ = ["tick_logarithmically"]

_GAP_PX = {"x": 60, "y": 26}
"""The least distance of two ticks: the width and the height of a label."""
_MAJOR = """
const low = Math.min(cb_data.start, cb_data.end), high = Math.max(cb_data.start, cb_data.end)
if (!(low > 0 && Number.isFinite(high) && low < high)) return []
// Before it is laid out first, a figure has no size.
const size = is_x ? plot.properties.inner_width : plot.properties.inner_height
const room = (size.is_unset ? 0 : size.get_value()) || 200, per_decade = room / Math.log10(high / low)
const gap = Math.max(least_gap, room / 10)
// Without what adding and multiplying leaves: 0.1 + 0.2 is 0.3.
const round = (tick) => Number(tick.toPrecision(12))
const first = Math.floor(Math.log10(low)), last = Math.floor(Math.log10(high))
const decades = Array.from({length: last - first + 1}, (_, i) => first + i)
const candidates = [[1, 2, 5], [1, 3], [1]].map((mantissas) => decades.flatMap((n) => mantissas.map((m) => round(m * 10 ** n))))
for (const every of [2, 3, 4, 6, 10, 20, 50, 100]) {
  candidates.push(decades.filter((n) => n % every == 0).map((n) => round(10 ** n)))
}
const fine = Math.floor(Math.log10(high - low)) - 1
for (const step of [1, 2, 5, 10, 20, 50].map((m) => m * 10 ** fine)) {
  const count = Math.floor(high / step) - Math.ceil(low / step) + 1
  if (count <= 30) candidates.push(Array.from({length: Math.max(0, count)}, (_, i) => round((Math.ceil(low / step) + i) * step)))
}
let best = []
for (const candidate of candidates) {
  const ticks = candidate.filter((tick) => low <= tick && tick <= high)
  const is_readable = ticks.every((tick, i) => i == 0 || Math.log10(tick / ticks[i - 1]) * per_decade >= gap)
  if (is_readable && ticks.length > best.length) best = ticks
}
return best
"""
_MINOR = """
const low = Math.min(cb_data.start, cb_data.end), high = Math.max(cb_data.start, cb_data.end)
if (!(low > 0 && high / low < 1e6)) return []
const ticks = []
for (let n = Math.floor(Math.log10(low)); n <= Math.log10(high); n++) for (let m = 1; m < 10; m++) ticks.push(m * 10 ** n)
return ticks.filter((tick) => low <= tick && tick <= high)
"""
_FORMAT = """
const text = tick >= 1e6 || tick < 1e-4 ? tick.toExponential().replace("e+", "e") : String(tick)
return text.replaceAll("-", "\\u2212")
"""


def tick_logarithmically(plot: Plot) -> None:
    """Give the logarithmic axes of a figure ticks that can be read at any span and size."""
    for side in ("x", "y"):
        for axis in (one for one in getattr(plot, f"{side}axis") if isinstance(one, LogAxis)):
            args: dict[str, Any] = {"plot": plot, "is_x": side == "x", "least_gap": _GAP_PX[side]}
            ticker = CustomJSTicker(args=args, major_code=_MAJOR, minor_code=_MINOR)
            axis.update(ticker=ticker, formatter=CustomJSTickFormatter(code=_FORMAT))
