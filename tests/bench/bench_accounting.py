"""How long does the accounting of pulls take, and how much memory?

    python tests/bench/bench_accounting.py [--events 10000000] [--days 10 100]

Writes the same number of events over few and over many dates, accounts for every date as the collector does, in a
process of its own, and tells time, peak memory, and how far the pulls are off those that were made. Beside them: what
the two naive counts say.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import reports
import traffic

from regstats.compact import account
from regstats.stats import Stats
from regstats.store import Store

LATER = datetime(2026, 12, 31, tzinfo=UTC) + timedelta(days=365)


def accounted(root):
    """Accounts for everything; seconds and peak memory of this process."""
    store, start = Store(root), time.monotonic()
    dates = account(store, LATER)
    seconds = time.monotonic() - start
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    peak = int(status["VmHWM"].split()[0])  # not ru_maxrss, which a process inherits from the one that started it
    return {"dates": dates, "seconds": round(seconds, 1), "peak_megabytes": round(peak / 1024)}


def in_a_process(root):
    command = [sys.executable, __file__, "--account", str(root)]
    return json.loads(subprocess.run(command, capture_output=True, check=True, text=True).stdout)


def measure(folder, events, days):
    """One row of the result."""
    store = traffic.write(folder / f"{days}-days", events, days)
    written = sum(part.rows for part in store.manifest().parts)
    row = {"events": written} | in_a_process(store.root)
    row["events_per_second"] = round(written / row["seconds"])
    stats, query = Stats(store.root), "select count(*) from events where action = 'pull'"
    start = time.monotonic()
    counted = stats.pulls(interval="total")[["pulls", "version_checks"]].iloc[0].to_dict()
    row["seconds_to_count"] = round(time.monotonic() - start, 2)
    expected = traffic.truth(store)
    row |= {
        "pulls": counted["pulls"],
        "off": max(abs(counted[name] - expected[name]) / expected[name] for name in expected),
    }
    row["pull_events"] = stats.sql(query).fetchall()[0][0]
    row["tagged_manifest_gets"] = stats.sql(f"{query} and tag is not null and method = 'GET'").fetchall()[0][0]
    return row


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--events", type=int, default=10_000_000)
    parser.add_argument("--days", type=int, nargs="+", default=[10, 100])
    parser.add_argument("--account", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.account:
        print(json.dumps(accounted(options.account)))
        return
    machine = reports.machine("duckdb", "pyarrow")
    with tempfile.TemporaryDirectory() as folder:
        rows = [measure(Path(folder), options.events, days) for days in options.days]
    print(f"{machine}\n")
    cells = [[f"{value:,}" if isinstance(value, int) else f"{value:.4g}" for value in row.values()] for row in rows]
    print(reports.table(list(rows[0]), cells))


if __name__ == "__main__":
    main()
