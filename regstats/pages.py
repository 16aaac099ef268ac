"""The dashboard: pages that are made on the server, whose charts the browser draws.

What a page shows is in its URL, so a view can be shared. Names are whatever a client wrote: templates escape them, and
what cannot be seen in them is made visible.
"""

import re
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from urllib.parse import urlencode

import msgspec
import pandas as pd
from flask import Blueprint, Response, render_template, request, url_for
from werkzeug.exceptions import HTTPException, NotFound

from regstats import deployed, figures, formats
from regstats.access import Access
from regstats.answers import Answers
from regstats.badges import METRICS as BADGES
from regstats.briefing import stale
from regstats.config import Settings
from regstats.explore import drawn, explored, maintained
from regstats.metrics import METRICS
from regstats.parameters import exactly, moment
from regstats.queries import SIGNATURE
from regstats.terminal import visible
from regstats.views import ROWS, WINDOWS, Table, View, charts_of, listed, table, url, view_asked

_NAMES = 500
"""So many names are proposed for a field."""
_LEADERS = 10
"""Rows of a list and of a leaderboard."""
_DAY = timedelta(days=1)
_ACTIVE = ["actor", "pulls", "pushes", "deletes", "repositories", "last_seen"]
_TAGS = ["tag", "digest", "pulls", "downloads", "pushes", "pullers", "last_pull", "last_push"]
_CLIENTS = ["client", "client_version", "pulls", "version_checks", "pullers", "last_seen"]
_PUSHED = ["repository", "pushes", "updates", "deletes"]
_ADDRESSES = ["client_address", "pulls", "version_checks"]
_REPOSITORIES = ["repository", "pulls", "downloads", "pushes", "updates", "tags", "pullers", "last_pull"]
_REPOSITORIES += ["last_update", "grade"]
_ACTORS = ["actor", "pulls", "pushes", "deletes", "repositories", "addresses", "clients", "active_days", "last_seen"]
_STALE = ["repository", "pulls", "pullers", "last_update", "age", "grade"]
_HEALTH = ["source", "last_received", "silence", "deliveries", "quarantined", "lag", "gaps"]
_PART = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_REFERENCE = re.compile(rf"(?=[^:]{{1,255}}:){_PART}(?:/{_PART})*:\w[\w.-]{{0,127}}", re.ASCII)
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
_REGISTRY = re.compile(rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[0-9A-Fa-f:]+\])(?::[0-9]+)?", re.ASCII)


class Number(NamedTuple):
    """A total, and how it has changed."""

    name: str
    value: str
    change: str = ""
    """Against the window before; empty where that is not known."""


def blueprint(answers: Callable[[], Answers], settings: Settings, access: Access) -> Blueprint:
    """The routes."""
    routes = Blueprint("page", __name__)

    @routes.get("/")
    def overview() -> str:
        view = view_asked()
        return render_template("overview.html", **_common(answers(), view), **_overview(answers(), view, settings))

    @routes.get("/repositories")
    def repositories() -> str:
        return _one_or_many(answers(), settings, "repository")

    @routes.get("/actors")
    def actors() -> str:
        return _one_or_many(answers(), settings, "actor")

    @routes.get("/explore")
    @routes.get("/explore/<metric>")
    def explore(metric: str = "top") -> str:
        if metric not in METRICS:
            raise NotFound(f"There is no metric {metric!r}. There are: {', '.join(METRICS)}.")
        view = View("", "", "", "")
        return render_template("explore.html", **_common(answers(), view), **explored(answers(), metric))

    @routes.get("/charts/<name>")
    def chart(name: str) -> Response:
        return Response(drawn(answers(), name).to_json(), mimetype="application/json")

    @routes.get("/recent")
    def recent() -> Response:
        view = view_asked()
        rows = _recent(answers(), view)
        response = Response(msgspec.json.encode(rows), mimetype="application/json")
        response.cache_control.no_store = True
        return response

    deployed.add(routes, answers, settings, access, _common)
    routes.add_app_template_filter(visible, "visible")
    return routes


def wrong(error: HTTPException) -> str:
    """What a person sees of an error."""
    return render_template("error.html", title=error.name, detail=error.description)


def _common(answers: Answers, view: View) -> dict[str, Any]:
    """What every page needs."""
    return {
        "view": view,
        "windows": WINDOWS,
        "here": request.path,
        "url": url,
        "excluded": answers.excluded,
        "now": answers.now,
        "names": _proposed(answers),
    }


def _proposed(answers: Answers) -> dict[str, list[str]]:
    """Names for the pickers, the most active first."""
    found = {
        "repository": answers.frame("repositories", since="90d")["repository"],
        "actor": answers.frame("activity", since="90d")["actor"].dropna(),
    }
    return {
        name: [text for text in map(str, column[:_NAMES]) if text == visible(text)] for name, column in found.items()
    }


# The overview


def _overview(answers: Answers, view: View, settings: Settings) -> dict[str, Any]:
    asked = view.asked()
    repositories, activity = answers.frame("repositories", **asked), answers.frame("activity", **asked)
    return {
        "numbers": [
            *_changes(answers, asked),
            Number("repositories", f"{len(repositories):,}"),
            Number("actors", f"{activity['actor'].notna().sum():,}"),
        ],
        "charts": charts_of(asked, *_series(answers, view), "neglect", "activity"),
        "leaders": _leaders(answers, view),
        "stale": _stale(answers, view),
        "actors": listed(activity, view, _ACTIVE, _LEADERS),
        "health": _health(answers),
        "deployments": _deployments(answers, view, settings),
        "recent": _recent(answers, view),
        "recent_url": f"{url_for('page.recent')}?{urlencode(asked)}",
    }


def _deployments(answers: Answers, view: View, settings: Settings) -> Table | None:
    """The latest; None where no rule is, and none ever was."""
    table = deployed.latest(answers, view, _LEADERS)
    return table if settings.deploy or table.rows else None


def _changes(answers: Answers, asked: dict[str, str]) -> list[Number]:
    """The totals of the window, against those of the window before."""
    return [number for metric in _TOTALS for number in _totals(answers, metric, asked)]


_TOTALS = {"pulls": ("pulls", "downloads", "version_checks"), "pushes": ("pushes", "updates")}


def _totals(answers: Answers, metric: str, asked: dict[str, str]) -> list[Number]:
    now = answers.frame(metric, interval="total", **asked)
    before = answers.frame(metric, interval="total", **{**asked, **_window_before(now)})
    return [
        Number(figures.words(name), formats.said(formats.total(now[name])), _change(now, before, name))
        for name in _TOTALS[metric]
    ]


def _window_before(frame: pd.DataFrame) -> dict[str, str]:
    """The window of equal length before that of a frame."""
    since, end = frame.attrs["since"], min(frame.attrs["until"] or frame.attrs["as_of"], frame.attrs["as_of"])
    earlier = max(since - max(end - since, timedelta()), datetime(1900, 1, 1, tzinfo=since.tzinfo))
    return {"since": earlier.isoformat(), "until": since.isoformat()}


def _change(now: pd.DataFrame, before: pd.DataFrame, column: str) -> str:
    earlier, later = formats.total(before[column]), formats.total(now[column])
    return f"{(later - earlier) / earlier:+,.0%}" if earlier and later is not None else ""


def _series(answers: Answers, view: View, more: str = "") -> list[str]:
    """Pulls and pushes over time, with some dozens of bars. Raises ParameterError where the window is none."""
    now = answers.now
    since, until = (moment(name, getattr(view, name) or None, now=now) or now for name in ("since", "until"))
    interval = next((name for name, most in _INTERVALS.items() if min(until, now) - since <= most), "month")
    return [f"{metric} interval={interval} {more}" for metric in ("pulls", "pushes")]


_INTERVALS = {"hour": timedelta(days=3), "day": timedelta(days=120), "week": timedelta(days=800)}
"""Up to which window there is a bar for each."""


def _leaders(answers: Answers, view: View) -> Table:
    """The most pulled, and what has changed."""
    frame = answers.frame("top", **view.asked())
    leaders = table(frame.head(_LEADERS), view, ["rank", "repository", "pulls", "share", "change"], len(frame))
    most = max(int(frame["pulls"].max()), 1) if len(frame) else 1
    for row, pulls in zip(leaders.rows, frame["pulls"], strict=False):
        row[2] = row[2]._replace(part=pulls / most)
    return leaders


def _stale(answers: Answers, view: View) -> Table:
    """Popular but stale: what is pulled, and graded D or worse."""
    return listed(stale(maintained(answers, view.asked())), view, _STALE, _LEADERS)


def _health(answers: Answers) -> Table:
    frame = answers.frame("health", since="24h")
    return table(frame, None, _HEALTH, len(frame))


def _recent(answers: Answers, view: View) -> list[dict[str, Any]]:
    """The latest events of a repository and an actor, or of all: what happened, in words, for a browser to show."""
    today, of = answers.now.date(), {"repository": view.repository or None, "actor": view.actor or None}
    frame = answers.rows("recent", fresh=True, since=today - _DAY, **of)
    if frame.empty:  # to find out when the last one came takes longer than all the rest
        latest = answers.rows("latest", tomorrow=today + _DAY)["date"].iloc[0]
        frame = frame if pd.isna(latest) else answers.rows("recent", fresh=True, since=latest.date() - _DAY, **of)
    return [_event(row) for row in formats.rows(frame)]


def _event(row: dict[str, Any]) -> dict[str, Any]:
    action = "check" if (row["action"], row["method"]) == ("pull", "HEAD") else row["action"]
    reference = row["repository"] + (
        f":{row['tag']}" if row["tag"] else f"@{row['digest'][:19]}" if row["digest"] else ""
    )
    client = " ".join(filter(None, (row["client"], row["client_version"])))
    return {
        "id": visible(f"{row['source']} {row['event_id']}"),  # as HTML keeps it: it has no NUL, and no CR
        "time": row["timestamp"],
        "action": visible(action),
        "reference": visible(reference),
        "link": url("repositories", repository=row["repository"]),
        "actor": visible(row["actor"] or "(anonymous)"),
        "client": visible(client),
        "address": row["client_address"] or "",
    }


# One repository or actor, or a list of them


def _one_or_many(answers: Answers, settings: Settings, column: str) -> str:
    """The page of what is called exactly so, else a list of what matches."""
    view, name = view_asked(), request.args.get(column, "")
    if not (name and _exists(answers, column, name)):
        return _list(answers, view, column)
    exact = view._replace(**{column: exactly(name)})
    told = _repository(answers, settings, name, exact) if column == "repository" else _actor(answers, name, exact)
    view = view._replace(**{"repository": "", "actor": "", column: name})
    return render_template(f"{column}.html", **_common(answers, view), name=name, **told)


_METRICS = {"repository": "repositories", "actor": "activity"}
"""Those with a row for each."""


def _exists(answers: Answers, column: str, name: str) -> bool:
    return bool(answers.frame(_METRICS[column], **{column: exactly(name)})[column].eq(name).any())


def _list(answers: Answers, view: View, column: str) -> str:
    asked, metric = view.asked(), _METRICS[column]
    links = {
        form: f"{url_for('api.metric', metric=metric)}?{urlencode(asked | {'format': form})}"
        for form in ("csv", "json")
    }
    if column == "repository":
        title, rows = "Repositories", listed(maintained(answers, asked), view, _REPOSITORIES, ROWS)
    else:
        title, rows = "Actors", listed(answers.frame(metric, **asked), view, _ACTORS, ROWS)
    return render_template("list.html", **_common(answers, view), title=title, table=rows, links=links)


def _repository(answers: Answers, settings: Settings, name: str, view: View) -> dict[str, Any]:
    asked = view.window() | {"repository": view.repository}
    tags, usage = answers.frame("tags", **asked), answers.frame("usage", **asked)
    clients = answers.frame("clients", **asked)
    (cadence,) = formats.rows(_of_repository(answers, view)) or [{"grade": None, "last_update": None}]
    return {
        "numbers": [*_changes(answers, asked), Number("grade", cadence["grade"] or formats.MISSING)],
        "charts": charts_of(asked, *_series(answers, view), "history", "adoption"),
        "more": charts_of(asked, "clients", "tags"),
        "tags": listed(tags, view, _TAGS, ROWS),
        "usage": listed(usage, view, ["actor", "pulls", "downloads", "last_pull"], ROWS),
        "clients": listed(clients, view, _CLIENTS, ROWS),
        "commands": _commands(_place(answers, settings, name), name, tags),
        "badges": [f"/badge.svg?{urlencode({'repository': name, 'metric': metric})}" for metric in BADGES],
        "recent": _recent(answers, view._replace(actor="")),
        "recent_url": f"{url_for('page.recent')}?{urlencode({'repository': view.repository})}",
    }


def _of_repository(answers: Answers, view: View) -> pd.DataFrame:
    until = {"until": view.until} if view.until else {}
    frame = answers.frame("cadence", repository=view.repository, **until)
    return frame[frame["kind"].eq("repository")].head(1)


def _place(answers: Answers, settings: Settings, repository: str) -> str | None:
    """What the registry is called. Any client may call it anything, so most of them have to; or the settings say it."""
    if settings.read.registry:
        return settings.read.registry
    found = answers.rows("place", repository=repository, since=answers.now.date() - timedelta(days=90))
    return str(found["registry"].iloc[0]) if len(found) else None


def _commands(place: str | None, repository: str, tags: pd.DataFrame) -> list[str]:
    """How to pull its latest tags. Only names that can do nothing in a shell: they are there to be copied.

    What has no dot and no port is no registry to docker, but somebody's namespace on Docker Hub.
    """
    if place is None or not _REGISTRY.fullmatch(place) or not (place == "localhost" or {".", ":"} & {*place}):
        return []
    is_image = tags["tag"].notna() & tags["digest"].notna() & ~tags["tag"].fillna("").str.match(SIGNATURE)
    there = tags[is_image].sort_values("last_push", ascending=False)
    references = [f"{repository}:{tag}" for tag in there["tag"].head(3)]
    return [f"docker pull {place}/{reference}" for reference in references if _REFERENCE.fullmatch(reference)]


def _actor(answers: Answers, name: str, view: View) -> dict[str, Any]:
    asked = view.window() | {"actor": view.actor}
    usage, clients = answers.frame("usage", **asked), answers.frame("clients", **asked)
    pushed = answers.frame("pushes", by=["repository"], interval="total", **asked)
    addresses = answers.frame("pulls", by=["client_address"], interval="total", **asked)
    return {
        "numbers": _changes(answers, asked),
        "charts": charts_of(asked, *_series(answers, view, "by=repository")),
        "usage": listed(usage, view, ["repository", "pulls", "downloads", "last_pull"], ROWS),
        "pushed": listed(figures.by_size(pushed, ["pushes"]), view, _PUSHED, ROWS),
        "clients": listed(clients, view, _CLIENTS, ROWS),
        "addresses": listed(figures.by_size(addresses, ["pulls"]), view, _ADDRESSES, ROWS),
        "recent": _recent(answers, view._replace(repository="")),
        "recent_url": f"{url_for('page.recent')}?{urlencode({'actor': view.actor})}",
    }
