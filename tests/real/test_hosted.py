"""What `regstats config systemd` prints, as systemd reads it, and the collector as the unit runs it."""

import json
import re
import shlex
import subprocess
import sys

import pytest
from engines import needs, run
from servers import Collector, listens, stop, wait_until


def printed(*options):
    return run(sys.executable, "-m", "regstats", "config", "systemd", *map(str, options))


@pytest.mark.parametrize("options", [(), ("--data", "/srv/store")])
def test_systemd_understands_the_unit_and_finds_it_safe(tmp_path, options):
    """No warning, and an exposure of less than 2 out of 10."""
    needs("systemd-analyze")
    file = tmp_path / "regstats.service"
    file.write_text(printed(*options))
    verified = subprocess.run(["systemd-analyze", "verify", "--man=no", file], capture_output=True, text=True)
    assert (0, "", "") == (verified.returncode, verified.stdout, verified.stderr)
    rated = ["systemd-analyze", "security", "--offline=yes", "--no-pager", "--threshold=20", file]
    safe = subprocess.run(rated, capture_output=True, text=True)
    assert 0 == safe.returncode, safe.stdout


def test_the_collector_needs_no_call_that_the_unit_forbids(tmp_path):
    """It is started as the unit says, takes a delivery, shows a page, and stops."""
    needs("systemd-analyze", "strace")
    data, calls = tmp_path / "store", tmp_path / "calls"
    unit = printed("--data", data)
    collector = Collector(data, tmp_path / "log")
    (tmp_path / "regstats.toml").write_text(f'port = {collector.port}\ntoken = "{collector.token}"\n')
    (command,) = re.findall("^ExecStart=(.*)", unit, re.MULTILINE)
    command = [word.replace("${CREDENTIALS_DIRECTORY}", str(tmp_path)) for word in shlex.split(command)]
    process = subprocess.Popen(["strace", "-f", "-qq", "-c", "-o", calls, *command], stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: listens(collector.port), "the collector")
        assert 204 == collector.post('{"events": []}')
        assert "ok" == json.loads(collector.get("/healthz"))["status"]
        assert "<html" in collector.get("/")
    finally:
        subprocess.run(["pkill", "--signal", "TERM", "--parent", str(process.pid)], check=True)
        assert 0 == stop(process)
    used = set(re.findall(r" ([a-z]\w+)$", calls.read_text(), re.MULTILINE)) - {"total", "syscall"}
    assert {"openat", "fdatasync", "accept4"} <= used
    assert set() == used - allowed(unit)


def allowed(unit):
    """The calls that are left by the filters of a unit."""
    filters = re.findall("^SystemCallFilter=(~?)(.*)", unit, re.MULTILINE)
    assert ["", "~"] == [sign for sign, _ in filters]
    (_, these), (_, without) = filters
    return members(these) - members(without)


def members(name):
    """The calls of a set, which may be made of others."""
    found = set()
    for line in run("systemd-analyze", "syscall-filter", name).splitlines()[1:]:
        word = line.strip()
        if word.startswith("@"):
            found |= members(word)
        elif word and not word.startswith("#"):
            found.add(word)
    return found
