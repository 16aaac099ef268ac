"""A request to somebody else's server: never redirected, never to anything but HTTP, and never with its address told.

An address may be a secret: chats have webhooks that let in whoever knows them.
"""

import base64
import http.client
import re
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any, NamedTuple

from regstats.terminal import visible

_MOST = 65_536  # bytes of an answer that are read
_SHOWN = 2000  # and of those, that are shown


class Answer(NamedTuple):
    """What a server said."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    """Its beginning."""

    @property
    def text(self) -> str:
        """What can be shown of it: on one line, and with what cannot be seen made visible."""
        return visible(self.body[:_SHOWN].decode(errors="replace").strip())


class UnreachableError(Exception):
    """There was no answer, and why."""


def is_passing(status: int) -> bool:
    """Whether an error may be none another time: of the server, too early, too often, too slow."""
    return status >= 500 or status in (408, 425, 429)


def basic(user: str, password: str) -> dict[str, str]:
    """The header that shows who asks."""
    return {"Authorization": f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"}


def bearer(token: str) -> dict[str, str]:
    """The same with a token."""
    return {"Authorization": f"Bearer {token}"}


def is_address(url: str) -> bool:
    """Whether it is one that can be asked."""
    return re.match(r"https?://[^/\s]", url) is not None


def ask(url: str, method: str, body: bytes | None, headers: Mapping[str, str], timeout: float) -> Answer:
    """Sends a request, and gives what is answered, whatever its status. Raises UnreachableError."""
    try:
        request = urllib.request.Request(url, body, dict(headers), method=method)  # noqa: S310 - see `is_address`
        with _opener.open(request, timeout=timeout) as answer:
            return Answer(answer.status, dict(answer.headers), answer.read(_MOST))
    except urllib.error.HTTPError as error:
        with error:
            return Answer(error.code, dict(error.headers), error.read(_MOST))
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise UnreachableError(str(getattr(error, "reason", None) or type(error).__name__)) from None


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        """What was posted would become a GET somewhere else."""
        return


_opener = urllib.request.build_opener(_NoRedirects)
