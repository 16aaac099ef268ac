"""Which requests of a log the store knows already: those of an import before, and those that a registry told of.

The same line has the same id. A registry's event is the same as a request if it is of the same source, repository,
method and reference, from the same client, and at about the same time: one to one, in the order of time, and those
first that are of the same second. Else a request that the registry could not tell of would take the event of the next.
"""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple

import duckdb
import pyarrow as pa

from regstats.database import sql_text
from regstats.parts import EVENTS, by_date, to_table
from regstats.payloads import understand
from regstats.store import Store

_SECOND = 1_000_000  # microseconds
_MARGIN = 5 * _SECOND
"""By how much clocks may differ, and a log be late."""
_TRANSFER = 900 * _SECOND
"""How long a blob may be on its way: a proxy logs its end, and a registry tells of it when it has sent it."""
_MARGINS = (f"{_SECOND}", f"if(kind = 'blob', {_TRANSFER}, {_MARGIN})")
"""What is looked for first, and then."""
_COLUMNS = ("event_id", "source", "dialect", "timestamp", "action", "method", "repository", "tag", "digest",
            "client_address", "user_agent", "request_id", "delivery_id")  # fmt: skip

_CLIENT = ("client_address", "user_agent")
_ALIKE = (
    ("user_agent is not null", _CLIENT),
    ("user_agent is not null", ("user_agent",)),  # before the registry stands a proxy that it takes for the client
    ("user_agent is null", ("client_address",)),  # the log does not say which program it was
    ("user_agent is null", ()),
)
"""What has to be the same, of which requests, one after the other."""


class Logged(NamedTuple):
    """A request: between when and when its event may lie."""

    key: int
    first: int
    last: int
    n: int


class Told(NamedTuple):
    """An event of the store."""

    key: int
    us: int
    event_id: str


class Known:
    """Finds what is known of a source, batch after batch."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, store: Store, source: str) -> None:
        self._connection, self._store, self._source = connection, store, source
        store.introduce(connection)
        self._taken: dict[str, int] = {}
        self._snapshot: object = None
        self._unsealed = to_table([], EVENTS)

    def manifests(self) -> pa.Table:
        """What a registry has told of indexes, for which a log says less."""
        parts = [part for some in by_date(self._store.manifest().parts, "events").values() for part in some]
        files = self._store.rows(parts, EVENTS.names) if parts else "from nothing"
        self._connection.register("nothing", to_table([], EVENTS))
        query = (
            "select repository, digest, any_value(media_type) as media_type, "
            f"any_value(reference_digests) as reference_digests from ({files}) "
            "where source = $source and kind = 'index' and media_type is not null and digest is not null group by all"
        )
        return self._connection.sql(query, params={"source": self._source}).to_arrow_table()

    def forget(self) -> None:
        """Another log may tell of the same again."""
        self._taken = {}

    def among(self, events: pa.Table, origin: str) -> set[int]:
        """Which of the requests of a log are known, by their `_n`. To be asked under the lock."""
        if not events.num_rows:
            return set()
        self._connection.register("logged", events)
        self._load()
        same = " or ".join(f"{name} in (select {name} from stored)" for name in ("event_id", "request_id"))
        known = {n for (n,) in self._connection.sql(f"select _n from logged where {same}").fetchall()}
        self._connection.execute(
            "create or replace temp table free as from stored where origin <> $origin and "
            "(request_id is null or request_id not in (select request_id from logged where request_id is not null))",
            {"origin": origin},
        )
        ((is_there,),) = self._connection.sql("select exists (from free)").fetchall()
        for which, columns in _ALIKE if is_there else ():
            for margin in _MARGINS:
                known |= self._paired(known, which, columns, margin)
        self._connection.unregister("logged")
        return known

    def _load(self) -> None:
        """Makes the table `stored` of what may be the same."""
        ends = "select min(_began), max(greatest(_began, _ended)) from logged"
        ((first, last),) = self._connection.sql(ends).fetchall()
        first, last = first - _TRANSFER, last + _TRANSFER
        self._taken = {event_id: us for event_id, us in self._taken.items() if us > first - _TRANSFER}
        snapshot = self._store.snapshot(self._snapshot)
        if snapshot is not None:
            self._snapshot, self._unsealed = snapshot.key, to_table(understand(snapshot.unsealed)[1], EVENTS)
        days, parts = _days(first, last), by_date(self._store.manifest().parts, "events")
        near = [part for day in days for part in parts.get(day, [])]
        self._connection.register("unsealed", self._unsealed)
        events = f"select {', '.join(_COLUMNS)} from unsealed"
        if near:
            events += f" union all by name select {', '.join(_COLUMNS)} from ({self._store.rows(near, _COLUMNS)})"
        query = sql_text("logs/stored_events").replace("{events}", events)
        parameters = {"source": self._source, "first": first, "last": last}
        self._connection.execute(f"create or replace temp table stored as {query}", parameters)

    def _paired(self, known: set[int], which: str, columns: tuple[str, ...], margin: str) -> set[int]:
        key = f"hash({', '.join(['action', 'method', 'repository', 'reference', *columns])})"
        own = key.replace("reference", "_reference")
        self._connection.register("settled", pa.table({"n": pa.array(list(known), pa.int64())}))
        self._connection.register("taken", pa.table({"event_id": pa.array(list(self._taken), pa.string())}))
        logged = self._connection.sql(
            f"select {own} as key, least(_began, _ended) - {margin}, greatest(_began, _ended) + {margin}, _n "
            f"from logged where {which} and _n not in (select n from settled) and {own} in (select {key} from free) "
            "order by key, _began, _n"
        ).fetchall()
        told = self._connection.sql(
            f"select {key} as key, us, event_id from free where event_id not in (select event_id from taken) "
            f"and {key} in (select {own} from logged where {which}) order by key, us, event_id"
        ).fetchall()
        found = list(pairs(map(Logged._make, logged), map(Told._make, told))) if logged and told else []
        self._taken |= {event.event_id: event.us for _, event in found}
        return {request.n for request, _ in found}


def pairs(logged: Iterator[Logged], told: Iterator[Told]) -> Iterator[tuple[Logged, Told]]:
    """What is the same, one to one; both in the order of their keys, and then of time."""
    request, event = next(logged, None), next(told, None)
    while request is not None and event is not None:
        if (request.key, request.last) < (event.key, event.us):
            request = next(logged, None)
        elif (request.key, request.first) > (event.key, event.us):
            event = next(told, None)
        else:
            yield request, event
            request, event = next(logged, None), next(told, None)


def _days(first: int, last: int) -> list[date]:
    start, end = (datetime.fromtimestamp(us / _SECOND, UTC).date() for us in (first, last))
    return [start + timedelta(days=number) for number in range((end - start).days + 1)]
