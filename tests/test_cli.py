"""The command line, called in this process, and as a program where it matters how one ends."""

import json
import os
import pty
import signal
import subprocess
import sys
import time

import pandas as pd
import pytest
from click.testing import CliRunner
from makers import NOW, days, envelope, fill, journalled, make_event
from readers import cells_of, frame_of, in_csv
from test_formats import EVIL

from regstats import formats
from regstats.cli import main
from regstats.metrics import METRICS
from regstats.options import FOR_PEOPLE, FORMATS
from regstats.parameters import HELP
from regstats.sealing import seal
from regstats.stats import Stats


@pytest.fixture
def run(store, monkeypatch, tmp_path):
    """Runs a command on the store, at a time that is always the same."""
    monkeypatch.setenv("REGSTATS_DATA", str(store.root))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("regstats.stats.utc_now", lambda: NOW)
    monkeypatch.setattr("regstats.exports.utc_now", lambda: NOW)

    def call(*arguments):
        return CliRunner().invoke(main, arguments)

    return call


@pytest.fixture
def full(store):
    """A store about which every metric has something to say."""
    fill(store)
    return Stats(store.root, now=NOW)


def answers(result):
    """The bytes of an answer that was given."""
    assert (0, "") == (result.exit_code, result.stderr), result.output
    return result.stdout_bytes


@pytest.mark.parametrize("metric", METRICS)
def test_every_metric_is_a_command_with_its_parameters(run, metric):
    """Under the name of the method, with its question, its columns and an example."""
    text = " ".join(answers(run(metric, "--help")).decode().split())
    asked = METRICS[metric]
    assert asked.question in text
    assert "Columns: " in text
    assert f"Example: regstats {metric} {asked.example}" in text
    shown = {
        name for name in (*HELP, "data", "config", "format", "output") if f"--{name} " in text.split("Options:")[1]
    }
    assert {*asked.parameters, "data", "config", "format", "output"} == shown
    assert callable(getattr(Stats, metric))


@pytest.mark.parametrize("metric", METRICS)
def test_examples_are_right(run, full, metric):
    """They can be tried as they stand."""
    answers(run(metric, *METRICS[metric].example.replace("'", "").split()))


@pytest.mark.parametrize("metric", METRICS)
def test_every_metric_in_every_format(run, full, metric):
    """Programs get the frame of the method; people what is in it, and who is not counted."""
    frame = getattr(full, metric)()
    assert len(frame)
    for form in FORMATS:
        answer = answers(run(metric, "--format", form))
        if form in FOR_PEOPLE:
            columns = [formats.cells(frame[name]) for name in frame.columns]
            lines = [list(frame.columns), *map(list, zip(*columns, strict=True))]
            assert lines == cells_of(form, answer)[: len(lines)]
            assert (metric not in ("history", "health")) == (b"Not counted: clients Go-http-client/*" in answer)
        else:
            pd.testing.assert_frame_equal(frame, frame_of(form, answer, frame))


@pytest.mark.parametrize("form", ["json", "csv", "tsv", "parquet"])
@pytest.mark.parametrize("interval", ["hour", "month"])
def test_periods_in_every_format(run, full, form, interval):
    """Hours are times of a zone, all other periods are days."""
    asked = {"interval": interval, "tz": "Europe/Berlin", "by": ["actor", "client"]}
    frame = full.pulls(**asked)
    options = ["--interval", interval, "--tz", "Europe/Berlin", "--by", "actor,client"]
    pd.testing.assert_frame_equal(frame, frame_of(form, answers(run("pulls", *options, "--format", form)), frame))


@pytest.mark.parametrize("form", [form for form in FORMATS if form not in FOR_PEOPLE])
def test_names_are_exact_for_programs(run, store, form):
    """Whatever anybody called themselves; in CSV, behind an apostrophe if need be."""
    journalled(store, *(envelope(make_event(actor=name)) for name in EVIL))
    frame = Stats(store.root, now=NOW).usage()
    assert {*EVIL} == {*frame["actor"]}
    if form == "csv":
        frame["actor"] = frame["actor"].map(in_csv)
    pd.testing.assert_frame_equal(frame, frame_of(form, answers(run("usage", "--format", form)), frame))


@pytest.mark.parametrize("form", FOR_PEOPLE)
def test_names_do_nothing_to_people(run, store, form):
    """Not to a terminal, not to a page; and a row stays a row."""
    journalled(store, *(envelope(make_event(actor=name)) for name in EVIL))
    text = answers(run("usage", "--format", form)).decode()
    assert all(character.isprintable() or character == "\n" for character in text)
    if form != "table":
        assert 1 + len(Stats(store.root).usage()) == len(cells_of(form, text.encode()))


@pytest.mark.parametrize(
    ("metric", "option", "right"),
    [
        *((metric, "--nosuch", "--data") for metric in METRICS),
        ("health", "--interval", "--source, --since, --until, --tz, --limit, --data"),
        ("unused", "--since", "--days"),
        ("quarantine", "--by", "--limit"),
    ],
)
def test_a_wrong_parameter_names_the_right_ones(run, metric, option, right):
    """Those that this command has."""
    result = run(metric, option, "x")
    assert (2, "") == (result.exit_code, result.stdout)
    assert f"No such option '{option}'." in result.stderr
    assert right in result.stderr.split("There are: ")[1]


def test_the_formats_are_those_that_there_are():
    """They are named apart from their functions, because those need pandas."""
    assert FORMATS[:-1] == tuple(formats.FORMATS)
    assert "parquet" == FORMATS[-1]


@pytest.mark.parametrize("form", FORMATS)
def test_an_answer_in_a_file(run, full, tmp_path, form):
    """The same bytes as on stdout; the file's name says how they are to be."""
    expected = answers(run("top", "--format", form))
    assert b"" == answers(run("top", "--format", form, "--output", "answer"))
    assert expected == (tmp_path / "answer").read_bytes()
    named = f"answer.{form if form != 'table' else 'txt'}"
    answers(run("top", "-o", named))
    assert expected == (tmp_path / named).read_bytes()


def test_a_file_appears_whole_or_not_at_all(run, full, tmp_path):
    """What was there before stays until then, and nothing is left beside it."""
    (tmp_path / "answer.json").write_text("before")
    (tmp_path / "link.json").symlink_to("answer.json")
    assert 2 == run("top", "--since", "yesterday", "-o", "answer.json").exit_code
    assert "before" == (tmp_path / "answer.json").read_text()
    answers(run("top", "-o", "link.json"))
    assert (tmp_path / "link.json").is_symlink()
    assert (tmp_path / "answer.json").read_text().startswith("[{")
    assert {"answer.json", "link.json", "store"} == {path.name for path in tmp_path.iterdir()}
    answers(run("top", "-o", "/dev/null"))


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
        (["tags", "--by", "digest"], 2, "regstats: by='digest' is not one of: source, repository, tag, media_type"),
        (["pulls", "--tz", "Mars"], 2, "regstats: tz='Mars' is not a time zone"),
        (["pulls", "--interval", "year"], 2, "'year' is not one of 'hour', 'day'"),
        (["top", "--measure", "stars"], 2, "'stars' is not one of 'pulls', 'downloads'"),
        (["unused", "--days", "-1"], 2, "-1 is not in the range x>=0"),
        (["pulls", "--limit", "0"], 2, "0 is not in the range x>=1"),
        (["pulls", "--format", "xlsx"], 2, "'xlsx' is not one of 'table', 'json'"),
        (["pulls", "--config", "nosuch.toml"], 2, "regstats: Cannot read the settings file nosuch.toml"),
        (["pulls", "--data", "nosuch"], 1, "regstats: There is no store at nosuch."),
        (["pulls", "--output", "nosuch/x"], 1, "regstats: Cannot write nosuch/x: No such file or directory."),
        (["pulls", "--output", "."], 1, "regstats: Cannot write .: Is a directory."),
        (["pulls", "--output", "/dev/full"], 1, "regstats: Cannot write /dev/full: No space left on device."),
        (["quarantine", "--data", "nosuch"], 1, "regstats: There is no store at nosuch."),
        (["quarantine", "show", "nosuch"], 2, "regstats: There is no delivery 'nosuch'"),
        (["import", "nosuch.jsonl"], 1, "regstats: Cannot read nosuch.jsonl: No such file"),
        (
            ["export"],
            2,
            "Name one of events, pulls, pushes, deletes, deliveries, changes, moves, or a metric",
        ),
        (["export", "pulls", "--sql", "from pulls"], 2, "Name one of events, pulls"),
        (["export", "nosuch"], 2, "'nosuch' is not one of 'events', 'pulls'"),
        (["export", "--sql", "from pulls", "--since", "1d"], 2, "--since is for views"),
        (
            ["export", "--sql", "selec 1"],
            2,
            'regstats: The query is wrong. Parser Error: syntax error at or near "selec"',
        ),
        (["export", "--sql", "from nosuch"], 2, "regstats: The query is wrong. Catalog Error: Table with name nosuch"),
        (["export", "--sql", ""], 2, "regstats: The query is empty."),
        (["export", "deliveries", "--tag", "x"], 2, "regstats: Unknown parameter 'tag'. There are: source, since"),
        (["serve", "--host", "0.0.0.0"], 2, "regstats: 0.0.0.0 can be reached from other machines"),
        (["serve", "--config", "nosuch.toml"], 2, "regstats: Cannot read the settings file nosuch.toml"),
        (["serve", "--port", "70000"], 2, "regstats: A setting is wrong"),
        (["report", "--output", "nosuch/report.html"], 1, "regstats: Cannot write nosuch/report.html"),
        (["demo", "--data", "."], 2, "regstats: . is not empty"),
        (["completion", "csh"], 2, "'csh' is not one of 'bash', 'zsh', 'fish'"),
        (["nosuch"], 2, "No such command"),
    ],
)
def test_what_goes_wrong_is_said(run, arguments, status, message):
    """Status 2 where the question was wrong, 1 where the answer could not be had; no traceback."""
    result = run(*arguments)
    assert (status, "") == (result.exit_code, result.stdout)
    assert message in result.stderr
    assert "Traceback" not in result.stderr


def test_a_damaged_part_is_said(run, store):
    """By DuckDB; without a traceback."""
    journalled(store, envelope(make_event()))
    seal(store)
    (part,) = store.root.glob("events/date=*/*.parquet")
    part.write_bytes(b"garbage")
    result = run("pulls")
    assert (1, "") == (result.exit_code, result.stdout)
    assert result.stderr.startswith("regstats: ")
    assert part.name in result.stderr


def test_names_in_a_message_do_nothing(run, store):
    """DuckDB quotes values that it cannot convert."""
    journalled(store, envelope(make_event(actor="\x1b[2J")))
    result = run("export", "--sql", "select cast(actor as int) as n from events")
    assert 1 == result.exit_code
    assert "Could not convert string '\\u001b[2J' to INT32" in result.stderr


def program(*arguments, **options):
    """A command as a program of its own."""
    return subprocess.Popen([sys.executable, "-m", "regstats", *arguments], **options)


ENDLESS = "select count(*) as n from range(10000000) as a, range(1000000) as b where a.range * b.range % 7 = 3"


def test_ctrl_c_ends_it(full, store, tmp_path):
    """Even while DuckDB is at work; with the status that a shell expects, and without anything left behind."""
    command = ["export", "--sql", ENDLESS, "--data", str(store.root), "--output", "answer.csv"]
    with program(*command, stderr=subprocess.PIPE, cwd=tmp_path) as process:
        while process.poll() is None and not list(tmp_path.glob(".answer.csv.*.tmp")):
            time.sleep(0.01)
        time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=30)
    assert (130, b"\n") == (process.returncode, said)
    assert [store.root] == list(tmp_path.iterdir())


def test_nobody_reads_on(store):
    """As with `| head -1`: no traceback."""
    query = "select range, repeat('x', 100) as x from range(1000000)"
    command = ["export", "--data", str(store.root), "--sql", query]
    with program(*command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert b"range,x\n" == process.stdout.readline()
        process.stdout.close()
        assert (1, b"") == (process.wait(timeout=60), process.stderr.read())


@pytest.mark.parametrize("arguments", [["pulls"], ["compact"], ["export", "events", "-o", "events.csv"]])
def test_progress_is_for_people(full, store, tmp_path, arguments):
    """On stderr, if that is a terminal, and nowhere else; then it is gone."""
    environment = os.environ | {"TERM": "xterm", "REGSTATS_DATA": str(store.root)}
    ours, theirs = pty.openpty()
    with program(*arguments, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=theirs) as process:
        os.close(theirs)
        answer = process.stdout.read()
    shown = os.read(ours, 100_000).decode()
    os.close(ours)
    assert 0 == process.returncode
    assert {"pulls": "Counting", "compact": "Merging", "export": "Exporting"}[arguments[0]] in shown
    assert b"\x1b" not in answer
    quiet = subprocess.run(process.args, cwd=tmp_path, env=environment, capture_output=True)
    assert (0, b"") == (quiet.returncode, quiet.stderr)


def test_parquet_is_not_for_a_terminal(full, store):
    """It would do something to it."""
    ours, theirs = pty.openpty()
    with program("top", "--data", str(store.root), "--format", "parquet", stdout=theirs, stderr=subprocess.PIPE) as one:
        os.close(theirs)
        assert b"Parquet is nothing for a terminal; name a file with --output." in one.stderr.read()
    os.close(ours)
    assert 2 == one.returncode


@pytest.mark.parametrize(
    "code",
    [
        "import regstats.cli",
        *(
            f"from regstats.cli import main; main({arguments}, standalone_mode=False)"
            for arguments in (["--help"], ["adoption", "--help"], ["completion", "zsh"])
        ),
    ],
)
def test_help_is_quick(code):
    """Nothing that takes long to import is imported for it."""
    heavy = ["pandas", "duckdb", "pyarrow", "numpy", "plotly", "flask", "rich"]
    code += f"\nimport sys; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "[]" == done.stdout.splitlines()[-1]


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


@pytest.mark.parametrize("form", FORMATS)
def test_quarantine(run, store, form):
    """The reason, for people without the payload, for programs with it; Parquet has its bytes."""
    journalled(store, b"\xffgarbage")
    frame = Stats(store.root).quarantine()
    answer = answers(run("quarantine", "--format", form))
    if form in FOR_PEOPLE:
        assert [name for name in frame.columns if name != "body"] == cells_of(form, answer)[0]
        assert b"Not JSON" in answer
        return
    expected = frame if form == "parquet" else frame.assign(body="\ufffdgarbage")
    pd.testing.assert_frame_equal(expected, frame_of(form, answer, expected))


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


def test_report(run, store, tmp_path):
    """Where it was told to, in the words of now and of before."""
    journalled(store, envelope(make_event()))
    for option in ("--output", "-o", "--out"):
        result = run("report", option, "mine.html")
        assert f"Wrote {tmp_path / 'mine.html'}\n" == result.output
    assert (tmp_path / "mine.html").read_text().startswith("<!doctype html>")


def test_help_and_version(run):
    """What there is, and which one it is."""
    text = run("--help").output
    commands, metrics = text.split("Commands:\n")[1].split("Metrics:\n")
    assert [*METRICS] == [line.split()[0] for line in metrics.splitlines() if line[2:3].strip()]
    assert all(f"  {command} " in commands for command in main.commands if command not in METRICS)
    assert run("--version").output.startswith("regstats, version ")
