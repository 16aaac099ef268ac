"""What the answers of a collector, a registry and its queue mean: what is wrong there, and what to do."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any
from urllib.parse import urljoin

import msgspec
from msgspec import Struct

from regstats.config import DEFAULT_SOURCE, Settings, is_loopback
from regstats.credentials import Login
from regstats.findings import CONFIG, NTP, Finding, Status, masked, refused, split
from regstats.registry_config import place, shown
from regstats.requesting import Answer
from regstats.terminal import visible

SKEW = timedelta(seconds=5)
"""How far clocks may be apart: dates of answers are whole seconds."""

# The collector


def unreachable(url: str, why: str, settings: Settings) -> Finding:
    """Nobody answers."""
    remedy = f"Start it, and look at its log:\n  regstats serve --host {settings.host} --port {settings.port}"
    if not is_loopback(split(url).hostname or "") and is_loopback(settings.host):
        remedy = 'It may listen on this machine only. Write in regstats.toml, and restart it:\n  host = "0.0.0.0"'
    elif "CERTIFICATE" in why.upper():
        remedy = "Its certificate is not believed. Start the registry, and this, with\n  SSL_CERT_FILE=ca.pem"
    elif "not known" in why or "resolution" in why:
        remedy = "Name the address under which it is reached from here: --collector URL"
    elif "timed out" in why:
        remedy = "Look at the firewalls in between."
    return Finding("collector", "problem", f"{masked(url)} cannot be reached: {why}", remedy)


def told(answer: Answer, url: str) -> Iterator[Finding]:
    """What a collector says of itself."""
    said = _decoded(answer)
    if said.get("status") not in ("ok", "failing"):
        what = f"what answers at {url} is no collector; it says {answer.status}"
        remedy = "That is right where a proxy passes on /events alone. Else name the right address: --collector URL"
        yield Finding("collector", "warning", what, remedy)
        return
    if answer.status != HTTPStatus.OK:
        yield Finding("collector", "problem", f"{url} says that nothing can be stored", refused(503, "", url)[1])
    else:
        yield Finding("collector", "ok", f"{url} says that it is well")
    problems = said.get("problems")
    if problems is None:
        yield Finding("collector", "hint", "it says no more, because it knows no token or another", "Name it: --token.")
    for problem in problems if isinstance(problems, list) else []:
        yield Finding("collector", "warning", str(problem), _help(str(problem)))


def _redirects(answer: Answer, url: str) -> Finding:
    """An address that leads somewhere else: nothing of what a registry posts there comes anywhere."""
    there = visible(masked(urljoin(url, answer.headers.get("Location", ""))))
    what = f"{url} redirects to {there} ({answer.status}): a registry follows without what it has to say"
    return Finding("collector", "problem", what, f"Write in {CONFIG}, and restart it:\n  url: {there}")


def taken(answer: Answer, source: str, url: str, whose: str) -> Finding:
    """Whether it would take a delivery."""
    if answer.status == HTTPStatus.NO_CONTENT:
        return Finding("collector", "ok", f"{url} takes deliveries of `{source}`, {whose}")
    if 300 <= answer.status < 400:
        return _redirects(answer, url)
    if answer.status == HTTPStatus.METHOD_NOT_ALLOWED:
        what = f"{url} does not say whether it takes deliveries (405 to OPTIONS)"
        return Finding("collector", "warning", what, "An older regstats does not, nor some proxies. --probe shows it.")
    why, remedy = refused(answer.status, source, url)
    status: Status = "problem"
    if answer.status == HTTPStatus.FORBIDDEN:  # the registry may be allowed to send
        status, whose = "warning", "to this machine"
    return Finding("collector", status, f"{url} answers {answer.status}, {whose}: {why}", remedy)


def of_another(url: str) -> Finding:
    """A collector that runs with other settings than those that are looked at."""
    remedy = "Restart it, if they have changed since; else name those that it has: --config FILE, or --token"
    return Finding("collector", "problem", f"{url} does not take the token that the settings have", remedy)


_REASONS = {"unauthorized": 401, "address not allowed": 403, "unknown source": 404, "too large": 413, "cut off": 400}


def _help(problem: str) -> str:
    """What to do about something that a collector says."""
    status = next((status for reason, status in _REASONS.items() if reason in problem), None)
    if status is None:
        return "See its log."
    source = problem.partition(" deliveries of ")[2].partition(" were not taken")[0]
    return refused(status, source or DEFAULT_SOURCE, "")[1]


def apart(check: str, headers: Mapping[str, str], now: datetime) -> Iterator[Finding]:
    """Whether another machine's clock is right, if this one's is."""
    try:
        there = parsedate_to_datetime(headers.get("Date", ""))
    except ValueError:
        return
    there = there if there.tzinfo else there.replace(tzinfo=UTC)
    if abs(there - now) > SKEW:
        what = f"its clock says {there:%Y-%m-%d %H:%M:%S} UTC, and the one here {now:%Y-%m-%d %H:%M:%S}"
        yield Finding(check, "warning", what, NTP)


def _decoded(answer: Answer) -> dict[str, Any]:
    try:
        said = msgspec.json.decode(answer.body)
    except msgspec.DecodeError:
        return {}
    return said if isinstance(said, dict) else {}


# The registry


def unasked(error: str, registry: str, login: Login | None) -> Finding:
    """A registry that does not let itself be asked."""
    if "login" in error or "wrong user" in error:
        remedy = f"Name another: --username, --password-stdin, or\n  docker login {registry}"
        remedy = remedy if login is not None else remedy.replace("Name another: ", "Name one: ")
    elif "CERTIFICATE" in error.upper():
        remedy = "Name who vouches for it: --ca ca.pem, or believe it anyway: --insecure"
    elif "SSL" in error.upper() or "wrong version" in error:
        remedy = f"If it has no TLS, name it so: --registry http://{registry}"
    else:
        remedy = "Look whether it runs, and into its log: it does not start with a mistake in its configuration."
    return Finding("registry", "problem", error, remedy)


def answered(base: str, headers: Mapping[str, str], login: Login | None) -> Finding:
    """A registry that can be asked."""
    who = (
        f"as {login.user}" if login is not None and login.user else "without a login" if login is None else "by a token"
    )
    version = headers.get("Docker-Distribution-Api-Version")
    if version is None:
        return Finding("registry", "hint", f"{base} answers {who}, and does not say which registry it is")
    return Finding("registry", "ok", f"{base} answers {who} ({version})")


# Its queue


class _Metrics(Struct, frozen=True, rename="pascal"):
    pending: int = 0
    events: int = 0
    successes: int = 0
    failures: int = 0
    errors: int = 0
    statuses: dict[str, int] = {}


class Queue(Struct, frozen=True):
    """What a running registry says of an endpoint. Its headers, which hold the token, are not even read."""

    name: str = ""
    url: str = ""
    metrics: _Metrics = msgspec.field(default_factory=_Metrics, name="Metrics")


class _Notifications(Struct, frozen=True):
    endpoints: list[Queue] | None = None


class _Registry(Struct, frozen=True):
    notifications: _Notifications = _Notifications()


class _Vars(Struct, frozen=True):
    registry: _Registry


def endpoints_of(answer: Answer) -> list[Queue] | None:
    """The queues that `/debug/vars` tells of; None where that is not what answers."""
    try:
        return msgspec.json.decode(answer.body, type=_Vars).registry.notifications.endpoints or []
    except msgspec.DecodeError:
        return None


def queued(listed: list[Queue] | None, url: str, configured: str | None) -> Iterator[Finding]:
    """What has not been delivered, and why."""
    if listed is None:
        yield Finding("queue", "problem", "what answers at --debug is no registry", "Name its http.debug.addr.")
        return
    if configured is not None and configured not in [queue.url for queue in listed]:
        yield Finding("queue", "problem", "the registry runs with another configuration than this file: it sends to "
                      f"{', '.join(shown(queue.url) for queue in listed) or 'nobody'}", "Restart it.")  # fmt: skip
    ours = [q for q in listed if place(q.url)[1] and q.url in (configured, url)] or [
        q for q in listed if place(q.url)[1]
    ]
    for queue in ours:
        yield from of_queue(queue)


def of_queue(queue: Queue) -> Iterator[Finding]:
    """How one endpoint does."""
    numbers, name = queue.metrics, f"`{queue.name}`"
    said = f"{name}: {numbers.events:,} events, {numbers.successes:,} delivered, {numbers.pending:,} wait"
    reasons = list(_reasons(queue))
    if not reasons:
        yield Finding("queue", "ok", said)
    for is_lost, why, remedy in reasons:
        if is_lost or numbers.pending:
            yield Finding("queue", "problem", f"{said}; {why}", remedy)
        else:
            yield Finding("queue", "hint", f"{said}; that is over: {why}")


def _reasons(queue: Queue) -> Iterator[tuple[bool, str, str]]:
    """Why deliveries failed: whether they are lost, in words, and what to do."""
    url, source = masked(queue.url), place(queue.url)[1] or DEFAULT_SOURCE
    for text, number in queue.metrics.statuses.items():
        status = int(text.split()[0]) if text.split()[:1] and text.split()[0].isdigit() else 0
        if status != HTTPStatus.NO_CONTENT:
            why, remedy = refused(status, source, url)
            yield status < 400, f"{number:,} times {visible(text)}: {why}", remedy
    if queue.metrics.errors:
        remedy = f"Look whether the registry's machine reaches {url}, and whether it takes longer than `timeout`."
        yield False, f"{queue.metrics.errors:,} times no answer", remedy
