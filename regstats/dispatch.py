"""Sends what is due: scheduled reports, once for each time they are due, and alerts; and again what has not arrived.

Any number of processes may do it for one store: one at a time does, and what it has done is remembered on disk.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from logging import getLogger

import msgspec
from msgspec import Struct

from regstats import alerts, report, schedule
from regstats.agenda import Alert, Schedule, span_of
from regstats.alerts import Entries, Facts, Told
from regstats.briefing import Briefing, brief
from regstats.config import Settings
from regstats.delivery import deliver
from regstats.journal import lock
from regstats.outbox import Attachment, Message, Outbox
from regstats.stats import Stats
from regstats.store import Store, utc_now
from regstats.terminal import in_file_name

_log = getLogger(__name__)

_FILES = {
    "html": ("html", "text/html"),
    "md": ("md", "text/markdown"),
    "json": ("json", "application/json"),
    "csv": ("zip", "application/zip"),
    "pdf": ("pdf", "application/pdf"),
    "png": ("zip", "application/zip"),
}
"""What the files of a form end in, and their media type."""
_PAUSE = timedelta(minutes=5)
"""After something could not be made, before it is tried again."""


class Done(Struct, frozen=True):
    """When a report was last due, and by which rule: with another one it begins anew."""

    slot: datetime
    rule: str


class State(Struct):
    """What has been done, on disk."""

    schedules: dict[str, Done] = {}
    alerts: dict[str, Entries] = {}


class Dispatch:
    """What one process does for a store now and then."""

    def __init__(self, store: Store, settings: Settings, now: Callable[[], datetime] = utc_now) -> None:
        self._store = store
        self._settings = settings
        self._now = now
        self._outbox = Outbox(store.root)
        self._stats = Stats(store.place, now=now(), exclude=settings.exclude)
        self._rests: dict[str, datetime] = {}
        """Until when what is not looked at again: by `every`, or because it failed."""

    def tick(self) -> None:
        """Makes what is due, and sends what waits; nothing if another process is at it."""
        with self._alone() as is_alone:
            if is_alone:
                self._make()
                self._send()

    def run(self, name: str) -> tuple[datetime | None, list[Message]]:
        """Sends a scheduled report for the last time that it was due, and what waits.

        When it was due, None if that is done already; and what still waits. For the host's own scheduler. Waits for a
        process that is at it.
        """
        (one,) = [one for one in self._settings.report.schedule if one.name == name]
        with self._alone(wait=True):
            state: State = self._outbox.load(State)
            slot = schedule.latest(one, self._now())
            is_due = name not in state.schedules or slot > state.schedules[name].slot
            if is_due:
                self._report(one, slot, state)
            self._send()
            waiting = [message for message in self._outbox.waiting() if message.kind == "report" and message.at == slot]
        return (slot if is_due else None), waiting

    @contextmanager
    def _alone(self, *, wait: bool = False) -> Iterator[bool]:
        """Whether no other process sends until the end of the block."""
        self._outbox.folder.mkdir(exist_ok=True)
        file = os.open(self._outbox.folder / "lock", os.O_WRONLY | os.O_CREAT, 0o640)
        try:
            yield lock(file, wait=wait)
        finally:
            os.close(file)

    def _send(self) -> None:
        self._outbox.deliver(self._now(), lambda message: deliver(message, self._settings))

    def _make(self) -> None:
        state: State = self._outbox.load(State)
        for one in self._settings.report.schedule:
            self._attempt(f"report {one.name}", partial(self._if_due, one, state))
        for alert in self._settings.alert:
            self._attempt(f"alert {alert.name}", partial(self._look, alert, state))

    def _attempt(self, what: str, make: Callable[[], timedelta | None]) -> None:
        """Makes one thing, unless it rests. What goes wrong with it is not in the way of others."""
        if self._rests.get(what, datetime.min.replace(tzinfo=UTC)) > self._now():
            return
        try:
            pause = make()
        except Exception:  # noqa: BLE001 - whatever it is, the next may succeed
            pause = _PAUSE
            fields = {"what": what}
            _log.exception("Something that was due could not be made; it is tried again.", extra={"fields": fields})
        if pause:
            self._rests[what] = self._now() + pause

    # Reports

    def _if_due(self, one: Schedule, state: State) -> None:
        """Of those that were missed only the last; a new one begins with the next time."""
        slot, done = schedule.latest(one, self._now()), state.schedules.get(one.name)
        if done is None or done.rule != _rule(one):
            self._remember(one, slot, state)
        elif slot > done.slot:
            self._report(one, slot, state)

    def _report(self, one: Schedule, slot: datetime, state: State) -> None:
        """Puts the report of a slot into the outbox, and then remembers that; to end in between does no harm."""
        self._stats.now, teams = slot, self._settings.teams
        for team in teams if one.each_team else [one.team]:
            briefing = brief(self._stats, since=one.window, teams=teams, team=team)
            for message in messages(one, slot, briefing, self._now()):
                self._outbox.put(message)
        self._remember(one, slot, state)

    def _remember(self, one: Schedule, slot: datetime, state: State) -> None:
        state.schedules[one.name] = Done(slot, _rule(one))
        self._outbox.remember(state)

    # Alerts

    def _look(self, alert: Alert, state: State) -> timedelta:
        """How long to wait before the next look."""
        self._stats.now = now = self._now()
        holds = alerts.holding(alert, Facts(self._stats, self._store.root, alert.repository))
        before = state.alerts.get(alert.name, {})
        told, entries = alerts.step(alert, now, holds, before)
        if any(told):
            for message in warnings(alert, told, now):
                self._outbox.put(message)
        if entries != before:
            state.alerts[alert.name] = entries
            self._outbox.remember(state)
        return span_of(alert.every)


def _rule(one: Schedule) -> str:
    return f"{one.cron} {one.tz}"


def messages(one: Schedule, slot: datetime, briefing: Briefing, now: datetime) -> list[Message]:
    """The report of a slot, for each of its destinations."""
    name = one.name if briefing.team is None else f"{one.name}-{in_file_name(briefing.team)}"
    of_team = "" if briefing.team is None else f" of {briefing.team}"
    content, text = report.FORMATS[one.format](briefing), report.as_summary(briefing)
    suffix, kind = _FILES[one.format]
    file = Attachment(f"{name}-{slot:%Y-%m-%d}.{suffix}", kind, content)
    said = msgspec.json.decode(report.as_json(briefing))
    told = {key: said[key] for key in ("since", "until", "facts", "sentences")}
    fields = {"window": one.window, "team": briefing.team, **told}
    return [
        Message(
            id=f"report-{name}-{slot:%Y%m%dT%H%MZ}-{to}", to=to, kind="report", name=name,
            subject=f"Registry report {one.name}{of_team}, {slot:%Y-%m-%d}", text=text, html=report.as_mail(briefing),
            attachments=[file], fields=fields, at=slot, made_at=now,
        )
        for to in one.to
    ]  # fmt: skip


def warnings(alert: Alert, told: Told, now: datetime) -> list[Message]:
    """What an alert has to tell, for each of its destinations."""
    parts = [(what, texts) for what, texts in told._asdict().items() if texts]
    counts = ", ".join(f"{len(texts)} {what}" for what, texts in parts)
    lists = ["\n".join([f"**{alert.name}, {what}**", "", *(f"- {text}" for text in texts)]) for what, texts in parts]
    return [
        Message(
            id=f"alert-{alert.name}-{now:%Y%m%dT%H%M%SZ}-{to}", to=to, kind="alert", name=alert.name,
            subject=f"Registry alert {alert.name}: {counts}", text="\n\n".join(lists) + "\n",
            fields={"when": alert.when, **told._asdict()}, at=now, made_at=now,
        )
        for to in alert.to
    ]  # fmt: skip
