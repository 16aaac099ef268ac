"""`regstats demo` as a user runs it, and its report in a real browser."""

import os
import re
import signal
import subprocess

import pytest
from makers import envelope, make_event, make_push

DEMO = ["regstats", "demo"]
OWN = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"


@pytest.fixture
def environment():
    """Without settings of this machine's user."""
    return {key: value for key, value in os.environ.items() if not key.startswith("REGSTATS_")}


def test_the_demo_shows_everything(tmp_path, environment, chromium):
    """Counts, cadence, activity, and a report whose charts are drawn in a browser that has no network."""
    done = subprocess.run([*DEMO, "--once"], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)
    assert (0, "") == (done.returncode, done.stderr)
    assert "2,210 deliveries were sent; 2,206 events are counted." in done.stdout
    assert all(word in done.stdout for word in ("Counts", "Cadence", "Activity", "team/api", "alice", "overdue"))
    for place in ("report.html", "data/demo"):
        assert str(tmp_path / place) in done.stdout
        assert (tmp_path / place).exists()
    page, console = chromium(tmp_path / "report.html")
    assert [] == console
    assert 3 == len(re.findall(r'<div id="chart-\w+" class="plotly-graph-div js-plotly-plot', page))
    assert page.count('class="main-svg"') >= 3
    assert page.count("<tr>") > 30
    chromium(tmp_path / "report.html", picture=tmp_path / "report.png")
    assert b"\x89PNG" == (tmp_path / "report.png").read_bytes()[:4]


def test_the_demo_can_be_repeated(tmp_path, environment):
    """Into the same store: nothing counts twice."""
    for _ in range(2):
        done = subprocess.run([*DEMO, "--once"], cwd=tmp_path, env=environment, capture_output=True, timeout=120)
        assert b"2,206 events are counted" in done.stdout


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
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


def test_names_in_the_report_do_nothing(tmp_path, environment, collector, chromium):
    """Whatever a client called itself and its repositories, the page is the page."""
    collector.start()
    for event in (make_event(repository=OWN, actor=OWN, user_agent=OWN), make_push(repository=OWN, tag=OWN, actor=OWN)):
        assert 204 == collector.post(envelope(event))
    collector.stop()
    report = ["regstats", "report", "--data", str(collector.data), "--out", str(tmp_path / "report.html")]
    subprocess.run(report, env=environment, check=True, capture_output=True)
    page, console = chromium(tmp_path / "report.html")
    assert [] == console
    assert "<title>Registry report</title>" in page
    assert "owned" in page
