"""Two stores become one."""

import pytest
from makers import NOW, days, envelope, fill, journalled, make_event, make_push

from regstats.check import check
from regstats.compact import compact
from regstats.config import NOBODY
from regstats.errors import InputError
from regstats.importer import Imported
from regstats.merging import import_store, is_store
from regstats.sealing import seal
from regstats.stats import Stats
from regstats.store import Store


@pytest.fixture
def other(tmp_path):
    """A store of which something is sealed, something merged, and something not sealed yet."""
    store = Store(tmp_path / "other", create=True)
    fill(store)
    seal(store)
    compact(store, NOW)
    journalled(store, envelope(make_event(id="unsealed", at=NOW - days(1))), source="lab")
    return store


def everything(store):
    """All deliveries and events of a store."""
    stats = Stats(store.root, exclude=NOBODY)
    tables = ("deliveries", "events")
    return [stats.sql(f"select * exclude (us) from {table}").to_arrow_table().to_pylist() for table in tables]


def ordered(rows):
    return sorted(rows, key=str)


@pytest.mark.parametrize("is_sealed", [True, False])
def test_all_of_both_is_there_once(store, other, is_sealed):
    """Whatever the one has and the other, and what both have."""
    both = envelope(make_push(id="both", at=NOW - days(3)))
    for one in (store, other):
        journalled(one, both)
    journalled(store, envelope(make_event(id="mine", at=NOW - days(2), repository="mine")))
    if is_sealed:
        seal(other)
    mine, theirs = everything(store), everything(other)
    done = import_store(other.root, store, None)
    assert Imported(len(theirs[0]), 0, len(theirs[1]) - 1, 1, 0) == done
    deliveries, events = everything(store)
    assert ordered(mine[0] + theirs[0]) == ordered(deliveries)
    assert ordered(mine[1] + [event for event in theirs[1] if event["event_id"] != "both"]) == ordered(events)
    assert theirs == everything(other)
    compact(store, NOW)
    assert [] == [finding for finding in check(store, NOW, deep=True) if finding.is_problem]


def test_once_more_changes_nothing(store, other):
    """Nor after both were put in order; what has come meanwhile comes in."""
    import_store(other.root, store, None)
    before = everything(store)
    compact(store, NOW)
    done = import_store(other.root, store, None)
    assert (0, 0) == (done.deliveries, done.events)
    assert [ordered(rows) for rows in before] == [ordered(rows) for rows in everything(store)]
    journalled(other, envelope(make_event(id="new")))
    assert Imported(1, done.known, 1, done.duplicates, 0) == import_store(other.root, store, None)


def test_an_event_whose_time_is_that_of_receipt(store, other):
    """It may have come to the one a day before it came to the other."""
    journalled(store, envelope(make_event(id="when", at=None)), received_at=NOW - days(1))
    journalled(other, envelope(make_event(id="when", at=None)), received_at=NOW)
    before = len(everything(store)[1])
    import_store(other.root, store, None)
    found = Stats(store.root).sql("select count(*) from events where event_id = 'when'").fetchall()
    assert (1, [(1,)]) == (before, found)


def test_under_another_name(store, other):
    """Of the source: two registries that both were `default`."""
    journalled(store, envelope(make_event(id="unsealed")))
    import_store(other.root, store, "theirs")
    sources = dict(Stats(store.root).sql("select source, count(*) from events group by all").fetchall())
    assert {"default": 1, "theirs": len(everything(other)[1])} == sources


def test_what_is_no_other_store(store, tmp_path):
    """Is told apart from a directory of logs, and from itself."""
    assert is_store(store.root) is False  # nothing is in it
    journalled(store, envelope(make_event()))
    assert is_store(store.root)
    assert not is_store(tmp_path)
    with pytest.raises(InputError, match="is the store itself"):
        import_store(store.root, store, None)
