"""`POST /events`: authenticate, append to the journal, answer 204. Nothing else happens before the 204.

A registry sends its queue strictly in order and repeats for ever what is not answered 2xx, so no payload is ever
refused for what it says: only for who sends it (401, 404), for its size (413), or because it cannot be stored (503).
"""

import base64
import binascii
import hmac
import json
import logging
import secrets
from collections.abc import Callable
from datetime import datetime

from flask import Blueprint, Request, Response, request
from werkzeug.exceptions import HTTPException, NotFound, RequestEntityTooLarge, ServiceUnavailable, Unauthorized

from regstats.config import DEFAULT_SOURCE, Settings
from regstats.errors import JournalError
from regstats.events import Delivery
from regstats.journal import Journal
from regstats.payloads import kept_headers

_log = logging.getLogger(__name__)

_DISCARDED, _CHUNK = 64 * 1024 * 1024, 64 * 1024  # bytes of a refused delivery that are read, and how many at a time

RETRY_AFTER = 5  # seconds; Distribution ignores it, others do not


def blueprint(settings: Settings, journal: Journal, now: Callable[[], datetime]) -> Blueprint:
    """The intake routes."""
    intake = Blueprint("collector", __name__)

    @intake.post("/events")
    @intake.post("/events/<source>")
    def receive(source: str = DEFAULT_SOURCE) -> Response:
        if source != DEFAULT_SOURCE and source not in settings.sources:
            raise NotFound(f"There is no source {source!r}; configure it as [sources.{source}] in regstats.toml.")
        _authenticate(request, settings.token_of(source))
        delivery = _delivery(request, source, settings.max_body, now())
        try:
            journal.append([delivery])
        except JournalError as error:
            _log.error("%s The sender will try again.", error)
            raise ServiceUnavailable(str(error), retry_after=RETRY_AFTER) from error
        return Response(status=204)

    return intake


def _delivery(request: Request, source: str, max_body: int, received_at: datetime) -> Delivery:
    # One byte more than allowed is enough to know: senders need not say how much they send.
    body = request.stream.read(max_body + 1)
    if len(body) > max_body:
        _discard(request)
        raise RequestEntityTooLarge(f"A delivery may have {max_body:,} bytes; raise max_body to accept more.")
    return Delivery(
        received_at=received_at,
        delivery_id=secrets.token_hex(16),
        source=source,
        remote_address=request.remote_addr,
        headers=kept_headers(request.headers.items()),
        body=body,
    )


def _discard(request: Request) -> None:
    """Reads the rest of a body: most senders look at the answer only after they have sent everything."""
    for _ in range(_DISCARDED // _CHUNK):
        if not request.stream.read(_CHUNK):
            return


def _authenticate(request: Request, token: str | None) -> None:
    if token is None or hmac.compare_digest(_shown(request.headers.get("Authorization", "")), token.encode()):
        return
    raise Unauthorized("A token is needed: `Authorization: Bearer …`, `token …`, or Basic with it as the password.")


def _shown(authorization: str) -> bytes:
    """The secret in an Authorization header: of Bearer and token what follows, of Basic the password."""
    scheme, _, credentials = authorization.partition(" ")
    credentials = credentials.strip()
    if scheme.lower() in ("bearer", "token"):
        return credentials.encode("latin-1", "replace")
    if scheme.lower() != "basic":
        return b""
    try:
        return base64.b64decode(credentials, validate=True).partition(b":")[2]
    except (binascii.Error, ValueError):
        return b""


def problem(error: HTTPException) -> Response:
    """An error as application/problem+json (RFC 9457)."""
    response = Response(status=error.code, mimetype="application/problem+json")
    response.headers.update({k: v for k, v in error.get_headers() if k in ("Retry-After", "Allow")})
    if error.code == 401:
        response.headers["WWW-Authenticate"] = 'Bearer realm="regstats"'
    response.set_data(json.dumps({"title": error.name, "status": error.code, "detail": error.description}))
    return response
