"""How long does a report take, of the sample and of a store with a million events?

    python tests/bench/bench_report.py [--rounds 5] [--events 1000000] [--days 365] [--windows 7d]
        [--formats html] [--store DIRECTORY] [--output tests/bench/results/report.md]

Makes a store with `traffic.py`, or takes one that is there. Each report is written by `regstats report`, in a process
of its own, and by a process that has written one already.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import reports
import traffic

from regstats import report
from regstats.stats import Stats

SAMPLE = Path(__file__).parents[2] / "data/sample"
WINDOWS = ("7d", "30d", "all")
FORMS = ("html", "md", "json", "csv")
OF_MANY, OF_SAMPLE = 3.0, 1.0  # targets: a command on a million events; the sample, when all is imported
NOTES = """\
Reports of {events:,} events on {dates} dates, and of the sample. A *command* is `regstats report` from its start to its
end, imports included; *again* is a process that has written one before. Medians of {rounds}; in parentheses the lowest
and highest."""


def command(store, since, form, folder):
    """Seconds that the command takes."""
    words = [sys.executable, "-m", "regstats", "report", "--data", str(store), "--format", form]
    words += ["--output", str(folder / "report"), *(["--since", since] if since else [])]
    started = time.perf_counter()
    subprocess.run(words, check=True, capture_output=True, env=os.environ | {"REGSTATS_NOW": traffic.NOW.isoformat()})
    return time.perf_counter() - started


def again(stats, since, form):
    """Seconds that another report takes, and how many bytes it has."""
    started = time.perf_counter()
    size = len(report.render(stats, since=since, form=form))
    return time.perf_counter() - started, size


def measure(store, rounds, windows, forms, folder):
    """Of each window and form: seconds of the command, seconds again, bytes."""
    stats, found = Stats(store, now=traffic.NOW), {}
    report.render(stats)
    for window in windows:
        since = None if window == "all" else window
        for form in forms:
            times = [again(stats, since, form) for _ in range(rounds)]
            commands = [command(store, since, form, folder) for _ in range(rounds)]
            found[window, form] = commands, [seconds for seconds, _ in times], times[0][1]
    return found


def told(facts, rounds, machine, found):
    """The results as Markdown."""
    worst = max(median(commands) for commands, _, _ in found["a million"].values())
    sample = max(median(times) for _, times, _ in found["the sample"].values())
    targets = [
        ["slowest command, a million events", f"< {OF_MANY:g} s", f"{worst:.2f} s", reports.met(worst < OF_MANY)],
        ["slowest again, the sample", f"< {OF_SAMPLE:g} s", f"{sample:.2f} s", reports.met(sample < OF_SAMPLE)],
    ]
    rows = [
        [store, window, form, reports.spread(commands, 2), reports.spread(times, 2), f"{size / 1e6:.2f}"]
        for store, of_store in found.items()
        for (window, form), (commands, times, size) in of_store.items()
    ]
    return (
        "\n\n".join(
            [
                "# Reports",
                f"{time.strftime('%Y-%m-%d')}. {NOTES.format(**facts, rounds=rounds)}",
                machine,
                "## Targets",
                reports.table(["what", "target", "measured", "result"], targets),
                "## Seconds",
                reports.table(["store", "window", "format", "command", "again", "MB"], rows),
            ]
        )
        + "\n"
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--days", type=int, default=365)
    parser.add_argument("--windows", nargs="+", choices=WINDOWS, default=WINDOWS)
    parser.add_argument("--formats", nargs="+", choices=FORMS, default=FORMS)
    parser.add_argument("--store", type=Path, help="one that traffic.py has made; else one is made")
    parser.add_argument("--output", type=Path, help="the report goes there, too")
    options = parser.parse_args()
    machine = reports.machine("duckdb", "pandas", "pyarrow", "plotly")
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        store = reports.store_of(options, folder)
        facts = reports.facts(store)
        stores = {"a million": store.root, "the sample": SAMPLE}
        found = {
            name: measure(root, options.rounds, options.windows, options.formats, folder)
            for name, root in stores.items()
        }
    reports.tell(told(facts, options.rounds, machine, found), options.output)


if __name__ == "__main__":
    main()
