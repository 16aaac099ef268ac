"""What a dialect is, and what dialects share: times, kinds, references, and how an event is made of what they say."""

import re
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Annotated, NamedTuple, TypeVar

import msgspec
from msgspec import Meta

from regstats.addresses import address_in, host_in
from regstats.errors import PayloadError
from regstats.events import Delivery, Event
from regstats.names import split
from regstats.useragents import client_of

INDEXES = frozenset(
    {
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
    }
)
MANIFESTS = frozenset(
    {
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.v2+json",
        "application/vnd.docker.distribution.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.v1+prettyjws",
    }
)

# Registries have sent notifications since 2014; Go's zero time (year 1) and documentation's 2006 are no times at all.
_EARLIEST = datetime(2014, 1, 1, tzinfo=UTC)
_CLOCK_SKEW = timedelta(days=1)
_MILLISECONDS = 10**11
"""A number that is larger is not one of seconds, which would be in the year 5138."""

CACHED = "pull_through"
"""The action of a proxy that keeps what somebody pulled through it, where its registry calls that a push."""

Size = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Time = str | int | float | None


class Payload(NamedTuple):
    """One JSON object of a delivery; a delivery may be a list of some."""

    raw: bytes
    keys: dict[str, msgspec.Raw]
    """Its keys, with what is said of each."""
    headers: Mapping[str, str]
    """Those of the delivery that are kept, by their names in small letters."""
    delivery: Delivery
    name: str
    """Unique: the delivery's id, and where in the list it stood."""

    @property
    def received_at(self) -> datetime:
        """When it was received."""
        return self.delivery.received_at


Understood = Iterable[Event | PayloadError]
"""Events, and why others are missing: one bad event spoils no other. May raise PayloadError as well."""


class Dialect(NamedTuple):
    """Whose payload format it is, and how it is read. A module of this package has one as `DIALECT`."""

    name: str
    registry: str
    """What people call the registry."""
    claims: Callable[[Payload], bool]
    """Whether a payload is of this dialect, by its shape and headers. At most one dialect claims a payload."""
    parse: Callable[[Payload], Understood]
    """What a payload says. Pure. No event, and no error, is a payload that says that nothing has happened."""
    reports_pulls: bool = False
    """Whether its registries tell of pulls at all. Where not, nobody can count them: metrics say NULL, not 0."""
    is_download: bool = False
    """Whether it is not sent, but downloaded: then it tells of what is sent, too, and only the time before counts."""
    people: tuple[str, ...] = ()
    """Where a payload names somebody, for `privacy`: `events.*.actor`, a text or an object with a name."""
    nobody: tuple[str, ...] = ()
    """What stands there that is nobody's name, and means something."""
    addresses: tuple[str, ...] = ()
    """Where it has a client's address."""
    headers: tuple[str, ...] = ()
    """Headers that say something about a payload, in small letters, or how their names begin, with `*`."""
    signatures: Mapping[str, tuple[str, ...]] = {}
    """Headers in which it signs (HMAC of the body), in small letters, and with which hash, or which one of some."""


_T = TypeVar("_T")


def typed(decoder: msgspec.json.Decoder[_T], raw: bytes) -> _T:
    """What a payload says, if it has the shape that it should have. Raises PayloadError."""
    try:
        return decoder.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise PayloadError(str(error)) from None


def make_event(
    dialect: str,
    payload: Payload,
    position: int = 0,
    *,
    event_id: str | None,
    at: datetime | None,
    action: str | None,
    repository: str | None,
    kind: str | None = None,
    reference: str | None = None,
    tag: str | None = None,
    digest: str | None = None,
    media_type: str | None = None,
    size: int | None = None,
    actor: str | None = None,
    address: str | None = None,
    user_agent: str | None = None,
    method: str | None = None,
    request_id: str | None = None,
    registry: str | None = None,
) -> Event:
    """An event of what a payload says; `reference` is a tag or a digest. Raises PayloadError where it says too little.

    `position` is the event's place in the payload. Without an id nothing tells a repeated event from a second one: two
    that may be distinct are never merged.
    """
    if not action:
        raise PayloadError("it has no action")
    if not repository:
        raise PayloadError("it names no repository")
    for name in (reference, tag):  # some registries put a digest where the tag would be
        if name and name.startswith("sha256:"):
            digest, tag, reference = digest or name, None, None
    client, client_version = client_of(user_agent)
    return Event(
        event_id=f"{event_id}:{position}" if event_id and position else event_id or f"{payload.name}:{position}",
        source=payload.delivery.source,
        dialect=dialect,
        timestamp=at or payload.received_at,
        timestamp_trusted=at is not None,
        received_at=payload.received_at,
        action=action,
        kind=kind or kind_of(action, media_type, tag or reference, digest),
        repository=repository,
        tag=tag or reference or None,
        digest=digest or None,
        media_type=media_type or None,
        size=None if action == "delete" else size,
        from_repository=None,
        reference_digests=None,
        actor=actor or None,
        client_address=address_of(address),
        user_agent=user_agent or None,
        client=client,
        client_version=client_version,
        method=method or None,
        request_id=request_id or None,
        registry=registry or None,
        instance_id=None,
        delivery_id=payload.delivery.delivery_id,
    )


def kind_of(action: str, media_type: str | None, tag: str | None, digest: str | None) -> str:
    """What an event of a registry happened to that tells only of manifests and tags."""
    if media_type in INDEXES:
        return "index"
    if action == "delete" and not digest:
        return "tag" if tag else "repository"
    return "manifest" if action in ("push", "pull", "delete", CACHED) else "unknown"


def time_of(said: Time, received_at: datetime) -> datetime | None:
    """A registry's time in UTC, written out or in seconds or milliseconds; None if there is none, or if it cannot be.

    Where it has no zone it is UTC.
    """
    try:
        when = datetime.fromisoformat(said or "") if said is None or isinstance(said, str) else _from_number(said)
        if when.tzinfo is not UTC:
            when = when.astimezone(UTC) if when.tzinfo else when.replace(tzinfo=UTC)
    except (ValueError, OverflowError, OSError):
        return None
    return when if _EARLIEST <= when <= received_at + _CLOCK_SKEW else None


def _from_number(said: float) -> datetime:
    return datetime.fromtimestamp(said / 1000 if said > _MILLISECONDS else said, UTC)


def address_of(text: str | None) -> str | None:
    """An IP address without what is beside it; None where it is none."""
    return _address(host_in(text))


@lru_cache(maxsize=4096)
def _address(host: str) -> str | None:
    address = address_in(host)
    return None if address is None else str(address)


def digest_of(checksum: str | None) -> str | None:
    """A SHA-256 checksum as a digest; None where it is none."""
    is_one = checksum is not None and len(checksum) == 64 and checksum.isalnum()
    return f"sha256:{checksum}" if is_one else None


class Place(NamedTuple):
    """Where an image is."""

    registry: str | None
    repository: str
    tag: str | None
    digest: str | None


def place_of(reference: str) -> Place:
    """`registry.example/team/api:1.0@sha256:…`, taken apart, whatever it says."""
    path, _, digest = reference.partition("@")
    registry, name = split(path)
    repository, _, tag = name.partition(":")
    return Place(registry, repository, tag or None, digest or None)


def host_before(repository: str | None, url: str | None) -> str | None:
    """The registry in a URL or reference that goes on with this repository; None if that is not how it goes on."""
    host, found, _ = re.sub(r"^\w+://", "", url or "").partition(f"/{repository}")
    return host if found and host and "/" not in host else None
