"""The sample: a day of a small team's registry, made from what real clients send.

Each client operation below emits the events, in the order and with the methods, that a docker-registry 2.8.2 was seen
to send for it. `python -m regstats.sample DIR` writes the day as a store; the one in data/sample/ was made by it.
"""

import hashlib
import json
import random
import sys
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

from regstats.compact import compact
from regstats.events import Delivery
from regstats.journal import Journal
from regstats.sealing import seal
from regstats.store import Store

DAY = datetime(2026, 11, 23, tzinfo=UTC)
SEED = 20261123

_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
_OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_INDEX = "application/vnd.oci.image.index.v1+json"
_BLOB = "application/octet-stream"

_DOCKER = (
    "docker/27.5.1 go/go1.22.11 git-commit/4c9b3b0 kernel/6.1.0-28-amd64 os/linux arch/amd64 "
    r"UpstreamClient(Docker-Client/27.5.1 \(linux\))"
)
_CONTAINERD = "containerd/1.7.24"
_PODMAN = "containers/5.23.1 (github.com/containers/image)"
_SKOPEO = "skopeo/1.9.3"
_BUILDAH = "Buildah/1.28.2"
_CRANE = "crane/(devel) go-containerregistry/(devel)"
_CURL = "curl/7.88.1"


class _Object(NamedTuple):
    """A blob or a manifest."""

    digest: str
    size: int
    media_type: str = _BLOB


class _Image(NamedTuple):
    """What a tag points to. `manifest` is the top: an index where there are `children`."""

    manifest: _Object
    config: _Object
    layers: tuple[_Object, ...]
    children: tuple[_Object, ...] = ()

    @property
    def blobs(self) -> tuple[_Object, ...]:
        return (self.config, *self.layers)


class _Client(NamedTuple):
    """Who does something, from where, with what."""

    actor: str
    address: str
    user_agent: str


class _Registry:
    """A registry that has a clock and sends an event for each request. Knows what its tags point to."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)  # noqa: S311 - a sample, not a secret
        self.deliveries: list[tuple[datetime, bytes]] = []
        self.tags: dict[tuple[str, str], _Image] = {}
        self.now = DAY
        self._instance = self.uuid()

    def uuid(self) -> str:
        return str(uuid.UUID(int=self.random.getrandbits(128), version=4))

    def image(self, base: _Image | None = None, *, layers: int = 3, children: int = 0, oci: bool = False) -> _Image:
        """A new image: its last layer, config and manifest are new, those of `base` below are shared."""
        media_type = _OCI_MANIFEST if oci else _MANIFEST
        below = base.layers[:-1] if base else tuple(self._object(2_000_000, 40_000_000) for _ in range(layers - 1))
        stack = (*below, self._object(50_000, 5_000_000))
        parts = tuple(self._object(600, 1_200, media_type) for _ in range(children))
        top = self._object(400 + 200 * children, 1_400 + 200 * children, _INDEX if children else media_type)
        return _Image(top, self._object(1_500, 8_000), stack, parts)

    def _object(self, least: int, most: int, media_type: str = _BLOB) -> _Object:
        digest = hashlib.sha256(self.random.randbytes(16)).hexdigest()
        return _Object(f"sha256:{digest}", self.random.randint(least, most), media_type)

    def request(self, client: _Client, method: str, repository: str, thing: _Object, *, tag: str | None = None) -> None:
        """One request for a manifest or blob that succeeded."""
        action = {"GET": "pull", "HEAD": "pull", "PUT": "push", "POST": "mount"}[method]
        what = "blobs" if thing.media_type == _BLOB else "manifests"
        target: dict[str, Any] = {
            "mediaType": thing.media_type,
            "size": thing.size,
            "digest": thing.digest,
            "length": thing.size,
            "repository": repository,
            "url": f"https://registry.example/v2/{repository}/{what}/{thing.digest}",
        }
        self._emit(client, method, action, target | ({"tag": tag} if tag else {}), self.uuid())

    def delete(self, client: _Client, repository: str, image: _Image) -> None:
        """A delete by digest: one event for the manifest and one for each of its tags, of one request."""
        request_id = self.uuid()
        self._emit(client, "DELETE", "delete", {"digest": image.manifest.digest, "repository": repository}, request_id)
        for name, tag in [key for key, value in self.tags.items() if value is image and key[0] == repository]:
            self._emit(client, "DELETE", "delete", {"repository": name, "tag": tag}, request_id)
            del self.tags[name, tag]

    def _emit(self, client: _Client, method: str, action: str, target: dict[str, Any], request_id: str) -> None:
        self.now += timedelta(microseconds=self.random.randint(4_000, 90_000))
        event = {
            "id": self.uuid(),
            "timestamp": f"{self.now:%Y-%m-%dT%H:%M:%S.%f}000Z",
            "action": action,
            "target": target,
            "request": {
                "id": request_id,
                "addr": f"{client.address}:{self.random.randint(32768, 60999)}",
                "host": "registry.example",
                "method": method,
                "useragent": client.user_agent,
            },
            "actor": {"name": client.actor},
            "source": {"addr": "registry:5000", "instanceID": self._instance},
        }
        self.deliveries.append((self.now, json.dumps({"events": [event]}, indent=3).encode()))


# What clients do. Measured: which requests, in which order, with which method, and which of them name the tag.


def _docker_pull(registry: _Registry, client: _Client, repository: str, tag: str, *, cached: bool = False) -> None:
    """Docker and containerd ask HEAD by tag, then GET by digest, without the tag; if they have it, only HEAD."""
    image = registry.tags[repository, tag]
    registry.request(client, "HEAD", repository, image.manifest, tag=tag)
    if not cached:
        for thing in (image.manifest, *image.children[:1], *image.blobs):
            registry.request(client, "GET", repository, thing)


def _podman_pull(registry: _Registry, client: _Client, repository: str, tag: str, *, cached: bool = False) -> None:
    """Podman, skopeo and buildah GET by tag, also when they have it already; then only the config follows."""
    image = registry.tags[repository, tag]
    registry.request(client, "GET", repository, image.manifest, tag=tag)
    for thing in (*image.children[:1], image.config, *(() if cached else image.layers)):
        registry.request(client, "GET", repository, thing)


def _inspect(registry: _Registry, client: _Client, repository: str, tag: str) -> None:
    registry.request(client, "GET", repository, registry.tags[repository, tag].manifest, tag=tag)


def _check(registry: _Registry, client: _Client, repository: str, tag: str) -> None:
    """What a poller does, and `crane digest`."""
    registry.request(client, "HEAD", repository, registry.tags[repository, tag].manifest, tag=tag)


def _push(registry: _Registry, client: _Client, repository: str, tag: str, image: _Image) -> None:
    """Known layers are asked for with HEAD, new ones uploaded; dockerd looks at each again; last the manifest."""
    before = registry.tags.get((repository, tag))
    known = set(before.layers) if before else set()
    for blob in (*image.layers, image.config):
        if blob in known:
            registry.request(client, "HEAD", repository, blob)
            continue
        registry.request(client, "PUT", repository, blob)
        if client.user_agent.startswith("docker/"):
            registry.request(client, "HEAD", repository, blob)
    for child in image.children:
        registry.request(client, "PUT", repository, child)
    registry.request(client, "PUT", repository, image.manifest, tag=tag)
    registry.tags[repository, tag] = image


def _retag(registry: _Registry, client: _Client, repository: str, tag: str, new_tag: str) -> None:
    """The same manifest under another name: one PUT."""
    image = registry.tags[repository, tag]
    registry.request(client, "GET", repository, image.manifest, tag=tag)
    registry.request(client, "PUT", repository, image.manifest, tag=new_tag)
    registry.tags[repository, new_tag] = image


# The team.

_CI = [_Client("ci", f"10.20.0.{n}", _DOCKER) for n in (11, 12)]
_CI_BUILDAH = _Client("ci", "10.20.0.13", _BUILDAH)
_NODES = [_Client("cluster", f"10.30.0.{n}", _CONTAINERD) for n in (21, 22, 23, 24)]
_STAGING = _Client("staging", "10.30.1.5", _PODMAN)
_ALICE = _Client("alice", "10.10.0.31", _DOCKER)
_BOB = _Client("bob", "10.10.0.32", _PODMAN)
_CAROL = _Client("carol", "10.10.0.33", _DOCKER)
_DAVE = _Client("dave", "10.10.0.34", _SKOPEO)
_POLLER = _Client("updates", "10.30.1.9", _CRANE)
_ADMIN = _Client("admin", "10.10.0.2", _CURL)

_BASE = ("platform/base", "3.20")
_SERVICES = ("team/api", "team/web", "team/worker")


def _stock(registry: _Registry) -> None:
    """What the registry held before the day began: pushed before, so without events of the day."""
    registry.tags[_BASE] = registry.image(layers=2, children=2, oci=True)
    for repository in _SERVICES:
        registry.tags[repository, "main"] = registry.image(layers=4)
        registry.tags[repository, "stable"] = registry.image(layers=4)
    registry.tags["data/etl", "nightly"] = registry.image(layers=5)
    registry.tags["tools/lint", "2.1"] = registry.image(layers=3, oci=True)
    registry.tags["infra/backup", "1.4.0"] = registry.image(layers=2, oci=True)
    registry.tags["infra/backup", "1.3.0"] = registry.image(layers=2, oci=True)
    registry.tags["team/legacy-portal", "1.0"] = registry.image(layers=6)


Step = tuple[datetime, Any]


def _build(registry: _Registry, at: datetime, repository: str, release: str | None) -> Iterator[Step]:
    """A merge to main: CI checks and builds on the base image, pushes, and the cluster's nodes take the new image."""
    runner = registry.random.choice(_CI)
    yield at, lambda: _docker_pull(registry, runner, "tools/lint", "2.1")
    yield at + timedelta(minutes=2), lambda: _docker_pull(registry, runner, *_BASE)

    def push() -> None:
        image = registry.image(registry.tags[repository, "main"])
        _push(registry, runner, repository, "main", image)
        if release:
            _retag(registry, _DAVE, repository, "main", release)
            _retag(registry, _DAVE, repository, "main", "stable")

    built = at + timedelta(minutes=5, seconds=registry.random.randint(0, 90))
    yield built, push
    tag = "stable" if release else "main"
    for number, node in enumerate(_NODES if release else _NODES[:2]):
        yield (
            built + timedelta(seconds=40 + 7 * number),
            lambda node=node: _docker_pull(registry, node, repository, tag),
        )
    yield built + timedelta(minutes=3), lambda: _podman_pull(registry, _STAGING, repository, "main")


def _office_hours(registry: _Registry) -> Iterator[Step]:
    """Builds and people, mostly between 7 and 17 UTC."""
    builds = {"team/api": 16, "team/web": 12, "team/worker": 8}
    for repository, count in builds.items():
        for number in range(count):
            minute = 420 + 600 * (number + registry.random.random() * 0.9) / count
            release = f"2.{number // 4}.0" if number % 4 == 3 else None
            yield from _build(registry, DAY + timedelta(minutes=minute), repository, release)
    for person, repository, pull in (
        (_ALICE, "team/api", _docker_pull),
        (_BOB, "team/web", _podman_pull),
        (_CAROL, "team/worker", _docker_pull),
    ):
        for number in range(8):
            at = DAY + timedelta(minutes=430 + 70 * number + registry.random.randint(0, 50))
            cached = number % 3 == 1
            yield at, lambda p=person, r=repository, f=pull, c=cached: f(registry, p, r, "main", cached=c)
    yield DAY + timedelta(hours=9, minutes=12), lambda: _inspect(registry, _DAVE, "team/legacy-portal", "1.0")
    yield DAY + timedelta(hours=10, minutes=40), lambda: _push_base(registry)
    yield DAY + timedelta(hours=11, minutes=5), lambda: _push_backup(registry)
    yield (
        DAY + timedelta(hours=16, minutes=20),
        lambda: registry.delete(_ADMIN, "infra/backup", registry.tags["infra/backup", "1.3.0"]),
    )


def _push_base(registry: _Registry) -> None:
    _push(registry, _CI_BUILDAH, *_BASE, registry.image(registry.tags[_BASE], children=2, oci=True))


def _push_backup(registry: _Registry) -> None:
    _push(registry, _BOB, "infra/backup", "1.4.1", registry.image(registry.tags["infra/backup", "1.4.0"], oci=True))


def _around_the_clock(registry: _Registry) -> Iterator[Step]:
    """The poller that asks for news, the nightly job, the backups, the autoscaler."""
    for minute in range(0, 24 * 60, 15):
        for repository in _SERVICES:
            at = DAY + timedelta(minutes=minute, seconds=3)
            yield at, lambda r=repository: _check(registry, _POLLER, r, "stable")
    yield DAY + timedelta(hours=2), lambda: _push_nightly(registry)
    yield DAY + timedelta(hours=2, minutes=10), lambda: _docker_pull(registry, _NODES[0], "data/etl", "nightly")
    for hour in (0, 6, 12, 18):
        at = DAY + timedelta(hours=hour, minutes=30)
        yield at, lambda: _podman_pull(registry, _STAGING, "infra/backup", "1.4.0", cached=True)
    for hour in range(24):
        node, repository = registry.random.choice(_NODES), registry.random.choice(_SERVICES)
        at = DAY + timedelta(hours=hour, minutes=registry.random.randint(0, 59))
        yield at, lambda n=node, r=repository: _docker_pull(registry, n, r, "stable")


def _push_nightly(registry: _Registry) -> None:
    _push(registry, _CI_BUILDAH, "data/etl", "nightly", registry.image(registry.tags["data/etl", "nightly"]))


def day(seed: int = SEED) -> list[Delivery]:
    """The deliveries of the day, as a collector received them: three came twice, and one was not from a registry."""
    registry = _Registry(seed)
    _stock(registry)
    steps = sorted([*_office_hours(registry), *_around_the_clock(registry)], key=lambda step: step[0])
    for at, do in steps:
        registry.now = max(registry.now, at)
        do()
    sent = registry.deliveries
    for number in (300, 900, 1500):  # answered too late, so the registry sent them again
        at, body = sent[number]
        sent.append((at + timedelta(seconds=2), body))
    sent.append((DAY + timedelta(hours=8), b'{"text": "hello from the chat bot"}'))
    sent.sort(key=lambda item: item[0])
    return [_delivery(number, at, body) for number, (at, body) in enumerate(sent)]


def _delivery(number: int, at: datetime, body: bytes) -> Delivery:
    return Delivery(
        received_at=at + timedelta(milliseconds=2),
        delivery_id=f"{number:032x}",
        source="default",
        remote_address="10.0.0.5",
        headers={
            "User-Agent": "Go-http-client/1.1",
            "Content-Type": "application/vnd.docker.distribution.events.v1+json",
        },
        body=body,
    )


def path() -> Path:
    """Where the sample is: in an installed package inside it, in a checkout under data/."""
    package = Path(__file__).parent
    installed = package / "_sample"
    return installed if installed.is_dir() else package.parent / "data" / "sample"


def write(root: Path) -> None:
    """Writes the day as a store."""
    store = Store(root, create=True)
    journal = Journal(store.journal)
    journal.append(day())
    journal.rotate()
    seal(store)
    compact(store, DAY + timedelta(days=2))
    store.journal.rmdir()
    (root / "lock").unlink()


if __name__ == "__main__":
    write(Path(sys.argv[1]))
