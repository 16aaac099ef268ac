"""`POST /events`: see who sends, append to the journal, answer 204. Nothing else happens before the 204.

A registry sends its queue strictly in order and repeats for ever what is not answered 2xx, so no payload is ever
refused for what it says: only for who sends it (401, 403, 404), for its size (413), because it was cut off (400), or
because it cannot be stored (503). `OPTIONS` asks whether a delivery would be taken, and stores nothing.

A layer of WSGI before the Flask application, which answers everything else: the way through Flask costs as much time as
having a delivery on disk (`tests/bench/results/collector.md`).
"""

import json
import time
from collections.abc import Callable, Iterable
from datetime import datetime
from functools import lru_cache
from wsgiref.types import InputStream, StartResponse, WSGIApplication, WSGIEnvironment

from werkzeug.exceptions import (
    ClientDisconnected,
    Forbidden,
    HTTPException,
    MethodNotAllowed,
    NotFound,
    RequestEntityTooLarge,
    ServiceUnavailable,
    Unauthorized,
)
from werkzeug.wrappers import Response

from regstats import monitoring, senders
from regstats.config import DEFAULT_SOURCE, Settings
from regstats.errors import JournalError
from regstats.events import Delivery, new_ids
from regstats.journal import Journal
from regstats.payloads import FIXED, handshake, is_kept
from regstats.privacy import redacted

_PATH = "/events"
_METHODS = ("POST", "OPTIONS")
_DISCARDED, _CHUNK = 64 * 1024 * 1024, 64 * 1024  # bytes of a refused delivery that are read, and how many at a time
_UNKNOWN = "(unknown)"
_VALIDATION = "HTTP_AEG_EVENT_TYPE"

RETRY_AFTER = 5  # seconds; Distribution ignores it, others do not

_REASONS: dict[type[HTTPException], str] = {
    Unauthorized: "unauthorized",
    Forbidden: "address not allowed",
    NotFound: "unknown source",
    RequestEntityTooLarge: "too large",
    ClientDisconnected: "cut off",
    ServiceUnavailable: "not stored",
}


class Intake:
    """Takes deliveries, and passes all other requests on."""

    def __init__(
        self,
        others: WSGIApplication,
        settings: Settings,
        journal: Journal,
        now: Callable[[], datetime],
        doorkeeper: monitoring.Doorkeeper,
    ) -> None:
        self._others = others
        self._settings = settings
        self._sources = {name: settings.source(name) for name in (DEFAULT_SOURCE, *settings.sources)}
        self._fixed = {name: {FIXED: own.dialect} if own.dialect else {} for name, own in self._sources.items()}
        self._journal = journal
        self._now = now
        self._doorkeeper = doorkeeper
        self._ids = new_ids()

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answers one request."""
        source = source_of(environ["PATH_INFO"])
        if source is None:
            return self._others(environ, start_response)
        started = time.perf_counter()
        try:
            body = self._receive(environ, source)
        except HTTPException as error:
            return problem(error)(environ, start_response)
        if environ["REQUEST_METHOD"] == "POST":
            monitoring.note(source, len(body), time.perf_counter() - started)
        if (answer := _wanted(environ, body)) is not None:
            return answer(environ, start_response)
        start_response("204 No Content", [])
        return []

    def _receive(self, environ: WSGIEnvironment, source: str) -> bytes:
        """Stores a delivery, or says why not; its body."""
        method = environ["REQUEST_METHOD"]
        if method not in _METHODS:  # not even GET: a registry that is redirected asks so, and would take it for success
            raise MethodNotAllowed(valid_methods=_METHODS)
        address = self._address(environ)
        try:
            body = self._admitted(environ, source, address)
            if method == "POST":
                self._store(environ, source, address, body)
        except HTTPException as error:
            if method == "POST" or "HTTP_AUTHORIZATION" in environ:  # who shows nothing does not guess
                self._tell(source, error, address, is_delivery=method == "POST")
            raise
        return body

    def _tell(self, source: str, error: HTTPException, address: str | None, *, is_delivery: bool) -> None:
        known = source if source in self._sources else _UNKNOWN
        detail = error.description if isinstance(error, ServiceUnavailable) else None
        self._doorkeeper.reject(known, _REASONS[type(error)] if is_delivery else monitoring.ASKED, address, detail)

    def _address(self, environ: WSGIEnvironment) -> str | None:
        proxies = self._settings.trusted_proxies
        return senders.address_of(environ.get("REMOTE_ADDR"), environ.get("HTTP_X_FORWARDED_FOR", ""), proxies)

    def _admitted(self, environ: WSGIEnvironment, name: str, address: str | None) -> bytes:
        """The body of a delivery whose sender may send it."""
        source = self._sources.get(name)
        if source is None:
            raise NotFound(f"There is no source {name!r}; configure it as [sources.{name}] in regstats.toml.")
        if source.allow and not senders.is_in(address, source.allow):
            raise Forbidden(f"{address} is not an address from which {name!r} may send; see `allow` in regstats.toml.")
        if not senders.shows(environ.get("HTTP_AUTHORIZATION", ""), source.token, environ.get("QUERY_STRING", "")):
            raise Unauthorized(
                "A token is needed: `Authorization: Bearer …`, `token …`, or Basic with it as the password; or, if you "
                "can set no header, `?token=…` at the end of the address."
            )
        body = read_body(environ, self._settings.max_body)
        if not senders.is_signed(environ, body, source.signing_secret):
            raise Unauthorized("The signature is missing, or not that of this body with the source's signing_secret.")
        return body

    def _store(self, environ: WSGIEnvironment, source: str, address: str | None, body: bytes) -> None:
        delivery = Delivery(
            received_at=self._now(),
            delivery_id=next(self._ids),
            source=source,
            remote_address=address,
            headers=_kept_headers(environ) | self._fixed[source],
            body=body,
        )
        try:
            self._journal.append([redacted(delivery, self._settings.privacy)])
        except JournalError as error:
            raise ServiceUnavailable(str(error), retry_after=RETRY_AFTER) from error


def _wanted(environ: WSGIEnvironment, body: bytes) -> Response | None:
    """The answer to a sender that asks, before it sends anything, whether that is wanted; None if it does not ask."""
    if environ["REQUEST_METHOD"] == "OPTIONS" and "HTTP_WEBHOOK_REQUEST_ORIGIN" in environ:  # of CloudEvents
        origin = environ["HTTP_WEBHOOK_REQUEST_ORIGIN"]
        return Response(headers={"WebHook-Allowed-Origin": origin, "WebHook-Allowed-Rate": "*", "Allow": "POST"})
    if _VALIDATION not in environ:
        return None
    answer = handshake({"aeg-event-type": environ[_VALIDATION]}, body)
    return Response(answer, mimetype="application/json") if answer is not None else None


def source_of(path: str) -> str | None:
    """The source that a path is for, with or without a slash at its end: a redirect would lose the delivery."""
    if path == _PATH:
        return DEFAULT_SOURCE
    head, _, name = path.rstrip("/").rpartition("/")
    if head == _PATH:
        return name
    return DEFAULT_SOURCE if (head, name) == ("", _PATH[1:]) else None


def read_body(environ: WSGIEnvironment, max_body: int) -> bytes:
    """The body of a request, whole. Senders need not say how much they send."""
    stream, length = environ["wsgi.input"], _length(environ)
    most = max_body + 1  # one byte more than allowed is enough to know
    body = _read(stream, most if length is None else min(length, most))
    if len(body) > max_body:
        _discard(stream)
        raise RequestEntityTooLarge(f"A delivery may have {max_body:,} bytes; raise max_body to accept more.")
    # The server ends a body that was cut off like any other. In chunks that cannot be seen: what is cut off there is
    # not JSON any more, and goes to quarantine; its sender is gone, and sends it again.
    if length is not None and length != len(body):
        raise ClientDisconnected("The delivery ended before it was complete.")
    return body


def _length(environ: WSGIEnvironment) -> int | None:
    """How many bytes the sender says it sends; None where it does not say, and the server knows where they end."""
    length = environ.get("CONTENT_LENGTH")
    return int(length) if length else None if environ.get("wsgi.input_terminated") else 0


def _read(stream: InputStream, size: int) -> bytes:
    """Up to so many bytes. A stream may give less at a time than it is asked for."""
    data = stream.read(size)
    while more := data and len(data) < size and stream.read(size - len(data)):
        data += more
    return data


def _discard(stream: InputStream) -> None:
    """Reads the rest of a body: most senders look at the answer only after they have sent everything."""
    for _ in range(_DISCARDED // _CHUNK):
        if not stream.read(_CHUNK):
            return


def _kept_headers(environ: WSGIEnvironment) -> dict[str, str]:
    """Those headers of a request that are stored with the delivery."""
    return {name: environ[key] for key in environ if (name := _header(key)) and environ[key]}


@lru_cache(maxsize=1024)
def _header(key: str) -> str | None:
    """The name of a header, if it is to be kept, from its name in WSGI."""
    if not key.startswith("HTTP_") and key != "CONTENT_TYPE":
        return None
    name = key.removeprefix("HTTP_").replace("_", "-").title()
    return name if is_kept(name.lower()) else None


def problem(error: HTTPException, page: str | None = None) -> Response:
    """An error as application/problem+json (RFC 9457), or as a page for a person."""
    response = Response(page, error.code, mimetype="application/problem+json" if page is None else "text/html")
    for name, value in error.get_headers():
        if name in ("Retry-After", "Allow", "WWW-Authenticate"):
            response.headers.add(name, value)
    if error.code == 401 and "WWW-Authenticate" not in response.headers:
        response.headers["WWW-Authenticate"] = 'Bearer realm="regstats"'
    if page is None:
        response.set_data(json.dumps({"title": error.name, "status": error.code, "detail": error.description}))
    return response
