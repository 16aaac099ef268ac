"""Why does nothing arrive? From the registry's configuration to the store: what is wrong, and what to write where."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

import msgspec
from msgspec import Struct

from regstats import probing, registry_config
from regstats.config import DEFAULT_SOURCE, Settings, is_loopback
from regstats.errors import ActionError, RegstatsError
from regstats.registry_config import Finding, Status
from regstats.requesting import Answer, UnreachableError, ask, bearer
from regstats.session import Session
from regstats.stats import Stats
from regstats.terminal import visible

_PATIENCE = 10.0  # seconds for an answer
_SKEW = timedelta(seconds=5)


class Asked(Struct, frozen=True, kw_only=True):
    """What is to be looked at."""

    collector: str | None = None
    """Its address as the registry sees it, without a path; else that of the settings."""
    source: str = DEFAULT_SOURCE
    registry: Session | None = None
    registry_config: Path | None = None
    debug: str | None = None
    """The registry's /debug/vars."""
    probe: bool = False
    wait: float = 15.0
    """Seconds that events may take."""


def diagnose(asked: Asked, settings: Settings) -> Iterator[Finding]:
    """Looks at one thing after the other. Nothing is sent to a registry but questions, unless a probe is asked for."""
    collector = asked.collector or _served(settings)
    said: dict[str, Any] = {}
    if asked.registry_config is not None:
        said = registry_config.read(asked.registry_config)
        yield from registry_config.examine(said, collector, settings)
        yield from _whose_loopback(asked, said)
    else:
        yield _skipped("endpoint", "--registry-config FILE, the registry's config.yml")
    yield from _collector(collector, asked.source, settings)
    yield from _registry(asked.registry)
    yield from _queue(asked.debug or registry_config.debug_of(said))
    yield from _store(settings, will_come=asked.probe)
    if not asked.probe or asked.registry is None:
        yield _skipped("probe", "--probe and --registry: it pushes a tiny artifact, and deletes it")
    elif not Path(settings.data).is_dir():
        yield _skipped("probe", "the store, which is not here")
    else:
        yield from probing.probe(asked.registry, Stats(settings.data), asked.wait)


def _skipped(check: str, needs: str) -> Finding:
    return Finding(check, "skipped", f"not looked at; it needs {needs}.")


def _served(settings: Settings) -> str:
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)  # noqa: S104 - seen from here
    return f"http://[{host}]:{settings.port}" if ":" in host else f"http://{host}:{settings.port}"


def _whose_loopback(asked: Asked, said: dict[str, Any]) -> Iterator[Finding]:
    """A registry in a container, or on another machine, has a loopback of its own."""
    urls = [str(one.get("url")) for one in (said.get("notifications") or {}).get("endpoints") or []]
    elsewhere = asked.registry is not None and not is_loopback(asked.registry.host)
    for url in (url for url in urls if is_loopback(urlsplit(url).hostname or "")):
        if elsewhere:
            what = f"{visible(url)} is the registry's own machine or container, not this one."
            yield Finding(
                "endpoint", "warning", what, "Let `url` have a name or an address of the collector's machine."
            )


# The collector


def _collector(collector: str, source: str, settings: Settings) -> Iterator[Finding]:
    url = urljoin(collector, "/events" if source == DEFAULT_SOURCE else f"/events/{source}")
    token = settings.source(source).token
    try:
        answer = ask(url, "OPTIONS", None, bearer(token) if token else {}, _PATIENCE)
    except UnreachableError as error:
        remedy = "Start it (`regstats serve`), let it listen there (`--host`), or say where it is (--collector)."
        yield Finding("collector", "problem", f"Nobody answers at {url}: {error}.", remedy)
        return
    yield _admitted(url, source, answer)
    yield from _clock("collector", _date(answer))
    yield from _health(collector, settings)


def _admitted(url: str, source: str, answer: Answer) -> Finding:
    """Whether a delivery would be taken. The question sends none."""
    if answer.status == 204:
        return Finding("collector", "ok", f"{url} takes what is sent.")
    if 300 <= answer.status < 400:
        to = visible(next((value for name, value in answer.headers.items() if name.lower() == "location"), ""))
        what = f"{url} redirects to {to}. A registry goes there without the event, which is lost."
        return Finding("collector", "problem", what, f"Let `url` in the registry's config.yml be {to} exactly.")
    reasons = {
        401: ("wants another token than the settings have", "Let it have the same settings as this command."),
        403: ("takes nothing from this address", "Add it to `allow` in regstats.toml, if the registry is here."),
        404: (f"does not know the source {source!r}", f"Write [sources.{source}] into regstats.toml; restart it."),
        503: ("cannot store anything", "Look at its log: the disk may be full, or read-only."),
    }
    why, remedy = reasons.get(answer.status, ("is no collector, or an old one", "Say where it is with --collector."))
    return Finding("collector", "problem", f"{url} {why} ({answer.status}).", remedy)


def _health(collector: str, settings: Settings) -> Iterator[Finding]:
    try:
        answer = ask(urljoin(collector, "/healthz"), "GET", None, _reader(settings), _PATIENCE)
        problems = msgspec.json.decode(answer.body).get("problems", [])
    except (UnreachableError, msgspec.DecodeError, AttributeError):
        return
    for problem in problems:
        yield Finding("health", "warning", visible(str(problem)), "See the collector's log.")


def _reader(settings: Settings) -> dict[str, str]:
    return bearer(settings.reading_token) if settings.reading_token else {}


def _date(answer: Answer) -> datetime | None:
    return _parsed(next((value for name, value in answer.headers.items() if name.lower() == "date"), None))


def _parsed(date: str | None) -> datetime | None:
    try:
        return parsedate_to_datetime(date).astimezone(UTC) if date else None
    except ValueError:
        return None


def _clock(whose: str, date: datetime | None) -> Iterator[Finding]:
    """Times of events are those of the registry, times of receipt those of the collector."""
    off = date - datetime.now(UTC) if date else timedelta()
    if abs(off) > _SKEW:
        direction = "ahead of" if off > timedelta() else "behind"
        what = f"The clock of the {whose} is {abs(off).total_seconds():,.0f} s {direction} this one."
        yield Finding("clock", "warning", what, "Let both machines ask a time server (NTP).")


# The registry


def _registry(session: Session | None) -> Iterator[Finding]:
    if session is None:
        yield _skipped("registry", "--registry HOST:PORT")
        return
    try:
        with session.asked("GET", "/v2/") as answer:
            date = _parsed(answer.headers.get("Date"))
    except ActionError as error:
        yield Finding(
            "registry", "problem", str(error), "Log in (`docker login`), or name a --username, or another --registry."
        )
        return
    yield Finding("registry", "ok", f"{session.registry} answers, and knows us.")
    yield from _clock("registry", date)


class _Metrics(Struct, rename="pascal"):
    """What /debug/vars says of an endpoint; its headers, with the token, are not even read."""

    pending: int = 0
    successes: int = 0
    failures: int = 0
    errors: int = 0
    statuses: dict[str, int] = {}


class _Endpoint(Struct):
    name: str = ""
    url: str = ""
    metrics: _Metrics = msgspec.field(name="Metrics", default_factory=_Metrics)


class _Notifications(Struct):
    endpoints: list[_Endpoint] = []


class _OfRegistry(Struct):
    notifications: _Notifications = msgspec.field(default_factory=_Notifications)


class _Vars(Struct):
    registry: _OfRegistry = msgspec.field(default_factory=_OfRegistry)


_WHY = {
    "401": "the token is wrong",
    "403": "the collector's `allow` does not have the registry's address",
    "404": "the collector does not know the source, or the path is wrong",
    "413": "events are larger than `max_body`",
    "503": "the collector cannot store anything",
}


def _queue(url: str | None) -> Iterator[Finding]:
    """What waits at the registry, as it says itself."""
    if url is None:
        yield _skipped("queue", "--debug URL, or http.debug.addr on loopback in the registry's config.yml")
        return
    try:
        answer = ask(url, "GET", None, {}, _PATIENCE, most=1 << 22)
        endpoints = msgspec.json.decode(answer.body, type=_Vars).registry.notifications.endpoints
    except (UnreachableError, msgspec.DecodeError, msgspec.ValidationError) as error:
        yield Finding(
            "queue", "problem", f"{url} does not say what waits: {error}.", "Write `http.debug.addr` into config.yml."
        )
        return
    for endpoint in endpoints:
        yield _waiting(endpoint.name, endpoint.metrics)
    if not endpoints:
        yield Finding("queue", "problem", "The registry has no endpoint.", "Restart it, if config.yml has one.")


def _waiting(name: str, metrics: _Metrics) -> Finding:
    name = visible(name)
    statuses = {status.partition(" ")[0]: number for status, number in metrics.statuses.items()}
    reasons = [why for status, why in _WHY.items() if statuses.get(status)]
    refused = "; ".join(reasons) or ("it cannot be reached" if metrics.errors else "see the registry's log")
    if metrics.pending and (metrics.failures or metrics.errors):
        what = f"{metrics.pending:,} events wait at {name}, and are refused: {refused}."
        return Finding(
            "queue", "problem", what, "Do not restart the registry before they are through: it would lose them."
        )
    lost = sorted(status for status in statuses if status.startswith("3"))
    if lost:
        what = f"{name} was answered {', '.join(lost)}: events were redirected, and lost."
        return Finding("queue", "problem", what, "Let `url` be the collector's address exactly.")
    if metrics.pending:
        return Finding("queue", "warning", f"{metrics.pending:,} events wait at {name}.")
    return Finding("queue", "ok", f"Nothing waits at {name}; {metrics.successes:,} events were delivered.")


# The store


def _store(settings: Settings, *, will_come: bool) -> Iterator[Finding]:
    try:
        stats = Stats(settings.data, exclude=settings.exclude)
        health = stats.health()
    except RegstatsError as error:
        yield Finding("store", "problem", str(error), "Say where it is with --data.")
        return
    if health.empty:
        what = f"The store {settings.data} is empty: nothing has ever arrived."
        status: Status = "warning" if will_come else "problem"
        yield Finding("store", status, what, "Pull or push something, and look at the findings above.")
    for row in health.to_dict("records"):
        yield from _source(row, stats)


def _source(row: Any, stats: Stats) -> Iterator[Finding]:
    name = visible(str(row["source"]))
    last = f"{row['last_received']:%Y-%m-%d %H:%M:%S} UTC"
    yield Finding("store", "ok", f"{row['events']:,} events of {name!r} are in the store, the last of {last}.")
    if row["quarantined"]:
        (reason,) = stats.quarantine(limit=1)["error"].head(1)
        what = f"{row['quarantined']:,} deliveries of {name!r} were not understood; the last: {visible(str(reason))}"
        yield Finding("quarantine", "warning", what, "`regstats quarantine` lists them with their reasons.")
    if row["gaps"]:
        longest = row["longest_gap"].total_seconds() / 3600
        what = f"From {name!r} nothing came {row['gaps']:,} times for long, once for {longest:,.1f} hours."
        yield Finding(
            "gaps",
            "warning",
            what,
            "`regstats health` says more. What a registry had not sent when it was restarted is lost.",
        )
