"""`regstats demo` as a user runs it, and reports, of notebooks too, in a real browser."""

import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest
from makers import envelope, make_event, make_push
from servers import stop, wait_until

from regstats import demo, sample
from regstats.errors import ConfigError
from regstats.stats import Stats

DEMO = ["regstats", "demo"]
IS_LONG = bool(os.environ.get("STRESS"))
OWN = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"


@pytest.fixture
def environment():
    """Without settings of this machine's user."""
    return {key: value for key, value in os.environ.items() if not key.startswith("REGSTATS_")}


@pytest.fixture
def counted():
    """What it says when it has sent everything."""
    sent = len(sample.deliveries())
    return f"{sent:,} deliveries were sent; {sent - 4:,} events are counted."  # 3 came twice, 1 is none


def test_the_demo_shows_everything(tmp_path, environment, chromium, counted):
    """Counts, cadence, activity, anomalies, and a report whose charts are drawn in a browser that has no network."""
    done = subprocess.run([*DEMO, "--once"], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)
    assert (0, "") == (done.returncode, done.stderr)
    assert counted in done.stdout
    assert all(word in done.stdout for word in ("Counts", "Cadence", "Activity", "Anomalies", "team/api", "pull_loop"))
    assert "(as of 2026-11-24 00:00 UTC)" in done.stdout
    for place in ("report.html", "data/demo"):
        assert str(tmp_path / place) in done.stdout
        assert (tmp_path / place).exists()
    page, console = chromium(tmp_path / "report.html")
    assert [] == console
    assert 6 == len(re.findall(r'<div id="chart-\w+" class="plotly-graph-div js-plotly-plot', page))
    assert page.count('class="main-svg"') >= 6
    assert page.count("<tr>") > 30
    chromium(tmp_path / "report.html", picture=tmp_path / "report.png")
    assert b"\x89PNG" == (tmp_path / "report.png").read_bytes()[:4]
    again = subprocess.run([*DEMO, "--once"], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert counted in again.stdout  # into the same store: nothing counts twice


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM] if IS_LONG else [signal.SIGINT])
def test_the_demo_serves_until_it_is_stopped(tmp_path, environment, how):
    """And leaves no process behind."""
    environment["PYTHONUNBUFFERED"] = "1"
    with subprocess.Popen(DEMO, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True) as process:
        lines = []
        for line in process.stdout:
            lines.append(line)
            if "Serving until" in line:
                break
        port = re.search(r"http://127\.0\.0\.1:(\d+)/events", "".join(lines))[1]
        process.send_signal(how)
        try:
            process.communicate(timeout=60)
        finally:
            process.kill()
        assert 0 == process.returncode
    left = subprocess.run(["pgrep", "-f", f"serve.*--port {port}"], capture_output=True, text=True)
    assert "" == left.stdout


@pytest.fixture
def report_of_names(tmp_path, environment, collector):
    """Makes a report of a store in which everything has a name that would like to be part of the page."""
    collector.start()
    for event in (make_event(repository=OWN, actor=OWN, user_agent=OWN), make_push(repository=OWN, tag=OWN, actor=OWN)):
        assert 204 == collector.post(envelope(event))
    collector.stop()

    def make(*options):
        command = ["regstats", "report", "--data", str(collector.data), "--out", str(tmp_path / "report.html")]
        done = subprocess.run([*command, *options], env=environment, capture_output=True, text=True, cwd=tmp_path)
        assert (0, "") == (done.returncode, done.stderr)
        return tmp_path / "report.html"

    return make


def test_names_in_the_report_do_nothing(report_of_names, chromium):
    """Whatever a client called itself and its repositories, the page is the page."""
    page, console = chromium(report_of_names())
    assert [] == console
    assert "<title>Registry report</title>" in page
    assert "owned" in page


def test_the_large_demo(tmp_path, capsys):
    """Made without HTTP; it says how many events, where, and what to ask; and never adds to what is there."""
    demo.grow(tmp_path / "large", events=8_000, length=6)
    shown = capsys.readouterr().out
    (stored,) = Stats(tmp_path / "large").sql("select count(*) from events").fetchall()[0]
    assert f"{stored:,} events in " in shown
    assert f"regstats top --limit 10 --data {tmp_path / 'large'}" in shown
    with pytest.raises(ConfigError, match="is not empty"):
        demo.grow(tmp_path / "large")


def test_the_large_demo_can_be_interrupted(tmp_path, environment):
    """Ctrl-C, for a terminal's whole group of processes, leaves a store that opens, and no process."""
    command = [*DEMO, "--size", "large", "--data", str(tmp_path / "large")]
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        while not list(tmp_path.glob("large/events/*")):
            time.sleep(0.1)
        os.killpg(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert 130 == process.returncode
    assert "Interrupted" in out
    assert "Traceback" not in err
    assert 0 < Stats(tmp_path / "large").sql("select count(*) from events").fetchall()[0][0]


@pytest.mark.slow
@pytest.mark.parametrize("notebook", ["01-overview", "07-incident", "09-sql"] if IS_LONG else ["07-incident"])
def test_names_in_a_notebook_do_nothing(report_of_names, chromium, notebook):
    """Frames, tables, a picker, relations, charts, as a report: its title is its own, and nothing was even tried."""
    page, console = chromium(report_of_names("--notebook", notebook))
    assert [] == console
    assert "<title>owned" not in page
    assert "owned" in page


@pytest.mark.slow
@pytest.mark.parametrize("notebook", ["incident"])
def test_a_notebook_as_a_report(tmp_path, environment, chromium, notebook):
    """Of the sample, in a browser that has no network: its charts are drawn, and the console is silent."""
    command = ["regstats", "report", "--notebook", notebook, "--data", str(sample.path()), "--out", "page.html"]
    environment["REGSTATS_NOW"] = "2026-11-24"
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert (0, "") == (done.returncode, done.stderr)
    page, console = chromium(tmp_path / "page.html")
    assert [] == console
    charts = set(re.findall(r'id="(chart-\d+)"', (tmp_path / "page.html").read_text()))
    assert len(charts) == page.count('class="plotly-graph-div js-plotly-plot"')
    assert page.count('class="main-svg"') >= len(charts) >= 1


@pytest.mark.slow
def test_a_report_that_is_interrupted(tmp_path, environment):
    """Leaves the one of before, no half file, and no kernel."""
    cell = {"cell_type": "code", "id": "a", "metadata": {}, "outputs": [], "execution_count": None}
    cell["source"] = "import pathlib, os, time; pathlib.Path('pid').write_text(str(os.getpid())); time.sleep(600)"
    notebook = {"cells": [cell], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    (tmp_path / "slow.ipynb").write_text(json.dumps(notebook))
    (tmp_path / "page.html").write_text("of before")
    command = ["regstats", "report", "--notebook", "slow.ipynb", "--data", str(sample.path()), "--out", "page.html"]
    process = subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.DEVNULL)
    kernel = wait_until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text(), "the cell")
    assert 130 == stop(process, signal.SIGINT)
    assert {"slow.ipynb", "page.html", "pid"} == {path.name for path in tmp_path.iterdir()}
    assert "of before" == (tmp_path / "page.html").read_text()
    wait_until(lambda: not Path(f"/proc/{kernel}").exists(), "the kernel to end")
