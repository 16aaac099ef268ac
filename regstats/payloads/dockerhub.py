"""Docker Hub: one webhook per tag that was pushed.

Source: Docker's documentation of webhooks, and samples of other projects' tests. No id, no digest. The time is in
seconds, with or without a fraction, or written as 1.417566161e+09.
"""

import msgspec
from msgspec import Struct

from regstats.payloads.dialect import Dialect, Payload, Time, Understood, make_event, time_of, typed

NAME = "dockerhub"
_REGISTRY = "docker.io"


class _Pushed(Struct):
    tag: str | None = None
    pusher: str | None = None
    pushed_at: Time = None


class _Repository(Struct):
    repo_name: str | None = None
    namespace: str | None = None
    name: str | None = None


class _Wire(Struct):
    push_data: _Pushed
    repository: _Repository


_wires = msgspec.json.Decoder(_Wire)


def claims(payload: Payload) -> bool:
    """By its shape; Aliyun's is alike, and says `repo_full_name`."""
    keys = payload.keys
    return {"push_data", "repository"} <= keys.keys() and b'"repo_full_name"' not in bytes(keys["repository"])


def parse(payload: Payload) -> Understood:
    """One push."""
    said = typed(_wires, payload.raw)
    repository = said.repository
    parts = [part for part in (repository.namespace, repository.name) if part]
    return [
        make_event(
            NAME, payload,
            event_id=None, at=time_of(said.push_data.pushed_at, payload.received_at), action="push",
            repository=repository.repo_name or ("/".join(parts) if repository.name else None), tag=said.push_data.tag,
            actor=said.push_data.pusher, registry=_REGISTRY,
        )
    ]  # fmt: skip


DIALECT = Dialect(NAME, "Docker Hub", claims, parse, people=("push_data.pusher",))
