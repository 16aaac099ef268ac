"""When a tag came to point to something else: derived one date after the other, from changes.

What a tag pointed to before may have been pushed years ago, and nobody wants to read years of pushes to know which of
last week's were updates. So the moves of a closed date are kept with what was there before, and the next dates are
derived from them. A late push puts all dates from its own on out of date.
"""

import hashlib
import itertools
from collections.abc import Iterable, Iterator
from datetime import date

import duckdb
import pyarrow as pa

from regstats.accounting import CHANGES, ORDER, Kept, made, read, rows_of, rule
from regstats.database import sql_text
from regstats.parts import Part, by_date
from regstats.store import Store

COLUMNS = (
    "timestamp", "source", "repository", "tag", "digest", "before", "media_type", "size", "actor", "client_address",
    "user_agent", "client", "client_version", "event_id", "is_push", "date",
)  # fmt: skip
_MANY = 200_000  # changes whose moves are made at once


def kept(parts: Iterable[Part]) -> Kept:
    """The moves up to the first date that is not kept, or to which something has happened since."""
    parts = list(parts)
    names = _names(parts)
    mine = {day.date: (part, day) for part, day in made(parts, "moves") if day.name == names.get(day.date)}
    return {day: mine[day] for day in itertools.takewhile(mine.__contains__, by_date(parts, "events"))}


def _names(parts: list[Part]) -> dict[date, str]:
    """What the parts of moves are called: after the rule, and how many changes there were on each date up to theirs.

    Up to the first date whose changes are not kept.
    """
    changes, names = CHANGES.kept(parts), {}
    counts = hashlib.sha256(rule("changes", CHANGES.columns).encode())
    for day in by_date(parts, "events"):
        if day not in changes:
            break
        rows = changes[day][1].rows
        counts.update(f"{day} {rows};".encode() if rows else b"")
        names[day] = f"{rule('moves', COLUMNS)}-{counts.hexdigest()[:16]}"
    return names


def sql() -> str:
    """The moves of some dates as a query over `later`, the changes of these dates, and `earlier`, the moves before."""
    return f"select {', '.join(COLUMNS)} from ({sql_text('views/moves')}) as m"


def nothing() -> str:
    """A query for no moves."""
    return f"select {', '.join(f'null as {column}' for column in (*COLUMNS, 'us'))} where false"


def account(store: Store, days: Iterable[date]) -> None:
    """Writes the moves of those dates that follow on what is kept, some at a time. Under the lock."""
    for some in _batches(store.manifest().parts, set(days)):
        parts = store.manifest().parts
        with store.connect() as connection:
            _define(connection, store, parts, some)
            connection.execute(f"create table made as {sql()}")
            _write(store, connection, parts, some)


def wrong(store: Store, parts: list[Part]) -> Iterator[Part]:
    """The kept parts whose moves are not those that would be made now of all changes."""
    mine = kept(parts)
    if not mine:
        return
    with store.connect() as connection:
        _define(connection, store, parts, list(mine))
        connection.execute(f"create table made as {sql()}")
        for day, (part, _) in mine.items():
            expected = _of_date(connection, day)
            if not expected.equals(rows_of(store, part, day).cast(expected.schema)):
                yield part


def _batches(parts: list[Part], days: set[date]) -> Iterator[list[date]]:
    """The dates whose moves are missing, in order, so many at a time that there is memory for them."""
    done, batch, rows = kept(parts), [], 0
    changes = CHANGES.kept(parts)
    for day in _names(parts):
        if day in done:
            continue
        if day not in days:
            break
        batch.append(day)
        rows += changes[day][1].rows
        if rows >= _MANY:
            yield batch
            batch, rows = [], 0
    if batch:
        yield batch


def _define(connection: duckdb.DuckDBPyConnection, store: Store, parts: list[Part], days: list[date]) -> None:
    later = {day: one for day, one in CHANGES.kept(parts).items() if day in days}
    earlier = {day: one for day, one in kept(parts).items() if day < days[0]}
    for view, some, columns in (("later", later, CHANGES.columns), ("earlier", earlier, COLUMNS)):
        queries = read(store.rows, some, columns)
        rows = f"select *, epoch_us(timestamp) as us from ({' union all '.join(queries)})" if queries else nothing()
        connection.execute(f"create view {view} as {rows}")


def _write(store: Store, connection: duckdb.DuckDBPyConnection, parts: list[Part], days: list[date]) -> None:
    names = _names(parts)
    fresh = [store.write("moves", day, names[day], _of_date(connection, day)) for day in days]
    store.commit(
        add=fresh, drop=(p for p in parts if p.table == "moves" and p.date in days and not p.days and p not in fresh)
    )


def _of_date(connection: duckdb.DuckDBPyConnection, day: date) -> pa.Table:
    rows = connection.sql(f"from made where date = $day order by {ORDER}", params={"day": day})
    return rows.to_arrow_table()
