"""Every store can stand where a Store is asked for."""

import inspect

import pytest

from streamvis.store import SharedStore, SqliteStore, Store
from streamvis.store.postgresql.store import PostgresStore

MEMBERS = sorted(name for name in vars(Store) if not name.startswith("_")) + sorted(getattr(Store, "__annotations__", ()))
SHARED = sorted(name for name in vars(SharedStore) if not name.startswith("_"))


def shape(one):
    """What callers may rely on: a method's parameters and what it returns, or that it is read as an attribute."""
    return inspect.signature(one.fget if isinstance(one, property) else one), isinstance(one, property)


@pytest.mark.parametrize("name", MEMBERS)
@pytest.mark.parametrize("store", [SqliteStore, PostgresStore])
def test_a_store_has_each_member_of_the_interface_in_the_same_form(store, name):
    assert shape(inspect.getattr_static(store, name)) == shape(inspect.getattr_static(Store, name))


@pytest.mark.parametrize("name", [name for name in SHARED if name not in MEMBERS])
def test_the_store_that_several_endpoints_share_has_what_they_need(name):
    assert shape(inspect.getattr_static(PostgresStore, name)) == shape(inspect.getattr_static(SharedStore, name))
    assert not hasattr(SqliteStore, name)
