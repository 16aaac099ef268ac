"""Who may look at the numbers, how much a reader may ask for, and what browsers are told to be careful about.

Deliveries are `collector`'s business: what is here comes after `POST /events`.
"""

import hashlib
import math
import secrets
import threading
import time
from collections.abc import Callable, Collection
from urllib.parse import urlsplit

from cachetools import LRUCache
from flask import Request, Response
from werkzeug.datastructures import WWWAuthenticate
from werkzeug.exceptions import Forbidden, TooManyRequests, Unauthorized
from werkzeug.security import check_password_hash

from regstats import senders
from regstats.config import HASHES, Part, Settings, is_loopback

_LOOPBACK = ("127.0.0.0/8", "::1")
_WRONG = 20
"""Wrong credentials a minute from one address, before it has to wait."""
_READERS = 4096
_ENOUGH = 1 - 1e-9
"""One, but for what is lost in additions."""


class _Challenge(WWWAuthenticate):
    """In quotation marks: a realm must not be without (RFC 9110, 11.5)."""

    def to_header(self) -> str:
        """The header's value."""
        return f"{self.type.title()} " + ", ".join(f'{name}="{value}"' for name, value in self.parameters.items())


_CHALLENGES = [
    _Challenge("basic", {"realm": "regstats", "charset": "UTF-8"}),
    _Challenge("bearer", {"realm": "regstats"}),
]

_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
"""plotly.js writes styles into the page; scripts are ours alone. A badge may be shown elsewhere, and says so itself."""


class Access:
    """Who may read what a server shows."""

    def __init__(self, settings: Settings, clock: Callable[[], float] = time.monotonic) -> None:
        self._settings = settings
        self._is_open = settings.reading_token is None and not settings.read.users
        self._wrong = Allowance(_WRONG, clock)
        self._anew = Allowance(settings.read.rate, clock)
        self._passwords = Passwords(settings.read.users)

    def is_public(self, part: Part) -> bool:
        """Whether anybody may see it."""
        return part in self._settings.read.public

    def admit(self, request: Request, part: Part | None = None) -> None:
        """Lets a reader in. Raises Unauthorized, Forbidden, or TooManyRequests after too many wrong passwords."""
        if (part is not None and self.is_public(part)) or self.knows(request):
            return
        if self._is_open:
            raise Forbidden(
                "Without a token only this machine may read, under the name localhost or its loopback address. "
                "Set `token` or users in `[read]` of regstats.toml."
            )
        raise Unauthorized(
            "A token is needed, `Authorization: Bearer …`, or a user of `[read]` in regstats.toml.",
            www_authenticate=_CHALLENGES,
        )

    def knows(self, request: Request) -> bool:
        """Whether a request shows what it has to. Raises TooManyRequests where that was wrong too often."""
        if self._is_open:
            return _is_near(request)
        shown = request.headers.get("Authorization", "")
        token = self._settings.reading_token
        if (token is not None and senders.shows(shown, token)) or self._user(request):
            return True
        if not shown:
            return False
        self._wrong.take(self._address(request))
        return self._passwords.are_right(*_login(request))

    def may_approve(self, request: Request, approvers: Collection[str]) -> bool:
        """Whether who asks may let something be deployed: one of these users; who is on this machine, if it is open."""
        if self._is_open:
            return _is_near(request)
        return self.knows(request) and self._user(request) in approvers

    def check_origin(self, request: Request) -> None:
        """Raises Forbidden unless a page of this server asks: other pages could let their readers' browsers do so."""
        origin = urlsplit(request.headers.get("Origin", ""))
        if origin.netloc != request.host or request.headers.get("Sec-Fetch-Site", "same-origin") != "same-origin":
            raise Forbidden("Only a page of this server may ask for that.")

    def spend(self, request: Request) -> None:
        """Counts an answer that has to be made. Raises TooManyRequests where a reader had too many."""
        self._anew.take(self._user(request) or self._address(request))

    def _user(self, request: Request) -> str | None:
        """Who has logged in, as far as that is known already; a name alone is anybody's."""
        user, password = _login(request)
        return user if self._passwords.has_seen(user, password) else None

    def _address(self, request: Request) -> str:
        forwarded = request.headers.get("X-Forwarded-For", "")
        return senders.address_of(request.remote_addr, forwarded, self._settings.trusted_proxies) or ""


def _login(request: Request) -> tuple[str, str]:
    """A name and a password; empty ones where there are none."""
    try:
        login = request.authorization
    except ValueError:  # Werkzeug's, where what follows Basic is not ASCII
        login = None
    return (login.username or "", login.password or "") if login is not None else ("", "")


def _is_near(request: Request) -> bool:
    """Whether it comes from this machine.

    Not what a page elsewhere has its visitors' browsers ask, under a name of its own for this address (DNS rebinding);
    and not what a proxy on this machine takes from all the world, even if that is not an address.
    """
    forwarded = request.headers.get("X-Forwarded-For")
    hops = [request.remote_addr, *(forwarded.split(",") if forwarded else ())]
    return all(senders.is_in(hop, _LOOPBACK) for hop in hops) and is_loopback(_name_of(request.host))


def _name_of(host: str) -> str:
    """A Host header without its port: `[::1]:8080` is `::1`."""
    return host.rpartition("]")[0].strip("[") if host.startswith("[") else host.partition(":")[0]


class Passwords:
    """Those of the users. A hash takes long to check, on purpose, so what was right is known from then on."""

    def __init__(self, users: dict[str, str]) -> None:
        self._users = users
        self._key = secrets.token_bytes(16)
        self._seen: LRUCache[bytes, bool] = LRUCache(_READERS)
        self._lock = threading.Lock()

    def has_seen(self, user: str, password: str) -> bool:
        """Whether they were right before."""
        with self._lock:
            return self._mark(user, password) in self._seen

    def are_right(self, user: str, password: str) -> bool:
        """Whether somebody is who he says; a user who is not there takes as long."""
        if not self._users:
            return False
        secret = self._users.get(user) or next(iter(self._users.values()))
        right = check_password_hash(secret, password) if secret.startswith(HASHES) else _same(secret, password)
        if not (right and user in self._users):
            return False
        with self._lock:
            self._seen[self._mark(user, password)] = True
        return True

    def _mark(self, user: str, password: str) -> bytes:
        return hashlib.blake2b(f"{len(user)}:{user}{password}".encode(), key=self._key).digest()


def _same(secret: str, shown: str) -> bool:
    return secrets.compare_digest(secret.encode(), shown.encode())


class Allowance:
    """So many a minute for each, all at once or one after the other; without a limit if none are allowed."""

    def __init__(self, a_minute: int, clock: Callable[[], float]) -> None:
        self._most, self._clock = a_minute, clock
        self._left: LRUCache[str, tuple[float, float]] = LRUCache(_READERS)
        self._lock = threading.Lock()

    def take(self, who: str) -> None:
        """Takes one. Raises TooManyRequests, which says when there will be one again."""
        if not self._most:
            return
        with self._lock:
            now = self._clock()
            left, since = self._left.get(who, (float(self._most), now))
            left = min(self._most, left + (now - since) * self._most / 60)
            self._left[who] = (left - 1 if left >= _ENOUGH else left), now
        if left < _ENOUGH:
            raise TooManyRequests(
                f"That were more than {self._most:,} a minute. Wait, or ask the same again: what was just answered is "
                "answered without limit.",
                retry_after=max(1, math.ceil((1 - left) * 60 / self._most)),
            )


def harden(response: Response) -> Response:
    """Says what browsers must not do with an answer, where it does not say so itself."""
    for name, value in _HEADERS.items():
        response.headers.setdefault(name, value)
    return response
