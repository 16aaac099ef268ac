"""Who we are at a registry: what `docker login` and `podman login` have left, or a program that keeps it for them."""

import base64
import binascii
import os
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from regstats.errors import ConfigError
from regstats.names import HUB
from regstats.terminal import visible

_PATIENCE = 30.0  # seconds for a helper: some ask a cloud
_TOKEN = "<token>"  # noqa: S105 - what helpers say instead of a user's name
_UNKNOWN = "credentials not found"


class Login(Struct, frozen=True):
    """A user and a password, or a token that stands for both."""

    user: str = ""
    password: str = ""
    identity_token: str = ""
    """Got by a login before, and to be changed for tokens (OAuth 2, `refresh_token`)."""

    def __repr__(self) -> str:
        return f"Login({self.user!r})"


class _Said(Struct, rename="pascal"):
    """What a helper knows."""

    username: str
    secret: str


def find(registry: str, repository: str = "", environ: Mapping[str, str] = os.environ) -> Login | None:
    """What is known of a registry, or of a part of it; None if nothing. The first file that has something counts.

    `$REGISTRY_AUTH_FILE`, `$DOCKER_CONFIG/config.json` (or `~/.docker`), then podman's. Raises ConfigError where a
    file or a helper is broken.
    """
    for path in _files(environ):
        login = _in_file(path, registry, repository)
        if login is not None:
            return login
    return None


def for_engine(login: Login | None) -> dict[str, str]:
    """As engines want it with each push and pull. Nobody, if nothing is known: they would look for themselves else."""
    if login is None:
        return {}
    if login.identity_token:
        return {"identitytoken": login.identity_token}
    return {"username": login.user, "password": login.password}


def _files(environ: Mapping[str, str]) -> Iterator[Path]:
    home = Path(environ.get("HOME", "/"))
    if environ.get("REGISTRY_AUTH_FILE"):
        yield Path(environ["REGISTRY_AUTH_FILE"])
    yield Path(environ.get("DOCKER_CONFIG") or home / ".docker") / "config.json"
    if environ.get("XDG_RUNTIME_DIR"):
        yield Path(environ["XDG_RUNTIME_DIR"]) / "containers" / "auth.json"
    yield Path(environ.get("XDG_CONFIG_HOME") or home / ".config") / "containers" / "auth.json"


def _in_file(path: Path, registry: str, repository: str) -> Login | None:
    try:
        said: dict[str, Any] = msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
        return _found(said, registry, repository)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise ConfigError(f"Cannot read {path}, where logins are: {error.strerror}.") from None
    except (msgspec.DecodeError, UnicodeDecodeError, binascii.Error, AttributeError, TypeError):
        raise ConfigError(f"{path}, where logins are, is not as docker and podman write it.") from None


def _found(said: dict[str, Any], registry: str, repository: str) -> Login | None:
    """A helper for the registry, else what is in the file, else the helper for everything. The longest name first."""
    helpers, store = said.get("credHelpers") or {}, said.get("credsStore")
    auths = {_bare(key): (key, value) for key, value in (said.get("auths") or {}).items()}
    for name in _names(registry, repository):
        if name in helpers:
            return _of_helper(helpers[name], name)
        key, entry = auths.get(name, (name, {}))
        login = _of_entry(entry)
        if login is None and store and "/" not in name:
            login = _of_helper(store, key)
        if login is not None:
            return login
    return None


def _names(registry: str, repository: str) -> Iterator[str]:
    """As files may name it: podman's may have a login for `registry.example/team`."""
    parts = [part for part in repository.split("/") if part]
    for alias in HUB if registry in HUB else (registry,):
        for length in range(len(parts), -1, -1):
            yield "/".join([alias, *parts[:length]])


def _bare(key: str) -> str:
    """`https://index.docker.io/v1/` is the registry `index.docker.io`."""
    without = key.partition("://")[2] or key
    return without.removesuffix("/").removesuffix("/v1").removesuffix("/v2")


def _of_entry(entry: dict[str, Any]) -> Login | None:
    if entry.get("identitytoken"):
        return Login(identity_token=entry["identitytoken"])
    if entry.get("auth"):
        user, _, password = base64.b64decode(entry["auth"], validate=True).decode().partition(":")
        return Login(user, password.rstrip("\0"))
    if entry.get("username"):
        return Login(entry["username"], entry.get("password", ""))
    return None


def _of_helper(helper: str, registry: str) -> Login | None:
    """What `docker-credential-<helper> get` says. It knows of nothing: None."""
    program = f"docker-credential-{helper}"
    try:
        done = subprocess.run(  # noqa: S603 - the user's own configuration names it, as for docker
            [program, "get"], input=registry.encode(), capture_output=True, timeout=_PATIENCE, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ConfigError(f"{program}, which keeps the login for {registry}, does not run: {error}") from None
    if done.returncode:
        why = (done.stdout or done.stderr).decode(errors="replace").strip()
        if _UNKNOWN in why:
            return None
        raise ConfigError(f"{program}, which keeps the login for {registry}, says: {visible(why)}")
    said = msgspec.json.decode(done.stdout, type=_Said)
    return Login(identity_token=said.secret) if said.username == _TOKEN else Login(said.username, said.secret)
