"""Acts on the rules of deployment: decides, waits for what has to be waited for, and does it.

One process does so for a store. What it has decided is on disk before it acts, so whatever ends it, the next one goes
on: everything is done at least once, and what may have been done twice is said to be so.
"""

import hashlib
import os
import queue
import threading
import time
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from logging import getLogger
from typing import NamedTuple

import msgspec
from msgspec.structs import asdict, replace

from regstats import monitoring
from regstats.actions import Job, Outcome, act, end_of
from regstats.agenda import span_of
from regstats.config import NOBODY, Settings
from regstats.events import Change, Deployment
from regstats.formats import code
from regstats.ledger import Request
from regstats.outbox import Message, Outbox
from regstats.rules import Rule, target_of
from regstats.stats import Stats
from regstats.store import Store, utc_now
from regstats.watch import Watch

_log = getLogger(__name__)

_ASKED = 0.2  # seconds between two looks whether somebody asks for something
_RIGHT = 1.0  # seconds between two tries to become the process that acts
_AT_ONCE = 16  # attempts of one rule
_STOPPING = 20.0  # seconds for what runs when the process ends
_INTERRUPTIONS = 3
_PAUSES = [timedelta(seconds=seconds) for seconds in (5, 10, 20, 40, 60)]
"""Between one attempt and the next; after the last one always that."""
_KNOWN = """
select rule, target, deployment_id, timestamp, event_id, case when started_at is not null then finished_at end
from deployments
"""
TOLD = ("unapproved", "succeeded", "failed", "skipped")
"""What a rule's destinations are told of."""


class _Key(NamedTuple):
    """What only one thing at a time is deployed to."""

    rule: str
    """Empty if rules share it."""
    target: str


class _Noted(NamedTuple):
    """What is known of a deployment, whatever became of it."""

    rule: str
    target: str
    deployment_id: str
    timestamp: datetime
    event_id: str
    tried_at: datetime | None = None
    """When the last attempt ended."""


class Deployer:
    """Acts on rules for one store. Its methods are called from one thread; what it starts runs in others."""

    def __init__(
        self,
        store: Store,
        settings: Settings,
        now: Callable[[], datetime] = utc_now,
        do: Callable[[Job], Outcome] = act,
        seconds: Callable[[], float] = time.monotonic,
        *,
        by_hand: str | None = None,
    ) -> None:
        """With an id `by_hand` only what somebody asks for concerning that deployment is done, and nothing is seen."""
        self._store, self._ledger, self._do = store, store.ledger, do
        self._now, self._seconds = now, seconds
        self._rules = {rule.name: rule for rule in settings.deploy}
        self._only = by_hand
        self._outbox = Outbox(store.root)
        self._stats = Stats(store.place, exclude=NOBODY)
        self._stats.now = None
        self._watch = Watch(store, settings.deploy, self._stats, now, seconds)
        self._right: int | None = None
        self._due: dict[str, float] = {}
        self._open: dict[str, Deployment] = {}
        self._known: set[str] = set()
        self._newest: dict[tuple[str, str], tuple[datetime, str]] = {}
        self._rested: dict[_Key, datetime] = {}
        self._running: dict[str, _Key] = {}
        self._orphans: dict[str, datetime] = {}
        self._outcomes: queue.SimpleQueue[tuple[str, Outcome]] = queue.SimpleQueue()
        self._stop = threading.Event()

    def tick(self) -> None:
        """Sees what has come, and does what is due; nothing where another process acts."""
        if self._right is None and not self._begin():
            return
        self._take_outcomes()
        if self._is_time("asked", _ASKED):
            for request in self._ledger.requests():
                if self._only in (None, request.deployment_id):
                    self._grant(request)
        if self._only is None:
            self._watch.look(self._decide)
            self._keep_newest()
        self._look_after_orphans()
        self._do_what_is_due()

    def stop(self) -> None:
        """Starts nothing more, gives what runs a little time, and ends it."""
        deadline = time.monotonic() + _STOPPING
        while self._running and time.monotonic() < deadline:
            self._take_outcomes(0.1)
        self._stop.set()
        deadline = time.monotonic() + _STOPPING
        while self._running and time.monotonic() < deadline:
            self._take_outcomes(0.1)
        self.give_up()

    def give_up(self) -> None:
        """Lets another process act."""
        if self._right is not None:
            os.close(self._right)
            self._right = None

    @property
    def is_busy(self) -> bool:
        """Whether something runs."""
        return bool(self._running)

    @property
    def acts(self) -> bool:
        """Whether this is the process that acts."""
        return self._right is not None

    def _is_time(self, what: str, seconds: float) -> bool:
        now = self._seconds()
        if now < self._due.get(what, now):
            return False
        self._due[what] = now + seconds
        return True

    # The beginning

    def _begin(self) -> bool:
        """Becomes the process that acts, if no other is, and takes up what there is."""
        if not self._is_time("right", _RIGHT):
            return False
        self._right = self._ledger.act()
        if self._right is None:
            return False
        try:
            self._take_over()
        except BaseException:
            self.give_up()  # and begin anew
            raise
        return True

    def _take_over(self) -> None:
        mine = (one for one in self._ledger.open() if self._only in (None, one.deployment_id))
        self._open = {one.deployment_id: one for one in mine}
        for row in self._stats.sql(_KNOWN).fetchall():
            self._note(_Noted(*row))
        for one in list(self._open.values()):
            self._take_up(one)
        if self._only is None:
            self._watch.begin()

    def _note(self, one: _Noted) -> None:
        self._known.add(one.deployment_id)
        place, at = (one.rule, one.target), (one.timestamp, one.event_id)
        self._newest[place] = max(self._newest.get(place, at), at)
        if one.tried_at is not None and one.rule in self._rules:
            key = _key(self._rules[one.rule], one.target)
            self._rested[key] = max(self._rested.get(key, one.tried_at), one.tried_at)

    def _take_up(self, one: Deployment) -> None:
        """Goes on with what another process had begun."""
        rule = self._rules.get(one.rule)
        if rule is None:
            self._end(one, "skipped", f"there is no rule {one.rule!r} any more")
        elif one.status == "running":
            until = (one.started_at or self._now()) + span_of(rule.timeout)
            self._orphans[one.deployment_id] = max(until, self._now() + timedelta(seconds=1))

    def _look_after_orphans(self) -> None:
        """What still runs from before is waited for; what does not is done again."""
        for deployment_id, until in list(self._orphans.items()):
            if self._ledger.is_running(deployment_id) and self._now() < until:
                continue
            del self._orphans[deployment_id]
            said = end_of(self._ledger.output(deployment_id))
            self._interrupted(self._open[deployment_id], "the collector ended meanwhile", said)

    # What comes

    def _decide(self, rule: Rule, change: Change) -> None:
        """What is to be done because of a change, durable from here on; nothing if that was decided before."""
        deployment_id = id_of(rule.name, change.source, change.event_id, change.tag)
        if deployment_id in self._known:
            return
        now = self._now()
        due = now + span_of(rule.settle, zero=True) + span_of(rule.delay, zero=True)
        one = Deployment(
            deployment_id=deployment_id, rule=rule.name, target=target_of(rule, change), status="waiting",
            **asdict(change), seen_at=now, due_at=due,
        )  # fmt: skip
        newest = self._newest.get((rule.name, one.target))
        if newest and newest > (change.timestamp, change.event_id):
            self._end(one, "superseded", "something newer came before it")
        elif now - change.timestamp > span_of(rule.max_age, zero=True):
            self._end(one, "skipped", f"it was seen {_span(now - change.timestamp)} later; max_age is {rule.max_age}")
        else:
            self._put(one)
        self._note(_Noted(rule.name, one.target, deployment_id, change.timestamp, change.event_id))

    def _keep_newest(self) -> None:
        """Of what waits for the same target because of the same rule, only the newest is done."""
        by_target: dict[tuple[str, str], list[Deployment]] = {}
        for one in self._open.values():
            if one.status in ("waiting", "unapproved"):
                by_target.setdefault((one.rule, one.target), []).append(one)
        for several in by_target.values():
            *older, newest = sorted(several, key=lambda one: (one.timestamp, one.event_id, one.seen_at))
            for one in older:
                self._end(one, "superseded", f"{newest.deployment_id} came after it")

    # What people ask for

    def _grant(self, request: Request) -> None:
        one, asked = self._open.get(request.deployment_id), request.asked
        if request.wish == "run":
            self._again(request)
        elif one is None or one.status != "unapproved":
            fields = {"deployment_id": request.deployment_id, "by": asked.by}
            _log.warning("Nobody waits for an approval of this deployment.", extra={"fields": fields})
        elif request.wish == "reject":
            self._end(one, "rejected", f"{asked.by} said no")
        else:
            approved = replace(one, status="waiting", reason=None, approved_by=asked.by, due_at=self._now())
            self._put(self._told(approved, f"approved by {asked.by}"))
        request.path.unlink(missing_ok=True)

    def _again(self, request: Request) -> None:
        """The same once more, at once, without asking anybody else."""
        found = self._stats.sql("from deployments where deployment_id = $id", id=request.deployment_id)
        rows = found.to_arrow_table().to_pylist()
        if not rows or rows[0]["rule"] not in self._rules:
            fields = {"deployment_id": request.deployment_id}
            _log.warning("There is no such deployment, or its rule is gone.", extra={"fields": fields})
            return
        now, again = self._now(), id_of(request.deployment_id, request.asked.at.isoformat())
        kept = {name: rows[0][name] for name in ("rule", "target", *Change.__struct_fields__)}
        one = Deployment(
            deployment_id=again, status="waiting", **kept, seen_at=now, due_at=now,
            again_of=request.deployment_id, approved_by=request.asked.by,
        )  # fmt: skip
        if again not in self._known:
            self._put(self._told(one, f"asked for by {request.asked.by}"))
            self._known.add(again)

    # What is done

    def _do_what_is_due(self) -> None:
        now = self._now()
        for one in sorted(self._open.values(), key=lambda one: one.due_at):
            if one.status == "waiting" and one.due_at <= now:
                self._start(one, self._rules[one.rule], now)

    def _start(self, one: Deployment, rule: Rule, now: datetime) -> None:
        """Starts an attempt, unless something speaks against it."""
        key = _key(rule, one.target)
        busy = [*self._running.values(), *(_key(rule, self._open[name].target) for name in self._orphans)]
        rested = self._rested.get(key, one.due_at)
        ready = max(one.due_at, rested + span_of(rule.cooldown, zero=True) if key in self._rested else one.due_at)
        if key in busy or sum(self._open[name].rule == rule.name for name in self._running) >= _AT_ONCE or now < ready:
            return
        if now - max(ready, rested) > span_of(rule.max_age, zero=True) and not one.again_of and not one.attempts:
            self._end(one, "skipped", f"it was due {_span(now - ready)} ago; max_age is {rule.max_age}")
        elif rule.approve and one.approved_by is None:
            waits = "waits for somebody to approve it"
            self._put(self._told(replace(one, status="unapproved", reason=waits), waits))
            self._tell(self._open[one.deployment_id])
        else:
            self._run(one, rule, key, now)

    def _run(self, one: Deployment, rule: Rule, key: _Key, now: datetime) -> None:
        attempts = one.attempts + 1
        one = replace(one, status="running", attempts=attempts, started_at=one.started_at or now, reason=None)
        self._put(self._told(one, f"attempt {attempts}"))
        self._running[one.deployment_id] = key
        output = self._ledger.output(one.deployment_id)
        job = Job(rule, one, one.deployment_id, output, self._stop)
        threading.Thread(target=self._attempt, args=[job], daemon=True).start()

    def _attempt(self, job: Job) -> None:
        try:
            outcome = self._do(job)
        except Exception as error:  # noqa: BLE001 - whatever it is, the next may succeed
            _log.exception("A mistake of regstats.", extra={"fields": {"deployment_id": job.deployment_id}})
            outcome = Outcome(ok=False, why=f"a mistake of regstats: {error!r}")
        self._outcomes.put((job.deployment_id, outcome))

    def _take_outcomes(self, patience: float | None = None) -> None:
        while True:
            try:
                deployment_id, outcome = self._outcomes.get(patience is not None, patience)
            except queue.Empty:
                return
            try:
                self._conclude(self._open[deployment_id], outcome)
            except BaseException:
                self._outcomes.put((deployment_id, outcome))  # it could not be remembered: another time
                raise
            self._rested[self._running.pop(deployment_id)] = self._now()

    def _conclude(self, one: Deployment, outcome: Outcome) -> None:
        """After an attempt: that was it, or it is tried again."""
        rule = self._rules[one.rule]
        if outcome.ok is None:
            self._interrupted(one, outcome.why, outcome.output)
            return
        one = self._told(replace(one, output=outcome.output or None), outcome.why)
        newer = self._newer(one)
        failed = one.attempts - one.interruptions
        if outcome.ok or outcome.skip:
            self._end(one, "succeeded" if outcome.ok else "skipped", outcome.why)
        elif newer:
            self._end(one, "failed", f"{outcome.why}; not tried again, because {newer} came after it")
        elif outcome.again and failed <= rule.retries:
            pause = _PAUSES[min(failed, len(_PAUSES)) - 1]
            self._put(replace(one, status="waiting", due_at=self._now() + pause, reason=f"{outcome.why}; tried again"))
        else:
            self._end(one, "failed", outcome.why)

    def _newer(self, one: Deployment) -> str | None:
        """What waits for the same target, and came after it."""
        others = (o for o in self._open.values() if (o.rule, o.target) == (one.rule, one.target))
        return next((o.deployment_id for o in others if o.deployment_id != one.deployment_id), None)

    def _interrupted(self, one: Deployment, why: str, said: str | None) -> None:
        """Of an attempt nobody knows what came of it: it is made again, but not for ever."""
        told = f"interrupted: {why}; whether it was done is not known"
        one = self._told(replace(one, interruptions=one.interruptions + 1, output=said or one.output), told)
        if one.interruptions >= _INTERRUPTIONS or self._newer(one):
            self._end(one, "failed", told)
        else:
            self._put(replace(one, status="waiting", due_at=self._now(), reason=told))

    # What is remembered

    def _told(self, one: Deployment, what: str) -> Deployment:
        return replace(one, history=[*one.history, f"{self._now():%Y-%m-%dT%H:%M:%S.%f}"[:-3] + f"Z {what}"])

    def _put(self, one: Deployment) -> None:
        self._ledger.put(one)
        self._open[one.deployment_id] = one

    def _end(self, one: Deployment, status: str, why: str) -> None:
        one = self._told(replace(one, status=status, reason=why, finished_at=self._now()), f"{status}: {why}")
        self._ledger.put(one)
        self._open.pop(one.deployment_id, None)
        self._ledger.output(one.deployment_id).unlink(missing_ok=True)
        fields = {"deployment_id": one.deployment_id, "rule": one.rule, "target": one.target, "status": status}
        _log.info("A deployment has ended.", extra={"fields": fields | {"reason": why}})
        monitoring.DEPLOYMENTS.labels(one.rule, status).inc()
        self._tell(one)

    def _tell(self, one: Deployment) -> None:
        rule = self._rules.get(one.rule)
        if rule and one.status in TOLD:
            for message in messages(one, rule.to, self._now()):
                self._outbox.put(message)


def _key(rule: Rule, target: str) -> _Key:
    return _Key(rule.name if rule.target is None else "", target)


def _span(span: timedelta) -> str:
    return str(timedelta(seconds=int(span.total_seconds())))


def id_of(*parts: str) -> str:
    """An id that is always the same for the same things."""
    return hashlib.sha256(msgspec.json.encode(parts)).hexdigest()[:16]


def messages(one: Deployment, destinations: Iterable[str], now: datetime) -> list[Message]:
    """What is told of a deployment, for each destination."""
    what = f"{one.repository}:{one.tag}"
    lines = [
        f"**{one.rule}, {one.status}**", "",
        f"- {code(what)}, now {code(one.digest or 'deleted')}", f"- by {code(one.actor or 'nobody known')}",
        f"- {code(one.reason or 'waits')}", f"- attempts: {one.attempts}", f"- deployment {one.deployment_id}",
    ]  # fmt: skip
    return [
        Message(
            id=f"deployment-{one.deployment_id}-{one.status}-{to}", to=to, kind="deployment", name=one.rule,
            subject=f"Deployment {one.rule} {one.status}: {what}", text="\n".join(lines) + "\n",
            fields=msgspec.to_builtins(one), at=one.timestamp, made_at=now,
        )
        for to in destinations
    ]  # fmt: skip
