"""`regstats check` finds what is broken, says what makes it right, and does so."""

import shutil

import pandas as pd
import pyarrow.parquet as pq
import pytest
from makers import NOW, days, envelope, journalled, make_event, make_push

from regstats.check import check
from regstats.compact import compact
from regstats.sealing import seal
from regstats.stats import Stats
from regstats.store import Store

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_database")]

EVENT_IDS = ["a", "b", "c", "d"]


@pytest.fixture
def sound(store):
    """A store of two dates, one of them closed and accounted for, with a delivery nobody understands."""
    journalled(store, envelope(make_event(id="a", at=NOW - days(2))), envelope(make_push(id="b", at=NOW - days(2))))
    journalled(store, envelope(make_event(id="c")), envelope(make_event(id="d")), b"garbage")
    seal(store)
    compact(store, NOW, closed=False)
    assert [] == check(store, NOW, deep=True)
    return store


def part_of(store, table, at=0):
    return [part for part in store.manifest().parts if part.table == table][at]


def counted(store):
    stats = Stats(store.root)
    ids = [row[0] for row in stats.sql("select event_id from events order by 1").fetchall()]
    return ids, stats.sql("select count(*) from deliveries").fetchall()[0][0], int(stats.pulls()["pulls"].sum())


WELL = (EVENT_IDS, 5, 2)  # the two of today are one after the other by the same client, without a HEAD: two pulls


def finds(store, what, where, *, deep=False, problem=True):
    """That it is found, that a second look finds it still, and that a repair is what it takes."""
    for _ in range(2):
        found = check(store, NOW, deep=deep)
        assert [(what in finding.what, finding.is_problem) for finding in found if where in finding.where] != []
        assert any(what in finding.what and finding.is_problem is problem for finding in found), found
    assert all(finding.is_repaired for finding in check(store, NOW, repair=True, deep=deep))
    seal(store)
    compact(store, NOW)
    assert [] == check(store, NOW, deep=True)


def test_an_empty_store_is_well(store):
    """Nothing was sealed yet."""
    assert [] == check(store, NOW, deep=True)


def test_a_manifest_that_cannot_be_read(sound):
    """It is made anew of the parts that are there; the old one is kept."""
    (sound.root / "manifest.json").write_text('{"version": 1, "parts": [')
    finds(sound, "is damaged", "manifest.json")
    assert counted(sound)[:2] == WELL[:2]
    (kept,) = (sound.root / "damaged").iterdir()
    assert '{"version": 1, "parts": [' == kept.read_text()


def test_a_manifest_that_is_gone(sound):
    """All parts look like left over ones, and hold what is nowhere else."""
    (sound.root / "manifest.json").unlink()
    finds(sound, "holds rows that are nowhere else", "events/")
    assert WELL == counted(sound)


def test_a_manifest_that_is_older_than_its_parts(sound):
    """A backup of the one with the other: nothing that came later is lost."""
    old = (sound.root / "manifest.json").read_bytes()
    journalled(sound, envelope(make_event(id="e")))
    seal(sound)
    (sound.root / "manifest.json").write_bytes(old)
    assert EVENT_IDS == counted(sound)[0]
    finds(sound, "holds rows that are nowhere else", "events/")
    assert [*EVENT_IDS, "e"] == counted(sound)[0]


@pytest.mark.parametrize("harm", [lambda path: path.unlink(), lambda path: path.write_bytes(path.read_bytes()[:-9])])
def test_events_that_are_gone_come_back_from_the_deliveries(sound, harm):
    """Whether the file is missing or cut off."""
    part = part_of(sound, "events")
    harm(sound.root / part.path)
    finds(sound, "Cannot be read", part.path)
    assert WELL == counted(sound)


def test_a_bit_that_flipped(sound):
    """In the data, where a reader would not see it at once."""
    path = sound.root / part_of(sound, "events").path
    data = bytearray(path.read_bytes())
    data[len(data) // 4] ^= 0xFF
    path.write_bytes(data)
    if check(sound, NOW):
        assert all(finding.is_repaired for finding in check(sound, NOW, repair=True))
        assert WELL == counted(sound)


def test_deliveries_that_are_gone_are_told_and_their_events_stay(sound):
    """Nothing brings them back; a rebuild does not lose their events."""
    part = part_of(sound, "deliveries")
    (sound.root / part.path).unlink()
    finds(sound, "Cannot be read", part.path)
    assert (EVENT_IDS, 5 - part.rows) == counted(sound)[:2]


def test_rows_that_the_manifest_does_not_know(sound):
    """A part that was replaced by another under its name."""
    part = part_of(sound, "events", -1)
    table = pq.read_table(sound.url_of(part), partitioning=None)
    pq.write_table(table.slice(0, 1), sound.url_of(part))
    finds(sound, "Holds 1 rows", part.path, deep=True)
    assert WELL == counted(sound)


@pytest.mark.parametrize("table", ["events", "deliveries"])
def test_what_is_there_twice(sound, table):
    """Counted once again afterwards."""
    part = part_of(sound, table)
    rows = pq.read_table(sound.url_of(part), partitioning=None)
    with sound.exclusive():
        sound.commit(add=[sound.write(table, part.date, "copy", rows)])
    assert WELL != counted(sound)
    finds(sound, f"{part.rows} {table} are there twice", f"{table}/date={part.date}")
    assert WELL == counted(sound)


def test_an_event_at_two_dates(sound):
    """It stays where it was first."""
    part = part_of(sound, "events")
    rows = pq.read_table(sound.url_of(part), partitioning=None)
    with sound.exclusive():
        sound.commit(add=[sound.write("events", part.date + days(1), "copy", rows)])
    finds(sound, "are there twice", f"events/date={part.date + days(1)}")
    assert EVENT_IDS == counted(sound)[0]


def test_events_that_were_never_made(sound):
    """Only a deep check looks for them."""
    part = part_of(sound, "events")
    with sound.exclusive():
        sound.commit(drop=[part])
    shutil.rmtree((sound.root / part.path).parent)
    assert not any(finding.is_problem for finding in check(sound, NOW))
    finds(sound, "events of its deliveries are not there", "deliveries/", deep=True)
    assert WELL == counted(sound)


@pytest.mark.parametrize("by_month", [False, True])
@pytest.mark.parametrize(
    ("table", "column", "value", "source"),
    [
        ("pulls", "requests", 7, "events"),
        ("changes", "action", "delete", "events"),
        ("moves", "before", "sha256:b", "changes"),
    ],
)
def test_what_is_derived_and_wrong(sound, table, column, value, source, by_month):
    """Only a deep check makes it again."""
    if by_month:
        compact(sound, NOW + days(30))
    part, numbers = part_of(sound, table), Stats(sound.root, now=NOW).pushes()
    rows = pq.read_table(sound.url_of(part), partitioning=None)
    field = rows.schema.get_field_index(column)
    pq.write_table(rows.set_column(field, rows.schema.field(column), [[value] * rows.num_rows]), sound.url_of(part))
    assert by_month is bool(part.days)
    assert [] == check(sound, NOW)
    finds(sound, f"Its {table} are not those of the {source}", part.path, deep=True)
    assert WELL == counted(sound)
    pd.testing.assert_frame_equal(numbers, Stats(sound.root, now=NOW).pushes())


def test_what_a_crash_left_behind_is_no_problem(sound):
    """It is removed by whoever comes next."""
    part = part_of(sound, "events")
    copy = sound.root / f"events/date={part.date}/left.parquet"
    shutil.copy(sound.url_of(part), copy)
    copy.with_suffix(".tmp").write_bytes(b"half")
    assert 2 == len([finding for finding in check(sound, NOW) if not finding.is_problem])
    finds(sound, "Was not finished", "left.tmp", problem=False)
    assert not copy.exists()
    assert WELL == counted(sound)


def test_other_files_are_left_alone(sound):
    """What is not ours is not ours to judge."""
    for name in (
        "notes.txt",
        "events/readme.parquet",
        "events/date=today/x.parquet",
        "damaged/date=2026-11-24/x.parquet",
    ):
        (sound.root / name).parent.mkdir(parents=True, exist_ok=True)
        (sound.root / name).write_text("mine")
    assert [] == check(sound, NOW, repair=True)
    compact(sound, NOW)
    assert "mine" == (sound.root / "events/date=today/x.parquet").read_text()


def test_torn_lines_are_told(sound):
    """They were never acknowledged."""
    journalled(sound, envelope(make_event(id="e")))
    (segment,) = sound.journal.iterdir()
    with segment.open("ab") as file:
        file.write(b'{"received')
    (finding,) = check(sound, NOW)
    assert ("1 lines are torn; they were never acknowledged.", False) == (finding.what, finding.is_problem)


def test_a_store_that_cannot_be_written_is_checked_all_the_same(sound, monkeypatch):
    """A copy on read-only media has no writer to be kept out."""
    monkeypatch.setattr("os.access", lambda *_: False)
    monkeypatch.setattr(Store, "exclusive", lambda _: 1 / 0)
    assert [] == check(sound, NOW, deep=True)
