"""The command line, called in this process."""

import csv
import io
import json

import pytest
from click.testing import CliRunner
from makers import NOW, envelope, journalled, make_event, make_push

from regstats.cli import METRICS, main
from regstats.parameters import HELP
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
