"""Azure Container Registry: its own webhooks, and the same through Event Grid.

Source: Microsoft's webhook reference of Container Registry, and the schema of Container Registry in Event Grid. One
event, of a shape like Distribution's; Event Grid sends a list of them, or CloudEvents, with that as `data`. Before
anything is sent Event Grid asks whether it is wanted (`handshake` of this package). No pulls are told, and no deletes
of tags. `ping` is a test.
"""

import msgspec
from msgspec import Struct

from regstats.payloads.cloudevents import read, type_of
from regstats.payloads.dialect import Dialect, Payload, Size, Time, Understood, make_event, time_of, typed

NAME = "acr"
_TYPES = "Microsoft.ContainerRegistry."
VALIDATION = "Microsoft.EventGrid.SubscriptionValidationEvent"
_PING = "ping"


class _Target(Struct, rename="camel", frozen=True):
    repository: str | None = None
    tag: str | None = None
    digest: str | None = None
    media_type: str | None = None
    size: Size | None = None
    length: Size | None = None


class _Request(Struct, frozen=True):
    id: str | None = None
    host: str | None = None
    method: str | None = None
    useragent: str | None = None
    addr: str | None = None


class _Actor(Struct, frozen=True):
    name: str | None = None


class _Wire(Struct):
    action: str | None = None
    id: str | None = None
    timestamp: Time = None
    target: _Target = _Target()
    request: _Request | None = None
    actor: _Actor | None = None


_wires = msgspec.json.Decoder(_Wire)


def claims(payload: Payload) -> bool:
    """By its shape; by the type if Event Grid sends it."""
    kind = type_of(payload)
    if kind:
        return kind.startswith(_TYPES) or kind == VALIDATION
    keys = payload.keys.keys()
    return "action" in keys and ("target" in keys or bytes(payload.keys["action"]) == b'"ping"')


def parse(payload: Payload) -> Understood:
    """One event. A test, and the question whether events are wanted, say that nothing has happened."""
    kind = type_of(payload)
    if kind == VALIDATION:
        return []
    said = typed(_wires, read(payload).data if kind else payload.raw)
    if said.action == _PING:
        return []
    target, request = said.target, said.request or _Request()
    return [
        make_event(
            NAME, payload,
            event_id=said.id, at=time_of(said.timestamp, payload.received_at), action=said.action,
            repository=target.repository, tag=target.tag, digest=target.digest, media_type=target.media_type,
            size=target.length if target.size is None else target.size, actor=(said.actor or _Actor()).name,
            address=request.addr, user_agent=request.useragent, method=request.method, request_id=request.id,
            registry=request.host,
        )
    ]  # fmt: skip


class _Code(Struct, rename="camel"):
    validation_code: str


class _Question(Struct, rename="camel"):
    event_type: str
    data: _Code


_questions = msgspec.json.Decoder(list[_Question])


def validated(body: bytes) -> bytes | None:
    """The answer to Event Grid's question whether events are wanted; None if it is not one."""
    try:
        question = _questions.decode(body)[0]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, IndexError):
        return None
    return msgspec.json.encode({"validationResponse": question.data.validation_code})


DIALECT = Dialect(
    NAME, "Azure Container Registry", claims, parse,
    people=("actor", "data.actor"), addresses=("request.addr", "data.request.addr"),
    headers=("ce-*", "aeg-event-type"),
)  # fmt: skip
