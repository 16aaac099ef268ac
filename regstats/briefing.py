"""What a report says, before anybody decides how it looks.

Totals and how they have changed, a sentence for each thing that matters, a table and a chart for each question.
"""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from functools import partial
from types import MappingProxyType
from typing import Any, NamedTuple

import pandas as pd
import plotly.graph_objects as go

from regstats import charts, figures, formats
from regstats.config import Team
from regstats.errors import ParameterError
from regstats.parameters import Moment, Parameters
from regstats.stats import Stats
from regstats.terminal import visible

_SHORT = timedelta(days=3)  # below that, a bar per hour says more than a bar per day
_NAMED = 3
"""So many names in a sentence."""
_STALE = ["D", "E", "F"]
_UNUSED_DAYS = 90

NO_TEAMS: Mapping[str, Team] = MappingProxyType({})


class Name(str):
    """A name that a client chose: whoever writes it down sees to it that it does nothing."""

    __slots__ = ()


Sentence = list[str]
"""Text, and names in it."""


class Fact(NamedTuple):
    """A total, and that of the window before; None where there is none."""

    name: str
    value: int | None
    """None: no registry tells of it."""
    before: int | None = None

    @property
    def change(self) -> float | None:
        """The difference as a fraction of before."""
        return (self.value - self.before) / self.before if self.before and self.value is not None else None


class Section(NamedTuple):
    """A question, the table that answers it, and how that is drawn."""

    name: str
    title: str
    question: str
    frame: pd.DataFrame
    draw: Callable[[], go.Figure] | None = None


class Briefing(NamedTuple):
    """All that a report says."""

    since: datetime | None
    until: datetime | None
    first: datetime | None
    """When the first thing in the window happened; None if nothing has."""
    last: datetime | None
    excluded: str
    facts: list[Fact]
    sentences: list[Sentence]
    sections: list[Section]
    team: str | None = None
    """Of whom it is; None if of all."""
    belongs: str = ""
    """What belongs to the team, in words."""


def brief(
    stats: Stats,
    *,
    since: Moment | None = None,
    until: Moment | None = None,
    teams: Mapping[str, Team] = NO_TEAMS,
    team: str | None = None,
) -> Briefing:
    """What there is to say of a window: of all, and what is to be charged to whom; or of one of the teams.

    A team's report is about its repositories; if it has none, about what its actors do. Only the health of the
    collector is that of all. Raises ParameterError where there is no such team.
    """
    one = None if team is None else _team(teams, team)
    window: Parameters = {"since": since, "until": until}
    asked = _Asked(stats, window, one)
    return Briefing(
        since=asked.pulls.attrs["since"],
        until=asked.pulls.attrs["until"],
        first=None if asked.activity.empty else asked.activity["first_seen"].min(),
        last=None if asked.activity.empty else asked.activity["last_seen"].max(),
        excluded=str(stats.exclude),
        facts=_facts(asked),
        sentences=[sentence for sentence in (write(asked) for write in _SENTENCES) if sentence],
        sections=_sections(asked, _charged(stats, window, teams, team)),
        team=team,
        belongs=str(one or ""),
    )


def _team(teams: Mapping[str, Team], name: str) -> Team:
    if name not in teams:
        known = f"There are: {', '.join(map(visible, teams))}." if teams else "The settings name none: [teams.NAME]."
        raise ParameterError(f"There is no team {name!r}. {known}")
    return teams[name]


class _Asked:
    """The frames that sentences and sections are made of."""

    def __init__(self, stats: Stats, window: Parameters, team: Team | None) -> None:
        its = _of(team)
        asked: Parameters = {**window, **its}
        total: Parameters = {**asked, "interval": "total"}
        self.pulls, self.pushes = stats.pulls(**total), stats.pushes(**total)
        earlier = _before(self.pulls, stats, its)
        self.pulls_before = stats.pulls(**earlier) if earlier else None
        self.pushes_before = stats.pushes(**earlier) if earlier else None
        self.repositories, self.activity = stats.repositories(**asked), stats.activity(**asked)
        self.top = stats.top(**asked)
        until: Parameters = {"until": window.get("until"), "repository": its.get("repository")}
        idle: Parameters = {**until, "days": _UNUSED_DAYS}
        self.cadence, self.unused = stats.cadence(**until), stats.unused(**idle)
        if "actor" in its:  # how old a thing is, and whether it is used, depends on others than its people, too
            self.cadence, self.unused = self._touched(self.cadence), self._touched(self.unused)
        self.anomalies, self.health = stats.anomalies(**asked), stats.health(**window)
        self.series = stats.pulls(**{**asked, "interval": _interval(self.activity)})
        theirs: Parameters = {**window, "actor": team.actors if team else None}
        self.members = stats.usage(**theirs) if team and team.actors else None

    def _touched(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Of a frame: what is about the repositories in which something happened."""
        return frame[frame["repository"].isin(self.repositories["repository"])].reset_index(drop=True)

    @property
    def rising(self) -> pd.DataFrame:
        """What is pulled more than in the window before, the largest difference first."""
        more = self.top["pulls"] - self.top["before"].fillna(self.top["pulls"])
        frame = self.top.assign(more=more.astype("int64"))
        return frame[frame["more"] > 0].nlargest(20, "more", keep="all").reset_index(drop=True)

    @property
    def maintained(self) -> pd.DataFrame:
        """Repositories with their pulls, and how well they are maintained."""
        return maintained(self.repositories, self.cadence)

    @property
    def stale(self) -> pd.DataFrame:
        """What is pulled, and not maintained."""
        columns = ["repository", "pulls", "pullers", "last_update", "age", "overdue", "grade"]
        return stale(self.maintained)[columns]


def maintained(repositories: pd.DataFrame, cadence: pd.DataFrame) -> pd.DataFrame:
    """The rows of `repositories`, and beside them how well each is maintained; missing where no update is known."""
    columns = ["repository", "last_update", "age", "overdue", "grade"]
    frame = repositories.merge(cadence.loc[cadence["kind"].eq("repository"), columns], how="left", on="repository")
    frame.attrs = repositories.attrs
    return frame


def stale(frame: pd.DataFrame) -> pd.DataFrame:
    """Of what `maintained` gives: what is pulled, and graded D or worse."""
    return frame[frame["grade"].isin(_STALE) & frame["pulls"].gt(0)].reset_index(drop=True)


def _of(team: Team | None) -> Parameters:
    """What a report is about."""
    if team is None:
        return {}
    return {"repository": team.repositories} if team.repositories else {"actor": team.actors}


def _charged(stats: Stats, window: Parameters, teams: Mapping[str, Team], team: str | None) -> pd.DataFrame | None:
    """What is charged to each team, or to one of them; None where there are none."""
    if not teams:
        return None
    frame = stats.chargeback(teams, since=window.get("since"), until=window.get("until"))
    return frame if team is None else frame[frame["team"] == team].reset_index(drop=True)


def _before(frame: pd.DataFrame, stats: Stats, its: Parameters) -> Parameters | None:
    """The window of equal length before that of a frame, as parameters; None where that has no start."""
    since, until = frame.attrs["since"], frame.attrs["until"]
    if since is None:
        return None
    end = min(until, stats.present) if until is not None else stats.present
    return {"since": since - max(end - since, timedelta()), "until": since, "interval": "total", **its}


def _interval(activity: pd.DataFrame) -> Any:
    short = activity.empty or activity["last_seen"].max() - activity["first_seen"].min() <= _SHORT
    return "hour" if short else "day"


def _facts(asked: _Asked) -> list[Fact]:
    return [
        *(_fact(name, asked.pulls, asked.pulls_before) for name in ("pulls", "downloads", "version_checks")),
        *(_fact(name, asked.pushes, asked.pushes_before) for name in ("pushes", "updates")),
        Fact("repositories", len(asked.repositories)),
        Fact("actors", int(asked.activity["actor"].notna().sum())),
    ]


def _fact(name: str, now: pd.DataFrame, before: pd.DataFrame | None) -> Fact:
    earlier = None if before is None else formats.total(before[name])
    return Fact(figures.words(name), formats.total(now[name]), earlier)


# Sentences


def _use(asked: _Asked) -> Sentence:
    pulls = _fact("pulls", asked.pulls, asked.pulls_before)
    change = f" ({pulls.change:+,.0%} against the window before)" if pulls.change is not None else ""
    of = _some(len(asked.repositories), "repository", "repositories")
    if pulls.value is None:
        return [f"{of} of registries that do not report pulls: how often something is used is not known."]
    what = f"{pulls.value:,} pulls{change} of {of}."
    first = list(asked.top["repository"].head(_NAMED))
    return [what, *([" Most of all: ", *_named(first), "."] if pulls.value else [])]


def _rise(asked: _Asked) -> Sentence:
    rows = asked.rising.head(_NAMED)
    told = [f" (+{int(more):,})" for more in rows["more"]]
    return ["Rising: ", *_named(list(rows["repository"]), told), "."] if len(rows) else []


def _neglect(asked: _Asked) -> Sentence:
    rows = asked.stale
    told = [f" ({formats.duration(age)} old)" for age in rows["age"].head(_NAMED)]
    count = _some(len(rows), "repository is", "repositories are")
    return [f"{count} used but stale: ", *_named(list(rows["repository"].head(_NAMED)), told), "."] if len(rows) else []


def _waste(asked: _Asked) -> Sentence:
    size, count = formats.size(asked.unused["size"].sum()), _some(len(asked.unused), "tag", "tags")
    return [f"{count} nobody has pulled for {_UNUSED_DAYS} days; {size} as far as known."] if len(asked.unused) else []


def _surprises(asked: _Asked) -> Sentence:
    kinds = asked.anomalies["kind"].value_counts(sort=False)
    told = ", ".join(f"{figures.words(str(kind))} {count:,}" for kind, count in sorted(kinds.items()))
    return [f"{_some(len(asked.anomalies), 'thing is', 'things are')} out of the ordinary: {told}."] if told else []


def _trust(asked: _Asked) -> Sentence:
    quarantined, gaps = int(asked.health["quarantined"].sum()), int(asked.health["gaps"].sum())
    if asked.health.empty:
        return ["Nothing was received in this window."]
    if not quarantined and not gaps:
        return ["All that was received was understood, without gaps."]
    return [
        f"Look at the health of the collector before you trust these numbers: {_some(gaps, 'gap', 'gaps')}, "
        f"{_some(quarantined, 'delivery', 'deliveries')} not understood."
    ]


_SENTENCES = (_use, _rise, _neglect, _waste, _surprises, _trust)


def _some(count: int, one: str, several: str) -> str:
    return f"{count:,} {one if count == 1 else several}"


def _named(names: list[str], told: list[str] | None = None) -> Sentence:
    """Names with what is told of each, and commas between them."""
    sentence: Sentence = []
    for number, name in enumerate(names):
        sentence += [", "] * bool(number) + [Name(name)] + ([told[number]] if told else [])
    return sentence


# Sections


def _sections(asked: _Asked, charged: pd.DataFrame | None) -> list[Section]:
    known = asked.cadence[asked.cadence["kind"] != "immutable"].reset_index(drop=True)
    return [
        Section("use", "Use", "How often is it pulled, and what most?", asked.top, lambda: charts.pulls(asked.series)),
        Section("rising", "Rising", "What is pulled more than before?", asked.rising),
        Section("activity", "Activity", "Who does what?", asked.activity, lambda: charts.activity(asked.activity)),
        *_of_teams(asked.members, charged),
        Section("stale", "Stale", "What is used, and not maintained?", asked.stale,
                lambda: charts.neglect(asked.maintained)),
        Section("maintenance", "Maintenance", "How well is it maintained?", known, lambda: charts.cadence(known)),
        Section("unused", "Unused", f"What has nobody pulled for {_UNUSED_DAYS} days?", asked.unused,
                lambda: charts.unused(asked.unused)),
        Section("anomalies", "Anomalies", "What is out of the ordinary?", asked.anomalies,
                lambda: charts.anomalies(asked.anomalies)),
        Section("health", "Trust", "Can these numbers be trusted?", asked.health),
    ]  # fmt: skip


def _of_teams(members: pd.DataFrame | None, charged: pd.DataFrame | None) -> list[Section]:
    """Those that there are only for a team that has people, and where there are teams."""
    sections = []
    if members is not None:
        drawn = partial(charts.usage, members)
        sections.append(Section("members", "Members", "What do its people pull?", members, drawn))
    if charged is not None:
        sections.append(Section("chargeback", "Chargeback", "Who uses what, and what does it take?", charged))
    return sections
