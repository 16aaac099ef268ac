"""The benchmarks, short: that they run, and that what they compare is equal. How fast they are is not tested."""

import os
import shutil
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import bench_queries
import bench_web
import peers
import pytest
import traffic

from regstats import store
from regstats.backends import duck
from regstats.compact import compact
from regstats.metrics import METRICS

FOLDER = Path(__file__).parent
MISSING_FOR_WEB = [program for program in ("ab", "chromium", "chromedriver") if shutil.which(program) is None]
MISSING_FOR_IMAGES = [program for program in ("dockerd", "docker-registry", "skopeo") if shutil.which(program) is None]
seldom = pytest.mark.skipif(not os.environ.get("STRESS"), reason="takes long: with STRESS=1")
"""Of what pages, reports and metrics say there are tests enough: these only with the long ones."""
MISSING = [program for program in ("ab", "nginx", "docker-registry") if shutil.which(program) is None]


@pytest.mark.slow
def test_accounting():
    """Every pull that was made is counted, over few and over many dates."""
    command = [sys.executable, str(FOLDER / "bench_accounting.py"), "--events", "20000", "--days", "2", "4"]
    lines = subprocess.run(command, capture_output=True, check=True, text=True).stdout.splitlines()
    header, _, *rows = [line.strip("| ").split(" | ") for line in lines if line.startswith("|")]
    assert [("2", "0"), ("4", "0")] == [(row[header.index("dates")], row[header.index("off")]) for row in rows]


@pytest.mark.slow
def test_store(tmp_path):
    """Every delivery is there after each step, and both tables have their rows."""
    command = [sys.executable, str(FOLDER / "bench_store.py"), "--deliveries", "3000", "--rounds", "1"]
    subprocess.run([*command, "--output", str(tmp_path / "report.md")], check=True, capture_output=True)
    tables = dict(_tables((tmp_path / "report.md").read_text()))
    assert 2 == len(tables["Targets"])
    assert ["seal", "merge and account", "rebuild"] == [row["step"] for row in tables["Events a second"]]
    assert ["as received", "journal", "sealed", "merged"] == [row["where"] for row in tables["Bytes per event"]]


@pytest.mark.slow
@seldom
def test_fleet(tmp_path):
    """All that the registries sent is there, once; else it fails."""
    command = [sys.executable, str(FOLDER / "bench_fleet.py"), "--output", str(tmp_path / "report.md")]
    command += ["--collectors", "2", "--registries", "4", "--rates", "40", "--seconds", "3"]
    subprocess.run(command, check=True, capture_output=True)
    ((_, rows),) = _tables((tmp_path / "report.md").read_text())
    assert ["40"] == [row["events a second"] for row in rows]


@pytest.mark.slow
@seldom
def test_objects(tmp_path):
    """Every question has the same rows in both places; else it fails."""
    command = [sys.executable, str(FOLDER / "bench_objects.py"), "--output", str(tmp_path / "report.md")]
    subprocess.run([*command, "--events", "20000", "--days", "10", "--rounds", "1"], check=True, capture_output=True)
    ((_, rows),) = _tables((tmp_path / "report.md").read_text())
    assert list(METRICS) == [row["question"] for row in rows]


@pytest.mark.slow
@seldom
def test_reports(tmp_path):
    """Of both stores, and every window that was asked for."""
    command = [sys.executable, str(FOLDER / "bench_report.py"), "--output", str(tmp_path / "report.md")]
    command += ["--events", "4000", "--days", "40", "--rounds", "1", "--formats", "md", "--windows", "7d", "all"]
    subprocess.run(command, check=True, capture_output=True)
    tables = dict(_tables((tmp_path / "report.md").read_text()))
    assert 2 == len(tables["Targets"])
    assert 2 * 2 == len({(row["store"], row["window"]) for row in tables["Seconds"]})


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("webhook") is None, reason="webhook not installed")
def test_deploy(tmp_path):
    """Every push runs its command, of each server."""
    command = [sys.executable, str(FOLDER / "bench_deploy.py"), "--output", str(tmp_path / "report.md")]
    subprocess.run([*command, "--rounds", "1", "--events", "2000", "--days", "2"], check=True, capture_output=True)
    assert 4 == (tmp_path / "report.md").read_text().count(" to ") - 2


@pytest.mark.slow
@pytest.mark.skipif(bool(MISSING_FOR_IMAGES), reason=f"{' and '.join(MISSING_FOR_IMAGES)} not installed")
def test_images(tmp_path):
    """Each way gets all images to a registry."""
    command = [sys.executable, str(FOLDER / "bench_images.py"), "--output", str(tmp_path / "report.md")]
    subprocess.run([*command, "--rounds", "1", "--images", "2", "--tags", "9"], check=True, capture_output=True)
    tables = dict(_tables((tmp_path / "report.md").read_text()))
    assert [3, 3, 3] == [len(rows) for rows in tables.values()]


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("taskset") is None, reason="taskset not installed")
def test_history(tmp_path):
    """Every form of log is read, and payloads; both tables have their rows."""
    command = [sys.executable, str(FOLDER / "bench_history.py"), "--output", str(tmp_path / "report.md")]
    subprocess.run([*command, "--rounds", "1", "--requests", "2000"], check=True, capture_output=True)
    tables = dict(_tables((tmp_path / "report.md").read_text()))
    ways = {row["way"]: row["lines"] for row in tables["Ways"]}
    assert 3 * int(ways["regstats, json"].replace(",", "")) == int(ways["regstats, registry"].replace(",", ""))
    assert 6 <= len(tables["Targets"])
    assert "1,000" == ways["regstats, payloads"]


@pytest.mark.slow
@seldom
def test_queries(tmp_path):
    """All that are asked, in a process each, give the same answers, of all and of 30 days; every table has its rows."""
    command = [sys.executable, str(FOLDER / "bench_queries.py"), "--output", str(tmp_path / "report.md"), "--warm"]
    command += ["--events", "4000", "--days", "40", "--rounds", "1", "--questions", "cadence"]
    subprocess.run([*command, "--folder", str(tmp_path)], check=True, capture_output=True)
    tables = dict(_tables((tmp_path / "report.md").read_text()))
    assert 14 == len(tables["Targets"])
    for window in ("all", "30 days"):
        for when in ("again", "first"):
            assert ["cadence"] == [row["question"] for row in tables[f"{window}, {when}"]]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """What all peers are given, of a store."""
    folder = tmp_path_factory.mktemp("peers")
    store = traffic.write(folder / "store", 20_000, 40, repositories=50)
    compact(store, traffic.NOW)
    made = peers.Data(store.root, folder)
    bench_queries.prepare(made)
    return made


@pytest.mark.slow
@pytest.mark.parametrize("days", [None, 30])
def test_peers(data, days, monkeypatch):
    """Every peer that is asked a question counts what regstats counts."""
    since, window = peers.NOW - timedelta(days) if days else None, "30 days" if days else "all"
    ours = _answers(peers.Regstats(data, since), bench_queries.compared(window))
    assert len(ours) > 8
    for peer in (peers.Pandas, peers.Polars, peers.SQLite):
        assert _sums(ours) == _sums(_answers(peer(data, since), ours)), peer
    for module, name in ((store, "read_parquet"), (duck, "connect")):  # which the peer of DuckDB changes
        monkeypatch.setattr(module, name, getattr(module, name))
    same = _answers(peers.DuckDB(data, since), ours)
    assert _sums(ours) == _sums(same)
    assert {question: bench_queries._hash(frame) for question, frame in ours.items()} == {
        question: bench_queries._hash(frame) for question, frame in same.items()
    }


def _answers(asked, questions):
    return {question: asked.ask(question) for question in questions}


def _sums(answers):
    return {question: bench_queries.sums(frame, question) for question, frame in answers.items()}


@pytest.mark.slow
@pytest.mark.real
@pytest.mark.skipif(bool(MISSING), reason=f"{' and '.join(MISSING)} not installed")
def test_collector(tmp_path):
    """Every server stores what it has answered, alone and for a real registry; and every table has its rows."""
    command = [sys.executable, str(FOLDER / "bench_collector.py"), "--output", str(tmp_path / "report.md")]
    command += ["--rounds", "1", "--requests", "60", "--connections", "1", "16", "--memory", "100", "--drain", "20"]
    subprocess.run([*command, "--drain-rounds", "1", "--folder", str(tmp_path)], check=True, capture_output=True)
    tables = dict(_tables((tmp_path / "report.md").read_text()))
    assert [170] * 6 == [int(row["stored"]) for row in tables["Kept"]]
    assert [170] * 6 == [int(row["answered 204"]) for row in tables["Kept"]]
    assert list(range(0, 101, 10)) == [int(row["deliveries"]) for row in tables["Memory, MB"]]
    assert 6 == len(tables["Targets"])
    assert 7 == len(tables["Deliveries a second"]) == len(tables["p50, ms"]) == len(tables["p99, ms"])
    assert 3 == len(tables["The queue of a registry, 20 events"])


@pytest.mark.slow
@pytest.mark.real
@seldom
@pytest.mark.skipif(bool(MISSING_FOR_WEB), reason=f"{' and '.join(MISSING_FOR_WEB)} not installed")
def test_web(tmp_path):
    """All questions are answered, alone and beside deliveries, all charts are drawn, and every table has its rows."""
    command = [sys.executable, str(FOLDER / "bench_web.py"), "--output", str(tmp_path / "report.md")]
    command += ["--rounds", "1", "--events", "4000", "--days", "40", "--requests", "60", "--questions", "2"]
    subprocess.run([*command, "--loads", "1", "--folder", str(tmp_path)], check=True, capture_output=True)
    tables = dict(_tables((tmp_path / "report.md").read_text()))
    assert 4 == len(tables["Targets"])
    assert ["the same question", "mix", *bench_web.ALL] == [row["question"] for row in tables["Answers"]]
    beside = [(row["layout"], row["beside it"]) for row in tables["The collector beside it"]]
    assert [(layout, load) for layout in bench_web.LAYOUTS for load in bench_web.LOADS] == beside
    assert all(row["drawn"] for row in tables["The overview, ms"])
    assert 1 == len(tables["Memory, MB resident"])


def _tables(report):
    """Title and rows of each section that has a table."""
    for section in report.split("\n## ")[1:]:
        title, *lines = section.splitlines()
        header, _, *rows = [line.strip("| ").split(" | ") for line in lines if line.startswith("|")]
        yield title, [dict(zip(header, row, strict=True)) for row in rows]
