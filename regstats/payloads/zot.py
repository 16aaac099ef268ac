"""zot: CloudEvents, in binary mode: id, time and type are in headers, the body is the data alone.

Source: project-zot's pkg/extensions/events. The beginning of the types can be configured, so their ends count.
It does not tell of pulls, and tries once.
"""

import msgspec
from msgspec import Struct

from regstats.payloads.cloudevents import read, type_of
from regstats.payloads.dialect import Dialect, Payload, Size, Understood, make_event, time_of, typed

NAME = "zot"
_ACTIONS = {"image.updated": "push", "image.deleted": "delete"}
_OTHERS = ("image.lint_failed", "repository.created")


class _Actor(Struct, frozen=True):
    name: str | None = None


class _Request(Struct, frozen=True):
    addr: str | None = None
    method: str | None = None
    useragent: str | None = None


class _Data(Struct, rename="camel", frozen=True):
    name: str | None = None
    reference: str | None = None
    digest: str | None = None
    media_type: str | None = None
    size: Size | None = None
    actor: _Actor = _Actor()
    request: _Request = _Request()


_data = msgspec.json.Decoder(_Data)


def claims(payload: Payload) -> bool:
    """By the end of its type."""
    return bool(_end_of(type_of(payload)))


def parse(payload: Payload) -> Understood:
    """One event: of a tag, or of a manifest without one."""
    event = read(payload)
    said, end = typed(_data, event.data), _end_of(event.type)
    action = _ACTIONS.get(end, end)
    return [
        make_event(
            NAME, payload,
            event_id=event.id, at=time_of(event.time, payload.received_at), action=action, repository=said.name,
            kind="repository" if end.startswith("repository") else None, reference=said.reference, digest=said.digest,
            media_type=said.media_type, size=said.size, actor=said.actor.name, address=said.request.addr,
            user_agent=said.request.useragent, method=said.request.method,
        )
    ]  # fmt: skip


def _end_of(kind: str) -> str:
    """`zotregistry.image.updated` without its beginning; nothing if it is of none of zot's."""
    end = ".".join(kind.rsplit(".", 2)[-2:])
    return end if end in _ACTIONS or end in _OTHERS else ""


DIALECT = Dialect(
    NAME, "zot", claims, parse,
    people=("actor", "data.actor"), addresses=("request.addr", "data.request.addr"), headers=("ce-*",),
)  # fmt: skip
