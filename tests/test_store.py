"""Promises 2 to 4: parts appear whole, each event once, whatever is repeated, late, or interrupted."""

import threading
from datetime import UTC, datetime

import pyarrow.parquet as pq
import pytest
from makers import NOW, days, envelope, journalled, make_event

from regstats import journal
from regstats import store as store_module
from regstats.errors import StoreError, StoreNotFoundError
from regstats.journal import segments
from regstats.sealing import Sealed, seal
from regstats.stats import Stats
from regstats.store import Store


def event_ids(store):
    """What the parts hold."""
    return sorted(
        event_id
        for part in store.manifest().parts
        if part.table == "events"
        for event_id in pq.read_table(store.url_of(part))["event_id"].to_pylist()
    )


def counted_ids(store):
    """What a reader sees: parts and journal."""
    return [row[0] for row in Stats(store.root).sql("select event_id from events order by 1").fetchall()]


def files(store, table):
    return sorted(str(path.relative_to(store.root)) for path in store.root.glob(f"{table}/**/*"))


def test_a_seal_moves_the_journal_into_parts(store):
    """Deliveries by the date of receipt, events by their own; the journal is empty after it."""
    journalled(store, envelope(make_event(id="a", at=NOW - days(1)), make_event(id="b")), b"garbage")
    assert Sealed(deliveries=2, events=2, duplicates=0, quarantined=1) == seal(store)
    assert [] == segments(store.journal)
    assert ["a", "b"] == event_ids(store)
    assert [("deliveries", "2026-11-24", 2), ("events", "2026-11-23", 1), ("events", "2026-11-24", 1)] == [
        (part.table, str(part.date), part.rows) for part in store.manifest().parts
    ]


def test_nothing_to_seal_leaves_everything_as_it_is(store):
    """An idle collector writes nothing."""
    assert Sealed() == seal(store)
    assert 0 == store.manifest().version


def test_a_repeated_event_counts_once(store):
    """In one delivery, in one segment, over two seals, and beside what is sealed already."""
    event = make_event(id="same")
    journalled(store, envelope(event, event), envelope(event))
    assert Sealed(deliveries=2, events=1, duplicates=2) == seal(store)
    journalled(store, envelope(event), envelope(make_event(id="new")))
    assert ["new", "same"] == counted_ids(store)
    assert Sealed(deliveries=2, events=1, duplicates=1) == seal(store)
    assert ["new", "same"] == event_ids(store) == counted_ids(store)


def test_a_late_repetition_is_found_beside_its_twin(store):
    """Events lie at their own date, so a repetition weeks later is looked for there."""
    event = make_event(id="late", at=NOW - days(20))
    journalled(store, envelope(event), received_at=NOW - days(20))
    seal(store)
    journalled(store, envelope(event))
    assert Sealed(deliveries=1, events=0, duplicates=1) == seal(store)
    assert ["late"] == counted_ids(store)


def test_a_repetition_without_a_time_is_found_across_midnight(store):
    """Where receipt stands in for the time, the twin may lie at the date before."""
    event = make_event(id="timeless", at="")
    journalled(store, envelope(event), received_at=datetime(2026, 11, 23, 23, 59, 59, tzinfo=UTC))
    seal(store)
    journalled(store, envelope(event), received_at=datetime(2026, 11, 24, 0, 0, 4, tzinfo=UTC))
    assert ["timeless"] == counted_ids(store)
    assert 1 == seal(store).duplicates
    assert ["timeless"] == counted_ids(store)


def test_the_same_id_of_another_source_is_another_event(store):
    """Two registries may give the same id: identity is source and id."""
    writer = journal.Journal(store.journal)
    body = envelope(make_event(id="same"))
    for source in ("one", "two"):
        writer.append([store_module.Delivery(
            received_at=NOW, delivery_id=source, source=source, headers={}, body=body
        )])  # fmt: skip
    writer.rotate()
    assert 2 == seal(store).events


def test_a_torn_line_goes_to_quarantine(store):
    """It was never acknowledged, and is reported all the same."""
    journalled(store, envelope(make_event(id="a")))
    (segment,) = segments(store.journal)
    with segment.open("ab") as file:
        file.write(b'{"received_at":"2026')
    assert Sealed(deliveries=2, events=1, duplicates=0, quarantined=1) == seal(store)
    assert ["a"] == counted_ids(store)


def test_readers_never_see_events_missing_or_twice(store):
    """While one thread acknowledges and another seals, every look shows at least what was acknowledged before it."""
    writer, acknowledged, stop = journal.Journal(store.journal), [], threading.Event()

    def acknowledge():
        for number in range(150):
            body = envelope(make_event(id=f"{number:04}"))
            writer.append([store_module.Delivery(
                received_at=NOW, delivery_id=f"{number}", source="default", headers={}, body=body
            )])  # fmt: skip
            acknowledged.append(number)
        stop.set()

    def keep_sealing():
        while not stop.is_set():
            writer.rotate()
            seal(store)

    threads = [threading.Thread(target=acknowledge), threading.Thread(target=keep_sealing)]
    for thread in threads:
        thread.start()
    stats, looks = Stats(store.root), 0
    while not stop.is_set():
        before = len(acknowledged)
        ids = [row[0] for row in stats.sql("select event_id from events").fetchall()]
        assert len(set(ids)) == len(ids)
        assert before <= len(ids)
        looks += 1
    for thread in threads:
        thread.join()
    assert looks
    assert [f"{number:04}" for number in range(150)] == counted_ids(store)


@pytest.mark.parametrize("moment", ["segments", "read"])
def test_a_seal_in_the_middle_of_a_look(store, monkeypatch, moment):
    """Between reading the manifest and reading the journal everything moves: the look starts again."""
    journalled(store, envelope(make_event(id="a")))
    original = getattr(journal, moment)

    def sealing_first(*arguments, **options):
        monkeypatch.undo()
        seal(store)
        return original(*arguments, **options)

    monkeypatch.setattr(journal, moment, sealing_first)
    assert ["a"] == counted_ids(store)
    assert [] == segments(store.journal)


def test_a_reader_needs_no_write_access(store):
    """A copy on read-only media, or another user's store."""
    journalled(store, envelope(make_event(id="a")))
    seal(store)
    journalled(store, envelope(make_event(id="b")))
    before = sorted(store.root.rglob("*"))
    (store.root / "lock").unlink()
    assert ["a", "b"] == counted_ids(store)
    assert [path for path in before if path.name != "lock"] == sorted(store.root.rglob("*"))


def test_odd_names_of_directories(tmp_path):
    """Quotes, glob characters, and `key=value`, which would be taken for a column."""
    store = Store(tmp_path / "it's [a] * store?" / "env=prod", create=True)
    journalled(store, envelope(make_event(id="a")))
    seal(store)
    assert ["a"] == counted_ids(store)
    assert "env" not in Stats(store.root).sql("from events").columns


def test_a_store_that_is_not_there(tmp_path):
    """The message says how to get one."""
    with pytest.raises(StoreNotFoundError, match=r"no store at .*nosuch\. Start a collector with `regstats serve"):
        Store(tmp_path / "nosuch")


def test_a_damaged_manifest_is_named(store):
    """Not guessed at: another reader may still have the parts it named."""
    (store.root / "manifest.json").write_text("{")
    with pytest.raises(StoreError, match=r"manifest\.json is damaged"):
        store.manifest()


def test_a_place_that_cannot_be_a_store(tmp_path):
    """A file is in the way."""
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match=r"Cannot create the store at .*: Not a directory"):
        Store(tmp_path / "file" / "store", create=True)
