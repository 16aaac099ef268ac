"""Harbor's audit log, as its API lists it (`/audit-logs`, and `/auditlog-exts` since 2.13): the time before webhooks.

Source: goharbor's API reference. An entry has a number of its own. It names a tag or a digest, and neither an address
nor a user agent; HEAD is not in it. What is not about images, such as a login, says that nothing has happened to any.
"""

import msgspec
from msgspec import Struct

from regstats.payloads.dialect import Dialect, Payload, Understood, make_event, time_of, typed

NAME = "harbor_audit"
_ACTIONS = {"create": "push", "push": "push", "pull": "pull", "delete": "delete"}
_IMAGES = ("artifact", "repository")


class _Wire(Struct):
    operation: str
    resource: str = ""
    resource_type: str = ""
    id: int | str | None = None
    username: str | None = None
    op_time: str | None = None
    operation_result: bool = True


_wires = msgspec.json.Decoder(_Wire, strict=False)


def claims(payload: Payload) -> bool:
    """By what an entry has."""
    return {"operation", "resource_type", "op_time"} <= payload.keys.keys()


def parse(payload: Payload) -> Understood:
    """One event; none of what failed, and of what is about no image."""
    said = typed(_wires, payload.raw)
    if said.resource_type.lower() not in _IMAGES or not said.operation_result:
        return []
    path, _, digest = said.resource.partition("@")
    repository, _, reference = path.partition(":")
    return [
        make_event(
            NAME, payload,
            event_id=f"audit-{said.id}" if said.id is not None else None, at=time_of(said.op_time, payload.received_at),
            action=_ACTIONS.get(said.operation.lower(), said.operation), repository=repository, reference=reference,
            digest=digest, actor=said.username,
        )
    ]  # fmt: skip


DIALECT = Dialect(NAME, "Harbor's audit log", claims, parse, reports_pulls=True, is_download=True, people=("username",))
