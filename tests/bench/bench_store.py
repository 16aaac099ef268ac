"""How fast are deliveries sealed, merged and made anew, and how many bytes does an event take?

    python tests/bench/bench_store.py [--deliveries 300000] [--rounds 5] [--output tests/bench/results/store.md]

The deliveries are those of the sample, over and over within one day, each time with times, event ids and request
ids of their own. They lie in a journal as the collector writes it; then the store is sealed, merged and rebuilt by one
process. CPU time is what counts: `seal` runs beside the collector.
"""

import argparse
import random
import re
import tempfile
import time
import uuid
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median

import msgspec
import reports

from regstats import sample
from regstats.compact import compact
from regstats.events import new_ids
from regstats.journal import Journal
from regstats.rebuild import contents, rebuild
from regstats.sealing import seal
from regstats.store import Store

DAY = sample.NOW - timedelta(days=1)
LATER = sample.NOW + timedelta(days=1)
NOTES = """\
Medians of {rounds} rounds of {deliveries:,} deliveries each; in parentheses the lowest and highest. A delivery is one
event of {size:,.0f} bytes on average, all on one date; {quarantined:,} of them are not understood. `seal` reads the
journal and writes deliveries and events to Parquet; nothing is stored yet that events could be repetitions of, but it
looks. Stored are both tables and the pulls, after merging: one part each."""


def deliveries(count):
    """So many deliveries of one day, in the order in which they come."""
    dice, ids = random.Random(1), new_ids()
    known = sample.deliveries()
    made = (_again(dice.choice(known), dice, next(ids)) for _ in range(count))
    return sorted(made, key=lambda delivery: delivery.received_at)


def _again(delivery, dice, name):
    """The delivery at another time of the day, with ids of its own."""
    at = DAY + timedelta(microseconds=dice.randrange(86_000_000_000))
    body = re.sub(
        rb'(?<="timestamp": ")[^"]+', f"{at:%Y-%m-%dT%H:%M:%S.%f}{dice.randrange(1000):03}Z".encode(), delivery.body
    )
    body = re.sub(
        rb'(?<="id": ")[^"]{36}', lambda _: str(uuid.UUID(int=dice.getrandbits(128), version=4)).encode(), body
    )
    return msgspec.structs.replace(delivery, delivery_id=name, received_at=at + timedelta(milliseconds=3), body=body)


@contextmanager
def timed(row, name):
    cpu, wall = time.process_time(), time.monotonic()
    yield
    row[f"{name}, CPU"], row[f"{name}, elapsed"] = time.process_time() - cpu, time.monotonic() - wall


def size(store, *tables):
    return sum(path.stat().st_size for table in tables for path in store.root.glob(f"{table}/*/*.parquet"))


def measure(folder, batch):
    """One round: seconds of each step, and bytes."""
    store, row = Store(folder, create=True), {}
    journal = Journal(store.journal)
    for start in range(0, len(batch), 500):
        journal.append(batch[start : start + 500])
    journal.rotate()
    row["journal"] = sum(path.stat().st_size for path in store.journal.iterdir())
    with timed(row, "seal"):
        seal(store)
    row["sealed"] = size(store, "deliveries", "events")
    with timed(row, "merge and account"):
        compact(store, LATER)
    live = [store.root / part.path for part in store.manifest().parts]
    row["merged"] = sum(path.stat().st_size for path in live)
    with timed(row, "rebuild"):
        rebuild(store, LATER)
    found = contents(store)
    if found.deliveries != len(batch) or found.events + found.quarantined != len(batch):
        raise RuntimeError(f"{len(batch)} deliveries became {found}.")
    return row, found


def report(options, machine, batch, rows, found):
    """All of it, as Markdown."""
    count, received = len(batch), sum(len(delivery.body) for delivery in batch)
    text = NOTES.format(
        rounds=options.rounds, deliveries=count, size=received / count, quarantined=found.quarantined
    )  # fmt: skip
    rates = [
        [name, *(reports.spread([count / row[f"{name}, {kind}"] for row in rows]) for kind in ("CPU", "elapsed"))]
        for name in ("seal", "merge and account", "rebuild")
    ]
    sizes = [["as received", f"{received / count:,.0f}"]]
    sizes += [[name, reports.spread([row[name] / count for row in rows])] for name in ("journal", "sealed", "merged")]
    reached = median(count / row["seal, CPU"] for row in rows), median(row["merged"] / count for row in rows)
    targets = [
        ["sealed, events a second and core", "50,000 or more", f"{reached[0]:,.0f}", reports.met(reached[0] >= 50_000)],
        ["stored, bytes per event", "150 or less", f"{reached[1]:,.0f}", reports.met(reached[1] <= 150)],
    ]
    return "\n\n".join([
        f"# The store\n\n{datetime.now(UTC):%Y-%m-%d}. {text}",
        machine,
        "## Targets\n\n" + reports.table(["what", "target", "measured", "result"], targets),
        "## Events a second\n\n" + reports.table(["step", "of CPU time", "elapsed"], rates),
        "## Bytes per event\n\n" + reports.table(["where", "bytes"], sizes),
    ]) + "\n"  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--deliveries", type=int, default=300_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--output", type=Path, help="the report goes there, too")
    options = parser.parse_args()
    machine = reports.machine("duckdb", "pyarrow", "msgspec")
    batch = deliveries(options.deliveries)
    rows = []
    for _ in range(options.rounds):
        with tempfile.TemporaryDirectory() as folder:
            row, found = measure(Path(folder), batch)
        rows.append(row)
    reports.tell(report(options, machine, batch, rows, found), options.output)


if __name__ == "__main__":
    main()
