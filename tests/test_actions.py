"""What rules do: commands and requests, with whatever names somebody has pushed."""

import base64
import hashlib
import hmac
import json
import os
import signal
import sys
import threading
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import msgspec
import pytest
from makers import NOW, A, B
from servers import free_port, wait_until

from regstats import actions, kube, swarm
from regstats.actions import Job, act, arguments
from regstats.errors import ActionError, ConfigError
from regstats.events import Change
from regstats.journal import lock
from regstats.rules import Rule

NASTY = ["1;rm -rf ~", "$(id)", "`id`", "a\nb", "x" * 128, "' \" \\", "{tag}{actor}", "*", "| tee /tmp/x", "%s%n"]
NASTY += ["ü\u202e"]
RECORDING = "import json, os, sys; print(json.dumps([sys.argv[1:], dict(os.environ)]))"


def change(**changes):
    own = {"timestamp": NOW, "source": "default", "repository": "team/app", "tag": "1.3", "digest": A, "before": None}
    return Change(**own | {"media_type": None, "actor": "ci", "client_address": None, "event_id": "e1"} | changes)


def rule(**changes):
    return msgspec.convert({"name": "app", "match": {"repository": "team/*"}} | changes, Rule)


@pytest.fixture
def do(tmp_path):
    stop = threading.Event()

    def do(one, its=None):
        return act(Job(one, its or change(), "0123456789abcdef", tmp_path / "it.out", stop))

    do.stop, do.output = stop, tmp_path / "it.out"
    return do


def python(text, *words, **changes):
    return rule(command=[sys.executable, "-c", text, *words], **changes)


# Commands


@pytest.mark.parametrize("text", NASTY)
def test_whatever_a_name_is_it_is_one_argument_and_no_more(do, text):
    one = python(RECORDING, "{repository}", "--tag={tag}", "{actor}", "{before}")
    outcome = do(one, change(repository=text, tag=text, actor=text))
    heard, environment = json.loads(outcome.output)
    assert (True, "exit status 0", [text, f"--tag={text}", text, ""]) == (outcome.ok, outcome.why, heard)
    assert (text, text) == (environment["REGSTATS_TAG"], environment["REGSTATS_REPOSITORY"])


def test_nothing_that_somebody_wrote_is_an_option():
    its = change(tag="--privileged")
    with pytest.raises(ConfigError, match=r"'\{tag\}' would be '--privileged', which the program may take"):
        arguments(rule(command=["deploy", "{tag}"]), its)
    assert ["deploy", "--", "--privileged"] == arguments(rule(command=["deploy", "--", "{tag}"]), its)
    assert ["deploy", "--tag=--privileged"] == arguments(rule(command=["deploy", "--tag={tag}"]), its)


def test_an_option_is_refused_and_not_tried_again(do):
    outcome = do(python(RECORDING, "{tag}"), change(tag="--privileged"))
    assert (False, False, "") == (outcome.ok, outcome.again, outcome.output)


def test_who_pushes_does_not_choose_the_program():
    with pytest.raises(msgspec.ValidationError, match="would let who pushes choose the program"):
        rule(command=["/opt/{tag}"])


def test_the_environment(do, monkeypatch):
    monkeypatch.setenv("REGSTATS_TOKEN", "secret")
    monkeypatch.setenv("OWN", "kept")
    _, environment = json.loads(do(python(RECORDING), change(actor=None)).output)
    assert "secret" not in environment.values()
    fields = {"DIGEST": A, "ACTOR": "", "RULE": "app", "KIND": "manifest", "DEPLOYMENT_ID": "0123456789abcdef"}
    fields |= {"TIMESTAMP": NOW.isoformat()}
    assert {"OWN": "kept", **{f"REGSTATS_{name}": text for name, text in fields.items()}}.items() <= environment.items()


@pytest.mark.parametrize(
    ("text", "ok", "why", "output"),
    [
        ("print('fine')", True, "exit status 0", "fine\n"),
        ("import sys; print('oh', file=sys.stderr); sys.exit(3)", False, "exit status 3", "oh\n"),
        ("import os; os.kill(os.getpid(), 9)", False, "ended by SIGKILL", ""),
        ("print('x' * 10_000 + 'end')", True, "exit status 0", "x" * 3996 + "end\n"),
        ("import os; os.write(1, b'\\xff\\xfe')", True, "exit status 0", "\ufffd\ufffd"),
        ("print(len(input('')))", False, "exit status 1", None),
    ],
)
def test_what_came_of_it(do, text, ok, why, output):
    outcome = do(python(text))
    assert (ok, why) == (outcome.ok, outcome.why)
    assert output in (None, outcome.output)
    assert not do.output.exists()


STUBBORN = "trap '' TERM; sleep 600 & echo $!; wait; wait; sleep 600"


@pytest.mark.parametrize("text", [STUBBORN, "sleep 600 & echo $!; wait"])
def test_what_takes_too_long_is_ended_with_all_that_it_started(do, monkeypatch, text):
    monkeypatch.setattr(actions, "_GRACE", 0.2)
    outcome = do(rule(command=["sh", "-c", text], timeout="3s"))
    assert (False, "it took more than 3s", True) == (outcome.ok, outcome.why, outcome.again)
    wait_until(lambda: not is_alive(int(outcome.output)), "its child to end")


def is_alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"


def test_what_it_leaves_behind_is_not_waited_for(do):
    """A server that a script starts keeps its output open."""
    outcome = do(rule(command=["sh", "-c", "sleep 600 & echo $!"]))
    assert outcome.ok
    os.kill(int(outcome.output), signal.SIGKILL)


def test_it_is_ended_with_the_collector(do):
    threading.Timer(0.3, do.stop.set).start()
    outcome = do(rule(command=["sleep", "600"]))
    assert (None, "it was ended with the collector") == (outcome.ok, outcome.why)


def test_it_holds_a_lock_as_long_as_it_runs(do, tmp_path):
    """So whoever comes after a collector that was killed knows that it still runs."""
    begun, go = tmp_path / "begun", tmp_path / "go"
    text = f"touch {begun}; until test -e {go}; do sleep 0.05; done"
    thread = threading.Thread(target=do, args=[rule(command=["sh", "-c", text])])
    thread.start()
    wait_until(begun.exists, "the command")
    with do.output.open("ab") as file:
        assert not lock(file.fileno())
        go.touch()
        thread.join()
        assert lock(file.fileno())


def test_one_that_says_too_much_fills_no_disk(do, monkeypatch):
    monkeypatch.setattr(actions, "_MUCH", 10_000)
    sizes, done = [], threading.Event()

    def watch():
        while not done.is_set():
            with suppress(FileNotFoundError):
                sizes.append(do.output.stat().st_size)
            time.sleep(0.01)

    watcher = threading.Thread(target=watch)
    watcher.start()
    text = "for i in $(seq 30); do head -c 5000 /dev/zero | tr '\\0' x; sleep 0.05; done; echo end"
    outcome = do(rule(command=["sh", "-c", text]))
    done.set()
    watcher.join()
    assert max(sizes) < 150_000  # that is what it said in all
    assert outcome.output.endswith("xend\n")


@pytest.mark.parametrize(
    ("word", "tag", "why", "again"),
    [
        ("/nowhere/deploy", "1", "/nowhere/deploy cannot be run: No such file or directory", True),
        ("/etc", "1", "/etc cannot be run: Permission denied", True),
        ("true", "a\0b", "true cannot be run: embedded null byte", False),
    ],
)
def test_what_cannot_be_run(do, word, tag, why, again):
    outcome = do(rule(command=[word, "{tag}"]), change(tag=tag))
    assert (False, why, again) == (outcome.ok, outcome.why, outcome.again)


# Requests


class Target:
    """A server that is asked to deploy."""

    def __init__(self):
        self.requests, self.status, self.text = [], 200, b"started #7\n"
        self.say = lambda: (self.status, {})
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self):
                body = self.rfile.read(int(self.headers["Content-Length"] or 0))
                outer.requests.append((self.command, self.path, dict(self.headers), body))
                status, headers = outer.say()
                self.send_response(status)
                for name, value in ({"Location": "/elsewhere"} | headers).items():
                    self.send_header(name, value)
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(outer.text)

            do_POST = do_PUT = do_HEAD = do_GET = answer  # noqa: N815 - what the library calls

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def close(self):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture
def target():
    it = Target()
    yield it
    it.close()


def test_a_request(do, target, monkeypatch):
    monkeypatch.setenv("DEPLOY_TOKEN", "s3cret")
    body = {"image": "{repository}@{digest}", "list": ["{tag}", 1, None], "by-{tag}": True}
    http = {"url": f"{target.url}/hook/{{tag}}", "body": body, "token": "env:DEPLOY_TOKEN"}
    outcome = do(rule(http=http | {"headers": {"X-Actor": "{actor}"}}))
    assert (True, "it answered 200", "started #7") == (outcome.ok, outcome.why, outcome.output)
    ((method, path, headers, sent),) = target.requests
    assert ("POST", "/hook/1.3") == (method, path)
    assert {"image": f"team/app@{A}", "list": ["1.3", 1, None], "by-1.3": True} == json.loads(sent)
    assert ("Bearer s3cret", "ci", "application/json", "0123456789abcdef") == tuple(
        headers[name] for name in ("Authorization", "X-Actor", "Content-Type", "Idempotency-Key")
    )


def test_other_ways_to_show_who_asks(do, target):
    do(rule(http={"url": target.url, "user": "ü", "password": "p:w", "method": "PUT"}))
    do(rule(http={"url": target.url, "body": {"a": "{tag}"}, "signing_secret": "key"}))
    (method, _, basic, empty), (_, _, signed, body) = target.requests
    assert ("PUT", b"", "ü:p:w") == (method, empty, base64.b64decode(basic["Authorization"].split()[1]).decode())
    assert "sha256=" + hmac.new(b"key", body, hashlib.sha256).hexdigest() == signed["X-Hub-Signature-256"]


@pytest.mark.parametrize("text", [*NASTY, "--privileged", "../../admin", "?a=b#c", "@evil.example/"])
def test_whatever_a_name_is_it_stays_where_it_was_put(do, target, text):
    http = {"url": f"{target.url}/hook/{{tag}}?by={{actor}}", "body": {"tag": "{tag}"}}
    assert do(rule(http=http), change(tag=text, actor=text)).ok
    ((_, path, _, body),) = target.requests
    assert {"tag": text} == json.loads(body)
    assert 2 == path.count("/")
    assert "hook" == path.split("/")[1]
    assert 1 == path.count("?") == path.count("=")


def test_secrets_are_those_that_the_settings_name(do, target, monkeypatch):
    """And not those that somebody pushes."""
    monkeypatch.setenv("SECRET", "s3cret{tag}")
    body = {"token": "env:SECRET", "tag": "{tag}"}
    headers = {"X-Key": "env:SECRET", "X-Tag": "{tag}"}
    do(rule(http={"url": target.url, "headers": headers, "body": body}), change(tag="env:SECRET"))
    ((_, _, headers, sent),) = target.requests
    assert {"token": "s3cret{tag}", "tag": "env:SECRET"} == json.loads(sent)
    assert ("s3cret{tag}", "env:SECRET") == (headers["X-Key"], headers["X-Tag"])


def test_a_header_has_one_line(do, target):
    http = {"url": target.url, "headers": {"X-Tag": "{tag}"}}
    outcome = do(rule(http=http), change(tag="a\r\nX-Admin: yes"))
    assert (False, False, []) == (outcome.ok, outcome.again, target.requests)


@pytest.mark.parametrize(
    ("status", "again"), [(302, False), (400, False), (404, False), (408, True), (429, True), (500, True), (503, True)]
)
def test_what_may_go_better_another_time(do, target, status, again):
    target.status = status
    outcome = do(rule(http={"url": target.url}))
    assert (False, f"it answered {status}", again, 1) == (outcome.ok, outcome.why, outcome.again, len(target.requests))


def test_nobody_there(do):
    outcome = do(rule(http={"url": f"http://127.0.0.1:{free_port()}/secret-path"}))
    why = "it cannot be reached: [Errno 111] Connection refused"
    assert (False, True, why) == (outcome.ok, outcome.again, outcome.why)


@pytest.mark.parametrize(
    ("http", "why"),
    [
        ({"url": "file:///etc/passwd"}, "The url of deploy 'app' does not begin with https:// or http://."),
        ({"url": "{tag}"}, "The url of deploy 'app' does not begin with https:// or http://."),
        ({"url": "env:NOSUCH_URL"}, "the environment variable NOSUCH_URL is not set"),
        ({"url": "http://127.0.0.1:1/", "token": "env:NOSUCH"}, "the environment variable NOSUCH is not set"),
    ],
)
def test_settings_that_cannot_work(do, http, why):
    outcome = do(rule(http=http), change(tag="http://evil.example/"))
    assert (False, False) == (outcome.ok, outcome.again)
    assert why in outcome.why


def test_a_request_takes_no_longer_than_it_may(do, target):
    listener = target.server.socket
    target.server.shutdown()  # accepts nothing any more, and the kernel still answers
    started = time.monotonic()
    outcome = do(rule(http={"url": f"http://127.0.0.1:{listener.getsockname()[1]}"}, timeout="1s"))
    assert (False, True) == (outcome.ok, outcome.again)
    assert time.monotonic() - started < 60


# The registry


def answers(target, *digests):
    """What the registry says one time after the other; the last one for ever."""
    said = list(digests)

    def answer():
        found = said.pop(0) if len(said) > 1 else said[0]
        return (404, {}) if found is None else (200, {"Docker-Content-Digest": found})

    target.say = answer


def checked(target, **changes):
    return rule(command=["echo", "done"], registry={"url": target.url, "user": "u", "password": "p"}, **changes)


@pytest.mark.parametrize("before", [None, B])
def test_it_waits_until_the_registry_has_written_the_tag(do, target, before):
    answers(target, before, before, A)
    outcome = do(checked(target), change(before=before))
    assert (True, 3) == (outcome.ok, len(target.requests))
    method, path, headers, _ = target.requests[0]
    assert ("HEAD", "/v2/team/app/manifests/1.3", "Basic dTpw") == (method, path, headers["Authorization"])


def test_the_registry_says_what_was_pushed_where_the_event_does_not(do, target):
    """Docker Hub and others tell no digest: then it is whatever the tag points to as soon as there is one."""
    answers(target, None, A)
    asked = rule(command=["echo", "{tag}@{digest}"], registry={"url": target.url})
    outcome = do(asked, change(digest="unknown:e1", before="unknown:e0"))
    assert (True, f"1.3@{A}\n") == (outcome.ok, outcome.output)


def test_a_digest_that_nobody_told_cannot_be_filled_in(do):
    """It says so, and does not try again; a command that does not ask for it runs, and its variable is empty."""
    unknown = change(digest="unknown:e1", source="hub")
    outcome = do(rule(command=["echo", "{digest}"]), unknown)
    assert (False, False) == (outcome.ok, outcome.again)
    assert "hub does not tell which digest was pushed" in outcome.why
    assert "[1.3 ]\n" == do(rule(command=["sh", "-c", 'echo "[$REGSTATS_TAG $REGSTATS_DIGEST]"']), unknown).output


def test_what_has_been_overwritten_is_skipped(do, target):
    answers(target, "sha256:" + "c" * 64)
    outcome = do(checked(target), change(before=B))
    assert (False, True, f"by now the tag points to sha256:{'c' * 64}") == (outcome.ok, outcome.skip, outcome.why)


@pytest.mark.parametrize(("found", "why"), [(None, "has no such tag"), (B, f"says that the tag still points to {B}")])
def test_what_the_registry_does_not_have_is_tried_again(do, target, found, why, monkeypatch):
    monkeypatch.setattr(actions, "_WRITING", 0.5)
    answers(target, found)
    outcome = do(checked(target), change(before=B))
    assert (False, False, True, f"the registry {why}") == (outcome.ok, outcome.skip, outcome.again, outcome.why)


def test_a_tag_that_is_to_be_gone(do, target):
    answers(target, A, None)
    assert do(checked(target), change(digest=None, before=A)).ok


@pytest.mark.parametrize(("status", "again"), [(403, False), (500, True)])
def test_a_registry_that_does_not_say(do, target, status, again):
    target.say = lambda: (status, {})
    outcome = do(checked(target))
    assert (False, again) == (outcome.ok, outcome.again)
    assert outcome.why.startswith(target.url.removeprefix("http://"))


def test_a_registry_with_a_token_service(do, target):
    def answer():
        method, _, headers, _ = target.requests[-1]
        if headers.get("Authorization") == "Bearer t0ken":
            return 200, {"Docker-Content-Digest": A}
        scope = 'scope="repository:team/app:pull"'
        asked = f'Bearer realm="{target.url}/token",service="registry",{scope}'
        return (200, {}) if method == "GET" else (401, {"WWW-Authenticate": asked})

    target.say, target.text = answer, b'{"token": "t0ken"}'
    assert do(checked(target)).ok
    _, (method, path, headers, _), _ = target.requests
    assert ("GET", "/token?service=registry&scope=repository%3Ateam%2Fapp%3Apull") == (method, path)
    assert "Basic dTpw" == headers["Authorization"]


@pytest.mark.parametrize("tag", ["../../../admin", "a?b", "a#b", "%2e%2e"])
def test_what_is_looked_up_is_the_tag(do, target, tag):
    answers(target, A)
    assert do(checked(target), change(tag=tag, repository="team/app")).ok
    ((_, path, _, _),) = target.requests
    assert path.startswith("/v2/team/app/manifests/")
    assert 5 == path.count("/")


# Swarm and Kubernetes


@pytest.mark.parametrize(
    ("name", "module", "settings", "image"),
    [
        ("docker_service", swarm, {"name": "app", "image": "r:5000/{repository}@{digest}"}, f"r:5000/team/app@{A}"),
        ("kubernetes", kube, {"deployment": "app", "image": "r:5000/{repository}:{tag}"}, "r:5000/team/app:1.3"),
    ],
)
def test_other_actions_get_what_is_filled_in(do, monkeypatch, name, module, settings, image):
    asked = []

    def deploy(wanted, deadline, say):
        asked.append((wanted.image, deadline))
        say("one")
        if len(asked) > 1:
            raise ActionError("it is paused", again=False)

    monkeypatch.setattr(module, "deploy", deploy)
    one = rule(**{name: settings}, timeout="2m")
    assert (True, "it runs", "one") == do(one)[:3]
    assert (False, "it is paused", "one", False) == do(one)[:4]
    assert [(image, 120.0)] * 2 == asked
