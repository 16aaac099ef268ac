"""Promises 1 to 6: whatever work on the store is killed, at whatever step, nothing is lost and nothing counts twice."""

import json
import shutil

import pytest
from faults import Killed, at_every_step, disk_full
from makers import NOW, days, envelope, journalled, make_event, make_push

from regstats import payloads
from regstats import store as store_module
from regstats.check import check
from regstats.compact import compact
from regstats.config import Retention
from regstats.payloads import distribution
from regstats.payloads.dialect import Dialect
from regstats.rebuild import rebuild, replay
from regstats.sealing import seal
from regstats.stats import Stats
from regstats.store import Store

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_database")]

UNKNOWN = b'{"not": "known yet"}'


@pytest.fixture
def copies(tmp_path):
    """Stores with ten parts of a closed date and of an open one, repetitions, a delivery nobody understands."""
    original = sealed_and_not(Store(tmp_path / "original", create=True))
    return lambda step: Store(shutil.copytree(original.root, tmp_path / str(step)))


def sealed_and_not(store):
    for number in range(10):
        events = [make_event(id=f"{number}-{age}", at=NOW - days(age)) for age in (0, 2)]
        journalled(store, *map(envelope, events), envelope(make_push(id="again", at=NOW)))
        seal(store)
    journalled(store, UNKNOWN, envelope(make_event(id="late", at=NOW - days(2))))
    seal(store)
    journalled(store, envelope(make_event(id="new")), envelope(make_push(id="again", at=NOW)), b"garbage")
    return store


EVENT_IDS = sorted([f"{number}-{age}" for number in range(10) for age in (0, 2)] + ["again", "late", "new"])
DELIVERIES = 10 * 3 + 2 + 3


def counted(store):
    """What a reader sees: the events, and how many deliveries."""
    stats = Stats(store.root)
    ids = [row[0] for row in stats.sql("select event_id from events order by 1").fetchall()]
    return ids, stats.sql("select count(*) from deliveries").fetchall()[0][0]


def globbed(store):
    """What anybody sees who just reads the files."""
    stats = Stats(store.root)
    return tuple(
        sorted(row[0] for row in stats.sql(f"select {key} from '{store.root}/{table}/date=*/*.parquet'").fetchall())
        for table, key in (("events", "event_id"), ("deliveries", "delivery_id"))
    )


def files(store):
    return sorted(str(path.relative_to(store.root)) for path in store.root.rglob("*") if path.is_file())


def is_well(store, monkeypatch):
    """What the collector does next puts everything in order, and nothing remains of what was interrupted."""
    seal(store)
    compact(store, NOW)
    assert [] == [finding for finding in check(store, NOW, deep=True) if finding.is_problem]
    with monkeypatch.context() as patch:
        patch.setattr(store_module, "utc_now", lambda: NOW + days(3650))
        patch.setattr("regstats.compact.utc_now", lambda: NOW + days(3650))
        compact(store, NOW)
    assert [] == check(store, NOW, deep=True)
    manifest = store.manifest()
    assert sorted([*(part.path for part in manifest.parts), "lock", "manifest.json"]) == files(store)
    assert 1 == len([p for p in manifest.parts if p.table == "events" and p.date == (NOW - days(2)).date()])
    ids, deliveries = globbed(store)
    assert EVENT_IDS == ids
    assert DELIVERIES == len(set(deliveries)) == len(deliveries)


WORK = {
    "seal": seal,
    "compact": lambda store: compact(store, NOW),
    "rebuild": lambda store: rebuild(store, NOW),
    "check --repair": lambda store: check(store, NOW, repair=True, deep=True),
}


@pytest.mark.parametrize("reason", [Killed, disk_full])
@pytest.mark.parametrize("work", WORK)
def test_stopped_at_any_step(copies, monkeypatch, work, reason):
    """Readers see everything in between; then the collector goes on, and all is well."""
    for store in at_every_step(copies, WORK[work], reason, stride=4 if work == "seal" else 12):
        assert (EVENT_IDS, DELIVERIES) == counted(store)
        is_well(store, monkeypatch)


def test_checked_after_a_seal_was_stopped(copies):
    """Parts that do not count yet are no problem, and `--repair` does not take in what is sealed again afterwards."""
    for store in at_every_step(copies, seal, stride=2):
        assert [] == [finding for finding in check(store, NOW) if finding.is_problem]
        check(store, NOW, repair=True)
        seal(store)
        assert (EVENT_IDS, DELIVERIES) == counted(store)
        assert [] == [finding for finding in check(store, NOW, deep=True) if finding.is_problem]


def learnt(payload):
    """A dialect that learns to understand what was not known yet."""
    return distribution.parse(payload._replace(keys={"events": json.dumps([make_event(id="learnt")]).encode()}))


@pytest.mark.parametrize("work", [replay, lambda store: rebuild(store, NOW)])
def test_stopped_while_the_quarantine_is_taken_up(copies, monkeypatch, work):
    """Its events count before or after, never twice."""
    dialect = Dialect("new", "Something new", lambda payload: "not" in payload.keys, learnt)
    monkeypatch.setitem(payloads.DIALECTS, "new", dialect)
    for store in at_every_step(copies, work, stride=8):
        ids, deliveries = counted(store)
        assert DELIVERIES == deliveries
        assert ids in (EVENT_IDS, sorted([*EVENT_IDS, "learnt"]))
        work(store)
        seal(store)
        compact(store, NOW)
        assert (sorted([*EVENT_IDS, "learnt"]), DELIVERIES) == counted(store)
        assert [] == [finding for finding in check(store, NOW, deep=True, repair=True) if finding.is_problem]


def test_stopped_while_old_parts_are_dropped(copies):
    """Retention: a date is there or gone, never half."""
    keep = Retention(deliveries="1d", events="1d")
    for store in at_every_step(copies, lambda store: compact(store, NOW, keep), stride=4):
        ids, _ = counted(store)
        assert ids in (EVENT_IDS, [i for i in EVENT_IDS if not i.endswith("-2") and i != "late"])
