"""The parameters that every metric has, read once: from Python values or command-line text to a SQL condition."""

import re
import zoneinfo
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Literal, NamedTuple, TypedDict, get_args

from regstats.errors import ParameterError

Interval = Literal["hour", "day", "week", "month", "total"]
Moment = str | date | datetime
Texts = str | Sequence[str]

INTERVALS: tuple[str, ...] = get_args(Interval)
DIMENSIONS = (
    "source",
    "repository",
    "tag",
    "digest",
    "media_type",
    "actor",
    "client",
    "client_version",
    "client_address",
    "user_agent",
)
FILTERS = ("repository", "tag", "actor", "client", "source")


class Parameters(TypedDict, total=False):
    """What can be asked of every metric. Texts are globs (`team/*`); several are alternatives."""

    repository: Texts | None
    tag: Texts | None
    actor: Texts | None
    client: Texts | None
    source: Texts | None
    since: Moment | None
    until: Moment | None
    interval: Interval | None
    by: Texts | None
    tz: str | None
    limit: int | None


HELP: dict[str, str] = {
    "repository": "Repositories, as a glob: team/*. May be given several times.",
    "tag": "Tags, as a glob: 1.*",
    "actor": "Who, as a glob.",
    "client": "With what, as a glob: docker, containerd, podman, …",
    "source": "The configured sender, as a glob.",
    "since": "From then on: 2026-11-01, 2026-11-01T12:00, or 30d, 12h, 4w before now.",
    "until": "Up to, and not including: like --since.",
    "interval": f"One row per {', '.join(INTERVALS)}.",
    "by": f"One row per value of: {', '.join(DIMENSIONS)}.",
    "tz": "The time zone of days, weeks and months: Europe/Berlin. Default UTC.",
    "limit": "At most so many rows.",
}


class Query(NamedTuple):
    """Parameters, understood: `where` and `period` are SQL over `pulls`, `pushes` or `events`, with their `values`."""

    where: str
    values: dict[str, Any]
    period: str
    interval: str
    by: list[str]
    since: datetime | None
    until: datetime | None
    tz: str
    limit: int | None


_PERIODS = {
    # An hour is kept as an instant: local hours repeat when clocks are set back, and some zones are half an hour off.
    "hour": "timestamp - to_microseconds(epoch_us(timezone($tz, timestamp)) % 3600000000)",
    "day": "cast(timezone($tz, timestamp) as date)",
    "week": "cast(date_trunc('week', timezone($tz, timestamp)) as date)",
    "month": "cast(date_trunc('month', timezone($tz, timestamp)) as date)",
    "total": "cast(null as date)",
}


def understand(given: Mapping[str, Any], *, now: datetime, interval: Interval = "day") -> Query:
    """What is asked for? `interval` is the metric's own default.

    Raises ParameterError, a ValueError: an unknown parameter (listing the right ones), or a value that is not one.
    """
    unknown = sorted(given.keys() - Parameters.__annotations__.keys())
    if unknown:
        raise ParameterError(f"Unknown parameter {unknown[0]!r}. There are: {', '.join(Parameters.__annotations__)}.")
    asked = {name: value for name, value in given.items() if value is not None}
    tz = _zone(asked.get("tz", "UTC"))
    since, until = (moment(name, asked.get(name), now=now, tz=tz) for name in ("since", "until"))
    chosen = _one_of("interval", asked.get("interval", interval), INTERVALS)
    conditions, values = _conditions(asked, since, until)
    return Query(
        where=" and ".join(conditions) or "true",
        values=values,
        period=_PERIODS[chosen],
        interval=chosen,
        by=[_one_of("by", column, DIMENSIONS) for column in _texts("by", asked.get("by", ()))],
        since=since,
        until=until,
        tz=tz.key,
        limit=_limit(asked.get("limit")),
    )


def _conditions(
    asked: Mapping[str, Any], since: datetime | None, until: datetime | None
) -> tuple[list[str], dict[str, Any]]:
    conditions: list[str] = []
    values: dict[str, Any] = {}
    for column in FILTERS:
        globs = _texts(column, asked.get(column, ()))
        names = [f"{column}_{position}" for position in range(len(globs))]
        values.update(zip(names, globs, strict=True))
        if names:
            conditions.append(f"({' or '.join(f'{column} glob ${name}' for name in names)})")
    # The date is what parts are sorted by: with a condition on it too, whole days need not be opened.
    if since is not None:
        conditions.append("timestamp >= $since and date >= $since_date")
        values |= {"since": since, "since_date": since.date()}
    if until is not None:
        conditions.append("timestamp < $until and date <= $until_date")
        values |= {"until": until, "until_date": until.date()}
    return conditions, values


def _texts(name: str, value: object) -> list[str]:
    several = [value] if isinstance(value, str) else value
    if isinstance(several, Sequence) and all(isinstance(text, str) for text in several):
        return list(several)
    raise ParameterError(f"{name}={value!r} is neither a text nor a list of texts.")


def _one_of(name: str, value: object, choices: Sequence[str]) -> str:
    if isinstance(value, str) and value in choices:
        return value
    raise ParameterError(f"{name}={value!r} is not one of: {', '.join(choices)}.")


def _limit(value: object) -> int | None:
    if value is None or (isinstance(value, int) and not isinstance(value, bool) and value >= 1):
        return value
    raise ParameterError(f"limit={value!r} is not a number of rows; it must be 1 or more.")


def _zone(name: object) -> zoneinfo.ZoneInfo:
    try:
        return zoneinfo.ZoneInfo(str(name))
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        raise ParameterError(f"tz={name!r} is not a time zone; one is Europe/Berlin.") from None


_UTC = zoneinfo.ZoneInfo("UTC")
_UNITS = {"h": "hours", "d": "days", "w": "weeks"}
_AGO = re.compile(r"(\d{1,5})([hdw])")


def moment(name: str, value: object, *, now: datetime, tz: zoneinfo.ZoneInfo = _UTC) -> datetime | None:
    """A moment in UTC, from what people write: an ISO date (its midnight in `tz`) or time, or `30d` before now.

    Raises ParameterError, which names the parameter, for anything else.
    """
    if value is None:
        return None
    if isinstance(value, str):
        value = _parsed(name, value, now)
    if isinstance(value, datetime):
        return (value if value.tzinfo else value.replace(tzinfo=tz)).astimezone(UTC)
    if isinstance(value, date):
        return datetime.combine(value, time(), tz).astimezone(UTC)
    raise _no_moment(name, value)


def _parsed(name: str, text: str, now: datetime) -> datetime | date:
    ago = _AGO.fullmatch(text)
    if ago:
        return now - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise _no_moment(name, text) from None


def _no_moment(name: str, value: object) -> ParameterError:
    return ParameterError(f"{name}={value!r} is not a time; write 2026-11-01, 2026-11-01T12:00, or 30d, 12h, 4w.")
