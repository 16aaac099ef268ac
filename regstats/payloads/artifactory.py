"""JFrog Artifactory: webhooks of the domain `docker`, whole, or their `data` alone.

Source: JFrog's documentation of webhooks, and samples of other projects' tests. Neither id nor time. A push to the
cache of a remote repository is somebody's pull through it.
"""

import msgspec
from msgspec import Struct

from regstats.errors import PayloadError
from regstats.payloads.dialect import CACHED, Dialect, Payload, Size, Understood, digest_of, make_event, typed

NAME = "artifactory"
_ACTIONS = {"pushed": "push", "deleted": "delete"}
_CACHE = "-cache"
_INDEX = "list.manifest.json"


class _Data(Struct, frozen=True):
    repo_key: str | None = None
    image_name: str | None = None
    tag: str | None = None
    sha256: str | None = None
    size: Size | None = None
    name: str | None = None
    event_type: str | None = None


class _Wire(Struct):
    domain: str | None = None
    event_type: str | None = None
    data: _Data = _Data()
    source: str | None = None
    jpd_origin: str | None = None


_wires = msgspec.json.Decoder(_Wire)
_data = msgspec.json.Decoder(_Data)


def claims(payload: Payload) -> bool:
    """By its domain and event, or by what its data has."""
    keys = payload.keys.keys()
    return {"domain", "event_type", "data"} <= keys or {"repo_key", "image_name"} <= keys


def parse(payload: Payload) -> Understood:
    """One event."""
    said = typed(_wires, payload.raw) if "data" in payload.keys else _Wire("docker", data=typed(_data, payload.raw))
    if said.domain != "docker":
        raise PayloadError(f"An event of the domain {said.domain}: not about images.")
    data, key = said.data, said.data.repo_key or ""
    told = said.event_type or data.event_type
    action = _ACTIONS.get(told or "", told)
    return [
        make_event(
            NAME, payload,
            event_id=None, at=None, action=CACHED if action == "push" and key.endswith(_CACHE) else action,
            repository=f"{key}/{data.image_name}" if key and data.image_name else None,
            kind="index" if data.name == _INDEX else None, tag=data.tag, digest=digest_of(data.sha256), size=data.size,
            actor=(said.source or "").removeprefix("jfrog/"),
            registry=(said.jpd_origin or "").partition("://")[2].partition("/")[0],
        )
    ]  # fmt: skip


DIALECT = Dialect(
    NAME, "JFrog Artifactory", claims, parse, people=("source",), signatures={"x-jfrog-event-auth": ("sha256",)}
)  # fmt: skip
