"""The engine of this machine, dockerd or podman's service, through Docker's SDK: its images, pushes and pulls."""

import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

from regstats import extras
from regstats.credentials import Login, for_engine
from regstats.errors import ActionError
from regstats.names import Name, familiar
from regstats.requesting import is_passing
from regstats.terminal import visible

_LONGEST = 600.0  # seconds without a word from the engine
_CONFLICT = 409

_docker = partial(extras.module, "docker", "images")


@contextmanager
def understood(docker: Any) -> Iterator[None]:
    """Whatever Docker's SDK raises is an ActionError."""
    try:
        yield
    except docker.errors.APIError as error:
        again = error.status_code == _CONFLICT or is_passing(error.status_code or 500)
        raise ActionError(f"Docker says: {visible(str(error.explanation or error))}", again=again) from None
    except docker.errors.DockerException as error:
        # What it meets when it asks for the version is wrapped; anything else is wrong in the settings.
        raise ActionError(f"Docker: {visible(str(error))}", again=isinstance(error.__cause__, OSError)) from None
    except OSError as error:
        raise ActionError(f"Docker cannot be reached: {visible(str(error))}") from None


def address(environ: Mapping[str, str] = os.environ) -> str:
    """Where the engine listens: `$DOCKER_HOST`, or the first socket that is there, Docker's or podman's."""
    if environ.get("DOCKER_HOST"):
        return environ["DOCKER_HOST"]
    own = Path(environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.getuid()}")
    everybodys = Path("/run")
    for socket in (f / name for name in ("docker.sock", "podman/podman.sock") for f in (own, everybodys)):
        if socket.exists():
            return f"unix://{socket}"
    raise ActionError(
        "There is no engine on this machine: neither Docker's socket nor podman's is there. Start one, for instance "
        "with `podman system service --time 0`, or name its address with --engine or $DOCKER_HOST.",
        again=False,
    )


class Engine:
    """Pushes and pulls, in any number of threads. Raises ActionError, and MissingExtraError without the SDK."""

    def __init__(self, at: str | None = None, jobs: int = 1) -> None:
        self._sdk = _docker()
        self._temporary: dict[str, str] = {}
        self._lock, self._is_closed = threading.Lock(), False
        environment = dict(os.environ) | {"DOCKER_HOST": at or address()}
        with understood(self._sdk):
            client = self._sdk.from_env(environment=environment, timeout=_LONGEST, max_pool_size=max(jobs, 10))
            self._api = client.api
            self._api.version()

    def names(self) -> list[str]:
        """All images that have a name, by all their names."""
        with understood(self._sdk):
            found = {tag for image in self._api.images() for tag in image.get("RepoTags") or []}
        return sorted(tag for tag in found if not tag.endswith(":<none>"))

    def id_of(self, name: str) -> str | None:
        """The id of a local image: the digest of its configuration, or where containerd keeps images its own."""
        found = self._inspected(name)
        return str(found["Id"]) if found else None

    def has(self, name: Name, digest: str) -> bool:
        """Whether a local image of this name is the one that a registry has under this digest."""
        found = self._inspected(str(name)) or {}
        digests = {said.partition("@")[2] for said in found.get("RepoDigests") or []}
        return digest in digests | {found.get("Id")}

    def push(self, image: str, to: Name, login: Login | None) -> None:
        """Pushes a local image under another name, which it has only meanwhile, unless it had it before."""
        with self._tagged(image, to), understood(self._sdk):
            target = f"{to.registry}/{to.repository}"
            said = self._api.push(target, tag=to.tag, stream=True, decode=True, auth_config=for_engine(login))
            _fail_on_errors(said)

    def pull(self, name: Name, login: Login | None) -> None:
        """Pulls an image."""
        with understood(self._sdk):
            repository = f"{name.registry}/{name.repository}"
            said = self._api.pull(
                repository, tag=name.reference, stream=True, decode=True, auth_config=for_engine(login)
            )
            _fail_on_errors(said)

    def close(self) -> None:
        """Takes away the names that it gave, whatever goes on elsewhere; it gives no more."""
        with self._lock:
            self._is_closed = True
            left = list(self._temporary)
        for name in left:
            self._untag(name)
        self._api.close()

    @contextmanager
    def _tagged(self, image: str, to: Name) -> Iterator[None]:
        """A local image has another name meanwhile. A name that it had before it keeps."""
        name, own = str(to), self.id_of(image)
        if own is None:
            raise ActionError(f"There is no local image {visible(image)!r}.", again=False)
        has = self.id_of(name)
        if has is not None and has != own:
            raise ActionError(f"Locally {visible(name)} is another image; remove that name, or push it.", again=False)
        if has is not None:
            yield
            return
        self._tag(own, to)
        try:
            yield
        finally:
            self._untag(name)

    def _tag(self, image: str, to: Name) -> None:
        with self._lock:
            if self._is_closed:
                raise ActionError("It was interrupted.")
            self._temporary[str(to)] = image
        with understood(self._sdk):
            self._api.tag(image, f"{to.registry}/{to.repository}", tag=to.tag)

    def _untag(self, name: str) -> None:
        """Takes a name away, if it is still that of the same image: who gave it to another meanwhile wants it."""
        with self._lock:
            image = self._temporary.get(name)
        if image is None:
            return
        try:
            if self.id_of(name) == image:
                with understood(self._sdk), suppress(self._sdk.errors.NotFound):
                    self._api.remove_image(name, noprune=True)
        finally:
            with self._lock:
                self._temporary.pop(name, None)

    def _inspected(self, name: str) -> dict[str, Any] | None:
        with understood(self._sdk):
            try:
                return dict(self._api.inspect_image(name))
            except self._sdk.errors.NotFound:
                return None


def target_of(image: str, registry: str) -> str:
    """Under what name a local image is pushed: its own, at this registry."""
    return f"{registry}/{familiar(image)}"


def _fail_on_errors(said: Iterator[dict[str, Any]]) -> None:
    """What goes wrong is a message among others, and no exception."""
    error = None
    for message in said:
        error = message.get("error") or error
    if error:
        raise ActionError(f"The engine says: {visible(str(error))}")
