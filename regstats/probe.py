"""`regstats doctor --probe`: pushes something tiny, reads and deletes it, and sees what of that is told.

It is done as `regstats/…`, which the settings exclude unless they say something else: so what is tried is not counted.
`history` has it, because whoever moves a tag moves it.
"""

import json
import secrets
import socket
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from fnmatch import fnmatchcase
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from msgspec import structs

from regstats import __version__
from regstats.addresses import address_in
from regstats.config import Exclude
from regstats.credentials import Login
from regstats.errors import ActionError
from regstats.events import Change
from regstats.findings import CONFIG, FORWARD, NTP, Finding, Status
from regstats.registry import MANIFESTS, Client, Descriptor, Manifest, digest_as, once
from regstats.rules import Rule, misfits
from regstats.session import Session
from regstats.stats import Stats
from regstats.store import utc_now
from regstats.symptoms import SKEW

REPOSITORY = "regstats-doctor/probe"
AGENT = "regstats"
FORGED = "192.0.2.1"
"""An address that nobody has (RFC 5737): whoever is seen there, has been believed."""

_EMPTY, _LAYER = b"{}", b"regstats doctor --probe\n"
_PAUSE = 0.2  # seconds between two looks into the store
_MARGIN = timedelta(hours=1)  # for the collector's clock

_SEEN = """
    select action, actor, client_address, timestamp, timestamp_trusted, source from events
    where repository = $repository and digest = $digest and received_at >= $since and kind <> 'blob'
    order by timestamp
"""


class Seen(NamedTuple):
    """An event of the probe."""

    action: str
    actor: str | None
    client_address: str | None
    timestamp: datetime
    timestamp_trusted: bool
    source: str


class Done(NamedTuple):
    """What was done."""

    name: str
    began: datetime
    ended: datetime
    is_deleted: bool
    here: str | None
    """This machine's address on the way to the registry."""
    user: str | None
    """Who we are there."""

    @property
    def expected(self) -> dict[str, int]:
        """How many events of which kind must come."""
        return {"push": 1, "pull": 2, **({"delete": 1} if self.is_deleted else {})}


def is_deployed(rules: list[Rule], repository: str) -> list[str]:
    """The rules of deployment that might do something because of a probe there."""
    change = Change(
        timestamp=utc_now(), source="", repository=repository, tag=_tag(), digest=f"sha256:{'0' * 64}", before=None,
        media_type=MANIFESTS[0], actor=None, client_address=None, event_id="",
    )  # fmt: skip
    both = change, structs.replace(change, digest=None, before=change.digest)
    return [rule.name for rule in rules if not all(misfits(_loose(rule), one) for one in both)]


def _loose(rule: Rule) -> Rule:
    """As if whoever probes fitted."""
    return structs.replace(rule, match=structs.replace(rule.match, actor=[], networks=[], source=[], changed=False))


def _tag() -> str:
    return f"doctor-{secrets.token_hex(4)}"


class Probe:
    """One try. Whatever happens, what was pushed is deleted again, where the registry does that."""

    def __init__(self, session: Session, stats: Stats, repository: str, login: Login | None) -> None:
        self._session, self._client, self._stats = session, Client(session), stats
        self._repository, self._tag, self._login = repository, _tag(), login
        self._manifest = _manifest(self._tag)
        self._is_there = False

    @property
    def _name(self) -> str:
        return f"{self._repository}:{self._tag}"

    def findings(self, wait: float) -> Iterator[Finding]:
        """What came of it, after so many seconds at most."""
        began = utc_now()
        try:
            failed, left = _tried(self._use), _tried(self._delete)
        except BaseException:  # Ctrl-C, above all
            if left := _tried(self._delete):
                raise ActionError(f"{self._name} was pushed, and could not be deleted: {left}") from None
            raise
        if failed is not None:
            yield Finding("probe", "problem", f"{self._name} could not be pushed and read: {failed}", _MAY)
        if left is not None:
            yield Finding(
                "probe", "hint", f"{self._name} remains: {left}", f"{_DELETE} regstats images delete does so then."
            )
        if failed is None:
            here, user = _here(self._client.registry), self._login.user if self._login is not None else None
            done = Done(self._name, began, utc_now(), left is None, here, user or None)
            yield from self._told(done, wait)

    def _use(self) -> None:
        for content in (_EMPTY, _LAYER):
            self._add(content)
        self._is_there = True
        self._client.put(self._repository, self._tag, self._manifest)
        self._client.manifest(self._repository, self._tag)
        path = f"/v2/{self._repository}/manifests/{self._manifest.digest}"
        with self._session.asked("GET", path, accept=MANIFESTS[0], headers={"X-Forwarded-For": FORGED}):
            pass

    def _add(self, content: bytes) -> None:
        part = _descriptor(content)
        self._client.add(self._repository, part, once(content, part), None)

    def _delete(self) -> None:
        if self._is_there:
            self._client.delete(self._repository, self._manifest.digest)
            self._is_there = False

    def _told(self, done: Done, wait: float) -> Iterator[Finding]:
        begun = time.monotonic()
        while True:
            seen, waited = self._seen(done), time.monotonic() - begun
            if not missing(seen, done.expected) or waited > wait:
                break
            time.sleep(_PAUSE)
        yield from judged(seen, done, waited)
        if seen:
            yield left_behind(self._stats.exclude, self._repository)

    def _seen(self, done: Done) -> list[Seen]:
        asked: dict[str, Any] = {
            "repository": self._repository,
            "digest": self._manifest.digest,
            "since": done.began - _MARGIN,
        }
        return [Seen(*row) for row in self._stats.sql(_SEEN, **asked).fetchall()]


def _tried(step: Callable[[], None]) -> ActionError | None:
    try:
        step()
    except ActionError as error:
        return error
    return None


def _manifest(tag: str) -> Manifest:
    """An artifact with nothing in it, and of its own digest."""
    parts = [{"mediaType": part.media_type, "digest": part.digest, "size": part.size}
             for part in map(_descriptor, (_EMPTY, _LAYER))]  # fmt: skip
    content = {
        "schemaVersion": 2,
        "mediaType": MANIFESTS[0],
        "artifactType": "application/vnd.regstats.probe",
        "config": parts[0],
        "layers": parts[1:],
        "annotations": {"org.opencontainers.image.title": tag},
    }
    body = json.dumps(content).encode()
    return Manifest(digest_as("", body), MANIFESTS[0], body)


def _descriptor(content: bytes) -> Descriptor:
    kind = "application/vnd.oci.empty.v1+json" if content == _EMPTY else "text/plain"
    return Descriptor(digest_as("", content), kind, len(content))


def _here(registry: str) -> str | None:
    """With which address this machine goes there; nothing is sent for that."""
    parts = urlsplit(f"//{registry}")
    try:
        (family, kind, _, _, to), *_ = socket.getaddrinfo(parts.hostname, parts.port or 443, type=socket.SOCK_DGRAM)
        with socket.socket(family, kind) as probe:
            probe.connect(to)
            return str(probe.getsockname()[0])
    except OSError:
        return None


# What it means

_DELETE = f"If tags are to be deleted, write in {CONFIG}:\n  storage: {{delete: {{enabled: true}}}}\n"
_MAY = "Name a login that may push there (--username, --password-stdin), or another repository: --probe REPOSITORY."
_LOOK = f"""\
Look at its queue (--debug URL), and into the registry's log, which says why deliveries fail; and whether it was
restarted since {CONFIG} was written, and the collector writes to this store. --wait gives it more time."""
_IGNORED = f"Remove `ignore` and `ignoredmediatypes` at the endpoint in {CONFIG}, and restart it."
_NO_USERS = f"Then anybody can have any name. Let it ask for a login; in {CONFIG}:\n  auth: {{htpasswd: {{…}}}}"


def missing(seen: list[Seen], expected: dict[str, int]) -> list[str]:
    """What has not come yet."""
    return [action for action, number in expected.items() if sum(one.action == action for one in seen) < number]


def judged(seen: list[Seen], done: Done, waited: float) -> Iterator[Finding]:
    """What the events of a probe say of the registry, and of what is before it."""
    if not seen:
        yield Finding("probe", "problem", f"nothing of {done.name} came within {waited:.0f} s", _LOOK)
        return
    absent, sources = missing(seen, done.expected), ", ".join(sorted({f"`{one.source}`" for one in seen}))
    if absent:
        status: Status = "problem" if {"push", "pull"} & set(absent) else "warning"
        yield Finding("probe", status, f"of {done.name} no {', '.join(absent)} came within {waited:.0f} s", _IGNORED)
    else:
        told = ", ".join(done.expected)
        yield Finding("probe", "ok", f"{told} of {done.name} came to the store as {sources}, after {waited:.1f} s")
    yield _actor(seen[0], done)
    yield from _forged(seen)
    yield from _address(seen, done)
    yield from _clock(seen, done)


def _actor(one: Seen, done: Done) -> Finding:
    if one.actor is None:
        return Finding("probe", "hint", "the registry does not know who asks: `actor` is missing everywhere", _NO_USERS)
    if done.user is not None and one.actor != done.user:
        return Finding("probe", "hint", f"who asks is {one.actor!r} in the events, and logged in as {done.user!r}")
    return Finding("probe", "ok", f"who asks is {one.actor!r} in the events")


def _forged(seen: list[Seen]) -> Iterator[Finding]:
    if any(one.client_address == FORGED for one in seen):
        what = f"addresses can be forged: who says `X-Forwarded-For: {FORGED}` is {FORGED} in the events"
        yield Finding("probe", "warning", what, FORWARD)


def _address(seen: list[Seen], done: Done) -> Iterator[Finding]:
    """Whether the registry sees who asks, or only who asks for him."""
    address = next((one.client_address for one in seen if one.client_address != FORGED), None)
    if address is None:
        yield Finding("probe", "warning", "the events have no address of who asks", FORWARD)
    elif done.here is not None and address_in(address) != address_in(done.here):
        what = f"who asks from {done.here} is {address} in the events: a proxy, or a network that hides its members"
        yield Finding("probe", "warning", what, FORWARD)
    else:
        yield Finding("probe", "ok", f"who asks is at {address} in the events")


def _clock(seen: list[Seen], done: Done) -> Iterator[Finding]:
    if not all(one.timestamp_trusted for one in seen):
        yield Finding("probe", "warning", "the registry's times cannot be believed", NTP)
    for one in seen[:1]:
        if not done.began - SKEW <= one.timestamp <= done.ended + SKEW:
            there, here = (f"{moment:%Y-%m-%d %H:%M:%S}" for moment in (one.timestamp, done.began))
            yield Finding("probe", "warning", f"the registry's clock said {there} UTC when it was {here} here", NTP)


def left_behind(exclude: Exclude, repository: str) -> Finding:
    """What a probe leaves in the numbers."""
    is_excluded = any(fnmatchcase(f"{AGENT}/{__version__}", glob) for glob in exclude.clients)
    seen = f"`regstats history --repository {repository}` has it"
    if is_excluded:
        return Finding(
            "probe", "ok", f"what was tried is not counted, because the settings exclude `{AGENT}/…`; {seen}"
        )
    what = f"what was tried is counted, as of the client `{AGENT}`; {seen}"
    return Finding(
        "probe", "hint", what, f'Write in regstats.toml, if it is not to be:\n  [exclude]\n  clients = ["{AGENT}/*"]'
    )
