"""Which deployments follow from what happened to tags: those of one build are one, and the newest wins."""

from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple

import pandas as pd

from regstats.agenda import span_of
from regstats.database import sql_text
from regstats.events import Change
from regstats.parameters import Moment, moment
from regstats.rules import Rule, misfits, target_of
from regstats.stats import Stats

_SHOWN = ["repository", "tag", "digest", "actor", "client_address"]
_TEXTS = ["rule", "target", *_SHOWN]


class Expected(NamedTuple):
    """What is done, when, and because of what."""

    at: datetime
    rule: Rule
    target: str
    change: Change
    """The newest."""
    changes: int
    """How many came together."""


def changes(stats: Stats, since: datetime | None, until: datetime) -> list[Change]:
    """What happened to tags in a window, in order. Nobody is excluded: whoever pushed, the tag is another one now."""
    rows = stats.sql(sql_text("tagged"), since=since, until=until)
    return [Change(*row) for row in rows.fetchall()]


def backtest(
    stats: Stats, rules: Iterable[Rule], *, since: Moment | None = None, until: Moment | None = None
) -> pd.DataFrame:
    """What would rules have done with what happened? One row per deployment, in order.

    Columns: at, rule, target, repository, tag, digest (missing: the tag was deleted), actor, client_address, changes
    (how many came together). As if no deployment had taken any time, all had gone well, and nobody had had to say yes.
    """
    now = stats.present
    happened = changes(stats, moment("since", since, now=now), moment("until", until, now=now) or now)
    found = [one for rule in rules for one in expected(rule, happened)]
    found.sort(key=lambda one: (one.at, one.rule.name, one.target))
    rows = [
        (one.at, one.rule.name, one.target, *(getattr(one.change, name) for name in _SHOWN), one.changes)
        for one in found
    ]
    frame = pd.DataFrame(rows, columns=["at", "rule", "target", *_SHOWN, "changes"])
    return frame.astype({"at": "datetime64[us, UTC]", "changes": "int64"} | dict.fromkeys(_TEXTS, "str"))


def expected(rule: Rule, happened: Iterable[Change]) -> list[Expected]:
    """What a rule would have done, if no deployment took any time, all went well, and nobody had to say yes."""
    waiting: dict[str, Expected] = {}
    done: dict[str, datetime] = {}
    found = []
    for change in happened:
        if misfits(rule, change):
            continue
        target = target_of(rule, change)
        before = waiting.get(target)
        if before is not None and before.at <= change.timestamp:
            found.append(before)
            done[target], before = before.at, None
        waiting[target] = _after(rule, target, change, before, done.get(target))
    return sorted([*found, *waiting.values()], key=lambda one: (one.at, one.target))


def _after(rule: Rule, target: str, change: Change, before: Expected | None, last: datetime | None) -> Expected:
    """The deployment that a change brings about, instead of one that still waits; the last one was at some time."""
    at = change.timestamp + span_of(rule.settle, zero=True) + span_of(rule.delay, zero=True)
    if last is not None:
        at = max(at, last + span_of(rule.cooldown, zero=True))
    return Expected(at, rule, target, change, 1 + (before.changes if before else 0))
