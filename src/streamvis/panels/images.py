"""`images`: the images of a value, with captions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from bokeh.models import ColumnDataSource, Div, GlyphRenderer, Plot

from streamvis.errors import UsageError
from streamvis.page.fillers import attach
from streamvis.palette import PALETTE
from streamvis.panels.boxes import box, boxed, plain_number, title_of
from streamvis.panels.png_images import are_pictures, pictures_of
from streamvis.panels.side_by_side import for_each_run
from streamvis.panels.value_filler import ValueFiller

__all__ = ["images"]

_MOST = 64
_PIXELATED_BELOW = 160
_WRONG = PALETTE[6]
_CSS = """
  .tiles { display: grid; gap: 8px; grid-template-columns: repeat(auto-fill, minmax(var(--tile), 1fr)) }
  figure { margin: 0; min-width: 0; text-align: center }
  img { display: block; width: 100%; object-fit: contain; cursor: zoom-in; border-radius: 3px }
  .box:has(.one) { height: 100%; display: flex; flex-direction: column }
  .one { flex: 1; min-height: 200px; grid-template: minmax(0, 1fr) / minmax(0, 1fr) }
  .one figure { display: flex; flex-direction: column; min-height: 0 } .one img { flex: 1; min-height: 0; height: 0 }
  img.small { image-rendering: pixelated } figcaption { font-size: 11px; color: var(--muted, #76808a); overflow-wrap: anywhere }
"""


@for_each_run
def images(
    key: str,
    column: str | None = None,
    *,
    captions: str | Sequence[str] | None = None,
    title: str | None = None,
    low: float | None = None,
    high: float | None = None,
    tile: int = 72,
    select: Plot | None = None,
    **options: Any,
) -> Div:
    """Make a box with the images of a value, as many as fit next to each other; a click enlarges one.

    Args:
        key: the key whose value to show
        column: which of its columns holds images: an array (h, w), (h, w, 3 or 4), (n, h, w) or (n, h, w, 3 or 4) of bytes or
            floats, or files (PNG, JPEG); by default the first that does. At most 64 images are shown
        captions: a column with a caption for each image, or two (such as "true", "predicted"): then both are shown, and those
            that differ stand out
        title: by default the key
        low: which number is black, by default 0 for floats from 0 to 1 and for bytes, else the lowest; where there are numbers
            below 0, those are blue and those above orange
        high: which number is white
        tile: the least width of an image on the page, in pixels
        select: a panel of `points`: of the images only those are shown whose points are selected in it
        options: of Bokeh's `Div`
    """
    heading = title_of(title, key)
    div = box(heading, options, css=f":host {{ --tile: {int(tile)}px }}" + _CSS)
    names = [captions] if isinstance(captions, str) else list(captions or ())
    attach(div, _Images(div, key, column, heading, names, (low, high), select))
    return div


class _Images(ValueFiller):
    def __init__(
        self,
        div: Div,
        key: str,
        column: str | None,
        title: str,
        captions: list[str],
        scale: tuple[float | None, float | None],
        select: Plot | None,
    ) -> None:
        super().__init__(key)
        self._div, self._column, self._title, self._captions, self._scale = div, column, title, captions, scale
        self._data: Mapping[str, Any] = {}
        self._chooser: ColumnDataSource | None = None
        if select is not None:
            chosen = (r.data_source for r in select.renderers if isinstance(r, GlyphRenderer))
            self._chooser = next((source for source in chosen if isinstance(source, ColumnDataSource)), None)
            if self._chooser is None:
                raise UsageError("select is a figure without points. Give what streamvis.panels.points returned.")
            self._chooser.selected.on_change("indices", lambda attr, old, new: self._draw())

    def show(self, data: Mapping[str, Any], step: int) -> None:
        self._data = data
        self._draw()

    def _draw(self) -> None:
        data = self._data
        if not data:
            return
        name = self._column or next((name for name, cells in data.items() if are_pictures(cells)), None)
        if name is None or name not in data:
            there = ", ".join(map(repr, data))
            raise UsageError(f"The value of {self.key!r} has no images in {self._column or 'any column'!r}. It has {there}.")
        cells, texts = data[name], [data[caption] for caption in self._captions if caption in data]
        if self._chooser is not None:
            at = [i for i in self._chooser.selected.indices if i < len(cells)]
            if not at:
                self._div.text = boxed(self._title, '<p class="muted">Nothing is selected yet: draw around some points.</p>')
                return
            cells, texts = [cells[i] for i in at], [[text[i] for i in at] for text in texts]
        low, high = self._scale
        found = pictures_of(cells, low=low, high=high, most=_MOST)
        tiles = [self._tile(picture, i, texts) for i, picture in enumerate(found)]
        one = " one" if len(tiles) == 1 else ""
        more = f'<p class="muted">and {len(cells) - _MOST:,} more</p>' if len(tiles) == _MOST < len(cells) else ""
        self._div.text = boxed(self._title, f'<div class="tiles{one}">{"".join(tiles)}</div>{more}')

    def _tile(self, picture: tuple[str, int, int], i: int, texts: Sequence[Any]) -> str:
        uri, width, _ = picture
        said = [_caption(text, i) for text in texts]
        wrong = f' style="color:{_WRONG}"' if len(said) == 2 and said[0] != said[1] else ""
        caption = f"<figcaption{wrong}>{escape(' → '.join(said))}</figcaption>" if said else ""
        small = ' class="small"' if 0 < width < _PIXELATED_BELOW else ""
        click = ' onclick="window.streamvisPanels?.enlarge(this)"'
        told = escape(" → ".join(said))
        return f'<figure><img{small}{click} decoding="sync" alt="{told}" src="{uri}">{caption}</figure>'


def _caption(texts: Any, i: int) -> str:
    if isinstance(texts, str) or not hasattr(texts, "__len__"):
        return str(texts)
    if i >= len(texts):
        return ""
    text = texts[i]
    return plain_number(text) if isinstance(text, float) else str(text)
