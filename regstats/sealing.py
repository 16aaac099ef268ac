"""Sealing: finished segments of the journal become parts, and so do deployments that have ended.

Whatever happens on the way, each delivery and each event ends up in the live parts exactly once: parts are named after
their segment, they count from the moment the manifest names them, and only then the segment goes.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import date, timedelta
from operator import attrgetter
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow.compute as pc

from regstats import journal
from regstats.events import Delivery, Deployment, Event, Identity, unique
from regstats.parts import MOMENTS, SCHEMAS, Part, TableName, by_date, to_table
from regstats.payloads import NOTHING, understand
from regstats.store import Manifest, Store


class Sealed(NamedTuple):
    """What a seal did."""

    deliveries: int = 0
    events: int = 0
    duplicates: int = 0
    quarantined: int = 0

    def plus(self, other: "Sealed") -> "Sealed":
        """The two together."""
        return Sealed(*(a + b for a, b in zip(self, other, strict=True)))


def seal(store: Store) -> Sealed:
    """Moves every finished segment of the journal, and every deployment that has ended, into parts."""
    total, ended = Sealed(), store.ledger.ended()
    if not ended and not journal.segments(store.journal):
        return total
    with store.exclusive():
        for segment in journal.segments(store.journal):
            with journal.claim(segment) as ours:
                if ours:
                    total = total.plus(_seal(store, segment))
        if ended:
            _seal_deployments(store, ended)
    return total


def _seal_deployments(store: Store, ended: list[Deployment]) -> None:
    """What was sealed before a crash, and is still there, counts once."""
    known: set[str] = set()
    parts = by_date(store.manifest().parts, "deployments")
    for day in {deployment.timestamp.date() for deployment in ended}:
        for part in parts.get(day, []):
            known.update(store.read(part, ["deployment_id"])["deployment_id"].to_pylist())
    fresh = [deployment for deployment in ended if deployment.deployment_id not in known]
    name = hashlib.sha256("".join(deployment.deployment_id for deployment in fresh).encode()).hexdigest()[:24]
    if fresh:
        store.commit(add=write(store, "deployments", f"ended-{name}", fresh))
    for deployment in ended:
        store.ledger.remove(deployment)


def _seal(store: Store, segment: Path) -> Sealed:
    done = Sealed()
    if not store.is_sealed(segment.stem):
        done = add(store, segment.stem, journal.read(segment, finished=True), sealed=segment.stem)
    segment.unlink()
    return done


def add(
    store: Store,
    name: str,
    received: Iterable[Delivery],
    *,
    sealed: str | None = None,
    dialects: Mapping[str, str] = NOTHING,
) -> Sealed:
    """Makes parts of that name from deliveries, and of those of their events that are not stored yet."""
    deliveries, events = understand(received, dialects)
    fresh = unknown(store, store.manifest(), events)
    parts = [*write(store, "deliveries", name, deliveries), *write(store, "events", name, fresh)]
    if parts:
        store.commit(add=parts, sealed=sealed)
    quarantined = sum(delivery.error is not None for delivery in deliveries)
    return Sealed(len(deliveries), len(fresh), len(events) - len(fresh), quarantined)


def unknown(store: Store, manifest: Manifest, events: Iterable[Event]) -> list[Event]:
    """The events that are not in the live parts, each once."""
    found, parts = unique(events), by_date(manifest.parts, "events")
    twins: set[Identity] = set()
    for some in _rows_by_date("events", found.values()).values():
        twins |= _stored(store, parts, some) & found.keys()
    return [event for key, event in found.items() if key not in twins]


def _stored(store: Store, parts: dict[date, list[Part]], events: list[Event]) -> set[Identity]:
    """The identities of what is stored where twins of events of one date would be.

    A repeated event has the timestamp of its twin, so only those times are looked at. Where the timestamp is that of
    receipt, the twin may have come up to a day before.
    """
    margin = timedelta(0) if all(event.timestamp_trusted for event in events) else timedelta(days=1)
    times = [event.timestamp for event in events]
    first, last = min(times) - margin, max(times)
    among_these = (pc.field("timestamp") >= first) & (pc.field("timestamp") <= last)
    stored: set[Identity] = set()
    for day in {first.date(), last.date()}:
        for part in parts.get(day, []):
            begin, end = store.span(part)
            if end < first or begin > last:
                continue
            table = store.read(part, ["source", "event_id"], among_these)
            stored.update(zip(*(column.to_pylist() for column in table.columns), strict=True))
    return stored


def write(store: Store, table: TableName, name: str, rows: Iterable[Any]) -> list[Part]:
    """Rows as parts of that name, one per date."""
    return [
        store.write(table, day, name, to_table(some, SCHEMAS[table]))
        for day, some in sorted(_rows_by_date(table, rows).items())
    ]


def _rows_by_date(table: TableName, rows: Iterable[Any]) -> dict[date, list[Any]]:
    dates: dict[date, list[Any]] = defaultdict(list)
    moment = attrgetter(MOMENTS[table])
    for row in rows:
        dates[moment(row).date()].append(row)
    return dates
