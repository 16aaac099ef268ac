import json
from datetime import timedelta

import pandas as pd
import pytest

from regstats.formats import as_csv, as_json, as_table, duration, visible

FRAME = pd.DataFrame(
    {
        "period": pd.to_datetime(["2026-11-23", "2026-11-24"]),
        "at": pd.to_datetime(["2026-11-23T10:00:00.5Z", None], utc=True, format="ISO8601"),
        "repository": ["team/app", None],
        "pulls": [1234, 0],
        "overdue": [1.5, None],
        "age": pd.to_timedelta([90061, None], unit="s"),
    }
)


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
    """Still JSON, still CSV with its header."""
    assert [] == json.loads(as_json(FRAME.head(0)))
    assert "period,at,repository,pulls,overdue,age\n" == as_csv(FRAME.head(0))


def test_csv_has_the_values_of_json():
    """Missing values are empty, and text is quoted where it must be."""
    assert (
        "period,at,repository,pulls,overdue,age\n"
        "2026-11-23,2026-11-23T10:00:00.500000Z,team/app,1234,1.5,90061.0\n"
        "2026-11-24,,,0,,\n"
    ) == as_csv(FRAME)
    assert 'name\n"a,""b""\nc"\n' == as_csv(pd.DataFrame({"name": ['a,"b"\nc']}))


def test_a_table_is_for_people():
    """Numbers to the right, durations in two units, a dash for what is missing."""
    header, _, first, second = as_table(FRAME).splitlines()
    assert ["period", "at", "repository", "pulls", "overdue", "age"] == header.split()
    assert ["2026-11-23", "2026-11-23", "10:00:00", "team/app", "1,234", "1.50", "1d", "1h"] == first.split()
    assert ["2026-11-24", "–", "–", "0", "–", "–"] == second.split()  # noqa: RUF001


def test_a_wide_table_is_not_cut():
    """A pipe has no width; a tag may have 128 characters."""
    assert "x" * 500 in as_table(pd.DataFrame({"name": ["x" * 500]}))


@pytest.mark.parametrize("name", ["[bold]x[/bold]", "[/]", "[link=http://evil.example]x[/link]"])
def test_names_are_not_markup(name):
    """What a client wrote is shown as it is."""
    assert name in as_table(pd.DataFrame({"name": [name]}))


def test_names_do_nothing_to_the_terminal():
    """Escape sequences, line breaks, and marks that reverse the direction of writing."""
    assert "\\u001b[2J\\u0000\\u202e\\u000aü" == visible("\x1b[2J\x00\u202e\nü")
    assert "\x1b" not in as_table(pd.DataFrame({"name": ["\x1b]0;owned\x07"]}))


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(0, "0s"), (0.4, "0s"), (59, "59s"), (60, "1m"), (3725, "1h 2m"), (86400, "1d"), (9000000, "104d 4h")],
)
def test_duration(seconds, expected):
    """The two largest units say enough."""
    assert expected == duration(pd.Timedelta(timedelta(seconds=seconds)))
