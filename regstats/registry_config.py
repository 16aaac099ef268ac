"""What a registry's `config.yml` has to say for its notifications to arrive, and what is wrong with one."""

import ipaddress
from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal
from urllib.parse import unquote, urlsplit

from msgspec import Struct

from regstats import extras, senders
from regstats.config import DEFAULT_SOURCE, Settings, is_loopback
from regstats.errors import ConfigError
from regstats.registry import INDEXES, MANIFESTS
from regstats.terminal import visible

Status = Literal["ok", "warning", "problem", "skipped"]
_BLOBS = "application/octet-stream"
_SHORT = timedelta(seconds=1)
_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


class Finding(Struct, frozen=True):
    """What came of a check."""

    check: str
    """What was looked at."""
    status: Status
    what: str
    """What was found."""
    remedy: str = ""
    """What to write where."""


def read(path: Path) -> dict[str, Any]:
    """A registry's configuration. Raises ConfigError, and MissingExtraError without PyYAML."""
    yaml = extras.module("yaml", "doctor", "PyYAML")
    try:
        said = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"Cannot read {path}: {getattr(error, 'strerror', None) or error}.") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is not valid YAML: {error}") from None
    if not isinstance(said, dict):
        raise ConfigError(f"{path} is not the configuration of a registry: it is no table.")
    return said


def examine(said: Mapping[str, Any], collector: str, settings: Settings) -> Iterator[Finding]:
    """What is wrong in a configuration; if nothing is, that an endpoint posts to the collector."""
    notifications = _table(said, "notifications")
    endpoints = [one for one in notifications.get("endpoints") or [] if isinstance(one, dict)]
    mine = [one for one in endpoints if _is_at(one, collector)]
    if not mine:
        yield _nowhere(endpoints, collector)
    for endpoint in mine:
        found = list(_endpoint(endpoint, settings))
        yield from found
        if not any(finding.status == "problem" for finding in found):
            yield Finding("endpoint", "ok", f"{_name(endpoint)} posts to {_url(endpoint)}.")
    yield from _rest(said, notifications)


def source_of(endpoint: Mapping[str, Any]) -> str | None:
    """The source that an endpoint posts as; None if its path is none of the collector's."""
    path = unquote(urlsplit(_url(endpoint)).path).rstrip("/")
    if path == "/events":
        return DEFAULT_SOURCE
    head, _, name = path.rpartition("/")
    return name if head == "/events" else None


def _table(said: Mapping[str, Any], *keys: str) -> Mapping[str, Any]:
    for key in keys:
        inner = said.get(key)
        said = inner if isinstance(inner, dict) else {}
    return said


def _url(endpoint: Mapping[str, Any]) -> str:
    return visible(str(endpoint.get("url") or ""))


def _name(endpoint: Mapping[str, Any]) -> str:
    return f"The endpoint {visible(str(endpoint.get('name') or '(without a name)'))}"


def _is_at(endpoint: Mapping[str, Any], collector: str) -> bool:
    """Whether it is meant for the collector: it posts there, or to such a path somewhere."""
    url, here = urlsplit(_url(endpoint)), urlsplit(collector)
    return url.netloc.rpartition("@")[2] == here.netloc or url.path.startswith("/events")


def _nowhere(endpoints: list[dict[str, Any]], collector: str) -> Finding:
    others = f" They post to {', '.join(map(_url, endpoints))}." if endpoints else ""
    return Finding(
        "endpoint", "problem", f"No endpoint of `notifications` posts to {collector}.{others}",
        f"Write the block that `regstats config registry --url {collector}/events` prints, and restart the registry.",
    )  # fmt: skip


def _endpoint(endpoint: Mapping[str, Any], settings: Settings) -> Iterator[Finding]:
    name = _name(endpoint)
    if endpoint.get("disabled"):
        yield Finding("endpoint", "problem", f"{name} is disabled.", "Remove `disabled: true`.")
    source = source_of(endpoint)
    if source is None:
        yield Finding(
            "endpoint", "problem", f"{name} posts to {_url(endpoint)}, which is no address of the collector.",
            "Let `url` end in /events, or in /events/ and the name of a source.",
        )  # fmt: skip
    elif source != DEFAULT_SOURCE and source not in settings.sources:
        yield Finding(
            "source", "problem", f"{name} posts as {visible(source)!r}, which the collector does not know.",
            f"Write [sources.{visible(source)}] with a token into regstats.toml, or let `url` end in /events.",
        )  # fmt: skip
    else:
        yield from _token(endpoint, settings, source)
    yield from _times(endpoint)
    yield from _ignored(endpoint)


def _token(endpoint: Mapping[str, Any], settings: Settings, source: str) -> Iterator[Finding]:
    """Whether it shows what the settings want to be shown."""
    name, wanted = _name(endpoint), settings.source(source)
    if wanted.signing_secret:
        what = f"{name} posts as {source!r}, which has a signing_secret, and registries cannot sign."
        yield Finding("token", "problem", what, f"Give [sources.{source}] a `token` instead.")
        return
    headers = endpoint.get("headers") or {}
    values = next((value for key, value in headers.items() if str(key).lower() == "authorization"), None)
    remedy = 'Write under `headers`:  Authorization: ["Bearer YOUR-TOKEN"]  with the token of the settings.'
    if values is not None and not isinstance(values, list):
        yield Finding("token", "problem", f"{name} has an Authorization header that is no list.", remedy)
        return
    user = urlsplit(str(endpoint.get("url") or ""))
    shown = [str(value) for value in values or []] + ([f"Bearer {user.password}"] if user.password else [])
    if not any(senders.shows(value, wanted.token) for value in shown or [""]):
        has = "shows another token than the collector wants" if shown else "shows no token, and the collector wants one"
        yield Finding("token", "problem", f"{name} {has}.", remedy)


def _times(endpoint: Mapping[str, Any]) -> Iterator[Finding]:
    for key in ("timeout", "backoff"):
        value = endpoint.get(key)
        if isinstance(value, int | float) and not isinstance(value, bool):
            what = f"{_name(endpoint)} has `{key}: {value}`, which are nanoseconds."
            yield Finding(key, "problem", what, f"Write a unit: `{key}: {value}s`.")
    if (seconds := _seconds(endpoint.get("timeout"))) is not None and seconds < _SHORT.total_seconds():
        what = f"{_name(endpoint)} waits only {seconds:g} s for an answer, and then sends it again."
        yield Finding("timeout", "warning", what, "Write `timeout: 3s`.")


def _seconds(text: object) -> float | None:
    """`500ms` and `3s`; of what has several parts nothing is said."""
    if not isinstance(text, str):
        return None
    number = text.rstrip("nuµmsh")
    try:
        return float(number) * _UNITS[text[len(number) :]]
    except (ValueError, KeyError):
        return None


def _ignored(endpoint: Mapping[str, Any]) -> Iterator[Finding]:
    """What is not told at all."""
    ignore = _table(endpoint, "ignore")
    types = [*(endpoint.get("ignoredmediatypes") or []), *(ignore.get("mediatypes") or [])]
    actions = [str(action) for action in ignore.get("actions") or []]
    name = _name(endpoint)
    if lost := sorted({str(one) for one in types} & {*INDEXES, *MANIFESTS}):
        what = f"{name} ignores {', '.join(lost)}: such images are not counted."
        yield Finding("ignored", "problem", what, "Remove them from `ignoredmediatypes` or `ignore.mediatypes`.")
    if _BLOBS in types:
        what = f"{name} ignores blobs, so `downloads` and sizes are not known."
        yield Finding("ignored", "warning", what, f"Remove {_BLOBS}, if you want to know them.")
    if actions and not types:
        what = f"{name} ignores actions ({', '.join(actions)}), which does nothing before Distribution 3.1."
        yield Finding("ignored", "warning", what, "Write a media type beside it: `mediatypes: [application/x-none]`.")
    if told := sorted({"pull", "push", "delete"} & set(actions)):
        what = f"{name} ignores {', '.join(told)}: they are not counted."
        yield Finding("ignored", "warning", what, "Remove them from `ignore.actions`.")


def _rest(said: Mapping[str, Any], notifications: Mapping[str, Any]) -> Iterator[Finding]:
    if not _table(notifications, "events").get("includereferences"):
        what = "It is not told what indexes list and images consist of, so sizes are not known."
        yield Finding("references", "warning", what, "Write under `notifications.events`: `includereferences: true`.")
    if not _table(said, "storage", "delete").get("enabled"):
        what = "Nothing can be deleted: `regstats images delete` and `prune` are answered 405."
        yield Finding("delete", "warning", what, "Write under `storage`: `delete: {enabled: true}`.")
    debug = str(_table(said, "http", "debug").get("addr") or "")
    if debug and not is_loopback(_host(debug)):
        what = f"/debug/vars on {visible(debug)} shows the token to everybody who reaches it."
        yield Finding("debug", "warning", what, "Let `http.debug.addr` be on 127.0.0.1.")


def debug_of(said: Mapping[str, Any]) -> str | None:
    """Where /debug/vars is, if that is on this machine."""
    address = str(_table(said, "http", "debug").get("addr") or "")
    return f"http://{address}/debug/vars" if address and is_loopback(_host(address)) else None


def _host(address: str) -> str:
    host = address.rpartition(":")[0].strip("[]")
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        return host
