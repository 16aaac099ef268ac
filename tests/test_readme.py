"""The README: what it shows is true."""

import re
import typing
from pathlib import Path

import msgspec
import pytest
from help import BLOCK
from help import blocks as blocks_of_help

from regstats.agenda import Alert, Destination, Kind, Mail, Schedule
from regstats.cli import main
from regstats.config import Settings
from regstats.metrics import METRICS
from regstats.options import EXPORTED, FORMATS
from regstats.parameters import Parameters
from regstats.rules import ACTIONS, FIELDS, Match, Rule
from regstats.stats import Stats

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def test_the_first_lines_run(monkeypatch):
    """As they stand, from the top of a clone, and there are ten at most."""
    monkeypatch.chdir(ROOT)
    (code,) = blocks("python")
    assert len(code.splitlines()) <= 10
    exec(compile(code, "README.md", "exec"), {})


def test_every_command_is_in_the_table():
    """By name, and no other."""
    (table,) = re.findall(r"## Commands\n(.*?)\nAnswers go to", README, re.DOTALL)
    named = re.findall(
        r"`(?:regstats )?(\w+)`", "\n".join(line.split("|")[1] for line in table.splitlines() if "|" in line)
    )
    assert sorted(main.commands) == sorted(named)


def test_the_help_is_that_of_the_commands():
    """`python tests/help.py` writes it."""
    assert [blocks_of_help()] == BLOCK.findall(README)


def test_every_format_is_explained():
    """In the table of formats; those of exports where these are."""
    rows = "".join(re.findall(r"^\| (`\w+`(?: `\w+`)*) \|", README, re.MULTILINE))
    assert all(f"`{form}`" in rows for form in FORMATS)
    assert all(f"--format {form}" in README or form in FORMATS for form in EXPORTED)


def test_every_metric_has_its_columns(store):
    """In the order of the frame."""
    rows = re.findall(r"^\| `(\w+)` \| [^|]*\? \| ([^|]*) \|$", README, re.MULTILINE)
    assert len(rows) == len(METRICS)
    for metric, columns in rows:
        frame = getattr(Stats(store.root), metric)()
        always = re.sub(r"\([^)]*\),? ?", "", columns)  # those in parentheses only if they are asked for
        assert list(frame.columns) == always.split(", "), metric


def test_every_parameter_and_setting_is_explained():
    """With the defaults that hold."""
    assert all(f"`{name}`" in README for name in Parameters.__annotations__)
    (toml,) = blocks("toml")
    shown = msgspec.toml.decode(toml)
    assert list(Settings.__struct_fields__) == list(shown)
    defaults = msgspec.to_builtins(Settings())
    examples = (
        "token",
        "only",
        "sources",
        "read",
        "privacy",
        "retention",
        "teams",
        "mail",
        "destinations",
        "report",
        "alert",
        "deploy",
    )
    assert {k: v for k, v in defaults.items() if k not in examples} == {
        k: v for k, v in shown.items() if k not in examples
    }
    assert list(defaults["read"]) == list(shown["read"])
    assert defaults["privacy"] == {**shown["privacy"], "salt": None}
    assert (defaults["read"]["cache"], defaults["read"]["rate"]) == (shown["read"]["cache"], shown["read"]["rate"])


def test_all_that_is_sent_is_explained():
    """Every key, with the defaults that hold."""
    (toml,) = blocks("toml")
    shown = msgspec.toml.decode(toml)
    schedule = Schedule(name="weekly", cron="0 7 * * mon", to=["archive", "boss", "chat"], team="payments")
    alert = Alert(name="unmaintained", when="stale", to=["chat"], remind="7d")
    assert [msgspec.to_builtins(schedule)] == shown["report"]["schedule"]
    assert [msgspec.to_builtins(alert)] == shown["alert"]
    assert list(Mail.__struct_fields__) == list(shown["mail"])
    keys = [key for destination in shown["destinations"].values() for key in destination]
    assert list(Destination.__struct_fields__) == keys


def test_every_setting_of_a_rule_is_explained():
    """With the defaults that hold; of the actions each is in the table, and with what is filled in."""
    (toml,) = blocks("toml")
    (shown,) = msgspec.toml.decode(toml)["deploy"]
    rule = msgspec.to_builtins(Rule(name="x", match=Match(), command=["x"]))
    examples = ("name", "match", "command", "target", "registry", "to")
    assert [name for name in rule if name not in ACTIONS[1:]] == list(shown)
    assert {k: v for k, v in rule.items() if k not in (*examples, *ACTIONS)} == {
        k: v for k, v in shown.items() if k not in examples
    }
    assert all(f"| `{action} = " in README for action in ACTIONS)
    assert all(f"`{{{field}}}`" in README for field in FIELDS)
    assert all(f"`{field}" in README for field in Match.__struct_fields__)


def test_every_kind_of_alert_is_explained():
    """In the table, and no other."""
    (table,) = re.findall(r"\| `when` \| tells of.*?\n\n", README, re.DOTALL)
    cells = re.findall(r"^\| (`.*?) \|", table, re.MULTILINE)
    assert ["when", *typing.get_args(Kind)] == re.findall(r"`(\w+)`", " ".join(cells))


@pytest.mark.parametrize("path", re.findall(r"`((?:notebooks|tests|sql|data)/[\w./-]+)`", README))
def test_every_file_that_is_named_is_there(path):
    """Or the reader would look for it in vain."""
    assert (ROOT / path).exists() or (ROOT / "regstats" / path).exists()
