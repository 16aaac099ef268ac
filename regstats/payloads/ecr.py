"""Amazon's Elastic Container Registry, through EventBridge (an API destination).

Source: Amazon's documentation "Amazon ECR events and EventBridge". Events have an id, and may come twice with it. Pulls
are not told: those are in CloudTrail only.
"""

import msgspec
from msgspec import Struct

from regstats.payloads.dialect import Dialect, Payload, Time, Understood, make_event, time_of, typed

NAME = "ecr"
_IMAGE_ACTION = "ECR Image Action"
_ACTIONS = {"PUSH": "push", "DELETE": "delete"}


class _Detail(Struct, rename="kebab"):
    repository_name: str | None = None
    image_tag: str | None = None
    image_tags: list[str] | None = None
    image_digest: str | None = None
    manifest_media_type: str | None = None
    action_type: str | None = None
    result: str | None = None


class _Wire(Struct):
    detail: _Detail
    id: str | None = None
    time: Time = None
    account: str | None = None
    region: str | None = None
    type: str = msgspec.field(name="detail-type", default=_IMAGE_ACTION)


_wires = msgspec.json.Decoder(_Wire)


def claims(payload: Payload) -> bool:
    """By its source, or by what it is about."""
    keys = payload.keys
    about = bytes(keys.get("detail-type", b"")).startswith(b'"ECR ')
    return "detail" in keys and (about or bytes(keys.get("source", b"")) == b'"aws.ecr"')


def parse(payload: Payload) -> Understood:
    """One event; one for each tag, where it names several."""
    said = typed(_wires, payload.raw)
    detail, is_known = said.detail, None not in (said.account, said.region)
    return [
        make_event(
            NAME, payload, position,
            event_id=said.id, at=time_of(said.time, payload.received_at), action=_action(said),
            repository=detail.repository_name, tag=tag, digest=detail.image_digest,
            media_type=detail.manifest_media_type, request_id=said.id,
            registry=f"{said.account}.dkr.ecr.{said.region}.amazonaws.com" if is_known else None,
        )
        for position, tag in enumerate(detail.image_tags or [detail.image_tag])
    ]  # fmt: skip


def _action(said: _Wire) -> str | None:
    """What happened; anything but a push or delete that went well keeps its name: scans, replication, failures."""
    detail = said.detail
    if said.type != _IMAGE_ACTION:
        return said.type
    if detail.result not in (None, "SUCCESS"):
        return f"{detail.action_type} {detail.result}"
    return _ACTIONS.get(detail.action_type or "", detail.action_type)


DIALECT = Dialect(NAME, "Amazon ECR", claims, parse)
