"""Charts and the report: what they show, and that names in them are text."""

import re

import pytest
from makers import NOW, days, make_event, make_push

from regstats import charts, report
from regstats.charts import TOP
from regstats.errors import InputError
from regstats.stats import Stats

EVIL = "</script><script>alert(1)</script><img src=x onerror=alert(2)>"


def bars(figure):
    """What a chart of bars shows: name → label → value."""
    return {bar.name: dict(zip(bar.y, bar.x, strict=True)) for bar in figure.data if bar.orientation == "h"}


def test_pulls_over_time(stats_of):
    """Summed over whatever the frame is split by."""
    stats = stats_of(
        make_event(at=NOW - days(1)), make_event(repository="b"), make_event(repository="c", method="HEAD")
    )
    pulls, checks = charts.pulls(stats.pulls(by="repository")).data
    assert ("pulls", [1, 1], "version checks", [0, 1]) == (pulls.name, list(pulls.y), checks.name, list(checks.y))


def test_pushes_over_time(stats_of):
    """Updates, and pushes that changed nothing."""
    stats = stats_of(make_push(), make_push(), make_push(digest="sha256:b"))
    updates, repeated, _ = charts.pushes(stats.pushes()).data
    assert ([2], [1]) == (list(updates.y), list(repeated.y))


def test_few_and_many_repositories(stats_of):
    """The top ones by name, the rest as one bar, and nothing lost."""
    stats = stats_of(*(make_event(repository=f"r{n:02}") for n in range(TOP + 5)), make_event(repository="r03"))
    shown = bars(charts.repositories(stats.repositories()))["pulls"]
    assert ("r03", 2) == next(iter(shown.items()))
    assert 5 == shown["5 others"]
    assert ["r00", "r01", "r02", "r04"] == list(shown)[1:5]
    assert TOP + 6 == sum(shown.values())
    assert {"r03": 2} == bars(charts.repositories(stats.repositories(repository="r03")))["pulls"]


def test_activity_shows_the_anonymous(stats_of):
    """Nobody's name is not nothing."""
    stats = stats_of(make_event(actor=None), make_push(actor="ci"))
    shown = bars(charts.activity(stats.activity()))
    assert {"(anonymous)": 1, "ci": 0} == shown["pulls"]
    assert {"(anonymous)": 0, "ci": 1} == shown["pushes"]


def test_cadence_in_a_unit_that_reads_well(stats_of):
    """Tags with at least two updates; days for days."""
    pushes = (make_push(at=NOW - days(n), digest=f"sha256:{n}") for n in (9, 6, 3))
    figure = charts.cadence(stats_of(*pushes, make_push(tag="once")).cadence())
    assert "days" == figure.layout.xaxis.title.text
    assert {"team/app:1.0": 3} == bars(figure)["median interval"]


@pytest.mark.parametrize("chart", ["pulls", "pushes", "repositories", "activity", "cadence", "health"])
def test_an_empty_frame_has_a_chart(store, chart):
    """With its title, and nothing in it."""
    figure = getattr(charts, chart)(getattr(Stats(store.root, now=NOW), chart)())
    assert figure.layout.title.text
    assert figure.to_json()


def test_names_in_charts_are_text(stats_of):
    """Plotly reads labels as HTML."""
    shown = bars(charts.repositories(stats_of(make_event(repository=EVIL)).repositories()))["pulls"]
    assert not any("<" in label for label in shown)


def test_names_in_the_report_are_text(stats_of):
    """Neither in the tables nor in the data of the charts does a name become part of the page."""
    text = report.render(stats_of(make_event(repository=EVIL, actor=EVIL), make_push(tag=EVIL, repository=EVIL)))
    assert "alert(1)" in text
    assert "<script>alert(1)" not in text
    assert "<img src=x" not in text
    assert 3 == len(re.findall(r"<script\b", without_library(text)))  # one per chart


def without_library(text):
    """The report without the text of plotly.js."""
    return re.sub(r"<script>.{1000000,}?</script>", "", text, count=1, flags=re.DOTALL)


def test_the_report_needs_nothing_else(stats_of):
    """No address to be loaded, whatever the page is opened with."""
    text = without_library(report.render(stats_of(make_event(), make_push())))
    assert [] == re.findall(r"""(?:src|href|url)\s*[=(]\s*["']?(?!data:)[a-z]+:""", text)


def test_the_report_of_an_empty_store(store):
    """Says so."""
    text = report.render(Stats(store.root, now=NOW))
    assert "Nothing happened in this window." in text
    assert 3 == text.count("Nothing in this window.")


def test_the_report_of_a_window(stats_of, tmp_path):
    """Only what happened in it."""
    stats = stats_of(make_event(repository="old", at=NOW - days(9)), make_event(repository="new"))
    report.write(stats, tmp_path / "report.html", since="7d")
    text = (tmp_path / "report.html").read_text()
    assert "<td" in text
    assert "new" in without_library(text)
    assert ">old<" not in text


def test_the_report_is_the_same_for_the_same_numbers(stats_of):
    """Byte for byte, so that it can be compared."""
    stats = stats_of(make_event(), make_push())
    assert report.render(stats) == report.render(stats)


def test_a_place_where_the_report_cannot_be(stats_of, tmp_path):
    """Named."""
    with pytest.raises(InputError, match=r"Cannot write .*nosuch.*No such file"):
        report.write(stats_of(make_event()), tmp_path / "nosuch" / "report.html")
