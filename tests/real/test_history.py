"""Access logs of a real registry and of nginx before it say what the events of the same time say."""

import base64
import http.client
import re
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner
from conftest import PASSWORDS, Skopeo, podman_with
from engines import NGINX_TEMPORARY, daemon, needs, run, without_tls
from makers import INDEX, MANIFEST
from servers import HOST, PATIENCE, free_port, listens, wait_until

from regstats.cli import main
from regstats.stats import Stats

README = Path(__file__).parents[2] / "README.md"
QUESTIONS = {
    "pulls": ("repository,tag,client,client_version,client_address", ("pulls", "downloads", "requests")),
    "pushes": ("repository,tag,client,client_address", ("pushes",)),
}
"""What can be asked of every log, by what, and which of the answers."""


class Proxy:
    """nginx before a registry, with two logs: combined, and the format that the README tells people to use."""

    def __init__(self, folder, registry):
        self.port = free_port()
        self.address, self._folder = f"{HOST}:{self.port}", folder
        folder.mkdir()
        (own,) = re.findall(r"```nginx\n(.*?)```", README.read_text(), re.DOTALL)
        temporary = "".join(f"{name}_temp_path {folder}/{name};\n" for name in NGINX_TEMPORARY)
        (folder / "nginx.conf").write_text(f"""
            daemon off; pid {folder}/pid; error_log {folder}/error.log;
            events {{}}
            http {{
              {temporary} {own}
              access_log {folder}/combined.log combined; access_log {folder}/own.log registry;
              server {{
                listen {self.address}; client_max_body_size 0; proxy_request_buffering off; proxy_buffering off;
                location / {{
                  proxy_pass http://{registry.address};
                  proxy_set_header Host $http_host; proxy_set_header X-Forwarded-For $remote_addr;
                }}
              }}
            }}""")

    @property
    def logs(self):
        return {name: self._folder / f"{name}.log" for name in ("combined", "own")}

    @contextmanager
    def running(self):
        with daemon(self._folder / "log", "nginx", "-c", f"{self._folder}/nginx.conf"):
            wait_until(lambda: listens(self.port), "nginx")
            yield self


@pytest.fixture
def proxy(tmp_path, registry):
    needs("nginx")
    with Proxy(tmp_path / "nginx", registry).running() as made:
        yield made


def asked(place, method, path, agent="watcher/1.0", actor="bob"):
    login = base64.b64encode(f"{actor}:{PASSWORDS[actor]}".encode()).decode()
    connection = http.client.HTTPConnection(*place.split(":"), timeout=PATIENCE)
    headers = {"Authorization": f"Basic {login}", "User-Agent": agent, "Accept": f"{MANIFEST}, {INDEX}"}
    connection.request(method, path, headers=headers)
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer.status


def work(proxy, skopeo, make_image, name):
    """What people do with a repository, and what they look at."""
    one, two, many = make_image(f"{name}-1"), make_image(f"{name}-2"), make_image(f"{name}-3", ("amd64", "arm64"))
    skopeo.push(one, f"team/{name}:1.0")
    skopeo.push(one, f"team/{name}:latest")
    skopeo.push(two, f"team/{name}:latest", actor="bob")
    skopeo.push(many, f"team/{name}-all:1.0")
    for tag in ("1.0", "latest", "latest"):
        skopeo.pull(f"team/{name}:{tag}")
    skopeo.pull(f"team/{name}@{two.digest}")
    skopeo.pull(f"team/{name}-all:1.0")
    run("skopeo", "copy", "--all", "--src-tls-verify=false", "--src-creds", "bob:bob-password",
        f"docker://{proxy.address}/team/{name}-all:1.0", f"dir:{many.folder}/copy")  # fmt: skip
    for _ in range(3):
        assert 200 == asked(proxy.address, "HEAD", f"/v2/team/{name}/manifests/latest")
    assert 404 == asked(proxy.address, "GET", f"/v2/team/{name}/manifests/nosuch")
    assert 200 == asked(proxy.address, "GET", f"/v2/team/{name}/tags/list")
    assert 200 == asked(proxy.address, "HEAD", f"/v2/team/{name}/manifests/latest", agent='we"ird \\agent é')


def told(data, columns=()):
    """What a store says to the questions, as text that can be compared."""
    stats, answers = Stats(data), []
    for metric, (names, measures) in QUESTIONS.items():
        by = [*names.split(","), *columns]
        rows = getattr(stats, metric)(interval="total", by=by).to_dict("records")
        rows = [row for row in rows if any(row[measure] for measure in measures)]
        answers += [f"{metric} {[str(row[column]) for column in (*by, *measures)]}" for row in rows]
    return sorted(answers)


def imported(data, *logs):
    done = CliRunner().invoke(main, ["import", "--data", str(data), *map(str, logs)])
    assert 0 == done.exit_code, done.output
    return done.output


def logging(registry, formatter):
    """A registry that logs as it does if nobody says anything, in that form."""
    return registry.configure(
        ("log: {level: error, accesslog: {disabled: true}}", f"log: {{level: info, formatter: {formatter}}}")
    )


@pytest.mark.slow
@pytest.mark.parametrize("formatter", ["text", "json"])
def test_logs_say_what_events_say(formatter, collector, registry, proxy, tmp_path, make_image, patiently):
    """The same pulls and pushes, of skopeo, podman and others, from each log; together they count once."""
    needs("skopeo", "podman")
    logging(registry, formatter)
    collector.start()
    work(proxy, Skopeo(proxy, tmp_path), make_image, "api")
    podman = podman_with(tmp_path, without_tls(proxy.address))
    for name in ("api-all:1.0", "api:1.0", "api:1.0"):
        podman("pull", f"{proxy.address}/team/{name}")
    Skopeo(proxy, tmp_path).delete("team/api:1.0")
    patiently(1, lambda: collector.total("activity", "deletes"))
    collector.stop()
    live = told(collector.data)
    logs = {"registry": tmp_path / "registry/log"} | proxy.logs
    for name, log in logs.items():
        imported(tmp_path / f"of-{name}", log)
        assert live == told(tmp_path / f"of-{name}"), name
    assert told(collector.data, ["actor"]) == told(tmp_path / "of-combined", ["actor"])
    assert told(collector.data, ["actor", "digest"]) == told(tmp_path / "of-own", ["actor", "digest"])
    for name in logs:
        imported(tmp_path / f"of-{name}", *logs.values())
        assert live == told(tmp_path / f"of-{name}"), name
    said = imported(collector.data, *logs.values())
    assert {"0"} == set(re.findall(r"(\d+) new events", said)), said
    assert live == told(collector.data)


@pytest.mark.slow
def test_the_day_on_which_the_collector_was_started(collector, registry, proxy, tmp_path, make_image, patiently):
    """What the registry could not tell before is in the logs, and what it told is not counted again."""
    needs("skopeo")
    logging(registry, "text")
    skopeo = Skopeo(proxy, tmp_path)
    work(proxy, skopeo, make_image, "old")
    registry.configure()  # it forgets what it could not deliver
    collector.start()
    work(proxy, skopeo, make_image, "new")
    skopeo.pull("team/old:1.0")
    patiently(4, lambda: collector.total("pulls", "pulls", "--repository", "team/new"))
    patiently(1, lambda: collector.total("pulls", "downloads", "--repository", "team/old"))  # its blobs come last
    whole = tmp_path / "whole"
    imported(whole, proxy.logs["own"])
    for log in (proxy.logs["combined"], tmp_path / "registry/log", proxy.logs["own"]):
        imported(collector.data, log)
        assert told(whole) == told(collector.data)
    assert [] == [line for line in told(whole) if "team/old" not in line and "team/new" not in line]
