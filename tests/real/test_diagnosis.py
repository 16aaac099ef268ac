"""`regstats doctor` looks at a real registry, a real collector, and a real proxy between them."""

import json
import subprocess
import sys

import pytest
from distribution import running
from engines import needs, nginx_of
from servers import HOST, PATIENCE, free_port, wait_until

NOTIFICATIONS = """
notifications:
  events: {{{{includereferences: true}}}}
  endpoints:
    - name: regstats
      url: {url}
      headers: {{{{Authorization: [Bearer {token}]}}}}
      timeout: 3s
      threshold: 5
      backoff: 500ms
"""


class Setup:
    """A registry that tells a collector, or is to."""

    def __init__(self, folder, collector):
        self.folder, self.collector, self._count = folder, collector, 0
        self.debug = free_port()

    def registry(self, url=None, token="collector-token", more=""):
        self._count += 1
        text = NOTIFICATIONS.format(url=url or f"{self.collector.url}/events", token=token) + more
        debug = {"REGISTRY_HTTP_DEBUG_ADDR": f"{HOST}:{self.debug}"}
        return running(self.folder / f"registry-{self._count}", text, **debug)

    def told(self, registry, *arguments, status=0):
        """The findings, by what was looked at."""
        command = [
            sys.executable, "-m", "regstats", "doctor", "--registry", registry.address, "--registry-config",
            str(registry.config), "--collector", self.collector.url, "--token", self.collector.token, "--debug",
            f"http://{HOST}:{self.debug}/debug/vars", "--data", str(self.collector.data), "--format", "json",
            *map(str, arguments),
        ]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE * 2)
        assert status == done.returncode, done.stdout + done.stderr
        found = {}
        for row in json.loads(done.stdout):
            found.setdefault(row["check"], []).append((row["status"], row["what"], row["remedy"]))
        return found


@pytest.fixture
def setup(tmp_path, collector):
    needs("docker-registry")
    return Setup(tmp_path, collector)


def test_all_is_well(setup):
    """Everything is looked at; a push, a pull and a delete arrive, and nothing is left at the registry."""
    setup.collector.start()
    with setup.registry() as registry:
        found = setup.told(registry, "--probe")
        assert {"endpoint", "collector", "registry", "queue", "store", "probe", "address"} == found.keys()
        ((status, what, _),) = found["probe"]
        assert "ok" == status
        assert what.startswith("the push and the pull and the delete arrived")
        assert what.endswith("as those of nobody known.")
        ((_, what, remedy),) = found["address"]
        assert "Clients choose the address" in what
        assert "regstats config nginx" in remedy
        assert [] == list(registry.storage.rglob("_manifests/tags/*"))
        asked = len(registry.written())
        later = setup.told(registry)
        assert asked == len(registry.written()), "without --probe it only asks"
        assert "events of 'default' are in the store" in later["store"][0][1]


def test_a_wrong_token_and_what_waits_because_of_it(setup):
    """It is said by the configuration, and by the registry itself."""
    setup.collector.start()
    with setup.registry(token="wrong") as registry:
        found = setup.told(registry, "--probe", "--wait", "1", status=1)
        assert "shows another token" in found["token"][0][1]
        assert "Nothing of what was pushed arrived" in found["probe"][0][1]

        def refused():
            ((status, what, _),) = setup.told(registry, status=1)["queue"]
            return status == "problem" and "the token is wrong" in what

        wait_until(refused, "the registry's queue")


def test_a_source_that_is_not_known(setup):
    setup.collector.start()
    with setup.registry(f"{setup.collector.url}/events/shop") as registry:
        found = setup.told(registry, "--source", "shop", status=1)
        assert "'shop', which the collector does not know" in found["source"][0][1]
        assert "does not know the source 'shop' (404)" in found["collector"][0][1]


def test_no_collector(setup):
    with setup.registry() as registry:
        ((status, what, remedy),) = setup.told(registry, status=1)["collector"]
        assert ("problem", True, True) == (status, "Connection refused" in what, "regstats serve" in remedy)


def test_a_collector_with_another_token(setup):
    setup.collector.start()
    with setup.registry() as registry:
        found = setup.told(registry, "--token", "another", status=1)
        assert "wants another token than the settings have (401)" in found["collector"][0][1]


def test_a_proxy_that_redirects(setup, tmp_path):
    """What is lost then: everything, and nobody would notice."""
    setup.collector.start()
    redirect = f"return 301 {setup.collector.url}$request_uri;"
    with nginx_of(tmp_path, redirect) as port, setup.registry(f"http://{HOST}:{port}/events") as registry:
        address = ["--collector", f"http://{HOST}:{port}"]
        found = setup.told(registry, *address, "--probe", "--wait", "1", status=1)
    ((status, what, remedy),) = found["collector"]
    assert "problem" == status
    assert f"redirects to {setup.collector.url}/events" in what
    assert f"{setup.collector.url}/events exactly" in remedy
    assert "Nothing of what was pushed arrived" in found["probe"][0][1]


@pytest.mark.parametrize(
    ("forwarding", "expected"),
    [
        ("proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;", "Clients choose the address"),
        ("proxy_set_header X-Forwarded-For $remote_addr; proxy_set_header X-Real-IP $remote_addr;", None),
    ],
)
def test_what_a_proxy_says_of_clients(setup, tmp_path, forwarding, expected):
    """Whether it passes on what they say of themselves."""
    setup.collector.start()
    with setup.registry() as registry:
        passes = f"proxy_pass http://{registry.address}; proxy_set_header Host $http_host; {forwarding}"
        with nginx_of(tmp_path, passes) as port:
            found = setup.told(registry, "--registry", f"{HOST}:{port}", "--probe")
            assert expected in found["address"][0][1] if expected else "address" not in found


def test_a_registry_that_lets_nothing_be_deleted(setup):
    """What is left there is said."""
    setup.collector.start()
    with setup.registry() as registry:
        registry.config.write_text(
            registry.config.read_text().replace("delete: {enabled: true}", "delete: {enabled: false}")
        )
        registry.restart()
        found = setup.told(registry, "--probe")
        assert any("is left at the registry" in what for _, what, _ in found["probe"])
        assert any("the push and the pull arrived" in what for _, what, _ in found["probe"])
        assert "Nothing can be deleted" in found["delete"][0][1]


def test_passwords_and_tokens_are_nowhere(setup):
    """Whatever goes wrong."""
    with setup.registry(token="wrong-secret") as registry:
        assert "secret" not in json.dumps(setup.told(registry, "--token", "right-secret", status=1))
