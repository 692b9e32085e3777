"""What a click on a model is, as a browser tells the server of it."""

from __future__ import annotations

from bokeh.events import ButtonClick, Event, MenuItemClick
from bokeh.model import Model
from bokeh.models import AbstractButton, Dropdown, Toggle

from streamvis.errors import UsageError

__all__ = ["click"]


def click(model: Model) -> None:
    """Click it. Raises UsageError where a click does nothing in Python."""
    if isinstance(model, Toggle):
        model.active = not model.active
    elif isinstance(model, Dropdown) and model.menu:
        first = next(item for item in model.menu if item is not None)
        item = first if isinstance(first, str) else first[1]
        _trigger(model, MenuItemClick(model, item if isinstance(item, str) else None))
    elif isinstance(model, AbstractButton):
        _trigger(model, ButtonClick(model))
    else:
        raise UsageError(f"{model} is not a button. Use set(...) for its value.")


def _trigger(model: Model, event: Event) -> None:
    if model.document is None:
        raise UsageError(f"{model} is not on the page.")
    model.document.callbacks.trigger_event(event)
