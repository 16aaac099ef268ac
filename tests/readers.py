"""What programs and people read of an answer, in every format."""

import csv
import io
import json
import re
from html.parser import HTMLParser

import pandas as pd
from markdown_it import MarkdownIt  # rich needs it, too

HARMLESS = {"meta", "title", "style", "table", "thead", "tbody", "tr", "th", "td", "code", "p"}
FORMULA = tuple("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20")
"""With what a formula begins, and what lets a spreadsheet find one behind it."""
_ESCAPES = {r"\t": "\t", r"\n": "\n", r"\r": "\r", r"\\": "\\"}


def rows_of(form, answer):
    """The rows that a program reads: dicts of what the format knows; nothing is None."""
    if form in ("json", "jsonl"):
        return json.loads(answer) if form == "json" else [json.loads(line) for line in answer.splitlines()]
    header, *records = _records(form, answer.decode())
    return [{name: value or None for name, value in zip(header, record, strict=True)} for record in records]


def in_csv(text):
    """What a program reads of a text in CSV: it, or if it could be a formula, an apostrophe and it."""
    return f"'{text}" if text and text.startswith(FORMULA) else text


def _records(form, text):
    if form == "csv":
        return csv.reader(io.StringIO(text, newline=""))
    lines = text.removesuffix("\n").split("\n")
    return ([re.sub(r"\\.", lambda found: _ESCAPES[found[0]], cell) for cell in line.split("\t")] for line in lines)


def frame_of(form, answer, like):
    """The frame that a program makes of an answer, with the types of another."""
    if form == "parquet":
        return pd.read_parquet(io.BytesIO(answer))
    rows = rows_of(form, answer)
    assert all(list(like.columns) == list(row) for row in rows)
    return pd.DataFrame({name: _typed([row[name] for row in rows], like[name].dtype) for name in like.columns})


def _typed(values, dtype):
    if isinstance(dtype, pd.DatetimeTZDtype):
        return pd.to_datetime(pd.Series(values), utc=True, format="ISO8601").astype(dtype)
    if dtype.kind == "m":
        return pd.Series([None if v is None else round(float(v) * 1e6) for v in values]).astype("Int64").astype(dtype)
    if isinstance(dtype, pd.BooleanDtype):
        return pd.array([{"true": True, "false": False}.get(value, value) for value in values], dtype=dtype)
    return pd.Series(values, dtype=object).astype(dtype)


def cells_of(form, answer):
    """The lines of cells that a person sees, first the names of the columns. A table's are apart by three spaces."""
    text = answer.decode()
    if form == "table":
        header, _, *lines = text.splitlines()
        return [[cell.strip() for cell in re.split(r"   +", line.strip())] for line in (header, *lines)]
    page = _Page()
    page.feed(MarkdownIt("commonmark").enable("table").render(text) if form == "md" else text)
    assert page.tags <= HARMLESS
    return page.lines


class _Page(HTMLParser):
    """The cells of a page, and its tags."""

    def __init__(self):
        super().__init__()
        self.tags, self.lines, self._is_cell = set(), [], False

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        assert {name for name, _ in attrs} <= {"class", "charset", "style"}
        if tag == "tr":
            self.lines.append([])
        if tag in ("td", "th"):
            self.lines[-1].append("")
            self._is_cell = True

    def handle_endtag(self, tag):
        self._is_cell = self._is_cell and tag not in ("td", "th")

    def handle_data(self, data):
        if self._is_cell:
            self.lines[-1][-1] += data
