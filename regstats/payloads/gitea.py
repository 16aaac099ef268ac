"""Gitea and Forgejo: the event `package`, of packages of the type `container`.

Source: gitea's modules/structs/package.go and services/webhook. The id is a header. A manifest without a tag, such as a
platform's of an index, has its digest as version. Times are Go's zero time in some of them.
"""

import msgspec
from msgspec import Struct

from regstats.errors import PayloadError
from regstats.payloads.dialect import Dialect, Payload, Time, Understood, make_event, time_of, typed

NAME = "gitea"
_IDS = ("x-gitea-delivery", "x-forgejo-delivery", "x-gogs-delivery")
_ACTIONS = {"created": "push", "deleted": "delete"}


class _User(Struct):
    login: str | None = None


class _Package(Struct):
    type: str | None = None
    name: str | None = None
    version: str | None = None
    owner: _User | None = None
    creator: _User | None = None
    created_at: Time = None


class _Wire(Struct):
    package: _Package
    action: str | None = None
    sender: _User | None = None


_wires = msgspec.json.Decoder(_Wire)
_heads = msgspec.json.Decoder(dict[str, msgspec.Raw])


def claims(payload: Payload) -> bool:
    """By what a package has there, and GitHub's has not."""
    package = payload.keys.get("package")
    if package is None or not bytes(package).startswith(b"{"):
        return False
    return {"type", "version"} <= _heads.decode(package).keys()


def parse(payload: Payload) -> Understood:
    """One event."""
    said = typed(_wires, payload.raw)
    package, action = said.package, _ACTIONS.get(said.action or "", said.action)
    if package.type != "container":
        raise PayloadError(f"A package of the type {package.type}: no image.")
    owner = (package.owner or _User()).login
    return [
        make_event(
            NAME, payload,
            event_id=next((payload.headers[name] for name in _IDS if name in payload.headers), None),
            # When something is deleted, it is the time at which it was made.
            at=time_of(package.created_at, payload.received_at) if action == "push" else None,
            action=action, repository=f"{owner}/{package.name}" if owner and package.name else None,
            reference=package.version, actor=(said.sender or package.creator or _User()).login,
        )
    ]  # fmt: skip


DIALECT = Dialect(
    NAME, "Gitea and Forgejo", claims, parse,
    people=("sender", "package.creator"),
    headers=("x-gitea-*", "x-forgejo-*", "x-gogs-delivery"),
    signatures=dict.fromkeys(("x-gitea-signature", "x-forgejo-signature", "x-hub-signature-256"), ("sha256",)),
)  # fmt: skip
