"""Sees what is pushed and deleted, and which rules apply to it: at once in the journal, later again in the store.

The journal's tail is quick, and may miss something; the store misses nothing. So something may be seen twice.
"""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta

import msgspec
from cachetools import LRUCache

from regstats.agenda import span_of
from regstats.database import sql_text
from regstats.events import Change, Event
from regstats.journal import Tail
from regstats.ledger import Since, State
from regstats.payloads import understand
from regstats.rules import Rule, is_about, may_apply, misfits
from regstats.stats import Stats
from regstats.store import Store
from regstats.tips import Tip, Tips, tip_of

_MARGIN = timedelta(minutes=5)
"""So much before what was looked at last is looked at again: several machines may write, each with a clock."""
_SWEEP = 30.0  # seconds between two looks into the store
_NAMES = 10_000  # repositories of which it is kept in mind whether a rule is about them

Decide = Callable[[Rule, Change], None]


class Watch:
    """What comes into a store, for rules. What was looked at is remembered, so that the next process goes on there."""

    def __init__(
        self,
        store: Store,
        rules: Iterable[Rule],
        stats: Stats,
        now: Callable[[], datetime],
        seconds: Callable[[], float],
    ) -> None:
        self._ledger, self._rules, self._stats = store.ledger, list(rules), stats
        self._now, self._seconds = now, seconds
        self._tail, self._tips, self._state = Tail(store.journal), Tips(), State()
        self._concerned: LRUCache[str, bool] = LRUCache(_NAMES)
        self._swept = float("-inf")

    def begin(self) -> None:
        """A rule holds from when it is first seen; with another `match` anew."""
        self._state, now = self._ledger.state(), self._now()
        before = self._state.rules
        self._state.rules = {}
        for rule in self._rules:
            match, known = msgspec.json.encode(rule.match).decode(), before.get(rule.name)
            self._state.rules[rule.name] = known if known and known.match == match else Since(now, match)
        self._ledger.remember(self._state)
        self._learn(None)

    def look(self, decide: Decide) -> None:
        """Has it decided what is new, by each rule that applies to it."""
        fresh = self._tail.new()
        if fresh:
            _, events = understand(fresh)
            changes = [(event, self._tips.change(event)) for event in events if self._concerns(event.repository)]
            wanted = [one for one in changes if any(may_apply(rule, one[0]) for rule in self._rules)]
            if wanted:
                self._tail.make_durable()
                self._judge(wanted, decide)
        if self._seconds() - self._swept >= _SWEEP:
            self._sweep(decide)
            self._swept = self._seconds()

    def _judge(self, wanted: list[tuple[Event, Change | None]], decide: Decide) -> None:
        """What is kept in mind is enough for most; where it is not, the store is asked."""
        known = [(change, event.received_at) for event, change in wanted if change]
        if len(known) < len(wanted):
            events = [event for event, _ in wanted]
            self._ask(min(event.received_at for event in events), min(event.timestamp for event in events), decide)
            return
        for change, received_at in known:
            self._apply(change, received_at, decide)

    def _sweep(self, decide: Decide) -> None:
        """All that was received since the last time; of what happened long before, nothing has to be done."""
        now = self._now()
        since = (self._state.looked_at or now) - _MARGIN
        ages = [span_of(rule.max_age, zero=True) for rule in self._rules]
        self._ask(since, since - max(ages, default=timedelta()), decide)
        self._state.looked_at = now
        self._ledger.remember(self._state)

    def _ask(self, since: datetime, first: datetime, decide: Decide) -> None:
        """What the store has received since then, and what happened on that date or later."""
        rows = self._stats.sql(sql_text("arrived"), since=since, first=first.astimezone(UTC).date()).fetchall()
        for *row, received_at in rows:
            change = Change(*row)
            if self._concerns(change.repository):
                self._tips.know([tip_of(change)])
                self._apply(change, received_at, decide)
        for repository in self._tips.unsure():
            self._learn(repository)
            self._tips.sure(repository)

    def _apply(self, change: Change, received_at: datetime, decide: Decide) -> None:
        for rule in self._rules:
            if received_at >= self._state.rules[rule.name].at and not misfits(rule, change):
                decide(rule, change)

    def _learn(self, repository: str | None) -> None:
        """Asks the store what the tags of a repository point to; of all of them if none is named."""
        rows = self._stats.sql(sql_text("tips"), repository=repository).fetchall()
        self._tips.know(tip for row in rows if self._concerns((tip := Tip(*row)).repository))

    def _concerns(self, repository: str) -> bool:
        """Whether any rule is about it."""
        if repository not in self._concerned:
            self._concerned[repository] = any(is_about(rule, repository) for rule in self._rules)
        return self._concerned[repository]
