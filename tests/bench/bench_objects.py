"""Questions about the last 30 days of two years: the same store on disk and in object storage on loopback.

    python tests/bench/bench_objects.py [--events 50000000] [--days 730] [--rounds 5] [--store DIRECTORY]
        [--output tests/bench/results/objects.md]

Makes a store with `traffic.py`, or takes one that is there, and copies it. Each place is asked by a process of its own,
in turns: "first" is the first answer of a process, "again" the median of the next ones. The storage is what
`tests/buckets.py` finds: `$TEST_S3`, or moto.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).parents[1]))

import buckets
import msgspec
import obstore
import reports

from regstats.metrics import METRICS
from regstats.store import Store

TARGET = 3.0
REPORT = """# Object storage

Measured by `tests/bench/bench_objects.py`: {events:,} events on {dates} dates, {megabytes:,} MB in object storage
({server}), {rounds} processes for each place in turns, {again} answers of each to each question about the last 30 days.
Seconds, medians of the processes; in parentheses the lowest and highest.

## Seconds

{table}

Target: at most {target:g} times as long as on disk, again: {result}.

    {where}
"""
AGAIN = 5
ASK = """
import json, sys, time
from regstats.stats import Stats
import traffic
stats, times = Stats(sys.argv[1], now=traffic.NOW), {}
for name in sys.argv[3:]:
    window = {"days": 30} if name == "unused" else {"since": "30d"}
    for _ in range(int(sys.argv[2])):
        began = time.perf_counter()
        rows = len(getattr(stats, name)(**window))
        times.setdefault(name, []).append(time.perf_counter() - began)
    times[name].append(rows)
print(json.dumps(times))
"""


def ask(place):
    """Seconds of each answer to each question, and how many rows the last one had."""
    command = [sys.executable, "-c", ASK, place, str(AGAIN), *METRICS]
    here = {"PYTHONPATH": os.pathsep.join(map(str, [Path(__file__).parent, *Path(__file__).parents[1:3]]))}
    return json.loads(subprocess.run(command, capture_output=True, check=True, text=True, env=os.environ | here).stdout)


def copy(store, place, endpoint):
    """Puts all of it there; how many bytes."""
    target = obstore.store.from_url(place, endpoint=endpoint, client_options={"allow_http": True})
    parts = store.manifest().parts
    for part in parts:
        obstore.put(target, part.path, Path(store.url_of(part)))
    obstore.put(target, "manifest.json", msgspec.json.encode(store.manifest()))
    return sum(Path(store.url_of(part)).stat().st_size for part in parts)


def rows_of(answers):
    """A row for each question, and the largest ratio."""
    rows, ratios = [], []
    for name in METRICS:
        found = {}
        for place, processes in answers.items():
            if len({one[name][-1] for several in answers.values() for one in several}) > 1:
                raise RuntimeError(f"{name} has other rows in object storage.")
            found[place] = ([one[name][0] for one in processes], [median(one[name][1:-1]) for one in processes])
        ratios.append(median(found["storage"][1]) / median(found["disk"][1]))
        cells = [reports.spread(found[place][which], 3) for which in (0, 1) for place in ("disk", "storage")]
        rows.append((name, *cells, f"{ratios[-1]:.2f} x"))
    return rows, max(ratios)


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--events", type=int, default=50_000_000)
    parser.add_argument("--days", type=int, default=730)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--store", type=Path)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args(argv)
    where = reports.machine("duckdb", "pyarrow", "obstore")
    with tempfile.TemporaryDirectory() as name, ExitStack() as running:
        store = reports.store_of(options, Path(name))
        bucket = running.enter_context(buckets.running(Path(name) / "bucket.log"))
        os.environ.update(bucket.environment | {"REGSTATS_STATE": f"{name}/state"})
        places = {"disk": str(store.root), "storage": bucket.place()}
        size = copy(store, places["storage"], bucket.endpoint)
        answers = {"disk": [], "storage": []}
        for number in range(options.rounds):
            for place in reports.turned(list(places), number):
                answers[place].append(ask(places[place]))
        rows, worst = rows_of(answers)
        told = reports.facts(Store(places["disk"]))
    header = ["question", "disk, first", "storage, first", "disk, again", "storage, again", "to disk, again"]
    told |= {"megabytes": size // 10**6, "server": os.environ.get("TEST_S3_NAME", "moto"), "where": where}
    told |= {"table": reports.table(header, rows), "target": TARGET, "rounds": options.rounds, "again": AGAIN}
    reports.tell(REPORT.format(result=reports.met(worst <= TARGET), **told), options.output)


if __name__ == "__main__":
    main()
