"""The command line, called in this process."""

import csv
import io
import json

import pytest
from click.testing import CliRunner
from makers import NOW, days, envelope, journalled, make_event, make_push

from regstats.cli import METRICS, main
from regstats.parameters import HELP
from regstats.sealing import seal
from regstats.stats import Stats


@pytest.fixture
def run(store, monkeypatch, tmp_path):
    """Runs a command on the store."""
    monkeypatch.setenv("REGSTATS_DATA", str(store.root))
    monkeypatch.chdir(tmp_path)

    def call(*arguments):
        return CliRunner().invoke(main, arguments)

    return call


@pytest.mark.parametrize("metric", METRICS)
def test_every_metric_is_a_command_with_every_parameter(run, metric):
    """Under the name of the method, with its question and an example."""
    text = run(metric, "--help").output
    assert METRICS[metric] in text
    assert f"Example: regstats {metric}" in text
    assert all(f"--{name} " in text for name in (*HELP, "data", "format"))
    assert callable(getattr(Stats, metric))


@pytest.mark.parametrize("metric", METRICS)
def test_every_metric_in_every_format(run, store, metric):
    """The rows of the method."""
    journalled(store, envelope(make_event()), envelope(make_push()))
    frame = getattr(Stats(store.root, now=NOW), metric)()
    as_json = json.loads(run(metric, "--format", "json").output)
    assert (len(frame), list(frame.columns)) == (len(as_json), list(as_json[0]))
    as_csv = list(csv.DictReader(io.StringIO(run(metric, "--format", "csv").output)))
    assert (len(frame), list(frame.columns)) == (len(as_csv), list(as_csv[0]))
    assert list(frame.columns) == run(metric).output.splitlines()[0].split()


def test_parameters_reach_the_metric(run, store):
    """Repeated options and comma-separated ones mean the same."""
    journalled(store, *(envelope(make_event(repository=name, tag=tag)) for name in "abc" for tag in ("1", "2")))
    by = run("pulls", "--by", "repository,tag", "--interval", "total", "--format", "json", "--repository", "a")
    again = run("pulls", "--by", "repository", "--by", "tag", "--interval", "total", "--format", "json", "--limit", "2")
    expected = [
        {"repository": "a", "tag": tag, "pulls": 1, "downloads": 0, "version_checks": 0, "requests": 1}
        for tag in ("1", "2")
    ]
    assert expected == json.loads(by.output) == json.loads(again.output)


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["pulls", "--since", "yesterday"], 2, "regstats: since='yesterday' is not a time"),
        (["pulls", "--by", "image"], 2, "regstats: by='image' is not one of: source, repository"),
        (["pulls", "--interval", "year"], 2, "'year' is not one of"),
        (["pulls", "--nosuch"], 2, "No such option"),
        (["pulls", "--data", "nosuch"], 1, "regstats: There is no store at nosuch."),
        (["quarantine", "--data", "nosuch"], 1, "regstats: There is no store at nosuch."),
        (["import", "nosuch.jsonl"], 1, "regstats: Cannot read nosuch.jsonl: No such file"),
        (["serve", "--host", "0.0.0.0"], 2, "regstats: 0.0.0.0 can be reached from other machines"),
        (["serve", "--config", "nosuch.toml"], 2, "regstats: Cannot read the settings file nosuch.toml"),
        (["serve", "--port", "70000"], 2, "regstats: A setting is wrong"),
        (["report", "--out", "nosuch/report.html"], 1, "regstats: Cannot write nosuch/report.html"),
        (["demo", "--data", "."], 2, "regstats: . is not empty"),
        (["nosuch"], 2, "No such command"),
    ],
)
def test_what_goes_wrong_is_said_in_one_line(run, arguments, status, message):
    """Status 2 where the question was wrong, 1 where the answer could not be had; no traceback."""
    result = run(*arguments)
    assert (status, "") == (result.exit_code, result.stdout)
    assert message in result.stderr
    assert "Traceback" not in result.stderr


def test_import_says_what_it_did(run, store, tmp_path):
    """Per file."""
    (tmp_path / "file.jsonl").write_bytes(json.dumps({"events": [make_event()]}).encode() + b"\ngarbage\n")
    assert (
        "file.jsonl: 2 deliveries, 1 new events, 0 known already, 1 not understood\n"
        == run("import", "file.jsonl").output
    )
    assert 1 == Stats(store.root).pulls()["pulls"].sum()


def test_import_makes_the_store(run, tmp_path):
    """Nothing needs to be set up before."""
    (tmp_path / "file.json").write_bytes(envelope(make_event()))
    assert 0 == run("import", "--data", "new", "file.json").exit_code
    assert 1 == Stats(tmp_path / "new").pulls()["pulls"].sum()


def test_quarantine(run, store):
    """The reason, for people without the payload, for programs with it."""
    journalled(store, b"\xffgarbage")
    assert "Not JSON" in run("quarantine").output
    (row,) = json.loads(run("quarantine", "--format", "json").output)
    assert (8, "\ufffdgarbage") == (row["bytes"], row["body"])


def test_quarantine_shows_and_replays(run, store):
    """One delivery as it came; and what is understood by now, which is nothing yet. `--data` at either place."""
    journalled(store, b"\xffgarbage")
    seal(store)
    (row,) = json.loads(run("quarantine", "--format", "json").output)
    assert b"\xffgarbage" == run("quarantine", "show", row["delivery_id"]).stdout_bytes
    assert b"\xffgarbage" == run("quarantine", "show", row["delivery_id"], "--data", str(store.root)).stdout_bytes
    missing = run("quarantine", "show", "nosuch")
    assert (2, "There is no delivery 'nosuch'" in missing.stderr) == (missing.exit_code, True)
    expected = "1 deliveries, 0 events; 1 deliveries are in quarantine.\n"
    assert (
        expected == run("quarantine", "replay").output == run("quarantine", "--data", str(store.root), "replay").output
    )


def test_check_and_repair(run, store):
    """Status 1 while something is broken, 0 when all is well or was put right."""
    journalled(store, envelope(make_event()))
    seal(store)
    assert (0, "All is well.\n") == ((done := run("check", "--deep")).exit_code, done.output)
    (part,) = store.root.glob("events/date=*/*.parquet")
    part.unlink()
    broken = run("check")
    assert 1 == broken.exit_code
    assert f"problem: events/{part.parent.name}/{part.name}: Cannot be read" in broken.output
    assert broken.output.endswith("2 problems.\n")
    repaired = run("check", "--repair")
    assert (0, True) == (repaired.exit_code, repaired.output.startswith("repaired: "))
    assert (0, "All is well.\n") == ((done := run("check", "--deep")).exit_code, done.output)
    assert 1 == Stats(store.root).pulls()["pulls"].sum()


def test_compact_and_rebuild_say_what_they_did(run, store):
    """In one line each."""
    for number in range(3):
        journalled(store, envelope(make_event(at=NOW - days(9 + number))))
        seal(store)
    assert "accounted for the pulls of 3 dates" in run("compact").output
    assert "3 deliveries, 3 events; 0 deliveries are in quarantine.\n" == run("rebuild").output
    assert 3 == Stats(store.root).pulls()["pulls"].sum()


def test_health(run, store):
    """In every format, with its own parameters."""
    journalled(store, envelope(make_event()))
    (row,) = json.loads(run("health", "--format", "json", "--source", "def*").output)
    assert ("default", 1, 1) == (row["source"], row["deliveries"], row["events"])
    assert "[]" == run("health", "--format", "json", "--source", "x").output.strip()
    assert "longest_gap" in run("health").output


def test_report(run, store, tmp_path):
    """Where it was told to."""
    journalled(store, envelope(make_event()))
    result = run("report", "--out", "mine.html")
    assert f"Wrote {tmp_path / 'mine.html'}\n" == result.output
    assert (tmp_path / "mine.html").read_text().startswith("<!doctype html>")


def test_help_and_version(run):
    """What there is, and which one it is."""
    assert all(f"  {command}" in run("--help").output for command in (*METRICS, "serve", "demo", "import", "report"))
    assert run("--version").output.startswith("regstats, version ")
