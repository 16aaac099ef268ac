"""Upkeep: few parts, pulls of closed dates kept and never believed when their events have changed, nothing too old."""

from datetime import UTC, datetime, timedelta

import pandas as pd
import pyarrow.parquet as pq
import pytest
from makers import NOW, days, envelope, journalled, make_event, make_push

from regstats import compact as compact_module
from regstats import store as store_module
from regstats.check import check
from regstats.compact import HANDFUL, account, compact, gather, merge, sweep, too_many
from regstats.config import Retention
from regstats.parts import Part
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
    pq.write_table(pq.read_table(two_days.url_of(part)).slice(0, 0), two_days.url_of(part))
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
    assert [pd.Timestamp(2026, 11, 23)] == list(Stats(store.root).pulls(until="2026-11-24")["period"])


OCTOBER = datetime(2026, 10, 30, 12, tzinfo=UTC)
DERIVED = ["blobs", "changes", "moves", "pulls"]


@pytest.fixture
def two_months(store):
    """A store with two dates of October, on which something happened every hour, and one of November."""
    for at in (OCTOBER, OCTOBER + days(1), OCTOBER + days(2)):
        hours = [at + timedelta(hours=hour) for hour in range(6)]
        pulls = [make_event(at=hour, addr=f"192.0.2.{hour.hour}:1") for hour in hours]
        journalled(store, envelope(*pulls, *(make_push(at=hour, digest=f"sha256:{hour:%d%H}") for hour in hours)))
    seal(store)
    return store


def derived_files(store):
    """The parts of what is derived, which are there, as they are called but for their names."""
    parts = [part for part in store.manifest().parts if part.table in DERIVED]
    assert all((store.root / part.path).is_file() for part in parts)
    return sorted(part.path.rpartition("/")[0] for part in parts)


def answers(store):
    """What comes of each derived table."""
    stats = Stats(store.root, now=NOW)
    queries = [f"from all_{table} order by all" for table in DERIVED]
    return [stats.sql(query).fetchall() for query in queries], stats.pulls(until="2026-11-02").to_dict("list")


def everywhere(*spans):
    return sorted(f"{table}/{span}" for table in DERIVED for span in spans)


def test_what_is_derived_lies_by_month(two_months):
    """One file for each date of some years would take longer to open than to read. The rows are the same."""
    dates = everywhere("date=2026-10-30", "date=2026-10-31", "date=2026-11-01")
    before = answers(two_months)
    assert 12 * 3 == sum(map(len, (before[0][1], before[0][3])))
    compact(two_months, NOW, closed=False)
    assert (dates, before) == (derived_files(two_months), answers(two_months))
    assert 4 == compact(two_months, NOW).gathered
    assert everywhere("month=2026-10", "month=2026-11") == derived_files(two_months)
    assert before == answers(two_months)
    assert (0, []) == (compact(two_months, NOW).gathered, check(two_months, NOW, deep=True))


@pytest.mark.parametrize(
    ("now", "dates"),
    [(datetime(2026, 11, 1, 2, 59, tzinfo=UTC), [30]), (datetime(2026, 11, 1, 3, tzinfo=UTC), [30, 31])],
)
def test_a_month_that_is_not_over_grows_by_each_date_that_is_closed(two_months, now, dates):
    """So whoever asks for some days near the end of it opens one file, and not one for each."""
    before = answers(two_months)
    compact(two_months, now)
    assert everywhere("month=2026-10") == derived_files(two_months)
    assert {dates[-1]} == {p.contents[-1].date.day for p in two_months.manifest().parts if p.table in DERIVED}
    assert (before, []) == (answers(two_months), check(two_months, now, deep=True))


@pytest.mark.parametrize("day", [30, 31])
@pytest.mark.parametrize("sealed", [True, False])
def test_late_events_of_a_month_that_lies_in_one_part(two_months, day, sealed):
    """They are counted at once; the date gets a part of its own, the others are still read from the month's."""
    compact(two_months, NOW)
    at = datetime(2026, 10, day, 20, tzinfo=UTC)
    journalled(two_months, envelope(make_event(id="late", at=at, addr="192.0.2.9:1"), make_push(id="new", at=at)))
    if sealed:
        seal(two_months)
    expected = answers(two_months)
    assert [7 if day == 30 else 6, 7 if day == 31 else 6, 6] == expected[1]["pulls"]
    seal(two_months)
    compact(two_months, NOW, closed=False)
    assert {f"pulls/date=2026-10-{day}", "pulls/month=2026-10"} < set(derived_files(two_months))
    assert (expected, []) == (answers(two_months), check(two_months, NOW, deep=True))
    compact(two_months, NOW)
    assert everywhere("month=2026-10", "month=2026-11") == derived_files(two_months)
    assert (expected, []) == (answers(two_months), check(two_months, NOW, deep=True))


def test_a_month_is_gathered_when_all_of_it_is_accounted_for(two_months):
    """A late event that is sealed between the two steps waits for the next time."""
    account(two_months, NOW)
    journalled(two_months, envelope(make_event(id="late", at=OCTOBER, addr="192.0.2.9:1")))
    seal(two_months)
    expected = answers(two_months)
    assert 0 == gather(two_months, NOW)
    compact(two_months, NOW)
    assert expected == answers(two_months)
    assert everywhere("month=2026-10", "month=2026-11") == derived_files(two_months)


def test_retention_of_a_part_of_a_month(two_months):
    """What is derived from dates that are too old goes from the month's part, too."""
    compact(two_months, NOW)
    compact(two_months, datetime(2026, 11, 2, 12, tzinfo=UTC), Retention(events="2d"))
    assert everywhere("month=2026-10", "month=2026-11") == derived_files(two_months)
    part = next(part for part in two_months.manifest().parts if part.table == "pulls")
    assert {(OCTOBER + days(1)).date()} == set(pq.read_table(two_months.url_of(part))["date"].to_pylist())
    assert [6, 6] == answers(two_months)[1]["pulls"]
    compact(two_months, datetime(2026, 11, 3, 12, tzinfo=UTC), Retention(events="2d"))
    assert everywhere("month=2026-11") == derived_files(two_months)


def updates(store):
    """Of each day up to yesterday: how many, by whoever reads now."""
    return list(Stats(store.root, now=NOW).pushes(since="2026-11-21", until="2026-11-24")["updates"])


@pytest.mark.parametrize("sealed", [True, False])
def test_a_late_push_changes_what_came_after_it(store, sealed):
    """What a tag pointed to before is kept with its moves, date after date; all from the late one on are made again."""
    for age, digest in ((3, "sha256:a"), (1, "sha256:a")):
        journalled(store, envelope(make_push(at=NOW - days(age), digest=digest)))
    journalled(store, envelope(make_event(at=NOW - days(2))))
    seal(store)
    account(store, NOW)
    kept_moves = [part.path for part in store.manifest().parts if part.table == "moves"]
    assert (3, [1, 0, 0]) == (len(kept_moves), updates(store))
    journalled(store, envelope(make_push(at=NOW - days(2), digest="sha256:b")))
    if sealed:
        seal(store)
    assert [1, 1, 1] == updates(store)
    seal(store)
    account(store, NOW)
    assert [1, 1, 1] == updates(store)
    after = [part.path for part in store.manifest().parts if part.table == "moves"]
    assert (kept_moves[:1], []) == (after[:1], sorted(set(kept_moves[1:]) & set(after[1:])))
    assert [] == check(store, NOW, deep=True)


def part(rows, name="part"):
    return Part("events", NOW.date(), f"{name}-{rows}", rows)


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([1] * HANDFUL, []),
        ([5] * (HANDFUL + 1), [5] * (HANDFUL + 1)),
        ([1_000_000, *[5] * HANDFUL], [5] * HANDFUL),  # the large one is not written again for a few rows
        ([9**number for number in range(HANDFUL + 1)], [1, 9]),  # but one less it must become
    ],
)
def test_which_parts_are_merged(rows, expected):
    """The small ones, when there are too many."""
    assert expected == [part.rows for part in too_many(map(part, rows))]


def test_a_row_is_not_written_again_and_again():
    """Over a day of a seal every five seconds: few parts at any time, each row written some ten times."""
    parts, written, seals = [], 0, 24 * 3600 // 5
    for number in range(seals):
        parts.append(part(100, name=str(number)))
        while chosen := too_many(parts):
            parts = [*(p for p in parts if p not in chosen), part(sum(p.rows for p in chosen), name=f"m{number}")]
            written += parts[-1].rows
        assert len(parts) <= HANDFUL
    assert seals * 100 == sum(p.rows for p in parts)
    assert written / (seals * 100) < 12


def files(store, table):
    return sorted(path.name for path in store.root.glob(f"{table}/date=*/*.parquet"))


def event_ids(store, text="from events"):
    return [row[0] for row in Stats(store.root).sql(f"select event_id {text} order by 1").fetchall()]


@pytest.fixture
def many_parts(store):
    """A closed date and an open one, of twelve parts each."""
    for number in range(12):
        for age in (0, 2):
            at = NOW - days(age)
            event = make_event(id=f"{age}-{number:02}", at=at, repository=f"team/{number % 3}")
            journalled(store, envelope(event), received_at=at)
        seal(store)
    return store


def test_merging_while_events_flow(many_parts):
    """Closed dates get one part, open ones keep a handful, and nothing is lost or twice."""
    expected = event_ids(many_parts)
    assert 0 < merge(many_parts, NOW, closed=False)
    assert expected == event_ids(many_parts)
    merge(many_parts, NOW)
    assert expected == event_ids(many_parts)
    for table in ("events", "deliveries"):
        counts = [p.date for p in many_parts.manifest().parts if p.table == table]
        assert 1 == counts.count((NOW - days(2)).date())
        assert 1 <= counts.count(NOW.date()) <= HANDFUL
    assert 0 == merge(many_parts, NOW)


def test_the_few_parts_of_an_open_date_are_left_alone(store):
    """More will come, and what is merged now would be merged again."""
    for number in range(3):
        journalled(store, envelope(make_event(id=str(number))))
        seal(store)
    assert 0 == merge(store, NOW)
    assert 4 == merge(store, NOW + days(2))


def test_a_merged_part_is_in_the_order_that_is_read_fastest(many_parts):
    """Events by repository, tag and time; in Parquet that every engine reads."""
    merge(many_parts, NOW)
    (merged,) = [p for p in many_parts.manifest().parts if p.table == "events" and p.date == (NOW - days(2)).date()]
    table = pq.read_table(many_parts.url_of(merged), partitioning=None)
    keys = list(zip(table["repository"].to_pylist(), table["timestamp"].to_pylist(), strict=True))
    assert sorted(keys) == keys
    assert "ZSTD" == pq.ParquetFile(many_parts.url_of(merged)).metadata.row_group(0).column(0).compression


def test_merging_does_not_put_pulls_out_of_date(many_parts):
    """They are made from the same events."""
    assert 1 == account(many_parts, NOW)
    merge(many_parts, NOW)
    assert 0 == account(many_parts, NOW)


def test_what_was_merged_goes_when_no_reader_can_be_at_it(many_parts, monkeypatch):
    """Until then a reader that has just looked goes on; afterwards plain Parquet has each event once."""
    relation = Stats(many_parts.root).sql("select count(*) from events")
    before = files(many_parts, "events")
    merge(many_parts, NOW)
    sweep(many_parts)
    assert set(before) < set(files(many_parts, "events"))
    assert [(24,)] == relation.fetchall()
    monkeypatch.setattr(store_module, "utc_now", lambda: NOW + days(3650))
    monkeypatch.setattr(compact_module, "utc_now", lambda: NOW + days(3650))
    sweep(many_parts)
    assert event_ids(many_parts) == event_ids(many_parts, f"from '{many_parts.root}/events/date=*/*.parquet'")


def test_retention(many_parts):
    """Whole dates go, what is derived with its events, and never without being asked."""
    compact(many_parts, NOW)
    everything = many_parts.manifest().parts
    assert 0 == compact(many_parts, NOW, Retention(deliveries="2d", events="2d")).expired
    assert everything == many_parts.manifest().parts
    assert 1 == compact(many_parts, NOW, Retention(deliveries="1d")).expired
    assert ["blobs", "changes", "events", "moves", "pulls"] == [
        p.table for p in many_parts.manifest().parts if p.contents[0].date == (NOW - days(2)).date()
    ]
    assert 5 == compact(many_parts, NOW, Retention(events="1d")).expired
    assert {NOW.date()} == {p.date for p in many_parts.manifest().parts}


@pytest.mark.parametrize("now", [NOW, NOW + days(30)])
@pytest.mark.parametrize("table", ["events", "deliveries", "pulls", "changes", "moves", "blobs"])
def test_what_a_crash_left_behind_is_removed(many_parts, table, now):
    """Unfinished files, and parts that never came to count."""
    compact(many_parts, now)
    (whole, *_) = [p for p in many_parts.manifest().parts if p.table == table]
    left = (many_parts.root / whole.path).with_name("left.parquet")
    left.write_bytes((many_parts.root / whole.path).read_bytes())
    left.with_suffix(".tmp").write_bytes(b"half")
    (many_parts.root / "tmp/rebuilt-3/events").mkdir(parents=True)
    assert 3 == sweep(many_parts)
    assert not left.exists()
    assert [] == list((many_parts.root / "tmp").iterdir())
    assert 24 == len(event_ids(many_parts))


def test_a_part_with_rows_of_its_own_is_not_removed(many_parts):
    """Somebody put an old manifest back: it may be the only copy."""
    with many_parts.exclusive():
        many_parts.write("events", NOW.date(), "unknown", pq.read_table(
            many_parts.url_of(many_parts.manifest().parts[-1]), partitioning=None
        ).set_column(0, "event_id", [["nowhere else"]]))  # fmt: skip
    assert 0 == sweep(many_parts)
    assert "unknown.parquet" in files(many_parts, "events")
