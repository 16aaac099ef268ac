"""What options may be that end up in configuration for other programs: kinds of values for click, which it checks."""

import ipaddress
import re
from collections import UserString
from collections.abc import Callable
from typing import Any

import click

from regstats.terminal import visible

_HOST = r"[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]"
_PLACE = re.compile(rf"({_HOST}):([0-9]{{1,5}})")
_URL = re.compile(rf"https?://({_HOST})(?::([0-9]{{1,5}}))?(?:/[A-Za-z0-9._~%-]*)*")


class Checked(UserString):
    """Text that has been checked: it has nothing in it that would have to be quoted."""


class Kind(click.ParamType):  # type: ignore[type-arg] # it has none before click 8.4
    """What an option takes: a function that gives it, or raises ValueError."""

    def __init__(self, name: str, understand: Callable[[str], str | Checked]) -> None:
        self.name = name
        self._understand = understand

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """As click asks for it."""
        try:
            return self._understand(str(value))
        except ValueError as error:
            self.fail(visible(f"`{value}` {error}."), param, ctx)


def text(value: str) -> str:
    """Whatever can be seen. All else JSON writes in a way that is another in YAML or TOML, or none."""
    if not value or not value.isprintable():
        raise ValueError("is not one line of text that can be seen")
    return value


def _file_of_nginx(value: str) -> str:
    if "$" in text(value):
        raise ValueError("has a $ in it, after which nginx expects the name of a variable")
    return value


def _source(value: str) -> str:
    if "/" in text(value):
        raise ValueError("has a slash in it, so there is no address to which this source could post")
    return value


def _place(value: str) -> Checked:
    found = _PLACE.fullmatch(value)
    if found is None or not _is_host(found[1]) or not _is_port(found[2]):
        raise ValueError("is not an address and a port, such as 127.0.0.1:5000, [::1]:5000 or registry.example:443")
    return Checked(value)


def _is_host(host: str) -> bool:
    """What looks like an address must be one; all else is a name."""
    if not host.startswith("[") and not re.fullmatch(r"[0-9.]+", host):
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).version == (6 if host.startswith("[") else 4)
    except ValueError:
        return False


def _is_port(port: str | None) -> bool:
    return port is None or 1 <= int(port) <= 65535


def _network(value: str) -> Checked:
    if "%" in value:
        raise ValueError("has a zone (%), which means something on one machine only")
    try:
        network = ipaddress.ip_network(value)
    except ValueError as error:
        raise ValueError(f"is no address or network, such as 192.0.2.7, 10.0.0.0/8, 2001:db8::/32: {error}") from None
    return Checked(str(network.network_address if network.num_addresses == 1 else network))


def _server_name(value: str) -> Checked:
    if not re.fullmatch(r"(\*\.)?[A-Za-z0-9.-]+", value):
        raise ValueError("is not the name of a host, such as registry.example")
    return Checked(value)


def _registry(value: str) -> Checked:
    found = re.fullmatch(rf"({_HOST})(?::([0-9]{{1,5}}))?", value)
    if found is None or not _is_host(found[1]) or not _is_port(found[2]):
        raise ValueError("is not the name of a registry, such as docker.io or registry.example:5000")
    return Checked(value)


def _named(pattern: str, what: str) -> Callable[[str], Checked]:
    """Only text of a certain form, in which nothing has to be quoted."""

    def understand(value: str) -> Checked:
        if not re.fullmatch(pattern, value, re.ASCII):
            raise ValueError(f"is not {what}")
        return Checked(value)

    return understand


def _url(value: str) -> str:
    found = _URL.fullmatch(value)
    if found is None or not _is_host(found[1]) or not _is_port(found[2]):
        raise ValueError("is not an address such as https://registry.example:5000, without user, password and query")
    return value.rstrip("/")


TEXT = Kind("TEXT", text)
FILE = Kind("FILE", text)
FOLDER = Kind("DIR", text)
FILE_OF_NGINX = Kind("FILE", _file_of_nginx)
SOURCE = Kind("NAME", _source)
PLACE = Kind("ADDRESS:PORT", _place)
NETWORK = Kind("NETWORK", _network)
SERVER_NAME = Kind("NAME", _server_name)
REGISTRY = Kind("NAME", _registry)
URL = Kind("URL", _url)
PATH = Kind("PATH", _named(r"(/[\w.@+-]+)+", "a path that begins with / and is made of letters, digits and ._@+-"))
USER = Kind("NAME", _named(r"[a-z_][a-z0-9_-]{0,30}", "the name of a user, such as regstats"))
IMAGE = Kind(
    "IMAGE",
    _named(
        r"[a-z0-9][a-z0-9._-]*(:[0-9]{1,5}(?=/))?(/[a-z0-9][a-z0-9._-]*)*(:\w[\w.-]{0,127})?(@sha256:[0-9a-f]{64})?",
        "the name of an image, such as registry.example:5000/team/app:1.2",
    ),
)
LABEL = Kind(
    "NAME",
    _named(r"[a-z]([a-z0-9-]{0,40}[a-z0-9])?", "a name of Kubernetes: small letters, digits and -, such as regstats"),
)
SIZE = Kind("SIZE", _named(r"[1-9][0-9]{0,5}(Mi|Gi|Ti)", "a size, such as 500Mi or 20Gi"))
