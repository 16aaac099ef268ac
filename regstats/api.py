"""`GET /api/v1/<metric>`: every metric, with the parameters that it has everywhere, as JSON or CSV."""

import re
from collections.abc import Callable, Sequence
from datetime import datetime
from importlib.metadata import version
from typing import Any, NamedTuple
from urllib.parse import urlencode

import msgspec
import pandas as pd
from flask import Blueprint, Response, request, url_for
from werkzeug.datastructures import MultiDict
from werkzeug.exceptions import NotFound

from regstats import formats, openapi
from regstats.answers import Answers
from regstats.errors import ParameterError
from regstats.metrics import METRICS
from regstats.openapi import LARGEST_PAGE, PAGE, SEVERAL
from regstats.parameters import FILTERS

Arguments = MultiDict[str, str]

_NUMBERS = ("limit", "offset", "days")


class Page(NamedTuple):
    """Which rows of an answer, and how they are written."""

    limit: int
    offset: int
    form: str


def blueprint(answers: Callable[[], Answers]) -> Blueprint:
    """The routes."""
    routes = Blueprint("api", __name__, url_prefix="/api/v1")

    @routes.get("/")
    def metrics() -> Response:
        return _json({"version": version("regstats"), "metrics": [_described(name) for name in METRICS]})

    @routes.get("/openapi.json")
    def document() -> Response:
        return _json(openapi.document(answers()))

    @routes.get("/deployments")
    def deployments() -> Response:
        asked, page = understood(request.args, openapi.OF_DEPLOYMENTS)
        return _answered(answers().frame("deployments", **asked), page)

    @routes.get("/<metric>")
    def metric(metric: str) -> Response:
        if metric not in METRICS:
            raise NotFound(f"There is no metric {metric!r}. There are: {', '.join(METRICS)}.")
        asked, page = understood(request.args, METRICS[metric].parameters)
        return _answered(answers().frame(metric, **asked), page)

    return routes


def _described(name: str) -> dict[str, Any]:
    metric = METRICS[name]
    return {
        "metric": name,
        "question": metric.question,
        "rows": metric.rows,
        "parameters": [*metric.parameters, *(p for p in ("limit", "offset", "format") if p not in metric.parameters)],
        "url": url_for("api.metric", metric=name),
    }


def understood(arguments: Arguments, known: Sequence[str]) -> tuple[dict[str, Any], Page]:
    """The `known` parameters of a metric, and which page of the answer is asked for, from a query string.

    Raises ParameterError where one is there twice that can be there once, or is not what it must be.
    """
    given = {name: _value(name, arguments.getlist(name)) for name in arguments}
    page = Page(
        _whole("limit", given.pop("limit", PAGE), 1, LARGEST_PAGE),
        _whole("offset", given.pop("offset", 0), 0, None),
        str(given.pop("format", "json")),
    )
    if page.form not in openapi.FORMS:
        raise ParameterError(f"format={page.form!r} is not one of: {', '.join(openapi.FORMS)}.")
    unknown = sorted(given.keys() - set(known))
    if unknown:
        names = dict.fromkeys([*known, "limit", "offset", "format"])
        raise ParameterError(f"Unknown parameter {unknown[0]!r}. There are: {', '.join(names)}.")
    return given, page


def _value(name: str, texts: list[str]) -> Any:
    if len(texts) > SEVERAL:
        raise ParameterError(f"{name} is there {len(texts):,} times; it can be there {SEVERAL} times.")
    if name in (*FILTERS, "rule"):
        return texts
    if name == "by":
        return [column for text in texts for column in text.split(",")]
    if len(texts) > 1:
        raise ParameterError(f"{name} is there {len(texts)} times; it can be there once.")
    (text,) = texts
    return int(text) if name in _NUMBERS and re.fullmatch("[0-9]{1,9}", text) else text


def _whole(name: str, value: object, least: int, most: int | None) -> int:
    if isinstance(value, int) and value >= least and (most is None or value <= most):
        return value
    bounds = f"from {least} to {most:,}" if most is not None else f"{least} or more"
    raise ParameterError(f"{name}={value!r} is not a number of rows {bounds}.")


def _answered(frame: pd.DataFrame, page: Page) -> Response:
    shown = frame.iloc[page.offset : page.offset + page.limit]
    if page.form == "csv":
        response = Response(formats.as_csv(shown), mimetype="text/csv")
        name = f"{frame.attrs['metric']}.csv"
        response.headers.set("Content-Disposition", "attachment", filename=name)
    else:
        response = _json(_envelope(frame, page) | {"data": formats.rows(shown)})
    response.headers["X-Total-Count"] = str(len(frame))
    for relation, offset in _neighbours(len(frame), page):
        others = [(name, value) for name, value in request.args.items(multi=True) if name != "offset"]
        target = f"{request.path}?{urlencode([*others, ('offset', offset)])}"
        response.headers.add("Link", f'<{target}>; rel="{relation}"')
    return response


def _envelope(frame: pd.DataFrame, page: Page) -> dict[str, Any]:
    """What was asked, of when, without whom, and how many rows there are in all."""
    told = {name: frame.attrs[name] for name in ("metric", "since", "until", "interval", "tz", "as_of", "excluded")}
    times = {name: instant(value) for name, value in told.items() if isinstance(value, datetime)}
    return told | times | {"total": len(frame), "limit": page.limit, "offset": page.offset}


def instant(time: datetime) -> str:
    """A time in UTC, ISO 8601."""
    return time.isoformat().replace("+00:00", "Z")


def _neighbours(total: int, page: Page) -> list[tuple[str, int]]:
    found = []
    if page.offset > 0:
        found.append(("prev", max(page.offset - page.limit, 0)))
    if page.offset + page.limit < total:
        found.append(("next", page.offset + page.limit))
    return found


def _json(content: object) -> Response:
    return Response(msgspec.json.encode(content), mimetype="application/json")
