"""One plotly figure per metric, under its name and from its frame; `dark=True` is for dark pages.

In a notebook they have no ground of their own, and colours that are seen on a light theme and on a dark one.

Each can be drawn from an empty frame and from one with hundreds of repositories. A split series has a colour per group,
without periods the groups are ranked. Nothing is lost where only the first can be named: the others are summed up, or
the subtitle says how many there are.
"""

import itertools
import math
from datetime import datetime
from typing import Any

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from regstats import figures, formats
from regstats.figures import GROUPS, TOP, Look, look

NAMED = 10
"""So many dots of a cloud have their names beside them."""


def pulls(frame: pd.DataFrame, *, dark: bool | None = None) -> go.Figure:
    """How often is it pulled, over time? Pulls and version checks; if split, the pulls of each group."""
    style = look(dark=dark)
    return _counts(frame, "pulls", {"pulls": style.blue, "version_checks": style.grey}, "", style)


def pushes(frame: pd.DataFrame, *, dark: bool | None = None) -> go.Figure:
    """How often is it pushed, over time? Updates, other pushes, deletes; if split, the pushes of each group."""
    style = look(dark=dark)
    shown = {"updates": style.green, "repeated_pushes": style.grey, "deletes": style.red}
    return _counts(frame.assign(repeated_pushes=frame["pushes"] - frame["updates"]), "pushes", shown, "", style)


def repositories(frame: pd.DataFrame, *, dark: bool | None = None) -> go.Figure:
    """What is there? The most pulled repositories; with periods, their pulls over time."""
    style = look(dark=dark)
    return _counts(frame, "pulls", {"pulls": style.blue}, "Most pulled repositories", style)


def tags(frame: pd.DataFrame, *, dark: bool | None = None) -> go.Figure:
    """Which tags are there? The most pulled; with periods, their pulls over time."""
    style, columns = (
        look(dark=dark),
        [*frame.columns.drop("digest"), "digest"],
    )  # it is told, and not what a row is about
    shown = {"pulls": style.blue, "version_checks": style.grey}
    return _counts(frame[columns], "pulls", shown, "Most pulled tags", style)


def clients(frame: pd.DataFrame, *, dark: bool | None = None) -> go.Figure:
    """With what do they pull? The clients with the most pulls; with periods, their pulls over time."""
    style = look(dark=dark)
    return _counts(frame, "pulls", {"pulls": style.blue, "version_checks": style.grey}, "What they pull with", style)


def activity(frame: pd.DataFrame, *, dark: bool | None = None) -> go.Figure:
    """Who does what? Pulls, pushes and deletes of the busiest actors; with periods, all of it over time."""
    style = look(dark=dark)
    shown = {"pulls": style.blue, "pushes": style.orange, "deletes": style.red}
    if "period" not in frame:
        return figures.ranking(frame, figures.keys_before(frame, "first_seen"), shown, "Who does what", style)
    summed = frame.assign(**{_ACTIONS: frame[list(shown)].sum(axis=1)})
    return figures.by_group(
        summed, figures.keys_before(frame, "first_seen"), _ACTIONS, "Activity over time by actor", style
    )


def health(frame: pd.DataFrame, *, dark: bool | None = None) -> go.Figure:
    """Can I trust these numbers? What was received from each source, what came again, what was not understood."""
    style = look(dark=dark)
    shown = {"events": style.blue, "duplicates": style.grey, "quarantined": style.red}
    return figures.ranking(frame, ["source"], shown, "What was received", style)


def top(frame: pd.DataFrame, *, dark: bool | None = None) -> go.Figure:
    """Who leads? In the order of their rank, with the share of the total and the change since the window before."""
    style, columns = look(dark=dark), [str(name) for name in frame.columns]
    measure = columns[columns.index("share") - 1]
    keys = columns[columns.index("rank") + 1 : columns.index(measure)]
    ranked = figures.rank(frame, keys, [measure, "share"])
    notes = ["share of all" + (", change since the window before" if frame["before"].notna().any() else "")]
    drawing = figures.figure(f"Most {figures.words(measure)}", frame, style, rows=len(ranked.labels), notes=notes)
    places = figures.down_the_side(drawing, ranked.labels)
    drawing.add_bar(y=places, x=ranked.values[measure], orientation="h", marker_color=style.blue, name="now")
    drawing.update_traces(text=_shares_and_changes(ranked))
    drawing.update_traces(textposition="outside", cliponaxis=False, hovertext=ranked.hovers, hoverinfo="text")
    _add_before(drawing, places, ranked.head["before"], style)
    longest = max([*ranked.values[measure], *ranked.head["before"].dropna(), 1])
    drawing.update_xaxes(figures.count_axis(ranked.values[measure], [measure]))
    return drawing.update_xaxes(range=[0, longest * 1.2])


def _shares_and_changes(ranked: figures.Ranking) -> list[str]:
    changes = ["" if pd.isna(change) else f"  {change:+,.0%}" for change in ranked.head["change"]]
    shares = ["" if pd.isna(share) else f"{share:.1%}" for share in ranked.values["share"]]
    return [share + change for share, change in itertools.zip_longest(shares, changes, fillvalue="")]


def _add_before(drawing: go.Figure, places: list[str], before: pd.Series, style: Look) -> None:
    """A mark where each was in the window before."""
    if before.notna().any():
        mark = {"symbol": "line-ns", "size": 16, "line": {"color": style.ink, "width": 2}}
        drawing.add_scatter(y=places[: len(before)], x=before, mode="markers", marker=mark, hoverinfo="skip")
        drawing.data[-1].update(name="in the window before")
        drawing.update_layout(showlegend=True)


def cadence(frame: pd.DataFrame, *, dark: bool | None = None) -> go.Figure:
    """How well is it maintained? The age of the last update against the usual interval, the most overdue first.

    A mark right of its bar is later than nine in ten updates before it; the letter in it is the grade. Immutable tags
    and what was updated once have no interval, and are not shown.
    """
    style, known = look(dark=dark), frame[frame["median_interval"].notna() & frame["kind"].ne("immutable")]
    shown = known.nlargest(TOP, "updates").sort_values("overdue", ascending=False, kind="stable")
    notes = _only(len(shown), len(known), "most updated")
    drawing = figures.figure(
        "Age of the last update, against the usual interval", shown, style, rows=len(shown), notes=notes
    )
    places = figures.down_the_side(drawing, figures.references(shown))
    durations = pd.concat([shown["age"], shown["p90_interval"], shown["median_interval"]])
    unit = figures.durations_along(drawing, durations, "")
    for column, colour in (("p90_interval", style.pale), ("median_interval", style.green)):
        drawing.add_bar(y=places, x=unit(shown[column]), name=figures.words(column), orientation="h")
        drawing.data[-1].marker.color = colour
    drawing.add_scatter(y=places, x=unit(shown["age"]), name="since the last update", marker=_graded(shown, style))
    drawing.data[-1].update(mode="markers+text", text=list(shown["grade"]), textfont={"color": "#000000", "size": 11})
    drawing.update_traces(hovertext=figures.hovers(figures.references(shown), shown.iloc[:, 2:]), hoverinfo="text")
    return drawing.update_layout(barmode="overlay", showlegend=True)


_GRADES = {"A": "#009E73", "B": "#56B4E9", "C": "#F0E442", "D": "#E69F00", "E": "#D55E00", "F": "#CC79A7"}


def _graded(frame: pd.DataFrame, style: Look) -> dict[str, Any]:
    """Marks in the colours of the grades; letters on them are black, which all of these are light enough for."""
    colours = [_GRADES.get(grade, style.red) for grade in frame["grade"]]
    return {"color": colours, "size": 18, "line": {"color": style.ink, "width": 1}}


def neglect(frame: pd.DataFrame, *, dark: bool | None = None) -> go.Figure:
    """What do many use that nobody maintains? A dot per repository: its pulls, and the time since its last update.

    From `repositories` joined with the rows of `cadence` that are of repositories. The lines are the medians: what is
    above and right of both is popular but stale. Of those that are right of the line the first have their names.
    """
    style, shown = look(dark=dark), frame[frame["age"].notna() & frame["pulls"].gt(0)]
    notes = [*_only(len(shown), len(frame), "pulled and updated"), "lines: medians"]
    drawing = figures.figure("Popular but stale", shown, style, notes=notes).update_layout(height=480)
    days, pulls = shown["age"].dt.total_seconds() / 86_400, shown["pulls"]
    worst = (pulls.rank(pct=True) * days.rank(pct=True))[days >= days.median()].nlargest(NAMED).index
    said = [figures.short(str(name)) if at in worst else "" for at, name in shown["repository"].items()]
    drawing.add_scatter(x=days, y=pulls, text=said, mode="markers+text", textposition="top center", cliponaxis=False)
    told = shown[["pulls", "age", *(["grade"] if "grade" in shown else [])]]
    drawing.update_traces(marker=_graded(shown, style) | {"size": 12}, hoverinfo="text")
    drawing.update_traces(hovertext=figures.hovers(list(map(str, shown["repository"])), told))
    for add, values in ((drawing.add_vline, days), (drawing.add_hline, pulls)):
        if len(shown) > 1:
            add(values.median(), line={"color": style.grey, "width": 1, "dash": "dot"}, layer="below")
    drawing.update_xaxes(title_text="days since the last update", rangemode="tozero")
    return drawing.update_yaxes(title_text="pulls", type="log", dtick=1)


def calendar(frame: pd.DataFrame, *, dark: bool | None = None) -> go.Figure:
    """On which days was it updated? A square for each day, a row for each weekday, from `pushes(interval="day")`."""
    style, counts = look(dark=dark), _per_day(frame)
    years = _years(counts)
    drawing = make_subplots(
        rows=max(len(years), 1), vertical_spacing=0.32 / max(len(years), 1) if len(years) > 1 else 0
    )
    drawing.update_layout(figures.figure("Updates per day", frame, style, notes=_total(counts)).layout)
    for row, days in enumerate(years, start=1):
        drawing.add_trace(_weeks(days), row=row, col=1)
        drawing.update_xaxes(range=_weeks_shown(days, whole=len(years) > 1), row=row, col=1)
    drawing.update_yaxes(range=[6.5, -0.5], tickvals=list(range(7)), ticktext=_WEEKDAYS)
    drawing.update_xaxes(type="date", dtick="M1", tickformat="%b\n%Y", ticklabelmode="period")
    drawing.update_xaxes(_BARE).update_yaxes(_BARE)
    drawing.update_layout(coloraxis=figures.heat(counts, style), height=140 + 160 * max(len(years), 1))
    return drawing.update_layout(coloraxis_colorbar_title_text="updates")


_BARE = {"showgrid": False, "zeroline": False}
_WEEKDAYS = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"]


def _per_day(frame: pd.DataFrame) -> pd.Series:
    """Updates of each day from the first to the last."""
    days = figures.wall(frame["period"]).dt.normalize()
    counts = frame["updates"].groupby(days).sum()
    return (
        counts.reindex(pd.date_range(counts.index.min(), counts.index.max()), fill_value=0) if len(counts) else counts
    )


def _years(counts: pd.Series) -> list[pd.Series]:
    """The days in pieces that fit side by side: all of them, or each year's."""
    if len(counts) <= 371:
        return [counts] if len(counts) else []
    return [days for _, days in counts.groupby(pd.DatetimeIndex(counts.index).year)]


def _weeks(days: pd.Series) -> go.Heatmap:
    """Days as squares; weeks begin on Monday."""
    index = pd.DatetimeIndex(days.index)
    mondays = [day - pd.Timedelta(days=day.weekday()) for day in index]
    told = [f"<b>{day:%a %Y-%m-%d}</b><br>updates: {count:,}" for day, count in zip(index, days, strict=True)]
    before = mondays[0] - pd.Timedelta(days=7)  # an empty square, because plotly does not know how wide a single one is
    squares = {"x": [before, *mondays], "y": [0, *index.day_of_week], "z": [None, *map(math.log1p, days)]}
    return go.Heatmap(squares, text=["", *told], hoverinfo="text", xgap=2, ygap=2, coloraxis="coloraxis")


def _weeks_shown(days: pd.Series, *, whole: bool) -> list[pd.Timestamp]:
    """A year, so that squares are of the same size in every chart: the whole one, or what ends with the last day."""
    first, last = days.index[0], days.index[-1]
    if whole:
        first, last = pd.Timestamp(last.year, 1, 1), pd.Timestamp(last.year, 12, 31)
    first = min(first, last - pd.Timedelta(days=364))
    return [first - pd.Timedelta(days=first.weekday() + 4), last + pd.Timedelta(days=4)]


def _total(counts: pd.Series) -> list[str]:
    return (
        [f"{int(counts.sum()):,} updates, on {int((counts > 0).sum()):,} of {len(counts):,} days"]
        if len(counts)
        else []
    )


def usage(frame: pd.DataFrame, *, dark: bool | None = None) -> go.Figure:
    """Who uses which repository? Pulls of the largest of both; all others are in the last row and column."""
    style = look(dark=dark)
    actors, repositories = (figures.places_of(frame, [key], frame["pulls"], _CELLS) for key in ("actor", "repository"))
    rows = frame.groupby([repositories.of.rename("row"), actors.of.rename("column")])
    cells = rows.agg({"pulls": "sum", "downloads": "sum", "last_pull": "max"}).reset_index()
    drawing = figures.figure("Who pulls what", frame, style, rows=len(repositories.labels) + 3)
    down = figures.down_the_side(drawing, repositories.labels)
    along, axis = figures.categories(actors.labels, 28)
    who = [f"{actors.labels[a]} · {repositories.labels[r]}" for r, a in zip(cells["row"], cells["column"], strict=True)]
    drawing.add_heatmap(
        x=[along[place] for place in cells["column"]],
        y=[down[place] for place in cells["row"]],
        z=[math.log1p(count) for count in cells["pulls"]],
        text=figures.hovers(who, cells[["pulls", "downloads", "last_pull"]]),
    )
    drawing.update_traces(hoverinfo="text", coloraxis="coloraxis", xgap=1, ygap=1)
    drawing.update_layout(xaxis=axis, coloraxis=figures.heat(cells["pulls"], style), xaxis_tickangle=-60)
    return drawing.update_layout(coloraxis_colorbar_title_text="pulls")


_CELLS = 30


def history(frame: pd.DataFrame, *, now: datetime | None = None, dark: bool | None = None) -> go.Figure:
    """What did a tag point to, when, who moved it? A line per tag, a colour per digest, a gap while it was deleted.

    What is still so goes on to the end of the window, else to `now`, else a little beyond the latest change.
    """
    style = look(dark=dark)
    places = figures.places_of(frame, ["repository", "tag"], pd.Series(1, index=frame.index), TOP)
    shown = frame.assign(place=places.of)[places.of < TOP]
    labels = places.labels[:TOP]
    notes = _only(len(labels), len(labels) + places.left, "most often moved")
    drawing = figures.figure("What each tag pointed to", shown, style, rows=len(labels), notes=notes)
    down = figures.down_the_side(drawing, labels)
    low, high = figures.span(frame, pd.concat([frame["since"], frame["until"]]), now=now)
    drawing.update_xaxes(type="date", range=[low, high], title_text="time (UTC)")
    begins, until = figures.wall(shown["since"]), figures.wall(shown["until"]).fillna(high)
    drawing.add_bar(
        y=[down[place] for place in shown["place"]],
        base=begins,
        x=(until - begins).dt.total_seconds() * 1000,
        marker={"color": _alternating(shown, style), "line": {"color": style.paper, "width": 1}},
        hovertext=_held(shown, labels),
    )
    drawing.update_traces(orientation="h", hoverinfo="text", width=0.7)
    return drawing.update_layout(barmode="overlay")


def _alternating(frame: pd.DataFrame, style: Look) -> list[str]:
    """The colour of each stretch: a tag's digests have different ones, one that comes back its own; none if deleted."""
    numbers = frame.groupby("place")["digest"].transform(lambda digests: pd.factorize(digests)[0])
    return ["rgba(0,0,0,0)" if number < 0 else style.groups[number % 6] for number in numbers]


def _held(frame: pd.DataFrame, labels: list[str]) -> list[str]:
    told = frame[["digest", "since", "until", "actor", "client_address"]].copy()
    told["digest"] = frame["digest"].str.slice(0, 19).fillna("(deleted)")
    told["until"] = ["still so" if pd.isna(at) else f"{at:%Y-%m-%d %H:%M:%S}" for at in frame["until"]]
    told["actor"] = frame["actor"].fillna("(anonymous)")
    return figures.hovers([labels[place] for place in frame["place"]], told)


def adoption(frame: pd.DataFrame, *, dark: bool | None = None) -> go.Figure:
    """How fast do clients move to a new digest? Time until half and nine in ten of the pullers of a tag had an update.

    With periods: the share of pullers that have it, over the time since it was pushed.
    """
    style = look(dark=dark)
    return _adoption_steps(frame, style) if "period" in frame else _adoption_times(frame, style)


def _adoption_times(frame: pd.DataFrame, style: Look) -> go.Figure:
    newest = frame.sort_values("pushed_at", ascending=False, kind="stable").head(TOP)
    notes = _only(len(newest), len(frame), "latest updates")
    drawing = figures.figure("How fast updates are adopted", newest, style, rows=len(newest), notes=notes)
    labels = _updates(newest)
    places = figures.down_the_side(drawing, labels, 60)
    ends = newest[["time_to_50", "time_to_90"]]
    unit = figures.durations_along(drawing, pd.concat([ends[column] for column in ends]), "since the push")
    for column, say, colour in (("time_to_90", "90%", style.pale), ("time_to_50", "50%", style.green)):
        drawing.add_bar(y=places, x=unit(newest[column]), name=f"until {say} had it", marker_color=colour)
    drawing.update_traces(orientation="h", hoverinfo="text", hovertext=figures.hovers(labels, _told(newest)))
    for place, share in zip(places, _shares(newest), strict=True):
        drawing.add_annotation(y=place, yref="y", x=1, xref="paper", xanchor="left", text=share, showarrow=False)
    return drawing.update_layout(barmode="overlay", showlegend=True, margin_r=170)


def _updates(frame: pd.DataFrame) -> list[str]:
    """What each row of an adoption is about: a tag, when it was pushed, and whatever it is split by."""
    split = figures.names(frame, _split(frame)) if _split(frame) else [""] * len(frame)
    parts = zip(figures.names(frame, ["repository", "tag"]), frame["pushed_at"], split, strict=True)
    return [f"{name} {at:%Y-%m-%d %H:%M} {group}".rstrip() for name, at, group in parts]


def _split(frame: pd.DataFrame) -> list[str]:
    return figures.keys_before(frame, "pullers")[4:]


def _told(frame: pd.DataFrame) -> pd.DataFrame:
    shares = [f"{share:.0%}" if pd.notna(share) else formats.MISSING for share in frame["share"]]
    return frame.assign(share=shares).loc[:, "pullers":].assign(digest=frame["digest"].str.slice(0, 19))


def _shares(frame: pd.DataFrame) -> list[str]:
    rows = zip(frame["share"], frame["pullers"], strict=True)
    return [
        f"  {share:.0%} of {count:,} pullers" if pd.notna(share) else f" {formats.MISSING}" for share, count in rows
    ]


def _adoption_steps(frame: pd.DataFrame, style: Look) -> go.Figure:
    keys = ["repository", "tag", "digest", "pushed_at", *_split(frame)]
    places = figures.places_of(frame, keys, frame["pullers"], GROUPS + _FAINT)
    notes = _only(
        len(places.labels[: GROUPS + _FAINT]),
        len(places.labels[: GROUPS + _FAINT]) + places.left,
        "most pulled updates",
    )
    drawing = figures.figure("How fast updates are adopted", frame, style, notes=notes)
    ends = figures.ends(frame["period"], figures.interval_of(frame))
    pushed_at = frame["pushed_at"].dt.tz_convert(frame.attrs.get("tz", "UTC"))  # as periods are
    since = figures.wall(ends) - figures.wall(pushed_at)
    unit, seconds = figures.unit_of(since)
    lines = (
        frame.assign(elapsed=since.dt.total_seconds().clip(lower=0) / seconds).sort_values("elapsed").groupby(places.of)
    )
    for place, line in lines:
        if place < GROUPS + _FAINT:
            drawing.add_trace(_steps(line, style.groups[place] if place < GROUPS else ""))
    faint = {"line": {"color": style.grey, "width": 1}, "opacity": 0.5, "legendgroup": "others"}
    drawing.update_traces(faint, selector={"name": ""})
    drawing.update_layout(showlegend=True, hovermode="closest", height=drawing.layout.height + 16 * GROUPS)
    drawing.update_xaxes(title_text=f"{unit} since it was pushed", rangemode="tozero")
    return drawing.update_yaxes(title_text="share of pullers", tickformat=".0%", range=[0, 1.04])


_FAINT = 40
"""So many further updates are drawn in grey, without a name in the legend."""


def _steps(line: pd.DataFrame, colour: str) -> go.Scatter:
    """The share over time of one update, from nobody at first."""
    label, told = _updates(line)[0], _told(line.tail(1)).drop(columns=["share", "elapsed"])
    style = {"line_color": colour, "name": figures.short(label, 60)} if colour else {"name": "", "showlegend": False}
    points = {"x": [0, *line["elapsed"]], "y": [0, *line["share"]], "line_shape": "hv", "mode": "lines"}
    hover = "share: %{y:.0%}<br>after: %{x:.1f}<br>%{meta}<extra></extra>"
    return go.Scatter(points, meta=figures.hovers([label], told)[0], hovertemplate=hover).update(style)


def unused(frame: pd.DataFrame, *, dark: bool | None = None) -> go.Figure:
    """What has nobody pulled for long? Days since the last pull, or push if there was none, and the size."""
    style = look(dark=dark)
    shown = figures.by_size(frame, ["idle_days"]).head(TOP)
    notes = [
        f"{len(frame):,} in all, {formats.size(frame['size'].sum())}",
        *_only(len(shown), len(frame), "longest idle"),
    ]
    drawing = figures.figure("What nobody pulls", shown, style, rows=len(shown), notes=notes)
    labels = figures.references(shown)
    told = figures.hovers(labels, shown.drop(columns=["repository", "tag"]).assign(size=_sizes(shown)))
    places, never = figures.down_the_side(drawing, labels), shown["last_pull"].isna()
    kinds = ((False, "pulled before", style.blue, style.on_blue), (True, "never pulled", style.orange, "#000000"))
    for is_never, say, colour, ink in kinds:
        drawing.add_bar(y=places, x=shown["idle_days"].where(never == is_never), name=say, orientation="h")
        drawing.data[-1].update(marker_color=colour, insidetextfont_color=ink)
    drawing.update_traces(
        text=[size.replace(formats.MISSING, "") for size in _sizes(shown)],
        hovertext=told,
        hoverinfo="text",
        textposition="auto",
        cliponaxis=False,
    )
    drawing.update_xaxes(title_text="days without a pull", rangemode="tozero")
    return drawing.update_layout(showlegend=True, barmode="overlay")


def _sizes(frame: pd.DataFrame) -> list[str]:
    return [formats.size(count) for count in frame["size"]]


_KINDS = {
    "spike": ("triangle-up", 5),
    "drop": ("triangle-down", 0),
    "silence": ("circle-open", 3),
    "new_actor": ("star", 2),
    "pull_loop": ("square", 1),
}
"""The symbol of each kind of anomaly, and which of the colours."""


def anomalies(frame: pd.DataFrame, *, dark: bool | None = None) -> go.Figure:
    """What is out of the ordinary? When, and in which repository or by whom; all that have few are one line."""
    style = look(dark=dark)
    about = (
        frame["repository"].fillna(frame["actor"]).where(frame["kind"] != "new_actor", frame["actor"]).fillna("(all)")
    )
    named = frame.assign(about=about)
    places = figures.places_of(named, ["about"], pd.Series(1, index=frame.index), TOP)
    drawing = figures.figure("Out of the ordinary", frame, style, rows=len(places.labels))
    down = figures.down_the_side(drawing, places.labels)
    points = named.assign(place=[down[place] for place in places.of], at=figures.wall(frame["at"]))
    for kind, rows in points.groupby("kind"):
        symbol, colour = _KINDS.get(str(kind), ("diamond", 6))
        told = figures.hovers(list(rows["about"]), rows[[*frame.columns]].assign(at=frame["at"]))
        drawing.add_scatter(x=rows["at"], y=rows["place"], name=figures.text(figures.words(str(kind))), hovertext=told)
        drawing.data[-1].marker = {"symbol": symbol, "size": 12, "color": style.groups[colour], "line_width": 1}
    drawing.update_traces(mode="markers", hoverinfo="text", cliponaxis=False, opacity=0.9)
    drawing.update_xaxes(type="date", title_text="time (UTC)", range=figures.span(frame, frame["at"]))
    return drawing.update_layout(showlegend=True)


# What several charts need

_ACTIONS = "pulls, pushes and deletes"


def _counts(frame: pd.DataFrame, first: str, shown: dict[str, str], title: str, style: Look) -> go.Figure:
    """Counts over time, of all or of each group; of a whole window as a ranking. `first` is the first count."""
    keys, what = figures.keys_before(frame, first), figures.words(first).capitalize()
    by = f" by {', '.join(map(figures.words, keys))}" if keys else ""
    if formats.total(frame[first]) is None:
        return figures.figure(title or what + by, frame, style, nothing="Not reported by these registries.")
    if "period" not in frame:
        return figures.ranking(frame, keys, shown, title or what + by, style)
    if keys:
        return figures.by_group(frame, keys, first, f"{what} over time{by}", style)
    return figures.over_time(frame, shown, f"{what} over time", style)


def _only(shown: int, there: int, which: str) -> list[str]:
    return [f"the {shown} {which} of {there:,}"] if there > shown else []
