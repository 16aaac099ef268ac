"""What a report says: totals and how they changed, a sentence for each thing that matters, a table per question."""

import pytest
from makers import NOW, days, make_event, make_push

from regstats import sample
from regstats.briefing import Name, brief
from regstats.metrics import METRICS
from regstats.stats import Stats

A, B = (f"sha256:{letter * 64}" for letter in "ab")


def said(briefing):
    """The sentences, with names in brackets."""
    return ["".join(f"[{text}]" if isinstance(text, Name) else text for text in s) for s in briefing.sentences]


@pytest.fixture
def stats(stats_of):
    """A busy repository, one that rises, one that is forgotten, and a pull in the window before."""
    forgotten = {"repository": "team/old", "tag": "latest", "digest": B}
    return stats_of(
        make_push(at=NOW - days(400), **forgotten),
        make_push(at=NOW - days(1), digest=A, repository="team/app"),
        *(make_event(at=NOW - days(1), repository="team/app", digest=A, addr=f"192.0.2.{n}:1") for n in range(3)),
        *(make_event(at=NOW - days(8), repository="team/app", digest=A, addr=f"192.0.2.{n}:1") for n in range(2)),
        make_event(at=NOW - days(9), **forgotten),
        make_event(at=NOW - days(2), actor="bob", **forgotten),
    )


def test_totals_against_the_window_before(stats):
    """Of the same length; none where the window has no start."""
    facts = {fact.name: (fact.value, fact.before) for fact in brief(stats, since="7d").facts}
    assert [(4, 3), (1, 0), (1, 0)] == [facts[name] for name in ("pulls", "pushes", "updates")]
    assert [(2, None), (2, None)] == [facts[name] for name in ("repositories", "actors")]
    assert {None} == {fact.before for fact in brief(stats).facts}


def test_a_window_that_ends_in_the_past(stats):
    """The window before ends where it begins."""
    pulls = brief(stats, since=NOW - days(10), until=NOW - days(5)).facts[0]
    assert ("pulls", 3, 0) == (pulls.name, pulls.value, pulls.before)
    assert pulls.change is None


def test_a_sentence_for_each_thing_that_matters(stats):
    """In the order in which one would ask."""
    assert [
        "4 pulls (+33% against the window before) of 2 repositories. Most of all: [team/app], [team/old].",
        "Rising: [team/app] (+1).",
        "1 repository is used but stale: [team/old] (400d old).",
        "All that was received was understood, without gaps.",
    ] == said(brief(stats, since="7d"))


def test_nothing_is_said_of_what_is_not_there(store):
    """An empty store has a report as well."""
    briefing = brief(Stats(store.root, now=NOW), since="7d")
    assert ["0 pulls of 0 repositories.", "Nothing was received in this window."] == said(briefing)
    assert (None, None) == (briefing.first, briefing.last)
    assert all(section.frame.empty for section in briefing.sections)


def test_what_cannot_be_trusted_is_said(stats_of, store):
    """Deliveries that were not understood, and silences."""
    assert "1 delivery not understood" in said(brief(stats_of({"not": "an event"})))[-1]


def test_the_stories_of_the_sample():
    """Each is told: the forgotten tool that everybody uses, what nobody uses, the service that fell silent."""
    sentences = said(brief(Stats(sample.path(), now=sample.NOW), since="30d"))
    assert any("stale: [tools/lint]" in sentence for sentence in sentences)
    assert any("nobody has pulled for 90 days" in sentence for sentence in sentences)
    assert any("silence" in sentence for sentence in sentences)


def test_a_table_for_each_question(stats):
    """As the metrics answer it, and charts are drawn of the same rows."""
    sections = {section.name: section for section in brief(stats, since="7d").sections}
    assert ["use", "rising", "activity", "stale", "maintenance", "unused", "anomalies", "health"] == list(sections)
    assert list(stats.activity(since="7d")["actor"]) == list(sections["activity"].frame["actor"])
    assert [("team/app", 1)] == list(
        sections["rising"].frame[["repository", "more"]].itertuples(index=False, name=None)
    )
    assert ["team/old"] == list(sections["stale"].frame["repository"])
    assert all(section.draw().data is not None for section in sections.values() if section.draw)
    assert {"activity", "unused", "anomalies", "health"} <= METRICS.keys() & sections.keys()
