"""Every format: exact for programs, harmless for people."""

import csv
import io
import json
from datetime import UTC, datetime, timedelta

import duckdb
import pandas as pd
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from readers import FORMULA, cells_of, frame_of, in_csv, rows_of

from regstats.formats import FORMATS, as_csv, as_json, as_parquet, as_table, as_tsv, duration, encode
from regstats.terminal import visible

FRAME = pd.DataFrame(
    {
        "period": pd.to_datetime(["2026-11-23", "2026-11-24"]).astype("datetime64[us]"),
        "at": pd.to_datetime(["2026-11-23T10:00:00.5Z", None], utc=True, format="ISO8601").astype(
            "datetime64[us, UTC]"
        ),
        "repository": pd.array(["team/app", None], dtype="str"),
        "pulls": [1234, 0],
        "overdue": [1.5, None],
        "age": pd.to_timedelta([90061, None], unit="s").astype("timedelta64[us]"),
    }
)

EVIL = [
    "\x1b]0;owned\x07\x1b[2J", "\x00", "\u202egnp.exe", "line\nline", "line\rline", "line\r\nline", "a\tb", "\u2028",
    "\x85", "[bold]x[/bold]", "[/]", "[link=http://evil.example]x[/link]", "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>", "</td></table>", "&lt;b&gt;", "a|b", "a\\|b", "\\", "\\n", "`a` | b", "``", "*a*",
    "_a_", "![x](http://evil.example/x.png)", "[x](javascript:alert(1))", "http://evil.example", "www.evil.example",
    "@mention #1 me@evil.example", "| --- |", ",", '"', '""', "'", ";", '=HYPERLINK("http://evil.example")', "+1", "-1",
    "@SUM(A1)", "-2+3+cmd|' /C calc'!A0", "\t=1+1", "\r=1+1", "\n=1+1", "\uff1d1+1", "\uff0b1", "\uff0d1", "\uff20A()",
    "'=1+1", "a=b", "$(reboot)", "größe \U0001f40b", "x" * 500, "null", "–",  # noqa: RUF001
]  # fmt: skip
"""Names that somebody may choose to do harm."""
NAMES = pd.DataFrame({"name": pd.array(EVIL, dtype="str"), "pulls": range(len(EVIL))})


def test_json_is_one_array_of_row_objects():
    """Dates, times, seconds, and null for what is missing."""
    assert [
        {
            "period": "2026-11-23",
            "at": "2026-11-23T10:00:00.500000Z",
            "repository": "team/app",
            "pulls": 1234,
            "overdue": 1.5,
            "age": 90061.0,
        },
        {"period": "2026-11-24", "at": None, "repository": None, "pulls": 0, "overdue": None, "age": None},
    ] == json.loads(as_json(FRAME))


def test_an_empty_frame_is_an_empty_array():
    """Still JSON, still CSV with its header, still Parquet with its types."""
    empty = FRAME.head(0)
    assert [] == json.loads(as_json(empty))
    assert "period,at,repository,pulls,overdue,age\n" == as_csv(empty)
    assert "period\tat\trepository\tpulls\toverdue\tage\n" == as_tsv(empty)
    assert list(FRAME.dtypes) == list(pd.read_parquet(io.BytesIO(as_parquet(empty))).dtypes)
    for form in ("table", "md", "html"):
        assert list(FRAME.columns) == cells_of(form, encode(empty, form))[0]


def test_csv_has_the_values_of_json():
    """Missing values are empty, and text is quoted where it must be."""
    assert (
        "period,at,repository,pulls,overdue,age\n"
        "2026-11-23,2026-11-23T10:00:00.500000Z,team/app,1234,1.5,90061.0\n"
        "2026-11-24,,,0,,\n"
    ) == as_csv(FRAME)
    assert 'name\n"a,""b""\nc"\n' == as_csv(pd.DataFrame({"name": ['a,"b"\nc']}))


def test_a_row_of_nothing_is_a_row():
    """An empty line would be skipped by those that read CSV."""
    assert 'actor\n""\nalice\n' == as_csv(pd.DataFrame({"actor": [None, "alice"]}))
    assert "actor\n\nalice\n" == as_tsv(pd.DataFrame({"actor": [None, "alice"]}))


@pytest.mark.parametrize("form", ["json", "tsv", "parquet"])
def test_programs_get_names_exactly(form):
    """Whatever is in them: no formula is defused, no line ends early."""
    pd.testing.assert_frame_equal(NAMES, frame_of(form, encode(NAMES, form), NAMES))


@given(st.text(st.characters(codec="utf-8")) | st.builds(str.__add__, st.sampled_from(FORMULA), st.text("=1,'\"\n")))
def test_csv_has_names_exactly_or_behind_an_apostrophe(name):
    """In cells and as the name of a column: a spreadsheet sees no formula, and nothing else is changed."""
    header, cells = csv.reader(io.StringIO(as_csv(pd.DataFrame({name: [name]})), newline=""))
    assert [in_csv(name)] == header == cells


def test_a_number_in_csv_is_no_formula():
    """Whatever column it is in: one can go on to calculate with what is negative."""
    frame = pd.DataFrame({"a": [-1], "b": [-1.5], "c": [pd.Timedelta(seconds=-90)], "d": pd.Series([-1], dtype=object)})
    assert "a,b,c,d\n-1,-1.5,-90.0,-1\n" == as_csv(frame)


def test_a_line_of_tsv_is_a_row():
    """So `cut` and `sort` can be trusted."""
    assert 1 + len(EVIL) == as_tsv(NAMES).count("\n")
    assert EVIL == [row["name"] for row in rows_of("tsv", as_tsv(NAMES).encode())]


@pytest.mark.parametrize("form", ["table", "md", "html"])
def test_people_see_names_that_do_nothing(form):
    """All of it stays in its cell, and nothing in it is markup: the page has no other tags than ours."""
    text = encode(NAMES, form, note="Not counted: actors <b>`*|\x1b").decode()
    assert all(character.isprintable() or character == "\n" for character in text)
    if form == "table":
        lines = text.splitlines()
        assert [visible(name) for name in EVIL] == [line[1:].rpartition("   ")[0].rstrip() for line in lines[2:-1]]
        return
    (header, *rows) = cells_of(form, text.encode())
    shown = [visible(name) for name in EVIL]
    if form == "md":  # a cell of code cannot hold these
        shown = [name.replace("`", "\\u0060").replace("|", "\\u007c") for name in shown]
    assert (["name", "pulls"], shown) == (header, [name for name, _ in rows])


def test_nobody_is_mentioned_on_github():
    """All text is code: mentions, issues, addresses, and links without markup are found everywhere else."""
    lines = encode(NAMES, "md").decode().splitlines()[2:]
    assert all(line.startswith("| `") and line.count("`") == 2 for line in lines)


def test_a_table_is_for_people():
    """Numbers to the right, durations in two units, a dash for what is missing."""
    header, _, first, second = as_table(FRAME).splitlines()
    assert ["period", "at", "repository", "pulls", "overdue", "age"] == header.split()
    assert ["2026-11-23", "2026-11-23", "10:00:00", "team/app", "1,234", "1.50", "1d", "1h"] == first.split()
    assert ["2026-11-24", "–", "–", "0", "–", "–"] == second.split()  # noqa: RUF001


@pytest.mark.parametrize("form", ["md", "html"])
def test_pages_say_what_a_table_says(form):
    """In the same words."""
    assert [
        ["period", "at", "repository", "pulls", "overdue", "age"],
        ["2026-11-23", "2026-11-23 10:00:00", "team/app", "1,234", "1.50", "1d 1h"],
        ["2026-11-24", "–", "–", "0", "–", "–"],  # noqa: RUF001
    ] == cells_of(form, encode(FRAME, form))


def test_markdown_is_a_github_table():
    """Numbers are aligned to the right."""
    frame = pd.DataFrame({"repository": ["team/app", None], "pulls": [1, 2], "a|b": ["", "x"]})
    assert (
        "| repository | pulls | `a\\u007cb` |\n| --- | ---: | --- |\n| `team/app` | 1 |  |\n| – | 2 | `x` |\n"  # noqa: RUF001
    ) == FORMATS["md"](frame)


def test_a_wide_table_is_not_cut():
    """A pipe has no width; a tag may have 128 characters."""
    assert "x" * 500 in as_table(pd.DataFrame({"name": ["x" * 500]}))


@pytest.mark.parametrize("name", ["[bold]x[/bold]", "[/]", "[link=http://evil.example]x[/link]"])
def test_names_are_not_markup(name):
    """What a client wrote is shown as it is, also as the name of a column."""
    assert name in as_table(pd.DataFrame({"name": [name]}))
    assert name in as_table(pd.DataFrame({name: [1]}))


def test_names_do_nothing_to_the_terminal():
    """Escape sequences, line breaks, and marks that reverse the direction of writing."""
    assert "\\u001b[2J\\u0000\\u202e\\u000aü\\u2028" == visible("\x1b[2J\x00\u202e\nü\u2028")


def test_parquet_has_the_types_that_every_engine_reads():
    """No nanoseconds, and durations as whole microseconds, which Spark would not read otherwise; and what was asked."""
    frame = FRAME.copy()
    frame.attrs = {"metric": "cadence", "since": datetime(2026, 11, 1, tzinfo=UTC), "excluded": {"actors": ["ci"]}}
    file = pq.ParquetFile(io.BytesIO(as_parquet(frame)))
    physical = {column.name: (column.physical_type, str(column.logical_type)) for column in file.schema}
    utc, plain = (
        f"Timestamp(isAdjustedToUTC={is_utc}, timeUnit=microseconds, is_from_converted_type=false, "
        "force_set_converted_type=false)"
        for is_utc in ("true", "false")
    )
    assert {
        "period": ("INT64", plain),
        "at": ("INT64", utc),
        "repository": ("BYTE_ARRAY", "String"),
        "pulls": ("INT64", "None"),
        "overdue": ("DOUBLE", "None"),
        "age": ("INT64", "None"),
    } == physical
    again = pd.read_parquet(io.BytesIO(as_parquet(frame)))
    pd.testing.assert_frame_equal(FRAME, again)
    assert frame.attrs | {"since": "2026-11-01T00:00:00Z"} == again.attrs


def test_duckdb_reads_parquet(tmp_path):
    """Durations are integers to it."""
    (tmp_path / "frame.parquet").write_bytes(as_parquet(FRAME))
    with duckdb.connect() as connection:
        read = connection.read_parquet(str(tmp_path / "frame.parquet"))
        assert "TIMESTAMP,TIMESTAMP WITH TIME ZONE,VARCHAR,BIGINT,DOUBLE,BIGINT" == ",".join(map(str, read.types))
        assert [(1234, 90_061_000_000), (0, None)] == read.project("pulls, age").fetchall()


def test_bytes_are_text_as_far_as_they_can_be():
    """What is no UTF-8 is replaced; Parquet has it as it is."""
    frame = pd.DataFrame({"body": [b"\xffbody"]})
    assert [{"body": "\ufffdbody"}] == json.loads(as_json(frame))
    assert "\ufffdbody" in as_table(frame)
    assert b"\xffbody" == pd.read_parquet(io.BytesIO(as_parquet(frame)))["body"][0]


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0, "0s"),
        (0.4, "0s"),
        (59, "59s"),
        (60, "1m"),
        (3725, "1h 2m"),
        (86400, "1d"),
        (9000000, "104d 4h"),
        (-5, "-5s"),
    ],
)
def test_duration(seconds, expected):
    """The two largest units say enough."""
    assert expected == duration(pd.Timedelta(timedelta(seconds=seconds)))
