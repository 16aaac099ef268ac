"""The commands around what is sent."""

import shlex

import pytest
from makers import NOW, envelope, journalled, make_event, make_push
from test_cli import run  # noqa: F401

SETTINGS = """
[destinations.archive]
directory = "reports"

[destinations.broken]
directory = "file/reports"

[[report.schedule]]
name = "daily"
cron = "30 6 * * *"
tz = "Europe/Berlin"
window = "1d"
format = "md"
to = ["archive"]

[[report.schedule]]
name = "monthly"
cron = "0 0 L * *"
to = ["broken"]

[[alert]]
name = "old"
when = "stale"
every = "6h"
to = ["archive"]

[[alert]]
name = "odd"
when = "spike"
to = ["archive"]
"""


@pytest.fixture
def call(run, store, tmp_path):  # noqa: F811
    (tmp_path / "regstats.toml").write_text(SETTINGS)
    (tmp_path / "file").write_text("")
    journalled(store, envelope(make_push(at=NOW.replace(year=2025)), make_event(at=NOW.replace(day=20))))
    return run


def said(result, code=0):
    assert code == result.exit_code, result.output
    return result.stdout


def test_a_scheduled_report_is_sent(call, tmp_path):
    """Once for each time it is due."""
    assert said(call("report", "--run", "daily")).startswith("Sent daily of ")
    assert "daily was sent already.\n" == said(call("report", "--run", "daily"))
    assert (tmp_path / "reports" / "daily-latest.md").read_text().startswith("# Registry report\n")
    assert 1 == said(call("outbox")).count("delivered: Registry report daily")


def test_one_that_does_not_arrive(call):
    """Is a failure to the host's scheduler, with why, and waits."""
    result = call("report", "--run", "monthly")
    assert (1, True) == (result.exit_code, "broken has not got it yet: Cannot write to file/reports" in result.stderr)
    listed = said(call("outbox"))
    assert ("waits until 20", True) == (listed[:14], "not delivered: Registry report monthly" in listed)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["report", "--run", "weekly"], "There is no [[report.schedule]] 'weekly'. There are: daily, monthly."),
        (["alert", "test", "weird"], "There is no [[alert]] 'weird'. There are: old, odd."),
        (["outbox", "test", "nowhere"], "There is no [destinations.nowhere]. There are: archive, broken."),
        (["alert", "test", "--since", "soon"], "since='soon'"),
        (["report", "--systemd"], "`0 0 L * *` in report.schedule `monthly` cannot be said to systemd."),
    ],
)
def test_what_is_not_there(call, arguments, complaint):
    """Is said with what is."""
    result = call(*arguments)
    assert (2, True) == (result.exit_code, complaint in result.stderr), result.stderr


def test_without_settings(call, tmp_path):
    """It is said where to begin."""
    (tmp_path / "regstats.toml").unlink()
    result = call("report", "--install-cron")
    assert (2, True) == (result.exit_code, "The settings have no [[report.schedule]]" in result.stderr)
    assert "" == said(call("alert", "test"))


def test_lines_for_cron(call, store, tmp_path):
    """They run it where it was set up, on the same store, with the same settings."""
    first, zone, line, *_ = said(call("report", "--install-cron")).splitlines()
    assert ("# daily, in the time of Europe/Berlin", "CRON_TZ=Europe/Berlin") == (first, zone)
    assert ["30", "6", "*", "*", "*", "cd", str(tmp_path), "&&"] == shlex.split(line)[:8]
    end = ["report", "--run", "daily", "--data", str(store.root), "--config", str(tmp_path / "regstats.toml")]
    assert end == shlex.split(line)[-7:]


def test_what_alerts_would_tell(call):
    """Now, and since some time; nothing is sent."""
    assert "old new: `team/app` is pulled (in four weeks: 1)" in said(call("alert", "test"))
    assert "odd: nothing to tell.\n" == said(call("alert", "test", "odd"))
    assert "2026-11-20 " in said(call("alert", "test", "old", "--since", "7d"))
    assert "" == said(call("outbox"))


def test_a_destination_can_be_tried(call, tmp_path):
    """At once; what is wrong with it is said."""
    assert "Sent a test message to archive.\n" == said(call("outbox", "test", "archive"))
    assert "it works" in (tmp_path / "reports" / "test-latest.md").read_text()
    result = call("outbox", "test", "broken")
    assert (1, True) == (result.exit_code, "Cannot write to file/reports" in result.stderr)
