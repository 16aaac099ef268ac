"""How long does a report take, of the sample and of a store with a million events?

    python tests/bench/bench_report.py [--rounds 5] [--events 1000000] [--days 365] [--formats html]
        [--store DIRECTORY] [--output tests/bench/results/report.md]

Makes a store with `traffic.py`, or takes one that is there. Each report is written by `regstats report`, in a process
of its own, and by a process that has written one already.
"""

import argparse
import os
import platform
import re
import shlex
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from statistics import median

import traffic

from regstats import report
from regstats.compact import compact
from regstats.stats import Stats
from regstats.store import Store

SAMPLE = Path(__file__).parents[2] / "data/sample"
WINDOWS = ("7d", "30d", None)
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


def measure(store, rounds, forms, folder):
    """Of each window and form: seconds of the command, seconds again, bytes."""
    stats, found = Stats(store, now=traffic.NOW), {}
    report.render(stats)
    for since in WINDOWS:
        for form in forms:
            times = [again(stats, since, form) for _ in range(rounds)]
            commands = [command(store, since, form, folder) for _ in range(rounds)]
            found[since, form] = commands, [seconds for seconds, _ in times], times[0][1]
    return found


def told(facts, rounds, machine, found):
    """The results as Markdown."""
    worst = max(median(commands) for commands, _, _ in found["a million"].values())
    sample = max(median(times) for _, times, _ in found["the sample"].values())
    targets = [
        ["slowest command, a million events", f"< {OF_MANY:g} s", f"{worst:.2f} s", _met(worst < OF_MANY)],
        ["slowest again, the sample", f"< {OF_SAMPLE:g} s", f"{sample:.2f} s", _met(sample < OF_SAMPLE)],
    ]
    rows = [
        [store, since or "all", form, _spread(commands), _spread(times), f"{size / 1e6:.2f}"]
        for store, of_store in found.items()
        for (since, form), (commands, times, size) in of_store.items()
    ]
    return (
        "\n\n".join(
            [
                "# Reports",
                f"{time.strftime('%Y-%m-%d')}. {NOTES.format(**facts, rounds=rounds)}",
                machine,
                "## Targets",
                _table(["what", "target", "measured", "result"], targets),
                "## Seconds",
                _table(["store", "window", "format", "command", "again", "MB"], rows),
            ]
        )
        + "\n"
    )


def _met(is_met):
    return "met" if is_met else "**not met**"


def _spread(values):
    return f"{median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def _table(header, rows):
    return "\n".join("| " + " | ".join(row) + " |" for row in [header, ["---"] * len(header), *rows])


def _machine():
    model = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    versions = ", ".join(f"{name} {version(name)}" for name in ("regstats", "duckdb", "pandas", "pyarrow", "plotly"))
    return (
        f"{os.cpu_count()} cores ({model[1] if model else platform.machine()}), Linux {platform.release()}, "
        f"Python {platform.python_version()}, {versions}; load average {os.getloadavg()[1]:.1f} before\n"
        f"python tests/bench/bench_report.py {shlex.join(sys.argv[1:])}"
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--days", type=int, default=365)
    parser.add_argument("--formats", nargs="+", choices=FORMS, default=FORMS)
    parser.add_argument("--store", type=Path, help="one that traffic.py has made; else one is made")
    parser.add_argument("--output", type=Path, help="the report goes there, too")
    options = parser.parse_args()
    machine = _machine()
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        store = Store(options.store) if options.store else traffic.write(folder / "store", options.events, options.days)
        compact(store, traffic.NOW)
        parts = [part for part in store.manifest().parts if part.table == "events"]
        facts = {"events": sum(part.rows for part in parts), "dates": len({part.date for part in parts})}
        stores = {"a million": store.root, "the sample": SAMPLE}
        found = {name: measure(root, options.rounds, options.formats, folder) for name, root in stores.items()}
    text = told(facts, options.rounds, machine, found)
    print(text)
    if options.output:
        options.output.write_text(text)


if __name__ == "__main__":
    main()
