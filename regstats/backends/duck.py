"""DuckDB in this process."""

from collections.abc import Iterable, Mapping
from typing import Any

import duckdb
import pyarrow as pa

from regstats.backends.patience import in_time
from regstats.backends.protocol import NONE
from regstats.database import connect
from regstats.parts import Part
from regstats.store import Store


class DuckDB:
    """A `Backend`. Each question has a cursor of its own, so that several threads are answered at the same time."""

    def __init__(self, store: Store, patience: float | None) -> None:
        self._store = store
        self._patience = patience
        self._connection = connect()
        store.introduce(self._connection)

    def rows(self, parts: Iterable[Part], columns: Iterable[str]) -> str:
        """The rows of some parts, read each time."""
        return self._store.rows(parts, columns)

    def view(self, name: str, sql: str) -> None:
        """Makes a view, or makes it anew."""
        self._connection.execute(f"create or replace view {name} as {sql}")

    def table(self, name: str, sql: str, tables: Mapping[str, pa.Table] = NONE) -> None:
        """Has the rows of a query now, and keeps them in memory: there they are read faster than Arrow's."""
        for beside, rows in tables.items():
            self._connection.register(beside, rows)
        self._connection.execute(f"create or replace table {name} as {sql}")
        for beside in tables:
            self._connection.unregister(beside)

    def exchange(self, table: str, gone: str, sql: str) -> None:
        """Removes some rows of a table, and adds others, without touching the rest."""
        self._connection.execute(f"delete from {table} where {gone}")
        self._connection.execute(f"insert into {table} {sql}")

    def fetch(self, sql: str) -> list[tuple[Any, ...]]:
        """The rows of a small query."""
        return self._connection.sql(sql).fetchall()

    def relation(self, sql: str, values: dict[str, Any], tables: Mapping[str, pa.Table]) -> duckdb.DuckDBPyRelation:
        """A query as a relation: nothing is read yet."""
        return self._cursor(tables).sql(sql, params=values)

    def query(self, sql: str, values: dict[str, Any], tables: Mapping[str, pa.Table]) -> pa.Table:
        """The rows of a query. Raises SlowQueryError where it takes more than `patience` seconds."""
        cursor = self._cursor(tables)
        with in_time(self._patience, cursor.interrupt):
            return cursor.sql(sql, params=values).to_arrow_table()

    def _cursor(self, tables: Mapping[str, pa.Table]) -> duckdb.DuckDBPyConnection:
        cursor = self._connection.cursor()
        for name, table in tables.items():
            cursor.register(name, table)
        return cursor
