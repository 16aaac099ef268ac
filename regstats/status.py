"""`GET /healthz` and `GET /metrics`: how is the collector? Cheap enough to be asked every second."""

import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import msgspec
from flask import Blueprint, Response, request
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from regstats import journal as segments_of
from regstats import monitoring
from regstats.access import Access, harden
from regstats.config import Settings
from regstats.errors import StoreError
from regstats.journal import Journal
from regstats.outbox import Outbox
from regstats.parts import TABLES, Part
from regstats.store import Store
from regstats.totals import MOST

PATHS = ("/healthz", "/metrics")

_FULL = 0.05  # of the disk, free
_RECENT = 600  # seconds


def blueprint(settings: Settings, journal: Journal | None, access: Access) -> Blueprint:
    """The routes."""
    routes = Blueprint("status", __name__)
    store = Store(settings.data, create=journal is not None)
    of_store = CollectorRegistry()
    of_store.register(_OfStore(store))
    of_store.register(_OfRepositories())

    routes.after_request(harden)

    @routes.get("/healthz")
    def healthz() -> Response:
        problem, report = journal.problem if journal is not None else None, {}
        status = 200 if problem is None else 503
        if access.knows(request):
            report = _report(settings, store, problem)
        word = "ok" if problem is None else "failing"
        return Response(msgspec.json.encode({"status": word} | report), status, mimetype="application/json")

    @routes.get("/metrics")
    def metrics() -> Response:
        access.admit(request)
        text = generate_latest(monitoring.numbers()) + generate_latest(of_store)
        return Response(text, content_type=CONTENT_TYPE_LATEST)

    return routes


def _report(settings: Settings, store: Store, problem: str | None) -> dict[str, Any]:
    pending = _pending(store)
    oldest = max((age for age, _ in pending), default=0.0)
    rejected = monitoring.rejections()
    disk = shutil.disk_usage(store.root)
    problems = [problem] if problem else []
    if oldest > 60 + 5 * settings.seal_interval:
        problems.append(f"The journal was not sealed for {oldest:.0f} s; see the log.")
    if disk.free < _FULL * disk.total:
        problems.append(f"The disk is nearly full: {disk.free:,} bytes are free.")
    problems += [
        f"{r.number:,} deliveries of {r.source} were not taken: {r.reason}."
        for r in rejected
        if (datetime.now(UTC) - r.last).total_seconds() < _RECENT and r.reason != monitoring.ASKED
    ]
    return {
        "problems": problems,
        "journal": {"segments": len(pending), "bytes": sum(size for _, size in pending), "age_seconds": oldest},
        "disk_free_bytes": disk.free,
        "rejected": [rejection._asdict() for rejection in rejected],
        "health": monitoring.published("health") or {"as_of": None, "sources": []},
    }


def _pending(store: Store) -> list[tuple[float, int]]:
    """Age in seconds and bytes of each segment of the journal."""
    found = []
    for segment in segments_of.segments(store.journal):
        try:
            found.append(((datetime.now(UTC) - segments_of.created(segment)).total_seconds(), segment.stat().st_size))
        except FileNotFoundError:
            continue
    return found


class _OfStore:
    """What the store looks like now, for Prometheus."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """The gauges."""
        pending = _pending(self._store)
        free = shutil.disk_usage(self._store.root).free
        yield GaugeMetricFamily("regstats_unsealed_bytes", "Bytes in the journal.", sum(size for _, size in pending))
        yield GaugeMetricFamily("regstats_unsealed_segments", "Segments of the journal.", len(pending))
        yield GaugeMetricFamily("regstats_disk_free_bytes", "Free on the store's disk.", free)
        waiting = len(Outbox(self._store.root).files())
        yield GaugeMetricFamily("regstats_outbox_messages", "Reports and alerts that have not arrived yet.", waiting)
        rows = GaugeMetricFamily("regstats_rows", "Sealed rows.", labels=["table"])
        files = GaugeMetricFamily("regstats_parts", "Parquet files that count.", labels=["table"])
        for table in TABLES:
            parts = [part for part in _parts(self._store) if part.table == table]
            rows.add_metric([table], sum(part.rows for part in parts))
            files.add_metric([table], len(parts))
        yield from (rows, files)


_COUNTED = {
    "pulls": "Pulls",
    "downloads": "Pulls that fetched layers",
    "pushes": "Pushes",
    "updates": "Pushes that changed what their tag points to",
}


class _OfRepositories:
    """How often repositories were used since the collector started, for Prometheus, as it was published last."""

    def collect(self) -> Iterator[Metric]:
        """The counters, and how many repositories there are in all."""
        known = monitoring.published("repositories")
        if known is None:
            return
        yield GaugeMetricFamily("regstats_repositories", "Repositories in the store.", known["number"])
        for number, (measure, what) in enumerate(_COUNTED.items()):
            text = f"{what} since the collector started, of the {MOST} most used repositories."
            counter = CounterMetricFamily(f"regstats_repository_{measure}", text, labels=["repository"])
            for repository, numbers in known["totals"].items():
                if numbers[number] is not None:  # else its registry does not tell
                    counter.add_metric([repository], numbers[number])
            yield counter


def _parts(store: Store) -> list[Part]:
    try:
        return store.manifest().parts
    except StoreError:
        return []
