"""The doctor: each mistake is named, with what to write, and what is right is not complained about."""

import json
import re
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
import yaml
from click.testing import CliRunner
from makers import MANIFEST, NOW, days, envelope, journalled, make_event, make_push
from servers import HOST, free_port

from regstats import received, symptoms
from regstats.cli import main
from regstats.config import Exclude, Settings, Source
from regstats.credentials import Login
from regstats.errors import ConfigError
from regstats.findings import Finding, masked
from regstats.probe import Done, Seen, is_deployed, judged, left_behind
from regstats.registry_config import Endpoint, Wanted, debug_address, examine, place, read
from regstats.requesting import Answer
from regstats.rules import Match, Rule
from regstats.stats import Stats

README = (Path(__file__).parents[1] / "README.md").read_text()
(BLOCK,) = re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)
RIGHT = f"""\
version: 0.1
storage:
  filesystem: {{rootdirectory: /var/lib/registry}}
  delete: {{enabled: true}}
http: {{addr: "127.0.0.1:5000"}}
{BLOCK}"""
SETTINGS = Settings(token="YOUR-TOKEN", sources={"lab": Source(token="lab-token"), "forge": Source(signing_secret="s")})
WANTED = Wanted(url="http://127.0.0.1:8080", settings=SETTINGS)
END = "      backoff: 5s\n"


def found(text, wanted=WANTED):
    return examine(yaml.safe_load(text), wanted)[1]


def told(findings, *statuses):
    return [one.what for one in findings if one.status in (statuses or ("problem", "warning", "hint"))]


def test_what_the_readme_says_is_right():
    """Nothing to complain about, with the token that it has."""
    (only,) = found(RIGHT)
    assert ("ok", "`regstats` sends to http://127.0.0.1:8080/events, as the source `default`") == (
        only.status,
        only.what,
    )


MISTAKES = [
    ("notifications:", "notification:", "problem", "there are no notifications.endpoints", "endpoints:"),
    ("  endpoints:", "  endpoint:", "problem", "there are no notifications.endpoints", "127.0.0.1:8080/events"),
    ("127.0.0.1:8080/events", "elsewhere.example/hook", "problem", "no endpoint sends to a collector", "url:"),
    (END, f"{END}      disabled: true\n", "problem", "`regstats` is disabled", "disabled: false"),
    ("8080/events", "8080/", "problem", "sends to /, which is no path", "url: http://127.0.0.1:8080/events"),
    ("8080/events", "8080/events/lab/x", "problem", "sends to /events/lab/x, which is no path", "8080/events"),
    ("8080/events", "8080/events/nosuch", "problem", "no source `nosuch`; there are", "[sources.nosuch]"),
    ("8080/events", "8080/events/lab", "problem", "shows the example's token", "[Bearer TOKEN]"),
    ("Bearer YOUR-TOKEN", "Bearer other", "problem", "another token than its source has", "[Bearer TOKEN]"),
    ("8080/events", "8080/events/forge", "problem", "`forge` has to sign, which this", "signing_secret"),
    ("http://127", "https://127", "problem", "and the collector is http://127.0.0.1:8080", "url: http://127.0.0.1:8080"),
    ("url: http", "url: htp", "problem", "which is no address", "url: http://127.0.0.1:8080/events"),
    ("127.0.0.1:8080", "localhost:9090", "hint", "http://localhost:9090/events, not to http", "same coll"),
    ("Authorization: [", "X-Authorization: [", "problem", "`regstats` shows no token", "Authorization: [Bearer TOKEN]"),
    ("[Bearer YOUR-TOKEN]", "[Bearer $TOKEN]", "problem", "a registry does not fill in its file", "[Bearer TOKEN]"),
    ("[Bearer YOUR-TOKEN]", "[Bearer YOUR, TOKEN]", "problem", "shows 2 tokens", "[Bearer TOKEN]"),
    ("[Bearer YOUR-TOKEN]", "Bearer YOUR-TOKEN", "problem", "Authorization is not a list", "Authorization: […]"),
    ("[Bearer YOUR-TOKEN]", "[Bearer YOUR-TOKEN]\n        Host: [x]", "warning", "Host is sent a second", "Remove"),
    ("headers:", "header:", "warning", "says `header`, which a registry does not know", "Write `headers`"),
    ("timeout: 3s", "timeout: 500", "problem", "comes within 500 ns, because it has no unit", "timeout: 3s"),
    ("timeout: 3s", "timeout: 3 s", "problem", "`timeout: 3 s` is no time", "timeout: 3s"),
    ("timeout: 3s", "timeout: 1.5", "problem", "`timeout: 1.5`: no answer comes within 1 ns", "timeout: 3s"),
    ("timeout: 3s", "timeout: true", "problem", "`timeout` is not a time such as 3s", "timeout: 3s"),
    ("timeout: 3s", "timeout: 500ms", "warning", "`timeout: 500ms` is 0.5 s", "timeout: 3s"),
    ("timeout: 3s", "timeout: 1s", "hint", "`timeout: 1s` is 1 s", "timeout: 3s"),
    ("      timeout: 3s\n", "", "hint", "nothing is said, is 1 s", "timeout: 3s"),
    ("backoff: 5s", "backoff: 5", "warning", "it tries again after 5 ns", "backoff: 5s"),
    ("threshold: 5", "threshold: 5s", "problem", "`threshold` is not a number", "threshold: 5"),
    (END, f"{END}      ignore: {{actions: [pull]}}\n", "warning", "does nothing alone before", "x-none"),
    (END, f"{END}      ignore: {{actions: [pull], mediatypes: [x/y]}}\n", "problem", "pull is not told", "Remove"),
    (END, f"{END}      ignoredmediatypes: [{MANIFEST}]\n", "problem", f"pulls of {MANIFEST} are not told", "Remove"),
    (END, f"{END}      ignore: {{mediatypes: [{MANIFEST}]}}\n", "problem", f"of {MANIFEST} are not told", "Remove"),
    (END, f"{END}      ignoredmediatypes: [application/octet-stream]\n", "hint", "blobs are not told", "Remove"),
    (END, f"{END}      ignoredmediatypes: x\n", "problem", "`ignoredmediatypes` is not a list", "ignoredmediatypes: ["),
    (END, f'{END}      disabled: "true"\n', "problem", "`disabled` is not true or false", "disabled: false"),
    ("includereferences: true", "includereferences: false", "hint", "what a manifest refers to", "references: true"),
    ("delete: {enabled: true}", "delete: {}", "hint", "nothing can be deleted", "delete: {enabled: true}"),
    ('addr: "127.0.0.1:5000"', 'debug: {addr: ":5001"}', "warning", "http.debug at :5001", "addr: 127.0.0.1:5001"),
]  # fmt: skip


@pytest.mark.parametrize(("right", "wrong", "status", "what", "remedy"), MISTAKES)
def test_a_mistake_is_named(right, wrong, status, what, remedy):
    """And what is to be written; nothing else is complained about than what comes of it."""
    assert right in RIGHT
    findings = found(RIGHT.replace(right, wrong))
    (one,) = [finding for finding in findings if what in finding.what]
    assert status == one.status
    assert remedy in one.remedy
    assert all("YOUR-TOKEN" not in finding.text for finding in findings)
    assert (status == "problem") == any(finding.status == "problem" for finding in findings) or "header:" in wrong


@pytest.mark.parametrize(
    ("right", "fine"),
    [
        ("8080/events", "8080/events/"),
        ("http://127.0.0.1:8080", "http://any:YOUR-TOKEN@127.0.0.1:8080"),
        ("127.0.0.1:8080", "localhost:8080"),
        ("Bearer YOUR-TOKEN", "token YOUR-TOKEN"),
        ("timeout: 3s", "timeout: 0.05m"),
        ("timeout: 3s", "timeout: 3000000000"),
        ("timeout: 3s", "timeout: +1m30s"),
        (END, f"{END}      disabled: no\n      ignoredmediatypes:\n"),
        ("name: regstats", "name: 3"),
        (END, f"{END}    - {{name: chat, url: http://chat.example/hook}}\n"),
    ],
)
def test_what_is_right_is_not_complained_about(right, fine):
    """However it is written."""
    text = RIGHT.replace(right, fine)
    if "@" in fine:
        text = text.replace("        Authorization: [Bearer YOUR-TOKEN]\n", "        X-Any: [value]\n")
    assert [] == told(found(text))


def test_a_source_of_its_own():
    """With its token; and if another is asked for, which that is."""
    text = RIGHT.replace("8080/events", "8080/events/lab").replace("YOUR-TOKEN", "lab-token")
    assert [] == told(found(text))
    (only,) = told(found(text, Wanted(url="http://127.0.0.1:8080", settings=SETTINGS, source="forge")), "problem")[:1]
    assert "sends as the source `lab`, not as `forge`" in only
    assert [] == told(found(text, Wanted(token="lab-token")))


def test_everything_twice():
    """Two endpoints, two sources, one collector: each pull counts double."""
    other = "    - {name: other, url: 'http://localhost:8080/events/lab', timeout: 3s}\n"
    (only,) = told(found(RIGHT.replace(END, END + other)))
    assert "as the sources `default`, `lab`" in only


def test_a_registry_elsewhere():
    """Loopback is itself there; and with another port than its own there is something before it."""
    (only,) = told(found(RIGHT, Wanted(registry="registry.example:5000")))
    assert "sends to 127.0.0.1, which for a registry on another machine" in only
    beside = RIGHT.replace("127.0.0.1:5000", ":5000").replace("http://127.0.0.1:8080", "http://collector.example")
    (only,) = told(found(beside, Wanted(registry="registry.example:443")))
    assert "clients that reach :5000 can go round what listens at registry.example:443" in only
    assert [] == told(found(RIGHT, Wanted(registry="localhost:5000")))


@pytest.mark.parametrize(
    "text",
    ["notifications: 3", "notifications: {endpoints: {a: b}}", "notifications: {endpoints: [3, null]}", "http: []",
     "notifications: {endpoints: [{url: [], headers: [], ignore: 3, name: {}}]}", "storage: {delete: true}",
     "notifications: {endpoints: [{url: 'http://[::1/events'}]}", "notifications: {endpoints: [{1: 2}]}",
     "notifications: {endpoints: [{url: 'http://a:99999/events', headers: {1: [2], Authorization: {}}}]}"],
)  # fmt: skip
def test_whatever_is_in_the_file(text):
    """It is looked at all the same."""
    assert told(found(text), "problem")


def test_a_file_that_is_none(tmp_path):
    """What is no YAML, no configuration, or not there."""
    file = tmp_path / "config.yml"
    for text in ("a: [", "- a", "", "\t"):
        file.write_text(text)
        with pytest.raises(ConfigError, match=re.escape(str(file))):
            read(file)
    with pytest.raises(ConfigError, match="Cannot read"):
        read(tmp_path / "nosuch.yml")
    file.write_text("\n  headers: {Authorization: [Bearer secret}")
    with pytest.raises(ConfigError, match=r"in line 2\.$"):
        read(file)
    file.write_text(RIGHT.replace('addr: "127.0.0.1:5000"', "debug: {addr: ':5001'}"))
    assert ":5001" == debug_address(read(file))


@pytest.mark.parametrize(
    ("url", "expected"),
    [("http://h:1/events", ("http://h:1", "default")), ("http://h:1/events/lab/", ("http://h:1", "lab")),
     ("https://h/stats/events/lab", ("https://h/stats", "lab")), ("http://u:p@h/events", ("http://h", "default")),
     ("http://h:1", ("http://h:1", None)), ("http://h:1/", ("http://h:1", None))],
)  # fmt: skip
def test_where_deliveries_go(url, expected):
    """The collector, and the source."""
    assert expected == place(url)


def test_secrets_are_not_shown():
    """Neither those in addresses, nor in headers."""
    endpoint = Endpoint({"url": "http://user:secret@h/x", "headers": {"authorization": ["Bearer secret"]}})
    assert ["Bearer secret"] == endpoint.authorization
    assert "http://h/x" == masked(endpoint.url)
    for url in ("user:secret@other.example/x", "chat.example/hook/secret", "127.0.0.1:8080/events?k=secret"):
        text = RIGHT.replace("127.0.0.1:8080/events", url)
        assert all("secret" not in finding.text for finding in found(text))
    assert all(
        "secret" not in one.what for one in symptoms.queued(queue("http://chat.example/secret"), "", "http://c/")
    )


# What servers answer


def answer(status=200, body=b"", **headers):
    return Answer(status, headers, body)


def test_what_a_collector_says():
    """Well, not well, what it tells, and what to do about it; or it is none."""
    url = "http://c/healthz"
    assert [] == told(symptoms.told(answer(body=b'{"status": "ok", "problems": []}'), url))
    assert ["it says no more, because it knows no token or another"] == told(
        symptoms.told(answer(body=b'{"status": "ok"}'), url)
    )
    body = json.dumps({"status": "failing", "problems": ["3 deliveries of lab were not taken: unauthorized."]}).encode()
    problem, warning = symptoms.told(answer(503, body), url)
    assert ("problem", "warning") == (problem.status, warning.status)
    assert "Authorization: [Bearer TOKEN]" in warning.remedy
    for other in (answer(404, b"<html>\x1b[31m"), answer(body=b"[]"), answer(301, Location="http://d/")):
        (only,) = symptoms.told(other, url)
        assert "is no collector" in only.what
        assert "\x1b" not in only.text


@pytest.mark.parametrize(
    ("status", "expected", "what", "remedy"),
    [(204, "ok", "takes deliveries of `lab`", ""), (401, "problem", "the token is not that of", "[Bearer TOKEN]"),
     (404, "problem", "there is no source `lab`", "[sources.lab]"), (403, "warning", "to this machine", "`allow`"),
     (405, "warning", "does not say", "--probe"), (503, "problem", "cannot store it", "Make room"),
     (413, "problem", "too large", "max_body"), (502, "problem", "does not reach", "proxy_pass"),
     (200, "problem", "another server", "http://c/events/lab")],
)  # fmt: skip
def test_whether_a_delivery_is_taken(status, expected, what, remedy):
    """As it is answered."""
    only = symptoms.taken(answer(status), "lab", "http://c/events/lab", "with its token")
    assert expected == only.status
    assert what in only.what
    assert remedy in only.remedy


@pytest.mark.parametrize(
    ("location", "leads"),
    [("https://c/events", "https://c/events"), ("/events/", "http://c/events/"), ("", "http://c/events")],
)
def test_a_redirect(location, leads):
    """Where it leads is what to write."""
    only = symptoms.taken(answer(301, Location=location), "default", "http://c/events", "")
    assert ("problem", True) == (only.status, only.remedy.endswith(f"url: {leads}"))


@pytest.mark.parametrize(("seconds", "number"), [(0, 0), (4, 0), (-4, 0), (60, 1), (-3600, 1)])
def test_clocks(seconds, number):
    """That are apart; dates have whole seconds."""
    date = f"{NOW + timedelta(seconds=seconds):%a, %d %b %Y %H:%M:%S GMT}"
    assert number == len(list(symptoms.apart("collector", {"Date": date}, NOW)))
    assert [] == list(symptoms.apart("collector", {"Date": "nonsense"}, NOW))
    assert [] == list(symptoms.apart("collector", {}, NOW))


@pytest.mark.parametrize(
    ("url", "host", "why", "remedy"),
    [("http://127.0.0.1:8080", "127.0.0.1", "refused", "regstats serve"),
     ("http://collector.example", "127.0.0.1", "refused", 'host = "0.0.0.0"'),
     ("http://collector.example", "0.0.0.0", "timed out", "firewalls"),
     ("http://collector", "0.0.0.0", "[Errno -2] Name or service not known", "--collector URL"),
     ("https://collector.example", "0.0.0.0", "[SSL: CERTIFICATE_VERIFY_FAILED]", "SSL_CERT_FILE")],
)  # fmt: skip
def test_nobody_answers(url, host, why, remedy):
    """And what that may be."""
    only = symptoms.unreachable(url, why, Settings(host=host, token="t"))
    assert "problem" == only.status
    assert remedy in only.remedy


@pytest.mark.parametrize(
    ("error", "login", "remedy"),
    [("r wants a login.", None, "docker login r"), ("r refuses a: wrong user or password", Login("alice"), "another"),
     ("r cannot be reached: [SSL: CERTIFICATE_VERIFY_FAILED]", None, "--ca"),
     ("r cannot be reached: [SSL: WRONG_VERSION_NUMBER]", None, "http://r"),
     ("r cannot be reached: Connection refused", None, "whether it runs")],
)  # fmt: skip
def test_a_registry_that_cannot_be_asked(error, login, remedy):
    """And what to do."""
    assert remedy in symptoms.unasked(error, "r", login).remedy


def queue(url="http://c/events", **metrics):
    numbers = {"Pending": 0, "Events": 9, "Successes": 9, "Failures": 0, "Errors": 0, "Statuses": {}} | metrics
    said = {"name": "regstats", "url": url, "Headers": {"Authorization": ["Bearer secret"]}, "Metrics": numbers}
    body = json.dumps({"registry": {"notifications": {"endpoints": [said]}}}).encode()
    return symptoms.endpoints_of(answer(body=body))


@pytest.mark.parametrize(
    ("metrics", "status", "what"),
    [({"Statuses": {"204 No Content": 9}}, "ok", "9 events, 9 delivered, 0 wait"),
     ({"Statuses": {"401 Unauthorized": 3}, "Pending": 2}, "problem", "3 times 401 Unauthorized: the token"),
     ({"Statuses": {"404 Not Found": 3}, "Pending": 2}, "problem", "there is no source `default`"),
     ({"Statuses": {"503 Service Unavailable": 3}}, "hint", "that is over"),
     ({"Statuses": {"200 OK": 9}}, "problem", "another server is there"),
     ({"Statuses": {"302 Found": 9}}, "problem", "it is redirected"),
     ({"Statuses": {"nonsense": 9}}, "problem", "another server is there"),
     ({"Errors": 4, "Pending": 2}, "problem", "4 times no answer")],
)  # fmt: skip
def test_a_queue(metrics, status, what):
    """What waits, what is lost, and why; and never what the registry shows the collector."""
    (only,) = symptoms.queued(queue(**metrics), "http://c/events", None)
    assert status == only.status
    assert what in only.what
    assert "secret" not in only.text


def test_a_registry_that_was_not_restarted():
    """What it runs with is not what its file says."""
    first, _ = symptoms.queued(queue("http://u:secret@old.example/events"), "http://c/events", "http://c/events")
    assert ("problem", "Restart it.") == (first.status, first.remedy)
    assert "http://old.example/events" in first.what
    (only,) = symptoms.queued(symptoms.endpoints_of(answer(body=b"{}")), "http://c/events", None)
    assert "no registry" in only.what


# The probe

DONE = Done("r/p:t", NOW, NOW + timedelta(seconds=2), True, "192.0.2.7", "alice")


def seen(**changes):
    return [Seen(**{"action": action, "actor": "alice", "client_address": "192.0.2.7", "timestamp": NOW,
                    "timestamp_trusted": True, "source": "default"} | changes)
            for action in ("push", "pull", "pull", "delete")]  # fmt: skip


def test_a_good_probe():
    """Who, from where, what and how long."""
    findings = list(judged(seen(), DONE, 0.4))
    assert [] == told(findings)
    assert "push, pull, delete of r/p:t came to the store as `default`, after 0.4 s" == findings[0].what


@pytest.mark.parametrize(
    ("events", "done", "status", "what"),
    [
        ([], DONE, "problem", "nothing of r/p:t came within 15 s"),
        (seen()[:2], DONE, "problem", "no pull, delete came"),
        (seen()[:3], DONE, "warning", "no delete came"),
        (seen(actor=None), DONE, "hint", "does not know who asks"),
        (seen(actor="robot"), DONE, "hint", "is 'robot' in the events"),
        (seen(client_address="192.0.2.9"), DONE, "warning", "who asks from 192.0.2.7 is 192.0.2.9"),
        (seen(client_address=None), DONE, "warning", "no address"),
        ([*seen()[:3], *seen(client_address="192.0.2.1")[3:]], DONE, "warning", "addresses can be forged"),
        (seen(timestamp=NOW - timedelta(minutes=3)), DONE, "warning", "said 2026-11-24 11:57:00 UTC when"),
        (seen(timestamp=NOW + timedelta(minutes=3)), DONE, "warning", "said 2026-11-24 12:03:00 UTC when"),
        (seen(timestamp_trusted=False), DONE, "warning", "times cannot be believed"),
    ],
)
def test_what_a_probe_shows(events, done, status, what):
    """Each thing that is not as it should be, and nothing else."""
    (only,) = [one for one in judged(events, done, 15) if one.status not in ("ok", "skipped")]
    assert status == only.status
    assert what in only.what


def test_what_a_probe_leaves():
    """It is counted if the settings say so, and that is said."""
    assert "ok" == left_behind(Exclude(), "r/p").status
    assert "hint" == left_behind(Exclude(clients=["docker"]), "r/p").status


def test_what_would_be_deployed():
    """A probe is a push: rules that might fit are named, whoever pushes."""

    def rule(**match):
        return Rule(name="x", match=Match(**match), command=["true"])

    assert ["x"] == is_deployed([rule(repository="*", actor="ci")], "r/p")
    assert ["x"] == is_deployed([rule(action="delete")], "r/p")
    assert [] == is_deployed([rule(repository="team/*"), rule(tag="1.*"), rule(semver="1.x")], "r/p")


# The store


def of_store(store, *, source=None, exclude=None):
    all_of_it = Stats(store.root, now=NOW, exclude=Exclude(clients=["regstats/*"]))
    stats = Stats(store.root, now=NOW, exclude=exclude or Exclude())
    return list(received.kept(stats, all_of_it, "data", source))


def test_a_store_in_which_all_is_well(store):
    """How much, of whom, and when the last came."""
    before = NOW - timedelta(minutes=3)
    events = [make_push(actor="ci", at=before), make_event(addr="192.0.2.8:1", at=before)]
    journalled(store, *map(envelope, events), received_at=before)
    (only,) = of_store(store)
    assert ("ok", "data: 2 events of `default` in 30d, the last 3m ago") == (only.status, only.what)


@pytest.mark.parametrize(
    ("bodies", "received", "what"),
    [
        ([], NOW, "nothing has come to data in 30d"),
        ([envelope(make_event())], NOW - days(40), "nothing has come to data in 30d"),
        ([b"garbage", b"garbage"], NOW, "2 deliveries were not understood"),
        ([envelope(make_event(actor=actor)) for actor in "ab"], NOW, "all 2 actors of `default` are at 192.0.2.7"),
        ([envelope(make_event(user_agent="Go-http-client/1.1"))], NOW, "1 of 1 requests for manifests in 30d do not"),
        ([envelope(make_event(at=NOW))], NOW - timedelta(minutes=2), "the clock of `default` is 2m ahead"),
    ],
)
def test_what_a_store_shows(store, bodies, received, what):
    """Each with what to do."""
    journalled(store, *bodies, received_at=received)
    (only,) = [one for one in of_store(store) if one.status == "warning"]
    assert what in only.what
    assert only.remedy


def test_what_is_asked_for_has_not_come(store):
    """Though something else has."""
    journalled(store, envelope(make_event()))
    assert ["nothing of `lab` has come to data in 30d"] == told(of_store(store, source="lab"))


def test_our_own_probes_are_no_loss(store):
    """They are excluded on purpose."""
    journalled(store, envelope(make_event(user_agent="regstats/1.0")))
    assert [] == told(of_store(store))


def test_the_example_of_the_readme():
    """Looks like this."""
    text = found(RIGHT, Wanted(token="other"))[0].text
    assert "".join(f"    {line}\n" for line in text.splitlines()) in README


# The command


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("REGSTATS_DATA", "REGSTATS_TOKEN", "REGSTATS_CONFIG", "DOCKER_CONFIG", "REGISTRY_AUTH_FILE"):
        monkeypatch.delenv(name, raising=False)
    return lambda *arguments, **options: CliRunner().invoke(main, ["doctor", *arguments], **options)


def test_for_programs_and_for_people(run, tmp_path):
    """The same findings; what cannot be looked at says what it needs."""
    url = f"http://127.0.0.1:{free_port()}"
    result = run("--collector", url, "--format", "json")
    findings = json.loads(result.stdout)
    assert 1 == result.exit_code
    assert ["check", "status", "what", "remedy"] == list(findings[0])
    assert {"configuration": "skipped", "collector": "problem", "registry": "skipped", "queue": "skipped",
            "store": "skipped", "probe": "skipped"} == {one["check"]: one["status"] for one in findings}  # fmt: skip
    assert all(one["remedy"] for one in findings)
    text = run("--collector", url).stdout
    assert "".join(f"{Finding(**one).text}\n" for one in findings) == text
    (tmp_path / "config.yml").write_text("a: [")
    assert "is not YAML, in line 1." in run("--collector", url, "--registry-config", "config.yml").stdout


def test_settings_are_for_the_token_and_the_address(run, tmp_path):
    """Of the file that is there, as for the collector."""
    port = free_port()
    (tmp_path / "regstats.toml").write_text(f'port = {port}\ntoken = "right"\n')
    (tmp_path / "config.yml").write_text(RIGHT.replace("8080", str(port)).replace("YOUR-TOKEN", "wrong"))
    result = run("--registry-config", "config.yml")
    assert "shows another token than its source has" in result.stdout
    assert f"http://127.0.0.1:{port} cannot be reached" in result.stdout
    assert "wrong" not in result.stdout.replace("what is wrong", "")


@pytest.fixture
def listening():
    """A server that is none of ours: its port, and what it was shown."""
    seen = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            seen.append(self.headers["Authorization"])
            self.send_response(401)
            self.end_headers()

        do_OPTIONS = do_GET  # noqa: N815

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer((HOST, 0), Handler) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port, seen
        server.shutdown()
        thread.join()


def test_our_token_is_shown_to_the_collector_alone(run, tmp_path, listening):
    """Not to whoever a registry's file happens to name; that is shown what the registry shows it anyway."""
    port, seen = listening
    (tmp_path / "regstats.toml").write_text('token = "right"\n')
    (tmp_path / "config.yml").write_text(RIGHT.replace("8080", str(port)).replace("YOUR-TOKEN", "theirs"))
    result = run("--registry-config", "config.yml")
    assert 1 == result.exit_code
    assert [None, "Bearer theirs"] == seen
    assert "answers 401, with what the registry shows" in result.stdout
    seen.clear()
    (tmp_path / "config.yml").write_text(RIGHT.replace("8080", str(port)).replace("YOUR-TOKEN", "right"))
    run("--registry-config", "config.yml")
    run("--collector", f"http://{HOST}:{port}")
    assert ["Bearer right"] * 4 == seen


@pytest.mark.parametrize(
    "options",
    [("--registry", "alice:secret@registry.example"), ("--collector", "http://a:b@c/"), ("--collector", "c:8080"),
     ("--username", "alice"), ("--password-stdin",), ("--registry-config", "nosuch.yml"), ("--wait", "-1")],
)  # fmt: skip
def test_what_is_asked_wrongly(run, options):
    """Passwords belong on stdin, and addresses begin with http."""
    result = run(*options, input="secret\n")
    assert 2 == result.exit_code
    assert "secret" not in result.output


def test_text_of_others_does_nothing_to_a_terminal():
    """Neither in what is said nor in what is to be written; it stays on its line."""
    text = Finding("store", "warning", "a\x1b[31m\nb", "c\u202ed").text
    assert 2 == len(text.splitlines())
    assert {"\x1b", "\u202e"}.isdisjoint(text)


def test_the_time_of_an_event_is_compared_in_utc():
    """As the store has it."""
    assert [] == told(judged(seen(timestamp=datetime(2026, 11, 24, 12, tzinfo=UTC)), DONE, 0))
