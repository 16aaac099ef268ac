"""Where do queues build up? Many virtual registries tell some collectors of pulls, faster and faster.

    python tests/bench/bench_fleet.py [--collectors 1 2] [--registries 20] [--rates 200 500 1000 1500 2000]
        [--seconds 15] [--shared] [--output tests/bench/results/fleet.md]

A registry has a queue and sends one event after the other, each over a connection of its own, as Distribution does; its
events come by chance, whether it has sent those before or not. With `--shared` the store is in object storage on
loopback (`tests/buckets.py`), and each collector has a disk of its own; else they share a directory. Registries,
collectors and storage are on the same cores, so this says where it ends on one machine, and what gives way first.
"""

import argparse
import json
import os
import random
import sys
import tempfile
import threading
import time
import urllib.request
from contextlib import ExitStack
from pathlib import Path
from statistics import quantiles
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1]))

import buckets
import reports
import subjects
from load import HOST, TOKEN, Envelopes, deliver
from subjects import process, wait_until

from regstats.store import Store

REPORT = """# A fleet of registries

Measured by `tests/bench/bench_fleet.py`: {registries} virtual registries, {seconds} s at each rate; each collector has
one worker and seals every five seconds. The store is {place}. Load, collectors and storage share the cores. A registry
sends one event after the other; what comes meanwhile waits in its queue, in its memory. "Waiting" is how many waited in
all queues together when the time was over, "to 204" how long an event took from when it happened. "Not sealed" is what
lay in journals at the end, and "sealed after" how long it took from then until all of it was in parts, each event once
(which is checked).

## Rates

{table}

    {where}
"""


class Measured(NamedTuple):
    """What came of a rate."""

    taken: float
    waiting: int
    latencies: list[float]
    unsealed: int
    sealed_after: float


class Registry(threading.Thread):
    """Has events by chance, so many a second, and sends them in order."""

    def __init__(self, port, rate, until):
        super().__init__(daemon=True)
        self._port, self._rate, self._until = port, rate, until
        self._envelopes = Envelopes()
        self.latencies, self.due = [], 0

    def run(self):
        at = time.monotonic() + random.expovariate(self._rate)
        while at < self._until:
            time.sleep(max(0.0, at - time.monotonic()))
            self.due += 1
            if time.monotonic() < self._until + 0.5:
                self.send(at)
            at += random.expovariate(self._rate)

    def send(self, at):
        while deliver(self._port, self._envelopes.make()) != 204:
            time.sleep(0.05)
        self.latencies.append(time.monotonic() - at)


def collector(number, place, folder, environment):
    """Its port, and the process, which is to be entered."""
    port = subjects.free_port()
    command = [sys.executable, "-m", "regstats", "serve", "--data", place, "--port", str(port), "--token", TOKEN]
    mine = os.environ | environment | {"REGSTATS_STATE": str(folder / f"state-{number}")}
    return port, process(command, folder / f"log-{number}", env=mine)


def journal(port):
    """What a collector says of its journal."""
    request = urllib.request.Request(f"http://{HOST}:{port}/healthz", headers={"Authorization": f"Bearer {TOKEN}"})
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)["journal"]


def measure(options, collectors, rate, folder, bucket):
    """One rate with a store of its own."""
    folder.mkdir(parents=True)
    place, environment = (bucket.place(), bucket.environment) if bucket else (str(folder / "store"), {})
    with ExitStack() as running:
        ports = []
        for number in range(collectors):
            port, started = collector(number, place, folder, environment)
            running.enter_context(started)
            ports.append(port)
        for port in ports:
            wait_until(lambda port=port: subjects.listens(port), "a collector")
        time.sleep(2)
        until = time.monotonic() + options.seconds
        each = rate / options.registries
        registries = [Registry(ports[n % collectors], each, until) for n in range(options.registries)]
        for one in registries:
            one.start()
        for one in registries:
            one.join()
        sent = sum(len(one.latencies) for one in registries)
        having = ports if bucket else ports[:1]  # in a directory they have one journal
        unsealed, began = sum(journal(port)["bytes"] for port in having), time.monotonic()
        wait_until(lambda: sum(journal(port)["bytes"] for port in having) == 0, "all to be sealed")
        sealed_after = time.monotonic() - began
    latencies = [seconds for one in registries for seconds in one.latencies]
    check(place, environment, sent, folder)
    waiting = sum(one.due for one in registries) - sent
    return Measured(sent / options.seconds, waiting, latencies, unsealed, sealed_after)


def check(place, environment, sent, folder):
    """Everything is there once, or the benchmark fails."""
    os.environ.update(environment | {"REGSTATS_STATE": str(folder / "reader")})
    rows = sum(part.rows for part in Store(place).manifest().parts if part.table == "events")
    if rows != sent:
        raise RuntimeError(f"{sent:,} events were acknowledged, and {rows:,} are there.")


def row(collectors, rate, found):
    slow = quantiles(found.latencies, n=100)
    return (
        f"{collectors}", f"{rate:,}", f"{found.taken:,.0f}", f"{found.waiting:,}", f"{1000 * slow[49]:,.0f}",
        f"{1000 * slow[98]:,.0f}", f"{found.unsealed / 1e6:.1f}", f"{found.sealed_after:.1f}",
    )  # fmt: skip


HEADER = [
    "collectors", "events a second", "taken", "waiting at the end", "to 204, ms, p50", "p99", "not sealed, MB",
    "sealed after, s",
]  # fmt: skip


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--collectors", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--registries", type=int, default=20)
    parser.add_argument("--rates", type=int, nargs="+", default=[200, 500, 1000, 1500, 2000])
    parser.add_argument("--seconds", type=float, default=15)
    parser.add_argument("--shared", action="store_true")
    parser.add_argument("--output", type=Path)
    options = parser.parse_args(argv)
    where, rows = reports.machine("duckdb", "pyarrow", *(["obstore"] if options.shared else [])), []
    with tempfile.TemporaryDirectory() as name, ExitStack() as running:
        folder = Path(name)
        bucket = running.enter_context(buckets.running(folder / "bucket.log")) if options.shared else None
        for collectors in options.collectors:
            for rate in options.rates:
                found = measure(options, collectors, rate, folder / f"{collectors}-{rate}", bucket)
                rows.append(row(collectors, rate, found))
    place = "in object storage on loopback" if options.shared else "a directory on disk"
    told = {"registries": options.registries, "seconds": f"{options.seconds:g}", "place": place, "where": where}
    reports.tell(REPORT.format(table=reports.table(HEADER, rows), **told), options.output)


if __name__ == "__main__":
    main()
