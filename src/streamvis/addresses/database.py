"""Where a store in PostgreSQL is: libpq's address, and the schema that holds the tables of one installation.

Imports no database library: the programs ask whether something is such an address before they know that they need one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from streamvis.errors import UsageError

__all__ = ["DatabaseAddress", "is_database"]

_SCHEMES = ("postgresql://", "postgres://")
_SCHEMA = re.compile(r"[a-z_][a-z0-9_]{0,47}")
DEFAULT_SCHEMA = "streamvis"


def is_database(text: str) -> bool:
    """Whether this is the address of a database, rather than a folder."""
    return text.startswith(_SCHEMES)


@dataclass(frozen=True, slots=True)
class DatabaseAddress:
    """An address that libpq understands, and the schema. As text it has no password."""

    conninfo: str = field(repr=False)
    schema: str
    shown: str

    def __str__(self) -> str:
        return self.shown

    @property
    def secret(self) -> str:
        """The whole address, with the schema, and the password if it has one: not for a log or a command line."""
        return f"{self.conninfo}{'&' if '?' in self.conninfo else '?'}schema={self.schema}"

    def in_schema(self, schema: str | None) -> DatabaseAddress:
        """The same database with another schema (None: the same)."""
        return DatabaseAddress.of(self.conninfo, schema=schema or self.schema)

    @classmethod
    def of(cls, text: str, *, schema: str | None = None) -> DatabaseAddress:
        """The address `postgresql://[USER@]HOST[:PORT]/DATABASE[?schema=NAME&...]`. Raises UsageError for what is not one.

        What it leaves out comes from libpq's environment (PGHOST, PGSERVICE, PGPASSFILE, PGSSLMODE ...).
        """
        try:
            parts = urlsplit(text)
            given = parse_qsl(parts.query, keep_blank_values=True)
        except ValueError:
            raise UsageError("The address of the database is not valid. It is not shown here: it may hold a password.") from None
        if "#" in text or "@" in parts.path or ("@" in parts.query and not parts.path):
            # A part of the password would be taken for the host or the database, and shown.
            raise UsageError(
                "The address of the database has a / or # in its user or password. Percent-encode it there: / as %2F, # as %23, "
                "? as %3F, @ as %40. The address is not shown here, since it may hold a password."
            )
        named = schema or dict(given).get("schema") or DEFAULT_SCHEMA
        if not _SCHEMA.fullmatch(named):
            allowed = "lower-case letters, digits and _, at most 48, and no digit first"
            raise UsageError(f"{named!r} is not a valid name of a schema. Allowed: {allowed}.")
        rest = urlencode([(name, value) for name, value in given if name != "schema"], quote_via=quote)
        conninfo = text.partition("?")[0] + (f"?{rest}" if rest else "")
        user = parts.netloc.rpartition("@")[0].partition(":")[0]
        host = parts.netloc.rpartition("@")[2]
        shown = f"postgresql://{f'{user}@' if user else ''}{host}{parts.path} (schema {named})"
        return cls(conninfo, named, shown)
