"""What pages are made of: the pickers above them, links between them, tables, and charts that the browser asks for."""

from typing import Any, NamedTuple
from urllib.parse import urlencode

import pandas as pd
from flask import request, url_for

from regstats import figures, formats
from regstats.terminal import visible

WINDOWS = {"24h": "24 hours", "7d": "7 days", "30d": "30 days", "90d": "90 days", "365d": "a year"}
_WINDOW = "30d"
ROWS = 500
"""At most so many rows of a table."""


class View(NamedTuple):
    """What the pickers above every page say."""

    since: str
    until: str
    repository: str
    actor: str

    def window(self) -> dict[str, str]:
        """As parameters of a metric."""
        return {name: text for name in ("since", "until") if (text := getattr(self, name))}

    def asked(self) -> dict[str, str]:
        """All of it, as parameters of a metric."""
        return self.window() | {name: text for name in ("repository", "actor") if (text := getattr(self, name))}


def view_asked() -> View:
    """The pickers, from the query string. An empty field is none; what a page does not know is not for it."""
    given = {name: request.args.get(name, "").strip() for name in View._fields}
    return View(**{**given, "since": given["since"] or _WINDOW})


def url(endpoint: str, view: View | None = None, **others: str) -> str:
    """The address of a page, with the same window and what else is said. Empty values are left out."""
    asked = (view.window() if view else {}) | others
    said = {name: text for name, text in asked.items() if text and (name, text) != ("since", _WINDOW)}
    return url_for(f"page.{endpoint}") + (f"?{urlencode(said)}" if said else "")


class Chart(NamedTuple):
    """What the browser asks for and draws."""

    title: str
    url: str


def charts_of(asked: dict[str, str], *names: str) -> list[Chart]:
    """Charts by name; `pulls interval=hour` asks for more."""
    found = []
    for said in names:
        name, *more = said.split()
        query = urlencode(asked | dict(part.split("=") for part in more))
        found.append(Chart(name, f"{url_for('page.chart', name=name)}?{query}"))
    return found


class Cell(NamedTuple):
    """A value in a table."""

    text: str
    link: str | None = None
    part: float | None = None
    """How long the bar behind it is, from 0 to 1."""
    value: float | None = None
    """What it is sorted by, where that is not what is seen."""


class Table(NamedTuple):
    """Rows as people read them."""

    columns: list[str]
    numeric: list[bool]
    rows: list[list[Cell]]
    left_out: int = 0
    """Rows that are not shown."""


def listed(frame: pd.DataFrame, view: View, columns: list[str], most: int) -> Table:
    """The first rows of a frame."""
    return table(frame.head(most), view, columns, len(frame))


def table(frame: pd.DataFrame, view: View | None, columns: list[str], there: int) -> Table:
    """Some columns as people read them; repositories and actors are links to their pages."""
    shown = [_cells(frame[name], name, view) for name in columns]
    return Table(
        [figures.words(name) for name in columns],
        [formats.is_numeric(frame[name]) for name in columns],
        [list(row) for row in zip(*shown, strict=True)],
        there - len(frame),
    )


_PAGES = {"repository": "repositories", "actor": "actors"}


def _cells(column: "pd.Series[Any]", name: str, view: View | None) -> list[Cell]:
    if name in _PAGES:
        return [_named(value, name, view) for value in column]
    texts, values = formats.short_cells(column), formats.sorted_by(column)
    return [Cell(text, value=value) for text, value in zip(texts, values, strict=True)]


def _named(value: Any, column: str, view: View | None) -> Cell:
    if pd.isna(value):
        return Cell("(anonymous)" if column == "actor" else formats.MISSING)
    return Cell(visible(str(value)), url(_PAGES[column], view, **{column: str(value)}))
