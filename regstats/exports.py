"""`regstats export`: the rows of a view, or of any query, to a file or a pipe, however many there are.

DuckDB makes the lines of text formats: so a row never becomes Python objects. Some thousand are in memory at once.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, BinaryIO, NamedTuple

import duckdb
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from duckdb import DuckDBPyRelation as Relation

from regstats import formats
from regstats.database import literal
from regstats.errors import ParameterError
from regstats.parameters import FILTERS, understand
from regstats.privacy import OPEN, Privacy
from regstats.stats import Stats
from regstats.store import utc_now

_BATCH = 2048  # rows at a time; more of the largest payloads would not fit into one Arrow column
_ROW_GROUP = 122_880  # rows of a Parquet file that are in memory at once …
_BYTES = 128 * 1024 * 1024  # … if they are not larger than that

Advance = Callable[[int], object]


def of_view(stats: Stats, view: str, given: Mapping[str, Any], privacy: Privacy = OPEN) -> Relation:
    """The rows of a view that match: all columns of it that are documented, in no particular order.

    Raises ParameterError for a parameter that the view does not have; `deliveries` has no repository. And where people
    are to be unrecognisable in deliveries: they are in what was sent.
    """
    if view == "deliveries" and privacy.is_on:
        raise ParameterError("Deliveries are what was sent, with the people in it. Export events instead.")
    filters, moment = (("source",), "received_at") if view == "deliveries" else (FILTERS, "timestamp")
    query = understand(given, now=utc_now(), known=(*filters, "since", "until", "tz", "limit"))
    where = query.where.replace("timestamp ", f"{moment} ")
    needed = {name: query.values[name] for name in re.findall(r"\$(\w+)", where)}
    rows = _masked(stats, f"from {view} select * exclude (us, date) where {where}", needed, privacy)
    return rows if query.limit is None else rows.limit(query.limit)


def of_metric(stats: Stats, metric: str, given: Mapping[str, Any], privacy: Privacy = OPEN) -> pd.DataFrame:
    """The answer of a metric. Reasons in words go where people are to be unrecognisable: they may be named there."""
    frame: pd.DataFrame = getattr(stats, metric)(**given)
    if not privacy.is_on:
        return frame
    kept = frame.drop(columns=frame.columns.intersection(["reason"]))
    for name, mask in _masks(privacy).items():
        if name in kept:
            kept[name] = kept[name].map(mask, na_action="ignore")
    return kept


def _masks(privacy: Privacy) -> dict[str, Callable[[str | None], str | None]]:
    """The columns in which people are, and what is kept of them."""
    return {"actor": privacy.actor, "client_address": privacy.address}


def _masked(stats: Stats, query: str, values: Mapping[str, Any], privacy: Privacy) -> Relation:
    """The rows of a query, in which people are changed."""
    rows: Relation = stats.sql(query, **values)
    if not privacy.is_on:
        return rows
    tables, columns, joins = {}, [], []
    for name, mask in _masks(privacy).items():
        if name in rows.columns:
            seen = [one for (one,) in stats.sql(f"from ({query}) select distinct {name}", **values).fetchall()]
            tables[f"kept_{name}"] = pa.table({"seen": seen, "kept": pa.array(map(mask, seen), pa.string())})
            columns.append(f"kept_{name}.kept as {name}")
            joins.append(f"left join kept_{name} on kept_{name}.seen = r.{name}")
    text = f"from ({query}) as r {' '.join(joins)} select r.* replace ({', '.join(columns)})"
    masked: Relation = stats.sql(text, tables=tables, **values)
    return masked


def of_sql(stats: Stats, text: str) -> Relation:
    """The rows of a query. Raises ParameterError where it is none."""
    try:
        relation: Relation = stats.sql(text)
    except (duckdb.ProgrammingError, duckdb.DataError) as error:
        raise ParameterError(f"The query is wrong. {error}") from None
    if relation is None:
        raise ParameterError("The query is empty.")
    return relation


def write(relation: Relation, form: str, file: BinaryIO, advance: Advance = lambda _: None) -> None:
    """Writes all rows in one of the formats, and says after some of them how many more there are now."""
    if form == "parquet":
        _write_parquet(_projected(relation, _FOR_PARQUET), file, advance)
    elif form in _SHAPES:
        _write_lines(relation, _SHAPES[form], file, advance)
    else:
        table = _projected(relation, _FOR_PEOPLE).to_arrow_table()
        write_frame(table.to_pandas(date_as_object=False, types_mapper=_NULLABLE.get), form, file)


def write_frame(frame: pd.DataFrame, form: str, file: BinaryIO) -> None:
    """Writes a frame in one of the formats."""
    file.write(formats.encode(frame, form))


def _write_parquet(relation: Relation, file: BinaryIO, advance: Advance) -> None:
    reader = relation.to_arrow_reader(_BATCH)
    reader = reader.cast(pa.schema([_in_utc(field) for field in reader.schema]))
    with pq.ParquetWriter(file, reader.schema, version="2.6", compression="zstd") as writer:
        for table in _row_groups(reader):
            writer.write_table(table)
            advance(table.num_rows)


def _in_utc(field: pa.Field) -> pa.Field:
    """DuckDB calls UTC by another name, which not all readers know."""
    is_instant = pa.types.is_timestamp(field.type) and field.type.tz is not None
    return field.with_type(pa.timestamp("us", tz="UTC")) if is_instant else field


def _row_groups(reader: pa.RecordBatchReader) -> Iterator[pa.Table]:
    batches: list[pa.RecordBatch] = []
    rows = size = 0
    for batch in reader:
        batches.append(batch)
        rows, size = rows + batch.num_rows, size + batch.nbytes
        if rows >= _ROW_GROUP or size >= _BYTES:
            yield pa.Table.from_batches(batches)
            batches, rows, size = [], 0, 0
    if batches:
        yield pa.Table.from_batches(batches)


class _Shape(NamedTuple):
    """How a text format puts rows together."""

    row: Callable[[Relation], str]
    """One row, in SQL."""
    head: Callable[[Relation], str] = lambda _: ""
    between: str = ""
    end: str = ""


def _write_lines(relation: Relation, shape: _Shape, file: BinaryIO, advance: Advance) -> None:
    file.write(shape.head(relation).encode())
    before = ""
    for batch in relation.project(shape.row(relation)).to_arrow_reader(_BATCH):
        file.write((before + shape.between.join(batch.column(0).to_pylist())).encode())
        advance(batch.num_rows)
        before = shape.between
    file.write(shape.end.encode())


def _json(end: str = "") -> Callable[[Relation], str]:
    """A row as an object."""

    def row(relation: Relation) -> str:
        columns = zip(relation.columns, _values(relation, _FOR_TEXT), strict=True)
        fields = ", ".join(f"{_name(name)}: {value}" for name, value in columns)
        return f"cast(to_json({{{fields}}}) as varchar) || {literal(end)}"

    return row


def _separated(separator: str, escape: str, empty: str = "''") -> Callable[[Relation], str]:
    """A row as a line of values; `empty` is what stands for the only value of one."""

    def row(relation: Relation) -> str:
        columns = zip(_values(relation, _FOR_TEXT), relation.types, strict=True)
        texts = [_cell(value, kind.id, escape) for value, kind in columns]
        if len(texts) == 1:
            texts = [f"coalesce(nullif({texts[0]}, ''), {empty})"]
        return f"concat({f', {literal(separator)}, '.join(texts)}, chr(10))"  # of nulls it makes nothing

    return row


def _cell(value: str, kind: str, escape: str) -> str:
    text = f"cast({f'to_json({value})' if kind in _NESTED else value} as varchar)"
    return text if kind in _HARMLESS else escape.replace("{}", text)


def _head(separator: str, say: Callable[[str], str], text: Callable[[str], str] = str) -> Callable[[Relation], str]:
    return lambda relation: separator.join(say(text(name)) for name in relation.columns) + "\n"


def _projected(relation: Relation, conversions: Mapping[str, str]) -> Relation:
    """The relation with such columns only as the format has."""
    columns = zip(_values(relation, conversions), relation.columns, strict=True)
    return relation.project(", ".join(f"{value} as {_name(name)}" for value, name in columns))


def _values(relation: Relation, conversions: Mapping[str, str]) -> list[str]:
    """The columns as SQL, converted as their types ask for."""
    columns = zip(relation.columns, relation.types, strict=True)
    return [conversions.get(kind.id, "{}").replace("{}", _name(name)) for name, kind in columns]


def _name(column: str) -> str:
    return '"' + column.replace('"', '""') + '"'


_NESTED = frozenset({"list", "array", "struct", "map", "union"})
_HARMLESS = frozenset(
    ["boolean", "tinyint", "smallint", "integer", "bigint", "hugeint", "utinyint", "usmallint", "uinteger", "ubigint"]
).union(
    ["uhugeint", "bignum", "float", "double", "decimal"],
    ["date", "timestamp", "timestamp with time zone", "interval", "uuid"],
)
"""Types whose text needs no escaping, and is no formula, although it may begin with a minus."""

_UTF8 = "coalesce(try(decode({})), cast({} as varchar))"  # what is none is shown with escapes: \\xFF
_FINITE = "case when isfinite({}) then {} end"
_OTHER_TIMES = ["timestamp_s", "timestamp_ms", "timestamp_ns"]
_FOR_TEXT = {
    "timestamp with time zone": "strftime({}, '%Y-%m-%dT%H:%M:%S.%fZ')",
    **dict.fromkeys(["timestamp", *_OTHER_TIMES], "strftime({}, '%Y-%m-%dT%H:%M:%S.%f')"),
    "interval": "epoch({})",
    "blob": _UTF8,
    "float": _FINITE,
    "double": _FINITE,
}
_FOR_PARQUET = {
    # Spark cannot read nanoseconds, UUIDs and intervals, and DuckDB would write a sum as floating point.
    **dict.fromkeys(_OTHER_TIMES, "cast({} as timestamp)"),
    **dict.fromkeys(["hugeint", "uhugeint"], "cast({} as bigint)"),
    **dict.fromkeys(["uuid", "enum", "time", "time with time zone", "bit", "null"], "cast({} as varchar)"),
    "interval": "epoch_us({})",
}
_FOR_PEOPLE = _FOR_PARQUET | {
    **dict.fromkeys(_NESTED, "cast(to_json({}) as varchar)"),
    "interval": "cast({} as varchar)",
    "decimal": "cast({} as double)",
    "blob": _UTF8,
}
_NULLABLE = {
    pa.int8(): pd.Int8Dtype(),
    pa.int16(): pd.Int16Dtype(),
    pa.int32(): pd.Int32Dtype(),
    pa.int64(): pd.Int64Dtype(),
    pa.uint64(): pd.UInt64Dtype(),
}
"""A count that is missing leaves the others counts."""


def _if_needed(conditions: Iterable[str], escape: str) -> str:
    """An escape that takes time, only for text that asks for it."""
    return f"case when {' or '.join(conditions)} then {escape} else {{}} end"


def _contains(*characters: str) -> list[str]:
    return [f"contains({{}}, {character})" for character in characters]


_IS_FORMULA = f"unicode({{}}) in ({', '.join(str(ord(character)) for character in formats.FORMULA)})"
_DEFUSED = f"case when {_IS_FORMULA} then {literal(formats.DEFUSED)} else '' end || {{}}"
_CSV_CELL = _if_needed(
    [*_contains("','", "'\"'", "chr(10)", "chr(13)"), _IS_FORMULA],
    f"""'"' || replace({_DEFUSED}, '"', '""') || '"'""",
)
_TSV_CELL = _if_needed(
    _contains("chr(9)", "chr(10)", "chr(13)", r"'\'"),
    r"replace(replace(replace(replace({}, '\', '\\'), chr(9), '\t'), chr(10), '\n'), chr(13), '\r')",
)
_SHAPES = {
    "csv": _Shape(_separated(",", _CSV_CELL, literal(formats.EMPTY)), _head(",", formats.quoted, formats.defused)),
    "tsv": _Shape(_separated("\t", _TSV_CELL), _head("\t", formats.escaped)),
    "jsonl": _Shape(_json("\n")),
    "json": _Shape(_json(), lambda _: "[", ",\n ", "]\n"),
}
