"""In a notebook: frames as people read them, tables that sort and filter, and a picker.

`regstats.open` sees to the first by itself, where there is a notebook. The others need the extra `lab`: itables draws
the tables, ipywidgets the picker. Nothing is fetched from anywhere.
"""

import html
from collections.abc import Iterable
from datetime import UTC, date, datetime, time, timedelta
from functools import partial
from typing import Any

import duckdb
import pandas as pd

from regstats import charts, extras, figures, formats
from regstats.config import Exclude
from regstats.errors import RegstatsError
from regstats.metrics import METRICS
from regstats.parameters import Parameters
from regstats.stats import Stats
from regstats.terminal import visible

ROWS = 20
"""So many rows of a frame are shown."""

_TABLE = {
    "allow_html": False,
    "format_floats_in_python": False,  # what it does instead is evaluated as a script, which a report forbids
    "showIndex": False,
    "maxBytes": 0,
    "display_logo_when_loading": False,
    "order": [],
}
_UNITS = (("days", 86_400), ("hours", 3_600), ("minutes", 60))
_extra = partial(extras.module, extra="lab")
_LEFT = ' style="text-align: left"'
_INTERVALS = ("hour", "day", "week", "month")


def install() -> None:
    """From now on the notebook shows the frames of metrics, and what `stats.sql` finds, as people read them."""
    shell = figures.shell()
    if shell is not None:
        formatter = shell.display_formatter.formatters["text/html"]
        formatter.for_type(pd.DataFrame, show)
        formatter.for_type(duckdb.DuckDBPyRelation, lambda relation: _shown(_frame(relation.limit(ROWS + 1))))


def show(frame: pd.DataFrame) -> str:
    """A frame as HTML: of a metric with its question and window above, and times and durations as people read them."""
    if frame.attrs.get("metric") not in METRICS:
        return str(frame._repr_html_())  # type: ignore[operator]
    return f"<p>{html.escape(' · '.join(_said(frame)))}</p>\n{_shown(frame)}"


def _shown(frame: pd.DataFrame) -> str:
    if frame.empty:
        return "<p>There is nothing.</p>"
    more = "<p>and more rows; <code>notebook.table(…)</code> has all.</p>" if len(frame) > ROWS else ""
    return f"{formats.html_table(frame.head(ROWS), text=_LEFT)}\n{more}"


def _frame(rows: pd.DataFrame | duckdb.DuckDBPyRelation) -> pd.DataFrame:
    if isinstance(rows, pd.DataFrame):
        return rows
    return pd.DataFrame(rows.to_arrow_table().to_pandas(date_as_object=False))


def table(rows: pd.DataFrame | duckdb.DuckDBPyRelation) -> Any:
    """All rows of a frame, or of what `stats.sql` found, to sort, to search and to page through.

    Durations are numbers of one unit, which stands in the name of the column: so they sort.
    """
    itables = _extra("itables")
    # Its script goes into every cell that has a table, so that a cell can be run again, or be the only one. First of
    # all: what follows looks for it, to see whether the theme is dark.
    with _extra("IPython.utils.capture").capture_output() as captured:
        itables.init_notebook_mode(all_interactive=False, connected=False)
    for output in reversed(captured.outputs):
        output.display()
    frame = _frame(rows)
    drawn = itables.to_html_datatable(_sortable(frame), connected=False, **_TABLE)
    return _extra("IPython.display").HTML(f"<p>{html.escape(' · '.join(_said(frame)))}</p>\n{drawn}")


def explore(stats: Stats) -> Any:
    """A picker of repository, days and interval; below it what was picked, drawn anew with each change."""
    widgets, display = _extra("ipywidgets"), _extra("IPython.display")
    names = sorted(stats.repositories()["repository"])
    repository = widgets.Combobox(
        description="repository", placeholder="all, or team/*", options=names, continuous_update=False
    )
    since, until = (widgets.DatePicker(description=name) for name in ("since", "until"))
    interval = widgets.Dropdown(description="interval", options=_INTERVALS, value="day")
    picked, drawn = (repository, since, until, interval), widgets.Output()

    def draw(_change: object = None) -> None:
        drawn.clear_output(wait=True)
        with drawn:
            for shown in _picked(stats, repository.value, since.value, until.value, interval.value):
                display.display(shown)

    for widget in picked:
        widget.observe(draw, "value")
    draw()
    return widgets.VBox([widgets.HBox(picked[:1] + picked[3:]), widgets.HBox(picked[1:3]), drawn])


def _picked(stats: Stats, repository: str, since: date | None, until: date | None, interval: Any) -> Iterable[Any]:
    """Pulls, pushes and tags of what was picked; or what is wrong with it."""
    window: Parameters = {"since": _midnight(since), "until": _midnight(until and until + timedelta(days=1))}
    if repository:
        window["repository"] = repository
    series: Parameters = {**window, "interval": interval}
    try:
        pulls, pushes = stats.pulls(**series), stats.pushes(**series)
        return [charts.pulls(pulls), charts.pushes(pushes), stats.tags(**window)]
    except RegstatsError as error:
        return [error]


def _midnight(day: date | None) -> datetime | None:
    return datetime.combine(day, time(), UTC) if day else None


def _said(frame: pd.DataFrame) -> list[str]:
    """What a frame answers, of which window, and who is not counted."""
    attrs = frame.attrs
    if attrs.get("metric") not in METRICS:
        return []
    excluded = Exclude(**attrs["excluded"])
    return [METRICS[attrs["metric"]].question, *figures.window(attrs), f"not counted: {excluded}"]


def _sortable(frame: pd.DataFrame) -> pd.DataFrame:
    """Durations as numbers, in the largest unit of which the median has one at least; all else as people read it."""
    columns: dict[str, Any] = {}
    for name in map(str, frame.columns):
        column = frame[name]
        if pd.api.types.is_timedelta64_dtype(column.dtype):
            seconds = column.dt.total_seconds()
            unit, length = _unit(seconds.abs().median())
            columns[f"{name}, {unit}"] = (seconds / length).round(2)
        elif pd.api.types.is_float_dtype(column.dtype):
            columns[name] = column.round(2)
        elif pd.api.types.is_numeric_dtype(column.dtype):
            columns[name] = column
        else:
            columns[name] = [visible(cell) for cell in formats.cells(column)]
    return pd.DataFrame(columns)


def _unit(usual: float) -> tuple[str, int]:
    return next(((name, length) for name, length in _UNITS if usual >= length), ("seconds", 1))
