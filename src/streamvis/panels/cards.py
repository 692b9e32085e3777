"""What a board shows: cards, each with the panel that it is made into, and as the run's producer described its data."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from bokeh.models import LayoutDOM, Plot, Title

from streamvis.descriptions import Description, description_of
from streamvis.panels.boxes import short
from streamvis.panels.curves import mark_best

__all__ = ["Card", "Shared", "card", "described", "differs"]


@dataclass(frozen=True, slots=True)
class Shared:
    """What a viewer sets for all panels of a board: the axis of x, the smoothing, and whether y is logarithmic."""

    x: str = "step"
    smooth: float = 0.0
    log: bool = False

    @property
    def y_axis_type(self) -> str:
        """For Bokeh's `figure`."""
        return "log" if self.log else "auto"


@dataclass(frozen=True, slots=True)
class Card:
    """A panel that a board can show. `series` are the keys and columns of rows that can be downloaded.

    `shows` is what the panel was made for: a card that has another one than before gets a new panel.
    """

    title: str
    make: Callable[[Shared], LayoutDOM]
    section: str = ""
    wide: bool = False
    series: Sequence[tuple[str, str]] = ()
    shows: Hashable = None
    said: Description | None = None


def card(
    title: str,
    make: Callable[[Shared], LayoutDOM],
    *,
    section: str = "",
    wide: bool = False,
    series: Iterable[tuple[str, str]] = (),
    shows: Hashable = None,
) -> Card:
    """Describe a panel of a board.

    Args:
        title: what search looks for
        make: makes the panel when it comes into view, given what the viewer has set for all (`x`, `smooth`, `log`)
        section: under which heading
        wide: whether it takes twice the width
        series: pairs of a key and a column of rows, for the button that downloads them
        shows: what `make` depends on, such as a key and what it holds: when that changes, the panel is rebuilt
    """
    return Card(title, make, section, wide, tuple(series), shows)


def described(one: Card, descriptions: Mapping[str, Description]) -> Card:
    """The card as the run's producer wants it, by what it said of keys and columns."""
    names = [column if "/" in column else f"{key}/{column}" for key, column in one.series]
    said = next((its for name in names if (its := description_of(name, descriptions)) != Description()), None)
    if said is None:
        return one
    x, log, make = said.x, said.scale and said.scale == "log", one.make

    def make_as_described(shared: Shared) -> LayoutDOM:
        shared = replace(shared, x=x or shared.x, log=shared.log if log is None else log)
        panel = make(shared)
        if isinstance(panel, Plot):
            if said.title and isinstance(panel.title, Title):
                panel.title.text = short(said.title, 80)
            panel.yaxis.axis_label = said.unit
            if said.best is not None:
                mark_best(panel, said.best)
        return panel

    section = one.section if said.section is None else said.section
    return replace(one, title=said.title or one.title, section=section, make=make_as_described, said=said)


def differs(one: Card, other: Card) -> bool:
    """Whether a card has other data now; functions cannot be compared."""
    return (one.wide, one.series, one.shows, one.said) != (other.wide, other.series, other.shows, other.said)
