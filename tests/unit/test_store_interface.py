"""Every store can stand where a Store is asked for."""

import inspect

import pytest

from streamvis.store import SqliteStore
from streamvis.store.interface import Store

MEMBERS = sorted(name for name in vars(Store) if not name.startswith("_")) + sorted(getattr(Store, "__annotations__", ()))


def shape(one):
    """What callers may rely on: a method's parameters and what it returns, or that it is read as an attribute."""
    return inspect.signature(one.fget if isinstance(one, property) else one), isinstance(one, property)


@pytest.mark.parametrize("name", MEMBERS)
@pytest.mark.parametrize("store", [SqliteStore])
def test_a_store_has_each_member_of_the_interface_in_the_same_form(store, name):
    assert shape(inspect.getattr_static(store, name)) == shape(inspect.getattr_static(Store, name))
