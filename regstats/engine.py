"""DuckDB over a store: the views `events`, `deliveries`, `pulls` and `pushes`, always of the store as it is now."""

import re
import threading
from importlib import resources
from typing import Any

import duckdb
import pyarrow as pa

from regstats.store import DELIVERIES, EVENTS, Snapshot, Store, TableName, to_table, understand, unique

# No network: DuckDB would fetch extensions by itself.
_CONFIG: dict[str, Any] = {"autoinstall_known_extensions": False, "autoload_known_extensions": False}


class Engine:
    """Queries over a store. Thread-safe. Keeps up with a collector that writes, seals and merges meanwhile."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._known: object = None
        self._connection = duckdb.connect(config=_CONFIG)
        self._connection.execute("set timezone = 'UTC'")

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
            for view in ("pushes", "pulls"):
                self._connection.execute(f"create or replace view {view} as {sql_text(f'views/{view}')}")
            self._known = snapshot.key

    def _define(self, table: TableName, snapshot: Snapshot, moment: str, unsealed: pa.Table, identity: str) -> None:
        """The view of a table: its sealed parts, and those unsealed rows that are not in them."""
        self._connection.register("incoming", unsealed)
        incoming = f"select *, cast({moment} as date) as date from incoming"
        sealed = self._sealed(table, snapshot, unsealed.schema.names)
        if sealed and unsealed.num_rows:
            # A repeated event has the date of its twin, or, where its time is that of receipt, comes within a day.
            near = f"date >= (select min(date) - 1 from ({incoming})) and date <= (select max(date) from ({incoming}))"
            incoming += f" anti join (select {identity} from ({sealed}) where {near}) using ({identity})"
        self._connection.execute(f"create or replace table unsealed_{table} as {incoming}")
        self._connection.unregister("incoming")
        both = f"{sealed} union all by name from unsealed_{table}" if sealed else f"from unsealed_{table}"
        self._connection.execute(f"create or replace view {table} as select *, epoch_us({moment}) as us from ({both})")

    def _sealed(self, table: TableName, snapshot: Snapshot, columns: list[str]) -> str | None:
        """The live parts of a table as a query; None where there are none."""
        files = ", ".join(_literal(self._store.path_of(part)) for part in snapshot.parts if part.table == table)
        if not files:
            return None
        # Columns by name: hive partitioning would make one of every `key=value` directory above the store, too.
        return (
            f"select {', '.join(columns)}, date "
            f"from read_parquet([{files}], hive_partitioning = true, hive_types = {{date: date}})"
        )


def _literal(path: str) -> str:
    """A path as SQL text that means this file: DuckDB reads file names as globs."""
    return "'" + re.sub(r"[*?\[]", r"[\g<0>]", path).replace("'", "''") + "'"


def sql_text(name: str) -> str:
    """The text of a `.sql` file of this package."""
    return (resources.files("regstats") / "sql" / f"{name}.sql").read_text(encoding="utf-8")
