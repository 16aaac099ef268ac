"""One plotly figure per metric, from that metric's frame. Colours can be told apart by colour-blind people."""

import html
from typing import Any

import pandas as pd
import plotly.graph_objects as go

TOP = 20
"""At most so many bars; the rest is summed up as "other"."""

# Okabe and Ito, "Color Universal Design": blue, orange, green, vermilion.
_BLUE, _ORANGE, _GREEN, _RED = "#0072B2", "#E69F00", "#009E73", "#D55E00"
_GREY, _LIGHT = "#999999", "#BFDCD2"


def pulls(frame: pd.DataFrame) -> go.Figure:
    """Pulls and version checks over time, summed over whatever the frame is split by."""
    shown = {"pulls": _BLUE, "version_checks": _GREY}
    return _over_time(frame, shown, title="Pulls over time")


def pushes(frame: pd.DataFrame) -> go.Figure:
    """Updates, other pushes and deletes over time, summed over whatever the frame is split by."""
    split = frame.assign(repeated=frame["pushes"] - frame["updates"])
    return _over_time(split, {"updates": _GREEN, "repeated": _GREY, "deletes": _RED}, title="Pushes over time")


def repositories(frame: pd.DataFrame) -> go.Figure:
    """The most pulled repositories."""
    return _ranking(frame, "repository", {"pulls": _BLUE}, title="Most pulled repositories")


def activity(frame: pd.DataFrame) -> go.Figure:
    """What each actor did: pulls, pushes, deletes."""
    named = frame.assign(actor=frame["actor"].fillna("(anonymous)"))
    shown = {"pulls": _BLUE, "pushes": _ORANGE, "deletes": _RED}
    return _ranking(named, "actor", shown, title="Who does what")


def health(frame: pd.DataFrame) -> go.Figure:
    """What was received from each source: events, repetitions, deliveries that were not understood."""
    shown = {"events": _BLUE, "duplicates": _GREY, "quarantined": _RED}
    return _ranking(frame, "source", shown, title="What was received")


def cadence(frame: pd.DataFrame) -> go.Figure:
    """How long since each tag's last update, against its usual interval: a mark right of its bar is overdue."""
    tags = frame.dropna(subset=["median_interval"]).nlargest(TOP, "updates").iloc[::-1]
    names = _labels(tags["repository"] + ":" + tags["tag"])
    unit, seconds = _unit(pd.concat([tags["age"], tags["p90_interval"]]))
    figure = _figure("Update cadence", rows=len(tags))
    for column, say, colour in (
        ("p90_interval", "p90 interval", _LIGHT),
        ("median_interval", "median interval", _GREEN),
    ):
        figure.add_bar(y=names, x=_in(tags[column], seconds), name=say, orientation="h", marker_color=colour)
    figure.add_scatter(
        y=names,
        x=_in(tags["age"], seconds),
        name="since the last update",
        mode="markers",
        marker={"color": _RED, "size": 10, "symbol": "diamond"},
    )
    return figure.update_layout(xaxis_title=unit, barmode="overlay")


def _over_time(frame: pd.DataFrame, shown: dict[str, str], title: str) -> go.Figure:
    total = frame.groupby("period", as_index=False)[list(shown)].sum()
    figure = _figure(title, rows=0)
    for column, colour in shown.items():
        figure.add_bar(x=total["period"], y=total[column], name=_words(column), marker_color=colour)
    return figure.update_layout(barmode="stack", yaxis_title="count", yaxis_rangemode="tozero")


def _ranking(frame: pd.DataFrame, label: str, shown: dict[str, str], title: str) -> go.Figure:
    columns = list(shown)
    ranked = frame.iloc[(-frame[columns].sum(axis=1)).argsort(kind="stable")]  # ties as in the frame
    top, rest = ranked.head(TOP), ranked.iloc[TOP:]
    names, values = _labels(top[label]), top[columns].reset_index(drop=True)
    if len(rest):
        names = [*names, f"{len(rest)} others"]
        values = pd.concat([values, rest[columns].sum().to_frame().T], ignore_index=True)
    figure = _figure(title, rows=len(names))
    for column, colour in shown.items():
        figure.add_bar(y=names, x=values[column], name=_words(column), orientation="h", marker_color=colour)
    return figure.update_layout(barmode="stack", xaxis_title="count", yaxis_autorange="reversed")


def _figure(title: str, rows: int) -> go.Figure:
    """An empty figure in the house style; `rows` is the number of horizontal bars, 0 for a series."""
    height = 380 if rows == 0 else max(220, 130 + 26 * rows)
    return go.Figure(
        layout={
            "title": title,
            "template": "plotly_white",
            "height": height,
            "margin": {"l": 10, "r": 20, "t": 60, "b": 40},
            "xaxis": {"automargin": True},
            "yaxis": {"automargin": True},
            "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 1, "xanchor": "right"},
        }
    )


def _labels(names: pd.Series) -> list[str]:
    """Names as text: plotly reads labels as HTML, and names are whatever a client wrote."""
    return [html.escape(name) for name in names]


def _words(column: str) -> str:
    return column.replace("_", " ")


_UNITS = {"days": 86400, "hours": 3600, "minutes": 60}


def _unit(durations: pd.Series) -> tuple[str, int]:
    """The unit in which the longest duration reads best."""
    longest = durations.max().total_seconds() if len(durations.dropna()) else 0
    return next(((unit, size) for unit, size in _UNITS.items() if longest >= 2 * size), ("seconds", 1))


def _in(durations: pd.Series, seconds: int) -> Any:
    return durations.dt.total_seconds() / seconds
