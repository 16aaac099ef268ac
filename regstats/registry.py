"""What a registry has (distribution specification 1.1): tags, manifests as the bytes that they are, blobs."""

import hashlib
import io
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from typing import Any
from urllib.parse import quote, urlencode, urljoin, urlsplit

import msgspec
import urllib3
from msgspec import Struct

from regstats.agenda import revealed
from regstats.credentials import Login
from regstats.errors import ActionError, ConfigError
from regstats.names import is_digest, is_valid
from regstats.requesting import is_address
from regstats.rules import Registry
from regstats.session import MOST, Scope, Session, cause
from regstats.terminal import visible

_OCI, _DOCKER = "application/vnd.oci.image", "application/vnd.docker.distribution.manifest"
INDEXES = (f"{_OCI}.index.v1+json", f"{_DOCKER}.list.v2+json")
MANIFESTS = (f"{_OCI}.manifest.v1+json", f"{_DOCKER}.v2+json")
KNOWN = (*INDEXES, *MANIFESTS, "application/vnd.oci.artifact.manifest.v1+json")
_ACCEPTED = ", ".join(KNOWN)
_BYTES = "application/octet-stream"
_PAGE = 1000  # names that are asked for at once
_DIGESTS = {"sha256": hashlib.sha256, "sha384": hashlib.sha384, "sha512": hashlib.sha512}


def digest_of(registry: Registry, repository: str, tag: str, timeout: float) -> str | None:
    """What a tag points to; None if it is not there. Raises ActionError where the registry does not say."""
    if not is_address(registry.url):
        raise ConfigError("The url of a registry does not begin with https:// or http://.")
    login = Login(registry.user, revealed(registry.password or "")) if registry.user is not None else None
    with closing(Client(Session(registry.url, login, timeout=timeout, tries=1))) as client:
        return client.digest(repository, tag)


class Descriptor(Struct, frozen=True, rename="camel"):
    """What a manifest says of something else."""

    digest: str
    media_type: str = ""
    size: int = 0
    platform: dict[str, Any] | None = None
    artifact_type: str | None = None
    urls: list[str] | None = None
    """Where it is, if not at the registry: layers that must not be handed on."""


class _Content(Struct, frozen=True, rename="camel"):
    media_type: str = ""
    config: Descriptor | None = None
    layers: list[Descriptor] | None = None
    blobs: list[Descriptor] | None = None
    manifests: list[Descriptor] | None = None
    subject: Descriptor | None = None


class Manifest(Struct, frozen=True):
    """An image, or an index of several, exactly as the registry gave it."""

    digest: str
    media_type: str
    body: bytes

    @property
    def content(self) -> _Content:
        """What it says. Raises ActionError where that is no manifest."""
        try:
            return msgspec.json.decode(self.body, type=_Content)
        except msgspec.DecodeError as error:
            raise ActionError(f"The manifest {self.digest} is not understood: {error}", again=False) from None

    @property
    def is_index(self) -> bool:
        """Whether it lists others."""
        return self.media_type in INDEXES

    @property
    def children(self) -> list[Descriptor]:
        """The manifests that it lists."""
        return self.content.manifests or []

    @property
    def subject(self) -> Descriptor | None:
        """What it is attached to."""
        return self.content.subject

    @property
    def config(self) -> Descriptor | None:
        """The configuration of an image."""
        return self.content.config

    @property
    def parts(self) -> list[Descriptor]:
        """The blobs that it needs: configuration and layers."""
        content = self.content
        return [*([content.config] if content.config else []), *(content.layers or []), *(content.blobs or [])]


class Client:
    """What one registry has, and can be told to have, in any number of threads.

    Raises ActionError where it does not do what it is asked; what else there is to say of a registry, says `Session`.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._knows_referrers = True

    @property
    def registry(self) -> str:
        """Its host and port."""
        return self._session.registry

    def close(self) -> None:
        """Lets go of its connections."""
        self._session.close()

    # What is there

    def check(self) -> None:
        """Whether it can be asked at all. Raises ActionError: it cannot be reached, or does not know us."""
        with self._session.asked("GET", "/v2/"):
            pass

    def repositories(self) -> Iterator[str]:
        """Those that the registry lists; not every one does."""
        for said in self._pages(f"/v2/_catalog?n={_PAGE}"):
            yield from (name for name in said.get("repositories") or [] if is_valid(name, "latest"))

    def tags(self, repository: str) -> list[str]:
        """In the order of the registry; none where it does not have the repository."""
        pages = self._pages(f"/v2/{repository}/tags/list?n={_PAGE}")
        return list(dict.fromkeys(tag for said in pages for tag in said.get("tags") or [] if is_valid(repository, tag)))

    def digest(self, repository: str, reference: str) -> str | None:
        """What a tag points to; None if it is not there."""
        found = self._head(repository, reference)
        if found is None or found.digest:
            return found.digest if found else None
        whole = self.manifest(repository, reference)  # old registries do not say it
        return whole.digest if whole else None

    def head(self, repository: str, reference: str) -> Descriptor | None:
        """The same with media type and size of the manifest."""
        found = self._head(repository, reference)
        if found is None or (found.digest and found.media_type in KNOWN):
            return found
        whole = self.manifest(repository, reference)
        return Descriptor(whole.digest, whole.media_type, len(whole.body)) if whole else None

    def _head(self, repository: str, reference: str) -> Descriptor | None:
        """As far as the registry says it; what it does not say is empty."""
        with self._session.asked("HEAD", _manifest(repository, reference), accept=_ACCEPTED, gone=(404,)) as answer:
            if answer.status_code == 404:
                return None
            said, size = answer.headers.get("Docker-Content-Digest", ""), answer.headers.get("Content-Length", "")
        if said and not is_digest(said):
            raise ActionError(f"{self.registry} says {visible(said)!r}, which is no digest.", again=False)
        return Descriptor(said, _media_type(answer), int(size) if size.isdigit() else 0)

    def manifest(self, repository: str, reference: str) -> Manifest | None:
        """A manifest by tag or digest; None if it is not there. Its bytes are what its digest says."""
        with self._session.asked("GET", _manifest(repository, reference), accept=_ACCEPTED, gone=(404,)) as answer:
            if answer.status_code == 404:
                return None
            body, kind = self._session.body(answer), _media_type(answer)
            said = reference if ":" in reference else answer.headers.get("Docker-Content-Digest", "")
        made = digest_as(said, body)
        if said and made != said:
            why = f"{self.registry} gives other bytes for {repository} {visible(reference)} than {visible(said)}"
            raise ActionError(f"{why}: {made}.", again=False)
        if kind not in KNOWN:  # an old registry's text/plain
            kind = Manifest(made, kind, body).content.media_type or kind
        return Manifest(made, kind, body)

    def referrers(self, repository: str, digest: str) -> list[Descriptor] | None:
        """What says of itself that it is attached to a manifest; None if the registry does not know such a question."""
        if not self._knows_referrers:
            return None
        with self._session.asked("GET", f"/v2/{repository}/referrers/{_quoted(digest)}", gone=(404,)) as answer:
            self._knows_referrers = answer.status_code != 404  # who knows it says that there is nothing
            return self._session.decoded(answer, _Content).manifests or [] if self._knows_referrers else None

    def has_blob(self, repository: str, digest: str) -> bool:
        """Whether it is there."""
        with self._session.asked("HEAD", _blob(repository, digest), gone=(404,)) as answer:
            return answer.status_code != 404

    @contextmanager
    def blob(self, repository: str, part: Descriptor) -> Iterator["Blob"]:
        """The bytes of a blob, as they come; that they are the right ones is known when all have been read."""
        with self._session.asked("GET", _blob(repository, part.digest), accept=_BYTES) as answer:
            yield Blob(answer.raw, part)

    def small_blob(self, repository: str, part: Descriptor) -> bytes:
        """All of a blob that is small, as configurations are."""
        if part.size > MOST:
            raise ActionError(f"{part.digest} has {part.size:,} bytes, which is no configuration.", again=False)
        with self.blob(repository, part) as blob:
            return b"".join(blob)

    # What is written

    def put(self, repository: str, reference: str, manifest: Manifest) -> None:
        """Writes a manifest, under a tag or its digest: the same bytes, so the same digest."""
        path, headers = _manifest(repository, reference), {"Content-Type": manifest.media_type}
        with self._session.asked("PUT", path, headers=headers, data=manifest.body) as answer:
            has = answer.headers.get("Docker-Content-Digest", manifest.digest)
        if has != manifest.digest:
            raise ActionError(f"{self.registry} made {visible(has)} of {manifest.digest}.", again=False)

    def delete(self, repository: str, reference: str) -> bool:
        """Deletes a manifest with all its tags, or, where the registry can do that, a tag alone. Was it there?"""
        with self._session.asked("DELETE", _manifest(repository, reference), gone=(404,)) as answer:
            return answer.status_code != 404

    def add(
        self, repository: str, part: Descriptor, read: Callable[[], AbstractContextManager["Blob"]], other: str | None
    ) -> None:
        """Gives a repository a blob: that of another repository here, if one is named and the registry does that.

        Else it is read, and sent in one piece.
        """
        scope, query = Scope(repository, "POST", other or ""), {"mount": part.digest, "from": other} if other else {}
        with self._session.asked("POST", f"/v2/{repository}/blobs/uploads/?{urlencode(query)}", scope=scope) as answer:
            if answer.status_code == 201:
                return
            location = urljoin(answer.url, answer.headers.get("Location", ""))
        address = f"{location}{'&' if '?' in location else '?'}{urlencode({'digest': part.digest})}"
        with (
            read() as blob,
            self._session.asked("PUT", address, scope=scope, headers={"Content-Type": _BYTES}, data=blob),
        ):
            pass

    def _pages(self, path: str) -> Iterator[dict[str, Any]]:
        """One answer after the other, as long as the registry says that there is another."""
        seen: set[str] = set()
        while path not in seen:
            seen.add(path)
            with self._session.asked("GET", path, gone=(404,)) as answer:
                if answer.status_code == 404:
                    return
                yield self._session.decoded(answer, dict[str, Any])
                following = answer.links.get("next", {}).get("url")
            if not following:
                return
            at = urlsplit(urljoin(f"{self._session.base}{path}", following))
            path = f"{at.path}?{at.query}"  # at this registry, whatever it says


class Blob:
    """The bytes of a blob on their way from one registry to another: read once, counted, and checked at the end."""

    def __init__(self, source: Any, part: Descriptor) -> None:
        self._source, self._part = source, part
        self._hash, self._read = _hash_of(part.digest), 0

    def __len__(self) -> int:
        return self._part.size

    def __iter__(self) -> Iterator[bytes]:
        while piece := self.read(1 << 20):
            yield piece

    def read(self, size: int = -1) -> bytes:
        """The next bytes. Raises ActionError where they are not those of the digest."""
        try:
            piece: bytes = self._source.read(None if size < 0 else size)
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise ActionError(f"The blob {self._part.digest} broke off: {cause(error)}") from None
        self._hash.update(piece)
        self._read += len(piece)
        is_over = self._read >= self._part.size or not piece
        if is_over and (self._read, self._hash.hexdigest()) != (self._part.size, self._part.digest.partition(":")[2]):
            raise ActionError(f"The blob {self._part.digest} is damaged where it is.", again=False)
        return piece


def once(data: bytes, part: Descriptor) -> Callable[[], AbstractContextManager[Blob]]:
    """Bytes that are at hand, for `Client.add`."""
    return lambda: nullcontext(Blob(io.BytesIO(data), part))


def digest_as(said: str, body: bytes) -> str:
    """The digest of bytes, in the kind that somebody else uses."""
    kind = said.partition(":")[0] if said else "sha256"
    return f"{kind}:{_hash_of(said or 'sha256:', body).hexdigest()}"


def _hash_of(digest: str, body: bytes = b"") -> Any:
    kind = digest.partition(":")[0]
    if kind not in _DIGESTS:
        raise ActionError(f"Digests such as {visible(digest)} are not known here.", again=False)
    return _DIGESTS[kind](body)


def _media_type(answer: Any) -> str:
    return str(answer.headers.get("Content-Type", "")).partition(";")[0].strip()


def _manifest(repository: str, reference: str) -> str:
    return f"/v2/{repository}/manifests/{_quoted(reference)}"


def _blob(repository: str, digest: str) -> str:
    return f"/v2/{repository}/blobs/{_quoted(digest)}"


def _quoted(reference: str) -> str:
    return quote(reference, safe=":")
