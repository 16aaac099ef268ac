"""CloudEvents 1.0, in which several registries send: what it is about stands beside what is said of it.

Source: the CloudEvents specification and its HTTP binding. In binary mode the attributes are headers (`Ce-Id`) and the
body is the data; in structured mode both are in the body. Azure's Event Grid has a form of its own with the same parts.
"""

from typing import NamedTuple

import msgspec
from msgspec import Struct

from regstats.payloads.dialect import Payload, Time, typed


class CloudEvent(NamedTuple):
    """One of them."""

    id: str | None
    type: str
    time: Time
    source: str | None
    data: bytes
    request_id: str | None = None
    operator: str | None = None
    """Harbor's own attributes."""


class _Structured(Struct):
    type: str
    id: str | None = None
    time: str | None = None
    source: str | None = None
    data: msgspec.Raw = msgspec.Raw(b"{}")
    requestid: str | None = None
    operator: str | None = None


class _Grid(Struct, rename="camel"):
    event_type: str
    id: str | None = None
    event_time: str | None = None
    topic: str | None = None
    data: msgspec.Raw = msgspec.Raw(b"{}")


_structured = msgspec.json.Decoder(_Structured)
_grid = msgspec.json.Decoder(_Grid)


def type_of(payload: Payload) -> str:
    """What kind of event it says that it is; nothing where it is none of them."""
    if "specversion" in payload.keys:
        return _text(payload.keys.get("type"))
    if "eventType" in payload.keys and "data" in payload.keys:
        return _text(payload.keys["eventType"])
    return payload.headers.get("ce-type", "")


def read(payload: Payload) -> CloudEvent:
    """What it says. Raises PayloadError."""
    if "specversion" in payload.keys:
        said = typed(_structured, payload.raw)
        return CloudEvent(said.id, said.type, said.time, said.source, bytes(said.data), said.requestid, said.operator)
    if "eventType" in payload.keys and "data" in payload.keys:
        event = typed(_grid, payload.raw)
        return CloudEvent(event.id, event.event_type, event.event_time, event.topic, bytes(event.data))
    about = payload.headers.get
    return CloudEvent(about("ce-id"), about("ce-type", ""), about("ce-time"), about("ce-source"), payload.raw)


def _text(raw: msgspec.Raw | None) -> str:
    try:
        return msgspec.json.decode(raw or b'""', type=str)
    except msgspec.DecodeError:
        return ""
