"""The events of the Distribution registry (docker-registry 2.x, distribution 3.x) and of what is built on it.

Source: distribution's notifications/event.go and its documentation "Work with notifications"; checked against
recordings of docker-registry 2.8.2 and distribution 3.1.1. An envelope holds one event today, but may hold many.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from regstats.addresses import address_in
from regstats.errors import PayloadError
from regstats.events import Delivery, Event
from regstats.useragents import client_of

NAME = "distribution"

_INDEXES = frozenset(
    {
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
    }
)
_MANIFESTS = frozenset(
    {
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.v2+json",
        "application/vnd.docker.distribution.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.v1+prettyjws",
    }
)
_BLOB = "application/octet-stream"

# Registries have sent notifications since 2015; Go's zero time (year 1) and documentation's 2006 are no times at all.
_EARLIEST = datetime(2014, 1, 1, tzinfo=UTC)
_CLOCK_SKEW = timedelta(days=1)

_Size = Annotated[int, Meta(ge=0, le=2**63 - 1)]


class _Reference(Struct, gc=False):
    digest: str | None = None


class _Target(Struct, rename="camel", gc=False):
    repository: str | None = None
    media_type: str | None = None
    digest: str | None = None
    size: _Size | None = None
    length: _Size | None = None
    from_repository: str | None = None
    url: str | None = None
    tag: str | None = None
    references: list[_Reference] | None = None


class _Request(Struct, gc=False):
    id: str | None = None
    addr: str | None = None
    host: str | None = None
    method: str | None = None
    useragent: str | None = None


class _Actor(Struct, gc=False):
    name: str | None = None


class _Origin(Struct, gc=False):
    instance_id: str | None = msgspec.field(default=None, name="instanceID")


class _Wire(Struct, gc=False):
    """One event as it is sent."""

    target: _Target
    action: str | None = None
    id: str | None = None
    timestamp: str | None = None
    request: _Request | None = None
    actor: _Actor | None = None
    source: _Origin | None = None


_wires = msgspec.json.Decoder(_Wire)


class _Envelope(Struct, gc=False):
    events: list[_Wire]


_envelopes = msgspec.json.Decoder(_Envelope)
_list = msgspec.json.Decoder(list[msgspec.Raw])


def claims(document: Mapping[str, msgspec.Raw]) -> bool:
    """Whether a payload is of this dialect, by its shape: content types differ between versions and proxies."""
    return "events" in document


def parse(document: Mapping[str, msgspec.Raw], delivery: Delivery) -> tuple[list[Event], list[str]]:
    """The events of an envelope, and what is wrong with those that are missing: one bad event spoils no other.

    Raises PayloadError where there are no events at all.
    """
    try:
        raw_events = _list.decode(document["events"])
    except msgspec.ValidationError as error:
        raise PayloadError(f"`events` is not a list: {error}.") from None
    if not raw_events:
        raise PayloadError("The envelope holds no events.")
    events, problems = [], []
    for position, raw in enumerate(raw_events):
        try:
            events.append(_event(_wires.decode(raw), position, delivery))
        except (msgspec.DecodeError, UnicodeDecodeError, PayloadError) as error:
            problems.append(f"Event {position}: {error}")
    return events, problems


def parse_at_once(delivery: Delivery) -> list[Event] | None:
    """The same, in half the time, for an envelope that is all as it should be; None for anything else."""
    try:
        wires = _envelopes.decode(delivery.body).events
        return [_event(wire, position, delivery) for position, wire in enumerate(wires)] or None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, PayloadError):
        return None


def _event(wire: _Wire, position: int, delivery: Delivery) -> Event:
    target, request = wire.target, wire.request or _Request()
    if not wire.action:
        raise PayloadError("it has no action")
    if not target.repository:
        raise PayloadError("its target has no repository")
    timestamp = _timestamp(wire.timestamp, delivery.received_at)
    client, client_version = client_of(request.useragent)
    return Event(
        # Without an id nothing tells a repeated event from a second one: never merge two that may be distinct.
        event_id=wire.id or f"{delivery.delivery_id}:{position}",
        source=delivery.source,
        dialect=NAME,
        timestamp=timestamp or delivery.received_at,
        timestamp_trusted=timestamp is not None,
        received_at=delivery.received_at,
        action=wire.action,
        kind=_kind(wire.action, target),
        repository=target.repository,
        tag=target.tag or None,
        digest=target.digest or None,
        media_type=target.media_type or None,
        size=None if wire.action == "delete" else _first(target.size, target.length),
        from_repository=target.from_repository or None,
        reference_digests=[r.digest for r in target.references if r.digest] if target.references else None,
        actor=(wire.actor and wire.actor.name) or None,
        client_address=_address(request.addr),
        user_agent=request.useragent or None,
        client=client,
        client_version=client_version,
        method=request.method or None,
        request_id=request.id or None,
        registry=request.host or None,
        instance_id=(wire.source and wire.source.instance_id) or None,
        delivery_id=delivery.delivery_id,
    )


def _kind(action: str, target: _Target) -> str:
    """What an event happened to. A delete by digest has the same shape for a manifest and for a blob: unknown."""
    if target.media_type in _INDEXES:
        return "index"
    url = target.url or ""
    if target.media_type in _MANIFESTS or "/manifests/" in url:
        return "manifest"
    if target.media_type == _BLOB or "/blobs/" in url:
        return "blob"
    if action == "delete" and not target.digest:
        return "tag" if target.tag else "repository"
    return "unknown"


def _timestamp(text: str | None, received_at: datetime) -> datetime | None:
    """The registry's time in UTC; None where there is none, or one that cannot be."""
    try:
        when = datetime.fromisoformat(text or "")
    except ValueError:
        return None
    try:
        when = when.astimezone(UTC) if when.tzinfo else when.replace(tzinfo=UTC)
    except OverflowError:
        return None
    return when if _EARLIEST <= when <= received_at + _CLOCK_SKEW else None


@lru_cache(maxsize=4096)
def _address(addr: str | None) -> str | None:
    address = address_in(addr)
    return None if address is None else str(address)


def _first(size: int | None, length: int | None) -> int | None:
    return length if size is None else size
