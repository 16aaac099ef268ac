"""A registry that is played: it has a clock, a diary of what is to come, and tells of each request as a real one does.

The events are those of a distribution 3.1 that is configured with `includereferences: true`: what a manifest refers to
is told with it, ids are UUIDs of version 7, and a delete names no media type.
"""

import hashlib
import heapq
import itertools
import random
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, NamedTuple

MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
BLOB = "application/octet-stream"  # what a registry calls every blob
LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
CONFIG = "application/vnd.docker.container.image.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
HELM_CONFIG = "application/vnd.cncf.helm.config.v1+json"
HELM_CHART = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"
SIGNATURE = "application/vnd.dev.cosign.simplesigning.v1+json"

_MANIFESTS = (MANIFEST, OCI_MANIFEST, INDEX)
_ACTIONS = {"GET": "pull", "HEAD": "pull", "PUT": "push", "POST": "mount", "DELETE": "delete"}
_PLATFORMS = ("amd64", "arm64")
_HOST = "registry.example"
_PAUSE = (4_000, 90_000)  # microseconds between two requests


class Thing(NamedTuple):
    """A blob or a manifest."""

    digest: str
    size: int
    media_type: str
    references: tuple[dict[str, Any], ...] = ()

    @property
    def is_manifest(self) -> bool:
        """Or else it is a blob."""
        return self.media_type in _MANIFESTS


class Image(NamedTuple):
    """What a tag points to: `blobs` are configuration and layers; an index has `children`, and no blobs of its own."""

    manifest: Thing
    blobs: tuple[Thing, ...] = ()
    children: tuple["Image", ...] = ()

    @property
    def layers(self) -> tuple[Thing, ...]:
        """Those that a client takes."""
        return self.for_platform.blobs[1:]

    @property
    def for_platform(self) -> "Image":
        """What a client takes: of an index the child for its platform."""
        return self.children[0] if self.children else self


class Client(NamedTuple):
    """Who does something, from where, with what."""

    actor: str
    address: str
    user_agent: str
    keeps: bool = True
    """Whether it has tomorrow what it pulled today; a machine made for one job has not."""


Told = tuple[datetime, dict[str, Any]]
"""An event, and when it happened."""


class Registry:
    """What it holds, and what it tells of. The same seed gives the same events: nothing comes from clock or system."""

    def __init__(self, seed: int, begin: datetime) -> None:
        self.random = random.Random(seed)  # noqa: S311 - a sample, not a secret
        self.now = begin
        self.tags: dict[tuple[str, str], Image] = {}
        self.homes: dict[str, set[str]] = {}
        """Of each blob the repositories that have it."""
        self.had: dict[tuple[str, str], Image] = {}
        """What was pulled last at an address from a repository."""
        self._diary: list[tuple[datetime, int, Callable[..., None], tuple[Any, ...]]] = []
        self._numbers = itertools.count()
        self._told: list[Told] = []
        self.restart()

    def restart(self) -> None:
        """A registry that starts has a new name."""
        self._instance = self.uuid()

    def at(self, when: datetime, do: Callable[..., None], *about: Any) -> None:
        """Notes that `do(registry, *about)` is to happen then."""
        heapq.heappush(self._diary, (when, next(self._numbers), do, about))

    def later(self, minutes: float, do: Callable[..., None], *about: Any) -> None:
        """The same, so long from now."""
        self.at(self.now + timedelta(minutes=minutes), do, *about)

    def live(self, until: datetime) -> list[Told]:
        """Lets happen what is noted until then; what was told of it."""
        while self._diary and self._diary[0][0] < until:
            when, _, do, about = heapq.heappop(self._diary)
            self.now = max(self.now, when)
            do(self, *about)
        told, self._told = self._told, []
        return told

    def uuid(self) -> str:
        """One of version 7, which begins with the time."""
        time, dice = int(self.now.timestamp() * 1000), self.random.getrandbits(74)
        text = f"{time:012x}7{dice >> 62:03x}{dice & (1 << 62) - 1 | 1 << 63:016x}"
        return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"

    def layer(self, least: int, most: int, media_type: str = LAYER) -> Thing:
        """A new blob of a size between these two."""
        return Thing(self._digest(), self.random.randint(least, most), media_type)

    def image(self, *layers: Thing, config: str = CONFIG) -> Image:
        """A new image of these layers, with a configuration of its own."""
        blobs = (self.layer(1_500, 8_000, config), *layers)
        described = tuple(map(_described, blobs))
        media_type = MANIFEST if config == CONFIG else OCI_MANIFEST
        return Image(Thing(self._digest(), 300 + 180 * len(layers), media_type, described), blobs)

    def index(self, *children: Image) -> Image:
        """A new image for several platforms."""
        described = tuple(
            _described(child.manifest) | {"platform": {"architecture": platform, "os": "linux"}}
            for child, platform in zip(children, _PLATFORMS, strict=True)
        )
        return Image(Thing(self._digest(), 250 + 240 * len(children), INDEX, described), (), children)

    def _digest(self) -> str:
        return f"sha256:{hashlib.sha256(self.random.randbytes(16)).hexdigest()}"

    def request(self, client: Client, method: str, repository: str, thing: Thing, **more: str) -> None:
        """One request for a manifest or blob that succeeded; `more` is the tag, if the client named one."""
        what = "manifests" if thing.is_manifest else "blobs"
        target: dict[str, Any] = {
            "mediaType": thing.media_type if thing.is_manifest else BLOB,
            "digest": thing.digest,
            "size": thing.size,
            "length": thing.size,
            "repository": repository,
            "url": f"https://{_HOST}/v2/{repository}/{what}/{thing.digest}",
            **more,
        }
        if thing.references:
            target["references"] = thing.references
        self._tell(client, method, target, self.uuid())

    def delete(self, client: Client, repository: str, image: Image) -> None:
        """A delete by digest: an event for the manifest and one for each of its tags, all of one request."""
        request_id = self.uuid()
        self._tell(client, "DELETE", _deleted(repository, digest=image.manifest.digest), request_id)
        for name, tag in [key for key, value in self.tags.items() if value is image and key[0] == repository]:
            self._tell(client, "DELETE", _deleted(name, tag=tag), request_id)
            del self.tags[name, tag]

    def delete_tag(self, client: Client, repository: str, tag: str) -> None:
        """A delete by tag leaves the manifest where it is."""
        del self.tags[repository, tag]
        self._tell(client, "DELETE", _deleted(repository, tag=tag), self.uuid())

    def _tell(self, client: Client, method: str, target: dict[str, Any], request_id: str) -> None:
        self.now += timedelta(microseconds=self.random.randint(*_PAUSE))
        event = {
            "id": self.uuid(),
            "timestamp": self.now.isoformat(timespec="microseconds").replace("+00:00", "000Z"),
            "action": _ACTIONS[method],
            "target": target,
            "request": {
                "id": request_id,
                "addr": f"{client.address}:{self.random.randint(32768, 60999)}",
                "host": _HOST,
                "method": method,
                "useragent": client.user_agent,
            },
            "actor": {"name": client.actor},
            "source": {"addr": "registry:5000", "instanceID": self._instance},
        }
        self._told.append((self.now, event))


def _described(thing: Thing) -> dict[str, Any]:
    return {"mediaType": thing.media_type, "digest": thing.digest, "size": thing.size}


def _deleted(repository: str, *, digest: str = "", tag: str | None = None) -> dict[str, Any]:
    target = {"mediaType": "", "digest": digest, "size": 0, "repository": repository}
    return target | ({"tag": tag} if tag else {})
