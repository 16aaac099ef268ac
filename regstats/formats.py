"""A metric's frame as text: for the terminal, as JSON, as CSV."""

from __future__ import annotations

import csv
import io
import unicodedata
from collections.abc import Callable
from typing import Any

import msgspec
import pandas as pd
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

Row = dict[str, Any]
MISSING = "\N{EN DASH}"


def rows(frame: pd.DataFrame) -> list[Row]:
    """The rows of a frame as JSON values: times ISO 8601, plain dates, durations in seconds, missing values None."""
    columns = {str(name): _json_values(frame[name]) for name in frame.columns}
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def as_json(frame: pd.DataFrame) -> str:
    """One array of row objects, one row a line."""
    lines = ",\n ".join(msgspec.json.encode(row).decode() for row in rows(frame))
    return f"[{lines}]\n"


def as_csv(frame: pd.DataFrame) -> str:
    """A header line and a line per row; values as in JSON, missing ones empty."""
    text = io.StringIO()
    writer = csv.DictWriter(text, [str(name) for name in frame.columns], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows(frame))
    return text.getvalue()


def as_table(frame: pd.DataFrame) -> str:
    """For people: aligned, no colours or other codes. As wide as it must be."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in frame.columns:
        table.add_column(str(name), justify="right" if is_numeric(frame[name]) else "left", no_wrap=True)
    columns = [[Text(visible(cell)) for cell in cells(frame[name])] for name in frame.columns]
    for row in zip(*columns, strict=True):
        table.add_row(*row)
    console = Console(file=io.StringIO(), width=10_000, color_system=None, legacy_windows=False)
    console.print(table)
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    return "\n".join(line.rstrip() for line in lines).strip("\n") + "\n"


def cells(column: pd.Series[Any]) -> list[str]:
    """The values of a column for people: times to the second, durations in two units, missing values as a dash."""
    say = _FOR_PEOPLE[_kind(column)]
    return [MISSING if pd.isna(value) else say(value) for value in column]


def is_numeric(column: pd.Series[Any]) -> bool:
    """Whether a column is aligned to the right."""
    return pd.api.types.is_numeric_dtype(column) or pd.api.types.is_timedelta64_dtype(column)


def duration(value: pd.Timedelta) -> str:
    """A duration in its two largest units: `3d 4h`, `12m 5s`."""
    seconds = int(value.total_seconds())
    units = {"d": seconds // 86400, "h": seconds // 3600 % 24, "m": seconds // 60 % 60, "s": seconds % 60}
    shown = [f"{count}{unit}" for unit, count in units.items() if count]
    return " ".join(shown[:2]) or "0s"


def visible(text: str) -> str:
    """Text that does nothing to a terminal: names and user agents are whatever a client wrote."""
    return "".join(c if unicodedata.category(c)[0] != "C" else f"\\u{ord(c):04x}" for c in text)


def _json_values(column: pd.Series[Any]) -> list[Any]:
    say = _FOR_PROGRAMS[_kind(column)]
    return [None if pd.isna(value) else say(value) for value in column]


def _kind(column: pd.Series[Any]) -> str:
    """What the values of a column are; the keys of the tables below."""
    types = pd.api.types
    if isinstance(column.dtype, pd.DatetimeTZDtype):
        return "time"
    tests = {
        "date": types.is_datetime64_any_dtype,
        "duration": types.is_timedelta64_dtype,
        "fraction": types.is_float_dtype,
        "count": types.is_integer_dtype,
    }
    return next((kind for kind, test in tests.items() if test(column)), "text")


def _plain(value: Any) -> Any:
    value = value.item() if hasattr(value, "item") else value
    return value.decode(errors="replace") if isinstance(value, bytes) else value


def _iso(value: pd.Timestamp) -> str:
    return value.isoformat().replace("+00:00", "Z")


_FOR_PEOPLE: dict[str, Callable[[Any], str]] = {
    "time": "{:%Y-%m-%d %H:%M:%S}".format,
    "date": "{:%Y-%m-%d}".format,
    "duration": duration,
    "fraction": "{:.2f}".format,
    "count": "{:,}".format,
    "text": str,
}
_FOR_PROGRAMS: dict[str, Callable[[Any], Any]] = {
    "time": _iso,
    "date": "{:%Y-%m-%d}".format,
    "duration": pd.Timedelta.total_seconds,
    "fraction": _plain,
    "count": _plain,
    "text": _plain,
}

FORMATS: dict[str, Callable[[pd.DataFrame], str]] = {"table": as_table, "json": as_json, "csv": as_csv}
