"""A tiny artifact that is pushed, looked at and deleted, to see what of that arrives."""

import secrets
import socket
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from regstats.errors import ActionError
from regstats.registry import Client, Descriptor, Manifest, digest_as, once
from regstats.registry_config import Finding
from regstats.session import Session
from regstats.stats import Stats
from regstats.terminal import visible

PROBED = "regstats-doctor"
"""The repository that is used for it."""
_PATIENCE = 10.0  # seconds for a connection
_SKEW = timedelta(seconds=5)
_GLANCE = 0.2  # seconds between two looks into the store
_FORGED = "192.0.2.1"  # nobody's: for documentation (RFC 5737)
_OCI = "application/vnd.oci"


def probe(session: Session, stats: Stats, wait: float) -> Iterator[Finding]:
    """Pushes something, looks at it, deletes it, and sees what arrives of that within so many seconds."""
    its = _Probe(session)
    try:
        try:
            its.push()
            its.look()
        finally:
            yield from its.tidy_up()
    except ActionError as error:
        yield Finding("probe", "problem", f"Nothing could be pushed: {error}", "Somebody with that right has to ask.")
        return
    yield from _arrived(its, stats, wait)


class _Probe:
    """A tiny artifact that is pushed, looked at, and deleted."""

    def __init__(self, session: Session) -> None:
        self._session, self._client = session, Client(session)
        self.tag, self.is_deleted = f"probe-{secrets.token_hex(6)}", False
        self.pushed_at = datetime.now(UTC)
        self.address = _own_address(session)
        config, layer = _part(b"{}", f"{_OCI}.empty.v1+json"), _part(self.tag.encode(), f"{_OCI}.image.layer.v1.tar")
        self._blobs = [(config, b"{}"), (layer, self.tag.encode())]
        kind = f"{_OCI}.image.manifest.v1+json"
        content = {"schemaVersion": 2, "mediaType": kind, "config": _told(config), "layers": [_told(layer)]}
        body = msgspec.json.encode(content)
        self.manifest = Manifest(digest_as("", body), kind, body)

    def push(self) -> None:
        """With its blobs."""
        for part, data in self._blobs:
            self._client.add(PROBED, part, once(data, part), None)
        self.pushed_at = datetime.now(UTC)
        self._client.put(PROBED, self.tag, self.manifest)

    def look(self) -> None:
        """As somebody who says to be somewhere else."""
        forged = {"X-Forwarded-For": _FORGED, "X-Real-Ip": _FORGED}
        path = f"/v2/{PROBED}/manifests/{self.tag}"
        with self._session.asked("GET", path, accept=self.manifest.media_type, headers=forged):
            pass

    def tidy_up(self) -> Iterator[Finding]:
        """Whatever happened."""
        try:
            self._client.delete(PROBED, self.manifest.digest)
            self.is_deleted = True
        except ActionError as error:
            what = f"{PROBED}:{self.tag} is left at the registry, which does not let it be deleted: {error}"
            yield Finding("probe", "warning", what, "Write under `storage`: `delete: {enabled: true}`, if it may be.")


def _part(data: bytes, kind: str) -> Descriptor:
    return Descriptor(digest_as("", data), kind, len(data))


def _told(part: Descriptor) -> dict[str, Any]:
    return {"mediaType": part.media_type, "digest": part.digest, "size": part.size}


def _own_address(session: Session) -> str | None:
    """From where this machine asks the registry."""
    try:
        with socket.create_connection((session.host, session.port), timeout=_PATIENCE) as connection:
            return str(connection.getsockname()[0])
    except OSError:
        return None


def _arrived(its: _Probe, stats: Stats, wait: float) -> Iterator[Finding]:
    """What the store has of it, as soon as it has everything, or after a while."""
    expected = {"push", "pull", *(["delete"] if its.is_deleted else [])}
    found: dict[str, dict[str, Any]] = {}
    deadline = time.monotonic() + wait
    while time.monotonic() < deadline and not expected <= found.keys():
        time.sleep(_GLANCE)
        rows = stats.sql(_EVENTS, repository=PROBED, digest=its.manifest.digest).to_arrow_table().to_pylist()
        found = {row["action"]: row for row in rows}
    if not found:
        what = f"Nothing of what was pushed arrived within {wait:g} s."
        yield Finding("probe", "problem", what, "Look at the findings above, then at the registry's log.")
        return
    took = max(row["received_at"] for row in found.values()) - its.pushed_at
    names = " and ".join(f"the {action}" for action in ("push", "pull", "delete") if action in found)
    what = f"{names} arrived {max(took.total_seconds(), 0):.1f} s after the push, as those of {_who(found)}."
    yield Finding("probe", "ok", what)
    for action in sorted(expected - found.keys()):
        yield Finding(
            "probe", "warning", f"The {action} did not arrive within {wait:g} s.", "Does the endpoint ignore it?"
        )
    yield from _addresses(found, its)
    yield from _event_clock(found, its)


_EVENTS = """
select action, timestamp, received_at, actor, client_address from events
where repository = $repository and digest = $digest and kind <> 'blob'
"""


def _who(found: dict[str, dict[str, Any]]) -> str:
    actor = next((row["actor"] for row in found.values() if row["actor"]), None)
    return visible(str(actor)) if actor else "nobody known"


def _addresses(found: dict[str, dict[str, Any]], its: _Probe) -> Iterator[Finding]:
    looked, pushed = found.get("pull", {}).get("client_address"), found.get("push", {}).get("client_address")
    remedy = (
        "Let nginx set X-Forwarded-For to $remote_addr, and the registry listen on loopback: `regstats config nginx`."
    )
    if looked == _FORGED:
        what = "Clients choose the address that stands in the events: the registry believed a made-up one."
        yield Finding("address", "warning", what, remedy)
    if pushed and its.address and pushed != its.address:
        what = f"The registry says that {visible(pushed)} pushed, and it was {its.address}: is that a proxy?"
        yield Finding("address", "warning", what, remedy)


def _event_clock(found: dict[str, dict[str, Any]], its: _Probe) -> Iterator[Finding]:
    pushed = found.get("push")
    if pushed is None:
        return
    off = abs(pushed["timestamp"].astimezone(UTC) - its.pushed_at)
    if off > _SKEW:
        what = f"The registry's events are {off.total_seconds():,.0f} s off."
        yield Finding("clock", "warning", what, "Let its machine ask a time server (NTP).")
