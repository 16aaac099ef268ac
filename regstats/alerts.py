"""What is to be told of when it happens: what holds at a moment, and what of that was told already."""

import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pandas as pd
from msgspec import Struct

from regstats import briefing
from regstats.agenda import Alert, Kind, span_of
from regstats.events import TORN
from regstats.formats import code, duration
from regstats.stats import Stats

_LATELY = timedelta(days=2)
"""So long something out of the ordinary is looked at: a day must be over before its pulls are few."""
_LOOKS = 168
_KNOWN = "8w"
_USED = "4w"

Holding = dict[str, str]
"""What holds at a moment: for each thing a key that stays the same, and a sentence in Markdown."""


class Facts:
    """The numbers of a store at a moment, each asked for once."""

    def __init__(self, stats: Stats, root: Path | None, repository: list[str]) -> None:
        self.stats = stats
        self.root = root
        """The store's directory; None if it is about the past, when nobody knows how full the disk was."""
        self._only = repository or None

    @cached_property
    def anomalies(self) -> pd.DataFrame:
        """Of the last eight weeks."""
        return self.stats.anomalies(since=_KNOWN, repository=self._only)

    @cached_property
    def repositories(self) -> pd.DataFrame:
        """What was used in the last eight weeks."""
        return self.stats.repositories(since=_KNOWN, repository=self._only)

    @cached_property
    def stale(self) -> pd.DataFrame:
        """What was used in the last four weeks, and is not maintained."""
        used = self.stats.repositories(since=_USED, repository=self._only)
        return briefing.stale(briefing.maintained(used, self.stats.cadence(repository=self._only)))

    @cached_property
    def health(self) -> pd.DataFrame:
        """Of each source, over all time."""
        return self.stats.health()

    @cached_property
    def quarantine(self) -> pd.DataFrame:
        """All that is in it."""
        return self.stats.quarantine()


def holding(alert: Alert, facts: Facts) -> Holding:
    """What an alert has to tell of at a moment, whether it was told before or not."""
    return _KINDS[alert.when](alert, facts)


def _stale(_: Alert, facts: Facts) -> Holding:
    return {
        name: f"{code(name)} is pulled (in four weeks: {pulls:,}), and its last update is {duration(age)} old: "
        f"grade {grade}"
        for name, pulls, age, grade in _columns(facts.stale, "repository", "pulls", "age", "grade")
    }


def _silence(_: Alert, facts: Facts) -> Holding:
    """Those that have not been pulled since."""
    last = dict(_columns(facts.repositories, "repository", "last_pull"))
    return {
        name: f"{code(name)}: {reason}"
        for name, at, reason in _columns(_of_kind(facts, "silence"), "repository", "at", "reason")
        if last.get(name, at) <= at
    }


def _surprise(alert: Alert, facts: Facts) -> Holding:
    rows = _of_kind(facts, alert.when)
    lately = rows[rows["at"] >= facts.stats.present - _LATELY]
    say = code if alert.when == "pull_loop" else str  # only there a client has a word in it: what it calls itself
    return {
        "\n".join(name for name in names if isinstance(name, str)): ": ".join([*_codes(names), say(reason)])
        for *names, reason in _columns(lately, "repository", "actor", "reason")
    }


def _of_kind(facts: Facts, kind: str) -> pd.DataFrame:
    return facts.anomalies[facts.anomalies["kind"] == kind]


def _columns(frame: pd.DataFrame, *names: str) -> Iterator[tuple[Any, ...]]:
    """The values of some columns, row by row."""
    return zip(*(frame[name] for name in names), strict=True)


def _codes(names: list[object]) -> list[str]:
    shown = " ".join(code(name) for name in names if isinstance(name, str))
    return [shown] if shown else []


def _silent_source(alert: Alert, facts: Facts) -> Holding:
    return {
        source: f"Nothing has come from the source {code(source)} for {duration(silence)}"
        for source, silence in _columns(facts.health, "source", "silence")
        if silence >= span_of(alert.silent_for) and source in (alert.source or [source]) and source != TORN
    }


def _quarantine(alert: Alert, facts: Facts) -> Holding:
    counts = Counter(facts.quarantine["source"].tolist())
    return {
        source: f"{count:,} deliveries of the source {code(source)} were not understood; "
        "`regstats quarantine` lists them"
        for source, count in sorted(counts.items())
        if source in (alert.source or [source])
    }


def _disk_low(alert: Alert, facts: Facts) -> Holding:
    if facts.root is None:
        return {}
    disk = shutil.disk_usage(facts.root)
    free = 100 * disk.free / disk.total
    return {"disk": f"{free:.1f} % of the store's disk are free"} if free < alert.below else {}


_KINDS: dict[Kind, Callable[[Alert, Facts], Holding]] = {
    "stale": _stale,
    "silence": _silence,
    "spike": _surprise,
    "drop": _surprise,
    "new_actor": _surprise,
    "pull_loop": _surprise,
    "silent_source": _silent_source,
    "quarantine": _quarantine,
    "disk_low": _disk_low,
}
_ONCE = ("new_actor", "pull_loop")
"""What happens and is not over some day."""


class Entry(Struct, frozen=True):
    """What is remembered of something that was told."""

    text: str
    told_at: datetime
    is_open: bool = True
    """Whether it is told when it is over."""


Entries = dict[str, Entry]


class Told(NamedTuple):
    """What there is to tell, in Markdown."""

    new: list[str]
    still: list[str]
    resolved: list[str]


class Moment(NamedTuple):
    """When there was something to tell."""

    at: datetime
    told: Told


def step(alert: Alert, now: datetime, holds: Holding, before: Entries) -> tuple[Told, Entries]:
    """What is to be told of what holds now, and what is to be remembered.

    What lasts is told again only if there are to be reminders, and what comes back only after the cooldown.
    """
    lasts = {key for key, entry in before.items() if entry.is_open and key in holds}
    over = [key for key, entry in before.items() if entry.is_open and key not in holds]
    rests = {key for key, entry in before.items() if now - entry.told_at < span_of(alert.cooldown)}
    new = [key for key in holds if key not in lasts and key not in rests]
    still = [key for key in holds if key in lasts and _is_to_be_reminded(alert, now - before[key].told_at)]
    entries = {key: entry for key, entry in before.items() if key in lasts or key in rests}
    entries |= {key: msgspec.structs.replace(before[key], is_open=False) for key in over if key in rests}
    entries |= {key: Entry(holds[key], now) for key in (*new, *still)}
    resolved = over if alert.resolved and alert.when not in _ONCE else []
    told = Told([holds[key] for key in new], [holds[key] for key in still], [before[key].text for key in resolved])
    return told, entries


def _is_to_be_reminded(alert: Alert, ago: timedelta) -> bool:
    return alert.remind is not None and alert.when not in _ONCE and ago >= span_of(alert.remind)


def rehearse(alert: Alert, facts_at: Callable[[datetime], Facts], since: datetime, now: datetime) -> Iterator[Moment]:
    """When an alert would have told what, from some time until now.

    It is looked at as often as it says, but once an hour at most, and not more than 168 times in all.
    """
    entries: Entries = {}
    pause = max(span_of(alert.every), timedelta(hours=1), (now - since) / _LOOKS)
    for ago in range(int((now - since) / pause), -1, -1):
        at = now - ago * pause
        told, entries = step(alert, at, holding(alert, facts_at(at)), entries)
        if any(told):
            yield Moment(at, told)
