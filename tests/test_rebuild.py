"""All that is derived can be made again from the deliveries, with identical numbers."""

import json

import pandas as pd
import pytest
from makers import NOW, days, envelope, journalled, make_event, make_push

from regstats import payloads
from regstats.check import check
from regstats.compact import account, compact
from regstats.config import Retention
from regstats.metrics import METRICS
from regstats.payloads import distribution
from regstats.payloads.dialect import Dialect
from regstats.rebuild import Contents, contents, rebuild, replay
from regstats.sealing import seal
from regstats.stats import Stats

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_database")]


@pytest.fixture
def varied(store):
    """Many parts of several dates; repetitions near and far; what is not understood, or only in part."""
    again = make_push(id="again", at=NOW - days(3))
    timeless = envelope(make_event(id="timeless", at=""))
    for age in (3, 2, 1, 0):
        received_at = NOW - days(age)
        events = [make_event(at=received_at, repository=f"team/{number}") for number in range(5)]
        half = json.dumps({"events": [make_event(at=received_at), {"id": "no target"}]}).encode()
        journalled(store, *map(envelope, events), envelope(again), half, b"garbage", received_at=received_at)
        seal(store)
        if age < 2:
            journalled(store, timeless, received_at=received_at)
            seal(store)
    return store


def numbers(store):
    stats = Stats(store.root, now=NOW)
    return {metric: getattr(stats, metric)() for metric in METRICS}


def everything(store):
    """Every row of events and deliveries."""
    stats = Stats(store.root)
    names = "source, event_id, timestamp, received_at, delivery_id, repository, tag, action, kind, digest"
    return (
        stats.sql(f"select {names} from events order by all").fetchall(),
        stats.sql("select delivery_id, received_at, error, event_count, body from deliveries order by all").fetchall(),
    )


def assert_same(expected, actual):
    for metric in METRICS:
        pd.testing.assert_frame_equal(expected[metric], actual[metric])


def test_a_rebuild_gives_identical_numbers(varied):
    """And identical rows; twice; merged or not."""
    before, rows = numbers(varied), everything(varied)
    for _ in range(2):
        assert Contents(4 * 8 + 2, 4 * 6 + 2, 8) == rebuild(varied, NOW) == contents(varied)
        assert_same(before, numbers(varied))
        assert rows == everything(varied)
        account(varied, NOW)
        assert_same(before, numbers(varied))
        compact(varied, NOW)
    assert [] == check(varied, NOW, deep=True)


def test_parts_may_be_lost_before_a_rebuild(varied):
    """All events are in the deliveries."""
    before = numbers(varied)
    with varied.exclusive():
        varied.commit(drop=[part for part in varied.manifest().parts if part.table != "deliveries"])
    assert 0 == len(Stats(varied.root).pulls())
    rebuild(varied, NOW)
    assert_same(before, numbers(varied))


def test_events_whose_deliveries_are_not_kept_stay(varied):
    """`[retention] deliveries` is shorter than `events`: a rebuild must not be the end of them."""
    rows, _ = everything(varied)
    compact(varied, NOW, Retention(deliveries="1d"))
    assert 2 * 8 + 2 == contents(varied).deliveries
    rebuild(varied, NOW)
    assert rows == everything(varied)[0]
    assert [] == [finding for finding in check(varied, NOW, deep=True) if finding.is_problem]


def test_what_is_unsealed_is_sealed_after_a_rebuild(varied):
    """And a repetition of what was rebuilt is known."""
    journalled(varied, envelope(make_push(id="again", at=NOW - days(3))), envelope(make_event(id="new")))
    expected = len(everything(varied)[0])
    rebuild(varied, NOW)
    assert expected == len(everything(varied)[0])
    assert 1 == seal(varied).events
    assert expected == len(everything(varied)[0])


def learnt(payload):
    """A dialect for what was garbage until now."""
    number = int(payload.keys["secret"])
    events = json.dumps([make_event(id=f"learnt-{number}", at=NOW - days(5))]).encode()
    return distribution.parse(payload._replace(keys={"events": events}))


@pytest.mark.parametrize("work", [replay, lambda store: rebuild(store, NOW)])
def test_what_is_understood_by_now_leaves_the_quarantine(varied, monkeypatch, work):
    """Its events count, at their own date; the rest stays in quarantine."""
    journalled(varied, *(b'{"secret": %d}' % (number // 2) for number in range(4)), received_at=NOW - days(1))
    seal(varied)
    before = contents(varied)
    assert before == work(varied)
    dialect = Dialect("learnt", "Something new", lambda payload: "secret" in payload.keys, learnt)
    monkeypatch.setitem(payloads.DIALECTS, "learnt", dialect)
    after = work(varied)
    assert (before.deliveries, before.events + 2, before.quarantined - 4) == tuple(after)
    assert 2 == len(Stats(varied.root).sql("from events where event_id glob 'learnt-*'").fetchall())
    assert after == work(varied)
    compact(varied, NOW)
    assert [] == [finding for finding in check(varied, NOW, deep=True) if finding.is_problem]


def test_torn_lines_stay_where_they_are(store):
    """They are no deliveries, whatever they look like."""
    journalled(store, envelope(make_event(id="a")))
    (segment,) = store.journal.iterdir()
    with segment.open("ab") as file:
        file.write(envelope(make_event(id="torn")).replace(b"\n", b""))
    seal(store)
    assert Contents(2, 1, 1) == replay(store) == rebuild(store, NOW)


def test_an_empty_store(store):
    """Nothing to do."""
    assert Contents(0, 0, 0) == rebuild(store, NOW) == replay(store)


def test_readers_see_the_old_numbers_until_all_is_done(varied, monkeypatch):
    """And have the old files for a while."""
    reader = Stats(varied.root)
    expected = len(everything(varied)[0])
    original = type(varied).commit

    def looking_first(self, **changes):
        assert expected == len(reader.sql("from events").fetchall())
        original(self, **changes)

    monkeypatch.setattr(type(varied), "commit", looking_first)
    relation = reader.sql("select count(*) from events")
    rebuild(varied, NOW)
    assert [(expected,)] == relation.fetchall()
    assert expected == len(reader.sql("from events").fetchall())


@pytest.mark.parametrize("work", [replay, lambda store, dialects: rebuild(store, NOW, dialects)])
def test_a_dialect_that_was_fixed_afterwards(store, work):
    """What its source sent before is taken up with it, and says so itself from then on; no other source is."""
    shortened = b'{"detail": {"repository-name": "team/app", "image-tag": "1.0", "action-type": "PUSH"}}'
    journalled(store, shortened, source="aws")
    journalled(store, shortened)
    seal(store)
    assert Contents(2, 0, 2) == contents(store)
    assert Contents(2, 1, 1) == work(store, {"aws": "ecr"})
    assert [("aws", "ecr", "push")] == Stats(store.root).sql("select source, dialect, action from events").fetchall()
    assert [] == [finding for finding in check(store, NOW, deep=True) if finding.is_problem]
    assert Contents(2, 1, 1) == replay(store)
