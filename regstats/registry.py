"""A registry, as a client sees it: what does a tag point to?"""

import re
from typing import Any
from urllib.parse import quote, urlencode, urljoin

import msgspec

from regstats.agenda import revealed
from regstats.errors import ActionError, ConfigError
from regstats.requesting import Answer, UnreachableError, ask, basic, bearer, is_address, is_passing
from regstats.rules import Registry

_ACCEPTED = ", ".join(
    f"application/vnd.{kind}+json"
    for kind in (
        "oci.image.index.v1", "oci.image.manifest.v1",
        "docker.distribution.manifest.list.v2", "docker.distribution.manifest.v2",
    )
)  # fmt: skip
_PARAMETER = re.compile(r'(\w+)="([^"]*)"')


def digest_of(registry: Registry, repository: str, tag: str, timeout: float) -> str | None:
    """What a tag points to; None if it is not there. Raises ActionError where the registry does not say.

    Distribution specification, "Checking if content exists in the registry"; a token is got where it asks for one.
    """
    url = urljoin(registry.url, f"/v2/{quote(repository)}/manifests/{quote(tag, safe='')}")
    if not is_address(url):
        raise ConfigError("The url of a registry does not begin with https:// or http://.")
    answer = _asked(url, _login(registry), timeout)
    challenge = _header(answer, "WWW-Authenticate")
    if answer.status == 401 and challenge.lower().startswith("bearer "):
        answer = _asked(url, _token(registry, challenge, timeout), timeout)
    if answer.status == 404:
        return None
    if answer.status != 200:
        raise ActionError(f"the registry answered {answer.status}", again=is_passing(answer.status))
    return _header(answer, "Docker-Content-Digest") or None


def _asked(url: str, authorization: dict[str, str], timeout: float, method: str = "HEAD") -> Answer:
    try:
        return ask(url, method, None, {"Accept": _ACCEPTED, "User-Agent": "regstats"} | authorization, timeout)
    except UnreachableError as error:
        raise ActionError(f"the registry cannot be reached: {error}") from None


def _login(registry: Registry) -> dict[str, str]:
    if registry.user is None:
        return {}
    return basic(registry.user, revealed(registry.password or ""))


def _token(registry: Registry, challenge: str, timeout: float) -> dict[str, str]:
    """What a registry's token service gives for what the registry asks for."""
    asked = dict(_PARAMETER.findall(challenge))
    realm = asked.pop("realm", "")
    if not is_address(realm):
        raise ActionError("the registry asks for a token, and does not say where it is to be had", again=False)
    answer = _asked(f"{realm}?{urlencode(asked)}", _login(registry), timeout, "GET")
    try:
        given: dict[str, Any] = msgspec.json.decode(answer.body)
        return bearer(given.get("token") or given["access_token"])
    except (msgspec.DecodeError, KeyError, AttributeError):
        why = f"the registry's token service answered {answer.status}"
        raise ActionError(why, again=is_passing(answer.status)) from None


def _header(answer: Answer, name: str) -> str:
    return next((value for key, value in answer.headers.items() if key.lower() == name.lower()), "")
