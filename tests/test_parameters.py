import re
import zoneinfo
from contextlib import suppress
from datetime import UTC, date, datetime

import duckdb
import pytest
from makers import NOW

from regstats.errors import ParameterError
from regstats.parameters import HELP, Parameters, understand


@pytest.mark.parametrize(
    ("since", "tz", "expected"),
    [
        ("30d", "UTC", datetime(2026, 10, 25, 12, tzinfo=UTC)),
        ("12h", "UTC", datetime(2026, 11, 24, 0, tzinfo=UTC)),
        ("4w", "UTC", datetime(2026, 10, 27, 12, tzinfo=UTC)),
        ("2026-11-01", "UTC", datetime(2026, 11, 1, tzinfo=UTC)),
        ("2026-11-01", "Europe/Berlin", datetime(2026, 10, 31, 23, tzinfo=UTC)),
        ("2026-07-01", "Europe/Berlin", datetime(2026, 6, 30, 22, tzinfo=UTC)),
        ("2026-11-01T12:30", "Europe/Berlin", datetime(2026, 11, 1, 11, 30, tzinfo=UTC)),
        ("2026-11-01T12:30:00+09:00", "Europe/Berlin", datetime(2026, 11, 1, 3, 30, tzinfo=UTC)),
        (date(2026, 11, 1), "Europe/Berlin", datetime(2026, 10, 31, 23, tzinfo=UTC)),
        (datetime(2026, 11, 1), "Europe/Berlin", datetime(2026, 10, 31, 23, tzinfo=UTC)),  # noqa: DTZ001
        (None, "UTC", None),
    ],
)
def test_moments(since, tz, expected):
    """A date is its midnight in `tz`; `30d` is before now."""
    assert expected == understand({"since": since, "tz": tz}, now=NOW).since


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"since": "yesterday"}, "since='yesterday' is not a time; write 2026-11-01"),
        ({"until": 7}, "until=7 is not a time"),
        ({"since": "0001-01-01"}, "since='0001-01-01' is not within the years 1900 to 8999"),
        ({"until": "9999-12-31T23:59", "tz": "America/Lima"}, "until='9999-12-31T23:59' is not within the years"),
        ({"since": "99999d"}, "since='99999d' is not within the years"),
        ({"interval": "year"}, "interval='year' is not one of: hour, day, week, month, total"),
        ({"by": "image"}, "by='image' is not one of: source, repository, tag"),
        ({"by": ["repository", "; drop table"]}, "is not one of"),
        ({"tz": "Europe/Nowhere"}, "tz='Europe/Nowhere' is not a time zone"),
        ({"tz": "../etc/passwd"}, "is not a time zone"),
        ({"tz": "right/UTC"}, "is not a time zone"),
        ({"tz": "localtime"}, "is not a time zone"),
        ({"tz": ["UTC"]}, "is not a time zone"),
        ({"since": "\u0663d"}, "since='\u0663d' is not a time"),
        ({"limit": 0}, "limit=0 is not a number of rows"),
        ({"limit": "5"}, "limit='5' is not a number of rows"),
        ({"repository": 5}, "repository=5 is neither a text nor a list of texts"),
        ({"repo": "x"}, "Unknown parameter 'repo'. There are: repository, tag, actor, client, source, since"),
    ],
)
def test_a_wrong_parameter_is_a_value_error_that_names_the_right_ones(given, message):
    """So that nobody has to look it up."""
    with pytest.raises(ParameterError, match=re.escape(message)):
        understand(given, now=NOW)
    assert issubclass(ParameterError, ValueError)


@pytest.mark.parametrize("since", ["2026-11-24T13:00", "2099-01-01", "8999-12-31"])
def test_a_window_that_has_not_begun_yet(since):
    """Is empty, and so is the one before it."""
    values = understand({"since": since}, now=NOW).values
    assert values["since"] == values["before"] > NOW


def test_every_zone_is_one_of_duckdb():
    """Else the question would fail in the middle of it."""
    known = {name for (name,) in duckdb.sql("select name from pg_timezone_names()").fetchall()}
    refused = [name for name in zoneinfo.available_timezones() - known if not _is_refused(name)]
    assert [] == refused


def _is_refused(zone):
    with suppress(ParameterError):
        return understand({"tz": zone}, now=NOW) is None
    return True


def test_every_parameter_is_explained():
    """The command line has each of them."""
    assert list(Parameters.__annotations__) == list(HELP)
