"""Docker Hub's raw data of pulls, which verified publishers can download: a row is a pull or a version check.

Source: Docker's documentation "Insights and analytics". Docker has put the requests together already, by the same
classification as `sql/views/pulls.sql`; nobody's name or address is in it, and no id. The summary, which has sums
instead, is no list of what happened.
"""

import msgspec
from msgspec import Struct

from regstats.errors import PayloadError
from regstats.payloads.dialect import Dialect, Payload, Understood, make_event, time_of, typed

NAME = "dockerhub_csv"
_METHODS = {"pull_by_tag": "GET", "pull_by_digest": "GET", "version_check": "HEAD"}
_CLAIMED = {f'"{action}"'.encode() for action in _METHODS}
_REGISTRY = "docker.io"


class _Wire(Struct):
    repository: str
    action: str | None = None
    namespace: str | None = None
    tag: str | None = None
    digest: str | None = None
    reference: str | None = None
    timestamp: str | None = None
    user_agent_tool: str | None = None
    user_agent_version: str | None = None


_wires = msgspec.json.Decoder(_Wire)


def claims(payload: Payload) -> bool:
    """By its columns."""
    keys = payload.keys
    is_raw = "user_agent_tool" in keys or bytes(keys.get("action", b"")) in _CLAIMED
    return "repository" in keys and (is_raw or "pull_by_tag" in keys)


def parse(payload: Payload) -> Understood:
    """One request, that stands for what it was."""
    said = typed(_wires, payload.raw)
    if said.action is None:
        raise PayloadError("A summary: it has sums, and not what happened. Download the raw data instead.")
    is_namespaced = "/" in said.repository or not said.namespace
    return [
        make_event(
            NAME, payload,
            event_id=None, at=time_of(said.timestamp, payload.received_at), action="pull", kind="manifest",
            repository=said.repository if is_namespaced else f"{said.namespace}/{said.repository}",
            tag=said.tag if said.action != "pull_by_digest" else None, digest=said.digest, registry=_REGISTRY,
            user_agent=_user_agent(said), method=_METHODS.get(said.action, ""),
        )
    ]  # fmt: skip


def _user_agent(said: _Wire) -> str:
    """Its parts together; a check has another one than a pull, as it must not be put together with the next pull."""
    parts = filter(None, (said.user_agent_tool or "unknown", said.user_agent_version))
    return "/".join(parts) + (" (version check)" if said.action == "version_check" else "")


DIALECT = Dialect(NAME, "Docker Hub's raw data", claims, parse, reports_pulls=True, is_download=True)
