"""`regstats doctor` of a real registry, a real collector, and a real proxy before either: each mistake is named."""

import contextlib
import json
import os
import signal
import subprocess
import sys

import pytest
from conftest import PASSWORDS
from engines import daemon, needs
from makers import MANIFEST
from servers import HOST, PATIENCE, free_port, listens, wait_until

from regstats import registry_config
from regstats.stats import Stats

PASSWORD = PASSWORDS["alice"] + "\n"
NGINX = """
daemon off; worker_processes 1; pid nginx.pid; error_log error.log;
events {{ worker_connections 256; }}
http {{
  access_log off; client_max_body_size 0;
  client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path f; uwsgi_temp_path u; scgi_temp_path s;
  server {{ listen {host}:{port}; location / {{ {says} }} }}
}}
"""
NO_START = """\
version: 0.1
storage: {{filesystem: {{rootdirectory: {folder}}}}}
http: {{addr: "127.0.0.1:{port}", secret: test}}
notifications:
  endpoints:
    - name: regstats
      url: http://127.0.0.1:1/events
      {line}
"""
PASS = "proxy_pass http://{address}; proxy_set_header Host $http_host;"
FORWARD = f"{PASS} proxy_set_header X-Forwarded-For {{what}};"


class Diagnosis:
    """What one call of the command said."""

    def __init__(self, status, text):
        self.status, self.findings = status, json.loads(text)

    def of(self, status, check=None):
        """What is said of these."""
        return [one["what"] for one in self.findings if one["status"] == status and check in (None, one["check"])]

    def remedy(self, part):
        """Of the one finding that says this."""
        (found,) = [one["remedy"] for one in self.findings if part in one["what"]]
        return found


@pytest.fixture
def environment(tmp_path):
    """Without the logins of whoever runs the tests."""
    own = {key: value for key, value in os.environ.items() if not key.startswith(("REGSTATS_", "REGISTRY_"))}
    return own | {"HOME": str(tmp_path), "DOCKER_CONFIG": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path)}


@pytest.fixture
def examine(collector, registry, tmp_path, environment):
    """Runs the command, with what it needs to see everything; it never shows a secret."""

    def run(*options, program="doctor", **replaced):
        given = {"registry": registry.address, "registry-config": registry.config, "token": collector.token,
                 "data": collector.data, "username": "alice", **replaced}  # fmt: skip
        named = [text for name, value in given.items() if value is not None for text in (f"--{name}", str(value))]
        command = [sys.executable, "-m", "regstats", program, *named, "--password-stdin", "--format", "json", *options]
        done = subprocess.run(
            command, input=PASSWORD, capture_output=True, text=True, timeout=PATIENCE, env=environment, cwd=tmp_path
        )
        assert done.stderr == ""
        assert collector.token not in done.stdout
        assert PASSWORDS["alice"] not in done.stdout
        return Diagnosis(done.returncode, done.stdout)

    return run


@pytest.fixture
def nginx(tmp_path):
    """Starts a real nginx that says something at every address; its port."""
    needs("nginx")
    with contextlib.ExitStack() as started:

        def start(says):
            port = free_port()
            folder = tmp_path / f"nginx-{port}"
            folder.mkdir()
            (folder / "nginx.conf").write_text(NGINX.format(host=HOST, port=port, says=says))
            command = ["nginx", "-p", str(folder), "-e", str(folder / "error.log"), "-c", str(folder / "nginx.conf")]
            started.enter_context(daemon(folder / "log", *command))
            wait_until(lambda: listens(port), "nginx")
            return port

        yield start


def test_all_is_well(collector, registry, examine):
    """From the configuration to the store; what was tried is gone, and is not counted."""
    debug = free_port()
    registry.configure(("secret: test", f'secret: test, debug: {{addr: "{HOST}:{debug}"}}'))
    collector.start()
    seen = examine("--probe")
    assert (0, [], []) == (seen.status, seen.of("problem"), seen.of("skipped"))
    expected = ["configuration", "collector", "registry", "queue", "probe"]
    assert all(seen.of("ok", check) for check in expected), seen.findings
    (came,) = [what for what in seen.of("ok", "probe") if "push, pull, delete" in what]
    assert "as `default`" in came
    assert any("'alice'" in what for what in seen.of("ok", "probe"))
    assert [] == collector.ask("pushes") == collector.ask("pulls") == collector.ask("activity")
    (was,) = collector.ask("history", "--repository", "regstats-doctor/probe")[:1]
    assert "alice" == was["actor"]
    assert 404 == registry.request("GET", f"/v2/regstats-doctor/probe/manifests/{was['digest']}", Accept=MANIFEST)
    again = examine()
    assert (0, []) == (again.status, again.of("problem"))
    assert any("events of `default`" in what for what in again.of("ok", "store"))
    assert [] == collector.ask("quarantine")


def test_nobody_listens(collector, registry, examine):
    """What depends on the collector is left out."""
    seen = examine("--probe")
    assert 1 == seen.status
    (what,) = seen.of("problem", "collector")
    assert "Connection refused" in what
    assert "regstats serve" in seen.remedy("Connection refused")
    assert seen.of("skipped", "probe")
    assert 404 == registry.request("GET", "/v2/regstats-doctor/probe/tags/list")


def test_a_wrong_token(collector, registry, examine):
    """It is found in the file; and without knowing the right one by asking as the registry would."""
    collector.start()
    registry.configure((collector.token, "another"))
    seen = examine(collector=collector.url)
    assert (1, ["`regstats` shows another token than its source has"]) == (
        seen.status,
        seen.of("problem"),
    )
    assert "Authorization: [Bearer TOKEN]" in seen.remedy("shows another token")
    asked = examine(token=None)
    assert 1 == asked.status
    (what,) = asked.of("problem")
    assert "answers 401, with what the registry shows" in what
    assert [] == collector.ask("quarantine")
    assert examine("--probe").of("skipped", "probe")
    stale = examine(token="stale", collector=collector.url)
    assert any("does not take the token that the settings have" in what for what in stale.of("problem", "collector"))


@pytest.mark.parametrize(
    ("path", "expected"),
    [("/events/nosuch", "answers 404, with its token: there is no source `nosuch`"),
     ("/event", "`regstats` sends to /event, which is no path for deliveries")],
)  # fmt: skip
def test_a_wrong_path(collector, registry, examine, path, expected):
    """A source that is not there, and what is none."""
    collector.start()
    registry.configure(("/events\n", f"{path}\n"))
    seen = examine(collector=collector.url)
    assert 1 == seen.status
    assert any(expected in what for what in seen.of("problem")), seen.findings


def test_a_redirect_on_the_way(collector, registry, examine, nginx):
    """The registry follows it with nothing, so that is said before anything is lost; and where it leads."""
    collector.start()
    port = nginx(f"return 301 {collector.url}$request_uri;")
    registry.configure((f":{collector.port}/", f":{port}/"))
    seen = examine("--probe")
    assert 1 == seen.status
    (what,) = seen.of("problem", "collector")
    assert f"redirects to {collector.url}/events (301)" in what
    assert f"url: {collector.url}/events" in seen.remedy("redirects to")
    assert seen.of("skipped", "probe")


@pytest.mark.parametrize(
    ("line", "expected", "status"),
    [("ignore: {actions: [pull], mediatypes: [application/x-none]}", "no pull came", 1),
     ("ignore: {actions: [pull]}", "push, pull, delete of", 0)],
)  # fmt: skip
def test_ignored_actions(collector, registry, examine, line, expected, status):
    """They are ignored only with a media type beside them: so says the check of the file, and the probe sees it."""
    collector.start()
    registry.configure(("timeout: 3s", f"{line}\n      timeout: 3s"))
    said = examine().of("problem" if status else "warning", "configuration")
    assert any("pull is not told" in what for what in said)
    assert bool(status) != any("does nothing alone before" in what for what in said)
    seen = examine("--probe", "--wait", "3", **{"registry-config": None, "collector": collector.url})
    assert status == seen.status
    assert any(expected in what for what in seen.of("problem" if status else "ok", "probe")), seen.findings


def test_what_a_probe_waits_for_in_vain(collector, registry, examine):
    """Without the file only the probe shows it, and the queue says why."""
    debug = free_port()
    told = "secret: test", f'secret: test, debug: {{addr: "{HOST}:{debug}"}}'
    registry.configure(told, (collector.token, "another"))
    collector.start()
    unknown = {"registry-config": None, "collector": collector.url, "debug": f"{HOST}:{debug}"}
    seen = examine("--probe", "--wait", "1", **unknown)
    assert 1 == seen.status
    (what,) = seen.of("problem", "probe")
    assert "nothing of regstats-doctor/probe:doctor-" in what
    assert any("401 Unauthorized" in what for what in seen.of("problem", "queue"))
    assert examine("--probe", **unknown).of("skipped", "probe")


def test_what_waits(collector, registry, skopeo, make_image, examine):
    """And why, as the running registry says; with another file than it runs with, that."""
    debug = free_port()
    told = "secret: test", f'secret: test, debug: {{addr: "{HOST}:{debug}"}}'
    registry.configure(told, (collector.token, "another"))
    collector.start()
    skopeo.push(make_image("one"), "team/app:1.0")
    seen = examine(debug=f"{HOST}:{debug}", collector=collector.url)
    (what,) = seen.of("problem", "queue")
    assert "0 delivered" in what
    assert "401 Unauthorized: the token is not that of the source `default`" in what
    assert "Authorization: [Bearer TOKEN]" in seen.remedy("401 Unauthorized")
    assert any("deliveries of default were not taken: unauthorized" in what for what in seen.of("warning", "collector"))
    other = registry.config.with_name("other.yml")
    other.write_text(registry.config.read_text().replace("another", collector.token).replace("/events", "/events/lab"))
    seen = examine(**{"registry-config": other})
    assert any("runs with another configuration" in what for what in seen.of("problem", "queue"))


def test_what_has_waited(collector, registry, skopeo, make_image, examine):
    """It is over, so it is no problem any more."""
    debug = free_port()
    told = "secret: test", f'secret: test, debug: {{addr: "{HOST}:{debug}"}}'
    registry.configure(told, ("backoff: 5s", "backoff: 1s"))
    skopeo.push(make_image("one"), "team/app:1.0")
    assert any("times no answer" in what for what in examine().of("problem", "queue"))
    collector.start()
    wait_until(lambda: not examine().of("problem", "queue"), "the end of the queue")
    seen = examine()
    assert (0, []) == (seen.status, seen.of("problem"))
    assert any("0 wait; that is over" in what for what in seen.of("hint", "queue"))


@pytest.mark.parametrize(
    ("what", "bind", "forged", "hidden"),
    [("$remote_addr", "127.0.0.1", False, False), ("$proxy_add_x_forwarded_for", "127.0.0.1", True, False),
     (None, "127.0.0.9", True, True)],
)  # fmt: skip
def test_a_proxy_before_the_registry(collector, registry, examine, nginx, what, bind, forged, hidden):
    """One that says for whom it asks, one that believes everybody, one that says nothing of its own."""
    collector.start()
    says = (FORWARD if what else PASS).format(address=registry.address, what=what)
    port = nginx(f"proxy_bind {bind}; {says}")
    seen = examine("--probe", registry=f"{HOST}:{port}")
    assert (0, []) == (seen.status, seen.of("problem"))
    warnings = seen.of("warning", "probe")
    assert forged == any("addresses can be forged" in warning for warning in warnings), seen.findings
    assert hidden == any(f"is {bind} in the events" in warning for warning in warnings)
    assert (not hidden) == any(f"is at {HOST} in the events" in what for what in seen.of("ok", "probe"))
    if forged:
        assert "proxy_set_header X-Forwarded-For $remote_addr;" in seen.remedy("addresses can be forged")


def test_whoever_may_not_push(collector, registry, examine, nginx):
    """A proxy that lets nobody write: the probe says so, and nothing is left."""
    collector.start()
    says = "limit_except GET HEAD { deny all; } " + FORWARD.format(address=registry.address, what="$remote_addr")
    seen = examine("--probe", registry=f"{HOST}:{nginx(says)}")
    assert 1 == seen.status
    (what,) = seen.of("problem", "probe")
    assert "does not allow alice to do this (POST)" in what


def test_a_wrong_password(collector, registry, examine):
    """Nothing is tried then."""
    collector.start()
    seen = examine("--probe", username="bob")
    assert 1 == seen.status
    assert any("refuses bob: wrong user or password" in what for what in seen.of("problem", "registry"))
    assert seen.of("skipped", "probe")


def test_where_nothing_can_be_deleted(collector, registry, examine):
    """What remains is named, and what to write."""
    collector.start()
    registry.configure(("delete: {enabled: true}", "delete: {enabled: false}"))
    seen = examine("--probe")
    assert 0 == seen.status
    (what,) = seen.of("hint", "probe")
    assert "remains" in what
    assert "405" in what
    assert any("push, pull of" in what for what in seen.of("ok", "probe"))


@pytest.mark.parametrize(
    "line",
    ["headers: {Authorization: Bearer x}", "timeout: 3 s", "timeout: 1d", "timeout: true", "threshold: 5s",
     "ignore: pull", "ignoredmediatypes: x", 'disabled: "true"'],
)  # fmt: skip
def test_with_what_a_registry_does_not_start(tmp_path, line):
    """The doctor says so, and it is so."""
    needs("docker-registry")
    file = tmp_path / "config.yml"
    file.write_text(NO_START.format(folder=tmp_path, port=free_port(), line=line))
    _, findings = registry_config.examine(registry_config.read(file), registry_config.Wanted())
    assert any("the registry does not start" in one.what and one.status == "problem" for one in findings)
    clean = {key: value for key, value in os.environ.items() if not key.startswith("REGISTRY_")}
    command = ["docker-registry", "serve", str(file)]
    done = subprocess.run(command, env=clean, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode != 0
    assert "line 8: cannot unmarshal" in done.stderr


def has_been_asked_for(collector):
    """Whether the probe has got so far: a registry tells of a push before the tag is there."""
    pulls = "select count(*) from events where action = 'pull' and repository = 'team/probe' and kind <> 'blob'"
    return collector.data.exists() and Stats(collector.data).sql(pulls).fetchall()[0][0]


def test_ctrl_c_leaves_nothing(collector, registry, nginx, environment, tmp_path):
    """Not even while what was pushed is read, which takes minutes here."""
    collector.start()
    to = FORWARD.format(address=registry.address, what="$remote_addr")
    port = nginx(f"{to} }} location ~ /manifests/ {{ {to} if ($request_method = GET) {{ set $limit_rate 1; }}")
    command = [sys.executable, "-m", "regstats", "doctor", "--registry", f"{HOST}:{port}", "--username", "alice",
               "--password-stdin", "--data", collector.data, "--collector", collector.url, "--token", collector.token,
               "--probe", "team/probe"]  # fmt: skip
    tags = tmp_path / "registry/data/docker/registry/v2/repositories/team/probe/_manifests/tags"
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as running:
        running.stdin.write(PASSWORD)
        running.stdin.close()
        wait_until(lambda: has_been_asked_for(collector), "the push, and the first question after it")
        assert list(tags.iterdir())
        running.send_signal(signal.SIGINT)
        assert 130 == running.wait(PATIENCE)
    assert [] == list(tags.iterdir())
