"""Makers: events as a registry sends them, and stores that hold them."""

import itertools
import json
from datetime import UTC, datetime, timedelta

from regstats.events import Delivery, Deployment
from regstats.journal import Journal

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
BLOB = "application/octet-stream"
A, B = (f"sha256:{letter * 64}" for letter in "ab")

_numbers = itertools.count(1)


def make_event(**changes):
    """One event of a Distribution registry. Keys that are None are left out; `at` is its time."""
    number = next(_numbers)
    at = changes.pop("at", NOW)
    target = {
        "mediaType": changes.pop("media_type", MANIFEST),
        "size": changes.pop("size", 502),
        "digest": changes.pop("digest", "sha256:" + "a" * 64),
        "repository": changes.pop("repository", "team/app"),
        "tag": changes.pop("tag", "1.0"),
        "references": changes.pop("references", None),
        "fromRepository": changes.pop("from_repository", None),
    }
    request = {
        "id": changes.pop("request_id", f"request-{number}"),
        "addr": changes.pop("addr", "192.0.2.7:40000"),
        "host": "registry.example:5000",
        "method": changes.pop("method", "GET"),
        "useragent": changes.pop("user_agent", "containers/5.23.1 (github.com/containers/image)"),
    }
    actor = changes.pop("actor", "alice")
    event = {
        "id": changes.pop("id", f"event-{number}"),
        "timestamp": at.isoformat() if isinstance(at, datetime) else at,
        "action": changes.pop("action", "pull"),
        "target": {key: value for key, value in target.items() if value is not None},
        "request": request,
        "actor": {"name": actor} if actor else {},
        "source": {"addr": "registry:5000", "instanceID": "instance-1"},
    }
    assert not changes, f"no such part of an event: {changes}"
    return {key: value for key, value in event.items() if value is not None}


def make_push(**changes):
    return make_event(**{"action": "push", "method": "PUT"} | changes)


def envelope(*events):
    return json.dumps({"events": list(events)}, indent=3).encode()


def make_delivery(body, *, received_at=NOW, source="default"):
    return Delivery(
        received_at=received_at,
        delivery_id=f"delivery-{next(_numbers)}",
        source=source,
        remote_address="192.0.2.1",
        headers={"Content-Type": "application/vnd.docker.distribution.events.v1+json"},
        body=body,
    )


def journalled(store, *bodies, received_at=NOW, source="default"):
    """Deliveries that are acknowledged, and not yet sealed."""
    journal = Journal(store.journal)
    journal.append(make_delivery(body, received_at=received_at, source=source) for body in bodies)
    journal.rotate()


def fill(store):
    """Makes it a store about which every metric has something to say."""
    pushes = [
        make_push(repository="team/old", tag="1.0", at=NOW - days(200)),
        *(make_push(tag="latest", digest=digest, at=NOW - days(day)) for digest, day in ((A, 30), (B, 10))),
    ]
    pulls = [
        make_event(tag="latest", digest=A, at=NOW - days(29), actor=None),
        make_event(tag="latest", digest=B, at=NOW - days(9), actor="ci", user_agent="docker/27.5.1"),
        *(make_event(tag="1.0", actor="looping", at=NOW - days(2) + days(n / 100)) for n in range(60)),
    ]
    journalled(store, *map(envelope, [*pushes, *pulls]), b"garbage", received_at=NOW - days(1))


def days(number):
    return timedelta(days=number)


def make_deployment(name, status="succeeded", **changes):
    """One that a rule made of a push; its id begins with the name."""
    own = {"rule": "app", "target": "team/app", "timestamp": NOW, "source": "default", "repository": "team/app"}
    own |= {"tag": "1.3", "digest": A, "before": B, "media_type": None, "actor": "ci", "client_address": None}
    own |= {"event_id": "e", "seen_at": NOW, "due_at": NOW, "started_at": NOW + timedelta(seconds=1)}
    own |= {"finished_at": NOW + timedelta(seconds=4), "history": ["one", "two"], "output": "said\n"}
    return Deployment(**own | {"deployment_id": name, "status": status} | changes)
