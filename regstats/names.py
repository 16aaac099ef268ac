"""Names of images, `registry.example:5000/team/app:1.0@sha256:…`: docker's rules, and those of the specification."""

import re
from fnmatch import fnmatchcase

from msgspec import Struct

from regstats.errors import ParameterError

HUB = ("docker.io", "index.docker.io", "registry-1.docker.io")
"""Names of Docker Hub."""

_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REPOSITORY = re.compile(rf"{_PART}(?:/{_PART})*", re.ASCII)
_TAG = re.compile(r"\w[\w.-]{0,127}", re.ASCII)
_DIGEST = re.compile(r"[a-z0-9]+(?:[+._-][a-z0-9]+)*:[0-9a-fA-F]{32,}", re.ASCII)
_REGISTRY = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:]+\])(?::[0-9]{1,5})?", re.ASCII)
_DEFAULT_TAG = "latest"


class Name(Struct, frozen=True, order=True):
    """An image at a registry, by tag, or by digest, or by both."""

    registry: str
    repository: str
    tag: str | None = None
    digest: str | None = None

    def __str__(self) -> str:
        return f"{self.registry}/{self.short}"

    @property
    def short(self) -> str:
        """Without the registry."""
        tag = f":{self.tag}" if self.tag else ""
        return f"{self.repository}{tag}{f'@{self.digest}' if self.digest else ''}"

    @property
    def reference(self) -> str:
        """By what a registry is asked: the digest, if it is known."""
        return self.digest or self.tag or _DEFAULT_TAG


def parse(text: str, registry: str) -> Name:
    """What a name means, at this registry if it says none. Without tag and digest it is `latest`.

    What stands before the first slash is a registry if it has a dot or a colon, or is `localhost`, as docker has it.
    Raises ParameterError.
    """
    at, path = split(text)
    rest, _, digest = path.partition("@")
    repository, _, tag = rest.partition(":")
    where = at or registry
    official = "library/" if where in HUB and "/" not in repository else ""
    name = Name(where, f"{official}{repository}", tag or None, digest or None)
    check(name, text)
    return name if tag or digest else Name(name.registry, repository, _DEFAULT_TAG)


def split(text: str) -> tuple[str | None, str]:
    """The registry that a name says, and the rest."""
    first, slash, rest = text.partition("/")
    is_registry = bool(slash) and ("." in first or ":" in first or first == "localhost")
    return (first, rest) if is_registry else (None, text)


def check(name: Name, text: str | None = None) -> None:
    """Refuses what no registry would take. Raises ParameterError."""
    for what, pattern, part in (
        ("registry", _REGISTRY, name.registry),
        ("repository", _REPOSITORY, name.repository),
        ("tag", _TAG, name.tag),
        ("digest", _DIGEST, name.digest),
    ):
        if part is not None and not pattern.fullmatch(part):
            raise ParameterError(f"{text or str(name)!r} is not the name of an image: {part!r} is not a {what}.")


def is_valid(repository: str, tag: str) -> bool:
    """Whether these can be names; a registry may say anything."""
    return bool(_REPOSITORY.fullmatch(repository) and _TAG.fullmatch(tag))


def is_digest(text: str) -> bool:
    """Whether it is `sha256:…`, or another kind."""
    return bool(_DIGEST.fullmatch(text))


def familiar(text: str) -> str:
    """The name of a local image as people write it: without the registry that it came from."""
    at, path = split(text)
    return path.removeprefix("library/") if at in HUB else path


def fits(glob: str, repository: str, tag: str | None = None) -> bool:
    """Whether `team/*`, of any tag, or `team/*:1.*` fits a whole name. `*` is also slashes, as in all of regstats."""
    of_repository, colon, of_tag = glob.partition(":")
    return fnmatchcase(repository, of_repository) and (not colon or fnmatchcase(tag or "", of_tag))


def is_glob(text: str) -> bool:
    """Whether it stands for several."""
    return any(sign in text for sign in "*?[")
