"""Pulls of closed dates are kept, once, and never believed when their events have changed."""

from datetime import UTC, datetime, timedelta

import pandas as pd
import pyarrow.parquet as pq
import pytest
from makers import NOW, days, envelope, journalled, make_event

from regstats import store as store_module
from regstats.compact import account
from regstats.sealing import seal
from regstats.stats import Stats

pytestmark = pytest.mark.slow

TODAY, YESTERDAY = "2026-11-24", "2026-11-23"


@pytest.fixture
def two_days(store):
    """A store with a pull of today and one of yesterday."""
    journalled(store, envelope(make_event(at=NOW)), envelope(make_event(at=NOW - days(1))))
    seal(store)
    return store


def kept(store):
    """The dates for which pulls are kept, in files that are there."""
    parts = [part for part in store.manifest().parts if part.table == "pulls"]
    assert all((store.root / part.path).is_file() for part in parts)
    return [str(part.date) for part in parts]


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        (datetime(2026, 11, 24, 2, 59, tzinfo=UTC), []),
        (datetime(2026, 11, 24, 3, 1, tzinfo=UTC), [YESTERDAY]),
        (datetime(2026, 11, 25, 3, 1, tzinfo=UTC), [YESTERDAY, TODAY]),
    ],
)
def test_a_date_is_accounted_for_when_it_is_closed(two_days, now, expected):
    """Three hours after its midnight: nothing that comes in time can change it."""
    assert len(expected) == account(two_days, now)
    assert expected == kept(two_days)
    assert 0 == account(two_days, now)
    assert 2 == Stats(two_days.root).pulls()["pulls"].sum()


def test_what_is_kept_is_read(two_days):
    """Not made again: a part that says something else is believed."""
    account(two_days, NOW)
    (part,) = [part for part in two_days.manifest().parts if part.table == "pulls"]
    pq.write_table(pq.read_table(two_days.path_of(part)).slice(0, 0), two_days.path_of(part))
    assert 1 == Stats(two_days.root).pulls()["pulls"].sum()


@pytest.mark.parametrize("offset", [0, 1, 2, 3])
@pytest.mark.parametrize("sealed", [True, False])
def test_late_events_are_counted_at_once(two_days, offset, sealed):
    """Those of a date or of its neighbours put what was kept out of date; the next time it is made again."""
    account(two_days, NOW + days(9))
    journalled(two_days, envelope(make_event(id="late", at=NOW - days(offset), addr="192.0.2.9:1")))
    if sealed:
        seal(two_days)
    assert 3 == Stats(two_days.root).pulls()["pulls"].sum()
    seal(two_days)
    assert 1 == account(two_days, NOW + days(9))
    assert 3 == Stats(two_days.root).pulls()["pulls"].sum()
    assert 0 == account(two_days, NOW + days(9))


def test_a_part_that_is_out_of_date_goes_when_no_reader_can_be_at_it(two_days, monkeypatch):
    """A reader may have opened the store just before."""
    account(two_days, NOW)
    reader, (old,) = Stats(two_days.root), (two_days.root / "pulls").rglob("*.parquet")
    assert 2 == reader.pulls()["pulls"].sum()
    journalled(two_days, envelope(make_event(id="late", at=NOW - days(1), addr="192.0.2.9:1")))
    seal(two_days)
    account(two_days, NOW)
    assert old.is_file()
    assert [YESTERDAY] == kept(two_days)
    monkeypatch.setattr(store_module, "GRACE", days(0))
    account(two_days, NOW + days(9))
    assert not old.exists()
    assert 3 == Stats(two_days.root).pulls()["pulls"].sum()


@pytest.mark.parametrize("sealed", [True, False])
def test_what_comes_after_midnight_changes_the_day_before(store, sealed):
    """A check of 23:59:50 becomes a pull by the GET of 00:00:05 that comes in late."""
    midnight = datetime(2026, 11, 24, tzinfo=UTC)
    head = make_event(method="HEAD", at=midnight - timedelta(seconds=10))
    get = make_event(tag=None, at=midnight + timedelta(seconds=5))
    journalled(store, envelope(head))
    seal(store)
    assert 1 == account(store, NOW)
    assert [0, 1] == list(Stats(store.root).pulls(interval="total").iloc[0][["pulls", "version_checks"]])
    journalled(store, envelope(get))
    if sealed:
        seal(store)
    assert [1, 0] == list(Stats(store.root).pulls(interval="total").iloc[0][["pulls", "version_checks"]])
    assert [pd.Timestamp(2026, 11, 23)] == list(Stats(store.root).pulls()["period"])
