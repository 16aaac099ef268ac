"""What is wrong in a registry's configuration, and what else keeps events from arriving."""

import json
import re
import sys
from copy import deepcopy

import pytest
import yaml
from click.testing import CliRunner
from makers import envelope, journalled, make_event

from regstats import doctor, registry_config
from regstats.cli import main
from regstats.config import Settings, Source
from regstats.doctor import _waiting as waiting
from regstats.errors import ConfigError
from regstats.registry_config import Finding, debug_of, examine, read

COLLECTOR = "http://collector.example:8080"
SETTINGS = Settings(token="secret", sources={"lab": Source(token="of lab"), "forge": Source(signing_secret="x")})
RIGHT = """
version: 0.1
storage: {filesystem: {rootdirectory: /var/lib/registry}, delete: {enabled: true}}
http: {addr: "127.0.0.1:5000", debug: {addr: "127.0.0.1:5101"}}
notifications:
  events: {includereferences: true}
  endpoints:
    - name: regstats
      url: http://collector.example:8080/events
      headers: {Authorization: [Bearer secret]}
      timeout: 3s
      threshold: 5
      backoff: 5s
"""


def findings(said):
    return list(examine(said, COLLECTOR, SETTINGS))


def changed(**of_endpoint):
    """The right configuration with another endpoint; keys that are None are left out."""
    said = deepcopy(yaml.safe_load(RIGHT))
    endpoint = said["notifications"]["endpoints"][0] | of_endpoint
    said["notifications"]["endpoints"] = [{key: value for key, value in endpoint.items() if value is not None}]
    return said


@pytest.mark.parametrize(
    "endpoint",
    [
        {},
        {"url": "http://collector.example:8080/events/", "headers": {"authorization": ["token secret"]}},
        {"url": "http://collector.example:8080/events/lab", "headers": {"Authorization": ["Bearer of lab"]}},
        {"url": "http://any:secret@collector.example:8080/events", "headers": None},
        {"url": "https://proxy.example/events"},
        {"timeout": None, "backoff": None},
    ],
)
def test_what_is_right(endpoint):
    """One endpoint posts there, and nothing is said against it."""
    (found,) = findings(changed(**endpoint))
    assert ("ok", "endpoint") == (found.status, found.check)


@pytest.mark.parametrize(
    ("endpoint", "status", "what", "remedy"),
    [
        ({"disabled": True}, "problem", "is disabled", "Remove `disabled: true`"),
        ({"url": "http://collector.example:8080/webhook"}, "problem", "no address of the collector", "/events"),
        ({"url": "http://other.example/hook"}, "problem", "No endpoint of `notifications`", "regstats config registry"),
        ({"url": f"{COLLECTOR}/events/shop"}, "problem", "the collector does not know", r"\[sources\.shop\]"),
        ({"url": f"{COLLECTOR}/events/forge"}, "problem", "registries cannot sign", "`token`"),
        ({"headers": None}, "problem", "shows no token", "Authorization"),
        ({"headers": {"Authorization": ["Bearer wrong"]}}, "problem", "shows another token", "Authorization"),
        ({"headers": {"Authorization": "Bearer secret"}}, "problem", "is no list", "Authorization"),
        ({"url": "http://collector.example:8080/events/lab"}, "problem", "shows another token", "Authorization"),
        ({"timeout": 3}, "problem", "`timeout: 3`, which are nanoseconds", "`timeout: 3s`"),
        ({"backoff": 5}, "problem", "`backoff: 5`, which are nanoseconds", "`backoff: 5s`"),
        ({"timeout": "500ms"}, "warning", "waits only 0.5 s", "3s"),
        ({"ignoredmediatypes": [registry_config.MANIFESTS[0]]}, "problem", "are not counted", "Remove"),
        ({"ignore": {"mediatypes": ["application/octet-stream"]}}, "warning", "ignores blobs", "Remove"),
        ({"ignore": {"actions": ["push"]}}, "warning", "does nothing before Distribution 3.1", "application/x-none"),
        ({"ignore": {"actions": ["pull"], "mediatypes": ["application/x-none"]}}, "warning", "ignores pull", "Remove"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_an_endpoint(endpoint, status, what, remedy):
    """Each mistake is found, with what to write; and the token is not shown."""
    found = [one for one in findings(changed(**endpoint)) if one.status != "ok"]
    assert any(status == one.status and what in one.what for one in found), found
    (text,) = {one.remedy for one in found if what in one.what}
    assert re.search(remedy, text), text
    assert "secret" not in "".join(one.what + one.remedy for one in found).replace("signing_secret", "")


@pytest.mark.parametrize(
    ("said", "what"),
    [
        ({}, "No endpoint"),
        ({"notifications": None}, "No endpoint"),
        ({"notifications": {"endpoints": {"url": "x"}}}, "No endpoint"),
        ({"notifications": {"endpoints": [1]}}, "No endpoint"),
        ({"notifications": {"endpoints": [{"url": 1}]}}, "No endpoint"),
        ({"storage": {"delete": True}}, "Nothing can be deleted"),
        ({"http": {"debug": {"addr": ":5001"}}}, "shows the token to everybody"),
    ],
)
def test_odd_configurations(said, what):
    """Whatever stands there."""
    assert any(what in one.what for one in findings(said))


def test_where_debug_is():
    """Only on loopback it is asked without being told to."""
    assert "http://127.0.0.1:5101/debug/vars" == debug_of(yaml.safe_load(RIGHT))
    assert debug_of({"http": {"debug": {"addr": "10.0.0.1:5101"}}}) is debug_of({}) is None


@pytest.mark.parametrize("text", ["a: [", "- a", "", "a: b: c", "\t"])
def test_files_that_are_none(tmp_path, text):
    path = tmp_path / "config.yml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"config\.yml is not"):
        read(path)


@pytest.mark.parametrize(
    ("metrics", "status", "what"),
    [
        ({"successes": 7}, "ok", "7 events were delivered"),
        ({"pending": 3}, "warning", "3 events wait at a\\u202eb."),
        ({"pending": 3, "failures": 9, "statuses": {"401 Unauthorized": 9}}, "problem", "refused: the token is wrong"),
        ({"pending": 3, "errors": 9}, "problem", "it cannot be reached"),
        ({"successes": 7, "statuses": {"301 Moved Permanently": 7}}, "problem", "redirected, and lost"),
    ],
)
def test_what_waits_at_the_registry(metrics, status, what):
    found = waiting("a\u202eb", doctor._Metrics(**metrics))
    assert status == found.status
    assert what in found.what


def told(*arguments, **options):
    done = CliRunner().invoke(main, ["doctor", *map(str, arguments), "--format", "json"], **options)
    return done.exit_code, [Finding(**row) for row in json.loads(done.stdout)]


def test_nothing_is_there(tmp_path):
    """Each is said, and what it would take to look."""
    status, found = told("--data", tmp_path / "none", "--collector", "http://127.0.0.1:9")
    assert 1 == status
    statuses = {one.check: one.status for one in found}
    assert {"endpoint": "skipped", "collector": "problem", "registry": "skipped", "queue": "skipped",
            "store": "problem", "probe": "skipped"} == statuses  # fmt: skip


def test_the_store(store):
    """What came, and what was not understood, and why."""
    journalled(store, envelope(make_event()), b"garbage")
    _, found = told("--data", store.root, "--collector", "http://127.0.0.1:9")
    texts = [one.what for one in found if one.check in ("store", "quarantine")]
    assert "1 events of 'default' are in the store" in texts[0]
    assert "1 deliveries of 'default' were not understood; the last: " in texts[1]


def test_for_people(tmp_path):
    """A line for each, with a sign, and what to do below it."""
    done = CliRunner().invoke(main, ["doctor", "--data", str(tmp_path), "--collector", "http://127.0.0.1:9"])
    lines = done.stdout.splitlines()
    assert (
        "\N{EN DASH} endpoint: not looked at; it needs --registry-config FILE, the registry's config.yml." == lines[0]
    )
    assert lines[1].startswith("\N{MULTIPLICATION SIGN} collector: Nobody answers at http://127.0.0.1:9/events")
    assert lines[2].startswith("    Start it")


def test_without_yaml_it_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "yaml", None)
    (tmp_path / "config.yml").write_text(RIGHT)
    done = CliRunner().invoke(main, ["doctor", "--registry-config", str(tmp_path / "config.yml")])
    assert 1 == done.exit_code
    assert "regstats[doctor]" in done.stderr
