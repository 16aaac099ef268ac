"""What is sent, when, and to whom: the settings `[mail]`, `[destinations]`, `[[report.schedule]]` and `[[alert]]`."""

import os
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Annotated, Literal, Protocol
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError
from msgspec import Meta, Struct

from regstats.errors import ConfigError

NAME = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$"
"""It becomes a part of file names."""
Name = Annotated[str, Meta(pattern=NAME)]
Some = Annotated[list[str], Meta(min_length=1)]

Form = Literal["html", "md", "json", "csv", "pdf", "png"]
Kind = Literal[
    "stale", "silence", "spike", "drop", "new_actor", "pull_loop", "silent_source", "quarantine", "disk_low"
]  # fmt: skip

_SECRET = "env:"  # noqa: S105 - how a setting says that its value is in a variable
_SPAN = re.compile(r"([0-9]{1,4})([smhdw])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_PORTS = {"starttls": 587, "tls": 465, "none": 25}


def span_of(text: str, *, zero: bool = False) -> timedelta:
    """`30s`, `15m`, `24h`, `7d`, `4w` as a time span. Raises ValueError for anything else; for 0 unless `zero`."""
    match = _SPAN.fullmatch(text)
    if match is None or not (zero or int(match[1])):
        raise ValueError(f"`{text}` is not a time span such as 30s, 15m, 24h, 7d or 4w")
    return timedelta(**{_UNITS[match[2]]: int(match[1])})


def revealed(text: str, environ: Mapping[str, str] = os.environ) -> str:
    """A setting that may be secret: what the variable holds that it names (`env:SMTP_PASSWORD`), else itself.

    Raises ConfigError where there is no such variable.
    """
    if not text.startswith(_SECRET):
        return text
    name = text.removeprefix(_SECRET)
    if not environ.get(name):
        raise ConfigError(f"A setting is `{text}`, and the environment variable {name} is not set.")
    return environ[name]


class Mail(Struct, frozen=True, forbid_unknown_fields=True):
    """The server that mail goes through, `[mail]`."""

    host: str
    sender: str
    """The address that it comes from."""
    port: Annotated[int, Meta(ge=1, le=65535)] | None = None
    """587, or 465 for `tls`, or 25 for `none`, if nothing is said."""
    security: Literal["starttls", "tls", "none"] = "starttls"
    user: str | None = None
    password: str | None = None
    """Itself, or better `env:` and the name of a variable that has it."""
    ca: str | None = None
    """A file with the certificate of whoever vouches for the server; those that this machine trusts without one."""

    def __post_init__(self) -> None:
        if (self.user is None) != (self.password is None):
            raise ValueError("mail.user and mail.password belong together")
        if self.user and self.security == "none" and self.host not in ("localhost", "127.0.0.1", "::1"):
            raise ValueError('with mail.security = "none" the password would be readable on its way')

    @property
    def where(self) -> tuple[str, int]:
        """Host and port."""
        return self.host, self.port or _PORTS[self.security]


class Destination(Struct, frozen=True, forbid_unknown_fields=True):
    """Where something goes, `[destinations.NAME]`: one of directory, mail and webhook."""

    directory: str | None = None
    """Files with the date in their names, and a link `…-latest` to the newest."""
    mail: list[str] = []
    """Addresses."""
    webhook: str | None = None
    """A URL that takes POST: itself, or `env:` and the name of a variable that has it."""
    style: Literal["json", "slack", "mattermost"] = "json"
    """What is posted."""

    def __post_init__(self) -> None:
        if sum(map(bool, (self.directory, self.mail, self.webhook))) != 1:
            raise ValueError("a destination has one of: directory, mail, webhook")


class Schedule(Struct, frozen=True, forbid_unknown_fields=True):
    """A report that is sent again and again, `[[report.schedule]]`."""

    name: Name
    cron: str
    """Minute, hour, day of the month, month, day of the week: `0 7 * * mon`."""
    to: Some
    """Names of destinations."""
    window: str = "7d"
    """The time before it is sent that it tells of."""
    format: Form = "html"
    tz: str = "UTC"
    """Whose time `cron` is."""
    team: str | None = None
    """Of this team; of all if nothing is said."""
    each_team: bool = False
    """One for each team."""

    def __post_init__(self) -> None:
        span_of(self.window)
        if self.team is not None and self.each_team:
            raise ValueError(f"report.schedule `{self.name}` is of one team or of each, not both")
        try:
            zone = ZoneInfo(self.tz)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError(f"`{self.tz}` in report.schedule `{self.name}` is not a time zone") from None
        _check_cron(self.name, self.cron, zone)


def _check_cron(name: str, cron: str, zone: ZoneInfo) -> None:
    try:
        if len(cron.split()) != 5:
            raise CronSimError("It has five fields")
        next(CronSim(cron, datetime(2026, 1, 1, tzinfo=zone)))
    except (CronSimError, StopIteration) as error:
        why = str(error) or "There is no such time"
        raise ValueError(f"`{cron}` in report.schedule `{name}` is not a cron expression: {why}") from None


class Reports(Struct, frozen=True, forbid_unknown_fields=True):
    """`[report]`."""

    schedule: list[Schedule] = []


class Alert(Struct, frozen=True, forbid_unknown_fields=True):
    """Something to be told of when it happens, `[[alert]]`."""

    name: Name
    when: Kind
    to: Some
    """Names of destinations."""
    repository: list[str] = []
    """Globs: only these. Everything if empty."""
    source: list[str] = []
    """Of `silent_source` and `quarantine`: only these."""
    silent_for: str = "24h"
    """Of `silent_source`: how long nothing came."""
    below: Annotated[float, Meta(gt=0, lt=100)] = 10.0
    """Of `disk_low`: per cent of the store's disk that are free."""
    every: str = "5m"
    """How often it is looked at."""
    cooldown: str = "24h"
    """How long the same thing is not told again when it is over and comes back."""
    remind: str | None = None
    """How often it is told again while it lasts; not at all if nothing is said."""
    resolved: bool = True
    """Whether it is also told when it is over."""

    def __post_init__(self) -> None:
        for text in (self.silent_for, self.every, self.cooldown, self.remind or self.every):
            span_of(text)


class Named(Protocol):
    """Something that is sent to destinations."""

    @property
    def name(self) -> str:
        """Which one it is."""

    @property
    def to(self) -> list[str]:
        """Names of destinations."""


def check(mail: Mail | None, destinations: Mapping[str, Destination], tables: Mapping[str, Sequence[Named]]) -> None:
    """Raises ValueError where a name is there twice, or means nothing."""
    for table, entries in tables.items():
        names = [entry.name for entry in entries]
        twice = {name for name in names if names.count(name) > 1}
        if twice:
            raise ValueError(f"there are two [[{table}]] named `{min(twice)}`")
        for entry in entries:
            _check_destinations(f"{table} `{entry.name}`", entry.to, destinations)
    for name, destination in destinations.items():
        if not re.search(NAME, name):
            raise ValueError(f"`{name}` cannot be the name of a destination: letters, digits and _.- only")
        if destination.mail and mail is None:
            raise ValueError(f"destinations.{name} is mail; say with [mail] which server it goes through")


def check_teams(schedules: Iterable[Schedule], teams: Collection[str]) -> None:
    """Raises ValueError where a report is of a team that is not there."""
    for schedule in schedules:
        if schedule.team not in {None, *teams} or (schedule.each_team and not teams):
            there = ", ".join(teams) or "none; make one with [teams.NAME]"
            raise ValueError(f"report.schedule `{schedule.name}` is of a team that is not there. There are: {there}")


def _check_destinations(where: str, to: list[str], known: Mapping[str, Destination]) -> None:
    for name in to:
        if name not in known:
            there = ", ".join(known) or "none; make one with [destinations.NAME]"
            raise ValueError(f"`{name}` in {where} is not a destination. There are: {there}")
