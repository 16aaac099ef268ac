"""Deployments of Kubernetes: a server of our own on loopback answers as Kubernetes does."""

import json
import os
import re
import ssl
import sys
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import msgspec
import pytest
import trustme
from servers import HOST, free_port

from regstats import kube
from regstats.errors import ActionError, MissingExtraError
from regstats.rules import Kubernetes

incluster_config = pytest.importorskip("kubernetes.config.incluster_config")

TOKEN = "a-token-that-nobody-is-to-see"
PATH = "/apis/apps/v1/namespaces/shop/deployments/web"
OLD, NEW = "registry.example/web:1.0", "registry.example/web:1.1@sha256:" + "1" * 64
CONFIG = """
apiVersion: v1
kind: Config
current-context: CURRENT
clusters:
- {name: here, cluster: {server: "ADDRESS"}}
- {name: nowhere, cluster: {server: "http://127.0.0.1:9"}}
users:
- {name: ci, user: {token: TOKEN}}
contexts:
- {name: here, context: {cluster: here, user: ci}}
- {name: nowhere, context: {cluster: nowhere, user: ci}}
"""
DONE = {"replicas": 3, "updatedReplicas": 3, "availableReplicas": 3}


class Cluster:
    """One Deployment, and what becomes of it: each GET after a change is the next of its steps, the last one stays."""

    def __init__(self):
        self.containers = [{"name": "web", "image": OLD}]
        self.annotations, self.spec = {}, {"replicas": 3}
        self.generation = 1
        self.steps = [DONE]
        self.rollout = [
            {"observedGeneration": 1, **DONE},
            {"replicas": 4, "updatedReplicas": 1, "availableReplicas": 3},
            {"replicas": 4, "updatedReplicas": 3, "availableReplicas": 3},
            {"replicas": 3, "updatedReplicas": 3, "availableReplicas": 2},
            DONE,
        ]
        self.failures = []
        self.requests = []

    def deployment(self, *, is_look):
        status = self.steps[0]
        if is_look and len(self.steps) > 1:
            del self.steps[0]
        template = {"metadata": {"annotations": self.annotations}, "spec": {"containers": self.containers}}
        return {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "web", "namespace": "shop", "generation": self.generation},
            "spec": {**self.spec, "template": template},
            "status": {"observedGeneration": self.generation} | status,
        }

    def patch(self, body):
        """A strategic merge: containers by their names, and whatever is not named stays."""
        template = body["spec"]["template"]
        named = {one["name"]: one for one in template["spec"]["containers"]}
        merged = [one | named.get(one["name"], {}) for one in self.containers]
        annotations = self.annotations | template.get("metadata", {}).get("annotations", {})
        if (merged, annotations) != (self.containers, self.annotations):
            self.containers, self.annotations = merged, annotations
            self.generation += 1
            self.steps = list(self.rollout)

    def image(self, name="web"):
        return next(one["image"] for one in self.containers if one["name"] == name)


class Handler(BaseHTTPRequestHandler):
    """Answers for a cluster."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        cluster = self.server.cluster
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or "null")
        cluster.requests.append((self.command, self.path, self.headers["Content-Type"], body))
        failure = cluster.failures.pop(0) if cluster.failures else None
        kind, _, token = self.headers["Authorization"].partition(" ")
        if (kind.lower(), token) != ("bearer", TOKEN):
            failure = 401, "Unauthorized"
        elif self.path != PATH:
            failure = 404, 'deployments.apps "web" not found'
        if failure is None and self.command == "PATCH":
            cluster.patch(body)
        self._send(failure, cluster)

    do_PATCH = do_GET  # noqa: N815 - likewise

    def _send(self, failure, cluster):
        status, message = failure or (200, "")
        told = {"kind": "Status", "status": "Failure", "message": message, "code": status}
        content = json.dumps(told if failure else cluster.deployment(is_look=self.command == "GET")).encode()
        content = b"<html>" if message == "<html>" else content
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        pass


@contextmanager
def served(tls=None):
    """A cluster at an address."""
    server = ThreadingHTTPServer((HOST, free_port()), Handler)
    server.daemon_threads = True
    server.cluster = Cluster()
    server.cluster.port = server.server_port
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield server.cluster
    server.shutdown()
    server.server_close()


@pytest.fixture(autouse=True)
def surroundings(monkeypatch):
    monkeypatch.setattr(kube, "_GLANCE", 0.01)
    for name in ("KUBECONFIG", "KUBERNETES_SERVICE_HOST"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def cluster():
    with served() as made:
        yield made


@pytest.fixture
def deploy(cluster, tmp_path):
    """Deploys; what it says."""
    file = tmp_path / "kubeconfig"

    def do(image=NEW, deadline=30, **settings):
        said = []
        own = {"deployment": "web", "namespace": "shop", "kubeconfig": str(file)} | settings
        kube.deploy(msgspec.convert({"image": image, **own}, Kubernetes), deadline, said.append)
        return said

    def write(current="here", token=TOKEN):
        own = {"CURRENT": current, "ADDRESS": f"http://{HOST}:{cluster.port}", "TOKEN": token}
        file.write_text(re.sub("|".join(own), lambda found: own[found[0]], CONFIG))

    do.write, do.file = write, file
    write()
    return do


def test_the_image_is_set_and_the_rollout_is_waited_for(deploy, cluster):
    assert [
        f"web gets {NEW}, and had {OLD}",
        "web: the change was not seen yet",
        "web: 1 of 3 replicas are new",
        "web: 1 old replicas are still there",
        "web: 2 of 3 new replicas are available",
        f"web runs {NEW} in 3 replicas",
    ] == deploy()
    (get, patch, *looks) = cluster.requests
    body = {"spec": {"template": {"spec": {"containers": [{"name": "web", "image": NEW}]}}}}
    assert ("GET", PATH) == get[:2]
    assert ("PATCH", PATH, "application/strategic-merge-patch+json", body) == patch
    assert [("GET", PATH)] * 5 == [look[:2] for look in looks]
    assert NEW == cluster.image()


def test_what_runs_already_is_left_alone(deploy, cluster):
    cluster.containers[0]["image"] = NEW
    assert [f"web gets {NEW}, and had {NEW}", f"web runs {NEW} in 3 replicas"] == deploy()
    assert (1, {}) == (cluster.generation, cluster.annotations)


def test_a_tag_may_point_to_something_else_so_pods_are_started_anew(deploy, cluster):
    said = deploy(OLD)
    assert "started anew" in said[1]
    assert (2, OLD) == (cluster.generation, cluster.image())
    assert ["kubectl.kubernetes.io/restartedAt"] == list(cluster.annotations)


def test_one_of_several_containers(deploy, cluster):
    cluster.containers.append({"name": "proxy", "image": "proxy:1"})
    for container, message in [(None, "more than one container"), ("sidecar", "no container 'sidecar'")]:
        with pytest.raises(ActionError, match=f"web has {message}: name one of web, proxy") as failed:
            deploy(container=container)
        assert not failed.value.again
    deploy(container="web")
    assert (NEW, "proxy:1") == (cluster.image(), cluster.image("proxy"))


def test_no_replicas(deploy, cluster):
    cluster.spec, cluster.rollout = {"replicas": 0}, [{}]
    assert f"web runs {NEW} in 0 replicas" == deploy()[-1]


@pytest.mark.parametrize("when", [0, 1, 2])
@pytest.mark.parametrize(
    ("status", "again"),
    [(400, False), (401, False), (403, False), (404, False), (409, True), (422, False), (429, True), (500, True),
     (503, True)],
)  # fmt: skip
def test_what_kubernetes_refuses(deploy, cluster, when, status, again):
    """When it is asked, when it is told, and while one waits."""
    cluster.failures = [None] * when + [(status, f"no, because of {status}")]
    with pytest.raises(ActionError, match=f"{status} no, because of {status}") as failed:
        deploy()
    assert again == failed.value.again


@pytest.mark.parametrize("settings", [{"namespace": "default"}, {"deployment": "other"}])
def test_there_is_none(deploy, settings):
    with pytest.raises(ActionError, match=r'404 deployments\.apps "web" not found') as failed:
        deploy(**settings)
    assert not failed.value.again


def test_what_answers_is_something_else(deploy, cluster):
    cluster.failures = [(200, "<html>")]
    with pytest.raises(ActionError, match="not Kubernetes") as failed:
        deploy()
    assert failed.value.again
    cluster.failures = [(502, "<html>")]
    with pytest.raises(ActionError, match="502 Bad Gateway"):
        deploy()


def test_a_rollout_that_does_not_get_on(deploy, cluster):
    conditions = [
        {"type": "Available", "status": "True", "message": "Deployment has minimum availability."},
        {"type": "ReplicaFailure", "status": "True", "message": "exceeded quota"},
        {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded", "message": "has timed out"},
    ]
    stuck = {"replicas": 4, "updatedReplicas": 1, "availableReplicas": 3, "conditions": conditions}
    cluster.rollout = [{"observedGeneration": 1, **stuck}, stuck]
    with pytest.raises(ActionError, match="web did not get on: exceeded quota; has timed out") as failed:
        deploy()
    assert failed.value.again


def test_a_rollout_that_takes_too_long(deploy, cluster):
    waiting = [{"type": "Available", "status": "False", "message": "does not have minimum availability"}]
    cluster.rollout = [{"replicas": 4, "updatedReplicas": 1, "conditions": waiting}]
    with pytest.raises(ActionError, match=r"after 0\.3 seconds: 1 of 3 replicas are new; does not have minimum"):
        deploy(deadline=0.3)


def test_a_rollout_that_is_paused(deploy, cluster):
    cluster.spec["paused"] = True
    with pytest.raises(ActionError, match="web is paused"):
        deploy()


def test_which_cluster(deploy, monkeypatch):
    deploy.write("nowhere")
    with pytest.raises(ActionError, match="cannot be reached") as failed:
        deploy()
    assert failed.value.again
    deploy(context="here")
    deploy.write("here")
    monkeypatch.setenv("KUBECONFIG", str(deploy.file))
    with pytest.raises(ActionError, match="cannot be reached"):
        deploy(kubeconfig=None, context="nowhere")


def test_in_a_cluster_the_service_account_asks(tmp_path, monkeypatch):
    ca, tls = trustme.CA(), ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    ca.issue_cert(HOST).configure_cert(tls)
    ca.cert_pem.write_to_path(str(tmp_path / "CERT"))
    (tmp_path / "TOKEN").write_text(TOKEN)
    for name in ("TOKEN", "CERT"):
        monkeypatch.setattr(incluster_config, f"SERVICE_{name}_FILENAME", str(tmp_path / name))
    with served(tls) as cluster:
        monkeypatch.setenv("KUBERNETES_SERVICE_HOST", HOST)
        monkeypatch.setenv("KUBERNETES_SERVICE_PORT", str(cluster.port))
        kube.deploy(Kubernetes(deployment="web", namespace="shop", image=NEW), 30, lambda _: None)
        assert NEW == cluster.image()


@pytest.mark.parametrize(
    "settings", [{"context": "third"}, {"kubeconfig": "/nowhere"}, {"kubeconfig": os.fspath(Path(__file__))}]
)
def test_a_configuration_that_cannot_be_used(deploy, settings):
    with pytest.raises(ActionError, match="The kubeconfig cannot be used") as failed:
        deploy(**settings)
    assert not failed.value.again


def test_nobody_sees_the_token(deploy, cluster, caplog):
    caplog.set_level("DEBUG")
    said = deploy()
    deploy.write(token=TOKEN + "-wrong")
    with pytest.raises(ActionError, match="401 Unauthorized") as failed:
        deploy()
    assert TOKEN not in caplog.text + str(failed.value) + "".join(said)
    assert failed.value.__cause__ is None


def test_without_kubernetes_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "kubernetes.client", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'regstats\[kubernetes\]'"):
        kube.deploy(Kubernetes(deployment="web", image=NEW), 1, print)
