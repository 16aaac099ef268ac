"""The events of the Distribution registry (docker-registry 2.x, distribution 3.x) and of what is built on it.

Source: distribution's notifications/event.go and its documentation "Work with notifications"; checked against
recordings of docker-registry 2.8.2 and distribution 3.1.1. An envelope holds one event today, but may hold many.
"""

from collections.abc import Iterator

import msgspec
from msgspec import Struct

from regstats.errors import PayloadError
from regstats.events import Delivery, Event
from regstats.payloads.dialect import (
    INDEXES,
    MANIFESTS,
    Dialect,
    Payload,
    Size,
    Understood,
    address_of,
    time_of,
)
from regstats.useragents import client_of

NAME = "distribution"

_BLOB = "application/octet-stream"
_GITLAB = b'"user_type"'


class _Reference(Struct, gc=False):
    digest: str | None = None


class _Target(Struct, rename="camel", gc=False):
    repository: str | None = None
    media_type: str | None = None
    digest: str | None = None
    size: Size | None = None
    length: Size | None = None
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
    user_type: str | None = None
    """GitLab's own: what kind of token somebody showed."""


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


def claims(payload: Payload) -> bool:
    """Whether a payload is of this dialect, by its shape: content types differ between versions and proxies."""
    return "events" in payload.keys and not is_gitlab(payload)


def is_gitlab(payload: Payload) -> bool:
    """Whether an envelope is of GitLab's registry, which says what kind of token somebody showed."""
    return _GITLAB in bytes(payload.keys.get("events", b""))


def parse(payload: Payload) -> Understood:
    """The events of an envelope. Raises PayloadError where there are none at all."""
    return read(NAME, payload)


def read(dialect: str, payload: Payload) -> Understood:
    """The events of an envelope, of this dialect."""
    try:
        raw_events = _list.decode(payload.keys["events"])
    except (KeyError, msgspec.ValidationError) as error:
        raise PayloadError(f"`events` is not a list: {error}.") from None
    if not raw_events:
        raise PayloadError("The envelope holds no events.")
    return _each(dialect, raw_events, payload)


def _each(dialect: str, raw_events: list[msgspec.Raw], payload: Payload) -> Iterator[Event | PayloadError]:
    for position, raw in enumerate(raw_events):
        try:
            yield _event(dialect, _wires.decode(raw), payload.delivery, payload.name, position)
        except (msgspec.DecodeError, UnicodeDecodeError, PayloadError) as error:
            yield PayloadError(f"Event {position}: {error}")


def parse_at_once(delivery: Delivery) -> list[Event] | None:
    """The same, in half the time, for an envelope that is all as it should be; None for anything else."""
    events = []
    try:
        for position, wire in enumerate(_envelopes.decode(delivery.body).events):
            if wire.actor and wire.actor.user_type:
                return None
            events.append(_event(NAME, wire, delivery, delivery.delivery_id, position))
        return events or None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, PayloadError):
        return None


def _event(dialect: str, wire: _Wire, delivery: Delivery, name: str, position: int) -> Event:
    target, request = wire.target, wire.request or _Request()
    if not wire.action:
        raise PayloadError("it has no action")
    if not target.repository:
        raise PayloadError("its target has no repository")
    timestamp = time_of(wire.timestamp, delivery.received_at)
    client, client_version = client_of(request.useragent)
    actor, origin = wire.actor, wire.source
    return Event(  # in the order of its columns: names would take twice the time, and nearly all events are made here
        wire.id or f"{name}:{position}",  # without an id nothing tells a repeated event from a second one: never merged
        delivery.source,
        dialect,
        timestamp or delivery.received_at,
        timestamp is not None,
        delivery.received_at,
        wire.action,
        _kind(wire.action, target),
        target.repository,
        target.tag or None,
        target.digest or None,
        target.media_type or None,
        None if wire.action == "delete" else _first(target.size, target.length),
        target.from_repository or None,
        [r.digest for r in target.references if r.digest] if target.references else None,
        (actor and actor.name) or None,
        address_of(request.addr),
        request.useragent or None,
        client,
        client_version,
        request.method or None,
        request.id or None,
        request.host or None,
        (origin and origin.instance_id) or None,
        delivery.delivery_id,
    )


def _kind(action: str, target: _Target) -> str:
    """What an event happened to. A delete by digest has the same shape for a manifest and for a blob: unknown."""
    if target.media_type in INDEXES:
        return "index"
    url = target.url or ""
    if target.media_type in MANIFESTS or "/manifests/" in url:
        return "manifest"
    if target.media_type == _BLOB or "/blobs/" in url:
        return "blob"
    if action == "delete" and not target.digest:
        return "tag" if target.tag else "repository"
    return "manifest" if target.tag else "unknown"  # only manifests have tags


def _first(size: int | None, length: int | None) -> int | None:
    return length if size is None else size


PEOPLE, ADDRESSES = ("events.*.actor",), ("events.*.request.addr",)
DIALECT = Dialect(NAME, "Distribution", claims, parse, reports_pulls=True, people=PEOPLE, addresses=ADDRESSES)
