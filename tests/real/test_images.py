"""Many images at once, at real registries and with real engines."""

import hashlib
import io
import json
import subprocess
import sys
import tarfile

import pytest
from conftest import dockerd, needs, podman_service
from registries import running
from servers import PATIENCE

docker = pytest.importorskip("docker")

MANY = 50
NAMES = [f"team/app-{number}:1" for number in range(MANY)]


def images(*arguments, status=0, **options):
    """What `regstats images` says; it must end with a status."""
    done = subprocess.run(command(*arguments), capture_output=True, text=True, timeout=PATIENCE * 5, **options)
    assert status == done.returncode, done.stdout + done.stderr
    return done.stdout + done.stderr


def command(*arguments):
    return [sys.executable, "-m", "regstats", "images", *map(str, arguments)]


@pytest.fixture(autouse=True)
def nobody(monkeypatch, tmp_path):
    """No login of whoever runs the tests."""
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "home"))
    monkeypatch.delenv("REGISTRY_AUTH_FILE", raising=False)
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)


@pytest.fixture
def place(tmp_path):
    """A registry for everybody."""
    needs("docker-registry")
    with running(tmp_path / "registry") as registry:
        yield registry


@pytest.fixture
def other(tmp_path):
    needs("docker-registry")
    with running(tmp_path / "other") as registry:
        yield registry


@pytest.fixture(params=["dockerd", "podman"])
def engine(request, place, short_path):
    """An engine with fifty small images; what it has is told by its SDK."""
    with dockerd(short_path) if request.param == "dockerd" else podman_service(short_path, place.address) as host:
        client = docker.DockerClient(base_url=host, timeout=PATIENCE)
        list(client.api.load_image(archive(NAMES)))
        client.host, client.kind = host, request.param
        yield client
        client.close()


def archive(names):
    """Images as `docker save` writes them, each with a layer of its own."""
    content, listed = io.BytesIO(), []
    with tarfile.open(fileobj=content, mode="w") as whole:

        def add(name, data):
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            whole.addfile(entry, io.BytesIO(data))

        for number, name in enumerate(names):
            layer = io.BytesIO()
            with tarfile.open(fileobj=layer, mode="w") as files:
                entry = tarfile.TarInfo(f"file-{number}")
                entry.size = 2000
                files.addfile(entry, io.BytesIO(bytes([number]) * 2000))
            diff_id = hashlib.sha256(layer.getvalue()).hexdigest()
            config = json.dumps({
                "architecture": "amd64", "os": "linux", "config": {}, "created": "2026-11-24T00:00:00Z",
                "history": [{"created": "2026-11-24T00:00:00Z", "created_by": name}],
                "rootfs": {"type": "layers", "diff_ids": [f"sha256:{diff_id}"]},
            }).encode()  # fmt: skip
            add(f"{diff_id}/layer.tar", layer.getvalue())
            its = f"{hashlib.sha256(config).hexdigest()}.json"
            add(its, config)
            listed.append({"Config": its, "RepoTags": [name], "Layers": [f"{diff_id}/layer.tar"]})
        add("manifest.json", json.dumps(listed).encode())
    return content.getvalue()


def local(engine):
    """All names of local images."""
    return sorted(tag for image in engine.images.list() for tag in image.tags)


def at(registry):
    """What a registry has: tags with digests."""
    text = images("ls", "--brief", "--registry", registry.address, "--format", "json")
    return {f"{row['repository']}:{row['tag']}": row["digest"] for row in json.loads(text)}


@pytest.mark.slow
def test_fifty_images(engine, place, other):
    """Each in one command, eight at a time; the second time nothing is done."""
    before = local(engine)
    assert MANY == len(before)
    common = ["--registry", place.address, "--jobs", "8", "--engine", engine.host]
    assert f"{MANY} to push. --yes does it." in images("push", "--all", *common)
    assert [] == place.written()
    assert before == local(engine)
    assert f"{MANY} pushed." in images("push", "--all", *common, "--yes")
    assert before == local(engine)
    assert sorted(NAMES) == place.manifests_written()
    assert f"{MANY} done already." in images("push", "--all", *common, "--yes")
    assert sorted(NAMES) == place.manifests_written()
    assert sorted(NAMES) == sorted(at(place))

    for name in before:
        engine.images.remove(name)
    assert [] == local(engine)
    repositories = [f"team/app-{number}" for number in range(MANY)]
    assert f"{MANY} pulled." in images("pull", *repositories, "--all-tags", *common, "--yes")
    here = [f"{place.address}/{name}" for name in NAMES]
    assert sorted(here) == local(engine)
    blobs = sum("/blobs/" in path for method, path, _ in place.requests() if method == "GET")
    assert f"{MANY} done already." in images("pull", *repositories, "--all-tags", *common, "--yes")
    assert blobs == sum("/blobs/" in path for method, path, _ in place.requests() if method == "GET")

    assert f"{MANY} tagged." in images("tag", "team/*:1", "stable", "--registry", place.address, "--jobs", "8", "--yes")
    tagged = at(place)
    assert all(tagged[name] == tagged[f"{name[:-1]}stable"] for name in NAMES)
    copied = images(
        "copy", "team/*", "--to", f"{other.address}/archive", "--registry", place.address, "--jobs", "8", "--yes"
    )
    assert f"{2 * MANY} copied." in copied
    assert {f"archive/{name}": digest for name, digest in tagged.items()} == at(other)
    assert f"{MANY} deleted." in images("delete", "team/*", "--registry", place.address, "--jobs", "8", "--yes")
    assert {} == at(place)
    assert sorted(here) == local(engine)
