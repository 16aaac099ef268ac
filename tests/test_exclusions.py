"""Who is not counted: everywhere, and named."""

import pytest
from makers import NOW, envelope, journalled, make_event, make_push

from regstats import NOBODY, Exclude
from regstats.config import load
from regstats.errors import ConfigError
from regstats.stats import Stats

GONE = {"action": "delete", "method": "DELETE", "media_type": None}


@pytest.fixture
def counted(store):
    """How often each actor counts, in each metric, with some exclusion."""
    people = {
        "alice": {"addr": "10.1.2.3:1", "user_agent": "docker/27"},
        "ci-1": {"addr": "10.9.0.1:1", "user_agent": "docker/27"},
        "scanner": {"addr": "[2001:db8::7]:1", "user_agent": "trivy/0.5"},
        "proxy": {"addr": "192.0.2.1:1", "user_agent": "Go-http-client/1.1"},
        "quote": {"addr": None, "user_agent": "it's"},
        None: {"addr": "198.51.100.1", "user_agent": ""},
    }
    for actor, who in people.items():
        tags = {"pull": "a", "push": f"b-{actor}"}
        events = (
            make_event(actor=actor, tag=tags["pull"], **who),
            make_push(actor=actor, tag=tags["push"], digest="sha256:2", **who),
            make_event(actor=actor, tag=f"c-{actor}", digest=None, **GONE, **who),
        )
        journalled(store, *(envelope(event) for event in events))

    def count(**exclude):
        stats = Stats(store.root, exclude=Exclude(**{"clients": [], **exclude}))
        seen = stats.activity()
        assert (seen["pulls"] == 1).all()
        assert (seen["pushes"] == 1).all()
        assert (seen["deletes"] == 1).all()
        assert len(seen) == stats.pulls()["pulls"].sum() == stats.pushes()["pushes"].sum()
        assert len(seen) == stats.repositories()["pulls"].sum() == stats.cadence()["tag"].count()
        return {actor if isinstance(actor, str) else None for actor in seen["actor"]}

    return count


EVERYBODY = {"alice", "ci-1", "scanner", "proxy", "quote", None}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("exclude", "gone"),
    [
        ({}, set()),
        ({"clients": ["Go-http-client/*"]}, {"proxy"}),
        ({"clients": ["trivy"]}, {"scanner"}),
        ({"clients": ["docker/*"]}, {"alice", "ci-1"}),
        ({"clients": ["it's"]}, {"quote"}),
        ({"actors": ["ci-*"]}, {"ci-1"}),
        ({"actors": ["ci-*", "alice"]}, {"ci-1", "alice"}),
        ({"actors": ["*"]}, EVERYBODY - {None}),
        ({"networks": ["10.0.0.0/8"]}, {"alice", "ci-1"}),
        ({"networks": ["10.9.0.1"]}, {"ci-1"}),
        ({"networks": ["2001:db8::/32", "192.0.2.0/24"]}, {"scanner", "proxy"}),
        ({"networks": ["10.9.0.0/16"], "actors": ["proxy"], "clients": ["trivy"]}, {"ci-1", "proxy", "scanner"}),
    ],
)
def test_who_is_excluded_counts_nowhere(counted, exclude, gone):
    """By client or user agent, actor, and network; in every metric alike."""
    assert EVERYBODY - gone == counted(**exclude)


def test_proxies_and_replication_are_excluded_by_default(stats_of):
    """They are counted at the proxy; and everything is still there for SQL over events."""
    stats = stats_of(make_event(user_agent="Go-http-client/1.1"), make_event(user_agent="harbor-registry-client"))
    assert 0 == stats.pulls()["pulls"].sum()
    assert [(2,)] == stats.sql("select count(*) from events").fetchall()


def test_an_excluded_push_still_moves_the_tag(store):
    """Whether a push is an update depends on what the tag pointed to, whoever put it there."""
    pushes = (make_push(actor="ci", digest="sha256:1"), make_push(actor="alice", digest="sha256:1"))
    journalled(store, *(envelope(push) for push in pushes))
    frame = Stats(store.root, now=NOW, exclude=Exclude(actors=["ci"])).pushes()
    assert [(1, 0)] == list(zip(frame["pushes"], frame["updates"], strict=True))


def test_every_frame_names_who_is_excluded(stats_of):
    """So that nobody wonders."""
    stats = stats_of(make_event())
    expected = {"clients": ["Go-http-client/*", "harbor-registry-client", "regstats/*"], "actors": [], "networks": []}
    assert expected == stats.pulls().attrs["excluded"] == stats.cadence().attrs["excluded"]
    assert "clients Go-http-client/*, harbor-registry-client, regstats/*" == str(stats.exclude)
    assert "nobody" == str(NOBODY)


def test_settings(store, tmp_path, monkeypatch):
    """`[exclude]` in regstats.toml of the working directory holds for scripts, too."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "regstats.toml").write_text('[exclude]\nactors = ["ci"]\nnetworks = ["10.0.0.0/8"]')
    exclude = Stats(store.root).exclude
    assert (["ci"], ["10.0.0.0/8"]) == (exclude.actors, exclude.networks)
    assert "Go-http-client/*" in exclude.clients


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[exclude]\nactor = ["ci"]', r"\[exclude\]: unknown key `actor`. Did you mean `actors`"),
        ('[exclude]\nnetworks = ["10.0.0.1/8"]', "`10.0.0.1/8` in exclude.networks is not a network"),
        ("[exclude]\nclients = 1", "exclude.clients"),
        ("exclude = 1", "exclude"),
    ],
)
def test_wrong_settings_are_named(tmp_path, text, message):
    """What is wrong, and what would be right."""
    (tmp_path / "regstats.toml").write_text(text)
    with pytest.raises(ConfigError, match=message):
        load(tmp_path / "regstats.toml", {})
