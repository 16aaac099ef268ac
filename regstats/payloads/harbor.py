"""Harbor, in its default format and as CloudEvents.

Source: goharbor's src/pkg/notifier/model/event.go, formats/cloudevents.go, src/controller/event/topic.go and
src/server/registry/manifest.go. It tells of pulls: of each GET of a manifest, and of no HEAD. Where a manifest was
asked for by digest, the tag is the digest.

The default format has no id, and times of whole seconds: when it is repeated, nothing tells it from a second pull
within that second. So each delivery counts. CloudEvents have an id that stays the same; use them.

A project that is a proxy calls it PUSH_ARTIFACT when it keeps what somebody pulled through it (goharbor#19982).
"""

from collections.abc import Iterator
from typing import Any

import msgspec
from msgspec import Struct

from regstats.errors import PayloadError
from regstats.events import Event
from regstats.payloads.cloudevents import read, type_of
from regstats.payloads.dialect import (
    CACHED,
    Dialect,
    Payload,
    Time,
    Understood,
    host_before,
    make_event,
    time_of,
    typed,
)

NAME = "harbor"
_TYPES = "harbor."
_PROXY = "harbor#proxy-cache-service"
_ACTIONS = {
    "PUSH_ARTIFACT": "push", "PULL_ARTIFACT": "pull", "DELETE_ARTIFACT": "delete",
    "pushImage": "push", "pullImage": "pull", "deleteImage": "delete",
    "harbor.artifact.pushed": "push", "harbor.artifact.pulled": "pull", "harbor.artifact.deleted": "delete",
}  # fmt: skip


class _Resource(Struct):
    digest: str | None = None
    tag: str | None = None
    resource_url: str | None = None


class _Repository(Struct):
    name: str | None = None
    namespace: str | None = None
    repo_full_name: str | None = None


class _Job(Struct):
    """What retention or replication did."""

    project_name: str | None = None
    deleted_artifact: list[dict[str, Any]] | None = None
    dest_resource: dict[str, Any] | None = None
    successful_artifact: list[dict[str, Any]] | None = None


class _Data(Struct):
    resources: list[_Resource] | None = None
    repository: _Repository | None = None
    retention: _Job | None = None
    replication: _Job | None = None


class _Default(Struct):
    type: str
    event_data: _Data
    occur_at: Time = None
    operator: str | None = None


class _Told(Struct):
    """Either of both formats."""

    type: str
    data: _Data
    at: Time
    operator: str | None
    id: str | None = None
    request_id: str | None = None


_default = msgspec.json.Decoder(_Default)
_data = msgspec.json.Decoder(_Data)


def claims(payload: Payload) -> bool:
    """Its CloudEvents are of types of its own; the default format has `event_data`."""
    return type_of(payload).startswith(_TYPES) or {"type", "event_data"} <= payload.keys.keys()


def parse(payload: Payload) -> Understood:
    """An event per resource. What is neither push, pull nor delete keeps its name as the action."""
    told = _read(payload)
    action = _ACTIONS.get(told.type, told.type)
    if action == "push" and told.operator == _PROXY:
        action = CACHED
    resources = told.data.resources
    if not resources:
        if action != told.type:
            raise PayloadError(f"{told.type} without resources: it does not say what happened to what.")
        return _of_job(told, payload)
    return [_of_resource(told, resource, action, payload, n) for n, resource in enumerate(resources)]


def _read(payload: Payload) -> _Told:
    if "event_data" in payload.keys:
        said = typed(_default, payload.raw)
        return _Told(said.type, said.event_data, said.occur_at, said.operator)
    event = read(payload)
    return _Told(event.type, typed(_data, event.data), event.time, event.operator, event.id, event.request_id)


def _of_resource(told: _Told, resource: _Resource, action: str, payload: Payload, position: int) -> Event:
    repository = _name(told.data.repository)
    return make_event(
        NAME, payload, position,
        event_id=told.id, at=time_of(told.at, payload.received_at), action=action, repository=repository,
        tag=resource.tag, digest=resource.digest, actor=told.operator,
        request_id=told.request_id or told.id or payload.name,
        registry=host_before(repository, resource.resource_url),
    )  # fmt: skip


def _name(repository: _Repository | None) -> str | None:
    if repository is None:
        return None
    both = f"{repository.namespace}/{repository.name}" if repository.namespace and repository.name else None
    return repository.repo_full_name or both


def _of_job(told: _Told, payload: Payload) -> Iterator[Event]:
    """What became of which images, where a job tells of itself: `alpine:3.8`, `alpine [1 item(s) in total]`."""
    at = time_of(told.at, payload.received_at)
    for position, (repository, tag) in enumerate(_worked_on(told.data)):
        yield make_event(
            NAME, payload, position,
            event_id=told.id, at=at, action=told.type, repository=repository, tag=tag, actor=told.operator,
            request_id=told.request_id,
        )  # fmt: skip


def _worked_on(data: _Data) -> Iterator[tuple[str, str | None]]:
    retention, replication = data.retention or _Job(), data.replication or _Job()
    target = (replication.dest_resource or {}).get("namespace")
    done = [(retention.project_name, one) for one in retention.deleted_artifact or ()]
    done += [(target, one) for one in replication.successful_artifact or ()]
    for project, artifact in done:
        name, _, tag = str(artifact.get("name_tag", "")).partition(" ")[0].partition(":")
        if name and project:
            yield f"{project}/{name}", tag or None


DIALECT = Dialect(
    NAME, "Harbor", claims, parse,
    reports_pulls=True, people=("operator",), nobody=(_PROXY,), headers=("ce-*",),
)  # fmt: skip
