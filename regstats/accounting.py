"""What is derived from the events of a date, for which dates it is kept, and deriving it.

Pulls, by the rule of `sql/views/pulls.sql`: whether two events belong together depends only on events less than three
hours around them. Changes and blobs, `sql/views/changes.sql` and `blobs.sql`: the few events that change what a
registry holds, and the sizes of what is pushed, apart from the many others.

So a date is derived from its own events, pulls also from its neighbours', by whoever needs it: a reader for dates that
are open, the collector once for a date that is closed. The rows are the same.

What is kept of the closed dates of a month lies in one part: a file for each date of some years takes longer to open
than to read. Of such a part a date may be out of date, and then have a part of its own until the month is gathered
again.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from regstats.database import sql_text
from regstats.parts import DAY, EDGE, EVENTS, Day, Part, TableName, by_date
from regstats.store import Store

ORDER = "repository, tag, timestamp, source, event_id"
"""Of the rows of a date: the one that is read fastest."""

Kept = dict[date, tuple[Part, Day]]
"""What is kept of some dates: in which part, and as what."""

Rows = Callable[[Iterable[Part], Iterable[str]], str]
"""The rows of some parts as a query: these columns."""


class Derived(NamedTuple):
    """A table that is derived from events."""

    table: TableName
    columns: tuple[str, ...]
    reach: timedelta
    """How far from a date the dates are whose events matter for it."""
    order: str = ORDER

    def basis(self, events: dict[date, list[Part]], day: date) -> str:
        """A name for what the rows of a date are made from: the rule, and the events of that date and near it.

        Events are only ever added. So as long as there are as many they are the same, however they lie in parts.
        """
        counts = [sum(part.rows for part in events.get(day, []))]
        if self.reach:
            late = sum(part.late for part in events.get(day - DAY, []))
            early = sum(part.early for part in events.get(day + DAY, []))
            counts = [late, *counts, early]
        return "-".join([rule(self.table, self.columns), *map(str, counts)])

    def kept(self, parts: Iterable[Part]) -> Kept:
        """What is made from the events as they are now; anything else is out of date."""
        parts = list(parts)
        events = by_date(parts, "events")
        return {
            day.date: (part, day) for part, day in made(parts, self.table) if day.name == self.basis(events, day.date)
        }

    def sql(self, days: Iterable[date]) -> str:
        """The rows of some dates as a query over `events`."""
        wanted = sorted(set(days))
        dates = _near(wanted) if self.reach else among(wanted)
        text = sql_text(f"views/{self.table}").replace("{dates}", dates)
        return f"select {', '.join(self.columns)} from ({text}) as p where {among(wanted)}"

    def of_date(self, store: Store, parts: Iterable[Part], day: date) -> pa.Table:
        """The rows of a date, from its events and those around it."""
        around = [part for part in parts if part.table == "events" and abs(part.date - day) <= self.reach]
        events = store.rows(around, EVENTS.names)
        with store.connect() as connection:
            connection.execute(f"create view events as select *, epoch_us(timestamp) as us from ({events})")
            return connection.sql(f"{self.sql([day])} order by {self.order}").to_arrow_table()


PULLS = Derived(
    "pulls",
    (
        "timestamp", "source", "repository", "tag", "digest", "media_type", "kind", "actor", "client_address",
        "user_agent", "client", "client_version", "requests", "blobs", "bytes", "downloaded", "event_id", "date",
    ),
    reach=DAY,
)  # fmt: skip
CHANGES = Derived(
    "changes",
    (
        "timestamp", "source", "dialect", "repository", "tag", "digest", "media_type", "size", "action", "kind",
        "reference_digests", "actor", "client_address", "user_agent", "client", "client_version", "request_id",
        "event_id", "tags", "date",
    ),
    reach=timedelta(0),
)  # fmt: skip
BLOBS = Derived(
    "blobs", ("timestamp", "source", "digest", "size", "date"), reach=timedelta(0), order="source, digest, size"
)
DERIVED = (PULLS, CHANGES, BLOBS)


def is_closed(day: date, now: datetime) -> bool:
    """Whether nothing that happens now can belong to a pull of that date."""
    return (now - EDGE).date() > day


@cache
def rule(table: TableName, columns: tuple[str, ...]) -> str:
    """A name for the text of the rule by which a table is derived, and for its columns."""
    return hashlib.sha256(f"{sql_text(f'views/{table}')}{columns}".encode()).hexdigest()[:8]


def made(parts: Iterable[Part], table: TableName) -> Iterator[tuple[Part, Day]]:
    """All that there is of a table, date by date, whether it is out of date or not."""
    return ((part, day) for part in parts if part.table == table for day in part.contents)


def read(rows: Rows, kept: Kept, columns: tuple[str, ...]) -> list[str]:
    """The queries that read what is kept, none where nothing is. `rows` is how parts are read."""
    dates: dict[Part, list[date]] = {}
    for part, day in kept.values():
        dates.setdefault(part, []).append(day.date)
    whole = [part for part, days in dates.items() if len(days) == len(part.contents)]
    queries = [rows(whole, columns)] if whole else []
    return queries + [
        f"select * from ({rows([part], columns)}) as p where {among(days)}"
        for part, days in dates.items()
        if part not in whole
    ]


def rows_of(store: Store, part: Part, day: date) -> pa.Table:
    """The rows that a part has of a date."""
    return store.read(part, filters=pc.field("date") == day)


def _near(days: list[date]) -> str:
    """The events that may belong to a pull of some dates."""
    around = {day + offset for day in days for offset in (-DAY, timedelta(0), DAY)}
    spans = " or ".join(_between(first, last) for first, last in _spans(days)) or "false"
    return f"{among(around)} and ({spans})"


def _between(first: date, last: date) -> str:
    start, end = datetime.combine(first, time(), UTC) - EDGE, datetime.combine(last + DAY, time(), UTC) + EDGE
    return f"(timestamp >= timestamptz '{start}' and timestamp < timestamptz '{end}')"


def _spans(days: list[date]) -> list[tuple[date, date]]:
    """Sorted dates as spans of consecutive ones: first and last."""
    spans: list[tuple[date, date]] = []
    for day in days:
        if spans and day - spans[-1][1] == DAY:
            spans[-1] = (spans[-1][0], day)
        else:
            spans.append((day, day))
    return spans


def among(days: Iterable[date]) -> str:
    """The condition that a row is of one of these dates."""
    listed = ", ".join(f"date '{day}'" for day in sorted(days))
    return f"date in ({listed})" if listed else "false"
