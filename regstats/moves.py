"""When a tag came to point to something else: derived one date after the other, from changes.

What a tag pointed to before may have been pushed years ago, and nobody wants to read years of pushes to know which of
last week's were updates. So the moves of a closed date are kept with what was there before, and the next dates are
derived from them. A late push puts all dates from its own on out of date.
"""

import hashlib
from collections.abc import Iterable, Iterator
from datetime import date

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from regstats.accounting import CHANGES, rule
from regstats.database import connect_for_upkeep, read_parquet, sql_text
from regstats.parts import Part, by_date
from regstats.store import Store

COLUMNS = (
    "timestamp", "source", "repository", "tag", "digest", "before", "media_type", "size", "actor", "client_address",
    "user_agent", "client", "client_version", "event_id", "is_push",
)  # fmt: skip
_MANY = 200_000  # changes whose moves are made at once


def kept(parts: Iterable[Part]) -> list[Part]:
    """The parts of moves up to the first date that is not kept, or to which something has happened since."""
    parts = list(parts)
    names = _names(parts)
    mine = {part.date: part for part in parts if part.table == "moves"}
    found = []
    for day in by_date(parts, "events"):
        if day not in names or day not in mine or mine[day].name != names[day]:
            break
        found.append(mine[day])
    return found


def _names(parts: list[Part]) -> dict[date, str]:
    """What the parts of moves are called: after the rule, and how many changes there were on each date up to theirs.

    Up to the first date whose changes are not kept.
    """
    changes, names, counts = CHANGES.kept(parts), {}, hashlib.sha256()
    for day in by_date(parts, "events"):
        if day not in changes:
            break
        counts.update(f"{day} {changes[day].rows};".encode() if changes[day].rows else b"")
        names[day] = f"{rule('moves')}-{counts.hexdigest()[:16]}"
    return names


def sql() -> str:
    """The moves of some dates as a query over `later`, the changes of these dates, and `earlier`, the moves before."""
    return f"select {', '.join(COLUMNS)}, date from ({sql_text('views/moves')}) as m"


def nothing() -> str:
    """A query for no moves."""
    return f"select {', '.join(f'null as {column}' for column in (*COLUMNS, 'us'))} where false"


def account(store: Store, days: Iterable[date]) -> None:
    """Writes the moves of those dates that follow on what is kept, some at a time. Under the lock."""
    for some in _batches(store.manifest().parts, set(days)):
        parts = store.manifest().parts
        with connect_for_upkeep(store.root) as connection:
            _define(connection, store, parts, some)
            connection.execute(f"create table made as {sql()}")
            _write(store, connection, parts, some)


def wrong(store: Store, parts: list[Part]) -> Iterator[Part]:
    """The kept parts whose moves are not those that would be made now of all changes."""
    mine = kept(parts)
    if not mine:
        return
    with connect_for_upkeep(store.root) as connection:
        _define(connection, store, parts, [part.date for part in mine])
        connection.execute(f"create table made as {sql()}")
        for part in mine:
            stored = pq.read_table(store.path_of(part), partitioning=None)
            if not _of_date(connection, part.date).equals(stored):
                yield part


def _batches(parts: list[Part], days: set[date]) -> Iterator[list[date]]:
    """The dates whose moves are missing, in order, so many at a time that there is memory for them."""
    done, batch, rows = {part.date for part in kept(parts)}, [], 0
    changes = CHANGES.kept(parts)
    for day in _names(parts):
        if day in done:
            continue
        if day not in days:
            break
        batch.append(day)
        rows += changes[day].rows
        if rows >= _MANY:
            yield batch
            batch, rows = [], 0
    if batch:
        yield batch


def _define(connection: duckdb.DuckDBPyConnection, store: Store, parts: list[Part], days: list[date]) -> None:
    changes = [part for day, part in CHANGES.kept(parts).items() if day in days]
    earlier = [part for part in kept(parts) if part.date < days[0] and part.rows]
    for view, some, columns in (("later", changes, CHANGES.columns), ("earlier", earlier, COLUMNS)):
        rows = read_parquet(map(store.path_of, some), columns) if some else nothing()
        connection.execute(f"create view {view} as select *{_us(some)} from ({rows})")


def _us(parts: list[Part]) -> str:
    return ", epoch_us(timestamp) as us" if parts else ""


def _write(store: Store, connection: duckdb.DuckDBPyConnection, parts: list[Part], days: list[date]) -> None:
    names = _names(parts)
    made = [store.write("moves", day, names[day], _of_date(connection, day)) for day in days]
    store.commit(add=made, drop=(p for p in parts if p.table == "moves" and p.date in days and p not in made))


def _of_date(connection: duckdb.DuckDBPyConnection, day: date) -> pa.Table:
    order = "order by repository, tag, timestamp, source, event_id"
    rows = connection.sql(f"select * exclude date from made where date = $day {order}", params={"day": day})
    return rows.to_arrow_table()
