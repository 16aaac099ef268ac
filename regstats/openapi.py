"""The OpenAPI document of the API: made of the same table as the commands."""

import re
from importlib.metadata import version
from typing import Any

import pandas as pd

from regstats import formats
from regstats.answers import Answers
from regstats.events import STATUSES
from regstats.metrics import METRICS, Metric
from regstats.parameters import FILTERS, HELP, INTERVALS, MEASURES

PAGE, LARGEST_PAGE = 1_000, 10_000
"""Rows of an answer if nobody says how many, and at most."""
SEVERAL = 100
"""Globs of one parameter, at most: each is a condition, and ten thousand take seconds."""
FORMS = ("json", "csv")

Schema = dict[str, Any]

_MOMENT = {
    "type": "string",
    "examples": ["30d", "2026-11-01", "2026-11-01T12:00:00+01:00"],
    "anyOf": [
        {"pattern": "^[0-9]{1,5}[hdw]$"},
        {"format": "date"},
        {"pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}(:[0-9]{2})?(Z|[+-][0-9]{2}:[0-9]{2})?$"},
    ],
}
_TIME = {"type": "string", "format": "date-time"}
_PROBLEMS = {
    "400": "A parameter is wrong; `detail` says which, and what is right.",
    "401": "A token or a user is needed.",
    "403": "Without a token only the server's own machine may read.",
    "429": "Too many answers were made anew; `Retry-After` says when to go on.",
    "503": "The store cannot be read, or others ask too much.",
}
_KINDS: dict[str, Schema] = {
    "time": {"type": ["string", "null"], "format": "date-time"},
    "date": {"type": ["string", "null"], "format": "date"},
    "duration": {"type": ["number", "null"], "description": "Seconds."},
    "fraction": {"type": ["number", "null"]},
    "count": {"type": ["integer", "null"]},
    "flag": {"type": ["boolean", "null"]},
    "text": {"type": ["string", "null"]},
}

_PERIOD: dict[str, Schema] = {
    "period": {
        "type": "string",
        "description": "A date of `tz`, or for hours a time there; only with an `interval`.",
        "anyOf": [{"format": "date"}, {"format": "date-time"}],
    }
}


def document(answers: Answers) -> Schema:
    """The document: a path for each metric, with its parameters, and the columns that it has without `by`."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "regstats",
            "version": version("regstats"),
            "description": "What a container registry's images are used for, how much, by whom, and how well they are "
            "maintained. Times are UTC, durations seconds, shares 0 to 1; `null` is what is not known.",
        },
        "paths": {"/api/v1/": _index()}
        | {f"/api/v1/{name}": _path(name, answers) for name in METRICS}
        | {"/api/v1/deployments": _deployments(answers)},
        "components": {"securitySchemes": _SECURITY, "schemas": {"Problem": _PROBLEM}},
        "security": [{"bearer": []}, {"basic": []}, {}],
    }


_SECURITY = {"bearer": {"type": "http", "scheme": "bearer"}, "basic": {"type": "http", "scheme": "basic"}}
_PROBLEM: Schema = {
    "type": "object",
    "description": "RFC 9457.",
    "required": ["title", "status", "detail"],
    "properties": {"title": {"type": "string"}, "status": {"type": "integer"}, "detail": {"type": "string"}},
}


def _index() -> Schema:
    listed = {"type": "object", "required": ["metric", "question", "rows", "parameters", "url"]}
    properties = {"version": {"type": "string"}, "metrics": {"type": "array", "items": listed}}
    schema = {"type": "object", "required": ["version", "metrics"], "properties": properties}
    return {"get": {"operationId": "metrics", "summary": "What can be asked?", "responses": _responses(schema)}}


OF_DEPLOYMENTS = ("deployment_id", "repository", "rule", "status", "since", "until")
"""What can be asked of deployments."""


def _deployments(answers: Answers) -> Schema:
    text: Schema = {"type": "string"}
    globs = {"type": "array", "items": text, "maxItems": SEVERAL}
    schemas = {
        "deployment_id": (text | {"minLength": 1}, "The beginning of an id."),
        "repository": (globs, HELP["repository"]),
        "rule": (globs, "Rules, as a glob."),
        "status": (text | {"enum": list(STATUSES)}, "What has become of it."),
        "since": (_MOMENT, "Pushed from then on."),
        "until": (_MOMENT, "Pushed before."),
    }
    asked = [_in_query(name, said, schema) for name, (schema, said) in schemas.items()]
    return {
        "get": {
            "operationId": "deployments",
            "summary": "What was deployed, when, and how did it go?",
            "description": "One row per push and rule that applied to it, the latest first.",
            "parameters": [*asked, *_PAGES],
            "responses": _responses(_answer("deployments", answers), csv=True),
        }
    }


def _path(name: str, answers: Answers) -> Schema:
    metric = METRICS[name]
    return {
        "get": {
            "operationId": name,
            "summary": metric.question,
            "description": metric.rows,
            "parameters": _parameters(metric),
            "responses": _responses(_answer(name, answers), csv=True),
        }
    }


def _parameters(metric: Metric) -> list[Schema]:
    named = [_parameter(name, metric) for name in HELP if name in metric.parameters and name != "limit"]
    return [*named, *_PAGES]


def _parameter(name: str, metric: Metric) -> Schema:
    text = re.sub(r"--(\w+)", r"\1", HELP[name]).partition("  [")[0]
    schemas: dict[str, Schema] = {
        "since": _MOMENT,
        "until": _MOMENT,
        "at": _MOMENT,
        "interval": {"type": "string", "enum": list(INTERVALS), "default": metric.interval},
        "measure": {"type": "string", "enum": list(MEASURES), "default": MEASURES[0]},
        "by": {"type": "array", "minItems": 1, "items": {"type": "string", "enum": list(metric.dimensions)}},
        "tz": {"type": "string", "default": "UTC", "examples": ["Europe/Berlin"]},
        "days": _whole(0) | {"default": 90},
        **{glob: {"type": "array", "items": {"type": "string"}, "maxItems": SEVERAL} for glob in FILTERS},
    }
    several = {"style": "form", "explode": name != "by"} if schemas[name]["type"] == "array" else {}
    return _in_query(name, text, schemas[name]) | several


def _in_query(name: str, text: str, schema: Schema) -> Schema:
    return {"name": name, "in": "query", "required": False, "description": text, "schema": schema}


def _whole(least: int, most: int = 999_999_999) -> Schema:
    return {"type": "integer", "minimum": least, "maximum": most}


_PAGES = [
    _in_query("limit", "At most so many rows.", _whole(1, LARGEST_PAGE) | {"default": PAGE}),
    _in_query("offset", "Without so many of the first rows.", _whole(0) | {"default": 0}),
    _in_query("format", "How it is written.", {"type": "string", "enum": list(FORMS), "default": "json"}),
]


def _responses(schema: Schema, *, csv: bool = False) -> Schema:
    content: Schema = {"application/json": {"schema": schema}}
    if csv:
        content["text/csv"] = {"schema": {"type": "string"}}
    problem = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    wrong = {status: {"description": text, "content": problem} for status, text in _PROBLEMS.items()}
    return {"200": {"description": "The answer.", "content": content}, **wrong}


def _answer(name: str, answers: Answers) -> Schema:
    """What is around the rows, and a row."""
    whole = {"type": "integer", "minimum": 0}
    properties = {
        "metric": {"const": name},
        "since": {"anyOf": [_TIME, {"type": "null"}]},
        "until": {"anyOf": [_TIME, {"type": "null"}]},
        "interval": {"enum": list(INTERVALS)},
        "tz": {"type": "string"},
        "as_of": _TIME | {"description": "When it was worked out."},
        "excluded": {"type": "object", "description": "Who is not counted."},
        "total": whole | {"description": "Rows there are, of which `data` has some."},
        "limit": whole,
        "offset": whole,
        "data": {"type": "array", "items": _row(name, answers)},
    }
    return {"type": "object", "required": list(properties), "properties": properties, "additionalProperties": False}


def _row(name: str, answers: Answers) -> Schema:
    """The columns of a metric as it is without `by` and `interval`; those add some and take some away."""
    frame: pd.DataFrame = answers.frame(name, until="1900-01-01")
    columns = {str(column): _KINDS[formats.kind(frame[column])] for column in frame.columns}
    split = _PERIOD if name in METRICS and "interval" in METRICS[name].parameters else {}
    return {"type": "object", "properties": columns | split}
