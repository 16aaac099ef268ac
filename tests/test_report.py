"""The report: what it shows, and that names in it are text."""

import re

import pytest
from makers import NOW, days, make_event, make_push

from regstats import report
from regstats.errors import InputError
from regstats.stats import Stats

EVIL = "</script><script>alert(1)</script><img src=x onerror=alert(2)>"


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


def test_a_report_appears_when_it_is_whole(stats_of, tmp_path, monkeypatch):
    """What fails leaves the one of before, and nothing beside it."""
    out = tmp_path / "report.html"
    out.write_text("of before")
    monkeypatch.setattr(report, "render", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        report.write(stats_of(make_event()), out)
    assert "of before" == out.read_text()
    assert ["report.html", "store"] == sorted(path.name for path in tmp_path.iterdir())


def test_a_place_where_the_report_cannot_be(stats_of, tmp_path):
    """Named."""
    with pytest.raises(InputError, match=r"Cannot write .*nosuch.*No such file"):
        report.write(stats_of(make_event()), tmp_path / "nosuch" / "report.html")
