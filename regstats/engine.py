"""DuckDB over a store: the views `events`, `deliveries`, `pulls`, `pushes` and `deletes`, of the store as it is now."""

import threading
from collections.abc import Iterable
from datetime import date
from typing import Any

import duckdb
import pyarrow as pa

from regstats import accounting
from regstats.database import connect, read_parquet, sql_text
from regstats.store import DELIVERIES, EVENTS, Part, Snapshot, Store, TableName, to_table, understand, unique


class Engine:
    """Queries over a store. Thread-safe. Keeps up with a collector that writes, seals and merges meanwhile."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._known: object = None
        self._connection = connect()

    def query(self, sql: str, values: dict[str, Any] | None = None) -> pa.Table:
        """The rows of a query over the store as it is now."""
        return self.relation(sql, values).to_arrow_table()

    def relation(self, sql: str, values: dict[str, Any] | None = None) -> duckdb.DuckDBPyRelation:
        """A query over the store as it is now, as a DuckDB relation."""
        self._refresh()
        return self._connection.cursor().sql(sql, params=values or {})

    def _refresh(self) -> None:
        with self._lock:
            snapshot = self._store.snapshot(self._known)
            if snapshot is None:
                return
            deliveries, events = understand(snapshot.unsealed)
            self._define("deliveries", snapshot, "received_at", to_table(deliveries, DELIVERIES), "delivery_id")
            self._define("events", snapshot, "timestamp", to_table(unique(events), EVENTS), "source, event_id")
            self._define_pulls(snapshot)
            for view in ("pushes", "deletes"):
                self._connection.execute(f"create or replace view {view} as {sql_text(f'views/{view}')}")
            self._known = snapshot.key

    def _define(self, table: TableName, snapshot: Snapshot, moment: str, unsealed: pa.Table, identity: str) -> None:
        """The view of a table: its sealed parts, and those unsealed rows that are not in them."""
        self._connection.register("incoming", unsealed)
        incoming = f"select *, cast({moment} as date) as date from incoming"
        sealed = self._sealed((part for part in snapshot.parts if part.table == table), unsealed.schema.names)
        if sealed and unsealed.num_rows:
            # A repeated event has the date of its twin, or, where its time is that of receipt, comes within a day.
            near = f"date >= (select min(date) - 1 from ({incoming})) and date <= (select max(date) from ({incoming}))"
            incoming += f" anti join (select {identity} from ({sealed}) where {near}) using ({identity})"
        self._connection.execute(f"create or replace table unsealed_{table} as {incoming}")
        self._connection.unregister("incoming")
        self._define_view(table, moment, sealed, f"unsealed_{table}")

    def _define_pulls(self, snapshot: Snapshot) -> None:
        """The view of pulls: those of dates that are accounted for already, and those of all other dates, made now."""
        unsealed = {day for (day,) in self._connection.sql("select distinct date from unsealed_events").fetchall()}
        accounted = _accounted(snapshot.parts, unsealed)
        dates = unsealed | {part.date for part in snapshot.parts if part.table == "events"}
        others = accounting.sql(dates - accounted.keys())
        self._connection.execute(f"create or replace table open_pulls as {others}")
        sealed = self._sealed(accounted.values(), accounting.COLUMNS)
        self._define_view("pulls", "timestamp", sealed, "open_pulls")

    def _sealed(self, parts: Iterable[Part], columns: Iterable[str]) -> str | None:
        files = [self._store.path_of(part) for part in parts]
        return read_parquet(files, columns) if files else None

    def _define_view(self, name: str, moment: str, sealed: str | None, table: str) -> None:
        both = f"{sealed} union all by name from {table}" if sealed else f"from {table}"
        self._connection.execute(f"create or replace view {name} as select *, epoch_us({moment}) as us from ({both})")


def _accounted(parts: list[Part], unsealed: set[date]) -> dict[date, Part]:
    """The dates whose pulls can be read, because no event near them is unsealed."""
    return {
        day: part
        for day, part in accounting.accounted(parts).items()
        if not any(abs((day - other).days) <= 1 for other in unsealed)
    }
