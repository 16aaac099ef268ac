"""Rules of deployment: what is done when a tag is pushed or deleted, `[[deploy]]`; and to which changes one applies."""

import re
from collections.abc import Callable
from datetime import datetime
from fnmatch import fnmatchcase
from functools import partial
from ipaddress import ip_address, ip_network
from typing import Annotated, Any, Literal, NamedTuple

from msgspec import Meta, Struct, structs, to_builtins
from semantic_version import NpmSpec, Version

from regstats.agenda import Name, span_of
from regstats.errors import ConfigError
from regstats.events import UNTOLD, Change, Event

Globs = str | list[str]
"""One, or several of which one must fit."""

_PLACEHOLDER = re.compile(r"\{(\w*)\}")


def of_event(event: Event) -> Change | None:
    """The change that an event tells of, as far as it alone can; None if of none."""
    is_push = event.action == "push" and event.kind in ("manifest", "index")
    if event.tag is None or not (is_push or event.action == "delete"):
        return None
    shared = set(Change.__struct_fields__) - {"digest", "before"}
    own: dict[str, Any] = {name: getattr(event, name) for name in shared}
    own |= (
        {"digest": event.digest or f"{UNTOLD}{event.event_id}", "before": None}
        if is_push
        else {"digest": None, "before": event.digest}
    )
    return Change(**own)


FIELDS = (*Change.__struct_fields__, "action", "kind", "rule")
"""What `{…}` may name in what is done."""


class Match(Struct, frozen=True, forbid_unknown_fields=True):
    """To which changes a rule applies: all that is said must fit. Globs are `*`, `?` and `[abc]`, and fit the whole."""

    repository: Globs = []
    tag: Globs = []
    tag_regex: str | None = None
    """A regular expression that the whole tag must fit."""
    semver: str | None = None
    """A range of versions, as npm has them: `>=1.2 <2`, `~1.4`, `1.x`. Suffixes are pre-releases, which do not fit."""
    actor: Globs = []
    """Who pushed, as the registry says. Without authentication at the registry, whatever the client says."""
    networks: Globs = []
    """From where, as the registry says. Behind a careless proxy, whatever the client says."""
    source: Globs = []
    action: Literal["push", "delete"] = "push"
    kind: Literal["manifest", "index"] | None = None
    media_type: Globs = []
    changed: bool = False
    """Only what the tag did not point to already."""

    def __post_init__(self) -> None:
        for network in _listed(self.networks):
            ip_network(network)
        if self.semver is not None:
            NpmSpec(self.semver)
        if self.tag_regex is not None:
            _compiled(self.tag_regex)


def _compiled(text: str) -> re.Pattern[str]:
    try:
        return re.compile(text)
    except re.error as error:
        raise ValueError(f"`{text}` is not a regular expression: {error}") from None


class Http(Struct, frozen=True, forbid_unknown_fields=True):
    """A request, `http = {…}`."""

    url: str
    """Itself, or `env:` and the name of a variable that has it."""
    method: Literal["POST", "PUT", "PATCH", "GET", "DELETE"] = "POST"
    headers: dict[str, str] = {}
    body: Any = None
    """JSON; in its texts, in headers and in the address `{repository}` is filled in; or they name a variable, too."""
    user: str | None = None
    password: str | None = None
    """Basic; or with `env:` the name of a variable that has it."""
    token: str | None = None
    """Bearer; likewise."""
    signing_secret: str | None = None
    """HMAC-SHA256 of the body in `X-Hub-Signature-256`; likewise."""


class Registry(Struct, frozen=True, forbid_unknown_fields=True):
    """Where a registry is, `registry = {…}`."""

    url: str
    """`https://registry.example:5000`."""
    user: str | None = None
    password: str | None = None
    """Itself, or `env:` and the name of a variable that has it."""


class DockerService(Struct, frozen=True, forbid_unknown_fields=True):
    """A service of a Docker Swarm that gets another image, `docker_service = {…}`. Whatever else it has it keeps."""

    name: str
    image: str
    """As in `registry.example:5000/{repository}:{tag}@{digest}`; without a digest, the one that the tag has then."""
    host: str | None = None
    """A manager, `unix:///…` or `tcp://…`; otherwise what Docker's own variables say, `DOCKER_HOST` and so on."""
    create: bool = True
    """Whether it is made if there is none. The rest is for that alone."""
    replicas: Annotated[int, Meta(ge=0)] = 1
    ports: list[Annotated[str, Meta(pattern=r"^\d{1,5}:\d{1,5}(/(tcp|udp|sctp))?$")]] = []
    """Outside and inside, `8080:80` or `53:53/udp`."""
    env: list[Annotated[str, Meta(pattern="^[^=]+=")]] = []
    """`NAME=value`."""
    networks: list[str] = []
    constraints: list[str] = []
    """Which nodes it may run on, as in `node.role == worker`."""


class Kubernetes(Struct, frozen=True, forbid_unknown_fields=True):
    """A Deployment of Kubernetes of which a container gets another image, `kubernetes = {…}`."""

    deployment: str
    image: str
    """As in `registry.example:5000/{repository}:{tag}@{digest}`."""
    container: str | None = None
    """Its name; not needed if there is only one."""
    namespace: str = "default"
    context: str | None = None
    """One of those in the kubeconfig; otherwise the current one."""
    kubeconfig: str | None = None
    """A file; otherwise `$KUBECONFIG`, or in a cluster the service account, or `~/.kube/config`."""


ACTIONS = ("command", "http", "docker_service", "kubernetes")
"""What a rule may do."""


class Rule(Struct, frozen=True, forbid_unknown_fields=True):
    """What is done when, `[[deploy]]`."""

    name: Name
    match: Match
    command: Annotated[list[str], Meta(min_length=1)] | None = None
    """A program and its arguments, without a shell. `{tag}` is filled in, and is never more than one argument."""
    http: Http | None = None
    docker_service: DockerService | None = None
    kubernetes: Kubernetes | None = None
    settle: str = "5s"
    """How long nothing more must come for the same target: so the tags of one build are one deployment."""
    delay: str = "0s"
    """How long it waits after that."""
    timeout: str = "5m"
    retries: Annotated[int, Meta(ge=0, le=100)] = 3
    cooldown: str = "0s"
    """How long after a deployment of a target the next one waits."""
    max_age: str = "1h"
    """What is older when it is seen is skipped."""
    trust_addresses: bool = False
    """Whether `networks` may be all that says who. Behind a careless proxy, clients choose their address."""
    approve: bool = False
    """Whether somebody has to say yes."""
    approvers: list[str] = []
    """Users of `[read]` who may do so on the page; whoever may write the store's files can, by command."""
    target: str | None = None
    """What is deployed to: one thing at a time for each, and of several of a rule that wait the newest. Without it the
    repository, for this rule alone; rules with the same target wait for one another."""
    registry: Registry | None = None
    """Where it is looked up first whether the tag points to what was pushed. Events are sent before it does."""
    to: list[str] = []
    """Destinations that are told of the outcome."""

    def __post_init__(self) -> None:
        if self.match.networks and not (self.match.actor or self.trust_addresses):
            raise ValueError(
                f"deploy `{self.name}` is guarded by an address alone, which clients can forge behind many a proxy: "
                "name an actor, too, or say trust_addresses = true"
            )
        if self.command and _PLACEHOLDER.search(self.command[0]):
            raise ValueError(f"deploy `{self.name}` would let who pushes choose the program: write its name out")
        for text in (self.settle, self.delay, self.timeout, self.cooldown, self.max_age):
            span_of(text, zero=True)
        if len(self.actions) != 1:
            raise ValueError(f"deploy `{self.name}` has to have one of: {', '.join(ACTIONS)}")
        for text in _texts([self.target or "", to_builtins(self.actions)]):
            for field in _PLACEHOLDER.findall(text):
                if field not in FIELDS:
                    raise ValueError(f"`{{{field}}}` in deploy `{self.name}` is none of: {', '.join(FIELDS)}")

    @property
    def actions(self) -> dict[str, Any]:
        """What it does: one of them."""
        return {name: action for name in ACTIONS if (action := getattr(self, name)) is not None}


def _texts(value: Any) -> list[str]:
    """All texts within lists and tables."""
    if isinstance(value, str):
        return [value]
    inner = [*value.keys(), *value.values()] if isinstance(value, dict) else value
    return [text for one in inner for text in _texts(one)] if isinstance(inner, list | tuple) else []


def target_of(rule: Rule, change: Change) -> str:
    """What a rule deploys to because of a change."""
    return change.repository if rule.target is None else filled(rule.target, rule, change)


def filled(text: str, rule: Rule, change: Change, quoted: Callable[[str], str] = str) -> str:
    """A text with what is to be filled in, quoted in some way; what is missing is empty.

    Raises ConfigError where it asks for a digest that nobody told.
    """
    if "{digest}" in text and not change.is_told:
        raise ConfigError(
            f"{change.source} does not tell which digest was pushed: leave {{digest}} out, or let the rule ask the "
            "registry, with `registry = { url = … }`."
        )
    return _PLACEHOLDER.sub(lambda found: quoted(_value(found[1], rule, change)), text)


def _value(field: str, rule: Rule, change: Change) -> str:
    value = rule.name if field == "rule" else getattr(change, field)
    return "" if value is None else value.isoformat() if isinstance(value, datetime) else str(value)


def values(rule: Rule, change: Change) -> dict[str, str]:
    """Every field with its text; a digest that nobody told is missing."""
    return {field: _value(field, rule, change) for field in FIELDS} | ({} if change.is_told else {"digest": ""})


# Matching


class _Condition(NamedTuple):
    """Something that a rule asks of a change."""

    wanted: str
    """In words."""
    had: Callable[[Change], str]
    """What there is instead, in words."""
    holds: Callable[[Change], bool]


def misfits(rule: Rule, change: Change) -> list[str]:
    """Why a rule does not apply to a change, in words; nothing if it does."""
    failed = (condition for condition in _conditions(rule.match) if not condition.holds(change))
    return [f"{condition.had(change)}, not {condition.wanted}" for condition in failed]


def is_about(rule: Rule, repository: str) -> bool:
    """Whether a rule may apply to anything in a repository."""
    globs = _listed(rule.match.repository)
    return not globs or _fits(repository, globs)


def may_apply(rule: Rule, event: Event) -> bool:
    """Whether a rule may apply to an event, from which alone nobody knows whether the digest is new."""
    if event.action == "delete" and rule.match.action == "delete":
        return is_about(rule, event.repository)
    change = of_event(event)
    loose = structs.replace(rule.match, changed=False)
    return change is not None and all(condition.holds(change) for condition in _conditions(loose))


def _conditions(match: Match) -> list[_Condition]:
    named = [(name, _listed(getattr(match, name))) for name in ("repository", "tag", "actor", "source", "media_type")]
    return [
        *(_globs(name, globs) for name, globs in named if globs),
        *(make(wanted) for name, make in _SPECIAL.items() if (wanted := getattr(match, name))),
    ]


def _globs(name: str, globs: list[str]) -> _Condition:
    def holds(change: Change) -> bool:
        had = getattr(change, name)
        return had is not None and _fits(had, globs)

    return _Condition(f"{name} {_or(globs)}", lambda change: f"{name} {_shown(getattr(change, name))}", holds)


def _fits(text: str, globs: list[str]) -> bool:
    return any(fnmatchcase(text, glob) for glob in globs)


def _tag(change: Change) -> str:
    return f"tag {change.tag!r}"


def _regex(wanted: str) -> _Condition:
    return _Condition(f"a tag like {wanted!r}", _tag, lambda change: re.fullmatch(wanted, change.tag) is not None)


def _semver(wanted: str) -> _Condition:
    return _Condition(f"a version {wanted!r}", _tag, lambda change: _in_range(change.tag, wanted))


def _in_range(tag: str, wanted: str) -> bool:
    """`1.3` is 1.3.0, and `v1.3.0` too. What has more numbers than three, or none, is no version."""
    if not re.fullmatch(r"v?\d+(\.\d+){0,2}([-+][0-9A-Za-z.+-]+)?", tag, re.ASCII):
        return False
    try:
        return bool(NpmSpec(wanted).match(Version.coerce(tag.removeprefix("v"))))
    except ValueError:
        return False


def _networks(wanted: Globs) -> _Condition:
    networks = _listed(wanted)
    return _Condition(
        f"from {_or(networks)}",
        lambda change: f"from {_shown(change.client_address)}",
        lambda change: _is_in(change.client_address, networks),
    )


def _is_in(address: str | None, networks: list[str]) -> bool:
    try:
        return address is not None and any(ip_address(address) in ip_network(network) for network in networks)
    except ValueError:
        return False


def _equal(name: str, wanted: str) -> _Condition:
    return _Condition(
        f"a {wanted}", lambda change: f"a {getattr(change, name)}", lambda change: getattr(change, name) == wanted
    )


def _changed(_: bool) -> _Condition:
    had = "the digest that the tag has already"
    return _Condition("a new digest", lambda _: had, lambda change: change.digest != change.before)


_SPECIAL: dict[str, Callable[[Any], _Condition]] = {
    "tag_regex": _regex,
    "semver": _semver,
    "networks": _networks,
    "action": partial(_equal, "action"),
    "kind": partial(_equal, "kind"),
    "changed": _changed,
}


def _listed(globs: Globs) -> list[str]:
    return [globs] if isinstance(globs, str) else globs


def _or(texts: list[str]) -> str:
    return " or ".join(map(repr, texts))


def _shown(text: str | None) -> str:
    return "unknown" if text is None else repr(text)


def does(rule: Rule) -> str:
    """What a rule does, in words, with nothing filled in."""
    if rule.http:
        return f"sends {rule.http.method} to {rule.http.url}"
    if rule.docker_service:
        return f"lets the Swarm service {rule.docker_service.name} run {rule.docker_service.image}"
    if rule.kubernetes:
        return f"lets the Deployment {rule.kubernetes.deployment} run {rule.kubernetes.image}"
    return f"runs {rule.command}"


def explained(rule: Rule) -> str:
    """A rule as a sentence."""
    what = ", ".join(condition.wanted for condition in _conditions(rule.match))
    more = f" and {rule.delay} more" if span_of(rule.delay, zero=True) else ""
    approved = ", if somebody approves it" if rule.approve else ""
    when = f"{rule.settle}{more} after the last one for the same {rule.target or 'repository'}{approved}"
    return f"{rule.name}: {what}: {does(rule)}, {when}"
