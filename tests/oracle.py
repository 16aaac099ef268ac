"""The accounting of pulls, slow and obvious, to check the SQL against: one function per rule."""

from collections import defaultdict
from datetime import timedelta
from typing import NamedTuple

NEAR = timedelta(seconds=60)
LONG = timedelta(hours=1)


class Pull(NamedTuple):
    event_id: str
    kind: str
    requests: int
    blobs: int
    bytes: int


def account(events):
    """The pulls, version checks and lookups of some events, in no particular order."""
    clients = defaultdict(list)
    for event in events:
        clients[event.source, event.repository, event.actor, event.client_address, event.user_agent].append(event)
    return [pull for mine in clients.values() for pull in _of_one_client(mine)]


def _of_one_client(events):
    events = sorted(events, key=lambda e: (e.timestamp, e.method != "HEAD", e.event_id))
    requests = [e for e in events if e.action == "pull" and e.kind in ("manifest", "index")]
    belongs_to = {id(e): e for e in requests}
    _pair(requests, belongs_to, [e for e in requests if e.method != "HEAD" and e.tag], lambda e: e.tag, set())
    taken = {id(first) for e in requests if (first := belongs_to[id(e)]) is not e}
    by_digest = [e for e in requests if e.method != "HEAD" and not e.tag]
    _pair(requests, belongs_to, by_digest, lambda e: e.digest, taken)
    _adopt(requests, belongs_to)
    members, blobs = defaultdict(list), defaultdict(list)
    for request in requests:
        members[id(belongs_to[id(request)])].append(request)
    for blob, request in _blobs(events):
        blobs[id(belongs_to[id(request)])].append(blob)
    writes = [e for e in events if e.action in ("push", "delete") and e.kind != "blob"]
    for first in requests:
        if belongs_to[id(first)] is first:
            yield _pull(first, members[id(first)], blobs[id(first)], writes, events)


def _pair(requests, belongs_to, gets, key, taken):
    """Each GET belongs to the latest HEAD of the same tag or digest before it that is not taken."""
    taken = set(taken)
    for get in gets:
        for head in reversed(requests[: _position(requests, get)]):
            if head.method == "HEAD" and key(head) == key(get) and id(head) not in taken:
                if get.timestamp - head.timestamp <= NEAR:
                    belongs_to[id(get)] = head
                    taken.add(id(head))
                break


def _adopt(requests, belongs_to):
    """A GET by digest of a manifest that belongs to nothing yet belongs to an index before it."""
    alone = {
        id(e) for e in requests if e.kind != "index" and e.method != "HEAD" and not e.tag and belongs_to[id(e)] is e
    }
    family = [e for e in requests if e.kind == "index" or id(e) in alone]
    for position, child in enumerate(family):
        if id(child) not in alone:
            continue
        later = child
        for earlier in reversed(family[:position]):
            if later.timestamp - earlier.timestamp > NEAR:
                break
            later = earlier
            lists = earlier.reference_digests
            if earlier.kind == "index" and (lists is None or child.digest in lists):
                if child.timestamp - earlier.timestamp <= LONG:
                    belongs_to[id(child)] = belongs_to[id(earlier)]
                break


def _blobs(events):
    """The blobs that were fetched, each with the latest request for a manifest before it."""
    stream = [e for e in events if e.action == "pull" and (e.kind != "blob" or e.method != "HEAD")]
    for position, blob in enumerate(stream):
        if blob.kind != "blob":
            continue
        later = blob
        for earlier in reversed(stream[:position]):
            if later.timestamp - earlier.timestamp > NEAR:
                break
            later = earlier
            if earlier.kind != "blob":
                if blob.timestamp - earlier.timestamp <= LONG:
                    yield blob, earlier
                break


def _pull(first, members, blobs, writes, events):
    last = max(e.timestamp for e in members)
    written = any(
        w.digest == first.digest and _position(events, w) > _position(events, first) and w.timestamp - last <= NEAR
        for w in writes
    )
    if written and not blobs:
        kind = "lookup"
    elif not first.tag:
        kind = "pull_by_digest"
    elif any(e.method != "HEAD" for e in members):
        kind = "pull_by_tag"
    else:
        kind = "version_check"
    return Pull(first.event_id, kind, len(members), len(blobs), sum(e.size or 0 for e in blobs))


def _position(events, event):
    return next(position for position, other in enumerate(events) if other is event)
