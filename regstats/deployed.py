"""The pages about deployments: what was deployed, one of them in full, and a button for those that wait for somebody.

Whoever may look may not let anything be deployed for that: it takes a user whom the rule names.
"""

from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

import pandas as pd
from flask import Blueprint, redirect, render_template, request, url_for
from werkzeug.exceptions import Conflict, Forbidden, NotFound
from werkzeug.wrappers import Response

from regstats import formats
from regstats.access import Access
from regstats.answers import Answers
from regstats.config import Settings
from regstats.ledger import Asked, Ledger
from regstats.store import Store, utc_now
from regstats.terminal import visible
from regstats.views import ROWS, Cell, Table, View, listed, view_asked

COLUMNS = ["timestamp", "rule", "repository", "tag", "actor", "status", "attempts", "lead_time", "reason"]
"""Of a list."""
_TEXTS = ("history", "output")


Common = Callable[[Answers, View], dict[str, Any]]
"""What every page needs."""


def blueprint(answers: Callable[[], Answers], settings: Settings, access: Access, common: Common) -> Blueprint:
    """The routes."""
    routes = Blueprint("deployed", __name__)
    rules = {rule.name: rule for rule in settings.deploy}

    @routes.get("/deployments")
    def deployments() -> str:
        view = view_asked()
        return render_template("deployments.html", **common(answers(), view), **_listing(answers(), view))

    @routes.get("/deployments/<deployment_id>")
    def deployment(deployment_id: str) -> Response:
        row = _one(answers(), deployment_id)
        known = [name for name in row.columns if name not in _TEXTS and row[name].notna().all()]
        told = {name: formats.cells(row[name])[0] for name in known}
        texts = {name: visible_lines(row[name].iloc[0]) for name in _TEXTS}
        may = _waits(row) and _may(row)
        page = render_template("deployment.html", **common(answers(), view_asked()), told=told, texts=texts, may=may)
        response = Response(page, mimetype="text/html")
        response.headers["Cache-Control"] = "no-store"
        response.headers["Referrer-Policy"] = "same-origin"  # without, a browser does not say whose page a form is on
        return response

    @routes.post("/deployments/<deployment_id>/<any(approve, reject):wish>")
    def ask(deployment_id: str, wish: Any) -> Response:
        access.check_origin(request)
        row = _one(answers(), deployment_id)
        if not _may(row):
            raise Forbidden("You are not among the `approvers` of this rule in regstats.toml.")
        if not _waits(row):
            raise Conflict("Nobody has to say anything of this deployment any more.")
        by = request.authorization.username if request.authorization else None
        asked = Asked(by or f"somebody at {request.remote_addr}", utc_now())
        Ledger(Store(settings.data).root).ask(row["deployment_id"].iloc[0], wish, asked)
        return redirect(url_for("deployed.deployment", deployment_id=deployment_id), 303)

    def _may(row: pd.DataFrame) -> bool:
        rule = rules.get(row["rule"].iloc[0])
        return rule is not None and access.may_approve(request, rule.approvers)

    return routes


def visible_lines(text: Any) -> str:
    """What somebody's program wrote, with all that cannot be seen made visible, but for the ends of lines."""
    return "" if pd.isna(text) else "\n".join(map(visible, str(text).split("\n")))


def _listing(answers: Answers, view: View) -> dict[str, Any]:
    asked = view.window() | ({"repository": view.repository} if view.repository else {})
    frame = answers.frame("deployments", **asked)
    address = url_for("api.deployments")
    links = {form: f"{address}?{urlencode(asked | {'format': form})}" for form in ("csv", "json")}
    return {"table": recent(frame, view, ROWS), "links": links}


def recent(frame: pd.DataFrame, view: View, most: int) -> Table:
    """The latest deployments, each with a link to its page."""
    table = listed(frame, view, COLUMNS, most)
    for row, deployment_id in zip(table.rows, frame["deployment_id"], strict=False):
        row[0] = Cell(row[0].text, url_for("deployed.deployment", deployment_id=deployment_id))
    return table


def _one(answers: Answers, deployment_id: str) -> pd.DataFrame:
    frame = answers.rows("deployments", fresh=True, **_NOTHING | {"id": deployment_id})
    frame = frame[frame["deployment_id"] == deployment_id]
    if frame.empty:
        raise NotFound("There is no such deployment.")
    spans = {name: pd.to_timedelta(frame[name], unit="us") for name in ("duration", "lead_time")}
    return frame.assign(**spans)


_NOTHING: dict[str, Any] = dict.fromkeys(("id", "repositories", "rules", "status", "since", "until", "limit"))


def _waits(row: pd.DataFrame) -> bool:
    return bool(row["status"].iloc[0] == "unapproved")
