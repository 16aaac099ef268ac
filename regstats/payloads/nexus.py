"""Sonatype Nexus Repository: webhooks of a repository, of its components or of its assets.

Source: Sonatype's documentation of webhooks, and samples of other projects' tests. A component is an image with its
tag, and counts. An asset is one file of it: that is told as it came, and counts nothing, as a repository may send both.
"""

import msgspec
from msgspec import Struct

from regstats.errors import PayloadError
from regstats.payloads.dialect import Dialect, Payload, Time, Understood, make_event, time_of, typed

NAME = "nexus"
_ACTIONS = {"CREATED": "push", "UPDATED": "push", "DELETED": "delete"}
_ANONYMOUS = "anonymous"
_ID = "x-nexus-webhook-delivery"


class _Component(Struct):
    format: str | None = None
    name: str | None = None
    version: str | None = None


class _Wire(Struct, rename="camel"):
    action: str | None = None
    timestamp: Time = None
    initiator: str | None = None
    component: _Component | None = None
    asset: _Component | None = None


_wires = msgspec.json.Decoder(_Wire)


def claims(payload: Payload) -> bool:
    """By what its webhooks of repositories have."""
    keys = payload.keys.keys()
    return {"repositoryName", "action"} <= keys and bool({"component", "asset"} & keys)


def parse(payload: Payload) -> Understood:
    """One event."""
    said = typed(_wires, payload.raw)
    thing = said.component or said.asset or _Component()
    if thing.format != "docker":
        raise PayloadError(f"A {'component' if said.component else 'file'} of the format {thing.format}: no image.")
    repository, reference = (thing.name, thing.version) if said.component else _in_path(thing.name or "")
    actor, _, address = (said.initiator or "").partition("/")
    return [
        make_event(
            NAME, payload,
            event_id=payload.headers.get(_ID), at=time_of(said.timestamp, payload.received_at),
            action=_ACTIONS.get(said.action or "", said.action) if said.component else said.action,
            repository=repository, reference=reference, actor=None if actor == _ANONYMOUS else actor, address=address,
        )
    ]  # fmt: skip


def _in_path(path: str) -> tuple[str, str | None]:
    """The repository and reference of `v2/team/api/manifests/1.0`."""
    name, _, reference = path.removeprefix("v2/").partition("/manifests/")
    return name, reference or None


DIALECT = Dialect(
    NAME, "Sonatype Nexus", claims, parse,
    people=("initiator",), nobody=(_ANONYMOUS,),
    headers=(_ID, "x-nexus-webhook-id"),
    signatures={"x-nexus-webhook-signature": ("sha1", "sha256")},
)  # fmt: skip
