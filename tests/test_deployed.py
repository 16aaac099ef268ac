"""The pages and the route of deployments, and who may let something be deployed there."""

import json
import sys
from datetime import timedelta

import msgspec
import pytest
from asking import basic, bearer, reader
from click.testing import CliRunner
from makers import NOW, make_deployment

from regstats.cli import main
from regstats.config import Read
from regstats.ledger import Ledger
from regstats.rules import Rule
from regstats.sealing import seal
from regstats.store import Store

RULE = msgspec.convert({"name": "app", "match": {}, "command": ["x"], "approve": True, "approvers": ["alice"]}, Rule)
USERS = {"alice": "wonderland", "bob": "builder"}
HOME = {"Origin": "http://localhost"}
NASTY = "<script>alert(1)</script>\u202e\x07"


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.setenv("REGSTATS_NOW", NOW.isoformat())
    store = Store(tmp_path / "data", create=True)
    store.ledger.put(make_deployment("aaaa1", timestamp=NOW - timedelta(days=1), rule="web", repository="team/web"))
    seal(store)
    store.ledger.put(make_deployment("aaaa2", "unapproved", started_at=None, finished_at=None, output=None))
    store.ledger.put(
        make_deployment("bbbb1", "failed", tag=NASTY, actor=NASTY, reason=NASTY, output=NASTY, rule="gone")
    )
    return store


@pytest.fixture
def guarded(store):
    return reader(store, deploy=[RULE], token="t0ken", read=Read(users=USERS, rate=0))


def test_the_route(store):
    client = reader(store)
    answer = client.get("/api/v1/deployments").json
    assert {"aaaa1", "aaaa2", "bbbb1"} == {row["deployment_id"] for row in answer["data"]}
    assert ("deployments", 3) == (answer["metric"], answer["total"])
    (row,) = client.get("/api/v1/deployments?rule=w*&since=2d&repository=team/*").json["data"]
    assert ("aaaa1", 3.0, 86404.0, "one\ntwo") == tuple(
        row[name] for name in ("deployment_id", "duration", "lead_time", "history")
    )
    lines = client.get("/api/v1/deployments?deployment_id=aa&limit=1&format=csv").text.splitlines()
    assert [True, True] == [lines[0].startswith("deployment_id,rule,"), lines[1].startswith("aaaa2,app,")]


@pytest.mark.parametrize(
    ("query", "detail"),
    [
        ("status=done", "status='done' is not one of: waiting, unapproved, running, succeeded"),
        ("tag=1", "Unknown parameter 'tag'. There are: deployment_id, repository, rule, status, since, until, limit"),
        ("since=never", "since='never'"),
        ("rule=a&rule=b&status=a&status=b", "status is there 2 times"),
    ],
)
def test_a_wrong_question(store, query, detail):
    answer = reader(store).get(f"/api/v1/deployments?{query}")
    assert 400 == answer.status_code
    assert detail in answer.json["detail"]


def test_the_pages(store):
    client = reader(store)
    page = client.get("/deployments").text
    assert 'href="/deployments/aaaa2"' in page
    assert "team/web" not in client.get("/deployments?repository=team/app").text
    one = client.get("/deployments/aaaa1")
    assert "no-store" == one.headers["Cache-Control"]
    assert "said" in one.text
    assert "3s" in one.text
    for path in ("/deployments", "/deployments/bbbb1", "/"):
        text = client.get(path).text
        assert "<script>alert" not in text
        assert "\u202e" not in text
        assert "\x07" not in text
    assert 404 == client.get("/deployments/nosuch").status_code
    assert 404 == client.get("/deployments/aaaa").status_code


def test_the_overview_shows_them_where_there_are_any(store, tmp_path):
    assert "/deployments/aaaa1" in reader(store).get("/").text
    nothing = Store(tmp_path / "empty", create=True)
    assert "All deployments" not in reader(nothing).get("/").text
    assert "All deployments" in reader(nothing, deploy=[RULE]).get("/").text


def asked(store):
    return [(request.deployment_id, request.wish, request.asked.by) for request in Ledger(store.root).requests()]


@pytest.mark.parametrize("wish", ["approve", "reject"])
def test_who_may_lets_it_be_deployed(store, guarded, wish):
    headers = basic("alice", "wonderland")
    assert "Approve" in guarded.get("/deployments/aaaa2", headers=headers).text
    assert "Approve" not in guarded.get("/deployments/aaaa1", headers=headers).text
    answer = guarded.post(f"/deployments/aaaa2/{wish}", headers=headers | HOME)
    assert (303, "/deployments/aaaa2") == (answer.status_code, answer.headers["Location"])
    assert [("aaaa2", wish, "alice")] == asked(store)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        (basic("alice", "wrong"), 401),
        (basic("bob", "builder"), 403),
        (basic("alice", "t0ken"), 403),
        (bearer("t0ken"), 403),
        (basic("alice", "wonderland") | {"Origin": "http://evil.example"}, 403),
        (basic("alice", "wonderland") | {"Origin": "null"}, 403),
        (basic("alice", "wonderland") | {"Sec-Fetch-Site": "cross-site"}, 403),
        (basic("alice", "wonderland") | {"Origin": ""}, 403),
    ],
)
def test_nobody_else_does(store, guarded, headers, status):
    guarded.get("/", headers=basic("alice", "wonderland"))  # she has logged in before
    assert "Approve" not in guarded.get("/deployments/aaaa2", headers=basic("bob", "builder")).text
    assert status == guarded.post("/deployments/aaaa2/approve", headers=HOME | headers).status_code
    assert [] == asked(store)


def test_what_is_public_lets_nobody_deploy(store):
    client = reader(store, deploy=[RULE], token="t0ken", read=Read(users=USERS, rate=0, public=["page"]))
    assert "Approve" not in client.get("/deployments/aaaa2").text
    assert 403 == client.post("/deployments/aaaa2/approve", headers=HOME).status_code
    assert [] == asked(store)


def test_who_may_look_from_elsewhere_lets_nobody_deploy(store):
    """Also where nobody has to show a token."""
    client = reader(store, deploy=[RULE], read=Read(rate=0, public=["page"]))
    elsewhere = {"REMOTE_ADDR": "192.0.2.1"}
    assert 200 == client.get("/deployments/aaaa2", environ_base=elsewhere).status_code
    assert 403 == client.post("/deployments/aaaa2/approve", headers=HOME, environ_base=elsewhere).status_code
    assert [] == asked(store)


def test_on_this_machine_without_a_token(store):
    client = reader(store, deploy=[RULE])
    assert 303 == client.post("/deployments/aaaa2/approve", headers=HOME).status_code
    assert [("aaaa2", "approve", "somebody at 127.0.0.1")] == asked(store)
    rebound = {"Host": "evil.example", "Origin": "http://evil.example"}
    assert 403 == client.post("/deployments/aaaa2/approve", headers=rebound).status_code


@pytest.mark.parametrize(
    ("path", "status"),
    [("cccc1/approve", 409), ("bbbb1/approve", 403), ("nosuch/approve", 404), ("aaaa2/run", 404)],
)
def test_what_cannot_be_asked(store, guarded, path, status):
    store.ledger.put(make_deployment("cccc1"))
    headers = basic("alice", "wonderland") | HOME
    assert status == guarded.post(f"/deployments/{path}", headers=headers).status_code
    assert 405 == guarded.get("/deployments/aaaa2/approve", headers=headers).status_code
    assert [] == asked(store)


# Commands


@pytest.fixture
def call(store, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)

    def call(*arguments, code=0):
        done = CliRunner().invoke(main, ["deploy", *arguments, "--data", str(store.root)])
        assert code == done.exit_code, done.output
        return done.stdout if code == 0 else done.stderr

    return call


def test_the_log(call):
    head, _, *lines = call("log").splitlines()
    columns = "deployment_id timestamp rule repository tag actor status attempts lead_time reason"
    assert columns.split() == head.split()
    assert ["aaaa2", "bbbb1", "aaaa1"] == [line.split()[0] for line in lines]
    rows = json.loads(call("log", "--format", "json", "--rule", "w*"))
    told = [(row["deployment_id"], row["history"], row["lead_time"]) for row in rows]
    assert [("aaaa1", "one\ntwo", 86404.0)] == told
    assert ["aaaa2"] == [line.split()[0] for line in call("log", "--status", "unapproved").splitlines()[2:]]
    assert ["aaaa2"] == [line.split()[0] for line in call("log", "--limit", "1").splitlines()[2:]]


def test_one_in_full(call):
    text = call("log", "aaaa1")
    assert "status          succeeded\n" in text
    assert "lead_time       86404.0\n" in text
    assert "history\n  one\n  two\n" in text
    assert text.endswith("output\n  said\n")
    text = call("log", "bbbb")
    assert "\u202e" not in text
    assert "\x07" not in text
    assert "tag             <script>alert(1)</script>\\u202e\\u0007\n" in text


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["log", "aaaa"], "2 ids begin with 'aaaa'; `regstats deploy log` lists them."),
        (["log", "x"], "No id begins with 'x'"),
        (["run", "x"], "No id begins with 'x'"),
        (["run", "aaaa2"], "Deployment aaaa2 is unapproved; nobody can run it."),
        (["approve", "aaaa1"], "Deployment aaaa1 is succeeded; nobody can approve it."),
        (["run", "aaaa1"], "The rule 'web' is not in the settings of the collector any more."),
        (["log", "--status", "done"], "'done' is not one of"),
    ],
)
def test_what_cannot_be_said(call, arguments, complaint):
    assert complaint in call(*arguments, code=2)


def test_by_command_where_no_collector_runs(call, store, tmp_path):
    """What is approved is done, what failed gives another status."""
    text = '[[deploy]]\nname = "app"\nmatch = {}\napprove = true\nretries = 0\n'
    text += 'command = ["sh", "-c", "echo it; exit 1"]\n'
    (tmp_path / "regstats.toml").write_text(text)
    store.ledger.remove(make_deployment("aaaa2"))
    store.ledger.put(make_deployment("dddd1", "unapproved", started_at=None, finished_at=None, output=None))
    store.ledger.put(make_deployment("dddd2", "unapproved", tag="2", event_id="f"))
    failed = CliRunner().invoke(main, ["deploy", "approve", "dddd1", "--data", str(store.root), "--by", "alice"])
    assert (1, True) == (failed.exit_code, "approved_by     alice" in failed.stdout), failed.output
    assert "status          rejected" in call("reject", "dddd2", "--by", "alice")
    assert "it\n" == json.loads(call("log", "dddd1", "--format", "json"))[0]["output"]


def test_check_says_what_is_missing_here(run_check, monkeypatch):
    monkeypatch.setitem(sys.modules, "docker", None)
    service = 'docker_service = { name = "x", image = "x" }'
    done = run_check('command = ["/nowhere/deploy"]', service, 'command = ["sh"]')
    assert 0 == done.exit_code
    first, second = done.stderr.splitlines()
    assert "r0: there is no program /nowhere/deploy here" == first
    assert second.startswith("r1: This needs docker, which is not installed. Install it with: ")
    assert 3 == len(done.stdout.splitlines())


@pytest.fixture
def run_check(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def run_check(*actions):
        rules = [f'[[deploy]]\nname = "r{n}"\nmatch = {{}}\n{action}\n' for n, action in enumerate(actions)]
        (tmp_path / "regstats.toml").write_text("".join(rules))
        return CliRunner().invoke(main, ["deploy", "check"])

    return run_check
