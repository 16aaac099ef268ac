"""What people and programs look at: page, API and badges, as one Flask application.

It knows DuckDB, pandas and plotly, which the collector does without; so `app` makes it when it is first asked for.
"""

import functools
import math
from collections.abc import Callable
from logging import getLogger
from typing import NamedTuple

import duckdb
import jinja2
from flask import Blueprint, Flask, Response, g, request
from werkzeug.exceptions import BadRequest, HTTPException, InternalServerError, ServiceUnavailable
from werkzeug.wrappers import Response as AnyResponse

from regstats import api, assets, badges, pages
from regstats.access import Access, harden
from regstats.answers import Answers, Kept
from regstats.collector import RETRY_AFTER, problem
from regstats.config import Part, Settings
from regstats.errors import ParameterError, RegstatsError, SlowQueryError

_log = getLogger(__name__)

_ROOM = 64 * 1024 * 1024
"""Bytes of answers that are kept."""
_LIVE = "page.recent"
"""What every open page asks for all the time; it is worked out once a second at most."""


class Said(NamedTuple):
    """An answer as it was given."""

    body: bytes
    headers: list[tuple[str, str]]


def create(settings: Settings, access: Access) -> Flask:
    """The application."""
    app = Flask("regstats", static_folder=None)
    app.config["PROVIDE_AUTOMATIC_OPTIONS"] = False  # their empty answer would be kept for a GET
    app.jinja_env.undefined = jinja2.StrictUndefined
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    made: Kept[Answers] = Kept(math.inf, 1, lambda _: 1)
    answers = functools.partial(made.get, "answers", lambda: Answers(settings))
    said: Kept[Said] = Kept(settings.read.cache / 4, _ROOM, lambda answer: len(answer.body) + 1000)
    parts: dict[Part, Callable[[], Blueprint]] = {
        "api": lambda: api.blueprint(answers),
        "badge": lambda: badges.blueprint(answers),
        "page": lambda: pages.blueprint(answers, settings, access),
    }
    for part, make in parts.items():
        routes = make()
        _guard(routes, part, access, said, settings.read.cache / 4)
        app.register_blueprint(routes)
    app.register_blueprint(assets.blueprint())
    app.after_request(harden)
    app.register_error_handler(Exception, _failed)
    return app


def _guard(routes: Blueprint, part: Part, access: Access, said: Kept[Said], seconds: float) -> None:
    """Lets in who may read, says again what was just said, and counts what has to be made.

    A frame is kept for half of the time that an answer may be old, what was said for a quarter, and who reads may keep
    it for another.
    """

    @routes.before_request
    def admit() -> Response | None:
        access.admit(request, part)
        known = said.find(_key())
        if known is None:
            if request.endpoint != _LIVE:
                access.spend(request)
            return None
        g.known = True
        return Response(known.body, headers=known.headers)

    @routes.after_request
    def keep(response: Response) -> AnyResponse:
        if response.status_code != 200 or response.cache_control.no_store:
            return response
        if "known" not in g:
            response.cache_control.max_age = response.cache_control.max_age or int(seconds)
            setattr(response.cache_control, "public" if access.is_public(part) else "private", True)
            response.add_etag()
            said.keep(_key(), Said(response.get_data(), list(response.headers)))
        return response.make_conditional(request)


def _key() -> tuple[str, bytes]:
    return request.path, request.query_string


def _failed(error: Exception) -> AnyResponse:
    """An error for a program, or for a person if that is who asks."""
    known = _understood(error)
    form = request.accept_mimetypes.best_match(["application/problem+json", "text/html"])
    if request.blueprint in ("page", None) and form == "text/html":
        return problem(known, pages.wrong(known))
    return problem(known)


def _understood(error: Exception) -> HTTPException:
    if isinstance(error, HTTPException):
        return error
    if isinstance(error, ParameterError):
        return BadRequest(str(error))
    if isinstance(error, SlowQueryError):
        return ServiceUnavailable(str(error))
    _log.error("A question could not be answered.", exc_info=error, extra={"fields": {"path": request.path}})
    if isinstance(error, RegstatsError | duckdb.Error | OSError | MemoryError):
        return ServiceUnavailable("The store cannot be read at the moment; the log says why.", retry_after=RETRY_AFTER)
    return InternalServerError("This is an error of regstats; the log has it.")
