"""Names of people and addresses, made unrecognisable: at intake, before anything is on disk, and in what is exported.

A salt keeps others from trying out all names there are; whoever has it can do so. It makes pseudonyms, and no more.
"""

import hashlib
import ipaddress
import secrets
from collections.abc import Callable
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from regstats.addresses import address_in
from regstats.events import Delivery
from regstats.payloads import documents, whose

_PREFIX = "anon-"
_NAMES = ("name", "login", "username")
_KEPT = ("user_type",)
"""What is kept of a person who is an object: it says whose payload it is."""
_SHORT = {4: 24, 6: 48}
"""Bits of an address that remain when it is truncated."""


class Privacy(Struct, frozen=True, forbid_unknown_fields=True):
    """What becomes of people in what is received, `[privacy]`. What is not kept here nobody can get back."""

    actors: Literal["keep", "hash", "drop"] = "keep"
    """Their names: as they are, or a pseudonym each, or nothing."""
    addresses: Literal["keep", "truncate", "drop"] = "keep"
    """Those of clients: as they are, or the network that they are in (/24, of IPv6 /48), or nothing."""
    salt: Annotated[str, Meta(min_length=16)] | None = None
    """A secret, for pseudonyms: a name has the same one as long as this is the same."""

    def __post_init__(self) -> None:
        if self.actors == "hash" and self.salt is None:
            raise ValueError("`actors = hash` in [privacy] needs a `salt`; make one with: openssl rand -hex 24")

    @property
    def is_on(self) -> bool:
        """Whether anything is changed."""
        return (self.actors, self.addresses) != ("keep", "keep")

    def actor(self, name: str | None) -> str | None:
        """What is kept of a name."""
        if not name or self.actors == "keep":
            return name
        if self.actors == "drop":
            return None
        return _PREFIX + hashlib.sha256(f"{self.salt}:{name}".encode(errors="surrogatepass")).hexdigest()[:16]

    def address(self, text: str | None) -> str | None:
        """What is kept of an address, with or without a port; of what is none, nothing."""
        if not text or self.addresses == "keep":
            return text
        address = address_in(text)
        if address is None or self.addresses == "drop":
            return None
        return str(ipaddress.ip_network((address, _SHORT[address.version]), strict=False).network_address)


OPEN = Privacy()
"""Everything is kept as it is."""


def exported(kept: Privacy, *, hash_actors: bool, truncate_addresses: bool) -> Privacy:
    """What becomes of people in an export. Pseudonyms are those of the settings, or, without a salt, of this one alone.

    So exports of the same settings can be put together, and others cannot.
    """
    return Privacy(
        actors="hash" if hash_actors else "keep",
        addresses="truncate" if truncate_addresses else "keep",
        salt=kept.salt or secrets.token_hex(24),
    )


def redacted(delivery: Delivery, privacy: Privacy) -> Delivery:
    """A delivery as it is kept: the people in it are changed where its dialect has them, and nothing else.

    Where nobody knows whose payload it is, all places are looked at in which any dialect has people. What is not JSON
    is kept as it came: nobody finds anything in it.
    """
    if not privacy.is_on:
        return delivery
    said = documents(delivery)
    if said is None:
        return delivery
    dialects = whose(delivery)
    nobody = {name for dialect in dialects for name in dialect.nobody}
    for document in said if isinstance(said, list) else [said]:
        for path in {path for dialect in dialects for path in dialect.people}:
            _change(document, path.split("."), lambda who: _person(who, privacy, nobody))
        for path in {path for dialect in dialects for path in dialect.addresses}:
            _change(document, path.split("."), lambda where: privacy.address(where) if isinstance(where, str) else None)
    return msgspec.structs.replace(delivery, body=msgspec.json.encode(said))


def _person(who: Any, privacy: Privacy, nobody: set[str]) -> Any:
    """What is kept of somebody: of an object only a name. `alice/192.0.2.7`, as Nexus has it, is name and address."""
    if isinstance(who, dict):
        named = {key: _person(who[key], privacy, nobody) for key in _NAMES if isinstance(who.get(key), str)}
        return named | {key: who[key] for key in _KEPT if key in who}
    if not isinstance(who, str) or who in nobody:
        return who if isinstance(who, str) else None
    name, slash, address = who.rpartition("/")
    if slash and address_in(address) is not None:
        return f"{_person(name, privacy, nobody) or ''}/{privacy.address(address) or ''}"
    return privacy.actor(who)


def _change(value: Any, path: list[str], change: Callable[[Any], Any]) -> None:
    """Changes what is at a path of a document, if it is there; `*` is every element of a list."""
    key, *rest = path
    if key == "*":
        for inner in value if isinstance(value, list) else ():
            _change(inner, rest, change)
    elif isinstance(value, dict) and value.get(key) is not None:
        if rest:
            _change(value[key], rest, change)
        else:
            value[key] = change(value[key])
