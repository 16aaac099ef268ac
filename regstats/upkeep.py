"""What the collector does beside taking deliveries: seal, merge, account, tell how it is. In a process of its own."""

import logging
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import msgspec

from regstats import monitoring
from regstats.compact import compact
from regstats.config import Settings
from regstats.formats import FORMATS
from regstats.sealing import seal
from regstats.stats import Stats
from regstats.store import Store, utc_now
from regstats.totals import Totals, Use

if TYPE_CHECKING:
    from regstats.deployer import Deployer
    from regstats.dispatch import Dispatch

_log = logging.getLogger(__name__)

_CLOSED = timedelta(hours=1)  # how often closed dates are merged into one part: late events have them written anew
_REST = 1.0  # seconds after rules could not be acted on
_SHOWN = "24h"  # the window of the health metric in /healthz


class Upkeep:
    """Keeps one store in order. Nothing that goes wrong here is in the way of a delivery: the next try may succeed."""

    def __init__(self, store: Store, settings: Settings, now: Callable[[], datetime] = utc_now) -> None:
        self._store = store
        self._settings = settings
        self._now = now
        self._closed_at: datetime | None = None
        self._stats = Stats(store.place, exclude=settings.exclude)
        self._stats.now = None  # a collector lives by the clock, whatever $REGSTATS_NOW says
        self._totals: Totals | None = None
        self._sender: Dispatch | None = None
        self._deployer: Deployer | None = None
        for step in ("seal", "compact", "count", "report", "dispatch", "deploy"):
            monitoring.FAILED.labels(step)  # it is 0 now: else Prometheus would not see that it grew to 1

    def seal(self) -> None:
        """Moves what has come into parts."""
        self._attempt("seal", self._seal)

    def compact(self) -> None:
        """Merges, accounts, drops what is too old, removes what is of no use."""
        self._attempt("compact", self._compact)

    def send(self) -> None:
        """Sends the reports that are due, and alerts, if the settings name any."""
        settings = self._settings
        if settings.report.schedule or settings.alert or any(rule.to for rule in settings.deploy):
            self._attempt("dispatch", self._dispatch)

    def deploy(self) -> None:
        """Acts on the rules of deployment."""
        if not self._attempt("deploy", self._deploy):
            time.sleep(_REST)

    def end_deployments(self) -> None:
        """Lets what is being deployed end, for a little while."""
        if self._deployer is not None:
            self._attempt("deploy", self._deployer.stop)

    def report(self) -> None:
        """Publishes the health metric for `/healthz`, and for `/metrics` how often each repository was used."""
        self._attempt("count", self._count)
        self._attempt("report", self._report)

    def _attempt(self, step: str, work: Callable[[], None]) -> bool:
        """Whether it worked."""
        try:
            work()
        except Exception:  # noqa: BLE001 - whatever it is, taking deliveries does not depend on it
            monitoring.FAILED.labels(step).inc()
            fields = {"step": step}
            _log.exception("Upkeep of the store failed; nothing is lost, it is tried again.", extra={"fields": fields})
            return False
        return True

    def _seal(self) -> None:
        with monitoring.SEAL.time():
            sealed = seal(self._store)
        monitoring.EVENTS.inc(sealed.events)
        monitoring.DUPLICATES.inc(sealed.duplicates)
        monitoring.QUARANTINED.inc(sealed.quarantined)
        if sealed.quarantined:
            message = "Deliveries were not understood; `regstats quarantine` lists them."
            _log.warning(message, extra={"fields": {"count": sealed.quarantined}})

    def _compact(self) -> None:
        now = self._now()
        closed = self._closed_at is None or now - self._closed_at >= _CLOSED
        with monitoring.COMPACT.time():
            done = compact(self._store, now, self._settings.retention, closed=closed)
        if closed:
            self._closed_at = now
        if done.expired or done.removed or (closed and done.merged):
            _log.info("The store was put in order.", extra={"fields": done._asdict()})

    def _dispatch(self) -> None:
        from regstats.dispatch import Dispatch  # and with it plotly, which many a collector never needs

        self._sender = self._sender or Dispatch(self._store, self._settings, self._now)
        self._sender.tick()

    def _deploy(self) -> None:
        from regstats.actions import lacks
        from regstats.deployer import Deployer

        if self._deployer is None:
            self._deployer = Deployer(self._store, self._settings, self._now)
            for rule in self._settings.deploy:
                if missing := lacks(rule):
                    fields = {"rule": rule.name, "missing": missing}
                    _log.warning("A rule of deployment will fail.", extra={"fields": fields})
        self._deployer.tick()

    def _report(self) -> None:
        rows = FORMATS["json"](self._stats.health(since=_SHOWN))
        monitoring.publish("health", {"as_of": self._now(), "sources": msgspec.Raw(rows.encode())})

    def _count(self) -> None:
        frame = self._stats.repositories()
        numbers = zip(*(frame[measure].fillna(0).tolist() for measure in Use._fields), strict=True)
        uses = dict(zip(frame["repository"], map(Use._make, numbers), strict=True))
        if self._totals is None:
            self._totals = Totals(uses)
        else:
            self._totals.add(uses)
        silent = set(frame["repository"][frame["pulls"].isna()])
        told = {
            name: (None, None, *use[2:]) if name in silent else use for name, use in self._totals.most_used().items()
        }
        monitoring.publish("repositories", {"number": len(uses), "totals": told})
