"""How many deliveries does the collector take, how quickly, and in how much memory?

    python tests/bench/bench_collector.py [--rounds 5] [--requests 2000] [--memory 1000000] [--drain 2000]
        [--folder DIRECTORY] [--output tests/bench/results/collector.md]

Compares `regstats serve` with the same application under gunicorn, with what one would write instead, and with what
bounds it: a bare loop, the disk, and nginx storing nothing. Every delivery comes over a new connection, as registries
send them, and is on disk before it is answered. The servers run one at a time, all of them in every round; what each
has stored is counted. `--memory` sends so many different deliveries and looks at the processes; `--drain` lets the
queue of a real registry drain. Needs ab, nginx and docker-registry.
"""

import argparse
import os
import sqlite3
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import drain
import reports
import subjects
from load import ab, send
from subjects import BARE, LOGGED, SAME_APP, SERVE, WITH_SQLITE

CONNECTIONS = [1, 8, 16, 64]
DISK = "fdatasync of 1,100 bytes, one thread"
NOTES = """\
Medians of {rounds} rounds of {requests:,} deliveries each; in parentheses the lowest and highest. Each delivery is an
envelope of 1,050 bytes with a token, over a TCP connection of its own, sent by `ab` on the same machine. `ab` repeats
one envelope; that makes taking it no quicker, but sealing it, which goes on beside that. gunicorn has one worker
process, like `regstats serve`; gthread has 16 threads. Flask + SQLite is `sqlite_app.py`: WAL, `synchronous = full`, a
commit per delivery. The bare loop is `bare.py`: one thread, no framework, no commits together. nginx throws the body
away: a bound for HTTP, not a collector. Only `regstats serve` seals what it has taken meanwhile. Ratios are those of
the medians; the better of gunicorn's two kinds of worker at that number of connections counts."""


def measure(folder, subject, requests, connections):
    """One round of one server: results by number of connections, and what was answered and stored."""
    folder.mkdir()
    port = subjects.free_port()
    warm_up = max(50, requests // 4)
    with subject.running(folder, port):
        ab(folder, port, warm_up, min(16, warm_up))
        results = {count: ab(folder, port, requests, count) for count in connections}
    answered = warm_up + requests * len(connections)
    stored = subject.stored(folder) if subject.stored else None
    if stored not in (None, answered):
        raise RuntimeError(f"{subject.name}: answered {answered}, stored {stored}.")
    return results, answered, stored


def fdatasyncs(folder, count):
    """How many a second the disk does by itself."""
    with (folder / "disk").open("ab", buffering=0) as file:
        start = time.monotonic()
        for _ in range(count):
            file.write(b"x" * 1100)
            os.fdatasync(file)
        return count / (time.monotonic() - start)


def compare(folder, rounds, requests, connections):
    """All rounds: results by server and connections, rates of the disk, and what was answered and stored."""
    results = {(subject.name, count): [] for subject in subjects.ALL for count in connections}
    disk, kept = [], {subject.name: (0, 0) for subject in subjects.ALL if subject.stored}
    for number in range(rounds):
        disk.append(fdatasyncs(folder, requests))
        for subject in reports.turned(subjects.ALL, number):
            with tempfile.TemporaryDirectory(dir=folder) as own:
                measured, answered, stored = measure(Path(own) / "own", subject, requests, connections)
            for count, result in measured.items():
                results[subject.name, count].append(result)
            if subject.stored:
                kept[subject.name] = (kept[subject.name][0] + answered, kept[subject.name][1] + stored)
    return results, disk, kept


def memory(folder, deliveries):
    """Rows of deliveries taken so far and memory, of the worker process and of the one that seals, in MB."""
    folder.mkdir()
    port, step, rows = subjects.free_port(), deliveries // 10, []
    with subjects.SERVE.running(folder, port) as serve:
        worker = subjects.worker(serve.pid)
        for number in range(11):
            if number:
                send(port, step)
            rows.append([number * step, *subjects.memory(worker), *subjects.memory(serve.pid)])
    stored = SERVE.stored(folder)
    if stored != step * 10:
        raise RuntimeError(f"Answered {step * 10}, stored {stored}.")
    return rows


def targets(results, connections, drained):
    """Each target that was measured: what, against whom, at least, and the rates of the rounds of both."""

    def rates(subject, count):
        return [result["rate"] for result in results[subject.name, count]]

    def best(several, count):
        return max(several, key=lambda subject: median(rates(subject, count)))

    wanted = [
        (16, WITH_SQLITE, 3.0), (16, SAME_APP, 2.0), (1, WITH_SQLITE, 1.4), (1, SAME_APP, 1.4), (1, [BARE], 0.7),
    ]  # fmt: skip
    for count, rivals, least in wanted:
        if count in connections:
            rival = best(rivals, count)
            yield f"{_plural(count)}, {rival.name}", least, rates(SERVE, count), rates(rival, count)
    if drained:
        yield f"a registry's queue, {LOGGED.name}", 0.5, drained[SERVE.name], drained[LOGGED.name]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--requests", type=int, default=2000, help="per server, round and number of connections")
    parser.add_argument("--connections", type=int, nargs="+", default=CONNECTIONS)
    parser.add_argument("--memory", type=int, default=0, metavar="N", help="deliveries; 0: not measured")
    parser.add_argument("--drain", type=int, default=0, metavar="N", help="events in the queue; 0: not measured")
    parser.add_argument("--drain-rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="where the stores are made: on the disk that is measured")
    parser.add_argument("--output", type=Path, help="the report goes there, too")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as made:
        folder = Path(made)
        machine = _machine(folder)
        compared = compare(folder, options.rounds, options.requests, options.connections)
        rows = memory(folder / "memory", options.memory) if options.memory else []
        drained = drain.rounds(folder, options.drain, options.drain_rounds) if options.drain else {}
    reports.tell(report(options, machine, compared, rows, drained), options.output)


def report(options, machine, compared, rows, drained):
    """All of it, as Markdown."""
    results, disk, kept = compared
    parts = [f"# The collector\n\n{datetime.now(UTC):%Y-%m-%d}. {NOTES.format(**vars(options))}", machine]
    parts.append("## Targets\n\n" + _target_table(targets(results, options.connections, drained)))
    for title, field, digits in (("Deliveries a second", "rate", 0), ("p50, ms", "p50", 2), ("p99, ms", "p99", 1)):
        parts.append(f"## {title}\n\n" + _result_table(results, options.connections, field, digits))
    parts.append(f"{DISK}: {reports.spread(disk, 0)} a second.")
    counts = [[name, f"{answered:,}", f"{stored:,}"] for name, (answered, stored) in kept.items()]
    parts.append("## Kept\n\n" + reports.table(["server", "answered 204", "stored"], counts))
    if rows:
        parts.append("## Memory, MB\n\n" + _memory_table(rows))
    if drained:
        queues = [[name, reports.spread(rates, 0)] for name, rates in drained.items()]
        title = f"## The queue of a registry, {options.drain:,} events"
        parts.append(f"{title}\n\n" + reports.table(["endpoint", "deliveries a second, first to last"], queues))
    return "\n\n".join(parts) + "\n"


def _target_table(rows):
    header = ["regstats serve against", "at least", "measured", "in the rounds", "target"]
    body = []
    for what, least, ours, theirs in rows:
        ratio, each = median(ours) / median(theirs), [our / their for our, their in zip(ours, theirs, strict=True)]
        rounds = f"{min(each):.2f} to {max(each):.2f}"
        body.append([what, f"{least:g} x", f"{ratio:.2f} x", rounds, reports.met(ratio >= least)])
    return reports.table(header, body)


def _result_table(results, connections, field, digits):
    rows = [
        [subject.name]
        + [reports.spread([result[field] for result in results[subject.name, count]], digits) for count in connections]
        for subject in subjects.ALL
    ]
    return reports.table(["server", *map(_plural, connections)], rows)


def _memory_table(rows):
    columns = ("resident", "proportional", "anonymous", "peak")
    header = ["deliveries", *(f"{who}: {what}" for who in ("worker", "parent, which seals") for what in columns)]
    return reports.table(header, [[f"{value:,}" for value in row] for row in rows])


def _plural(count):
    return f"{count} connection" + "s" * (count > 1)


def _machine(folder):
    """Where, with what, and how it was measured."""
    disk = reports.said("df", "--output=fstype,source", str(folder)).splitlines()[1].split()
    place, sqlite = f"{disk[0]} on {disk[1]}, ", f"SQLite {sqlite3.sqlite_version}"
    programs = [("nginx", "-v"), ("ab", "-V"), ("docker-registry", "--version")]
    return reports.machine("flask", "granian", "gunicorn", place=place, more=[sqlite], programs=programs)


if __name__ == "__main__":
    main()
