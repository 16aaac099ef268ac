"""What the reports of all benchmarks have: tables, medians, and where it was measured. And the stores they are of."""

import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from statistics import median

import traffic

from regstats.compact import compact
from regstats.store import Store


def table(header, rows):
    return "\n".join("| " + " | ".join(row) + " |" for row in [header, ["---"] * len(header), *rows])


def met(is_met):
    return "met" if is_met else "**not met**"


def spread(values, digits=0):
    """The median, and in parentheses the lowest and highest."""
    return f"{median(values):,.{digits}f} ({min(values):,.{digits}f} to {max(values):,.{digits}f})"


def turned(items, number):
    """So that none is always first."""
    number %= len(items)
    return items[number:] + items[:number]


def machine(*packages, place="", more=(), programs=()):
    """Where, with what, and how it was measured: versions of packages, and of each `(program, flag)` that is there."""
    model = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    python = f"Python {platform.python_version()} ({_whose_python()})"
    versions = [python, *(f"{name} {version(name)}" for name in ("regstats", *packages))]
    versions += [*more, *(_of_program(*program) for program in programs if shutil.which(program[0]))]
    return (
        f"{os.cpu_count()} cores ({model[1] if model else platform.machine()}), {place}Linux {platform.release()}, "
        f"{', '.join(versions)}; load average {os.getloadavg()[1]:.1f} before\n"
        f"python tests/bench/{Path(sys.argv[0]).name} {shlex.join(sys.argv[1:])}"
    )


def _whose_python():
    """A distribution builds it with profiles, which makes it an eighth quicker than `configure; make` does."""
    return "the distribution's" if sys.base_prefix == "/usr" else "built from source"


def _of_program(name, flag):
    return f"{name} {re.search(r'[0-9]+[.][0-9.]+', said(name, flag))[0]}"


def said(*command):
    """On stdout and stderr."""
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return done.stdout + done.stderr


def tell(text, output):
    """Shows a report, and writes it where `--output` says, if it says anything."""
    print(text)
    if output:
        output.write_text(text)


def store_of(options, folder):
    """The store that was named, or one that is made in a folder; accounted for."""
    store = Store(options.store) if options.store else traffic.write(folder / "store", options.events, options.days)
    compact(store, traffic.NOW)
    return store


def facts(store):
    """How many events a store has, and on how many dates."""
    parts = [part for part in store.manifest().parts if part.table == "events"]
    return {"events": sum(part.rows for part in parts), "dates": len({part.date for part in parts})}
