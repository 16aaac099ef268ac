"""Who may send: by address, token and signature; and which address a sender has behind a proxy."""

import base64
import binascii
import hmac
import ipaddress
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any
from urllib.parse import parse_qs

from regstats.addresses import address_in
from regstats.payloads import SIGNATURES

_SIGNATURES = [
    (f"HTTP_{name.upper().replace('-', '_')}", algorithm)
    for name, algorithms in SIGNATURES.items()
    for algorithm in algorithms
]
"""The headers in which senders sign, by their names in WSGI, and with which hash."""


def address_of(remote: str | None, forwarded_for: str, trusted_proxies: Iterable[str]) -> str | None:
    """The address of the sender: of the connection, or what trusted proxies say.

    Each proxy appends to X-Forwarded-For whom it took the request from. So it is read from its end, and only as far as
    it was written by a trusted proxy: the rest is whatever the sender likes.
    """
    proxies, hops, address = list(trusted_proxies), forwarded_for.split(","), remote
    while hops and proxies and is_in(address, proxies):
        hop = address_in(hops.pop())
        if hop is None:
            break
        address = str(hop)
    return address


def is_in(address: str | None, networks: Iterable[str]) -> bool:
    """Whether an address belongs to one of the networks."""
    parsed = address_in(address)
    return parsed is not None and any(parsed in _network(network) for network in networks)


@lru_cache(maxsize=1024)
def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    return ipaddress.ip_network(text)


def shows(authorization: str, token: str | None, query: str = "") -> bool:
    """Whether an Authorization header holds the token, in constant time; True where none is needed.

    Or the query (`token=…`): for senders that can set no header, and have nothing but an address.
    """
    if token is None:
        return True
    in_query = parse_qs(query).get("token", [""])[0] if query else ""
    secret = token.encode()
    return any([
        hmac.compare_digest(_shown(authorization), secret),
        hmac.compare_digest(in_query.encode(errors="replace"), secret),
    ])  # fmt: skip


def _shown(authorization: str) -> bytes:
    """The secret in an Authorization header: of Bearer and token what follows, of Basic the password; or it is that."""
    scheme, _, credentials = authorization.partition(" ")
    credentials = credentials.strip()
    if not credentials:  # of Harbor and GitLab
        return scheme.encode("latin-1", "replace")
    if scheme.lower() in ("bearer", "token"):
        return credentials.encode("latin-1", "replace")
    if scheme.lower() != "basic":
        return b""
    try:
        return base64.b64decode(credentials, validate=True).partition(b":")[2]
    except (binascii.Error, ValueError):
        return b""


def is_signed(environ: Mapping[str, Any], body: bytes, secret: str | None) -> bool:
    """Whether one of the known headers holds the HMAC of the body, in constant time; True where none is needed.

    Or the secret itself: Artifactory sends that unless it is told to sign.
    """
    if secret is None:
        return True
    return any(
        hmac.compare_digest(_digest(environ[name]), hmac.digest(secret.encode(), body, algorithm))
        or hmac.compare_digest(environ[name].encode("latin-1", "replace"), secret.encode())
        for name, algorithm in _SIGNATURES
        if name in environ
    )


def _digest(signature: str) -> bytes:
    """`sha256=<hex>` or `<hex>` as bytes; none where it is not that."""
    try:
        return bytes.fromhex(signature.strip().rpartition("=")[2])
    except ValueError:
        return b""
