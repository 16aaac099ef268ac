"""A real Docker Swarm of one node, with a real registry that wants a password."""

import gc
import json
import os
import sys
import tarfile

import msgspec
import pytest
from engines import run
from servers import HOST, free_port, wait_until

from regstats import swarm
from regstats.errors import ActionError, MissingExtraError
from regstats.rules import DockerService

pytest.importorskip("docker")
pytestmark = pytest.mark.slow

DOCKERFILE = """
FROM scratch
ADD files.tar /
STOPSIGNAL SIGKILL
ENV VERSION={version}
CMD {command}
"""
QUICK = ["--update-monitor", "300ms", "--restart-delay", "1s"]


class Swarm:
    """A manager, images that it can run, and what is deployed there."""

    def __init__(self, docker, registry, folder):
        self.docker, self.host = docker, f"unix://{folder}/d.sock"
        self.repository = f"{registry.address}/team/app"
        self._folder = folder / "build"
        self._folder.mkdir()
        libraries = [word for word in run("ldd", "/usr/bin/sleep").split() if word.startswith("/")]
        with tarfile.open(self._folder / "files.tar", "w", dereference=True) as archive:
            for path in ("/usr/bin/sleep", "/usr/bin/false", *libraries):
                archive.add(path)

    def push(self, tag, version="1", command=("/usr/bin/sleep", "1000")):
        """Pushes an image of this machine's `sleep`; its digest."""
        name = f"{self.repository}:{tag}"
        (self._folder / "Dockerfile").write_text(DOCKERFILE.format(version=version, command=json.dumps(command)))
        self.docker("build", "--quiet", "--tag", name, str(self._folder))
        self.docker("push", "--quiet", name)
        (pinned,) = json.loads(self.docker("image", "inspect", name))[0]["RepoDigests"]
        self.docker("image", "rm", "--force", name)
        return pinned.partition("@")[2]

    def deploy(self, image, deadline=60, name="app", **settings):
        """What it says."""
        said = []
        service = msgspec.convert({"name": name, "image": image, **settings}, DockerService)
        swarm.deploy(service, deadline, said.append)
        return said

    def service(self, name="app"):
        return json.loads(self.docker("service", "inspect", name))[0]

    def hurry(self):
        """Docker is to watch an update for less than five seconds."""
        self.docker("service", "update", "--quiet", "--detach", "--update-monitor=300ms", "app")

    def running(self, name="app"):
        """The images that run, with the ids of their tasks."""
        shown = ["--no-trunc", "--filter=desired-state=running", "--format={{.CurrentState}} {{.Image}} {{.ID}}"]
        lines = self.docker("service", "ps", name, *shown)
        return sorted(line.split()[-2:] for line in lines.splitlines() if line.startswith("Running"))


@pytest.fixture
def swarmless(docker, registry, short_path, monkeypatch):
    for name in [name for name in os.environ if name.startswith("DOCKER_")]:
        monkeypatch.delenv(name)
    made = Swarm(docker, registry, short_path)
    monkeypatch.setenv("DOCKER_HOST", made.host)
    monkeypatch.setenv("DOCKER_CONFIG", str(short_path))
    monkeypatch.setenv("DOCKER_BUILDKIT", "0")
    return made


@pytest.fixture
def its(swarmless, monkeypatch):
    """Other workers have a swarm of their own meanwhile, and it listens on a port that cannot be chosen."""
    monkeypatch.setattr(swarm, "_STEADY", 0.3)
    address = f"127.0.1.{int(os.environ.get('PYTEST_XDIST_WORKER', 'gw0')[2:]) + 1}"
    swarmless.docker("swarm", "init", f"--advertise-addr={address}", f"--listen-addr={address}:{free_port()}")
    yield swarmless
    swarmless.docker("swarm", "leave", "--force")
    wait_until(lambda: not swarmless.docker("ps", "--quiet"), "the end of what ran")
    if "docker_gwbridge" in swarmless.docker("network", "ls"):  # a device of this machine, made where there are ports
        swarmless.docker("network", "rm", "docker_gwbridge")


def test_a_service_is_created_updated_and_left_alone(its):
    first = its.push("1.0")
    image = f"{its.repository}:1.0@{first}"
    said = its.deploy(image, replicas=2, env=["A=b", "C=d=e"], constraints=["node.role==manager"], networks=["host"])
    assert [f"app is created with {image}", f"app runs {image}"] == [said[0], said[-1]]
    made = its.service()
    template = made["Spec"]["TaskTemplate"]
    assert (image, ["A=b", "C=d=e"]) == (template["ContainerSpec"]["Image"], template["ContainerSpec"]["Env"])
    assert ["node.role==manager"] == template["Placement"]["Constraints"]
    assert [("linux", "amd64")] == [(one["OS"], one["Architecture"]) for one in template["Placement"]["Platforms"]]
    running = its.running()
    assert [image] * 2 == [image for image, _ in running]

    assert [f"app has {image} already", f"app runs {image}"] == [(said := its.deploy(image))[0], said[-1]]
    assert made == its.service()
    assert running == its.running()

    second = its.push("1.1", version="2")
    its.hurry()
    said = its.deploy(f"{its.repository}:1.1@{second}", replicas=5, env=["NO=1"])
    assert f"app gets {its.repository}:1.1@{second}, and had {image}" == said[0]
    assert [f"{its.repository}:1.1@{second}"] * 2 == [image for image, _ in its.running()]
    assert ["A=b", "C=d=e"] == its.service()["Spec"]["TaskTemplate"]["ContainerSpec"]["Env"]


RICH = [
    "--env=A=b", "--label=team=one", "--container-label=inner=two", "--replicas=2", "--network=host",
    "--mount=type=tmpfs,destination=/scratch", "--constraint=node.role==manager", "--hostname=its-name", "--user=0",
    "--limit-memory=64M", "--restart-condition=any", "--restart-max-attempts=7", "--stop-grace-period=3s",
    "--update-parallelism=2", "--update-failure-action=rollback", "--update-order=start-first", "--secret=its-secret",
    "--rollback-monitor=300ms", "--config=its-config", "--endpoint-mode=dnsrr", "--log-driver=json-file",
    "--log-opt=max-size=1m", "--cap-drop=ALL", "--no-healthcheck", "--dns=127.0.0.1",
]  # fmt: skip


def test_whatever_else_a_service_has_it_keeps(its):
    """Made by `docker service create` with all that it knows; but for the image the specification is the same."""
    its.push("1.0")
    second = its.push("1.1", version="2")
    value = its._folder / "value"
    value.write_text("something")
    its.docker("secret", "create", "its-secret", str(value))
    its.docker("config", "create", "its-config", str(value))
    its.docker("service", "create", "--quiet", "--detach", "--with-registry-auth", "--name=app", *QUICK, *RICH,
               f"{its.repository}:1.0")  # fmt: skip
    wait_until(lambda: len(its.running()) == 2, "the service")
    before = its.service()["Spec"]
    its.deploy(f"{its.repository}:1.1")
    after = its.service()["Spec"]
    assert f"{its.repository}:1.1@{second}" == after["TaskTemplate"]["ContainerSpec"].pop("Image")
    assert before["TaskTemplate"]["ContainerSpec"].pop("Image").startswith(f"{its.repository}:1.0@")
    assert before == after


def test_ports(its):
    its.push("1.0")
    its.deploy(f"{its.repository}:1.0", replicas=0, ports=["8080:80", "53:5353/udp"])
    ports = its.service()["Spec"]["EndpointSpec"]["Ports"]
    assert [(8080, 80, "tcp"), (53, 5353, "udp")] == [
        (port["PublishedPort"], port["TargetPort"], port["Protocol"]) for port in ports
    ]


def test_a_tag_that_moves_is_deployed_and_one_that_does_not_is_not(its):
    """The image is named by its tag alone: it is what the tag points to at that moment."""
    image = f"{its.repository}:latest"
    first = its.push("latest")
    its.deploy(image)
    its.hurry()
    running = its.running()
    assert f"app has {image}@{first} already" == its.deploy(image)[0]
    assert running == its.running()
    second = its.push("latest", version="2")
    assert f"app gets {image}@{second}, and had {image}@{first}" == its.deploy(image)[0]
    assert [f"{image}@{second}"] == [image for image, _ in its.running()]


def test_an_image_that_no_registry_has_is_started_anew(its):
    """Nobody knows then whether it is another."""
    its.push("1.0")
    its.docker("pull", f"{its.repository}:1.0")
    its.docker("tag", f"{its.repository}:1.0", f"{HOST}:9/local:1")
    its.deploy(f"{HOST}:9/local:1")
    its.hurry()
    first = its.running()
    assert any("is not known" in line for line in its.deploy(f"{HOST}:9/local:1"))
    assert first != its.running()


def test_an_update_that_fails_is_paused_and_the_next_one_does(its):
    its.push("1.0")
    second = its.push("1.1", version="2")
    its.docker("service", "create", "--quiet", "--detach", "--with-registry-auth", "--name=app", *QUICK,
               f"{its.repository}:1.0")  # fmt: skip
    wait_until(its.running, "the service")
    for _ in range(2):
        with pytest.raises(ActionError, match=r"paused.*(No such image|manifest unknown)") as failed:
            its.deploy(f"{its.repository}:1.9")
        assert failed.value.again
    its.deploy(f"{its.repository}:1.1")
    assert [f"{its.repository}:1.1@{second}"] == [image for image, _ in its.running()]


def test_an_update_that_is_rolled_back(its):
    its.push("1.0")
    its.push("broken", command=["/usr/bin/false"])
    its.docker("service", "create", "--quiet", "--detach", "--with-registry-auth", "--name=app", *QUICK,
               "--update-failure-action=rollback", f"{its.repository}:1.0")  # fmt: skip
    wait_until(its.running, "the service")
    with pytest.raises(ActionError, match="rollback completed"):
        its.deploy(f"{its.repository}:broken")
    wait_until(its.running, "the service as it was")
    assert its.running()[0][0].startswith(f"{its.repository}:1.0@")
    its.deploy(f"{its.repository}:1.0")  # it has that, and Docker says that it was rolled back


def test_a_new_service_whose_tasks_fail(its):
    its.push("broken", command=["/usr/bin/false"])
    with pytest.raises(ActionError, match=r"0 of 1 tasks run it, task: non-zero exit \(1\)"):
        its.deploy(f"{its.repository}:broken")
    with pytest.raises(ActionError, match=f"0 of 1 tasks run it, No such image: {its.repository}"):
        its.deploy(f"{its.repository}:1.9", name="other")


def test_what_takes_too_long(its):
    its.push("1.0")
    with pytest.raises(ActionError, match="not done after 1 seconds: 0 of 1 tasks run it, no suitable node") as failed:
        its.deploy(f"{its.repository}:1.0", 1, constraints=["node.role==worker"])
    assert failed.value.again


def test_what_is_wrong_is_not_tried_again(its):
    for image, settings, message in [
        ("team/app:1@", {}, "not a valid repository"),
        (f"{its.repository}:1.0", {"create": False}, "There is no service 'app'"),
    ]:
        with pytest.raises(ActionError, match=message) as failed:
            its.deploy(image, **settings)
        assert not failed.value.again


@pytest.mark.parametrize("settings", [{"ports": ["80"]}, {"ports": ["8080:80/http"]}, {"env": ["A"]}, {"replicas": -1}])
def test_settings_that_are_wrong(settings):
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"name": "app", "image": "app:1", **settings}, DockerService)


def test_without_docker_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "docker", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'regstats\[docker\]'"):
        swarm.deploy(DockerService(name="app", image="app:1"), 1, print)


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")  # docker leaves a socket behind where nobody listens
def test_no_swarm(swarmless):
    with pytest.raises(ActionError, match="not a swarm manager") as failed:
        swarmless.deploy("team/app:1", host=swarmless.host)
    assert not failed.value.again
    for host, again in [("unix:///nowhere", True), (f"tcp://{HOST}:9", True), ("ftp://nowhere", False)]:
        with pytest.raises(ActionError, match="Docker") as failed:
            swarmless.deploy("team/app:1", host=host)
        assert again == failed.value.again
    del failed
    gc.collect()  # it says so here, and not in the midst of another test
