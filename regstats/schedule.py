"""When a scheduled report is due, and the same for the host's own scheduler."""

import itertools
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from cronsim import CronSim

from regstats.agenda import Schedule
from regstats.errors import ConfigError

_DAYS = ("Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat")
_CHANGE = timedelta(hours=2)
"""Clocks are not set by more."""


def latest(schedule: Schedule, now: datetime) -> datetime:
    """The last time until now at which it was due, in UTC."""
    zone = ZoneInfo(schedule.tz)
    before = next(CronSim(schedule.cron, now.replace(second=0, microsecond=0).astimezone(zone), reverse=True))
    # Going back, what clocks leave out when they are set is not found as it is going forward, so the last step is that.
    begin = (before.astimezone(UTC) - _CHANGE).astimezone(zone)
    times = (time.astimezone(UTC) for time in CronSim(schedule.cron, begin))
    return list(itertools.takewhile(lambda time: time <= now, times))[-1]


def crontab(schedule: Schedule, command: str) -> str:
    """Lines of a crontab for a schedule."""
    return f"# {schedule.name}, in the time of {schedule.tz}\nCRON_TZ={schedule.tz}\n{schedule.cron} {command}\n"


def systemd(schedule: Schedule, command: str, folder: str) -> str:
    """A service and a timer of systemd for a schedule, each after a line with the name of its file."""
    name = f"regstats-{schedule.name}"
    times = "\n".join(f"OnCalendar={time} {schedule.tz}" for time in calendar(schedule))
    return f"""\
# /etc/systemd/system/{name}.service
[Unit]
Description=regstats report {schedule.name}

[Service]
Type=oneshot
WorkingDirectory={folder}
ExecStart={command}

# /etc/systemd/system/{name}.timer
[Unit]
Description=When regstats report {schedule.name} is due

[Timer]
{times}
Persistent=true

[Install]
WantedBy=timers.target
"""


def calendar(schedule: Schedule) -> list[str]:
    """A cron expression as calendar events of systemd: two where a day of the month or one of the week will do.

    Raises ConfigError for what systemd has no words for: the last Friday, the second Monday.
    """
    sim = CronSim(schedule.cron, datetime(2026, 1, 1, tzinfo=UTC))
    weekdays = {day % 7 for day in sim.weekdays if isinstance(day, int)}  # of 0 to 7
    if min(sim.days) < 0 or not all(isinstance(day, int) for day in sim.weekdays):
        raise ConfigError(f"`{schedule.cron}` in report.schedule `{schedule.name}` cannot be said to systemd.")
    months, days = _listed(sim.months, 12), _listed(sim.days, 31)
    time = f"{_listed(sim.hours, 24)}:{_listed(sim.minutes, 60)}:00"
    of_week = "" if len(weekdays) == 7 else f"{','.join(_DAYS[day] for day in sorted(weekdays))} "
    if sim.day_and:
        return [f"{of_week}*-{months}-{days} {time}"]
    return [f"{of_week}*-{months}-* {time}", f"*-{months}-{days} {time}"]


def _listed(numbers: set[int], most: int) -> str:
    return "*" if len(numbers) == most else ",".join(f"{number:02}" for number in sorted(numbers))
