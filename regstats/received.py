"""What has come to a store, and what that says of the registry: is it complete, counted, and true?"""

from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any

from regstats.events import TORN
from regstats.findings import FORWARD, NTP, Finding
from regstats.formats import duration, rows
from regstats.stats import Stats
from regstats.symptoms import SKEW

_DAYS = 30
_WINDOW = f"{_DAYS}d"


def kept(stats: Stats, everybody: Stats, data: str, source: str | None) -> Iterator[Finding]:
    """What has come to a store, and whether it can be believed; `everybody` leaves out nobody but us."""
    found = [row for row in rows(stats.health(since=_WINDOW)) if row["source"] != TORN]
    if not any(source in (None, row["source"]) for row in found):
        of = f" of `{source}`" if source else ""
        yield Finding("store", "warning", f"nothing{of} has come to {data} in {_WINDOW}", _PUSH)
    for row in found:
        yield from of_source(row, data)
    yield from _quarantined(stats, data)
    yield from _excluded(stats, everybody)
    yield from _addresses(stats)


_PUSH = "Push something, or let it be tried: --registry HOST:PORT --probe"


def of_source(row: Mapping[str, Any], data: str) -> Iterator[Finding]:
    """Whether all has come from a source, as a row of `health` says."""
    name, last = f"`{row['source']}`", duration(timedelta(seconds=row["silence"]))
    yield Finding("store", "ok", f"{data}: {row['events']:,} events of {name} in {_WINDOW}, the last {last} ago")
    if row["lag"] is not None and row["lag"] < -SKEW.total_seconds():
        ahead = duration(timedelta(seconds=-row["lag"]))
        yield Finding("store", "warning", f"the clock of {name} is {ahead} ahead", NTP)
    if row["gaps"]:
        longest = duration(timedelta(seconds=row["longest_gap"]))
        what = f"{row['gaps']:,} times nothing came from {name} for long, {longest} at most"
        yield Finding("store", "hint", what, f"See whether that can be: regstats health --data {data}")
    if row["restarts"]:
        what = f"the registry of {name} was restarted {row['restarts']:,} times: what it had not delivered then is lost"
        yield Finding("store", "hint", what)


def _quarantined(stats: Stats, data: str) -> Iterator[Finding]:
    query = (
        "select error, count(*) from deliveries where error is not null group by error order by count(*) desc limit 3"
    )
    for why, number in stats.sql(query).fetchall():
        what = f"{number:,} deliveries were not understood: {why}"
        yield Finding("store", "warning", what, f"See them: regstats quarantine --data {data}")


def _excluded(stats: Stats, everybody: Stats) -> Iterator[Finding]:
    """Whether the settings leave something to be counted."""
    counted, told = (int(some.pulls(since=_WINDOW, interval="total")["requests"].sum()) for some in (stats, everybody))
    if counted < told:
        what = f"{told - counted:,} of {told:,} requests for manifests in {_WINDOW} do not count, by {stats.exclude}"
        remedy = "Whoever is to be counted must not be in [exclude] of regstats.toml."
        yield Finding("store", "hint" if counted else "warning", what, remedy)


def _addresses(stats: Stats) -> Iterator[Finding]:
    """Whether many people seem to sit at one machine, which is a proxy."""
    query = """
        select source, count(distinct actor), any_value(client_address) from events
        where timestamp >= $since
        group by source having count(distinct client_address) = 1 and count(distinct actor) > 1
    """
    for source, actors, address in stats.sql(query, since=stats.present - timedelta(days=_DAYS)).fetchall():
        what = f"all {actors:,} actors of `{source}` are at {address}: a proxy that does not say for whom it asks"
        yield Finding("store", "warning", what, FORWARD)
