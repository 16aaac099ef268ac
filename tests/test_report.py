"""The report: what it shows, in each format, and that names in it are text."""

import csv
import io
import json
import re
import zipfile
from pathlib import Path

import pytest
from makers import NOW, days, envelope, journalled, make_event, make_push

from regstats import formats, report, sample
from regstats.briefing import brief
from regstats.errors import InputError
from regstats.stats import Stats

EVIL = "</script><script>alert(1)</script><img src=x onerror=alert(2)>"
GOLDEN = Path(__file__).parent / "golden"


def html_of(stats, **window):
    return report.render(stats, **window).decode()


def test_names_in_the_report_are_text(stats_of):
    """Neither in the tables nor in the data of the charts does a name become part of the page."""
    text = html_of(stats_of(make_event(repository=EVIL, actor=EVIL), make_push(tag=EVIL, repository=EVIL)))
    assert "alert(1)" in text
    assert "<script>alert(1)" not in text
    assert "<img src=x" not in text
    assert 4 == len(re.findall(r"<script\b", without_library(text)))  # three charts, and what sorts


def without_library(text):
    """The report without the text of plotly.js."""
    return re.sub(r"<script>.{1000000,}?</script>", "", text, count=1, flags=re.DOTALL)


def test_the_report_needs_nothing_else(stats_of):
    """No address to be loaded, whatever the page is opened with; and it is small enough for a mail."""
    text = html_of(stats_of(make_event(), make_push()))
    assert [] == re.findall(r"""(?:src|href|url)\s*[=(]\s*["']?(?!data:)[a-z]+:""", without_library(text))
    assert len(text.encode()) < 6_000_000


def test_the_report_of_an_empty_store(store):
    """Says so, in every format."""
    stats = Stats(store.root, now=NOW)
    assert 8 == html_of(stats).count("Nothing in this window.")
    assert "Nothing happened in this window." in report.render(stats, form="md").decode()
    tables = json.loads(report.render(stats, form="json"))["tables"]
    assert {()} == {tuple(rows) for rows in tables.values()}


def test_the_report_of_a_window(stats_of, tmp_path):
    """Only what happened in it."""
    stats = stats_of(make_event(repository="old", at=NOW - days(9)), make_event(repository="new"))
    report.write(stats, tmp_path / "report.html", since="7d")
    text = (tmp_path / "report.html").read_text()
    assert "<td" in text
    assert "new" in without_library(text)
    assert ">old<" not in text


@pytest.mark.parametrize("form", [form for form in report.FORMATS if form not in ("pdf", "png")])
def test_the_report_is_the_same_for_the_same_numbers(stats_of, form):
    """Byte for byte, so that it can be compared; printed, too: `real/test_printing.py`."""
    stats = stats_of(make_event(), make_push())
    again = Stats(stats._engine._store.root, now=NOW)
    assert report.render(stats, form=form) == report.render(again, form=form)


@pytest.mark.parametrize("form", ["md", "json"])
def test_the_report_of_the_sample(form):
    """Word for word: `tests/golden/report.*`, which this writes anew where they are not there."""
    made = report.render(Stats(sample.path(), now=sample.NOW), since="7d", form=form).decode()
    golden = GOLDEN / f"report.{form}"
    if not golden.exists():
        golden.write_text(made)
        pytest.fail(f"{golden} was not there; look at what is there now.")
    assert golden.read_text() == made


def test_markdown_is_for_a_chat(stats_of):
    """Names are code, and of many rows there are ten."""
    names = ["@everyone", *(f"team/app-{number:02}" for number in range(12))]
    text = report.render(stats_of(*(make_event(repository=name) for name in names)), form="md").decode()
    assert "`@everyone`" in text
    assert [] == re.findall(r"(?<!`)@everyone", text)
    assert "and 3 more" in text


def test_json_has_all_rows(stats_of):
    """As the metrics have them."""
    stats = stats_of(*(make_event(repository=f"team/app-{number}") for number in range(60)))
    told = json.loads(report.render(stats, since="7d", form="json"))
    assert formats.rows(stats.top(since="7d")) == told["tables"]["use"]
    assert {"value": 60, "before": 0} == told["facts"]["pulls"]
    assert "2026-11-17T12:00:00Z" == told["since"]


def test_csv_is_a_zip_of_tables(stats_of):
    """One of the totals, and one for each question."""
    stats = stats_of(*(make_event(repository=f"team/app-{number}") for number in range(3)))
    archive = zipfile.ZipFile(io.BytesIO(report.render(stats, form="csv")))
    sections = brief(stats).sections
    assert ["facts.csv", *(f"{section.name}.csv" for section in sections)] == archive.namelist()
    assert formats.as_csv(stats.top()) == archive.read("use.csv").decode()
    rows = list(csv.reader(io.StringIO(archive.read("facts.csv").decode())))
    assert [["name", "value", "before"], ["pulls", "3", ""]] == rows[:2]


def test_what_was_not_understood_is_told(store):
    """A reader has to know whether the numbers can be trusted."""
    journalled(store, envelope(make_event()), b"garbage")
    assert "1 delivery not understood" in html_of(Stats(store.root, now=NOW))


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
