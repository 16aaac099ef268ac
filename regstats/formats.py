"""A frame in every format: table, md and html for people, json, csv, tsv and parquet for programs.

Names and user agents are whatever a client wrote. For programs they are exact; for people they are shown, and do
nothing: not to a terminal, not to a page. CSV is for both: exact, but for an apostrophe before what a spreadsheet would
take for a formula.
"""

from __future__ import annotations

import html
import io
import math
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timedelta
from typing import Any

import msgspec
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from regstats.terminal import visible

Row = dict[str, Any]
MISSING = "\N{EN DASH}"
EMPTY = '""'
"""In CSV: a row that would be an empty line."""
FORMULA = (
    *"=+-@\t\r\n",
    *"\N{FULLWIDTH EQUALS SIGN}\N{FULLWIDTH PLUS SIGN}\N{FULLWIDTH HYPHEN-MINUS}\N{FULLWIDTH COMMERCIAL AT}",
)
"""With what a text begins that a spreadsheet takes for a formula."""
DEFUSED = "'"
"""What before it makes it text again."""

_PAGE = """\
<!doctype html>
<meta charset="utf-8">
<title>{title}</title>
<style>
body {{ font: 14px/1.4 system-ui, sans-serif; margin: 1rem }}
table {{ border-collapse: collapse }}
th, td {{ padding: .2em .8em; border-bottom: 1px solid #ddd; text-align: left; white-space: nowrap }}
.number {{ text-align: right; font-variant-numeric: tabular-nums }}
</style>
{table}
"""


def rows(frame: pd.DataFrame) -> list[Row]:
    """The rows of a frame as JSON values: times ISO 8601, plain dates, durations in seconds, missing values None."""
    bare = frame.copy(deep=False)
    bare.attrs = {}  # pandas would copy them with every column
    columns = {str(name): _json_values(bare[name]) for name in bare.columns}
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def total(counts: pd.Series[Any]) -> int | None:
    """The sum; None if nobody tells: all are missing."""
    return None if len(counts) and counts.isna().all() else int(counts.sum())


def said(count: int | None) -> str:
    """A count as people read it."""
    return "not reported" if count is None else f"{count:,}"


def as_json(frame: pd.DataFrame) -> str:
    """One array of row objects, one row a line."""
    lines = ",\n ".join(msgspec.json.encode(row).decode() for row in rows(frame))
    return f"[{lines}]\n"


def as_lines(frame: pd.DataFrame) -> str:
    """A row object a line: JSON lines."""
    return "".join(msgspec.json.encode(row).decode() + "\n" for row in rows(frame))


def as_csv(frame: pd.DataFrame) -> str:
    """A header line and a record per row; values as in JSON, missing ones empty, and no text is a formula."""
    # A row that is nothing but one missing value would be an empty line, which readers skip.
    return "".join(f"{line or EMPTY}\n" for line in _separated(frame, ",", quoted, defused))


def as_tsv(frame: pd.DataFrame) -> str:
    r"""Values as in JSON, and a line per row: tabs, newlines, carriage returns, backslashes as `\t`, `\n`, `\r`, `\\`.

    Names are exact, for a spreadsheet that is told that they are text.
    """
    return "".join(f"{line}\n" for line in _separated(frame, "\t", escaped))


def as_table(frame: pd.DataFrame) -> str:
    """For people: aligned, no colours or other codes. As wide as it must be."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in frame.columns:
        header = Text(visible(str(name)))
        table.add_column(header, justify="right" if is_numeric(frame[name]) else "left", no_wrap=True)
    columns = [[Text(visible(cell)) for cell in cells(frame[name])] for name in frame.columns]
    for row in zip(*columns, strict=True):
        table.add_row(*row)
    console = Console(file=io.StringIO(), width=10_000, color_system=None, legacy_windows=False)
    console.print(table)
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    return "\n".join(line.rstrip() for line in lines).strip("\n") + "\n"


def as_markdown(frame: pd.DataFrame) -> str:
    """A table for a page or a comment on GitHub. Text is code: so nobody is mentioned, and nothing is a link."""
    head = [name if name.isidentifier() else code(name) for name in map(str, frame.columns)]
    rule = ["---:" if is_numeric(frame[name]) else "---" for name in frame.columns]
    columns = [_markdown_cells(frame[name]) for name in frame.columns]
    return "".join(f"| {' | '.join(line)} |\n" for line in [head, rule, *zip(*columns, strict=True)])


def as_html(frame: pd.DataFrame) -> str:
    """A page with a table, for a browser; it needs nothing else."""
    title = html.escape(str(frame.attrs.get("metric", "regstats")))
    return _PAGE.format(title=title, table=html_table(frame, ' class="number"'))


def html_table(frame: pd.DataFrame, number: str = ' style="text-align: right"', text: str = "") -> str:
    """A table for a page that has looks of its own; `number` and `text` are what the cells of a column have to say."""
    kinds = [number if is_numeric(frame[name]) else text for name in frame.columns]
    columns = [cells(frame[name]) for name in frame.columns]
    head = _html_row("th", kinds, map(str, frame.columns))
    rows = "".join(f"{_html_row('td', kinds, row)}\n" for row in zip(*columns, strict=True))
    return f"<table>\n<thead>\n{head}\n</thead>\n<tbody>\n{rows}</tbody>\n</table>"


def as_parquet(frame: pd.DataFrame) -> bytes:
    """A Parquet file that pandas, polars, DuckDB and Spark read; `frame.attrs` is in it, and pandas reads that, too.

    Times are UTC microseconds. Durations are whole microseconds, which pandas and polars take for durations, DuckDB and
    Spark for integers: Spark reads no other kind.
    """
    told = frame.copy(deep=False)
    told.attrs = msgspec.to_builtins(frame.attrs)
    file = io.BytesIO()
    pq.write_table(pa.Table.from_pandas(told, preserve_index=False), file, version="2.6", compression="zstd")
    return file.getvalue()


def encode(frame: pd.DataFrame, form: str, note: str = "") -> bytes:
    """The frame in one of the formats; below it, for people, a note."""
    if form == "parquet":
        return as_parquet(frame)
    below = _NOTES[form](note) if note and form in _NOTES else ""
    return (FORMATS[form](frame) + below).encode()


def cells(column: pd.Series[Any]) -> list[str]:
    """The values of a column for people: times to the second, durations in two units, missing values as a dash."""
    say = _FOR_PEOPLE[kind(column)]
    return [MISSING if value is None else say(value) for value in _values(column)]


def short_cells(column: pd.Series[Any]) -> list[str]:
    """The same for a page: shares in per cent, times to the minute, the beginning of digests, bytes as sizes."""
    say = _ON_PAGES.get(str(column.name)) or (_TO_THE_MINUTE if kind(column) == "time" else None)
    if say is None:
        return [visible(text) for text in cells(column)]
    return [MISSING if value is None else visible(say(value)) for value in _values(column)]


def size(count: Any) -> str:
    """Bytes for people: `12.3 MiB`."""
    if pd.isna(count):
        return MISSING
    step = min(int(math.log2(max(int(count), 1)) // 10), 5)
    return f"{int(count):,} B" if step == 0 else f"{int(count) / 1024**step:,.1f} {'KMGTP'[step - 1]}iB"


_TO_THE_MINUTE: Callable[[Any], str] = "{:%Y-%m-%d %H:%M}".format
_DIGEST = 19
_SIZES = ("size", "bytes", "pushed")
_ON_PAGES: dict[str, Callable[[Any], str]] = {
    "share": "{:.1%}".format,
    "change": "{:+,.0%}".format,
    "before": "{:,.0f}".format,
    "digest": lambda digest: digest if len(digest) <= _DIGEST else f"{digest[:_DIGEST]}…",
    **dict.fromkeys(_SIZES, size),
}


def sorted_by(column: pd.Series[Any]) -> list[float | None]:
    """What the cells of a column are sorted by, where that is not what is seen: durations by their seconds, sizes."""
    is_duration = kind(column) == "duration"
    if not is_duration and column.name not in _SIZES:
        return [None] * len(column)
    return [None if v is None else float(v.total_seconds() if is_duration else v) for v in _values(column)]


def is_numeric(column: pd.Series[Any]) -> bool:
    """Whether a column is aligned to the right."""
    return kind(column) in ("count", "fraction", "duration")


def duration(value: timedelta) -> str:
    """A duration in its two largest units: `3d 4h`, `12m 5s`. One is negative where a registry's clock is ahead."""
    if value < timedelta(0):
        return f"-{duration(-value)}"
    seconds = int(value.total_seconds())
    units = {"d": seconds // 86400, "h": seconds // 3600 % 24, "m": seconds // 60 % 60, "s": seconds % 60}
    shown = [f"{count}{unit}" for unit, count in units.items() if count]
    return " ".join(shown[:2]) or "0s"


def _separated(
    frame: pd.DataFrame, separator: str, say: Callable[[str], str], text: Callable[[str], str] = str
) -> Iterator[str]:
    """A line of names and a line per row; `say` is for whatever is in a cell, `text` before that for what is no number.

    Not by `csv`: it leaves a carriage return unquoted, which ends a line.
    """
    columns = [[_cell(value, text) for value in _json_values(frame[name])] for name in frame.columns]
    lines = [[text(str(name)) for name in frame.columns], *zip(*columns, strict=True)]
    return (separator.join(map(say, line)) for line in lines)


def _cell(value: Any, text: Callable[[str], str]) -> str:
    if value is None:
        return ""
    return text(value) if isinstance(value, str) else msgspec.json.encode(value).decode()


def defused(text: str) -> str:
    """Text that no spreadsheet takes for a formula."""
    return DEFUSED + text if text.startswith(FORMULA) else text


def quoted(text: str) -> str:
    """Text in CSV."""
    return '"' + text.replace('"', '""') + '"' if any(c in text for c in ',"\r\n') else text


def escaped(text: str) -> str:
    """Text in TSV."""
    for plain, escape in (("\\", "\\\\"), ("\t", "\\t"), ("\n", "\\n"), ("\r", "\\r")):
        text = text.replace(plain, escape)
    return text


def _markdown_cells(column: pd.Series[Any]) -> list[str]:
    if kind(column) != "text":
        return cells(column)
    return [MISSING if pd.isna(value) else code(str(value)) for value in column]


def code(text: str) -> str:
    """Text as Markdown code. What would end the code or the cell has no escape that all renderers know."""
    shown = visible(text).replace("`", "\\u0060").replace("|", "\\u007c")
    return f"`{shown}`" if shown else ""


def _html_row(tag: str, kinds: list[str], row: Iterable[str]) -> str:
    parts = (f"<{tag}{kind}>{html.escape(visible(cell))}</{tag}>" for kind, cell in zip(kinds, row, strict=True))
    return f"<tr>{''.join(parts)}</tr>"


def _json_values(column: pd.Series[Any]) -> list[Any]:
    say = _FOR_PROGRAMS.get(kind(column))
    values = _values(column)
    return [None if value is None else say(value) for value in values] if say else values


def _values(column: pd.Series[Any]) -> list[Any]:
    """The values, missing ones None; times of UTC without a zone.

    Times and durations as Python has them: to write those of pandas takes several times as long.
    """
    index: pd.Index[Any] = pd.Index(column)
    values: Any = column
    if isinstance(index, pd.DatetimeIndex) and index.unit != "ns":  # Python knows no nanoseconds
        values = (index.tz_convert(None) if str(index.tz) == "UTC" else index).to_pydatetime()
    elif isinstance(index, pd.TimedeltaIndex) and index.unit != "ns":
        values = index.to_pytimedelta()
    return [None if missing else value for value, missing in zip(values.tolist(), column.isna().tolist(), strict=True)]


def kind(column: pd.Series[Any]) -> str:
    """What the values of a column are; the keys of the tables below."""
    types = pd.api.types
    if isinstance(column.dtype, pd.DatetimeTZDtype):
        return "time"
    tests = {
        "date": types.is_datetime64_any_dtype,
        "duration": types.is_timedelta64_dtype,
        "fraction": types.is_float_dtype,
        "count": types.is_integer_dtype,
        "flag": types.is_bool_dtype,
    }
    return next((kind for kind, test in tests.items() if test(column)), "text")


def _plain(value: Any) -> Any:
    if isinstance(value, str):
        return value
    value = value.item() if hasattr(value, "item") else value
    return value.decode(errors="replace") if isinstance(value, bytes) else value


def _iso(value: datetime) -> str:
    return value.isoformat().replace("+00:00", "Z") if value.tzinfo else f"{value.isoformat()}Z"


_FOR_PEOPLE: dict[str, Callable[[Any], str]] = {
    "time": "{:%Y-%m-%d %H:%M:%S}".format,
    "date": "{:%Y-%m-%d}".format,
    "duration": duration,
    "fraction": "{:.2f}".format,
    "count": "{:,}".format,
    "flag": lambda value: "yes" if value else "no",
    "text": lambda value: str(_plain(value)),
}
_FOR_PROGRAMS: dict[str, Callable[[Any], Any]] = {
    "time": _iso,
    "date": "{:%Y-%m-%d}".format,
    "duration": lambda value: value.total_seconds(),
    "flag": bool,
    "text": _plain,
}
"""Numbers are as they are."""

FORMATS: dict[str, Callable[[pd.DataFrame], str]] = {
    "table": as_table,
    "json": as_json,
    "jsonl": as_lines,
    "csv": as_csv,
    "tsv": as_tsv,
    "md": as_markdown,
    "html": as_html,
}
"""Those that are text."""
_NOTES: dict[str, Callable[[str], str]] = {
    "table": lambda note: f"{visible(note)}\n",
    "md": lambda note: f"\n{code(note)}\n",
    "html": lambda note: f"<p>{html.escape(visible(note))}</p>\n",
}
