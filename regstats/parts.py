"""Parts: the immutable Parquet files that a store consists of; what their columns are, and how one appears.

DATA/deliveries/date=<received>/<part>.parquet
DATA/events/date=<event date>/<part>.parquet
DATA/pulls/month=<month>/<part>.parquet               derived from the events of closed dates (`accounting`)
DATA/pulls/date=<date of the pull>/<part>.parquet     likewise, of a date that is not with its month yet
DATA/changes/…, DATA/moves/…, DATA/blobs/…            like pulls
DATA/deployments/date=<date of the push>/<part>.parquet    what was deployed (`ledger`)
"""

import os
import types
import typing
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any, Literal

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from msgspec import Struct
from msgspec.structs import astuple

from regstats.events import Delivery, Deployment, Event
from regstats.journal import sync_directory

TableName = Literal["deliveries", "events", "pulls", "changes", "moves", "blobs", "deployments"]
TABLES: tuple[TableName, ...] = typing.get_args(TableName)

_FEW = 2000  # rows

DAY = timedelta(days=1)
EDGE = timedelta(hours=3)
"""How far beyond a date the events may lie that its pulls depend on."""

_ARROW_TYPES: dict[Any, pa.DataType] = {
    str: pa.string(),
    int: pa.int64(),
    bool: pa.bool_(),
    bytes: pa.binary(),
    datetime: pa.timestamp("us", tz="UTC"),
    list[str]: pa.list_(pa.string()),
    dict[str, str]: pa.map_(pa.string(), pa.string()),
}


def _schema(row: type[Struct]) -> pa.Schema:
    """The columns of a row type. Only types that every Parquet engine reads: ids are text, times UTC microseconds."""
    fields = []
    hints = typing.get_type_hints(row)
    for name in row.__struct_fields__:
        hint = hints[name]
        options = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
        (kind,) = (option for option in options if option is not type(None))
        fields.append(pa.field(name, _ARROW_TYPES[kind], nullable=type(None) in options))
    return pa.schema(fields)


DELIVERIES = _schema(Delivery)
EVENTS = _schema(Event)
DEPLOYMENTS = _schema(Deployment)
SCHEMAS: dict[TableName, pa.Schema] = {"deliveries": DELIVERIES, "events": EVENTS, "deployments": DEPLOYMENTS}
"""Of all tables but those that are derived."""

MOMENTS: dict[TableName, str] = {table: "received_at" if table == "deliveries" else "timestamp" for table in TABLES}
"""The column whose UTC date is the date of a row."""

KEYS: dict[TableName, tuple[str, ...]] = {
    "deliveries": ("delivery_id",),
    "events": ("source", "event_id"),
    "deployments": ("deployment_id",),
}
"""The columns that identify a row."""


class Day(Struct, frozen=True, order=True, array_like=True):
    """What a part has of a date."""

    date: date
    name: str
    """What a part is called that has nothing else: of derived ones, what it was made from."""
    rows: int


class Part(Struct, frozen=True, order=True, omit_defaults=True):
    """One immutable Parquet file."""

    table: TableName
    date: date
    name: str
    rows: int
    early: int = 0
    """Of events: how many lie within EDGE of the start of the date."""
    late: int = 0
    """Of events: how many lie within EDGE of its end."""
    days: tuple[Day, ...] = ()
    """Of a part of a month: what it has of each date. Its own `date` is the first of the month."""

    @property
    def path(self) -> str:
        """Where it is, from the root of the store."""
        span = f"month={self.date:%Y-%m}" if self.days else f"date={self.date}"
        return f"{self.table}/{span}/{self.name}.parquet"

    @property
    def contents(self) -> tuple[Day, ...]:
        """What it has of each date."""
        return self.days or (Day(self.date, self.name, self.rows),)


def at(path: str) -> Part | None:
    """The part that would have this path, seen from the root of the store; None if none would."""
    table, partition, name = path.split("/")
    key, _, span = partition.partition("=")
    try:
        day = date.fromisoformat(f"{span}-01" if key == "month" else span)
        days = (Day(day, "", 0),) if key == "month" else ()
        part = Part(msgspec.convert(table, TableName), day, name.removesuffix(".parquet"), 0, days=days)
    except ValueError:
        return None
    if part.days and part.table in KEYS:
        return None  # only what is derived is gathered by month
    return part if part.path == f"{table}/{partition}/{name}" else None


def by_date(parts: Iterable[Part], table: TableName) -> dict[date, list[Part]]:
    """The parts of a table by date, both in order."""
    dates: dict[date, list[Part]] = {}
    for part in sorted(part for part in parts if part.table == table):
        dates.setdefault(part.date, []).append(part)
    return dates


def describe(table: TableName, day: date, name: str, rows: pa.Table) -> Part:
    """The part that a table of rows makes."""
    if table != "events":
        return Part(table, day, name, rows.num_rows)
    start = datetime.combine(day, time(), UTC)
    early = pc.sum(pc.less(rows["timestamp"], start + EDGE)).as_py() or 0
    late = pc.sum(pc.greater_equal(rows["timestamp"], start + DAY - EDGE)).as_py() or 0
    return Part(table, day, name, rows.num_rows, early, late)


Span = tuple[datetime, datetime]
"""The first and the last moment."""
_EVER: Span = (datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC))


def span(file: pq.FileMetaData, table: TableName) -> Span:
    """Between which moments the rows of a part lie, by its statistics; at any time, where it has none."""
    column = file.schema.names.index(MOMENTS[table])
    found = [file.row_group(number).column(column).statistics for number in range(file.num_row_groups)]
    if not found or not all(one is not None and one.has_min_max for one in found):
        return _EVER
    return min(one.min for one in found), max(one.max for one in found)


def to_table(rows: list[Any], schema: pa.Schema) -> pa.Table:
    """Rows as an Arrow table."""
    # A column of few rows at a time: what was just looked at is still in the processor's cache.
    batches = [_batch(rows[start : start + _FEW], schema) for start in range(0, len(rows), _FEW)]
    return pa.Table.from_batches(batches, schema=schema)


def _batch(rows: list[Any], schema: pa.Schema) -> pa.RecordBatch:
    columns = zip(*map(astuple, rows), strict=True)
    arrays = [_array(values, kind) for values, kind in zip(columns, schema.types, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _array(values: tuple[Any, ...], kind: pa.DataType) -> pa.Array:
    """A column. Of what comes together much is the same, and looked into once; what is nested is slow to repeat."""
    first = values[0]
    if first is values[-1] and not pa.types.is_nested(kind) and values.count(first) == len(values):
        return pa.repeat(pa.scalar(first, kind), len(values))
    return pa.array(values, kind)


COMPRESSION_LEVEL = 1
"""Of zstd: on deliveries and events it is not only the quickest, but makes smaller files than levels 2 to 9."""
_UNLIKE = frozenset({"event_id", "request_id", "delivery_id", "timestamp", "received_at", "body"})
"""Columns of which hardly any value comes twice: a dictionary of them costs time and a fifth more space."""


def writer(path: Path, schema: pa.Schema) -> pq.ParquetWriter:
    """Writes tables one after the other into one file."""
    repetitive = [column for field in schema if field.name not in _UNLIKE for column in _columns(field)]
    return pq.ParquetWriter(
        path, schema, version="2.6", data_page_version="2.0", use_dictionary=repetitive,
        compression="zstd", compression_level=COMPRESSION_LEVEL,
    )  # fmt: skip


def _columns(field: pa.Field) -> list[str]:
    """What a field's columns are called in Parquet."""
    if pa.types.is_map(field.type):
        return [f"{field.name}.key_value.key", f"{field.name}.key_value.value"]
    return [f"{field.name}.list.element"] if pa.types.is_list(field.type) else [field.name]


@contextmanager
def appearing(path: Path) -> Iterator[Path]:
    """Where to write a file that then appears under its name whole and durable, or not at all."""
    if not path.parent.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        sync_directory(path.parent.parent)
    unseen = path.with_suffix(".tmp")
    try:
        yield unseen
    except Exception:
        unseen.unlink(missing_ok=True)  # a full disk must not be kept full by what could not be finished
        raise
    with unseen.open("rb") as file:
        os.fsync(file.fileno())
    unseen.rename(path)
    sync_directory(path.parent)
