"""Fourteen registries, of which most do not tell of pulls, or not of digests: what is not told is not 0."""

import random
from datetime import timedelta

import foreign
import msgspec
import pytest
from foreign import EXPORTS, MAKERS, RETRIED, UNTOLD
from makers import NOW, A, B, days, make_delivery

from regstats import charts, formats, report
from regstats.app import create_app
from regstats.config import Settings, Team
from regstats.formats import FORMATS
from regstats.journal import Journal
from regstats.payloads import DIALECTS
from regstats.sealing import seal
from regstats.stats import Stats

TALKATIVE = ("distribution", "gitlab", "harbor")
SILENT = tuple(name for name in MAKERS if name not in TALKATIVE)


def sent(dialect, headers, body, at):
    return msgspec.structs.replace(
        make_delivery(body, received_at=at + timedelta(seconds=1), source=dialect), headers=headers
    )


def pushed(dialect, number, digest=A, tag="1.0", repository="team/app"):
    """A push on a day of its own."""
    at = NOW - days(40 - number)
    return sent(dialect, *foreign.push(dialect, repository, tag, digest, number, at), at)


def pulled(dialect, number):
    at = NOW - days(40 - number) + timedelta(hours=1)
    asked = {"action": "pull", "method": "GET"} if dialect != "harbor" else {"kind": "harbor.artifact.pulled"}
    headers, payload = MAKERS[dialect]("team/app", "1.0", A, f"pull-{number}", at, **asked)
    return sent(dialect, headers, msgspec.json.encode(payload), at)


@pytest.fixture
def mixed(store):
    """Three pushes at each, of which the second is what is there already; pulls where they are told; and retries."""
    deliveries = [pushed(name, number, digest) for name in MAKERS for number, digest in enumerate((A, A, B))]
    deliveries += [pulled(name, number) for name in TALKATIVE for number in range(5)]
    deliveries += [
        msgspec.structs.replace(one, delivery_id=f"{one.delivery_id}-again")
        for one in deliveries
        if one.source in RETRIED
    ]
    random.Random(14).shuffle(deliveries)
    journal = Journal(store.journal)
    journal.append(deliveries)
    journal.rotate()
    return store


@pytest.fixture(params=["sealed", "unsealed"])
def stats(mixed, request):
    if request.param == "sealed":
        seal(mixed)
    return Stats(mixed.root, now=NOW)


def test_fourteen_registries_into_fourteen_sources(stats):
    """Each push and pull once, however often it came; every source is what it is."""
    rows = stats.sql("select source, dialect, action, count(*) from events group by all order by all").fetchall()
    expected = [(name, name, "push", 3) for name in MAKERS] + [(name, name, "pull", 5) for name in TALKATIVE]
    assert sorted(expected) == rows
    health = stats.health().set_index("source")
    assert set(MAKERS) == set(health.index)
    assert 0 == health["quarantined"].sum()
    assert {name: name in TALKATIVE for name in MAKERS} == health["reports_pulls"].to_dict()


def test_pushes_and_updates(stats):
    """Where the digest is told, a push of what is there already is no update; else nobody can know that."""
    frame = stats.pushes(interval="total", by="source").set_index("source")
    assert dict.fromkeys(MAKERS, 3) == frame["pushes"].to_dict()
    assert {name: 3 if name in UNTOLD else 2 for name in MAKERS} == frame["updates"].to_dict()


@pytest.mark.parametrize("metric", ["pulls", "repositories", "tags", "activity"])
def test_what_is_not_told_is_missing(stats, metric):
    """By source: a number for those that tell, nothing for the others."""
    frame = getattr(stats, metric)(interval="total", by="source")
    frame = frame.groupby("source")["pulls"].max()
    assert dict.fromkeys(TALKATIVE, 5) == frame[list(TALKATIVE)].to_dict()
    assert frame[list(SILENT)].isna().all()


def test_what_some_tell_counts(stats):
    """Of all sources together: those that tell are not nothing."""
    assert [15] == stats.pulls(interval="total")["pulls"].tolist()
    assert [15] == stats.repositories()["pulls"].tolist()
    assert "int64" == stats.repositories()["pulls"].dtype
    assert [15] == stats.tags()["pulls"].tolist()


def test_a_series_has_a_number_or_nothing(stats):
    """Every period of a source that does not tell is missing, of one that does a number, be it 0."""
    frame = stats.pulls(by="source")
    assert "Int64" == frame["pulls"].dtype
    for name, column in frame.groupby("source")["pulls"]:
        assert (5 == column.sum() and column.notna().all()) if name in TALKATIVE else column.isna().all()
    assert stats.pulls(source=SILENT)["pulls"].isna().all()
    assert stats.pulls()["pulls"].notna().all()
    assert "int64" == stats.pulls()["pulls"].dtype


def test_nobody_knows_what_is_unused_there(stats):
    """Nothing of a silent registry is offered for deletion."""
    assert [] == stats.unused(source=SILENT, days=0)["repository"].tolist()
    assert 3 == len(stats.unused(source=TALKATIVE, days=0, tag="*"))


def test_what_a_tag_points_to_where_it_is_not_told(stats):
    """Something new with each push, under a name that cannot be a digest."""
    for name in UNTOLD:
        history = stats.history(source=name)
        assert 3 == history["digest"].nunique()
        assert history["digest"].str.startswith("unknown:").all()
        assert stats.tags(source=name)["digest"].tolist() == history["digest"].tolist()[-1:]
    assert [A, B] == stats.history(source="ecr")["digest"].tolist()


def test_cadence_without_digests(stats):
    """Each push is an update, and a release if it is not of the same hour."""
    frame = stats.cadence(source="quay")
    assert [3, 3] == frame["updates"].tolist()


def test_who_is_charged_for_what_is_not_told(stats):
    """A team that has nothing but what does not tell has no number of pulls, and all that was pushed."""
    stats_of = Stats(stats._engine._store.root, now=NOW)
    frame = stats_of.chargeback({"a": Team(repositories=["team/*"]), "b": Team(repositories=["none/*"])})
    assert [15, 0, 0] == frame["pulls"].tolist()
    assert [3 * len(MAKERS), 0, 0] == frame["pushes"].tolist()


@pytest.fixture
def silent(store):
    """A store of a registry that does not tell of pulls."""
    journal = Journal(store.journal)
    journal.append(pushed("quay", number) for number in range(3))
    journal.rotate()
    return Stats(store.root, now=NOW)


def test_a_table_has_nothing_where_nothing_is_told(silent):
    """Neither for programs nor for people."""
    frame = silent.repositories()[["repository", "pulls", "pushes"]]
    assert '[{"repository":"team/app","pulls":null,"pushes":3}]\n' == FORMATS["json"](frame)
    assert "repository,pulls,pushes\nteam/app,,3\n" == FORMATS["csv"](frame)
    assert ["team/app", formats.MISSING, "3"] == FORMATS["table"](frame).split()[-3:]


def test_a_team_without_anybody_who_tells(silent):
    """Its pulls are missing; those of nobody are 0."""
    charged = silent.chargeback({"a": Team(repositories=["team/*"])})
    assert [True, False] == charged["pulls"].isna().tolist()


@pytest.mark.parametrize("form", ["md", "html"])
def test_a_report_says_that_it_is_not_told(silent, form):
    """And not that nobody pulls."""
    text = report.render(silent, form=form).decode()
    assert "not reported" in text
    assert "how often something is used is not known" in text


@pytest.mark.parametrize("name", ["pulls", "repositories", "tags", "activity"])
def test_a_chart_of_what_is_not_told(silent, name):
    """It says so, rather than show nothing."""
    drawn = getattr(charts, name)(getattr(silent, name)()).to_json()
    assert name == "activity" or "Not reported by these registries." in drawn


def test_pages_and_badges(silent, tmp_path):
    """The dashboard can be opened, and a badge does not say 0."""
    settings = Settings(data=str(tmp_path / "store"))
    client = create_app(settings, Journal(tmp_path / "store" / "journal"), lambda: NOW).test_client()
    asked = "?since=2026-10-01"
    for path in ("/", "/repositories", "/repositories?repository=team/app", "/actors"):
        assert 200 == client.get(path + asked.replace("?", "&" if "?" in path else "?")).status_code
    assert "not reported" in client.get(f"/{asked}").text
    assert "not reported" in client.get(f"/badge.svg{asked}&repository=team/app").text
    assert [None] == [row["pulls"] for row in client.get(f"/api/v1/repositories{asked}").json["data"]]


def test_dialects_say_which_of_them_tell():
    """What the tests above believe."""
    assert EXPORTS.union(TALKATIVE) == {name for name, dialect in DIALECTS.items() if dialect.reports_pulls}
