"""A database over a store: views of what is in it now.

`events` and `deliveries` are all there is, `changes` the few events that change what a registry holds, `moves` when a
tag came to point to something else, `deployments` what was done because of that. `pulls`, `pushes` and `deletes` are
without those who are excluded.
"""

import math
import re
import threading
import time
from collections.abc import Iterable, Mapping
from datetime import timedelta
from ipaddress import ip_address, ip_network
from typing import Any

import pyarrow as pa

from regstats import moves
from regstats.accounting import DERIVED, Derived, among, read
from regstats.backends import NONE, Backend
from regstats.config import Exclude
from regstats.database import literal, sql_text
from regstats.events import Deployment, unique
from regstats.parts import DELIVERIES, DEPLOYMENTS, EDGE, EVENTS, Part, TableName, by_date, to_table
from regstats.payloads import SILENT, understand
from regstats.store import Snapshot, Store

_MADE: dict[str, Derived] = {f"all_{derived.table}": derived for derived in DERIVED}
"""Views of what is kept of closed dates, and made for all others: only when somebody asks, because it takes a while."""
_WRITTEN = {"changes": "select * from all_changes", "moves": "select * from all_moves"}
_LOOKED_UP = {
    "deleted_manifests": sql_text("views/deleted_manifests"),
    "silent": sql_text("views/silent").replace("{dialects}", ", ".join(map(literal, SILENT))),
}
"""Few rows that are looked for among many: once for as long as nothing comes."""
_COUNTED = {"pulls": "select * from all_pulls"} | {
    view: sql_text(f"views/{view}") for view in ("pushes", "deletes", "uploads")
}
"""Views without those who are excluded."""
_TEXTS = _WRITTEN | _LOOKED_UP | _COUNTED
_NAMES = frozenset({"all_moves", "deployments"} | _MADE.keys() | _TEXTS.keys())

_EDGE = f"interval '{EDGE // timedelta(seconds=1)}' second"


class Engine:
    """Queries over a store. Thread-safe. Keeps up with a collector that writes, seals and merges meanwhile."""

    def __init__(self, store: Store, exclude: Exclude, backend: Backend, lag: float = 0.0) -> None:
        self._store = store
        self._exclude = exclude
        self._backend = backend
        self._lag = lag
        self._looked_at = -math.inf
        self._lock = threading.Lock()
        self._known: object = None
        self._parts: list[Part] = []
        self._deployments: list[Deployment] = []
        self._defined: set[str] = set()
        self._open: dict[TableName, set[tuple[Any, ...]]] = {}

    def query(self, sql: str, values: dict[str, Any] | None = None, tables: Mapping[str, pa.Table] = NONE) -> pa.Table:
        """The rows of a query over the store as it is now, and over some tables beside it.

        Raises SlowQueryError where it takes too long.
        """
        self._prepare(sql)
        return self._backend.query(sql, values or {}, tables)

    def relation(self, sql: str, values: dict[str, Any] | None = None, tables: Mapping[str, pa.Table] = NONE) -> Any:
        """A query over the store as it is now, as a relation of DuckDB, or a frame of Spark."""
        self._prepare(sql)
        return self._backend.relation(sql, values or {}, tables)

    def _prepare(self, sql: str) -> None:
        """Has what a query is about be there, as the store is now."""
        with self._lock:
            self._refresh()
            self._define_what_is_named(sql)

    def _refresh(self) -> None:
        """Sees what has come, unless it has just looked: while deliveries come in, most of a question is that."""
        if time.monotonic() - self._looked_at < self._lag:
            return
        snapshot = self._store.snapshot(self._known)
        if snapshot is not None:
            self._take(snapshot)
        self._looked_at = time.monotonic()

    def _take(self, snapshot: Snapshot) -> None:
        deliveries, events = understand(snapshot.unsealed)
        self._parts, self._deployments = snapshot.parts, snapshot.deployments
        self._define("deliveries", "received_at", to_table(deliveries, DELIVERIES), "delivery_id")
        self._define("events", "timestamp", to_table(list(unique(events).values()), EVENTS), "source, event_id")
        self._known = snapshot.key
        self._defined.clear()

    def _define_what_is_named(self, sql: str) -> None:
        """The views that a query is about, and before them those that they are about."""
        named = set(re.findall(r"\w+", re.sub(r"--.*", "", sql)))
        for view in (named & _NAMES) - self._defined:
            self._define_what_is_named(_TEXTS.get(view, ""))
            if view == "all_moves":
                self._define_what_is_named("all_changes")
                self._derive_moves()
            elif view == "deployments":
                self._define_deployments()
            elif view in _MADE:
                self._derive(_MADE[view])
            elif view in _WRITTEN:
                self._backend.view(view, _WRITTEN[view])
            elif view in _LOOKED_UP:
                self._backend.table(view, _LOOKED_UP[view])
            else:
                self._define_counted(view, _COUNTED[view])
            self._defined.add(view)

    def _define_deployments(self) -> None:
        self._define("deployments", "timestamp", to_table(self._deployments, DEPLOYMENTS), "deployment_id")

    def _define(self, table: TableName, moment: str, unsealed: pa.Table, identity: str) -> None:
        """The view of a table: its sealed parts, and those unsealed rows that are not in them."""
        columns = unsealed.schema.names
        incoming = f"select {', '.join(columns)}, cast({moment} as date) as date from incoming"
        sealed = self._sealed((part for part in self._parts if part.table == table), columns)
        if sealed and unsealed.num_rows:
            # A repeated event has the date of its twin, or, where its time is that of receipt, comes within a day.
            near = f"date >= (select min(date) - 1 from ({incoming})) and date <= (select max(date) from ({incoming}))"
            incoming += f" anti join (select {identity} from ({sealed[0]}) where {near}) using ({identity})"
        self._backend.table(f"unsealed_{table}", incoming, {"incoming": unsealed})
        self._define_view(table, moment, [*sealed, f"select * from unsealed_{table}"])

    def _derive(self, derived: Derived) -> None:
        """The view of a derived table: what is kept of dates that are accounted for, and all other dates, made now."""
        parts = [*self._parts, *self._unsealed_parts()]
        events, kept = by_date(parts, "events"), derived.kept(parts)
        wanted = {
            (day, *(part.name for near, some in events.items() if abs(near - day) <= derived.reach for part in some))
            for day in events.keys() - kept.keys()
        }
        self._make_open(derived, wanted)
        queries = read(self._backend.rows, kept, derived.columns)
        self._define_view(f"all_{derived.table}", "timestamp", [*queries, f"select * from open_{derived.table}"])

    def _make_open(self, derived: Derived, wanted: set[tuple[Any, ...]]) -> None:
        """The rows of dates that are not accounted for: made anew of those whose events lie in other parts now."""
        made, table = self._open.get(derived.table), f"open_{derived.table}"
        if made is None:
            self._backend.table(table, derived.sql(day for day, *_ in wanted))
        elif made != wanted:
            gone, fresh = ({day for day, *_ in some} for some in (made - wanted, wanted - made))
            self._backend.exchange(table, among(gone), derived.sql(fresh))
        self._open[derived.table] = wanted

    def _derive_moves(self) -> None:
        """The view of moves: what is kept, and those that follow on it."""
        parts = [*self._parts, *self._unsealed_parts()]
        kept = moves.kept(parts)
        queries = read(self._backend.rows, kept, moves.COLUMNS)
        later = among(by_date(parts, "events").keys() - kept.keys())
        if queries:
            self._define_view("earlier", "timestamp", queries)
        else:
            self._backend.view("earlier", moves.nothing())
        self._backend.view("later", f"select * from all_changes where {later}")
        self._backend.table("open_moves", moves.sql())
        self._define_view("all_moves", "timestamp", [*queries, "select * from open_moves"])

    def _unsealed_parts(self) -> list[Part]:
        """What is not sealed, as the parts that it would make."""
        counted = f"""
            select date, count(*), count(*) filter (where timestamp < date + {_EDGE}),
              count(*) filter (where timestamp >= date + interval 1 day - {_EDGE})
            from unsealed_events group by date
        """
        return [
            Part("events", day, f"unsealed {self._known}", *counts) for day, *counts in self._backend.fetch(counted)
        ]

    def _define_counted(self, view: str, rows: str) -> None:
        """A view of rows without those of excluded clients, actors and networks."""
        excluded = [f"user_agent glob {literal(c)} or client glob {literal(c)}" for c in self._exclude.clients]
        excluded += [f"actor glob {literal(actor)}" for actor in self._exclude.actors]
        if self._exclude.networks:
            self._define_excluded_addresses()
            excluded.append("client_address in (select address from excluded_addresses)")
        condition = f"where ({' or '.join(excluded)}) is not true" if excluded else ""
        self._backend.view(view, f"select * from ({rows}) as r {condition}")

    def _define_excluded_addresses(self) -> None:
        """The addresses that are in an excluded network: SQL knows no networks."""
        networks = [ip_network(network) for network in self._exclude.networks]
        seen = self._backend.fetch("select distinct client_address from events")
        excluded = [a for (a,) in seen if a is not None and any(ip_address(a) in network for network in networks)]
        addresses = pa.table({"address": pa.array(excluded, pa.string())})
        self._backend.table("excluded_addresses", "select address from addresses", {"addresses": addresses})

    def _sealed(self, parts: Iterable[Part], columns: Iterable[str]) -> list[str]:
        """The query that reads some parts; none where there are none."""
        found = list(parts)
        return [self._backend.rows(found, columns)] if found else []

    def _define_view(self, name: str, moment: str, queries: list[str]) -> None:
        rows = " union all ".join(queries)
        self._backend.view(name, f"select *, epoch_us({moment}) as us from ({rows}) as r")
