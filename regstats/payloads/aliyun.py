"""Alibaba Cloud's Container Registry (Aliyun): like Docker Hub's, with names of its own, and the digest.

Source: its documentation of triggers, and samples of other projects' tests. No id. The time has no zone.
"""

from datetime import UTC, datetime, timedelta, timezone

import msgspec
from msgspec import Struct

from regstats.payloads.dialect import Dialect, Payload, Understood, make_event, time_of, typed

NAME = "aliyun"
_ZONES = (UTC, timezone(timedelta(hours=8)))
_SKEW = timedelta(minutes=5)


class _Pushed(Struct):
    tag: str | None = None
    digest: str | None = None
    pushed_at: str | None = None


class _Repository(Struct):
    repo_full_name: str | None = None
    region: str | None = None


class _Wire(Struct):
    push_data: _Pushed
    repository: _Repository


_wires = msgspec.json.Decoder(_Wire)


def claims(payload: Payload) -> bool:
    """By its shape, and the name that Docker Hub has otherwise."""
    keys = payload.keys
    return {"push_data", "repository"} <= keys.keys() and b'"repo_full_name"' in bytes(keys["repository"])


def parse(payload: Payload) -> Understood:
    """One push."""
    said = typed(_wires, payload.raw)
    region = said.repository.region
    return [
        make_event(
            NAME, payload,
            event_id=None, at=_time(said.push_data.pushed_at, payload.received_at), action="push",
            repository=said.repository.repo_full_name, tag=said.push_data.tag, digest=said.push_data.digest,
            registry=f"registry.{region}.aliyuncs.com" if region else None,
        )
    ]  # fmt: skip


def _time(said: str | None, received_at: datetime) -> datetime | None:
    """UTC, or Beijing's time: it does not say. A webhook comes at once, so the latest that is not ahead of receipt."""
    try:
        naive = datetime.fromisoformat(said or "")
    except ValueError:
        return None
    zones = _ZONES if naive.tzinfo is None else (naive.tzinfo,)
    possible = [naive.replace(tzinfo=zone) for zone in zones]
    told = [when for when in possible if when <= received_at + _SKEW]
    return time_of(max(told).isoformat(), received_at) if told else None


DIALECT = Dialect(NAME, "Alibaba Cloud Container Registry", claims, parse)
