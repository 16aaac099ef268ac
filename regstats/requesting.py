"""A request to somebody else's server: never redirected, never to anything but HTTP, and never with its address told.

An address may be a secret: chats have webhooks that let in whoever knows them.
"""

import http.client
import re
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any, NamedTuple

from regstats.terminal import visible

_SHOWN = 2000  # bytes of an answer


class Answer(NamedTuple):
    """What a server said."""

    status: int
    headers: Mapping[str, str]
    text: str
    """The beginning of it, on one line, with what cannot be seen made visible."""


class UnreachableError(Exception):
    """There was no answer, and why."""


def is_address(url: str) -> bool:
    """Whether it is one that can be asked."""
    return re.match(r"https?://[^/\s]", url) is not None


def ask(url: str, method: str, body: bytes | None, headers: Mapping[str, str], timeout: float) -> Answer:
    """Sends a request, and gives what is answered, whatever its status. Raises UnreachableError."""
    try:
        request = urllib.request.Request(url, body, dict(headers), method=method)  # noqa: S310 - see `is_address`
        with _opener.open(request, timeout=timeout) as answer:
            return Answer(answer.status, dict(answer.headers), _text(answer))
    except urllib.error.HTTPError as error:
        with error:
            return Answer(error.code, dict(error.headers), _text(error))
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise UnreachableError(str(getattr(error, "reason", None) or type(error).__name__)) from None


def _text(answer: Any) -> str:
    return visible(answer.read(_SHOWN).decode(errors="replace").strip())


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        """What was posted would become a GET somewhere else."""
        return


_opener = urllib.request.build_opener(_NoRedirects)
