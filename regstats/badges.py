"""`GET /badge.svg` and `/badge.json`: one number of a repository, for its README."""

from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec
import pandas as pd
from flask import Blueprint, Response, render_template, request

from regstats import formats
from regstats.answers import Answers
from regstats.config import DEFAULT_SOURCE
from regstats.errors import ParameterError
from regstats.parameters import exactly, is_ago, moment
from regstats.terminal import visible

SECONDS = 300
"""So long may a badge be kept by who shows it: those that proxy images ask no oftener."""

_PARAMETERS = ("repository", "metric", "since", "source", "tag", "label")
_WHERE = ("repository", "source", "tag")
_GREY, _BLUE = "#6b7280", "#0072b2"
_GRADES = {"A": "#007a5a", "B": "#00708f", "C": "#8a6d00", "D": "#a35200", "E": "#b23c00", "F": "#a3316f"}
_LONGEST = 60
_WINDOW = "7d"


class Badge(NamedTuple):
    """What it says, on the left and on the right."""

    label: str
    message: str
    colour: str = _BLUE


def blueprint(answers: Callable[[], Answers]) -> Blueprint:
    """The routes."""
    routes = Blueprint("badge", __name__)

    @routes.get("/badge.svg")
    def svg() -> Response:
        text = render_template("badge.svg", **_drawn(_badge(answers(), request.args.to_dict(flat=False))))
        return _anywhere(Response(text, content_type="image/svg+xml; charset=utf-8"))

    @routes.get("/badge.json")
    def endpoint() -> Response:
        badge = _badge(answers(), request.args.to_dict(flat=False))
        said = {"schemaVersion": 1, "label": badge.label, "message": badge.message, "color": badge.colour}
        content = msgspec.json.encode(said | {"cacheSeconds": SECONDS})
        return _anywhere(Response(content, mimetype="application/json"))

    return routes


def _anywhere(response: Response) -> Response:
    """A badge is there to be shown on other sites."""
    response.headers["Cross-Origin-Resource-Policy"] = "cross-origin"
    response.headers["Content-Security-Policy"] = "default-src 'none'; style-src 'unsafe-inline'; sandbox"
    response.cache_control.max_age = SECONDS
    return response


def _badge(answers: Answers, given: dict[str, list[str]]) -> Badge:
    """Raises ParameterError where it is not one repository, or the metric is none of a badge."""
    asked = _asked(given)
    metric = asked.get("metric", "pulls")
    if metric not in METRICS:
        raise ParameterError(f"metric={metric!r} is not one of: {', '.join(METRICS)}.")
    what, say = METRICS[metric]
    where = {name: exactly(text) for name, text in asked.items() if name in _WHERE}
    since = asked.get("since", _WINDOW)
    moment("since", since, now=answers.now)
    badge = say(answers, where, since)
    source = asked.get("source", DEFAULT_SOURCE)
    whose = "registry" if source == DEFAULT_SOURCE else source
    window = f" {'in' if is_ago(since) else 'since'} {since}" if metric in _OF_WINDOW else ""
    label = asked.get("label", f"{whose} {what}{window}")
    return badge._replace(label=_short(label), message=_short(badge.message))


def _asked(given: dict[str, list[str]]) -> dict[str, str]:
    unknown = sorted(given.keys() - set(_PARAMETERS))
    if unknown:
        raise ParameterError(f"Unknown parameter {unknown[0]!r}. There are: {', '.join(_PARAMETERS)}.")
    twice = sorted(name for name, texts in given.items() if len(texts) > 1)
    if twice:
        raise ParameterError(f"{twice[0]} is there {len(given[twice[0]])} times; it can be there once.")
    asked = {name: text for name, (text,) in given.items()}
    if not asked.get("repository"):
        raise ParameterError("A badge is about one repository: /badge.svg?repository=team/api")
    return asked


def _short(text: str) -> str:
    shown = visible(text)
    return shown if len(shown) <= _LONGEST else f"{shown[: _LONGEST - 1]}…"


Say = Callable[[Answers, dict[str, str], str], Badge]


def _count(metric: str, column: str) -> Say:
    """How many in the window."""

    def say(answers: Answers, where: dict[str, str], since: str) -> Badge:
        frame = answers.frame(metric, interval="total", since=since, **where)
        count = formats.total(frame[column])
        return Badge("", "not reported" if count is None else people(count), _BLUE if count else _GREY)

    return say


def _updated(answers: Answers, where: dict[str, str], _since: str) -> Badge:
    """When it was updated last."""
    row = _cadence(answers, where)
    return Badge("", "never" if row is None else f"{_ago(row['age'])} ago", _GREY if row is None else _BLUE)


def _grade(answers: Answers, where: dict[str, str], _since: str) -> Badge:
    """The grade of its cadence."""
    row = _cadence(answers, where)
    if row is None or pd.isna(row["grade"]):
        return Badge("", "not known", _GREY)
    return Badge("", str(row["grade"]), _GRADES[str(row["grade"])])


def _cadence(answers: Answers, where: dict[str, str]) -> Any:
    """The row of the repository, or of the tag that is asked for."""
    frame = answers.frame("cadence", **where)
    rows = frame[frame["kind"].ne("repository") if "tag" in where else frame["kind"].eq("repository")]
    return None if rows.empty else rows.iloc[0]


def _rank(answers: Answers, where: dict[str, str], since: str) -> Badge:
    """Its place among all repositories."""
    others = {name: text for name, text in where.items() if name == "source"}
    frame = answers.frame("top", since=since, **others)
    mine = frame[[exactly(str(name)) == where["repository"] for name in frame["repository"]]]
    if mine.empty:
        return Badge("", "not pulled", _GREY)
    return Badge("", f"#{mine['rank'].iloc[0]:,} of {len(frame):,}")


METRICS: dict[str, tuple[str, Say]] = {
    "pulls": ("pulls", _count("pulls", "pulls")),
    "downloads": ("downloads", _count("pulls", "downloads")),
    "pushes": ("pushes", _count("pushes", "pushes")),
    "updates": ("updates", _count("pushes", "updates")),
    "updated": ("last update", _updated),
    "cadence": ("maintenance", _grade),
    "top": ("rank by pulls", _rank),
}
"""What a badge can say: the words for it, and how it is found out."""
_OF_WINDOW = ("pulls", "downloads", "pushes", "updates", "top")


def people(count: int) -> str:
    """A count in few characters, never more than there are: 987, 1.2k, 34k, 5.6M."""
    size, unit = next(((s, u) for s, u in ((10**9, "G"), (10**6, "M"), (10**3, "k")) if count >= s), (1, ""))
    whole, tenths = divmod(count * 10 // size, 10)
    return f"{whole}.{tenths}{unit}" if unit and whole < 10 and tenths else f"{whole}{unit}"


def _ago(age: pd.Timedelta) -> str:
    """Roughly how long: one unit is enough."""
    days = age / pd.Timedelta(days=1)
    if days < 2:
        return formats.duration(age).split()[0]
    steps = ((730, 365.25, "years"), (60, 30.44, "months"), (14, 7, "weeks"), (0, 1, "days"))
    size, unit = next((size, unit) for least, size, unit in steps if days >= least)
    return f"{int(days / size)} {unit}"


_NARROW, _WIDE = frozenset("iljtfr.,:;'|!I[]() "), frozenset("mwMW@%#")


def _width(text: str) -> int:
    """How many pixels a text takes, roughly; the drawing stretches it to exactly so many."""
    return round(sum(4.2 if c in _NARROW else 10.2 if c in _WIDE else 7.1 if ord(c) < 0x2E80 else 12 for c in text))


def _drawn(badge: Badge) -> dict[str, Any]:
    left, right = _width(badge.label), _width(badge.message)
    return {"badge": badge, "left": left, "right": right}
