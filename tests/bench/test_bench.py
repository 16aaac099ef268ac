"""The benchmarks, short: that they run, and that what they compare is equal. How fast they are is not tested."""

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
def test_accounting():
    """Every pull that was made is counted, over few and over many dates."""
    script = Path(__file__).with_name("bench_accounting.py")
    command = [sys.executable, str(script), "--events", "20000", "--days", "2", "4"]
    lines = subprocess.run(command, capture_output=True, check=True, text=True).stdout.splitlines()
    header, _, *rows = [line.strip("| ").split(" | ") for line in lines if line.startswith("|")]
    assert [("2", "0"), ("4", "0")] == [(row[header.index("dates")], row[header.index("off")]) for row in rows]
