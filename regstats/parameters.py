"""The parameters that every metric has, read once: from Python values or command-line text to a SQL condition."""

import functools
import glob
import re
import zoneinfo
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Literal, NamedTuple, TypedDict, get_args

from regstats.errors import ParameterError

Interval = Literal["hour", "day", "week", "month", "total"]
Moment = str | date | datetime
Texts = str | Sequence[str]

INTERVALS: tuple[str, ...] = get_args(Interval)
PEOPLE = ("actor", "client", "client_version", "client_address", "user_agent")
DIMENSIONS = ("source", "repository", "tag", "digest", "media_type", *PEOPLE)
MEASURES = ("pulls", "downloads", "version_checks", "requests", "pushes", "updates", "deletes")
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
    measure: str | None
    at: Moment | None
    days: int | None


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
    "measure": f"What to rank by: {', '.join(MEASURES)}.",
    "at": "What was so at that moment: like --since.",
    "days": "For so many days or more.  [default: 90]",
}


class Query(NamedTuple):
    """Parameters, understood: conditions are SQL over `pulls`, `pushes` or `events`, with their `values`."""

    places: str
    """On source and repository."""
    tags: str
    people: str
    """On actor and client."""
    window: str
    past: str
    """That it happened before the window's end."""
    values: dict[str, Any]
    period: str
    interval: str
    by: list[str]
    since: datetime | None
    until: datetime | None
    end: datetime
    """Until then anything may have happened: `until`, or the present."""
    tz: str
    limit: int | None
    measure: str
    at: datetime | None

    @property
    def things(self) -> str:
        """On source, repository and tag."""
        return f"{self.places} and {self.tags}"

    @property
    def where(self) -> str:
        """All conditions."""
        return f"{self.things} and {self.people} and {self.window}"


# What the names of the directories say already, and what is cheap: most people ask for days of UTC.
_UTC_PERIODS = {
    "hour": "make_timestamptz(epoch_us(timestamp) - epoch_us(timestamp) % 3600000000)",
    "day": "date",
    "week": "cast(date_trunc('week', date) as date)",
    "month": "cast(date_trunc('month', date) as date)",
    "total": "cast(null as date)",
}
_PERIODS = {
    # An hour is kept as an instant: local hours repeat when clocks are set back, and some zones are half an hour off.
    "hour": "timestamp - to_microseconds(epoch_us(timezone($tz, timestamp)) % 3600000000)",
    "day": "cast(timezone($tz, timestamp) as date)",
    "week": "cast(date_trunc('week', timezone($tz, timestamp)) as date)",
    "month": "cast(date_trunc('month', timezone($tz, timestamp)) as date)",
    "total": "cast(null as date)",
}


def understand(
    given: Mapping[str, Any],
    *,
    now: datetime,
    interval: Interval = "day",
    known: Collection[str] = tuple(Parameters.__annotations__),
    dimensions: Sequence[str] = DIMENSIONS,
    is_past: bool = False,
) -> Query:
    """What is asked for? A metric has a default `interval`, `known` parameters, and `dimensions` that `by` may name.

    If `now` `is_past`, nothing counts that happened later. Else it is the clock, and a registry's clock may be ahead.
    Raises ParameterError, a ValueError: an unknown parameter (listing the right ones), or a value that is not one.
    """
    asked = _asked(given, known)
    tz = _zone(asked.get("tz", "UTC"))
    since, until, at = (moment(name, asked.get(name), now=now, tz=tz) for name in ("since", "until", "at"))
    end = min(until or now, now)
    before = since - max(end - since, timedelta()) if since else None
    chosen = _one_of("interval", asked.get("interval", interval), INTERVALS)
    before_end = _before(until, "until") + (_before(now, "now", "<=") if is_past else [])
    return Query(
        places=_all(_matching(asked, column) for column in ("source", "repository")),
        tags=_all([_matching(asked, "tag")]),
        people=_all(_matching(asked, column) for column in ("actor", "client")),
        window=_all(["timestamp >= $since and date >= $since_date" if since else "", *before_end]),
        past=_all(before_end),
        values=_values(asked)
        | _moments(since=since, until=until, now=now, end=end, at=at, before=before)
        | _dates(tz, since, end)
        | {"tz": tz.key, "days": _whole("days", asked.get("days", 90), "days", least=0)},
        period=(_UTC_PERIODS if tz.key == "UTC" else _PERIODS)[chosen],
        interval=chosen,
        by=list(dict.fromkeys(_one_of("by", column, dimensions) for column in _texts("by", asked.get("by", ())))),
        since=since,
        until=until,
        end=end,
        tz=tz.key,
        limit=_whole("limit", asked["limit"], "rows", least=1) if "limit" in asked else None,
        measure=_one_of("measure", asked.get("measure", MEASURES[0]), MEASURES),
        at=at,
    )


def _asked(given: Mapping[str, Any], known: Collection[str]) -> dict[str, Any]:
    """The parameters that were given, all of them known."""
    unknown = sorted(given.keys() - set(known))
    if unknown:
        raise ParameterError(f"Unknown parameter {unknown[0]!r}. There are: {', '.join(known)}.")
    return {name: value for name, value in given.items() if value is not None}


def exactly(text: str) -> str:
    """The glob that matches this text alone. To DuckDB, other than to Python, a backslash is none without another."""
    return glob.escape(text).replace("\\", "\\\\")


def _matching(asked: Mapping[str, Any], column: str) -> str:
    """The condition that a column matches one of the globs that are asked for."""
    globs = _texts(column, asked.get(column, ()))
    return " or ".join(f"{column} glob ${column}_{position}" for position in range(len(globs)))


def _values(asked: Mapping[str, Any]) -> dict[str, Any]:
    globs = {column: _texts(column, asked.get(column, ())) for column in FILTERS}
    return {f"{column}_{position}": text for column in FILTERS for position, text in enumerate(globs[column])}


def _moments(**named: datetime | None) -> dict[str, Any]:
    given = {name: value for name, value in named.items() if value is not None}
    return (
        given
        | {f"{name}_date": value.date() for name, value in given.items()}
        | {f"{name}_us": microseconds(value) for name, value in given.items()}
    )


BASELINE = timedelta(weeks=8)
"""What is out of the ordinary is so in comparison with that time before."""


def _dates(tz: zoneinfo.ZoneInfo, since: datetime | None, end: datetime) -> dict[str, Any]:
    """The days of a zone at which the window begins and ends, and the start of what it is compared with."""
    dates: dict[str, Any] = {"end_day": end.astimezone(tz).date(), "wide_day": None}
    if since is not None:
        wide, day = since - BASELINE, since.astimezone(tz).date()
        dates |= {"since_day": day, "wide_day": day - BASELINE, "wide": wide, "wide_date": wide.date()}
    return dates


def _before(end: datetime | None, name: str, compared: str = "<") -> list[str]:
    # The date is what parts are sorted by: with a condition on it too, whole days need not be opened.
    return [f"timestamp {compared} ${name} and date <= ${name}_date"] if end else []


def _all(conditions: Iterable[str]) -> str:
    return " and ".join(f"({condition})" for condition in conditions if condition) or "true"


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def microseconds(moment: datetime) -> int:
    """Since 1970, as `us` is in every view."""
    return (moment - _EPOCH) // timedelta(microseconds=1)


def _texts(name: str, value: object) -> list[str]:
    several = [value] if isinstance(value, str) else value
    if isinstance(several, Sequence) and all(isinstance(text, str) for text in several):
        return list(several)
    raise ParameterError(f"{name}={value!r} is neither a text nor a list of texts.")


def _one_of(name: str, value: object, choices: Sequence[str]) -> str:
    if isinstance(value, str) and value in choices:
        return value
    raise ParameterError(f"{name}={value!r} is not one of: {', '.join(choices)}.")


def _whole(name: str, value: object, unit: str, *, least: int) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and value >= least:
        return value
    raise ParameterError(f"{name}={value!r} is not a number of {unit}; it must be {least} or more.")


def _zone(name: object) -> zoneinfo.ZoneInfo:
    if str(name) in _zones():
        return zoneinfo.ZoneInfo(str(name))
    raise ParameterError(f"tz={name!r} is not a time zone; one is Europe/Berlin.")


@functools.cache
def _zones() -> frozenset[str]:
    """The names that DuckDB knows, too: not what is a file beside them, such as `right/UTC` and `posixrules`."""
    return frozenset(zoneinfo.available_timezones() - {"localtime"})


_UTC = zoneinfo.ZoneInfo("UTC")
_UNITS = {"h": "hours", "d": "days", "w": "weeks"}
_AGO = re.compile(r"([0-9]{1,5})([hdw])")


def is_ago(text: str) -> bool:
    """Whether it is a span of time before now: `30d`."""
    return _AGO.fullmatch(text) is not None


def moment(name: str, value: object, *, now: datetime, tz: zoneinfo.ZoneInfo = _UTC) -> datetime | None:
    """A moment in UTC, from what people write: an ISO date (its midnight in `tz`) or time, or `30d` before now.

    Raises ParameterError, which names the parameter, for anything else.
    """
    if value is None:
        return None
    try:
        at = _instant(_parsed(name, value, now) if isinstance(value, str) else value, tz)
    except OverflowError:
        at = datetime.max.replace(tzinfo=UTC)
    if at is None:
        raise _no_moment(name, value)
    if at.year not in _YEARS:
        raise ParameterError(f"{name}={value!r} is not within the years {_YEARS.start} to {_YEARS.stop - 1}.")
    return at


_YEARS = range(1900, 9000)
"""Those with room before and after for the window before, and for zones."""


def _instant(value: object, tz: zoneinfo.ZoneInfo) -> datetime | None:
    if isinstance(value, datetime):
        return (value if value.tzinfo else value.replace(tzinfo=tz)).astimezone(UTC)
    return datetime.combine(value, time(), tz).astimezone(UTC) if isinstance(value, date) else None


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
