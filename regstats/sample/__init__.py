"""The sample: half a year of a small company's registry, made from what real clients send.

`python -m regstats.sample DIR` writes it as a store; the one in data/sample/ was made by it. Everything in it went the
way of all deliveries: journal, parts, upkeep. Deliveries are kept for thirty days, which is what `[retention]` is for;
events, and so all numbers, for the whole half-year.

`company` is who there is, `clients` what programs ask for, `days` and `stories` what happens, `registry` what is told
of it; `grown` is the same for millions of events.
"""

import json
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from pathlib import Path

from regstats.compact import compact, expire, sweep
from regstats.config import Retention
from regstats.events import Delivery
from regstats.journal import Journal
from regstats.sample import days, stories
from regstats.sample.company import BEGIN, NOW, SMALL
from regstats.sample.registry import Registry, Told
from regstats.sealing import seal
from regstats.store import Store

__all__ = ["BEGIN", "NOW", "SEED", "day", "deliveries", "path", "write"]

SEED = 20261124
_KEPT = Retention(deliveries="30d")
_MONTH_IS_OVER = timedelta(days=8)
_AGAIN = timedelta(seconds=3, milliseconds=200)  # a registry with `timeout: 3s` gives up, and sends it again
_HEADERS = {
    "User-Agent": "Go-http-client/1.1",
    "Content-Type": "application/vnd.docker.distribution.events.v2+json",
}


def path() -> Path:
    """Where the sample is: in an installed package inside it, in a checkout under data/."""
    package = Path(__file__).parents[1]
    installed = package / "_sample"
    return installed if installed.is_dir() else package.parent / "data" / "sample"


def write(root: Path) -> None:
    """Writes the sample as a store, as two workers of a collector do, each with a segment of its own.

    Upkeep is done as after the end of November, so that of that month, too, what is derived lies in one part.
    """
    store, received = Store(root, create=True), deliveries()
    for worker in range(2):
        journal = Journal(store.journal)
        journal.append(received[worker::2])
        journal.rotate()
    seal(store)
    expire(store, NOW, _KEPT)
    compact(store, NOW + _MONTH_IS_OVER)
    sweep(store, grace=timedelta(0))
    store.journal.rmdir()
    (root / "lock").unlink()


def deliveries(seed: int = SEED) -> list[Delivery]:
    """The deliveries of the half-year, as a collector received them, in that order."""
    told = [one for one in _half_a_year(seed) if not stories.LOST[0] <= one[0] < stories.LOST[1]]
    received = [(_arrival(at), _body(event)) for at, event in told]
    for moment in stories.TWICE:
        at, body = next(one for one in received if one[0] >= moment)
        received.append((at + _AGAIN, body))
    received.append(stories.ODD)
    received.sort(key=lambda one: one[0])
    return [_delivery(number, at, body) for number, (at, body) in enumerate(received)]


def day(which: date = date(2026, 10, 7)) -> list[Delivery]:
    """Those of one date; if none is named, of that of the incident."""
    return [delivery for delivery in deliveries() if delivery.received_at.date() == which]


def _half_a_year(seed: int) -> Iterator[Told]:
    registry = Registry(seed, BEGIN)
    days.stock(registry, SMALL)
    stories.plan(registry)
    for number in range((NOW - BEGIN).days):
        midnight = BEGIN + timedelta(days=number)
        days.plan(registry, SMALL, midnight.date())
        yield from registry.live(midnight + timedelta(days=1))


def _body(event: object) -> bytes:
    """One event in each delivery, as all versions of the registry send it."""
    return json.dumps({"events": [event]}, indent=3).encode()


def _arrival(at: datetime) -> datetime:
    """When the collector had it: a moment later, or when it could be reached again."""
    first, last = stories.LATE
    late = last + (at - first) / 100 if first <= at < last else at
    return late + timedelta(milliseconds=2)


def _delivery(number: int, at: datetime, body: bytes) -> Delivery:
    return Delivery(
        received_at=at,
        delivery_id=f"{number:08x}",
        source="default",
        remote_address="10.0.0.5",
        headers=_HEADERS,
        body=body,
    )
