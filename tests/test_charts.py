"""The charts: what they show of no, one and five hundred repositories, and that names in them are text."""

import re
from datetime import timedelta
from math import expm1

import frames
import pandas as pd
import pytest
from frames import EVIL, FRAMES, LONG, LOOKS_LIKE_VALUES, NOW, called
from makers import days, make_event, make_push

from regstats import charts, figures, formats
from regstats.charts import TOP
from regstats.metrics import METRICS
from regstats.stats import Stats

every = pytest.mark.parametrize("which", FRAMES)


def draw(which, names, **options):
    return getattr(charts, which.split()[0])(FRAMES[which](names), **options)


def bars(figure):
    """What a chart of bars shows: name → label → value."""
    rows = (bar for bar in figure.data if bar.orientation == "h")
    return {bar.name: dict(zip(bar.y, bar.x, strict=True)) for bar in rows}


def stacks(figure):
    """What a chart over time shows: name → values."""
    return {bar.name: list(bar.y) for bar in figure.data}


def strings(value):
    """All the text in a figure."""
    if isinstance(value, dict):
        yield from (text for part in value.values() for text in strings(part))
    elif isinstance(value, str):
        yield value
    elif hasattr(value, "__iter__"):
        yield from (text for part in value for text in strings(part))


def texts(figure):
    return list(strings(figure.to_plotly_json()))


def name_axes(figure):
    return [axis for axis in figure.select_yaxes() if axis.type == "category"]


def test_each_metric_is_drawn():
    """Under its own name."""
    assert sorted([*METRICS, "calendar", "neglect"]) == sorted({which.split()[0] for which in FRAMES})


@every
@pytest.mark.parametrize("dark", [False, True])
def test_nothing(which, dark):
    """A title, and a word in the place of what is not there."""
    figure = draw(which, [], dark=dark)
    assert figure.layout.title.text
    assert "Nothing in this window." in texts(figure)
    assert not figure.layout.xaxis.visible
    assert figure.to_json()


@every
@pytest.mark.parametrize("number", [1, 500])
def test_one_and_many(which, number):
    """Something is drawn, of a size that fits a page, with labels at its axes."""
    figure = draw(which, called(number))
    assert figure.data
    assert 150 < figure.layout.height < 1200
    assert len(figure.to_json()) < 500_000
    named = [axis for axis in (*figure.select_xaxes(), *figure.select_yaxes()) if axis.type != "category"]
    assert which in ("calendar", "usage") or all(axis.title.text for axis in named)


@every
def test_a_dark_page(which):
    """The same numbers, in colours that can be seen on black."""
    light, dark = (draw(which, called(30), dark=dark) for dark in (False, True))
    papers = [figure.layout.template.layout.paper_bgcolor for figure in (light, dark)]
    assert papers[0] == "#ffffff"
    assert papers[1] < "#20"
    assert [len(trace.x) for trace in light.data] == [len(trace.x) for trace in dark.data]


@every
def test_in_a_notebook(which, monkeypatch):
    """No ground of its own: JupyterLab's theme shows through, and may change at any moment."""
    light = draw(which, called(30))
    monkeypatch.setattr(figures, "shell", object)
    either = draw(which, called(30))
    papers = [figure.layout.template.layout.paper_bgcolor for figure in (light, either)]
    assert ["#ffffff", "rgba(0,0,0,0)"] == papers
    assert [len(trace.x) for trace in light.data] == [len(trace.x) for trace in either.data]


def luminance(colour):
    parts = (int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))
    return sum(
        w * (p / 12.92 if p <= 0.04 else ((p + 0.055) / 1.055) ** 2.4)
        for w, p in zip((0.2126, 0.7152, 0.0722), parts, strict=True)
    )


@pytest.mark.parametrize(
    ("style", "paper", "least"),
    [
        (figures.look(dark=False), "#ffffff", 4.5),
        (figures.look(dark=True), "#14191f", 4.5),
        (figures._EITHER, "#ffffff", 4.2),  # no grey has 4.5 on both
        (figures._EITHER, "#111111", 4.2),
    ],
)
def test_colours_can_be_seen(style, paper, least):
    """Text has a contrast of 4.5 to its background at least where that can be, what is drawn of 2."""

    def contrast(colour, ground=paper):
        low, high = sorted([luminance(colour), luminance(ground)])
        return (high + 0.05) / (low + 0.05)

    assert all(contrast(colour) >= least for colour in (style.ink, style.soft))
    assert contrast(style.label_ink, style.label) >= 4.5
    assert contrast(style.on_blue, style.blue) >= 4.5
    drawn = (style.grey, style.blue, style.orange, style.green, style.red, *style.groups)
    assert all(contrast(colour) >= 2 for colour in drawn)
    assert len(set(style.groups)) == figures.GROUPS


@every
def test_names_are_text(which):
    """Plotly reads labels as HTML and `$…$` as formulas; nothing that a client wrote becomes either."""
    for text in texts(draw(which, [EVIL + str(i) for i in range(30)])):
        own = re.sub(r"</?b>|<br>|<extra></extra>", "", text)
        assert "<" not in own
        assert "$" not in own
        assert "\u202e" not in own


@every
def test_names_are_not_values(which):
    """A repository may be called 1.2, 1e5 or 2026-01-01."""
    figure = draw(which, LOOKS_LIKE_VALUES)
    for bar in figure.data:
        if bar.type in ("bar", "scatter", "heatmap") and bar.y is not None and isinstance(bar.y[0], str):
            assert "category" == figure.layout.yaxis.type
            assert set(bar.y) <= set(figure.layout.yaxis.categoryarray)
    if which == "usage":
        assert "category" == figure.layout.xaxis.type


@every
def test_long_names(which):
    """Shortened in the middle where they stand at an axis or in a legend, and whole in the hover."""
    figure = draw(which, [f"{LONG}{i}" for i in range(30)])
    for axis in name_axes(figure):
        assert all(len(label) <= 60 for label in axis.ticktext)
        assert len(axis.tickvals) == len(set(axis.tickvals))
    assert all(len(trace.name or "") <= 60 for trace in figure.data)
    whole = [text.replace("<br>", "") for text in texts(figure)]
    assert which in ("pulls", "pushes", "calendar") or any(LONG in text for text in whole)


def test_a_name_keeps_both_ends():
    """Because the end tells names apart."""
    assert "abc…xyz" == figures.short("abcdefghijklmnopqrstuvwxyz", 7)
    assert "abcdefg" == figures.short("abcdefg", 7)
    assert "a&lt;b" == figures.short("a<b", 7)


def test_two_with_the_same_name_are_two():
    """An actor may call himself what the anonymous are called."""
    frame = frames.activity([None, "(anonymous)"])
    shown = charts.activity(frame)
    assert 2 == len(set(shown.layout.yaxis.tickvals))
    assert ("(anonymous)", "(anonymous)") == shown.layout.yaxis.ticktext
    assert frame["pulls"].sum() == sum(bars(shown)["pulls"].values())


@pytest.mark.parametrize(
    ("which", "column"),
    [
        ("repositories", "pulls"),
        ("tags", "version_checks"),
        ("clients", "pulls"),
        ("activity", "deletes"),
        ("pulls in all", "version_checks"),
        ("health", "quarantined"),
        ("top", "pulls"),
    ],
)
def test_nothing_is_lost_in_a_ranking(which, column):
    """The first by name, and the sum of all others."""
    figure, frame = draw(which, called(500)), FRAMES[which](called(500))
    shown = bars(figure)["now" if which == "top" else column.replace("_", " ")]
    assert frame[column].sum() == sum(shown.values())
    assert TOP + 1 == len(shown)
    assert "480 others" == list(shown)[-1]


@pytest.mark.parametrize(
    ("which", "column"), [("pulls by", "pulls"), ("pushes by", "pushes"), ("pulls by the hour", "pulls")]
)
def test_nothing_is_lost_in_a_series(which, column):
    """The largest groups by name, and the sum of all others, in each period."""
    figure, frame = draw(which, called(500)), FRAMES[which](called(500))
    assert figures.GROUPS + 1 == len(figure.data)
    assert re.fullmatch(r"\d+ others", figure.data[-1].name)
    expected = frame.groupby("period")[column].sum()
    assert list(expected) == [sum(values) for values in zip(*stacks(figure).values(), strict=True)]


def test_nothing_is_lost_in_the_heat_map():
    """The last row and the last column are all the others."""
    frame = FRAMES["usage"](called(500))
    (cells,) = charts.usage(frame).data
    assert frame["pulls"].sum() == round(sum(map(expm1, cells.z)))
    assert (31, 31) == (len(set(cells.x)), len(set(cells.y)))
    assert {"40 others", "60 others"} == {cells.x[-1], cells.y[-1]}


def test_the_heat_map_has_real_numbers_beside_it():
    """Although its colours are logarithmic."""
    axis = charts.usage(frames.usage(["a"], ["r"])).layout.coloraxis
    assert ("1", "10", "100", "1,000") == axis.colorbar.ticktext
    assert [1, 10, 100, 1000] == [round(expm1(tick)) for tick in axis.colorbar.tickvals]


def test_nothing_is_lost_among_the_anomalies():
    """Those of the others are on one line."""
    frame = frames.anomalies(called(500))
    figure = charts.anomalies(frame)
    assert len(frame) == sum(len(trace.x) for trace in figure.data)
    assert "others" in figure.layout.yaxis.ticktext[-1]
    assert {"spike", "drop", "silence", "new actor", "pull loop"} == {trace.name for trace in figure.data}
    assert 5 == len({trace.marker.symbol for trace in figure.data})


def test_an_unknown_kind_of_anomaly():
    """Is drawn as well."""
    (trace,) = charts.anomalies(frames.anomalies(["r"]).assign(kind="rumour")).data
    assert "rumour" == trace.name


def test_what_cannot_be_summed_up_is_counted():
    """Where there is no bar for the others, the subtitle says that there are some."""
    for which in ("cadence", "history", "adoption", "unused"):
        assert re.search(r"the 20 [a-z ]+ of \d{3}", draw(which, called(500)).layout.title.subtitle.text)


def test_pulls_over_time():
    """What is not split: pulls and version checks."""
    frame = frames.pulls(3)
    figure = charts.pulls(frame)
    assert {"pulls": list(frame["pulls"]), "version checks": list(frame["version_checks"])} == stacks(figure)
    assert ("Pulls over time", "day", "count") == (
        figure.layout.title.text,
        figure.layout.xaxis.title.text,
        figure.layout.yaxis.title.text,
    )


def test_pulls_of_each_group():
    """Without a period, a ranking; groups that have no name are named."""
    figure = charts.pulls(frames.pulls(3, {"client": ["docker", None]}))
    assert ("Pulls over time by client", ["docker", "(unknown)"]) == (figure.layout.title.text, list(stacks(figure)))
    figure = charts.pulls(frames.pulls(1, {"repository": ["r"], "tag": [None], "actor": [None]}, interval="total"))
    assert ["r (no tag) · (anonymous)"] == list(bars(figure)["pulls"])
    assert ["all"] == list(bars(charts.pulls(frames.pulls(1, interval="total")))["pulls"])


def test_a_group_with_nothing_has_no_colour():
    """And a period with nothing is there."""
    frame = frames.pulls(3, {"actor": ["alice", "bob"]})
    frame.loc[frame["actor"] == "bob", "pulls"] = 0
    frame.loc[1:3, "pulls"] = 0
    assert ["alice"] == list(stacks(charts.pulls(frame)))
    assert 3 == len(charts.pulls(frame).data[0].x)


def test_pushes_over_time(stats_of):
    """Updates, and pushes that changed nothing."""
    stats = stats_of(make_push(), make_push(), make_push(digest="sha256:b"))
    assert {"updates": [2], "repeated pushes": [1], "deletes": [0]} == stacks(charts.pushes(stats.pushes()))


@pytest.mark.parametrize("interval", ["hour", "day", "week", "month"])
def test_every_interval(interval):
    """A bar is as wide as what it counts, with or without the frame saying what that is."""
    frame = frames.pulls(9, interval=interval)
    width = charts.pulls(frame).data[0].width
    frame.attrs = {}
    figure = charts.pulls(frame)
    assert (interval, width) == (figure.layout.xaxis.title.text, figure.data[0].width)


def test_the_hour_that_is_twice():
    """In autumn; plotly knows no zones, so both are one bar."""
    frame = frames.pulls(5, interval="hour")
    hours = pd.date_range("2026-10-25", periods=5, freq="h", tz="Europe/Berlin").as_unit("us")
    figure = charts.pulls(frame.assign(period=hours))
    assert "hour (Europe/Berlin)" == figure.layout.xaxis.title.text
    assert [0, 1, 2, 3] == [at.hour for at in pd.DatetimeIndex(figure.data[0].x)]
    assert frame["pulls"].sum() == sum(figure.data[0].y)


def test_the_window_is_in_the_subtitle():
    """As far as there is one."""
    frame = frames.pulls(3)
    said = []
    for since, until in ((None, None), (NOW, None), (None, NOW), (NOW - timedelta(days=1), NOW)):
        frame.attrs |= {"since": since, "until": until}
        said.append(charts.pulls(frame).layout.title.subtitle.text)
    whole = "2026-11-23 12:00 to 2026-11-24 12:00 UTC"
    assert ["", "since 2026-11-24 12:00 UTC", "until 2026-11-24 12:00 UTC", whole] == said


def test_the_leaders_keep_their_order():
    """Rank decides, whatever the numbers; with share and change."""
    frame = frames.top(["a", "b", "c"]).iloc[::-1].sort_values("rank")
    frame["pulls"] = [1, 2, 3]
    figure = charts.top(frame)
    assert ["a", "b", "c"] == list(bars(figure)["now"])
    assert [f"{frame['share'][1]:.1%}  {frame['change'][1]:+,.0%}"] == [figure.data[0].text[1]]
    assert "in the window before" == figure.data[1].name


def test_cadence():
    """The most overdue first, what has an interval, and no immutable tags; letters for grades."""
    figure = charts.cadence(frames.cadence(called(5)))
    age = figure.data[-1]
    assert 10 == len(age.y)
    assert {"A", "B"} == set(age.text)
    assert {"team-0/service-000", "team-0/service-000:latest"} <= set(age.y)
    assert sorted(age.text, reverse=True) == list(age.text)
    assert "days" == figure.layout.xaxis.title.text


def test_cadence_of_hours_and_of_years():
    """Side by side: each step of the axis is ten times the last."""
    frame = frames.cadence(called(2))
    frame["median_interval"] = frame["p90_interval"] = frame["age"] = pd.to_timedelta(
        [1, 1, 1, 900, 900, 900], unit="D"
    )
    axis = charts.cadence(frame).layout.xaxis
    assert "log" == axis.type
    assert 7 == axis.tickvals[axis.ticktext.index("1 week")]


def test_cadence_in_a_unit_that_reads_well(stats_of):
    """Tags with at least two updates; days for days."""
    pushes = (make_push(at=NOW - days(n), digest=f"sha256:{n}") for n in (9, 6, 3))
    figure = charts.cadence(stats_of(*pushes, make_push(tag="once")).cadence())
    assert "days" == figure.layout.xaxis.title.text
    assert 3 == bars(figure)["median interval"]["team/app:1.0"]


def squares(figure):
    """Which days a calendar has, and what it says about them: (weekday, Monday) → text."""
    return {
        (day, pd.Timestamp(week)): text
        for block in figure.data
        for week, day, text in zip(block.x, block.y, block.text, strict=True)
        if text
    }


@pytest.mark.parametrize("number", [1, 6, 30, 365, 366, 730, 1096])
def test_the_calendar(number):
    """Each day from one to three years is a square, in the row of its weekday; a long time is a block a year."""
    frame = frames.pushes(number, {"repository": ["a", "b"]})
    figure = charts.calendar(frame)
    shown = squares(figure)
    dates = [week + pd.Timedelta(days=day) for day, week in shown]
    assert list(frame["period"].drop_duplicates()) == dates
    assert len(figure.data) == (1 if number <= 371 else len({date.year for date in dates}))
    counted = sum(int(text.split(": ")[1].replace(",", "")) for text in shown.values())
    assert frame["updates"].sum() == counted
    assert f"{counted:,} updates" in figure.layout.title.subtitle.text


def test_the_calendar_has_days_without_a_row():
    """Nothing happened then."""
    frame = frames.pushes(9).iloc[[0, 8]]
    assert 9 == len(squares(charts.calendar(frame)))


def test_history():
    """A stretch per digest, from when to when; what was deleted cannot be seen; what is still so goes on to the end."""
    frame = frames.history(["r"]).iloc[[0, 0, 0]].reset_index(drop=True)
    frame["digest"] = ["sha256:a", None, "sha256:a"]
    frame["since"] = frames.times([NOW - days(3), NOW - days(2), NOW - days(1)])
    frame["until"] = frames.times([NOW - days(2), NOW - days(1), None])
    (bar,) = charts.history(frame, now=NOW + days(1)).data
    first, deleted, again = bar.marker.color
    assert (first, "rgba(0,0,0,0)") == (again, deleted)
    assert [1, 1, 2] == [length / 86_400_000 for length in bar.x]
    assert "still so" in bar.hovertext[2]
    assert "(deleted)" in bar.hovertext[1]


@pytest.mark.parametrize(
    ("until", "now", "end"),
    [
        (NOW, NOW + days(9), NOW),
        (None, NOW + days(9), NOW + days(9)),
        (None, None, NOW - days(50) + timedelta(hours=31 * 1.04)),
    ],
)
def test_the_end_of_history(until, now, end):
    """The end of the window, else now, else a little after the last change."""
    frame = frames.history(["r"])
    frame.attrs["until"] = until
    figure = charts.history(frame, now=now)
    assert end.replace(tzinfo=None) == figure.layout.xaxis.range[1]


def test_adoption_of_an_update():
    """Time until half and nine in ten had it, and how many do."""
    frame = frames.adoption(called(20))
    figure = charts.adoption(frame)
    assert 20 == len(bars(figure)["until 50% had it"])
    assert {"  0% of 40 pullers", "  100% of 30 pullers"} <= {note.text for note in figure.layout.annotations}


def test_adoption_over_time():
    """From nobody when it was pushed, as many days later as have gone by."""
    frame = frames.adoption(["r"], 3)
    (line,) = charts.adoption(frame).data
    assert (0, [0, 0.5, 1.0]) == (line.x[0], list(dict.fromkeys(line.y)))
    assert "days since it was pushed" == charts.adoption(frame).layout.xaxis.title.text


def test_unused():
    """The longest idle first; what nobody ever pulled looks different; sizes for people."""
    figure = charts.unused(frames.unused(["a", "b"]))
    before, never = figure.data
    assert ("b:0.1", "a:0.0") == before.y
    assert ([31], [30]) == tuple([x for x in bar.x if x == x] for bar in (before, never))
    assert "2 in all, 3.9 KiB" == figure.layout.title.subtitle.text
    assert any("sha256:000000000000" in name for name in charts.unused(frames.unused(called(4))).data[0].y)


@pytest.mark.parametrize(
    ("count", "said"),
    [
        (None, formats.MISSING),
        (0, "0 B"),
        (1023, "1,023 B"),
        (1024, "1.0 KiB"),
        (5 * 1024**4, "5.0 TiB"),
        (2**70, "1,048,576.0 PiB"),
    ],
)
def test_sizes(count, said):
    """In the unit that reads best."""
    assert said == formats.size(count)


@pytest.mark.parametrize("chart", METRICS)
def test_an_empty_store_has_charts(store, chart):
    """With a title, and nothing in them."""
    figure = getattr(charts, chart)(getattr(Stats(store.root, now=NOW), chart)())
    assert figure.layout.title.text
    assert figure.to_json()


@pytest.mark.parametrize("chart", METRICS)
def test_a_store_with_an_event_has_charts(stats_of, chart):
    """Of the frames that the metrics really have."""
    stats = stats_of(make_event(actor=None), make_push(at=NOW - days(1)))
    assert getattr(charts, chart)(getattr(stats, chart)()).to_json()


def test_few_and_many_repositories(stats_of):
    """The top ones by name, the rest as one bar, and nothing lost."""
    stats = stats_of(*(make_event(repository=f"r{n:02}") for n in range(TOP + 5)), make_event(repository="r03"))
    shown = bars(charts.repositories(stats.repositories()))["pulls"]
    assert ("r03", 2) == next(iter(shown.items()))
    assert 5 == shown["5 others"]
    assert ["r00", "r01", "r02", "r04"] == list(shown)[1:5]
    assert TOP + 6 == sum(shown.values())
    assert {"r03": 2} == bars(charts.repositories(stats.repositories(repository="r03")))["pulls"]
