"""GitHub's container registry: the events `registry_package` and `package` of a webhook.

Source: GitHub's documentation of webhook events, octokit's samples, and samples of other projects' tests. The id is a
header, and stays the same when somebody lets it be delivered again. Names are written as the owner writes them, and
mean small letters. Both events tell of the same push: a webhook should have one of them.
"""

from collections.abc import Iterable
from datetime import datetime

import msgspec
from msgspec import Struct

from regstats.errors import PayloadError
from regstats.payloads.dialect import Dialect, Payload, Size, Time, Understood, make_event, place_of, time_of, typed

NAME = "github"
_DELIVERY = "x-github-delivery"
_CONTAINERS = ("container", "docker")
_ACTIONS = {"published": "push", "updated": "push", "create": "push", "created": "push", "deleted": "delete"}


class _Login(Struct):
    login: str | None = None


class _Tag(Struct):
    name: str | None = None
    digest: str | None = None


class _Manifest(Struct):
    digest: str | None = None
    media_type: str | None = None
    size: Size | None = None


class _Metadata(Struct):
    tag: _Tag | None = None
    manifest: _Manifest | None = None


class _Version(Struct):
    name: str | None = None
    version: str | None = None
    container_metadata: _Metadata | None = None
    package_url: str | None = None
    created_at: Time = None
    updated_at: Time = None


class _Package(Struct):
    name: str | None = None
    namespace: str | None = None
    package_type: str | None = None
    ecosystem: str | None = None
    owner: _Login | None = None
    package_version: _Version | None = None
    created_at: Time = None
    updated_at: Time = None


class _Wire(Struct):
    action: str | None = None
    package: _Package | None = None
    registry_package: _Package | None = None
    sender: _Login | None = None


_wires = msgspec.json.Decoder(_Wire)
_heads = msgspec.json.Decoder(dict[str, msgspec.Raw])


def claims(payload: Payload) -> bool:
    """By what a package has there. Gitea sends GitHub's headers, too, so they do not tell."""
    if {"zen", "hook_id"} <= payload.keys.keys():
        return True
    package = payload.keys.get("registry_package", payload.keys.get("package"))
    if package is None or not bytes(package).startswith(b"{"):
        return False
    return bool({"package_version", "package_type", "ecosystem"} & _heads.decode(package).keys())


def parse(payload: Payload) -> Understood:
    """One event. A `ping` says that nothing has happened."""
    if "zen" in payload.keys:
        return []
    said = typed(_wires, payload.raw)
    package = said.registry_package or said.package or _Package()
    version = package.package_version or _Version()
    if not _is_container(package):
        raise PayloadError(f"A package of the kind {package.package_type or package.ecosystem}: no image.")
    metadata = version.container_metadata or _Metadata()
    tag, manifest = metadata.tag or _Tag(), metadata.manifest or _Manifest()
    return [
        make_event(
            NAME, payload,
            event_id=payload.headers.get(_DELIVERY), at=_time(package, version, payload),
            action=_ACTIONS.get(said.action or "", said.action), repository=_name(package),
            tag=tag.name or version.name or version.version,
            digest=tag.digest or manifest.digest or _digest(version),
            media_type=manifest.media_type, size=manifest.size, actor=(said.sender or _Login()).login,
            registry=place_of(version.package_url or "").registry,
        )
    ]  # fmt: skip


def _is_container(package: _Package) -> bool:
    metadata = package.package_version and package.package_version.container_metadata
    kinds = {(kind or "").lower() for kind in (package.package_type, package.ecosystem)}
    return metadata is not None or bool(kinds & set(_CONTAINERS))


def _name(package: _Package) -> str | None:
    """Without it the owner's is the namespace."""
    owner = package.namespace or (package.owner or _Login()).login
    return f"{owner}/{package.name}".lower() if owner and package.name else None


def _digest(version: _Version) -> str | None:
    return next((name for name in (version.version, version.name) if name and name.startswith("sha256:")), None)


def _time(package: _Package, version: _Version, payload: Payload) -> datetime | None:
    said: Iterable[Time] = (version.updated_at, version.created_at, package.updated_at, package.created_at)
    return next((when for time in said if (when := time_of(time, payload.received_at))), None)


DIALECT = Dialect(
    NAME, "GitHub Packages", claims, parse,
    people=("sender", "package.package_version.author", "registry_package.package_version.author"),
    headers=("x-github-event", _DELIVERY),
    signatures={"x-hub-signature-256": ("sha256",)},
)  # fmt: skip
