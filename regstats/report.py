"""The report: one HTML file with charts and tables that needs nothing else, not even a network."""

from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

import jinja2
import pandas as pd
import plotly.graph_objects as go
import plotly.offline

from regstats import charts, formats
from regstats.parameters import Moment, Parameters
from regstats.stats import Stats
from regstats.terminal import answer

CHART_CONFIG = {"displaylogo": False, "responsive": True}
_SHORT = timedelta(days=3)  # below that, a bar per hour says more than a bar per day
_LEFT_OUT = ["first_pull", "first_push"]  # a table that fits the page


class Section(NamedTuple):
    """A question, its chart and its table."""

    title: str
    question: str
    chart: str
    columns: list[str]
    numeric: list[bool]
    rows: list[list[str]]


def write(stats: Stats, out: Path, *, since: Moment | None = None, until: Moment | None = None) -> None:
    """Writes the report of a window to a file, which appears when it is whole.

    Raises InputError where the file cannot be written.
    """
    with answer(out) as file:
        file.write(render(stats, since=since, until=until).encode())


def render(stats: Stats, *, since: Moment | None = None, until: Moment | None = None) -> str:
    """The report of a window as HTML."""
    window: Parameters = {"since": since, "until": until}
    repositories, activity = stats.repositories(**window), stats.activity(**window)
    cadence = stats.cadence(**window)
    pulls = _series(stats, activity, window)
    template = environment().get_template("report.html")
    return template.render(
        facts=_facts(repositories, activity),
        window=_window(activity),
        quarantined=len(stats.quarantine()),
        excluded=str(stats.exclude),
        sections=[
            _section("Use", "How often is it pulled?", charts.pulls(pulls), repositories.drop(columns=_LEFT_OUT)),
            _section(
                "Maintenance", "How often is it updated?", charts.cadence(cadence), cadence.drop(columns="first_update")
            ),
            _section("Activity", "Who does what?", charts.activity(activity), activity),
        ],
        plotly=plotly.offline.get_plotlyjs(),
    )


def _series(stats: Stats, activity: pd.DataFrame, window: Parameters) -> pd.DataFrame:
    is_short = activity.empty or activity["last_seen"].max() - activity["first_seen"].min() <= _SHORT
    parameters: Parameters = {**window, "interval": "hour" if is_short else "day"}
    return stats.pulls(**parameters)


def _facts(repositories: pd.DataFrame, activity: pd.DataFrame) -> dict[str, int]:
    return {
        "pulls": int(repositories["pulls"].sum()),
        "pushes": int(repositories["pushes"].sum()),
        "updates": int(repositories["updates"].sum()),
        "repositories": len(repositories),
        "actors": int(activity["actor"].notna().sum()),
    }


def _window(activity: pd.DataFrame) -> str:
    if activity.empty:
        return "Nothing happened in this window."
    first, last = activity["first_seen"].min(), activity["last_seen"].max()
    return f"{first:%Y-%m-%d %H:%M} to {last:%Y-%m-%d %H:%M} UTC"


def _section(title: str, question: str, figure: go.Figure, frame: pd.DataFrame) -> Section:
    chart = figure.to_html(
        full_html=False, include_plotlyjs=False, div_id=f"chart-{title.lower()}", config=CHART_CONFIG
    )
    columns = [formats.cells(frame[name]) for name in frame.columns]
    return Section(
        title,
        question,
        chart,
        [str(name).replace("_", " ") for name in frame.columns],
        [formats.is_numeric(frame[name]) for name in frame.columns],
        [list(row) for row in zip(*columns, strict=True)],
    )


def environment() -> jinja2.Environment:
    """The templates of pages; what is put into them is escaped."""
    made = jinja2.Environment(
        loader=jinja2.PackageLoader("regstats"), autoescape=True, undefined=jinja2.StrictUndefined
    )
    filters: dict[str, Any] = {"thousands": "{:,}".format}
    made.filters.update(filters)
    return made
