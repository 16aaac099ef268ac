"""Any metric: its question as a form, the answer as a table, and the chart."""

import re
from collections.abc import Iterable
from typing import Any, NamedTuple
from urllib.parse import urlencode

import pandas as pd
from flask import request, url_for
from werkzeug.exceptions import NotFound

from regstats import api, briefing, charts
from regstats.answers import Answers
from regstats.errors import ParameterError
from regstats.metrics import METRICS, Metric
from regstats.parameters import HELP, INTERVALS, MEASURES
from regstats.views import ROWS, Chart, table


def explored(answers: Answers, metric: str) -> dict[str, Any]:
    """The question as a form, and its answer; what is wrong with it, if it is."""
    given = [(name, text) for name, text in request.args.items(multi=True) if text.strip()]
    shown: dict[str, Any] = {"table": None, "chart": None, "wrong": None}
    query = urlencode(given)
    try:
        asked, page = api.understood(api.Arguments(given), METRICS[metric].parameters)
        frame = answers.frame(metric, **asked)
        rows = frame.iloc[page.offset : page.offset + min(page.limit, ROWS)]
        shown |= {"table": table(rows, None, list(map(str, frame.columns)), len(frame))}
        shown |= {"chart": Chart(metric, f"{url_for('page.chart', name=metric)}?{query}")}
    except ParameterError as error:
        shown["wrong"] = str(error)
    links = {
        form: f"{url_for('api.metric', metric=metric)}?{urlencode([*given, ('format', form)])}"
        for form in ("json", "csv")
    }
    return shown | {
        "metric": metric,
        "metrics": {name: asked.question for name, asked in METRICS.items()},
        "fields": _fields(METRICS[metric], api.Arguments(given)),
        "links": links,
        "command": _command(metric, given),
    }


class Field(NamedTuple):
    """A parameter in a form."""

    name: str
    help: str
    value: str
    choices: list[str]


def _fields(metric: Metric, given: api.Arguments) -> list[Field]:
    choices = {"interval": list(INTERVALS), "measure": list(MEASURES)}
    texts = {name: re.sub(r"--(\w+)", r"\1", HELP[name]) for name in HELP if name in metric.parameters}
    return [Field(name, text, ",".join(given.getlist(name)), choices.get(name, [])) for name, text in texts.items()]


def _command(metric: str, given: Iterable[tuple[str, str]]) -> str:
    """The same question on the command line; none where a name could do something there."""
    options = [(name, text) for name, text in given if name not in ("offset", "format")]
    if not all(re.fullmatch(r"[\w./:@+~*?\[\],-]+", text, re.ASCII) for _, text in options):
        return ""
    return " ".join([f"regstats {metric}", *(f"--{name} '{text}'" for name, text in options)])


def maintained(answers: Answers, asked: dict[str, Any]) -> pd.DataFrame:
    """Repositories with their pulls in the window, and how well they are maintained at its end."""
    of_cadence = {name: asked[name] for name in ("repository", "until") if name in asked}
    return briefing.maintained(answers.frame("repositories", **asked), answers.frame("cadence", **of_cadence))


def drawn(answers: Answers, name: str) -> Any:
    """The figure of a metric, for a dark page or a light one."""
    arguments = api.Arguments([(key, text) for key, text in request.args.items(multi=True) if key != "dark"])
    dark = request.args.get("dark") == "1"
    if name == "neglect":
        asked, _ = api.understood(arguments, METRICS["repositories"].parameters)
        return charts.neglect(maintained(answers, asked), dark=dark)
    if name not in METRICS:
        raise NotFound(f"There is no chart {name!r}. There are: {', '.join([*METRICS, 'neglect'])}.")
    asked, _ = api.understood(arguments, METRICS[name].parameters)
    frame = answers.frame(name, **asked)
    more = {"now": answers.now} if name == "history" else {}
    return getattr(charts, name)(frame, dark=dark, **more)
