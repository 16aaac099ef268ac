"""Badges: one number each, the same that the library says, as a picture that does nothing, and for shields.io."""

import re
from glob import escape
from urllib.parse import urlencode
from xml.etree import ElementTree

import pytest
from asking import reader
from frames import EVIL, LONG
from hypothesis import given
from hypothesis import strategies as st
from makers import NOW, B, days, envelope, fill, journalled, make_event, make_push

from regstats import badges
from regstats.badges import METRICS, people
from regstats.sealing import seal
from regstats.stats import Stats
from regstats.store import Store

NAME = "{http://www.w3.org/2000/svg}"
NAMES = [EVIL, LONG, "team/app", "[a]*?", "a&amp;b", "\u202eabc", "\x00\x1b[2J", "\ufffe\uffff", "日本/語" * 30,
         "<!--", "]]>", "\U0001f600", "'\"", " "]  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def present():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REGSTATS_NOW", NOW.isoformat())
        yield


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Some repositories, of two senders, one of which is named like a glob of the other."""
    store = Store(tmp_path_factory.mktemp("badges") / "store", create=True)
    fill(store)
    pulls = [make_event(repository="team/[a]pp", at=NOW - days(1) + days(n / 100)) for n in range(3)]
    journalled(store, envelope(*pulls))
    elsewhere = [make_event(at=NOW - days(1)), make_push(tag="x", at=NOW - days(40)), make_push(tag="x", digest=B)]
    journalled(store, envelope(*elsewhere), source="lab")
    seal(store)
    return store


@pytest.fixture(scope="module")
def client(data):
    return reader(data)


@pytest.fixture(scope="module")
def stats(data):
    return Stats(data.root, now=NOW)


def asked(client, **parameters):
    """What a badge says."""
    answer = client.get(f"/badge.json?{urlencode(parameters)}")
    assert 200 == answer.status_code, answer.text
    return answer.json


@pytest.mark.parametrize("where", [{}, {"source": "default"}, {"source": "lab"}, {"tag": "1.0"}, {"since": "60d"},
                                   {"since": "2026-11-20", "source": "lab", "tag": "x"}])  # fmt: skip
@pytest.mark.parametrize("repository", ["team/app", "team/[a]pp", "team/old"])
@pytest.mark.parametrize(
    ("metric", "column"), [("pulls", "pulls"), ("downloads", "downloads"), ("pushes", "pushes"), ("updates", "updates")]
)
def test_counts_are_those_of_the_library(client, stats, metric, column, repository, where):
    """Of the last seven days, if nothing else is said; and of no other one that its name would match."""
    of = "pulls" if metric in ("pulls", "downloads") else "pushes"
    frame = getattr(stats, of)(interval="total", repository=escape(repository), **{"since": "7d"} | where)
    assert people(frame[column].sum()) == asked(client, repository=repository, metric=metric, **where)["message"]


def test_a_badge_counts_pulls_if_nothing_else_is_said(client):
    """There are some."""
    assert "61" == asked(client, repository="team/app")["message"]


def test_maintenance(client, stats):
    """The grade of the repository, or of a tag; the age of the last update in one unit."""
    rows = stats.cadence(repository="team/app").set_index("tag")
    assert (
        rows.loc["latest", "grade"] == asked(client, repository="team/app", metric="cadence", tag="latest")["message"]
    )
    assert "10 days ago" == asked(client, repository="team/app", metric="updated", tag="latest")["message"]
    assert "6 months ago" == asked(client, repository="team/old", metric="updated")["message"]
    grade = stats.cadence(repository="team/old", tag="1.0")["grade"][0]
    assert grade == asked(client, repository="team/old", metric="cadence")["message"]


def test_a_rank_among_all(client, stats):
    """By pulls."""
    top = stats.top(since="7d")
    assert ["team/app", "team/[a]pp"] == list(top["repository"])
    assert ["#1 of 2", "#2 of 2"] == [
        asked(client, repository=name, metric="top")["message"] for name in top["repository"]
    ]
    assert "#1 of 1" == asked(client, repository="team/app", metric="top", source="lab")["message"]


@pytest.mark.parametrize(
    ("metric", "message"),
    [("pulls", "0"), ("downloads", "0"), ("pushes", "0"), ("updates", "0"), ("updated", "never"),
     ("cadence", "not known"), ("top", "not pulled")],
)  # fmt: skip
def test_a_repository_that_is_not_there(client, metric, message):
    """Is no error: its badge is grey."""
    badge = asked(client, repository="nosuch", metric=metric)
    assert (message, badges._GREY) == (badge["message"], badge["color"])
    assert METRICS.keys() == {"pulls", "downloads", "pushes", "updates", "updated", "cadence", "top"}


@pytest.mark.parametrize(
    ("parameters", "label"),
    [
        ({}, "registry pulls in 7d"),
        ({"since": "30d"}, "registry pulls in 30d"),
        ({"since": "2026-11-01"}, "registry pulls since 2026-11-01"),
        ({"source": "default"}, "registry pulls in 7d"),
        ({"source": "lab", "metric": "downloads"}, "lab downloads in 7d"),
        ({"metric": "updated"}, "registry last update"),
        ({"metric": "cadence", "source": "lab"}, "lab maintenance"),
        ({"metric": "top", "since": "4w"}, "registry rank by pulls in 4w"),
        ({"label": "how often"}, "how often"),
        ({"label": ""}, ""),
        ({"label": "x" * 7000}, "x" * 59 + "…"),
        ({"label": "a\u202eb\x00"}, "a\\u202eb\\u0000"),
    ],
)
def test_a_label_says_of_what_and_since_when(client, parameters, label):
    """Else nobody could compare it; who wants to says something else, and it does nothing."""
    assert label == asked(client, repository="team/app", **parameters)["label"]


@pytest.mark.parametrize(
    ("query", "detail"),
    [
        ("", "A badge is about one repository"),
        ("repository=", "A badge is about one repository"),
        ("repository=a&repository=b", "repository is there 2 times"),
        ("repository=a&metric=nosuch", "metric='nosuch' is not one of: pulls, downloads, pushes, updates"),
        ("repository=a&metric=health", "metric='health' is not one of"),
        ("repository=a&metrics=pulls", "Unknown parameter 'metrics'. There are: repository, metric, since"),
        ("repository=a&since=x", "since='x' is not a time"),
        ("repository=a&metric=updated&since=x", "since='x' is not a time"),
        ("repository=a&color=red", "Unknown parameter 'color'"),
    ],
)
@pytest.mark.parametrize("form", ["svg", "json"])
def test_what_is_wrong_is_named(client, form, query, detail):
    """As anywhere."""
    answer = client.get(f"/badge.{form}?{query}")
    assert (400, "application/problem+json") == (answer.status_code, answer.mimetype)
    assert answer.json["detail"].startswith(detail)


@pytest.mark.parametrize("metric", METRICS)
def test_for_shields(client, metric):
    """The schema of its endpoint badges, and nothing else."""
    answer = client.get(f"/badge.json?repository=team/app&metric={metric}")
    badge = answer.json
    assert (1, 300) == (badge["schemaVersion"], badge["cacheSeconds"])
    assert badge["label"]
    assert badge["message"]
    assert re.fullmatch("#[0-9a-f]{6}", badge["color"])
    assert {"schemaVersion", "label", "message", "color", "cacheSeconds"} == badge.keys()
    assert ("application/json", 300) == (answer.mimetype, answer.cache_control.max_age)


@pytest.mark.parametrize("name", NAMES)
def test_a_picture_of_any_name(client, name):
    """Well-formed, of the same text as the other form, and with nothing in it that could run or be fetched."""
    parameters = urlencode({"repository": name, "source": name, "tag": name, "label": name, "since": "1d"})
    answer = client.get(f"/badge.svg?{parameters}")
    assert (200, "image/svg+xml") == (answer.status_code, answer.mimetype), answer.text
    root = ElementTree.fromstring(answer.data)
    badge = client.get(f"/badge.json?{parameters}").json
    assert [badge["label"], badge["message"]] == [text.text or "" for text in root.iter(f"{NAME}text")]
    assert f"{badge['label']}: {badge['message']}" == root.get("aria-label") == root.find(f"{NAME}title").text
    assert {"svg", "title", "clipPath", "rect", "g", "text"} == {node.tag.removeprefix(NAME) for node in root.iter()}
    assert all("http" not in value and not key.startswith("on") for node in root.iter() for key, value in node.items())
    assert int(root.get("width")) < 1000
    assert len(answer.data) < 5000


@pytest.mark.parametrize("source", NAMES)
def test_a_label_of_any_source(client, source):
    """It is shortened, and does nothing."""
    label = asked(client, repository="team/app", source=source)["label"]
    assert len(label) <= 60
    assert label.isprintable()


@pytest.mark.parametrize(
    ("count", "expected"),
    [(0, "0"), (987, "987"), (999, "999"), (1000, "1k"), (1099, "1k"), (1100, "1.1k"), (9999, "9.9k"), (10_999, "10k"),
     (999_999, "999k"), (1_000_000, "1M"), (1_999_999, "1.9M"), (999_999_999, "999M"), (10**9, "1G"),
     (123 * 10**9, "123G"), (10**15, "1000000G")],
)  # fmt: skip
def test_counts_for_people(count, expected):
    """Few characters."""
    assert expected == people(count)


@given(st.integers(0, 2**63 - 1))
def test_counts_for_people_never_say_more_than_there_is(count):
    """And not much less."""
    number, unit = re.fullmatch(r"([0-9.]+)([kMG]?)", people(count)).groups()
    said = round(float(number) * 10) * {"": 1, "k": 10**3, "M": 10**6, "G": 10**9}[unit] // 10
    assert said <= count
    assert count - said <= max(count // 10, 0)
