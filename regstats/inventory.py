"""What is in a registry: which tags there are, what they point to, and what that is."""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from fnmatch import fnmatchcase
from typing import Any, NamedTuple, TypeVar

import msgspec
from msgspec import Struct, structs

from regstats.errors import ActionError, ParameterError
from regstats.names import Name, fits, is_glob, parse, split
from regstats.registry import INDEXES, Client, Descriptor, Manifest

Thing = TypeVar("Thing")
Result = TypeVar("Result")
ClientOf = Callable[[str], Client]

ATTACHMENT = re.compile(r"(sha256|sha384|sha512)-([0-9a-f]{32,})(\.\w+)?", re.ASCII)
"""Tags of what belongs to another manifest: signatures, lists of parts, and the index of them."""
_ABSURD = 2000  # years before that are what builds write that want to be the same again


class Tagged(NamedTuple):
    """A tag, and what it points to."""

    name: Name
    digest: str
    media_type: str


class Content(NamedTuple):
    """What a manifest is."""

    size: int
    """Bytes of configurations and layers, of all platforms, each once."""
    created: datetime | None
    """When it was built, as it says itself; of an index the latest of it."""
    platforms: list[str]


def each(do: Callable[[Thing], Result], things: Iterable[Thing], jobs: int) -> list[Result]:
    """What comes of each thing, in order, `jobs` at a time. The first error ends it."""
    pool = ThreadPoolExecutor(jobs)
    try:
        return list(pool.map(do, things))
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def select(client_of: ClientOf, texts: Sequence[str], registry: str, jobs: int) -> list[Tagged]:
    """The tags that are meant by names and globs: `team/app:1.0`, `team/app` (all tags), `team/*:1.*`; all by none.

    Raises ParameterError where a name without `*` is not there, and ActionError where a registry does not say.
    """
    found: dict[Name, Tagged] = {}
    for text in texts or ["*"]:
        at, glob = split(text)
        names = list(_names(client_of(at or registry), glob))
        tagged = [one for one in each(lambda name: _tagged(client_of(name.registry), name), names, jobs) if one]
        if not tagged and not is_glob(text):
            raise ParameterError(f"There is no {text!r} at {at or registry}.")
        found |= {one.name: one for one in tagged}
    return [found[name] for name in sorted(found, key=lambda name: (name.registry, name.repository, name.tag or ""))]


def _names(client: Client, glob: str) -> Iterator[Name]:
    """Which names may be meant."""
    of_repository, _, of_tag = glob.partition("@")[0].partition(":")
    if "@" in glob or (of_tag and not is_glob(glob)):
        yield parse(f"{client.registry}/{glob}", client.registry)
        return
    for repository in _repositories(client, of_repository):
        tags = [tag for tag in client.tags(repository) if not of_tag or fnmatchcase(tag, of_tag)]
        yield from (Name(client.registry, repository, tag) for tag in tags)


def _repositories(client: Client, glob: str) -> list[str]:
    if not is_glob(glob):
        return [parse(f"{client.registry}/{glob}", client.registry).repository]
    try:
        return [repository for repository in client.repositories() if fits(glob, repository)]
    except ActionError as error:
        raise ActionError(f"To find {glob!r} all repositories have to be listed. {error}", again=error.again) from None


def _tagged(client: Client, name: Name) -> Tagged | None:
    found = client.head(name.repository, name.reference)
    return Tagged(name, found.digest, found.media_type) if found else None


def tags_of(client: Client, repository: str, jobs: int = 1) -> list[Tagged]:
    """All tags of a repository with what they point to."""
    names = [Name(client.registry, repository, tag) for tag in client.tags(repository)]
    return [one for one in each(lambda name: _tagged(client, name), names, jobs) if one]


def attached_to(tag: str) -> str | None:
    """The digest that a tag belongs to, if it is one of a signature or the like (cosign, and the specification)."""
    found = ATTACHMENT.fullmatch(tag)
    return f"{found[1]}:{found[2]}" if found else None


class Attached:
    """What belongs to the manifests of a repository: signatures, lists of parts.

    By tags that cosign gives, or as the registry says, or where it does not know, by the tag of an index of it
    (distribution specification, "Referrers Tag Schema").
    """

    def __init__(self, client: Client, repository: str, tagged: Iterable[Tagged]) -> None:
        self._client, self._repository = client, repository
        self._tagged: dict[str, list[Tagged]] = {}
        for one in tagged:
            if (subject := attached_to(one.name.tag or "")) is not None:
                self._tagged.setdefault(subject, []).append(one)

    def to(self, digest: str) -> list[Tagged]:
        """What is attached to a manifest; what has no tag by its digest."""
        found = list(self._tagged.get(digest, []))
        said = self._client.referrers(self._repository, digest)
        if said is None:
            indexes = [
                self._client.manifest(self._repository, one.digest) for one in found if one.media_type in INDEXES
            ]
            said = [child for index in indexes if index for child in index.children]
        place = Name(self._client.registry, self._repository)
        return found + [Tagged(structs.replace(place, digest=one.digest), one.digest, one.media_type) for one in said]


def describe(client: Client, repository: str, digest: str) -> Content | None:
    """What a manifest is, and how large; None if it is not there."""
    manifest = client.manifest(repository, digest)
    if manifest is None:
        return None
    if not manifest.is_index:
        return _content(client, repository, [(None, manifest)])
    # What only describes others has the platform unknown/unknown.
    children = [(child, client.manifest(repository, child.digest)) for child in manifest.children]
    return _content(client, repository, [(child, found) for child, found in children if found])


def _content(client: Client, repository: str, images: list[tuple[Descriptor | None, Manifest]]) -> Content:
    parts = {part.digest: part.size for _, manifest in images for part in manifest.parts}
    said = [_configuration(client, repository, manifest) for _, manifest in images]
    times = [time for one in said if (time := _created(one)) is not None]
    platforms = [
        _platform(child.platform or {} if child else own) for (child, _), own in zip(images, said, strict=True)
    ]
    return Content(sum(parts.values()), max(times, default=None), list(filter(None, platforms)))


def _configuration(client: Client, repository: str, manifest: Manifest) -> dict[str, Any]:
    """The configuration of an image; of what is no image, or is damaged, nothing is known."""
    if manifest.config is None or not manifest.config.media_type.endswith((".image.config.v1+json", ".image.v1+json")):
        return {}
    try:
        said = msgspec.json.decode(client.small_blob(repository, manifest.config))
        return said if isinstance(said, dict) else {}
    except (msgspec.DecodeError, ActionError):
        return {}


class _Created(Struct):
    created: datetime


def _created(said: dict[str, Any]) -> datetime | None:
    try:
        time = msgspec.convert(said, _Created).created
    except msgspec.ValidationError:
        return None
    return time if time.tzinfo and time.year >= _ABSURD else None


def _platform(said: dict[str, Any]) -> str | None:
    """`linux/arm64/v8`."""
    names = [said.get(key) for key in ("os", "architecture", "variant")]
    text = "/".join(name for name in names if isinstance(name, str) and name)
    return text if text and "unknown" not in text else None


def contents(client_of: ClientOf, tagged: Sequence[Tagged], jobs: int) -> dict[tuple[str, str], Content | None]:
    """What everything that tags point to is, each once."""
    things = list({(one.name.repository, one.digest): one.name.registry for one in tagged}.items())
    found = each(lambda thing: describe(client_of(thing[1]), *thing[0]), things, jobs)
    return {key: content for (key, _), content in zip(things, found, strict=True)}
