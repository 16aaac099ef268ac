"""Settings: `regstats.toml`, overridden by `REGSTATS_*` variables, overridden by options."""

import difflib
import ipaddress
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from regstats import agenda
from regstats.agenda import Alert, Destination, Mail, Reports, Schedule
from regstats.errors import ConfigError
from regstats.events import TORN
from regstats.payloads import DIALECTS
from regstats.privacy import OPEN, Privacy
from regstats.rules import DockerService, Http, Kubernetes, Match, Registry, Rule

DEFAULT_SOURCE = "default"
DEFAULT_FILE = Path("regstats.toml")
_NO_SETTINGS = ("config", "now", "state")
"""`REGSTATS_CONFIG` is where the settings are, if not in the working directory; the others are for `Stats`, `Store`."""

Token = Annotated[str, Meta(min_length=1)]


def _check_networks(where: str, networks: Iterable[str]) -> None:
    for network in networks:
        try:
            ipaddress.ip_network(network)
        except ValueError as error:
            raise ValueError(f"`{network}` in {where} is not a network: {error}") from None


class Source(Struct, frozen=True, forbid_unknown_fields=True):
    """One configured sender, `[sources.NAME]`: it posts to `/events/NAME`."""

    token: Token | None = None
    """Its own token; without one, the collector's. A source with a `signing_secret` needs none."""
    allow: list[str] = []
    """Addresses and networks from which it may send; from everywhere if empty."""
    signing_secret: Token | None = None
    """What it signs with (HMAC), for senders that cannot show a token: Gitea, Nexus, Artifactory, GitHub."""
    dialect: str | None = None
    """Whose payloads it sends, where their shape does not tell: harbor, quay, …"""

    def __post_init__(self) -> None:
        _check_networks("allow", self.allow)
        if self.dialect not in (None, *DIALECTS):
            raise ValueError(f"there is no dialect `{self.dialect}`; there are: {', '.join(DIALECTS)}")


def _listed(lists: Struct) -> str:
    named = {name: values for name, values in msgspec.to_builtins(lists).items() if values}
    return "; ".join(f"{name} {', '.join(values)}" for name, values in named.items())


_NO_CLIENTS = ("Go-http-client/*", "harbor-registry-client", "regstats/*")


class Exclude(Struct, frozen=True, forbid_unknown_fields=True):
    """Who is not counted, `[exclude]`: by client, actor or network. A pull through a proxy is counted at the proxy."""

    clients: list[str] = msgspec.field(
        default_factory=lambda: ["Go-http-client/*", "harbor-registry-client", "regstats/*"]
    )
    """Globs of user agents, or names of clients: `trivy`. `regstats/…` is what `regstats images` looks with."""
    actors: list[str] = []
    """Globs of names."""
    networks: list[str] = []
    """Addresses, `10.0.0.0/8` or `192.0.2.7`."""

    def __str__(self) -> str:
        return _listed(self) or "nobody"

    def __post_init__(self) -> None:
        _check_networks("exclude.networks", self.networks)


Part = Literal["badge", "api", "page"]

HASHES = ("scrypt:", "pbkdf2:")
"""How a hash of a password begins."""
_HASH = re.compile(r"(scrypt(:[0-9]+){3}|pbkdf2:sha(1|224|256|384|512)(:[0-9]+)?)\$[^$]+\$[0-9a-f]+", re.ASCII)


class Read(Struct, frozen=True, forbid_unknown_fields=True):
    """Who may look at the numbers, `[read]`: page, API and badges."""

    token: Token | None = None
    """What readers must show; without one, the collector's."""
    users: dict[str, Token] = {}
    """Those who may log in (Basic), each with a password, or with werkzeug's hash of one: `scrypt:…`, `pbkdf2:…`."""
    public: list[Part] = []
    """What anybody may see."""
    registry: Annotated[str, Meta(pattern=r"^[A-Za-z0-9.\-:\[\]]+$")] | None = None
    """The registry's name in pull commands; without one, what most clients call it."""
    cache: Annotated[float, Meta(ge=0, le=3600)] = 10.0
    """Seconds that an answer may be old."""
    rate: Annotated[int, Meta(ge=0)] = 600
    """Answers a minute that are made anew for one reader, per worker process; 0: no limit. Others cost nothing."""

    def __post_init__(self) -> None:
        for user, password in self.users.items():
            if password.startswith(HASHES) and not _HASH.fullmatch(password):
                raise ValueError(
                    f"the password of `{user}` in read.users begins like a hash of werkzeug's, and is none"
                )


NOBODY = Exclude(clients=[], actors=[], networks=[])
"""Everybody is counted."""


_AGE = re.compile(r"([0-9]{1,5})([dwy])")
_DAYS = {"d": 1.0, "w": 7.0, "y": 365.25}


class Retention(Struct, frozen=True, forbid_unknown_fields=True):
    """How long what is kept, `[retention]`: `90d`, `12w` or `5y`; for ever if nothing is said."""

    deliveries: str | None = None
    """Older ones cannot be taken up again by `regstats rebuild`; their events stay."""
    events: str | None = None
    """Their pulls go with them."""

    def __post_init__(self) -> None:
        for text in (self.deliveries, self.events):
            if text is not None:
                age_of(text)


FOR_EVER = Retention()


class Team(Struct, frozen=True, forbid_unknown_fields=True):
    """Who has reports of their own, `[teams.NAME]`. Of several that something belongs to, the first one counts."""

    repositories: list[str] = []
    """Globs of names: `payments/*`."""
    actors: list[str] = []
    """Globs of the names of its people and machines."""

    def __str__(self) -> str:
        return _listed(self)

    def __post_init__(self) -> None:
        if not self.repositories and not self.actors:
            raise ValueError("a team has neither repositories nor actors; it needs one of both")


def age_of(text: str) -> timedelta:
    """`90d`, `12w`, `5y` as a time span. Raises ValueError for anything else."""
    match = _AGE.fullmatch(text)
    if match is None:
        raise ValueError(f"`{text}` in retention is not a time span such as 90d, 12w or 5y")
    return timedelta(days=int(match[1]) * _DAYS[match[2]])


class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything that can be set. A field is a key in `regstats.toml` and, in capitals, a `REGSTATS_*` variable."""

    data: str = "data"
    """The store: a directory, or the address of object storage."""
    host: str = "127.0.0.1"
    port: Annotated[int, Meta(ge=1, le=65535)] = 8080
    token: Token | None = None
    """What a sender must show. Needed on any address but loopback."""
    workers: Annotated[int, Meta(ge=1, le=64)] = 1
    seal_interval: Annotated[float, Meta(ge=0.05, le=3600)] = 5.0
    """Seconds between two seals of the journal. Readers see the journal too: this is not a delay of the numbers."""
    max_body: Annotated[int, Meta(ge=1024)] = 4 * 1024 * 1024
    """Bytes of one delivery that are accepted; a larger one is answered 413."""
    allow: list[str] = []
    """Addresses and networks from which the sources may send that say nothing else; from everywhere if empty."""
    trusted_proxies: list[str] = []
    """Addresses of proxies before the collector, whose X-Forwarded-For is believed."""
    request_timeout: Annotated[float, Meta(ge=1, le=3600)] = 20.0
    """Seconds that a delivery may take; a slower one is cut off and not stored. So nobody can hold up all others."""
    only: Literal["collector", "web"] | None = None
    """Only take deliveries, or only answer questions about a store that others write; both if nothing is said."""
    sources: dict[str, Source] = {}
    read: Read = Read()
    exclude: Exclude = Exclude()
    privacy: Privacy = OPEN
    retention: Retention = FOR_EVER
    teams: dict[str, Team] = {}
    mail: Mail | None = None
    destinations: dict[str, Destination] = {}
    report: Reports = Reports()
    alert: list[Alert] = []
    deploy: list[Rule] = []

    def __post_init__(self) -> None:
        named: dict[str, Sequence[agenda.Named]] = {
            "report.schedule": self.report.schedule,
            "alert": self.alert,
            "deploy": self.deploy,
        }
        agenda.check(self.mail, self.destinations, named)
        agenda.check_teams(self.report.schedule, self.teams)
        _check_networks("allow", self.allow)
        _check_networks("trusted_proxies", self.trusted_proxies)
        if TORN in self.sources:
            raise ValueError(f"a source cannot be named `{TORN}`: that is for torn lines of the journal")
        if "" in self.teams:
            raise ValueError("a team has no name; write [teams.NAME]")

    def source(self, name: str) -> Source:
        """What holds for a source, in all."""
        own = self.sources.get(name, Source())
        return Source(
            token=own.token or (None if own.signing_secret else self.token),
            allow=own.allow or self.allow,
            signing_secret=own.signing_secret,
            dialect=own.dialect,
        )

    @property
    def dialects(self) -> dict[str, str]:
        """Of sources that have a fixed one."""
        return {name: source.dialect for name, source in self.sources.items() if source.dialect}

    @property
    def reading_token(self) -> str | None:
        """What readers must show."""
        return self.read.token or self.token


_LISTS = ("allow", "trusted_proxies")  # in a variable: separated by commas
_TABLES: dict[str, type[Struct]] = {
    "sources.*": Source,
    "read": Read,
    "exclude": Exclude,
    "privacy": Privacy,
    "retention": Retention,
    "teams.*": Team,
    "mail": Mail,
    "destinations.*": Destination,
    "report": Reports,
    "report.schedule.*": Schedule,
    "alert.*": Alert,
    "deploy.*": Rule,
    "deploy.*.match": Match,
    "deploy.*.http": Http,
    "deploy.*.registry": Registry,
    "deploy.*.docker_service": DockerService,
    "deploy.*.kubernetes": Kubernetes,
}
"""What tables may be in the file; `*` is any name, or any entry of a list."""


def load(file: Path | None = None, environ: Mapping[str, str] = os.environ, **options: Any) -> Settings:
    """The settings in force. Options that are None were not given.

    Raises ConfigError: a file that is not there or not TOML, an unknown key (naming the nearest right one), a value of
    the wrong type.
    """
    given = {key: value for key, value in options.items() if value is not None}
    values = _read(in_force(file, environ)) | _from_environment(environ) | given
    try:
        return msgspec.convert(values, Settings, strict=False)
    except msgspec.ValidationError as error:
        raise ConfigError(f"A setting is wrong: {error}") from None


def in_force(file: Path | None, environ: Mapping[str, str] = os.environ) -> Path | None:
    """The settings file: the one that is named, or in `$REGSTATS_CONFIG`, or the default one if it is there."""
    if file or environ.get("REGSTATS_CONFIG"):
        return file or Path(environ["REGSTATS_CONFIG"])
    return DEFAULT_FILE if DEFAULT_FILE.exists() else None


def check_exposure(settings: Settings) -> None:
    """Refuses an address that others can reach without a token for every source and for readers."""
    sources = [settings.source(name) for name in (DEFAULT_SOURCE, *settings.sources)]
    may_be_written = settings.only == "web" or (settings.token and all(s.token or s.signing_secret for s in sources))
    may_be_read = settings.only == "collector" or settings.reading_token or settings.read.users
    if is_loopback(settings.host) or (may_be_written and may_be_read):
        return
    raise ConfigError(
        f"{settings.host} can be reached from other machines, so a token is needed. "
        "Set `token` in the settings, REGSTATS_TOKEN or --token (make one with: openssl rand -hex 24), or listen on "
        "127.0.0.1."
    )


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach the address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _read(path: Path | None) -> dict[str, Any]:
    if path is None:
        return {}
    try:
        values: dict[str, Any] = msgspec.toml.decode(path.read_bytes(), type=dict[str, Any])
    except OSError as error:
        raise ConfigError(f"Cannot read the settings file {path}: {error.strerror}.") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not valid TOML: {error}") from None
    _refuse_unknown(str(path), values, Settings.__struct_fields__)
    for pattern, known in _TABLES.items():
        for name, table in _tables(values, pattern.split(".")):
            _refuse_unknown(f"{path} [{name}]", table, known.__struct_fields__)
    return values


def _tables(value: Any, pattern: list[str], at: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """The tables that are where a pattern says, with their names; what is none is refused later."""
    if not pattern:
        if isinstance(value, dict):
            yield at, value
        return
    key, *rest = pattern
    items = dict(enumerate(value, 1)) if isinstance(value, list) else value if isinstance(value, dict) else {}
    for name, inner in items.items():
        if key in ("*", name):
            yield from _tables(inner, rest, f"{at}.{name}".lstrip("."))


def _from_environment(environ: Mapping[str, str]) -> dict[str, Any]:
    tables = {pattern.partition(".")[0] for pattern in _TABLES}
    names = [name for name in Settings.__struct_fields__ if name not in tables]
    given = {key.removeprefix("REGSTATS_").lower(): value for key, value in environ.items() if _is_ours(key)}
    _refuse_unknown("The environment (REGSTATS_*)", given, [*names, *_NO_SETTINGS])
    settings = {key: value for key, value in given.items() if key not in _NO_SETTINGS}
    return {key: value.split(",") if key in _LISTS else value for key, value in settings.items()}


def _is_ours(key: str) -> bool:
    return key.startswith("REGSTATS_")


def _refuse_unknown(where: str, given: Iterable[str], known: Iterable[str]) -> None:
    known = list(known)
    for key in given:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            hint = f" Did you mean `{near[0]}`?" if near else ""
            raise ConfigError(f"{where}: unknown key `{key}`.{hint} Known: {', '.join(known)}.")
