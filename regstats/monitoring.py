"""What a collector says about itself: numbers for Prometheus, `/healthz`, and one log line per noteworthy thing.

A collector is several processes. prometheus_client adds up what they count, in files of $PROMETHEUS_MULTIPROC_DIR; it
must be set before this module is imported. Where it is not, each process counts for itself.
"""

import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.multiprocess import MultiProcessCollector

_log = logging.getLogger(__name__)

_SHORT = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_LONG = (0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60, 300)

DELIVERIES = Counter("regstats_deliveries", "Deliveries that were stored.", ["source"])
BYTES = Counter("regstats_delivery_bytes", "Bytes of the deliveries that were stored.", ["source"])
LAST = Gauge("regstats_last_received_timestamp_seconds", "When the last one came.", ["source"], multiprocess_mode="max")
REJECTED = Counter("regstats_rejected", "Deliveries that were not taken.", ["source", "reason"])
LAST_REJECTED = Gauge(
    "regstats_last_rejected_timestamp_seconds", "When the last one came.", ["source", "reason"], multiprocess_mode="max"
)
REQUEST = Histogram("regstats_request_seconds", "From the head of a delivery to its answer.", buckets=_SHORT)
COMMIT = Histogram("regstats_fsync_seconds", "To write a group of deliveries and have it on disk.", buckets=_SHORT)
EVENTS = Counter("regstats_events", "Events that were sealed, each once.")
DUPLICATES = Counter("regstats_duplicates", "Events that were delivered again.")
QUARANTINED = Counter("regstats_quarantined", "Deliveries of which something was not understood.")
SEAL = Histogram("regstats_seal_seconds", "To seal what had come.", buckets=_LONG)
COMPACT = Histogram("regstats_compact_seconds", "To merge, account and clean up.", buckets=_LONG)
DEPLOYMENTS = Counter("regstats_deployments", "Deployments that have ended.", ["rule", "status"])
FAILED = Counter("regstats_upkeep_failures", "Upkeep of the store that failed and is tried again.", ["step"])


def numbers() -> CollectorRegistry:
    """What all processes of this collector have counted; the others until a second ago."""
    add_up()
    if not _directory():
        return REGISTRY
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return registry


def _directory() -> str | None:
    return os.environ.get("PROMETHEUS_MULTIPROC_DIR")


# What is counted for each delivery is only noted, and added up once a second: that takes longer than all the rest.
_noted: deque[tuple[str, int, float]] = deque()
_commits: deque[float] = deque()
_adding = threading.Lock()

note_commit = _commits.append
"""Notes how many seconds it took to have a group of deliveries on disk."""


def note(source: str, size: int, seconds: float) -> None:
    """Notes a delivery that was stored, its bytes, and how long it took."""
    _noted.append((source, size, seconds))


def add_up() -> None:
    """Adds what was noted to the numbers."""
    with _adding:
        while _noted:
            source, size, seconds = _noted.popleft()
            DELIVERIES.labels(source).inc()
            BYTES.labels(source).inc(size)
            LAST.labels(source).set(time.time())
            REQUEST.observe(seconds)
        while _commits:
            COMMIT.observe(_commits.popleft())


ASKED = "asked, and refused"
"""The reason where nothing was delivered: somebody only asked whether it would be taken."""


class Rejected(NamedTuple):
    """Deliveries that were not taken, by source and reason."""

    source: str
    reason: str
    number: int
    last: datetime


def rejections() -> list[Rejected]:
    """What was not taken since the collector started."""
    values: dict[tuple[str, str], dict[str, float]] = {}
    for metric in numbers().collect():
        if metric.name in ("regstats_rejected", "regstats_last_rejected_timestamp_seconds"):
            for sample in metric.samples:
                if not sample.name.endswith("_created"):
                    key = sample.labels["source"], sample.labels["reason"]
                    values.setdefault(key, {})[metric.name] = sample.value
    return [
        Rejected(*key, int(value["regstats_rejected"]), datetime.fromtimestamp(max(value.values()), UTC))
        for key, value in sorted(values.items())
    ]


class Doorkeeper:
    """Tells of deliveries that were not taken: a registry repeats them for ever, and nobody else would notice.

    At once, and then once a minute with their number: it may be thousands.
    """

    _SECONDS = 60.0

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._told: dict[tuple[str, str], float] = {}
        self._untold: dict[tuple[str, str], tuple[int, str | None, str | None]] = {}

    def reject(self, source: str, reason: str, address: str | None, detail: str | None = None) -> None:
        """Counts a delivery that was not taken. `detail` is for the log, where the reason does not say enough."""
        REJECTED.labels(source, reason).inc()
        LAST_REJECTED.labels(source, reason).set(time.time())
        with self._lock:
            count, *_ = self._untold.get((source, reason), (0,))
            self._untold[source, reason] = count + 1, address, detail
        self.tell()

    def tell(self) -> None:
        """Logs what has not been told, unless the same was within a minute."""
        now = self._clock()
        with self._lock:
            due = [key for key in self._untold if now - self._told.get(key, -self._SECONDS) >= self._SECONDS]
            lines = [(key, *self._untold.pop(key)) for key in due]
            self._told |= dict.fromkeys(due, now)
        for (source, reason), count, address, detail in lines:
            fields = {"source": source, "reason": reason, "count": count, "address": address}
            fields |= {"detail": detail} if detail else {}
            _log.warning("Deliveries were not taken; their sender tries again and again.", extra={"fields": fields})


def publish(name: str, what: Any) -> None:
    """Lets all processes of this collector know, under a name, what took time to find out."""
    path = _file(name)
    if path:
        path.with_suffix(".new").write_bytes(msgspec.json.encode(what))
        path.with_suffix(".new").rename(path)


def published(name: str) -> Any:
    """What was published last under this name; None if nothing was."""
    path = _file(name)
    return msgspec.json.decode(path.read_bytes()) if path and path.exists() else None


def _file(name: str) -> Path | None:
    directory = _directory()
    return Path(directory) / f"{name}.json" if directory else None
