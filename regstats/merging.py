"""`regstats import` of another store: what it has becomes part of this one, and stays what it is there."""

import hashlib
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pyarrow as pa

from regstats.config import NOBODY
from regstats.errors import InputError
from regstats.importer import Imported
from regstats.logfiles import Advance
from regstats.parts import DAY, KEYS, SCHEMAS, TableName, by_date
from regstats.sealing import Sealed, seal
from regstats.stats import Stats
from regstats.store import Store

_TABLES: tuple[TableName, ...] = ("deliveries", "events")


def is_store(path: Path) -> bool:
    """Whether a path is that of a store."""
    return path.is_dir() and ((path / "manifest.json").exists() or (path / "journal").is_dir())


def import_store(path: Path, store: Store, source: str | None, advance: Advance = lambda _: None) -> Imported:
    """Takes in all deliveries and events of another store that are not in this one, date by date.

    Sources keep their names, unless another is given for all. The other store is only read, and a collector may write
    to either. `advance` is told how many rows more are done. Raises InputError where it is this one.
    """
    if str(path.resolve()) == store.address:
        raise InputError(f"{path} is the store itself.")
    seal(store)  # so that all that is known is in parts
    other, done = Stats(path, exclude=NOBODY), Imported()
    for table in _TABLES:
        for day, rows in _dates(other, table):
            fresh = _taken(store, table, day, _booked(rows, source))
            done = _counted(done, table, rows.num_rows, fresh)
            advance(rows.num_rows)
    return done


def _dates(other: Stats, table: TableName) -> Iterator[tuple[date, pa.Table]]:
    schema = SCHEMAS[table]
    for (day,) in other.sql(f"from {table} select distinct date order by date").fetchall():
        yield (
            day,
            other.sql(f"from {table} where date = $day", day=day).to_arrow_table().select(schema.names).cast(schema),
        )


def _booked(rows: pa.Table, source: str | None) -> pa.Table:
    if source is None:
        return rows
    column = rows.schema.get_field_index("source")
    return rows.set_column(column, rows.schema.field(column), pa.array([source] * rows.num_rows, pa.string()))


def _taken(store: Store, table: TableName, day: date, rows: pa.Table) -> int:
    """Puts those that are not there yet into the store; how many."""
    with store.exclusive():
        fresh = _unknown(store, table, day, rows)
        if fresh.num_rows:
            ids = "".join(fresh[KEYS[table][-1]].to_pylist())
            name = f"store-{hashlib.sha256(ids.encode()).hexdigest()[:24]}"
            store.commit(add=[store.write(table, day, name, fresh)])
    return int(fresh.num_rows)


def _unknown(store: Store, table: TableName, day: date, rows: pa.Table) -> pa.Table:
    """Those of a date that are not stored; an event whose time is that of receipt may have come a day before."""
    parts = by_date(store.manifest().parts, table)
    near = [part for some in (day - DAY, day) for part in parts.get(some, [])]
    if not near:
        return rows
    key = ", ".join(KEYS[table])
    with store.connect() as connection:
        connection.register("incoming", rows)
        stored = store.rows(near, KEYS[table])
        return connection.sql(f"from incoming anti join ({stored}) using ({key})").to_arrow_table().cast(rows.schema)


def _counted(done: Imported, table: TableName, rows: int, fresh: int) -> Imported:
    if table == "deliveries":
        return done.plus(rows - fresh, Sealed(deliveries=fresh))
    return done.plus(0, Sealed(events=fresh, duplicates=rows - fresh))
