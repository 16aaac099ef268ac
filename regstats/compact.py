"""Upkeep of a store beside readers and writers: merging, retention, accounting, and removing what a crash left behind.

Each step is done under the lock and committed at one moment, so it may be interrupted anywhere and is then done again.
Deliveries are taken meanwhile; only sealing waits.
"""

import hashlib
import shutil
from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime, timedelta
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

import duckdb

from regstats import accounting, moves
from regstats.config import FOR_EVER, Retention, age_of
from regstats.database import literal
from regstats.parts import (
    COMPRESSION_LEVEL,
    DELIVERIES,
    DEPLOYMENTS,
    EVENTS,
    KEYS,
    TABLES,
    Part,
    TableName,
    by_date,
)
from regstats.store import GRACE, Store, utc_now

HANDFUL = 8
"""So many parts a date may have before some of them are merged."""


class _Shape(NamedTuple):
    """How a table is laid out in merged parts."""

    columns: list[str]
    order: str
    row_group: int
    """Rows of which all is in memory at once."""


# Deliveries stay as they came: to sort them would take as much memory as they do.
_MERGED: dict[TableName, _Shape] = {
    "deliveries": _Shape(DELIVERIES.names, "", 30_000),
    "events": _Shape(EVENTS.names, "order by repository, tag, timestamp, source, event_id", 1_000_000),
    "deployments": _Shape(DEPLOYMENTS.names, "order by timestamp, deployment_id", 30_000),
}


_ROW_GROUP = (
    122_880  # rows of a month's part: small enough for DuckDB to leave out those of other dates, and for all cores
)


class _Gathered(NamedTuple):
    """A table of which a month is one part."""

    table: TableName
    columns: tuple[str, ...]
    order: str
    kept: Callable[[Iterable[Part]], accounting.Kept]


_GATHERED = (
    *(_Gathered(derived.table, derived.columns, derived.order, derived.kept) for derived in accounting.DERIVED),
    _Gathered("moves", moves.COLUMNS, accounting.ORDER, moves.kept),
)


class Compacted(NamedTuple):
    """What was done."""

    merged: int = 0
    """Parts that became part of another."""
    accounted: int = 0
    """Dates whose pulls were accounted for."""
    gathered: int = 0
    """Parts that became part of one of their month."""
    expired: int = 0
    """Parts that were older than retention allows."""
    removed: int = 0
    """Files that belonged to nothing."""


def compact(store: Store, now: datetime, retention: Retention = FOR_EVER, *, closed: bool = True) -> Compacted:
    """Brings the store into its best shape; of closed dates one part per table only if `closed`, a handful otherwise.

    Those who call it often leave closed dates as they are, most of the time: late events would have them written anew
    each time.
    """
    return Compacted(
        expired=expire(store, now, retention),
        merged=merge(store, now, closed=closed),
        accounted=account(store, now),
        gathered=gather(store, now) if closed else 0,
        removed=sweep(store),
    )


def expire(store: Store, now: datetime, retention: Retention) -> int:
    """Drops the parts of dates that ended longer ago than they are to be kept; how many. What is derived goes, too."""
    with store.exclusive():
        ages = dict.fromkeys(TABLES, retention.events) | {"deliveries": retention.deliveries}
        first = {table: (now - age_of(text)).date() for table, text in ages.items() if text is not None}
        parts = (part for part in store.manifest().parts if part.table in first)
        expired = [part for part in parts if part.contents[-1].date < first[part.table]]
        if expired:
            store.commit(drop=expired)
    return len(expired)


def merge(store: Store, now: datetime, *, closed: bool = True) -> int:
    """Makes one part of many, per date; how many parts that saved. Readers go on with what they have."""
    saved = 0
    for table in _MERGED:
        for day in by_date(store.manifest().parts, table):
            with store.exclusive():
                found = by_date(store.manifest().parts, table).get(day, [])
                parts = found if closed and accounting.is_closed(day, now) else too_many(found)
                if len(parts) > 1:
                    store.commit(add=[_merged(store, parts)], drop=parts)
                    saved += len(parts) - 1
    return saved


def too_many(parts: Iterable[Part]) -> list[Part]:
    """Which parts to merge so that few remain, and yet none is written again and again: the smallest ones.

    Another is taken along while it is not larger than twice what is there already. So a part at least doubles with each
    merge, and a row is written as often as the logarithm of their number.
    """
    smallest = sorted(parts, key=lambda part: part.rows)
    if len(smallest) <= HANDFUL:
        return []
    chosen, rows = smallest[:2], smallest[0].rows + smallest[1].rows
    for part in smallest[2:]:
        if part.rows > 2 * rows:
            break
        chosen.append(part)
        rows += part.rows
    return chosen


def _merged(store: Store, parts: list[Part]) -> Part:
    """One part of the rows of several of a date, in the order that is read fastest, on disk."""
    table, day = parts[0].table, parts[0].date
    columns, order, row_group = _MERGED[table]
    name = _name("merged", sorted(part.name for part in parts))
    made = Part(table, day, name, sum(p.rows for p in parts), sum(p.early for p in parts), sum(p.late for p in parts))
    rows = f"select {', '.join(columns)} from ({store.rows(sorted(parts), columns)}) {order}"
    return _copied(store, made, rows, row_group)


def _copied(store: Store, part: Part, rows: str, row_group: int) -> Part:
    """A part on disk of the rows of a query."""
    form = f"format parquet, parquet_version v2, compression zstd, compression_level {COMPRESSION_LEVEL}"
    with store.appearing(part) as unseen, store.connect("512MB") as connection:
        connection.execute(f"copy ({rows}) to {literal(str(unseen))} ({form}, row_group_size {row_group})")
    return part


def _name(kind: str, of: Iterable[str]) -> str:
    names = "\n".join(of)
    return f"{kind}-{hashlib.sha256(names.encode()).hexdigest()[:24]}"


def account(store: Store, now: datetime) -> int:
    """Writes what is derived from each closed date, if it is not there or its events have changed since; of how many.

    One date at a time, so that memory does not grow with their number.
    """
    done = 0
    for day in _unaccounted(store, now):
        with store.exclusive():
            _account(store, day)
        done += 1
    with store.exclusive():
        moves.account(store, _closed(store, now))
    return done


def _account(store: Store, day: date) -> None:
    parts = store.manifest().parts
    events = by_date(parts, "events")
    made = [
        store.write(derived.table, day, derived.basis(events, day), derived.of_date(store, parts, day))
        for derived in accounting.DERIVED
        if day not in derived.kept(parts)
    ]
    tables = {part.table for part in made}
    single = (p for p in parts if p.date == day and p.table in tables and not p.days)
    store.commit(add=made, drop=(part for part in single if part not in made))


def _unaccounted(store: Store, now: datetime) -> list[date]:
    parts = store.manifest().parts
    kept = [derived.kept(parts).keys() for derived in accounting.DERIVED]
    return [day for day in _closed(store, now) if not all(day in of_one for of_one in kept)]


def _closed(store: Store, now: datetime) -> list[date]:
    """The closed dates of which there are events, in order."""
    return [day for day in by_date(store.manifest().parts, "events") if accounting.is_closed(day, now)]


def gather(store: Store, now: datetime) -> int:
    """Makes one part of what is derived from the closed dates of a month; how many parts that saved."""
    saved = 0
    for table in _GATHERED:
        with store.exclusive():
            for month, days in groupby(_closed(store, now), _month):
                saved += _gather(store, table, month, list(days))
    return saved


def _gather(store: Store, table: _Gathered, month: date, days: list[date]) -> int:
    parts = store.manifest().parts
    kept = table.kept(parts)
    if not kept.keys() >= set(days):
        return 0
    mine = [part for part in parts if part.table == table.table and _month(part.date) == month]
    contents = tuple(kept[day][1] for day in days)
    if [part.days for part in mine] == [contents]:
        return 0
    name = _name("month", (day.name for day in contents))
    made = Part(table.table, month, name, sum(day.rows for day in contents), days=contents)
    queries = accounting.read(store.rows, {day: kept[day] for day in days}, table.columns)
    rows = f"from ({' union all '.join(queries)}) order by date, {table.order}"
    store.commit(add=[_copied(store, made, rows, _ROW_GROUP)], drop=mine)
    return len(mine) - 1


def _month(day: date) -> date:
    return day.replace(day=1)


def sweep(store: Store, grace: timedelta | None = None) -> int:
    """Removes what interrupted work left behind: unfinished files, and parts that never came to count; how many files.

    A part with rows that are nowhere else is left where it is: `regstats check` reports it. Parts that were replaced go
    after `grace`; without any only where nobody can be reading yet.
    """
    with store.exclusive():
        if any(utc_now() - since >= (GRACE if grace is None else grace) for since in store.manifest().retired.values()):
            store.commit(grace=grace)
        left, orphans = unfinished(store), [o for o in store.orphans() if not has_rows_of_its_own(store, o)]
        for path in left:
            remove(path)
        for orphan in orphans:
            store.remove(orphan)
    return len(left) + len(orphans)


def remove(path: Path) -> None:
    """A file, or a directory with all that is in it."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def has_rows_of_its_own(store: Store, orphan: Part) -> bool:
    """Whether a part that does not count holds anything that is in none that does. What is derived does not."""
    if orphan.table not in KEYS:
        return False
    key = ", ".join(KEYS[orphan.table])
    live = by_date(store.manifest().parts, orphan.table).get(orphan.date, [])
    own = f"select {key} from ({store.rows([orphan], KEYS[orphan.table])})"
    if live:
        own += f" except select {key} from ({store.rows(live, KEYS[orphan.table])})"
    with store.connect() as connection:
        try:
            return bool(connection.sql(f"{own} limit 1").fetchall())
        except duckdb.Error:
            return True  # it cannot be read, so nobody knows


def unfinished(store: Store) -> list[Path]:
    """Files that were being written when their writer died. Those that write them hold the lock, but for segments."""
    segments = [path for path in store.journal.glob("*.new") if _age(path) > GRACE]
    return [*store.root.glob("*.tmp"), *store.root.glob("*/*=*/*.tmp"), *(store.root / "tmp").glob("*"), *segments]


def _age(path: Path) -> timedelta:
    try:
        return utc_now() - datetime.fromtimestamp(path.stat().st_mtime, UTC)
    except FileNotFoundError:  # it has got its name
        return timedelta(0)
