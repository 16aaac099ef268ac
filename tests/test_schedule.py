"""When scheduled reports are due."""

import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from cronsim import CronSim
from hypothesis import given
from hypothesis import strategies as st

from regstats.agenda import Schedule
from regstats.errors import ConfigError
from regstats.schedule import calendar, crontab, latest, systemd

BERLIN = ZoneInfo("Europe/Berlin")


def weekly(cron="0 7 * * mon", tz="UTC"):
    return Schedule(name="weekly", cron=cron, to=["x"], tz=tz)


def at(*parts, tz=UTC):
    return datetime(*parts, tzinfo=tz).astimezone(UTC)


@pytest.mark.parametrize(
    ("cron", "now", "due"),
    [
        ("0 7 * * mon", at(2026, 11, 25, 14, 0), at(2026, 11, 23, 7)),
        ("0 7 * * mon", at(2026, 11, 23, 7, 0, 0), at(2026, 11, 23, 7)),
        ("0 7 * * mon", at(2026, 11, 23, 6, 59, 59), at(2026, 11, 16, 7)),
        ("* * * * *", at(2026, 11, 25, 14, 0, 59), at(2026, 11, 25, 14, 0)),
        ("*/15 8-18 * * *", at(2026, 11, 25, 7, 59), at(2026, 11, 24, 18, 45)),
        ("0 0 29 2 *", at(2026, 11, 25), at(2024, 2, 29)),
    ],
)
def test_the_last_time_until_now(cron, now, due):
    """To the minute; now belongs to it."""
    assert due == latest(weekly(cron), now)


def test_it_is_in_the_time_of_a_zone():
    """Seven in the morning stays seven in the morning."""
    schedule = weekly("0 7 * * *", "Europe/Berlin")
    assert at(2026, 7, 1, 5) == latest(schedule, at(2026, 7, 1, 12))
    assert at(2026, 12, 1, 6) == latest(schedule, at(2026, 12, 1, 12))


def test_clocks_are_set_forward():
    """What would be due in the hour that is left out is due after it, once."""
    schedule = weekly("30 2 * * *", "Europe/Berlin")
    seen = {latest(schedule, at(2026, 3, 29, 0) + timedelta(minutes=minute)) for minute in range(240)}
    assert {at(2026, 3, 28, 2, 30, tz=BERLIN), at(2026, 3, 29, 3, 0, tz=BERLIN)} == seen


def test_clocks_are_set_back():
    """What is due in the hour that comes twice is due once."""
    schedule = weekly("30 2 * * *", "Europe/Berlin")
    seen = {latest(schedule, at(2026, 10, 24, 22) + timedelta(minutes=minute)) for minute in range(300)}
    assert {at(2026, 10, 24, 2, 30, tz=BERLIN), at(2026, 10, 25, 2, 30, tz=BERLIN)} == seen


@given(
    cron=st.sampled_from(
        ["0 7 * * mon", "*/20 * * * *", "30 2 * * *", "0 0 1 * *", "15 1,2,3 * * *", "0 2 25-31 * sun"]
    ),
    tz=st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata"]),
    now=st.timedeltas(timedelta(0), timedelta(days=365)).map(lambda since: at(2026, 1, 1) + since),
)
def test_every_time_that_comes_is_found_looking_back(cron, tz, now):
    """So none is left out, and none is seen that never was."""
    schedule = weekly(cron, tz)
    due = latest(schedule, now)
    begin = (due - timedelta(days=40)).astimezone(ZoneInfo(tz))
    times = [begin.astimezone(UTC)]
    for time in CronSim(cron, begin):
        if time.astimezone(UTC) > now:
            break
        times.append(time.astimezone(UTC))
    assert due == times[-1]


@pytest.mark.parametrize(
    ("cron", "events"),
    [
        ("0 7 * * mon", ["Mon *-*-* 07:00:00"]),
        ("*/15 * * * *", ["*-*-* *:00,15,30,45:00"]),
        ("0 0 * * *", ["*-*-* 00:00:00"]),
        ("0 0 * * 0,7", ["Sun *-*-* 00:00:00"]),
        ("0 0 1 1,7 *", ["*-01,07-01 00:00:00"]),
        ("0 0 1 * mon-fri", ["Mon,Tue,Wed,Thu,Fri *-*-* 00:00:00", "*-*-01 00:00:00"]),
    ],
)
def test_as_systemd_says_it(cron, events):
    """Either of day of the month and day of the week will do where cron has both."""
    assert events == calendar(weekly(cron))
    if shutil.which("systemd-analyze"):
        for event in events:
            subprocess.run(["systemd-analyze", "calendar", event], check=True, capture_output=True)


@pytest.mark.parametrize("cron", ["0 0 L * *", "0 0 * * fri#2", "0 0 * * 5L"])
def test_what_systemd_has_no_words_for(cron):
    """The last day, the second Friday: cron on the other hand can."""
    with pytest.raises(ConfigError, match="cannot be said to systemd"):
        calendar(weekly(cron))


def test_lines_for_the_host():
    """With the time zone, and what to run."""
    assert "CRON_TZ=Europe/Berlin\n0 7 * * mon run me\n" in crontab(weekly(tz="Europe/Berlin"), "run me")
    units = systemd(weekly(tz="Europe/Berlin"), "run me", "/srv")
    lines = ["OnCalendar=Mon *-*-* 07:00:00 Europe/Berlin", "ExecStart=run me", "Persistent=true"]
    assert set(lines) <= set(units.splitlines())
