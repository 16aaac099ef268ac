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
from regstats.ledger import Asked
from regstats.store import Store, utc_now
from regstats.terminal import visible
from regstats.views import ROWS, Cell, Table, View, listed, view_asked

COLUMNS = ["timestamp", "rule", "repository", "tag", "actor", "status", "attempts", "lead_time", "reason"]
"""Of a list."""
_TEXTS = ("history", "output")


Common = Callable[[Answers, View], dict[str, Any]]
"""What every page needs."""


def add(routes: Blueprint, answers: Callable[[], Answers], settings: Settings, access: Access, common: Common) -> None:
    """Adds the routes to those of all pages."""
    rules = {rule.name: rule for rule in settings.deploy}

    def may_decide(row: pd.DataFrame) -> bool:
        """Whether who asks may let it be deployed."""
        rule = rules.get(row["rule"].iloc[0])
        return rule is not None and access.may_approve(request, rule.approvers)

    @routes.get("/deployments")
    def deployments() -> str:
        view = view_asked()
        return render_template("deployments.html", **common(answers(), view), **_listing(answers(), view))

    @routes.get("/deployments/<deployment_id>")
    def deployment(deployment_id: str) -> Response:
        row = _one(answers(), deployment_id)
        told = _in_full(row) | {"may": _waits(row) and may_decide(row)}
        return _never_kept(render_template("deployment.html", **common(answers(), view_asked()), **told))

    @routes.post("/deployments/<deployment_id>/<any(approve, reject):wish>")
    def decide(deployment_id: str, wish: Any) -> Response:
        access.check_origin(request)
        row = _one(answers(), deployment_id)
        if not may_decide(row):
            raise Forbidden("You are not among the `approvers` of this rule in regstats.toml.")
        if not _waits(row):
            raise Conflict("Nobody has to say anything of this deployment any more.")
        Store(settings.data).ledger.ask(deployment_id, wish, Asked(_who(), utc_now()))
        return redirect(url_for("page.deployment", deployment_id=deployment_id), 303)


def _who() -> str:
    """Who asks, for the ledger."""
    name = request.authorization.username if request.authorization else None
    return name or f"somebody at {request.remote_addr}"


def _never_kept(page: str) -> Response:
    response = Response(page, mimetype="text/html")
    response.headers["Cache-Control"] = "no-store"
    response.headers["Referrer-Policy"] = "same-origin"  # without, a browser does not say whose page a form is on
    return response


def _in_full(row: pd.DataFrame) -> dict[str, dict[str, str]]:
    """All that is known of one: a value each, and what has several lines."""
    known = [name for name in row.columns if name not in _TEXTS and row[name].notna().all()]
    return {
        "told": {name: formats.cells(row[name])[0] for name in known},
        "texts": {name: visible_lines(row[name].iloc[0]) for name in _TEXTS},
    }


def visible_lines(text: Any) -> str:
    """What somebody's program wrote, with all that cannot be seen made visible, but for the ends of lines."""
    return "" if pd.isna(text) else "\n".join(map(visible, str(text).split("\n")))


def _listing(answers: Answers, view: View) -> dict[str, Any]:
    address = url_for("api.deployments")
    links = {form: f"{address}?{urlencode(_asked(view) | {'format': form})}" for form in ("csv", "json")}
    return {"table": latest(answers, view, ROWS), "links": links}


def _asked(view: View) -> dict[str, str]:
    """Those that a page is about; who pushed is not asked for."""
    return view._replace(actor="").asked()


def latest(answers: Answers, view: View, most: int) -> Table:
    """The latest deployments, each with a link to its page."""
    frame = answers.frame("deployments", **_asked(view))
    table = listed(frame, view, COLUMNS, most)
    for row, deployment_id in zip(table.rows, frame["deployment_id"], strict=False):
        row[0] = Cell(row[0].text, url_for("page.deployment", deployment_id=deployment_id))
    return table


def _one(answers: Answers, deployment_id: str) -> pd.DataFrame:
    frame = answers.fresh("deployments", deployment_id=deployment_id)
    frame = frame[frame["deployment_id"] == deployment_id]
    if frame.empty:
        raise NotFound("There is no such deployment.")
    return frame


def _waits(row: pd.DataFrame) -> bool:
    return bool(row["status"].iloc[0] == "unapproved")
