"""For which dates pulls are accounted for, and doing it.

The rule itself is `sql/views/pulls.sql`. Whether two events belong together depends only on events less than three
hours around them. So a date is accounted for from its own events and those of its neighbours, by whoever needs it: a
reader for dates that are open, the collector once for a date that is closed. The rows are the same.
"""

import hashlib
from collections.abc import Iterable
from datetime import UTC, date, datetime, time, timedelta
from functools import cache

import pyarrow as pa

from regstats.database import connect_for_upkeep, read_parquet, sql_text
from regstats.parts import DAY, EDGE, EVENTS, Part, by_date
from regstats.store import Store

COLUMNS = (
    "timestamp", "source", "repository", "tag", "digest", "media_type", "kind", "actor", "client_address",
    "user_agent", "client", "client_version", "requests", "blobs", "bytes", "downloaded", "event_id",
)  # fmt: skip


def basis(events: dict[date, list[Part]], day: date) -> str:
    """A name for what the pulls of a date are made from: the rule, and the events of that date and near it.

    Events are only ever added. So as long as there are as many they are the same, however they lie in parts.
    """
    late = sum(part.late for part in events.get(day - DAY, []))
    rows = sum(part.rows for part in events.get(day, []))
    early = sum(part.early for part in events.get(day + DAY, []))
    return f"{_rule()}-{late}-{rows}-{early}"


def accounted(parts: Iterable[Part]) -> dict[date, Part]:
    """The parts of pulls that are made from the events as they are now; any other is out of date."""
    parts = list(parts)
    events = by_date(parts, "events")
    return {part.date: part for part in parts if part.table == "pulls" and part.name == basis(events, part.date)}


def is_closed(day: date, now: datetime) -> bool:
    """Whether nothing that happens now can belong to a pull of that date."""
    return (now - EDGE).date() > day


def sql(days: Iterable[date]) -> str:
    """The pulls of some dates as a query over `events`."""
    wanted = sorted(set(days))
    near = " or ".join(_near(first, last) for first, last in _spans(wanted)) or "false"
    around = {day + offset for day in wanted for offset in (-DAY, timedelta(0), DAY)}
    text = sql_text("views/pulls").replace("{dates}", f"{_among(around)} and ({near})")
    return f"select {', '.join(COLUMNS)}, date from ({text}) as p where {_among(wanted)}"


def of_date(store: Store, parts: Iterable[Part], day: date) -> pa.Table:
    """The pulls of a date, from its events and its neighbours'."""
    events = read_parquet(map(store.path_of, _around(parts, day)), EVENTS.names)
    with connect_for_upkeep(store.root) as connection:
        connection.execute(f"create view events as select *, epoch_us(timestamp) as us from ({events})")
        pulls = connection.sql(
            f"select * exclude date from ({sql([day])}) order by repository, tag, timestamp, source, event_id"
        )
        return pulls.to_arrow_table()


@cache
def _rule() -> str:
    return hashlib.sha256(sql_text("views/pulls").encode()).hexdigest()[:8]


def _around(parts: Iterable[Part], day: date) -> list[Part]:
    return [part for part in parts if part.table == "events" and abs(part.date - day) <= DAY]


def _near(first: date, last: date) -> str:
    """The events that may belong to a pull of a span of dates."""
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


def _among(days: Iterable[date]) -> str:
    listed = ", ".join(f"date '{day}'" for day in sorted(days))
    return f"date in ({listed})" if listed else "false"
