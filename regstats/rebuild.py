"""All that is derived, made again from the deliveries: the events, and what is in quarantine and why.

`rebuild` makes everything anew, after a parser has learnt something, or when parts were damaged. `replay` takes up only
what is in quarantine. Both switch from old to new at one moment: readers see the one or the other. The store is locked
meanwhile: deliveries are taken, and counted by readers, and are sealed afterwards. Pulls follow from `compact`.
"""

import shutil
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import NamedTuple

import msgspec
import pyarrow.compute as pc
import pyarrow.parquet as pq

from regstats.compact import merge
from regstats.events import Delivery
from regstats.parts import DELIVERIES, EVENTS, Part, by_date, to_table, writer
from regstats.payloads import NOTHING, understand
from regstats.sealing import add, unknown, write
from regstats.store import Store

_BATCH = 20_000  # deliveries in memory at once


class Contents(NamedTuple):
    """What a store holds."""

    deliveries: int
    events: int
    quarantined: int


def contents(store: Store) -> Contents:
    """What a store holds, without what is not sealed yet."""
    parts = store.manifest().parts
    deliveries, events = (sum(p.rows for p in parts if p.table == table) for table in ("deliveries", "events"))
    quarantined = sum(
        store.read(part, ["error"], pc.field("error").is_valid()).num_rows
        for part in parts
        if part.table == "deliveries"
    )
    return Contents(deliveries, events, quarantined)


def rebuild(store: Store, now: datetime, dialects: Mapping[str, str] = NOTHING) -> Contents:
    """Makes all events anew. Those whose delivery is not kept any more (`[retention]`) stay as they are.

    Done in a store of its own within this one, as if all deliveries came in again; then its parts take the place of the
    old ones. `dialects` are those of sources that have a fixed one. Needs as much disk again as the store has. Whatever
    stops it leaves the store as it was.
    """
    with store.exclusive():
        make_anew(store, now, dialects)
    return contents(store)


def make_anew(store: Store, now: datetime, dialects: Mapping[str, str] = NOTHING) -> None:
    """Does it. Under the lock."""
    manifest = store.manifest()
    name = f"rebuilt-{manifest.version + 1}"
    shutil.rmtree(store.root / "tmp" / name, ignore_errors=True)  # of one that was interrupted
    shadow = Store(store.root / "tmp" / name, create=True)
    _keep(store, shadow, name)
    for number, batch in enumerate(_batches(store, manifest.parts)):
        add(shadow, f"{name}-{number:06}", batch, dialects=dialects)
        merge(shadow, now, closed=False)
    merge(shadow, now)
    made = shadow.manifest().parts
    for part in made:
        _move(shadow, store, part)
    store.commit(add=made, drop=(part for part in manifest.parts if part.table != "deployments"))
    shutil.rmtree(shadow.root)


def _keep(store: Store, shadow: Store, name: str) -> None:
    """Takes over the events whose delivery is not there any more."""
    parts = store.manifest().parts
    deliveries = [part for part in parts if part.table == "deliveries"]
    ids = store.rows(deliveries, ["delivery_id"]) if deliveries else "select '' as delivery_id where false"
    with store.connect() as connection:
        connection.execute(f"create view known as select delivery_id from ({ids})")
        for day, some in by_date(parts, "events").items():
            events = store.rows(some, EVENTS.names)
            columns = ", ".join(EVENTS.names)
            rows = connection.sql(f"select {columns} from ({events}) anti join known using (delivery_id)")
            table = rows.to_arrow_table().cast(EVENTS)
            if table.num_rows:
                shadow.commit(add=[shadow.write("events", day, f"{name}-kept", table)])


def _batches(store: Store, parts: list[Part]) -> Iterator[list[Delivery]]:
    """All deliveries in order of their dates, many at a time, however small the parts are."""
    batch: list[Delivery] = []
    for part in (part for day in by_date(parts, "deliveries").values() for part in day):
        for some in deliveries_of(store, part):
            batch += some
            if len(batch) >= _BATCH:
                yield batch
                batch = []
    if batch:
        yield batch


def deliveries_of(store: Store, part: Part) -> Iterator[list[Delivery]]:
    """The deliveries of a part, some at a time."""
    for batch in pq.ParquetFile(store.open(part)).iter_batches(_BATCH, columns=DELIVERIES.names):
        yield [Delivery(**row | {"headers": dict(row["headers"])}) for row in batch.to_pylist()]


def _move(shadow: Store, store: Store, part: Part) -> None:
    with store.appearing(part) as unseen:
        (shadow.root / part.path).rename(unseen)


def replay(store: Store, dialects: Mapping[str, str] = NOTHING) -> Contents:
    """Takes up what is in quarantine and understood by now; everything else stays as it is."""
    with store.exclusive():
        for part in [part for part in store.manifest().parts if part.table == "deliveries"]:
            _replay(store, part, dialects)
    return contents(store)


def _replay(store: Store, part: Part, dialects: Mapping[str, str]) -> None:
    quarantined = [d for batch in deliveries_of(store, part) for d in batch if d.error is not None]
    deliveries, events = understand(quarantined, dialects)
    changed = {new.delivery_id: new for old, new in zip(quarantined, deliveries, strict=True) if new != old}
    if not changed:
        return
    name = f"replayed-{store.manifest().version + 1}"
    fresh = write(store, "events", name, unknown(store, store.manifest(), events))
    after = msgspec.structs.replace(part, name=name)
    with store.appearing(after) as unseen, writer(unseen, DELIVERIES) as file:
        for batch in deliveries_of(store, part):
            file.write_table(to_table([changed.get(delivery.delivery_id, delivery) for delivery in batch], DELIVERIES))
    store.commit(add=[after, *fresh], drop=[part])
