"""DuckDB over a store: the views `events`, `deliveries`, `pulls`, `pushes` and `deletes`, of the store as it is now."""

import threading
from collections.abc import Iterable
from datetime import date
from ipaddress import ip_address, ip_network
from typing import Any

import duckdb
import pyarrow as pa

from regstats import accounting
from regstats.config import Exclude
from regstats.database import connect, literal, read_parquet, sql_text
from regstats.events import unique
from regstats.parts import DELIVERIES, EVENTS, Part, TableName, to_table
from regstats.payloads import understand
from regstats.store import Snapshot, Store


class Engine:
    """Queries over a store. Thread-safe. Keeps up with a collector that writes, seals and merges meanwhile.

    `pulls`, `pushes` and `deletes` are without those who are excluded; `events` and `deliveries` are all there is.
    """

    def __init__(self, store: Store, exclude: Exclude) -> None:
        self._store = store
        self._exclude = exclude
        self._lock = threading.Lock()
        self._known: object = None
        self._snapshot: Snapshot | None = None  # whose pulls are not made yet
        self._connection = connect()

    def query(self, sql: str, values: dict[str, Any] | None = None) -> pa.Table:
        """The rows of a query over the store as it is now."""
        return self.relation(sql, values).to_arrow_table()

    def relation(self, sql: str, values: dict[str, Any] | None = None) -> duckdb.DuckDBPyRelation:
        """A query over the store as it is now, as a DuckDB relation."""
        with self._lock:
            self._refresh()
            if self._snapshot is not None and "pulls" in sql:  # the one view that costs something to make
                self._define_pulls(self._snapshot)
                self._snapshot = None
        return self._connection.cursor().sql(sql, params=values or {})

    def _refresh(self) -> None:
        snapshot = self._store.snapshot(self._known)
        if snapshot is None:
            return
        deliveries, events = understand(snapshot.unsealed)
        self._define("deliveries", snapshot, "received_at", to_table(deliveries, DELIVERIES), "delivery_id")
        self._define(
            "events", snapshot, "timestamp", to_table(list(unique(events).values()), EVENTS), "source, event_id"
        )
        self._define_excluded_addresses()
        for view in ("pushes", "deletes"):
            self._define_counted(view, sql_text(f"views/{view}"))
        self._define_counted("actions", "from events")
        self._snapshot, self._known = snapshot, snapshot.key

    def _define(self, table: TableName, snapshot: Snapshot, moment: str, unsealed: pa.Table, identity: str) -> None:
        """The view of a table: its sealed parts, and those unsealed rows that are not in them."""
        self._connection.register("incoming", unsealed)
        incoming = f"select *, cast({moment} as date) as date from incoming"
        sealed = self._sealed((part for part in snapshot.parts if part.table == table), unsealed.schema.names)
        if sealed and unsealed.num_rows:
            # A repeated event has the date of its twin, or, where its time is that of receipt, comes within a day.
            near = f"date >= (select min(date) - 1 from ({incoming})) and date <= (select max(date) from ({incoming}))"
            incoming += f" anti join (select {identity} from ({sealed[0]}) where {near}) using ({identity})"
        self._connection.execute(f"create or replace table unsealed_{table} as {incoming}")
        self._connection.unregister("incoming")
        self._define_view(table, moment, [*sealed, f"from unsealed_{table}"])

    def _define_pulls(self, snapshot: Snapshot) -> None:
        """The view of pulls: those of dates that are accounted for already, and those of all other dates, made now."""
        unsealed = {day for (day,) in self._connection.sql("select distinct date from unsealed_events").fetchall()}
        accounted = _accounted(snapshot.parts, unsealed)
        dates = unsealed | {part.date for part in snapshot.parts if part.table == "events"}
        pulls = self._sealed(accounted.values(), accounting.COLUMNS)
        others = dates - accounted.keys()
        if others or not pulls:
            self._connection.execute(f"create or replace table open_pulls as {accounting.sql(others)}")
            pulls.append("from open_pulls")
        self._define_view("all_pulls", "timestamp", pulls)
        self._define_counted("pulls", "from all_pulls")

    def _define_counted(self, view: str, rows: str) -> None:
        """A view of rows without those of excluded clients, actors and networks."""
        excluded = [f"user_agent glob {literal(c)} or client glob {literal(c)}" for c in self._exclude.clients]
        excluded += [f"actor glob {literal(actor)}" for actor in self._exclude.actors]
        if self._exclude.networks:
            excluded.append("client_address in (select address from excluded_addresses)")
        condition = f"where ({' or '.join(excluded)}) is not true" if excluded else ""
        self._connection.execute(f"create or replace view {view} as select * from ({rows}) as r {condition}")

    def _define_excluded_addresses(self) -> None:
        """The addresses that are in an excluded network: DuckDB itself knows no networks."""
        if not self._exclude.networks:
            return
        networks = [ip_network(network) for network in self._exclude.networks]
        seen = self._connection.sql("select distinct client_address from events").fetchall()
        excluded = [a for (a,) in seen if a is not None and any(ip_address(a) in network for network in networks)]
        addresses = pa.table({"address": pa.array(excluded, pa.string())})
        self._connection.register("addresses", addresses)
        self._connection.execute("create or replace table excluded_addresses as from addresses")
        self._connection.unregister("addresses")

    def _sealed(self, parts: Iterable[Part], columns: Iterable[str]) -> list[str]:
        """The query that reads some parts; none where there are none."""
        files = [self._store.path_of(part) for part in parts]
        return [read_parquet(files, columns)] if files else []

    def _define_view(self, name: str, moment: str, queries: list[str]) -> None:
        rows = " union all by name ".join(queries)
        self._connection.execute(f"create or replace view {name} as select *, epoch_us({moment}) as us from ({rows})")


def _accounted(parts: list[Part], unsealed: set[date]) -> dict[date, Part]:
    """The dates whose pulls can be read, because no event near them is unsealed."""
    return {
        day: part
        for day, part in accounting.accounted(parts).items()
        if not any(abs((day - other).days) <= 1 for other in unsealed)
    }
