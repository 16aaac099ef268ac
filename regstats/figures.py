"""What the charts are drawn with: the house style, names that are text, counts over time, rankings, heat maps.

Names are whatever a client wrote, and plotly reads every text as HTML and `$…$` as a formula: each goes through `text`.
"""

import html
import math
import sys
from collections.abc import Callable, Hashable, Iterable, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import pandas as pd
import plotly.graph_objects as go

from regstats import formats
from regstats.terminal import visible

TOP = 20
"""At most so many bars; the rest is summed up as "others" where sums make sense, and else counted in the subtitle."""
GROUPS = 7
"""At most so many colours in a stack; the rest is "others"."""
LINES = 10
"""At most so many lines of a name in a hover label."""
LABEL = 40
"""Longer names are shortened on axes; the hover has them in full."""


class Look(NamedTuple):
    """The colours of a figure. Those of data are Okabe and Ito's, "Color Universal Design"."""

    paper: str
    label: str
    """What hovers over the paper."""
    ink: str
    label_ink: str
    on_blue: str
    soft: str
    grid: str
    grey: str
    pale: str
    none: str
    blue: str
    orange: str
    green: str
    red: str
    groups: tuple[str, ...]
    heat: tuple[str, ...]


# Yellow cannot be seen on white, and neither can black on black; blue is dull on black.
_LIGHT = Look(
    paper="#ffffff",
    label="#ffffff",
    ink="#1b2430",
    label_ink="#1b2430",
    on_blue="#ffffff",
    soft="#5b6776",
    grid="#e4e8ed",
    grey="#9aa3ad",
    pale="#bfdcd2",
    none="#eceff3",
    blue="#0072B2",
    orange="#E69F00",
    green="#009E73",
    red="#D55E00",
    groups=("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#000000"),
    heat=("#c9e2f3", "#56B4E9", "#0072B2", "#00304d"),
)
_DARK = Look(
    paper="#14191f",
    label="#14191f",
    ink="#e6eaef",
    label_ink="#e6eaef",
    on_blue="#14191f",
    soft="#a7b1bc",
    grid="#2d363f",
    grey="#77828e",
    pale="#2a5a4c",
    none="#232b33",
    blue="#56B4E9",
    orange="#E69F00",
    green="#009E73",
    red="#D55E00",
    groups=("#56B4E9", "#E69F00", "#009E73", "#CC79A7", "#F0E442", "#D55E00", "#0072B2"),
    heat=("#17405a", "#0072B2", "#56B4E9", "#e3f2fc"),
)
# JupyterLab's theme is the browser's business and can change at any moment, so what is drawn there is seen on both.
_EITHER = Look(
    paper="rgba(0,0,0,0)",
    label="#2b333b",
    ink="#777b80",
    label_ink="#ffffff",
    on_blue="#000000",
    soft="#777b80",
    grid="rgba(128,128,128,0.25)",
    grey="#8b929a",
    pale="rgba(0,158,115,0.3)",
    none="rgba(128,128,128,0.1)",
    blue="#2488c8",
    orange="#d18f00",
    green="#009E73",
    red="#D55E00",
    groups=("#2488c8", "#d18f00", "#009E73", "#CC79A7", "#4aa6dd", "#D55E00", "#777b80"),
    heat=("rgba(36,136,200,0.25)", "rgba(36,136,200,0.5)", "rgba(36,136,200,0.75)", "rgb(36,136,200)"),
)


def look(*, dark: bool | None) -> Look:
    """The colours for a light or a dark page; None: for whatever a notebook is shown on, elsewhere for a light one."""
    if dark is None:
        return _EITHER if shell() is not None else _LIGHT
    return _DARK if dark else _LIGHT


def shell() -> Any:
    """What runs the cells, if this is the kernel of a notebook; None if not."""
    running = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    return running if hasattr(running, "kernel") else None


# Figures


def figure(
    title: str, frame: pd.DataFrame, style: Look, *, rows: int | None = None, notes: Iterable[str] = (),
    nothing: str = "",
) -> go.Figure:  # fmt: skip
    """An empty figure that says what it shows, of which window, and what is left out.

    `rows` is the number of names down the side; without it, it is a series. `nothing` is why there is nothing to see.
    """
    below = " · ".join([*window(frame.attrs), *notes])
    above, plot = 84 if below else 56, 260 if rows is None else max(120, 26 * rows)
    drawing = go.Figure(layout={"template": _template(style), "title": {"text": title, "subtitle": {"text": below}}})
    drawing.update_layout(margin_t=above, height=above + plot + _BELOW + 34, legend_y=-_BELOW / plot)
    nothing = nothing or ("Nothing in this window." if frame.empty else "")
    if nothing:
        drawing.add_annotation(text=nothing, showarrow=False, font={"size": 15, "color": style.soft})
        drawing.update_annotations(xref="paper", yref="paper", x=0.5, y=0.5)
        drawing.update_layout(xaxis_visible=False, yaxis_visible=False)
    return drawing


_BELOW = 58
"""Pixels below the plot for what stands at its axis; the legend comes after it, in however many lines it needs."""


def _template(style: Look) -> go.layout.Template:
    axis = {
        "automargin": True,
        "gridcolor": style.grid,
        "linecolor": style.grid,
        "zerolinecolor": style.grid,
        "title": {"standoff": 8, "font": {"color": style.soft, "size": 12}},
    }
    return go.layout.Template(
        layout={
            "font": {"color": style.ink, "family": 'system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif'},
            "title": {
                "x": 0,
                "xref": "container",
                "xanchor": "left",
                "y": 1,
                "yanchor": "top",
                "pad": {"t": 14, "l": 16},
            },
            "title_font": {"size": 17},
            "title_subtitle": {"font": {"color": style.soft, "size": 12}},
            "paper_bgcolor": style.paper,
            "plot_bgcolor": style.paper,
            "margin": {"l": 16, "r": 24, "b": 24},
            "xaxis": axis,
            "yaxis": axis | {"ticklabelstandoff": 6},
            "colorway": style.groups,
            "bargap": 0.25,
            "hoverlabel": {"align": "left", "namelength": -1, "bgcolor": style.label, "font_color": style.label_ink},
            "modebar": {"bgcolor": "rgba(0,0,0,0)", "color": style.grey, "activecolor": style.ink},
            "legend": {"orientation": "h", "x": 0, "yanchor": "top", "traceorder": "normal"},
        }
    )


def window(attrs: dict[Hashable, Any]) -> list[str]:
    """Of which time a frame is, in words; nothing if of all."""
    since, until = (f"{at:%Y-%m-%d %H:%M}" if at is not None else "" for at in map(attrs.get, ("since", "until")))
    both = f"{since} to {until} UTC" if since and until else ""
    return [both or f"since {since} UTC"] if since else [f"until {until} UTC"] if until else []


# Names


def text(name: str) -> str:
    """A name as text, whatever is in it. Plotly does not know `&quot;`, and starts a formula at `$`."""
    return html.escape(visible(name), quote=False).replace("$", "&#36;")


def short(name: str, length: int = LABEL) -> str:
    """A name with its middle left out, if it is long: both ends tell names apart."""
    name = visible(name)
    half = length // 2
    return text(name if len(name) <= length else f"{name[: length - half - 1]}…{name[-half:]}")


def full(name: str) -> str:
    """A name with all that it has, in lines that fit into a hover label; plotly shows none that is too high."""
    name = visible(name)
    lines = [text(name[start : start + 48]) for start in range(0, min(len(name), 48 * LINES), 48)]
    return "<br>".join([*lines, *(["…"] if len(name) > 48 * LINES else [])])


def words(column: str) -> str:
    """A column's name for people."""
    return column.replace("_", " ")


_MISSING = {"actor": "(anonymous)", "client": "(unknown)", "client_version": "(unknown)"}


def names(frame: pd.DataFrame, keys: Sequence[str]) -> list[str]:
    """What each row is about, by some columns: `team/api:1.0`, `docker 27.1`, `team/api · (anonymous)`."""
    if not keys:
        return ["all"] * len(frame)
    rows = zip(*(frame[key] for key in keys), strict=True)
    return [" · ".join(_parts(dict(zip(keys, row, strict=True)))) for row in rows]


def references(frame: pd.DataFrame) -> list[str]:
    """What each row is about: `team/api:1.0`, without a tag `team/api@sha256:…`, without either `team/api`."""
    digests = frame["digest"] if "digest" in frame else [None] * len(frame)
    rows = zip(frame["repository"], frame["tag"], digests, strict=True)
    return [name + (f":{tag}" if not pd.isna(tag) else "" if pd.isna(at) else f"@{at[:19]}") for name, tag, at in rows]


def _parts(row: dict[str, Any]) -> list[str]:
    known = {key: str(value) for key, value in row.items() if not pd.isna(value)}
    parts = {key: known.get(key, _MISSING.get(key, f"(no {words(key)})")) for key in row}
    if {"client", "client_version"} <= parts.keys():
        parts["client"] = f"{parts['client']} {known.get('client_version', '')}".rstrip()
        del parts["client_version"]
    if {"repository", "tag"} <= parts.keys():
        tag = parts.pop("tag")
        parts["repository"] += f":{tag}" if "tag" in known else f" {tag}"
    return list(parts.values())


def keys_before(frame: pd.DataFrame, column: str) -> list[str]:
    """The columns that say what a row is about: those before the first value."""
    columns = [str(name) for name in frame.columns]
    return [name for name in columns[: columns.index(column)] if name != "period"]


def others(count: int) -> str:
    """What is not shown by name."""
    return f"{count:,} other{'s' if count != 1 else ''}"


def categories(labels: Sequence[str], length: int = LABEL) -> tuple[list[str], dict[str, Any]]:
    """The places of names on an axis, and that axis: never numbers or dates, however the names look.

    Places differ even where names do not, such as those of an actor who calls himself "(anonymous)".
    """
    places = _unique([text(label) for label in labels])
    axis = {
        "type": "category",
        "categoryorder": "array",
        "categoryarray": places,
        "tickvals": places,
        "ticktext": [short(label, length) for label in labels],
        "showgrid": False,
    }
    return places, axis


_INHERITED = frozenset({
    "__defineGetter__", "__defineSetter__", "__lookupGetter__", "__lookupSetter__", "__proto__", "constructor",
    "hasOwnProperty", "isPrototypeOf", "propertyIsEnumerable", "toLocaleString", "toString", "valueOf",
})  # fmt: skip
"""What every object of JavaScript has: plotly.js keeps places in one, and takes these for known."""


def _unique(labels: list[str]) -> list[str]:
    places: dict[str, None] = {}
    for label in labels:
        place = label
        while place in places or place in _INHERITED:
            place += "\u200b"  # no width; names have none, it is made visible in them
        places[place] = None
    return list(places)


# Values


def hovers(labels: Sequence[str], frame: pd.DataFrame) -> list[str]:
    """For each row its name in full, and below it all its values."""
    cells = [[f"{words(str(name))}: {full(cell)}" for cell in formats.cells(frame[name])] for name in frame.columns]
    rows = zip(*cells, strict=True) if cells else [()] * len(frame)
    return ["<br>".join([f"<b>{full(label)}</b>", *row]) for label, row in zip(labels, rows, strict=True)]


def wall(times: pd.Series) -> pd.Series:
    """Times as a clock on the wall shows them: plotly knows no zones."""
    return times.dt.tz_localize(None) if isinstance(times.dtype, pd.DatetimeTZDtype) else times


_SIZES = {"hour": 3_600, "day": 86_400, "week": 604_800, "month": 2_592_000}
_HEADS = {"hour": "%a %Y-%m-%d %H:%M", "day": "%a %Y-%m-%d", "week": "week of %Y-%m-%d", "month": "%B %Y"}


def interval_of(frame: pd.DataFrame) -> str:
    """The interval of a series: what the frame says, else the longest that fits between its periods."""
    said = frame.attrs.get("interval")
    steps = frame["period"].drop_duplicates().sort_values().diff().dropna()
    step = steps.min().total_seconds() if len(steps) else _SIZES["day"]
    fitting = [name for name, size in _SIZES.items() if size <= step + 3 * _SIZES["day"] * (size > _SIZES["week"])]
    return said if said in _SIZES else (fitting or ["hour"])[-1]


def ends(periods: pd.Series, interval: str) -> pd.Series:
    """When each period is over."""
    size = pd.DateOffset(months=1) if interval == "month" else pd.Timedelta(seconds=_SIZES[interval])
    return periods + size


_UNITS = {"days": 86400, "hours": 3600, "minutes": 60}
_STEPS = {"1 s": 1, "1 min": 60, "1 h": 3600, "1 day": 86400, "1 week": 604800, "1 month": 2592000, "1 year": 31536000}


def unit_of(durations: pd.Series) -> tuple[str, int]:
    """The unit in which the longest duration reads best, and its seconds."""
    longest = durations.max().total_seconds() if len(durations.dropna()) else math.inf
    return next(((unit, size) for unit, size in _UNITS.items() if longest >= 2 * size), ("seconds", 1))


def durations_along(drawing: go.Figure, durations: pd.Series, what: str) -> Callable[[pd.Series], pd.Series]:
    """An axis for durations: each step ten times the last where hours and years are side by side. What scales to it."""
    unit, seconds = unit_of(durations)
    lengths = durations.dt.total_seconds()[lambda all_of: all_of > 0] / seconds
    drawing.update_xaxes(title_text=f"{unit} {what}".rstrip(), rangemode="tozero")
    if len(lengths) and lengths.max() > 100 * lengths.quantile(0.1):
        low, high = math.log10(lengths.min() / 2), math.log10(lengths.max() * 1.5)
        drawing.update_xaxes(type="log", title_text=f"time {what}".rstrip(), range=[low, high])
        drawing.update_xaxes(tickvals=[step / seconds for step in _STEPS.values()], ticktext=list(_STEPS))
    return lambda column: column.dt.total_seconds() / seconds


def span(frame: pd.DataFrame, times: pd.Series, *, now: datetime | None = None) -> list[pd.Timestamp]:
    """From when to when a time axis goes, in UTC without a zone: the window, else all the times and a bit more."""
    low = frame.attrs.get("since") or times.min()
    latest = max(times.max(), low)
    high = frame.attrs.get("until") or now or latest + max((latest - low) / 25, pd.Timedelta(hours=1))
    return [pd.to_datetime(at, utc=True).tz_localize(None) for at in (low, high)]


# The largest, and all others


class Places(NamedTuple):
    """The things that a frame is about, the largest first, then all others as one; and for each row, which it is."""

    labels: list[str]
    of: pd.Series
    left: int


def places_of(frame: pd.DataFrame, keys: Sequence[str], sizes: pd.Series, most: int) -> Places:
    """Which things are the largest, and which of them is each row about? `left` are the others, the last label."""
    groups = frame.groupby(list(keys), dropna=False, sort=False).ngroup()
    order = sizes.groupby(groups).sum().sort_values(ascending=False, kind="stable").index
    firsts = frame[~groups.duplicated()].iloc[order[:most]]  # groups are numbered as they first appear
    left = max(len(order) - most, 0)
    of = groups.map({group: min(place, most) for place, group in enumerate(order)})
    return Places(names(firsts, keys) + [others(left)] * bool(left), of.astype("int64"), left)


# Rankings


class Ranking(NamedTuple):
    """The first rows of a frame, and one for all the others."""

    labels: list[str]
    values: pd.DataFrame
    hovers: list[str]
    head: pd.DataFrame


def rank(frame: pd.DataFrame, keys: Sequence[str], columns: Sequence[str]) -> Ranking:
    """The first rows of a frame by name, with the counts in some columns, and the sum of all others."""
    head, rest = frame.head(TOP), frame.iloc[TOP:]
    labels, values = names(head, keys), head[list(columns)]
    told = hovers(labels, head.drop(columns=list(keys)))
    if len(rest):
        total = rest[values.columns].sum().to_frame().T.astype(values.dtypes.to_dict())
        labels, values = [*labels, others(len(rest))], pd.concat([values, total], ignore_index=True)
        told += hovers(labels[-1:], total)
    return Ranking(labels, values, told, head)


def by_size(frame: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """The largest first; ties as in the frame."""
    order = (-frame[list(columns)].sum(axis=1).to_numpy()).argsort(kind="stable")
    return frame.iloc[order]


def down_the_side(drawing: go.Figure, labels: Sequence[str], length: int = LABEL) -> list[str]:
    """Names from top to bottom; their places."""
    places, axis = categories(labels, length)
    drawing.update_layout(yaxis=axis, hovermode="closest")
    drawing.update_yaxes(range=[len(places) - 0.5, -0.5] if places else None)
    return places


def ranking(frame: pd.DataFrame, keys: Sequence[str], shown: dict[str, str], title: str, style: Look) -> go.Figure:
    """The rows with the largest counts, as stacked bars: `shown` has the columns and their colours."""
    ranked = rank(by_size(frame, list(shown)), keys, list(shown))
    drawing = figure(title, frame, style, rows=len(ranked.labels))
    places = down_the_side(drawing, ranked.labels)
    for column, colour in shown.items():
        bar = drawing.add_bar(y=places, x=ranked.values[column], name=words(column), orientation="h")
        bar.data[-1].update(marker_color=colour, hovertext=ranked.hovers, hoverinfo="text")
    drawing.update_xaxes(count_axis(ranked.values.sum(axis=1), list(shown)))
    return drawing.update_layout(barmode="stack", showlegend=len(shown) > 1)


def count_axis(totals: pd.Series, columns: Sequence[str]) -> dict[str, Any]:
    """An axis for counts: from zero, and without halves."""
    few = {"dtick": 1} if totals.max() < 5 else {}
    title = words(columns[0]) if len(columns) == 1 else "count"
    return {"title_text": title, "rangemode": "tozero", "tickformat": ",~s", **few}


# Counts over time


def over_time(frame: pd.DataFrame, shown: dict[str, str], title: str, style: Look) -> go.Figure:
    """Stacked bars per period, one colour per column, summed over whatever the frame is split by."""
    drawing, bars = _series(frame, title, style)
    total = frame.groupby(wall(frame["period"]))[list(shown)].sum()
    for column, colour in shown.items():
        drawing.add_bar(**bars, y=total[column], name=words(column), marker_color=colour)
    drawing.update_traces(hovertemplate="%{y:,}  %{fullData.name}<extra></extra>")
    return drawing.update_layout(yaxis=count_axis(total.sum(axis=1), list(shown)), showlegend=True)


def by_group(frame: pd.DataFrame, keys: Sequence[str], column: str, title: str, style: Look) -> go.Figure:
    """Stacked bars per period of one count, one colour per group: the largest groups, and all others in grey."""
    drawing, bars = _series(frame, title, style)
    labels, counts = _grouped(frame, keys, column)
    for slot, label in enumerate(labels):
        colour = style.groups[slot] if slot < GROUPS else style.grey
        drawing.add_bar(**bars, y=counts[slot], name=short(label, 28), meta=full(label), marker_color=colour)
    drawing.update_traces(hovertemplate="%{y:,}  %{meta}<extra></extra>")
    return drawing.update_layout(yaxis=count_axis(counts.sum(axis=1), [column]), showlegend=True)


def _grouped(frame: pd.DataFrame, keys: Sequence[str], column: str) -> tuple[list[str], pd.DataFrame]:
    """The groups with the most, then all others: what they are called, and their counts per period."""
    periods = wall(frame["period"])
    some = frame[frame[column] > 0]
    places = places_of(some, keys, some[column], GROUPS)
    counts = some.groupby([periods[some.index], places.of])[column].sum().unstack(fill_value=0)
    return places.labels, counts.reindex(periods.drop_duplicates().sort_values(), fill_value=0)


def _series(frame: pd.DataFrame, title: str, style: Look) -> tuple[go.Figure, dict[str, Any]]:
    """A figure over time, and what all its bars have in common: when they are, and how wide, in milliseconds."""
    interval, drawing = interval_of(frame), figure(title, frame, style)
    periods = wall(frame["period"]).drop_duplicates().sort_values()
    zone = getattr(frame["period"].dtype, "tz", None)
    drawing.update_xaxes(
        type="date", hoverformat=_HEADS[interval], title_text=f"{interval} ({zone})" if zone else interval
    )
    if len(periods):
        beside = pd.Timedelta(seconds=_SIZES[interval]) * max(0.5, (7 - len(periods)) / 2)  # one bar is no wall
        drawing.update_xaxes(range=[periods.iloc[0] - beside, periods.iloc[-1] + beside])
    if interval == "week":  # plotly's begin on Sunday
        drawing.update_xaxes(tick0="2000-01-03", dtick=604_800_000 * max(math.ceil(len(periods) / 8), 1))
    drawing.update_layout(barmode="stack", hovermode="x unified")
    return drawing, {"x": periods, "width": _SIZES[interval] * (900 if len(periods) < 120 else 1000)}


# Heat maps


def heat(values: pd.Series, style: Look) -> dict[str, Any]:
    """A colour axis on which 1, 10 and 100 are equally far apart, with real values beside it; zero is no colour."""
    top = max(int(values.max()) if len(values) else 0, 1)
    ticks = [tick for power in range(10) for tick in (10**power, 2 * 10**power, 5 * 10**power) if tick <= top]
    if len(ticks) > 6:
        ticks = [tick for tick in ticks if str(tick)[0] == "1"]
    stops = [(0, style.none), *zip((0.0001, 0.33, 0.67, 1), style.heat, strict=True)]
    bar = {"tickvals": [math.log1p(tick) for tick in ticks], "ticktext": [f"{tick:,}" for tick in ticks]}
    look = {"outlinewidth": 0, "thickness": 14, "title_side": "right"}
    return {"cmin": 0, "cmax": math.log1p(top), "colorscale": stops, "colorbar": bar | look}
