"""Quay: a notification of the kind "Push to Repository", as a webhook.

Source: quay's notifications/notificationevent.py, and samples of Red Hat's documentation. It says which tags were
pushed; neither when, nor by whom, nor what they point to, and has no id. A notification of 2013 had the tags as keys.
"""

import msgspec
from msgspec import Struct

from regstats.errors import PayloadError
from regstats.payloads.dialect import Dialect, Payload, Understood, host_before, make_event, typed

NAME = "quay"
_HOSTED = "quay.io"


class _Wire(Struct):
    repository: str
    docker_url: str | None = None
    updated_tags: list[str] | dict[str, msgspec.Raw] | None = None


_wires = msgspec.json.Decoder(_Wire)


def claims(payload: Payload) -> bool:
    """By what all its notifications have."""
    return "repository" in payload.keys and bool({"docker_url", "updated_tags"} & payload.keys.keys())


def parse(payload: Payload) -> Understood:
    """A push per tag; one without a tag where none is named."""
    said = typed(_wires, payload.raw)
    if said.updated_tags is None:
        raise PayloadError("A notification of Quay that is not about a push: it has no `updated_tags`.")
    registry = host_before(said.repository, said.docker_url) or (None if said.docker_url else _HOSTED)
    return [
        make_event(
            NAME, payload, position,
            event_id=None, at=None, action="push", repository=said.repository, tag=tag, registry=registry,
        )
        for position, tag in enumerate(list(said.updated_tags) or [None])
    ]  # fmt: skip


DIALECT = Dialect(NAME, "Quay", claims, parse)
