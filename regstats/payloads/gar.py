"""Google's Artifact Registry and Container Registry: the topic `gcr`, pushed by Pub/Sub.

Source: Google's documentation "Configure Pub/Sub notifications" and of push subscriptions. The message is wrapped, its
data is Base64; without wrapping the data is the body, and the id is a header. Pub/Sub delivers at least once, with the
same id.
"""

import msgspec
from msgspec import Struct

from regstats.errors import PayloadError
from regstats.payloads.dialect import Dialect, Payload, Time, Understood, make_event, place_of, time_of, typed

NAME = "gar"
_ACTIONS = {"INSERT": "push", "DELETE": "delete"}


class _Message(Struct):
    data: bytes = b""
    message_id: str | None = msgspec.field(default=None, name="messageId")
    publish_time: Time = msgspec.field(default=None, name="publishTime")


class _Wire(Struct):
    message: _Message


class _Data(Struct):
    action: str | None = None
    digest: str | None = None
    tag: str | None = None


_wires = msgspec.json.Decoder(_Wire)
_data = msgspec.json.Decoder(_Data)


def claims(payload: Payload) -> bool:
    """By what is around it; without that, by its data."""
    keys = payload.keys
    if "message" in keys:
        return b'"messageId"' in bytes(keys["message"])
    return "action" in keys and "repository" not in keys and bool({"digest", "tag"} & keys.keys())


def parse(payload: Payload) -> Understood:
    """One event: of a tag, or of a manifest without one."""
    message = typed(_wires, payload.raw).message if "message" in payload.keys else _unwrapped(payload)
    said = typed(_data, message.data)
    if not (said.tag or said.digest):
        raise PayloadError("The message names neither a tag nor a digest.")
    tagged, exact = place_of(said.tag or said.digest or ""), place_of(said.digest or "")
    return [
        make_event(
            NAME, payload,
            event_id=message.message_id, at=time_of(message.publish_time, payload.received_at),
            action=_ACTIONS.get(said.action or "", said.action), repository=tagged.repository, tag=tagged.tag,
            digest=tagged.digest or exact.digest, registry=tagged.registry,
        )
    ]  # fmt: skip


def _unwrapped(payload: Payload) -> _Message:
    about = payload.headers.get
    return _Message(payload.raw, about("x-goog-pubsub-message-id"), about("x-goog-pubsub-publish-time"))


DIALECT = Dialect(NAME, "Google Artifact Registry", claims, parse, headers=("x-goog-pubsub-*",))
