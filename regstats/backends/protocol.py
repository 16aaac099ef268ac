"""What is asked of whoever computes."""

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, Protocol

import pyarrow as pa

from regstats.parts import Part

NONE: Mapping[str, pa.Table] = MappingProxyType({})


class Backend(Protocol):
    """A database in memory. Names and text are in the SQL that `sql/` is written in, times are UTC.

    Whoever defines something has to see that nobody else does at the same time; queries may be asked by anybody.
    """

    def rows(self, parts: Iterable[Part], columns: Iterable[str], /) -> str:
        """The rows of some parts, one at least, as a query: these columns, and `date`."""

    def view(self, name: str, sql: str, /) -> None:
        """Makes a view, or makes it anew."""

    def table(self, name: str, sql: str, tables: Mapping[str, pa.Table] = NONE, /) -> None:
        """Has the rows of a query now, over what is defined and some tables beside it, and keeps them."""

    def exchange(self, table: str, gone: str, sql: str, /) -> None:
        """Removes those rows of a table that meet a condition, and adds those of a query."""

    def fetch(self, sql: str, /) -> list[tuple[Any, ...]]:
        """The rows of a small query over what is defined."""

    def relation(self, sql: str, values: dict[str, Any], tables: Mapping[str, pa.Table], /) -> Any:
        """A query, with its parameters, over what is defined and some tables beside it."""

    def query(self, sql: str, values: dict[str, Any], tables: Mapping[str, pa.Table], /) -> pa.Table:
        """Its rows. Raises SlowQueryError where it takes too long."""
