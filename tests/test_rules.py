"""Rules of deployment: what they apply to, and what would come of them."""

import json
from datetime import timedelta
from fnmatch import fnmatchcase
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from makers import INDEX, MANIFEST, NOW, A, envelope, journalled, make_delivery, make_event, make_push
from test_cli import run  # noqa: F401

from regstats.config import load
from regstats.deployment import backtest, expected
from regstats.errors import ConfigError
from regstats.events import Change
from regstats.payloads import understand
from regstats.rules import Match, Rule, explained, filled, misfits, of_event
from regstats.stats import Stats

SECOND = timedelta(seconds=1)
NASTY = ["1;rm -rf ~", "$(id)", "--privileged", "a\nb", "`id`", "x" * 128, "{digest}", "\u202e", "'\"", "%s%n"]


def change(**changes):
    own = {
        "timestamp": NOW, "source": "default", "repository": "team/app", "tag": "1.3", "digest": "sha256:new",
        "before": "sha256:old", "media_type": MANIFEST, "actor": "ci", "client_address": "10.0.0.7", "event_id": "e",
    }  # fmt: skip
    return Change(**(own | changes))


def rule(command=("deploy", "{repository}", "{tag}", "{digest}"), **changes):
    match = {key: changes.pop(key) for key in list(changes) if key in Match.__struct_fields__}
    return Rule(name="app", match=Match(**match), command=list(command), **{"trust_addresses": True} | changes)


DELETED = {"digest": None, "before": "sha256:old"}


@pytest.mark.parametrize(
    ("match", "fits", "does_not"),
    [
        ({"repository": "team/*"}, {}, {"repository": "other/app"}),
        ({"repository": "team/app"}, {}, {"repository": "team/app2"}),
        ({"repository": ["x", "team/*"]}, {}, {"repository": "y"}),
        ({"tag": "1.*"}, {}, {"tag": "21.3"}),
        ({"tag": "1.*"}, {}, {"tag": "latest"}),
        ({"tag_regex": r"1\.\d+"}, {}, {"tag": "1.3-rc1"}),
        ({"semver": ">=1.2 <2"}, {"tag": "v1.9.9"}, {"tag": "2.0.0"}),
        ({"semver": ">=1.2 <2"}, {"tag": "1.2"}, {"tag": "1.2.0-rc.1"}),
        ({"semver": ">=1.2 <2"}, {"tag": "1.3.1+build"}, {"tag": "1.3.1.2"}),
        ({"semver": "~1.3"}, {}, {"tag": "1.4.0"}),
        ({"semver": "*"}, {}, {"tag": "latest"}),
        ({"actor": "ci*"}, {}, {"actor": "alice"}),
        ({"actor": "*"}, {}, {"actor": None}),
        ({"networks": ["10.0.0.0/8"]}, {}, {"client_address": "192.0.2.1"}),
        ({"networks": "2001:db8::/32"}, {"client_address": "2001:db8::1"}, {"client_address": "10.0.0.7"}),
        ({"networks": ["10.0.0.0/8"]}, {}, {"client_address": None}),
        ({"networks": ["10.0.0.0/8"]}, {}, {"client_address": "not an address"}),
        ({"source": "prod"}, {"source": "prod"}, {}),
        ({}, {}, DELETED),
        ({"action": "delete"}, DELETED, {}),
        ({"kind": "index"}, {"media_type": INDEX}, {}),
        ({"kind": "manifest"}, {}, {"media_type": "application/vnd.docker.distribution.manifest.list.v2+json"}),
        ({"media_type": "*.oci.*"}, {}, {"media_type": None}),
        ({"changed": True}, {}, {"before": "sha256:new"}),
        ({"changed": True}, {"before": None}, {"before": "sha256:new"}),
    ],
)
def test_to_what_it_applies(match, fits, does_not):
    """All that is said must fit, and why it does not is said."""
    assert [] == misfits(rule(**match), change(**fits))
    (why,) = misfits(rule(**match), change(**does_not))
    assert ", not " in why


def test_all_that_is_said_must_fit():
    """And all that does not is named."""
    one = rule(repository="team/*", actor="ci", changed=True)
    why = misfits(one, change(repository="x", actor=None, before="sha256:new"))
    assert [
        "repository 'x', not repository 'team/*'",
        "actor unknown, not actor 'ci'",
        "the digest that the tag has already, not a new digest",
    ] == why


@given(st.text(max_size=8), st.text("ab*?[]-!^\\", max_size=8))
def test_globs_fit_the_whole_name(name, glob):
    """Whatever is in it."""
    assert ([] == misfits(rule(repository=glob or "?"), change(repository=name))) == fnmatchcase(name, glob or "?")


@given(st.text(max_size=20))
def test_no_tag_upsets_a_range(tag):
    """It is a version or not."""
    assert len(misfits(rule(semver=">=1"), change(tag=tag))) <= 1


@pytest.mark.parametrize("tag", NASTY)
def test_a_tag_is_an_argument(tag):
    """Whatever it is, and only that: it is not looked at again."""
    one, its = rule(["deploy", "--tag={tag}", "{tag}"]), change(tag=tag)
    assert ["deploy", f"--tag={tag}", tag] == [filled(word, one, its) for word in one.command]


def test_what_is_missing_is_empty():
    """And every field can be named."""
    text = " ".join(f"{{{name}}}" for name in ("rule", "action", "kind", *Change.__struct_fields__))
    told = f"app push manifest {NOW.isoformat()} default team/app 1.3 sha256:new sha256:old {MANIFEST}  10.0.0.7 e"
    assert told == filled(text, rule(["x", text]), change(actor=None))


SOUND = """
[[deploy]]
name = "app"
match = { repository = "team/app", semver = ">=1", networks = ["10.0.0.0/8"], tag_regex = "1.*" }
trust_addresses = true
command = ["deploy", "{tag}"]
"""


@pytest.mark.parametrize(
    ("before", "after", "complaint"),
    [
        ("{tag}", "{tga}", "`{tga}` in deploy `app` is none of: timestamp, source"),
        ("{tag}", "{0}", "`{0}` in deploy `app` is none of"),
        ("{tag}", "{tag.__class__}", None),
        (">=1", "about 1", "about 1"),
        ("10.0.0.0/8", "10.0.0.1/8", "10.0.0.1/8"),
        ('"1.*"', '"(1"', "`(1` is not a regular expression"),
        ("command", "comand", "[deploy.1]: unknown key `comand`. Did you mean `command`?"),
        ("semver", "semvar", "[deploy.1.match]: unknown key `semvar`. Did you mean `semver`?"),
        ("trust_addresses = true", "", "deploy `app` is guarded by an address alone"),
        ('command = ["deploy", "{tag}"]', "", "one of: command, http, docker_service"),
        ('command = ["deploy", "{tag}"]', 'command = ["x"]\nhttp = { url = "https://x" }', "one of: command, http, do"),
        ('command = ["deploy", "{tag}"]', 'http = { url = "https://x", body = { a = ["{b}"] } }', "`{b}` in deploy"),
        ('command = ["deploy", "{tag}"]', 'http = { urk = "https://x" }', "unknown key `urk`. Did you mean `url`?"),
        ('command = ["deploy", "{tag}"]', "command = []", "length >= 1"),
        ('name = "app"', 'name = "app"\nsettle = "soon"', "`soon` is not a time span"),
        ('name = "app"', 'name = "app"\nto = ["boss"]', "`boss` in deploy `app` is not a destination"),
        ('name = "app"', 'name = "a b"', "regex"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, before, after, complaint):
    """When the settings are read, not at the first push."""
    path = tmp_path / "regstats.toml"
    path.write_text(SOUND.replace(before, after))
    if complaint is None:  # it is not a placeholder, and stays as it is
        (one,) = load(path, {}).deploy
        assert after == filled(after, one, change())
        return
    with pytest.raises(ConfigError) as caught:
        load(path, {})
    assert complaint in str(caught.value)


def test_a_rule_as_a_sentence():
    """What `regstats deploy check` says."""
    one = rule(repository="team/*", tag=["1.*", "2.*"], changed=True, delay="1m", approve=True)
    assert (
        "app: repository 'team/*', tag '1.*' or '2.*', a push, a new digest: runs ['deploy', '{repository}', '{tag}', "
        "'{digest}'], 5s and 1m more after the last one for the same repository, if somebody approves it"
    ) == explained(one)


# From events to changes


@pytest.mark.parametrize(
    ("event", "expected_change"),
    [
        (make_push(tag="1.3", digest="sha256:a"), ("push", "1.3", "sha256:a", None)),
        (make_push(tag=None), None),
        (make_push(tag=None, media_type="application/octet-stream"), None),
        (make_event(tag="1.3"), None),
        (make_event(action="delete", method="DELETE", tag="1.3", digest=None), ("delete", "1.3", None, None)),
        (make_event(action="delete", method="DELETE", tag=None), None),
    ],
)
def test_which_events_are_changes(event, expected_change):
    """Pushes of manifests with a tag, and deletes of tags."""
    _, (one,) = understand([make_delivery(envelope(event))])
    made = of_event(one)
    assert expected_change == (made and (made.action, made.tag, made.digest, made.before))


# What would come of them


def after(seconds, **changes):
    return change(timestamp=NOW + seconds * SECOND, **changes)


def deployed(one, *happened):
    return [((d.at - NOW) / SECOND, d.change.tag, d.changes) for d in expected(one, happened)]


def test_the_tags_of_one_build_are_one_deployment():
    """The newest of them, when nothing more has come for a while."""
    tags = [after(0, tag="1"), after(1, tag="1.3"), after(2, tag="1.3.0")]
    assert [(7, "1.3.0", 3)] == deployed(rule(), *tags)
    assert [(1, "1", 1), (2, "1.3", 1), (3, "1.3.0", 1)] == deployed(rule(settle="1s"), *tags)
    assert [(10, "1", 1), (11, "1.3", 1)] == deployed(rule(settle="0s", delay="10s", target="{tag}"), *tags[:2])


def test_each_target_is_on_its_own():
    """Another repository is another one, unless the rule says otherwise."""
    both = [after(0, repository="a"), after(1, repository="b")]
    assert [(5, "1.3", 1), (6, "1.3", 1)] == deployed(rule(), *both)
    assert [(6, "1.3", 2)] == deployed(rule(target="prod"), *both)


def test_it_waits_for_the_cooldown():
    """And then does the newest."""
    happened = [after(0, tag="1"), after(100, tag="2"), after(200, tag="3"), after(4000, tag="4")]
    assert [(5, "1", 1), (3605, "3", 2), (7205, "4", 1)] == deployed(rule(cooldown="1h"), *happened)


@given(
    st.lists(st.tuples(st.integers(0, 3000), st.sampled_from("ab")), max_size=30),
    st.sampled_from(["0s", "5s", "60s"]),
    st.sampled_from(["0s", "10m"]),
)
def test_every_change_is_part_of_one_deployment(happened, settle, cooldown):
    """None is lost, none is done before it happened, and there is one at a time."""
    changes = [after(at, repository=name, tag=str(n)) for n, (at, name) in enumerate(sorted(happened))]
    found = expected(rule(settle=settle, cooldown=cooldown), changes)
    assert len(changes) == sum(one.changes for one in found)
    for target in ("a", "b"):
        own = [one for one in found if one.target == target]
        assert all(one.at >= one.change.timestamp for one in own)
        pause = timedelta(minutes=10 if cooldown == "10m" else 0)
        assert all(second.at - first.at >= pause for first, second in pairwise(own))
        assert [c.tag for c in changes if c.repository == target][-1:] == [one.change.tag for one in own][-1:]


def test_a_backtest_knows_what_had_changed(store):
    """From the store: a push of what is there already, another one's, and a delete are told apart."""
    times = [NOW - timedelta(days=3) + hour * timedelta(hours=1) for hour in range(6)]
    journalled(
        store,
        envelope(
            make_push(at=times[0], digest="sha256:a", actor="ci"),
            make_push(at=times[1], digest="sha256:a", actor="ci"),
            make_push(at=times[2], digest="sha256:b", actor="alice"),
            make_push(at=times[3], digest="sha256:c", actor="ci"),
            make_event(at=times[4], action="delete", method="DELETE", tag="1.0", digest=None),
            make_push(at=times[5], digest="sha256:c", actor="ci"),
        ),
    )
    stats = Stats(store.root, now=NOW)
    frame = backtest(stats, [rule(actor="ci", changed=True), rule(action="delete", settle="0s")])
    told = [(row.at, row.tag, None if row.digest != row.digest else row.digest) for row in frame.itertuples()]
    late = [(times[n] + 5 * SECOND, "1.0", digest) for n, digest in ((0, "sha256:a"), (3, "sha256:c"), (5, "sha256:c"))]
    assert [*late[:2], (times[4], "1.0", None), late[2]] == told
    assert 1 == len(backtest(stats, [rule(actor="ci", changed=True)], since=times[5]))


def test_of_an_empty_store_nothing_comes(store):
    """With the same columns and types."""
    empty = backtest(Stats(store.root, now=NOW), [rule()])
    journalled(store, envelope(make_push()))
    full = backtest(Stats(store.root, now=NOW + SECOND), [rule()])
    assert (0, 1, dict(full.dtypes)) == (len(empty), len(full), dict(empty.dtypes))


# Commands


@pytest.fixture
def call(run, tmp_path):  # noqa: F811
    (tmp_path / "regstats.toml").write_text(SOUND)
    return run


def said(result, code=0):
    assert code == result.exit_code, result.output
    return result.stdout if code == 0 else result.stderr


def test_check_says_what_rules_do(call, tmp_path):
    """Or what is wrong; or that there are none."""
    assert said(call("deploy", "check")).startswith("app: repository 'team/app', a tag like '1.*', ")
    (tmp_path / "regstats.toml").write_text("")
    assert "The settings have no [[deploy]]" in said(call("deploy", "check"), 2)


def test_test_says_what_would_happen(call, tmp_path):
    """To a push that is made up, or to one that is in a file."""
    asked = ["deploy", "test", "--repository", "team/app", "--tag", "1.3"]
    assert "  app: yes: ['deploy', '1.3']\n" in said(call(*asked, "--address", "10.1.1.1"))
    assert "  app: no: from '192.0.2.1', not from '10.0.0.0/8'\n" in said(call(*asked, "--address", "192.0.2.1"))
    assert "a delete, not a push" in said(call(*asked, "--delete"))
    option = call("deploy", "test", "--repository", "team/app", "--tag", "--all", "--address", "10.1.1.1")
    assert "not a tag like" in said(option)
    push = make_push(tag="1.4", actor="a\u202eb", addr="10.0.0.9:1")
    (tmp_path / "event.json").write_bytes(envelope(push, make_event()))
    assert "push of team/app:1.4 by a\\u202eb\n  app: yes: " in said(call("deploy", "test", "event.json"))


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"garbage", "is not understood: "),
        (envelope(make_event()), "no tag is pushed or deleted"),
        (None, "Name a file"),
    ],
)
def test_an_event_that_is_none(call, tmp_path, content, complaint):
    """Is said."""
    (tmp_path / "event.json").write_bytes(content or b"")
    assert complaint in said(call("deploy", "test", *(["event.json"] if content else [])), 2)


def test_backtest_says_what_would_have_happened(call, store):
    """In any format."""
    journalled(store, envelope(make_push(tag="1.3", addr="10.0.0.9:1", at=NOW - timedelta(days=1))))
    (row,) = json.loads(said(call("deploy", "backtest", "--since", "7d", "--format", "json")))
    assert ("app", "team/app", "1.3", 1) == (row["rule"], row["target"], row["tag"], row["changes"])
    assert [] == json.loads(said(call("deploy", "backtest", "app", "--since", "1h", "--format", "json")))
    assert "There is no [[deploy]] 'nosuch'. There are: app." in said(call("deploy", "backtest", "nosuch"), 2)


@pytest.mark.parametrize("digest", [None, "", A])
def test_a_push_without_a_digest_is_no_delete(digest):
    """It points to something new, of which nobody knows what it is."""
    (event,) = understand([make_delivery(envelope(make_push(id="e1", digest=digest)))])[1]
    told = of_event(event)
    assert ("push", digest or "unknown:e1", bool(digest)) == (told.action, told.digest, told.is_told)
