"""What is wrong in a Distribution registry's config.yml, as far as its notifications depend on it.

What such a file may say, and what comes of it, was tried with docker-registry 2.8.2.
"""

import difflib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from msgspec import Struct

from regstats import extras, senders
from regstats.config import DEFAULT_SOURCE, Settings, Source, is_loopback
from regstats.errors import ConfigError
from regstats.findings import BEARER, CONFIG, Finding, Status, masked, split
from regstats.registry import INDEXES, MANIFESTS
from regstats.requesting import basic, is_address

CHECK = "configuration"

_PATH = re.compile(r"(?P<before>.*?)/events(?:/(?P<source>[^/]+))?/?")
_SHAPES: dict[str, tuple[type | tuple[type, ...], str]] = {
    "name": ((str, int, float), "a text"),
    "disabled": (bool, "true or false"),
    "url": (str, "a text"),
    "headers": (dict, "names with lists of values"),
    "timeout": ((int, float, str), "a time such as 3s"),
    "threshold": ((int, float), "a number"),
    "backoff": ((int, float, str), "a time such as 5s"),
    "ignoredmediatypes": (list, "a list"),
    "ignore": (dict, "`mediatypes` and `actions`"),
}
"""What an endpoint may say. With another type the registry does not start; with another name it ignores it."""
_SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION = re.compile(r"0|\+?(?:(?:\d+\.?\d*|\.\d+)(?:ns|us|µs|ms|s|m|h))+")
_PIECE = re.compile(r"([\d.]+)([a-zµ]+)")
_SHORT, _GOOD = 0.1, 3.0  # seconds
_BLOB = "application/octet-stream"


class Wanted(Struct, frozen=True, kw_only=True):
    """What the registry should say, as far as that is known."""

    url: str | None = None
    """Where the collector is."""
    source: str | None = None
    token: str | None = None
    """What is right, whatever the settings say."""
    settings: Settings | None = None
    """The collector's, if they are known."""
    registry: str | None = None
    """Where clients reach it."""

    def of(self, source: str) -> Source:
        """What the collector wants to see of a source, as far as that is known."""
        said = self.settings.source(source) if self.settings is not None else Source()
        return Source(token=self.token) if self.token else said

    @property
    def sources(self) -> list[str]:
        """Those that the collector knows; none where its settings are not known."""
        return [DEFAULT_SOURCE, *self.settings.sources] if self.settings is not None else []


class Endpoint(Struct, frozen=True):
    """To whom a registry tells what happens."""

    said: dict[str, Any]

    @property
    def name(self) -> str:
        """What it is called."""
        return str(self.said.get("name") or "without a name")

    @property
    def url(self) -> str:
        """Where it sends to; it may have a login in it."""
        return str(self.said.get("url") or "")

    @property
    def source(self) -> str | None:
        """As which source its events come; None where that is no path of a collector."""
        return place(self.url)[1]

    @property
    def authorization(self) -> list[str]:
        """What it shows; more than one value is more than one header."""
        for name, values in _table(self.said, "headers").items():
            if str(name).lower() == "authorization":
                return [str(value) for value in (values if isinstance(values, list) else [values] if values else [])]
        parts = split(self.url)
        if parts.username is None:
            return []
        return list(basic(unquote(parts.username), unquote(parts.password or "")).values())

    def shows(self, token: str) -> bool:
        """Whether that is the right one."""
        return len(self.authorization) == 1 and senders.shows(self.authorization[0], token)


def place(url: str) -> tuple[str, str | None]:
    """The address of a collector, and the source, that a URL of deliveries means; without the one, the other."""
    parts = split(masked(url))
    found = _PATH.fullmatch(parts.path)
    path = found["before"] if found else parts.path.rstrip("/")
    source = (found["source"] or DEFAULT_SOURCE) if found else None
    return f"{parts.scheme}://{parts.netloc}{path}", source


def shown(url: str) -> str:
    """An address of whoever is told something; but for collectors, its path may be a secret."""
    base, source = place(url)
    return masked(url) if source else f"{split(base).scheme}://{split(base).netloc}/…"


def read(path: Path) -> dict[str, Any]:
    """A registry's configuration. Raises ConfigError where it cannot be read, and MissingExtraError."""
    yaml = extras.module("yaml", "doctor", "PyYAML")
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"Cannot read {path}: {error.strerror}.") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:  # what they say may show the token
        mark = getattr(error, "problem_mark", None)
        raise ConfigError(f"{path} is not YAML{f', in line {mark.line + 1}' if mark else ''}.") from None
    if not isinstance(found, dict):
        raise ConfigError(f"{path} is no registry's configuration: it has no names in it.")
    return found


def debug_address(config: Mapping[str, Any]) -> str | None:
    """Where the registry tells of its queue, if it does."""
    address = _table(config, "http", "debug").get("addr")
    return str(address) if address else None


def examine(config: Mapping[str, Any], wanted: Wanted) -> tuple[Endpoint | None, list[Finding]]:
    """The endpoint that is the collector's, and all that there is to say."""
    listed = _table(config, "notifications").get("endpoints")
    endpoints = [Endpoint(said) for said in listed if isinstance(said, dict)] if isinstance(listed, list) else []
    chosen = _chosen(endpoints, wanted)
    if chosen is None:
        return None, [_no_endpoint(endpoints, wanted), *_whole(config, wanted)]
    found = [finding for look in _LOOKS for finding in look(chosen, wanted)]
    found += [*_twice(endpoints, chosen.url), *_whole(config, wanted)]
    if not any(finding.status == "problem" for finding in found):
        said = f"`{chosen.name}` sends to {masked(chosen.url)}, as the source `{chosen.source}`"
        found.insert(0, Finding(CHECK, "ok", said))
    return chosen, found


def _whole(config: Mapping[str, Any], wanted: Wanted) -> Iterator[Finding]:
    for check in (_references, _deletes, _debug, _beside):
        yield from check(config, wanted)


# Which one it is


def _chosen(endpoints: list[Endpoint], wanted: Wanted) -> Endpoint | None:
    """The one that sends to the collector; else the one that looks most like it."""
    ours = [endpoint for endpoint in endpoints if endpoint.source]
    there = [endpoint for endpoint in endpoints if wanted.url and is_same(endpoint.url, wanted.url)]
    among = [endpoint for endpoint in there if endpoint.source] or there or ours
    return next((endpoint for endpoint in among if endpoint.source == wanted.source), among[0] if among else None)


def is_same(one: str, other: str) -> bool:
    """Whether two addresses are of one server; any name of this machine is the same."""
    return _server(one) == _server(other)


def _server(url: str) -> tuple[str, int | None]:
    parts = split(url)
    host = parts.hostname or ""
    return "localhost" if is_loopback(host) else host, parts.port or {"http": 80, "https": 443}.get(parts.scheme)


def _no_endpoint(endpoints: list[Endpoint], wanted: Wanted) -> Finding:
    url = f"{place(wanted.url)[0]}/events" if wanted.url else "http://HOST:8080/events"
    lines = [
        f"Write in {CONFIG}, and restart it:",
        "  notifications:",
        "    events: {includereferences: true}",
        "    endpoints:",
        f"      - {{name: regstats, url: {url}, timeout: 3s, threshold: 5, backoff: 5s,",
        "         headers: {Authorization: [Bearer TOKEN]}}",
        BEARER.splitlines()[-1],
    ]
    if not endpoints:
        return Finding(CHECK, "problem", "there are no notifications.endpoints: it tells nobody", "\n".join(lines))
    named = ", ".join(f"`{endpoint.name}` to {shown(endpoint.url)}" for endpoint in endpoints)
    return Finding(CHECK, "problem", f"no endpoint sends to a collector: {named}", "\n".join(lines))


def _twice(endpoints: list[Endpoint], url: str) -> Iterator[Finding]:
    sources = {e.source for e in endpoints if e.source and not e.said.get("disabled") and is_same(e.url, url)}
    if len(sources) > 1:
        named = ", ".join(f"`{source}`" for source in sorted(map(str, sources)))
        yield _found(
            "warning", f"everything comes several times, as the sources {named}", "Remove all but one of them."
        )


# What one endpoint says


def _shapes(endpoint: Endpoint, _wanted: Wanted) -> Iterator[Finding]:
    for name, value in endpoint.said.items():
        if name not in _SHAPES:
            near = difflib.get_close_matches(str(name), _SHAPES, n=1)
            meant = f"Write `{near[0]}`." if near else "Remove it."
            yield _found(
                "warning", f"`{endpoint.name}` says `{name}`, which a registry does not know, and ignores", meant
            )
        elif value is not None and (not isinstance(value, kinds := _SHAPES[name][0]) or _is_odd(value, kinds)):
            yield _found(
                "problem", f"`{name}` is not {_SHAPES[name][1]}: the registry does not start", _in(name, endpoint)
            )


def _is_odd(value: Any, kinds: type | tuple[type, ...]) -> bool:
    """True and False are numbers for Python."""
    return isinstance(value, bool) and kinds is not bool


def _in(name: str, endpoint: Endpoint) -> str:
    example = {"headers": "{Authorization: [Bearer TOKEN]}", "timeout": "3s", "backoff": "5s", "threshold": "5"}
    example |= {"ignoredmediatypes": "[application/octet-stream]", "disabled": "false", "name": "regstats"}
    shown = f"{name}: {example[name]}" if name in example else f"(without `{name}`)"
    return f"Write at the endpoint `{endpoint.name}`, for example:\n  {shown}"


def _disabled(endpoint: Endpoint, _wanted: Wanted) -> Iterator[Finding]:
    if endpoint.said.get("disabled") is True:
        yield _found(
            "problem", f"`{endpoint.name}` is disabled", "Write there, and restart the registry:\n  disabled: false"
        )


def _address(endpoint: Endpoint, wanted: Wanted) -> Iterator[Finding]:
    url = masked(endpoint.url)
    right = f"{place(wanted.url or endpoint.url)[0]}/events"
    if not is_address(url):
        yield _found("problem", f"`{endpoint.name}` has {url!r} as its url, which is no address", _url(right))
    elif endpoint.source is None:
        path = split(url).path or "/"
        yield _found("problem", f"`{endpoint.name}` sends to {path}, which is no path for deliveries", _url(right))
    elif wanted.url and is_same(url, wanted.url) and split(url).scheme != split(wanted.url).scheme:
        yield _found("problem", f"`{endpoint.name}` sends to {url}, and the collector is {wanted.url}", _url(right))
    elif wanted.url and not is_same(url, wanted.url):
        what = f"`{endpoint.name}` sends to {url}, not to {place(wanted.url)[0]}"
        yield _found("hint", what, "That is right if both are the same collector.")


def _url(right: str) -> str:
    return f"Write there, and restart the registry:\n  url: {right}"


def _here(endpoint: Endpoint, wanted: Wanted) -> Iterator[Finding]:
    host, registry = split(endpoint.url).hostname or "", split(f"//{wanted.registry or ''}").hostname
    if registry and is_loopback(host) and not is_loopback(registry):
        what = (
            f"`{endpoint.name}` sends to {host}, which for a registry on another machine, or in a container, is itself"
        )
        yield _found("warning", what, "Write there the collector's address as the registry reaches it, unless both are "
                     "on one machine.")  # fmt: skip


def _source(endpoint: Endpoint, wanted: Wanted) -> Iterator[Finding]:
    source = endpoint.source
    if source is None:
        return
    if wanted.source not in (None, source):
        path = "" if wanted.source == DEFAULT_SOURCE else f"/{wanted.source}"
        what = f"`{endpoint.name}` sends as the source `{source}`, not as `{wanted.source}`"
        yield _found("problem", what, _url(f"{place(endpoint.url)[0]}/events{path}"))
    elif wanted.sources and source not in wanted.sources:
        named = ", ".join(f"`{name}`" for name in wanted.sources)
        yield _found("problem", f"the settings have no source `{source}`; there are {named}",
                     f"Write in regstats.toml, and restart the collector:\n  [sources.{source}]\nor in {CONFIG}:\n"
                     f"  url: {place(endpoint.url)[0]}/events")  # fmt: skip


def _authorization(endpoint: Endpoint, wanted: Wanted) -> Iterator[Finding]:
    source, values = endpoint.source or DEFAULT_SOURCE, endpoint.authorization
    right = wanted.of(source)
    if right.signing_secret and not right.token:
        line = f"Write in regstats.toml a `token` in [sources.{source}], instead of `signing_secret`."
        yield _found("problem", f"the source `{source}` has to sign, which this registry cannot", line)
        return
    if len(values) > 1:
        yield _found("problem", f"`{endpoint.name}` shows {len(values)} tokens, and a sender may show one", BEARER)
    elif right.token is not None and not endpoint.shows(right.token):
        yield _found("problem", f"`{endpoint.name}` {_why_wrong(values)}", BEARER)


def _why_wrong(values: list[str]) -> str:
    if not values:
        return "shows no token"
    if "$" in values[0]:
        return "names a variable instead of the token: a registry does not fill in its file"
    if "YOUR-TOKEN" in values[0] or values[0].split()[-1:] == ["TOKEN"]:
        return "shows the example's token"
    return "shows another token than its source has"


def _headers(endpoint: Endpoint, _wanted: Wanted) -> Iterator[Finding]:
    for name, values in _table(endpoint.said, "headers").items():
        if values is not None and not isinstance(values, list):
            what = f"the header {name} is not a list: the registry does not start"
            yield _found("problem", what, f"Write there, with what it says now between the brackets:\n  {name}: […]")
        elif str(name).lower() in ("content-type", "content-length", "host"):
            yield _found("warning", f"the header {name} is sent a second time, beside the registry's own", "Remove it.")


def _times(endpoint: Endpoint, _wanted: Wanted) -> Iterator[Finding]:
    for name, good, why in (("timeout", "3s", "no answer comes within"), ("backoff", "5s", "it tries again after")):
        value, line = endpoint.said.get(name), f"Write there:\n  {name}: {good}"
        seconds = _seconds(value)
        if seconds is None:
            yield _found("problem", f"`{name}: {value}` is no time: the registry does not start", line)
        elif seconds < _SHORT:
            unit = ", because it has no unit" if not isinstance(value, str) else ""
            what = f"`{name}: {value}`: {why} {seconds * 1e9:,.0f} ns{unit}"
            yield _found("problem" if name == "timeout" else "warning", what, line)
        elif name == "timeout" and seconds < _GOOD:
            said = f"`timeout: {value}`" if value else "the timeout, of which nothing is said,"
            what = f"{said} is {seconds:g} s: what a busy disk makes later than that is sent again"
            yield _found("warning" if seconds < 1 else "hint", what, line)


def _seconds(value: Any) -> float | None:
    """How long that is; a registry's own timeout if nothing is said, and None where it is no time."""
    if isinstance(value, str):
        if not _DURATION.fullmatch(value):
            return None
        seconds = sum(float(number) * _SECONDS[unit] for number, unit in _PIECE.findall(value))
    else:
        seconds = int(value) * 1e-9 if isinstance(value, int | float) else 0.0
    return seconds if seconds > 0 else 1.0


def _ignored(endpoint: Endpoint, _wanted: Wanted) -> Iterator[Finding]:
    ignore = _table(endpoint.said, "ignore")
    types = [*_list(endpoint.said.get("ignoredmediatypes")), *_list(ignore.get("mediatypes"))]
    if dropped := [kind for kind in types if kind in (*MANIFESTS, *INDEXES)]:
        yield _found(
            "problem", f"pushes and pulls of {', '.join(dropped)} are not told", "Remove these media types there."
        )
    if _BLOB in types:
        yield _found("hint", "blobs are not told: which pulls fetched something, and sizes, are not known",
                     f"Remove {_BLOB} there, if you want to know.")  # fmt: skip
    yield from _ignored_actions(_list(ignore.get("actions")), bool(types))


def _ignored_actions(actions: list[str], works: bool) -> Iterator[Finding]:
    if not actions:
        return
    named, counted = ", ".join(actions), {"pull", "push"} & set(actions)
    if works:
        yield _found("problem" if counted else "warning", f"{named} is not told", "Remove `actions` there.")
        return
    what = f"`ignore.actions` does nothing alone before Distribution 3.1, and from then on {named} is not told"
    yield _found("warning", what, "Remove it there. If it is meant, name a media type beside it that does not exist:\n"
                 f"  ignore: {{actions: [{named}], mediatypes: [application/x-none]}}")  # fmt: skip


_LOOKS = (_shapes, _disabled, _address, _here, _source, _authorization, _headers, _times, _ignored)


# What the rest of the file says


def _references(config: Mapping[str, Any], _wanted: Wanted) -> Iterator[Finding]:
    if _table(config, "notifications", "events").get("includereferences") is not True:
        what = "what a manifest refers to is not told: which children an index has, what belongs to an image"
        yield _found("hint", what, f"Write in {CONFIG}:\n  notifications: {{events: {{includereferences: true}}}}")


def _deletes(config: Mapping[str, Any], _wanted: Wanted) -> Iterator[Finding]:
    if _table(config, "storage", "delete").get("enabled") is not True and "proxy" not in config:
        what = "nothing can be deleted: `regstats images delete` and `prune` will not work"
        yield _found("hint", what, f"Write in {CONFIG}, if that is to be:\n  storage: {{delete: {{enabled: true}}}}")


def _debug(config: Mapping[str, Any], _wanted: Wanted) -> Iterator[Finding]:
    address = debug_address(config)
    if address is not None and not _is_near(address):
        what = f"http.debug at {address} shows the endpoint's token to everybody who reaches it"
        port = address.rpartition(":")[2]
        yield _found("warning", what, f"Write in {CONFIG}:\n  http: {{debug: {{addr: 127.0.0.1:{port}}}}}")


def _beside(config: Mapping[str, Any], wanted: Wanted) -> Iterator[Finding]:
    """Whether clients can go round what is before the registry."""
    address = str(_table(config, "http").get("addr") or "")
    port = split(f"//{wanted.registry or ''}").port
    if address and port and not address.endswith(f":{port}") and not _is_near(address):
        what = f"clients that reach {address} can go round what listens at {wanted.registry}"
        line = f"  http: {{addr: 127.0.0.1:{address.rpartition(':')[2]}}}"
        yield _found("hint", what, f"If that is a proxy on the same machine, write in {CONFIG}:\n{line}")


def _is_near(address: str) -> bool:
    return is_loopback(split(f"//{address}").hostname or "")


def _found(status: Status, what: str, remedy: str) -> Finding:
    return Finding(CHECK, status, what, remedy)


def _table(value: Any, *names: str) -> dict[str, Any]:
    """A table within others; an empty one where it is not there, or is something else."""
    for name in names:
        value = value.get(name) if isinstance(value, dict) else None
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[str]:
    return [str(one) for one in value] if isinstance(value, list) else []
