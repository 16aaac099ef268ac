"""What is due is sent: once for each time, whoever looks, whatever is interrupted."""

import multiprocessing
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from makers import NOW, envelope, journalled, make_event, make_push

from regstats import dispatch as module
from regstats.agenda import Alert, Destination, Reports, Schedule
from regstats.check import check
from regstats.compact import compact
from regstats.config import Settings, Team
from regstats.dispatch import Dispatch
from regstats.outbox import Outbox
from regstats.store import Store

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
DAILY = Schedule(name="daily", cron="0 7 * * *", to=["archive"], window="1d", format="md")
START = datetime(2026, 11, 20, 12, tzinfo=UTC)


class Clock:
    """The present, which tests move."""

    def __init__(self, now=START):
        self.now = now

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def settings(tmp_path):
    def make(*schedules, alerts=(), **destinations):
        known = {"archive": Destination(directory=str(tmp_path / "archive")), **destinations}
        return Settings(destinations=known, report=Reports(schedule=list(schedules)), alert=list(alerts))

    return make


@pytest.fixture
def archive(tmp_path):
    """The names of the files that were delivered, without the links."""
    folder = tmp_path / "archive"
    return lambda: sorted(path.name for path in folder.glob("*") if not path.is_symlink())


def reports(*days):
    return [f"daily-2026-11-{day:02}T0700Z.md" for day in days]


def test_a_new_one_begins_with_the_next_time(store, settings, clock, archive):
    """Nobody wants a report at once because the collector was restarted."""
    one = Dispatch(store, settings(DAILY), clock)
    for hour in range(25):
        clock.now = START + hour * HOUR
        one.tick()
        assert (reports(21) if hour >= 19 else []) == archive()


def test_every_slot_once(store, settings, clock, archive):
    """Also when the process is another one every few hours."""
    for minute in range(0, 4 * 24 * 60, 15):
        clock.now = START + minute * MINUTE
        if not minute % 360:
            one = Dispatch(store, settings(DAILY), clock)
        one.tick()
    assert reports(21, 22, 23, 24) == archive()
    assert 4 == len(Outbox(store.root).log(100))


def test_what_was_missed_is_caught_up_once(store, settings, clock, archive):
    """The last of it, as it would have been then."""
    Dispatch(store, settings(DAILY), clock).tick()
    clock.now = START + 3 * DAY
    one = Dispatch(store, settings(DAILY), clock)
    one.tick()
    one.tick()
    assert reports(23) == archive()


def test_it_is_of_the_time_when_it_was_due(store, settings, clock, tmp_path):
    """However late it is made: the same store, the same report."""
    day = datetime(2026, 11, 21, tzinfo=UTC)
    journalled(store, envelope(make_event(at=day + 6 * HOUR), make_event(at=day + 8 * HOUR)))
    Dispatch(store, settings(DAILY), clock).tick()
    clock.now = day + 9 * HOUR
    Dispatch(store, settings(DAILY), clock).tick()
    text = (tmp_path / "archive" / "daily-latest.md").read_text()
    assert ("1 pulls", "since 2026-11-20 07:00 UTC") == (text[text.index("1 pulls") :][:7], text.splitlines()[2][:26])


def test_another_rule_begins_anew(store, settings, clock, archive):
    """It is not due for a time that has passed by the new rule only."""
    Dispatch(store, settings(DAILY), clock).tick()
    changed = settings(msgspec.structs.replace(DAILY, cron="0 11 * * *"))
    clock.now = datetime(2026, 11, 21, 6, tzinfo=UTC)
    Dispatch(store, changed, clock).tick()
    assert [] == archive()
    clock.now = datetime(2026, 11, 21, 11, tzinfo=UTC)
    Dispatch(store, changed, clock).tick()
    assert ["daily-2026-11-21T1100Z.md"] == archive()


def test_one_that_cannot_be_made_is_in_nobodys_way(store, settings, clock, archive, monkeypatch, caplog):
    """It is tried again after a while, and nothing of it is lost."""
    made, fails = module.messages, True

    def messages(one, *others):
        if fails and one.name == "broken":
            raise MemoryError("so much")
        return made(one, *others)

    monkeypatch.setattr(module, "messages", messages)
    one = Dispatch(store, settings(msgspec.structs.replace(DAILY, name="broken"), DAILY), clock)
    one.tick()
    clock.now = datetime(2026, 11, 21, 7, tzinfo=UTC)
    one.tick()
    one.tick()
    assert (reports(21), 1) == (archive(), caplog.text.count("could not be made"))
    clock.now, fails = clock.now + 5 * MINUTE, False
    one.tick()
    assert ["broken-2026-11-21T0700Z.md", *reports(21)] == archive()


def interrupted(*_):
    raise InterruptedError


@pytest.mark.parametrize("step", ["put", "remember", "_done"])
def test_whatever_is_interrupted(store, settings, clock, archive, monkeypatch, step):
    """It is there in the end, and once."""
    Dispatch(store, settings(DAILY), clock).tick()
    clock.now = datetime(2026, 11, 21, 7, tzinfo=UTC)
    with monkeypatch.context() as patched:
        patched.setattr(Outbox, step, interrupted)
        with suppress(InterruptedError):
            Dispatch(store, settings(DAILY), clock).tick()
    clock.now += 10 * MINUTE
    for _ in range(3):
        Dispatch(store, settings(DAILY), clock).tick()
    assert (reports(21), []) == (archive(), Outbox(store.root).waiting())


def look(root, settings, slots, barrier):
    """What one of several processes does."""
    clock = Clock()
    one = Dispatch(Store(root), settings, clock)
    for slot in slots:
        clock.now = slot
        barrier.wait()
        one.tick()


@pytest.mark.slow
def test_exactly_one_run_per_slot_across_two_processes(store, settings, clock, archive):
    """Both look at the same moment, again and again."""
    hourly = settings(msgspec.structs.replace(DAILY, cron="0 * * * *", window="1h"))
    Dispatch(store, hourly, clock).tick()
    slots = [START + hour * HOUR + second * timedelta(seconds=15) for hour in range(1, 13) for second in range(2)]
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(2)
    both = [context.Process(target=look, args=(store.root, hourly, slots, barrier)) for _ in range(2)]
    for process in both:
        process.start()
    for process in both:
        process.join()
    assert [0, 0] == [process.exitcode for process in both]
    expected = [f"daily-{START + hour * HOUR:%Y-%m-%dT%H%M}Z.md" for hour in range(1, 13)]
    assert expected == archive()
    assert ["delivered"] * 12 == [line["what"] for line in Outbox(store.root).log(100)]


def test_the_hosts_own_scheduler(store, settings, clock, archive):
    """Sends it for the last time that it was due, and not again; nor does the collector then."""
    one = Dispatch(store, settings(DAILY), clock)
    assert (datetime(2026, 11, 20, 7, tzinfo=UTC), []) == one.run("daily")
    assert (None, []) == one.run("daily")
    one.tick()
    assert reports(20) == archive()


def test_what_does_not_arrive_waits(store, settings, clock, tmp_path, archive):
    """And is said to who asked for it; the others have theirs."""
    (tmp_path / "file").write_text("")
    where = {"nowhere": Destination(directory=str(tmp_path / "file"))}
    both = settings(msgspec.structs.replace(DAILY, to=["nowhere", "archive"]), **where)
    _, (waiting,) = Dispatch(store, both, clock).run("daily")
    assert ("nowhere", True, reports(20)) == (waiting.to, "Cannot write" in waiting.error, archive())
    (tmp_path / "file").unlink()
    clock.now += MINUTE
    Dispatch(store, both, clock).tick()
    assert [] == Outbox(store.root).waiting()
    assert (tmp_path / "file" / "daily-latest.md").is_symlink()


@pytest.mark.parametrize(
    ("form", "begins"), [("html", b"<!doctype html>"), ("md", b"# Registry report"), ("json", b"{"), ("csv", b"PK")]
)
def test_each_format(store, settings, clock, tmp_path, form, begins):
    """As `regstats report` writes it."""
    journalled(store, envelope(make_event(at=START - HOUR)))
    Dispatch(store, settings(msgspec.structs.replace(DAILY, format=form)), clock).run("daily")
    (link,) = (tmp_path / "archive").glob("daily-latest.*")
    assert (True, {"csv": ".zip"}.get(form, f".{form}")) == (link.read_bytes().startswith(begins), link.suffix)


def test_a_report_for_each_team(store, clock, tmp_path):
    """Under a name of its own, whatever a team is called; and of one."""
    journalled(store, envelope(*(make_event(at=START - 6 * HOUR, repository=f"{name}/app") for name in ("a", "b"))))
    teams = {"a": Team(repositories=["a/*"]), "b/../../x": Team(repositories=["b/*"])}
    each = [msgspec.structs.replace(DAILY, each_team=True), msgspec.structs.replace(DAILY, name="one", team="a")]
    known = {"archive": Destination(directory=str(tmp_path / "archive"))}
    one = Dispatch(store, Settings(destinations=known, report=Reports(schedule=each), teams=teams), clock)
    one.run("daily")
    one.run("one")
    texts = {path.name: path.read_text() for path in (tmp_path / "archive").glob("*-latest.md")}
    assert ["daily-a-latest.md", "daily-b%2F..%2F..%2Fx-latest.md", "one-a-latest.md"] == sorted(texts)
    assert (True, False) == ("b/app" in texts["daily-b%2F..%2F..%2Fx-latest.md"], "b/app" in texts["one-a-latest.md"])
    subjects = [line["subject"] for line in Outbox(store.root).log(9)]
    assert "Registry report daily of a, 2026-11-20" == subjects[0]


STALE = Alert(name="old", when="stale", to=["archive"], every="1h")


def test_an_alert_is_told_and_over(store, settings, clock, tmp_path):
    """Once each, also when the process is another one each time."""
    journalled(store, envelope(make_push(at=START - 400 * DAY), make_event(at=START - DAY)))
    told = []
    for hour in range(4):
        clock.now = START + hour * HOUR
        if hour == 2:
            journalled(store, envelope(make_push(at=clock.now - MINUTE, digest="sha256:new")))
        Dispatch(store, settings(alerts=[STALE]), clock).tick()
        told.append(len(Outbox(store.root).log(100)))
    assert [1, 1, 2, 2] == told
    first, second = sorted(path.read_text() for path in (tmp_path / "archive").glob("old-2026*.md"))
    assert ("**old, new**\n\n- `team/app` is pulled", True) == (first[:36], second.startswith("**old, resolved**"))


def test_an_alert_is_looked_at_as_often_as_it_says(store, settings, clock, monkeypatch):
    """And not with every tick."""
    looks = []
    monkeypatch.setattr(module.alerts, "holding", lambda *_: looks.append(clock.now) or {})
    one = Dispatch(store, settings(alerts=[STALE]), clock)
    for minute in range(121):
        clock.now = START + minute * MINUTE
        one.tick()
    assert [START, START + HOUR, START + 2 * HOUR] == looks


def test_the_store_is_none_the_worse(store, settings, clock):
    """What waits is nothing that a store does not know."""
    journalled(store, envelope(make_event()))
    Dispatch(store, settings(DAILY), clock).run("daily")
    compact(store, NOW)
    assert [] == check(store, NOW, deep=True)
