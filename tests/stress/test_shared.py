"""Promises 2 to 5 in object storage: machines write beside each other, are killed, and the storage itself stops."""

import json
import os
import random
import signal
import time
from datetime import timedelta

import buckets
import pytest
from registries import PROCESSES, Registries, assert_all_there
from servers import PATIENCE, listens, wait_until

import regstats
from regstats.check import check
from regstats.compact import compact, sweep
from regstats.errors import StoreError
from regstats.rebuild import replay
from regstats.store import Store, utc_now

READERS = 3


@pytest.fixture
def bucket(tmp_path, monkeypatch):
    with buckets.running(tmp_path / "moto.log") as bucket:
        for name, value in bucket.environment.items():
            monkeypatch.setenv(name, value)
        yield bucket


def test_machines_share_a_store(tmp_path, rng, often, make_collector, bucket, monkeypatch):
    """Two collectors, of which one is killed; upkeep on a third machine, which is killed, too; and three readers."""
    place = bucket.place()
    collectors = [make_collector(place, seal_interval=2, state=tmp_path / name) for name in ("one", "two")]
    for collector in collectors:
        collector.start()
    registries = [Registries(one, rng, number=3, first=3 * n).start() for n, one in enumerate(collectors)]
    wait_until(lambda: seals(collectors[0]), "something that is sealed")
    counters = [one.started_and_acknowledged for one in registries]
    readers = [Process(read_on, place, str(tmp_path / f"reader-{n}"), counters) for n in range(READERS)]
    upkeep = Process(keep, place, str(tmp_path / "upkeep"), rng.random())
    try:
        for round_number in range(often(1, 20)):
            time.sleep(rng.uniform(1, 4))
            for one in readers:
                one.assert_content()
            upkeep.kill()
            upkeep = Process(keep, place, str(tmp_path / "upkeep"), rng.random())
            collectors[0].kill()
            time.sleep(rng.uniform(0, 1))
            collectors[0].start()
            if round_number == 0:
                stopped_for(often(6, 20), bucket.process, collectors[1], registries[1])
        wait_until(lambda: listens(collectors[0].port), "the collector")
    finally:
        for one in registries:
            one.stop()
        upkeep.kill()
        queries = [one.stop() for one in readers]
    acknowledged = sum(len(one.acknowledged) for one in registries)
    print(f"{queries} queries, {acknowledged} acknowledged, {[dict(one.answers) for one in registries]}")
    for collector in collectors:
        wait_until(lambda collector=collector: unsealed(collector) == 0, "all to be sealed", 5 * PATIENCE)
        assert 0 == collector.stop(), collector.log
        assert [] == list((collector.settings["state"] / "journal").glob("*.ndjson")), collector.log
    monkeypatch.setenv("REGSTATS_STATE", str(tmp_path / "end"))
    store = Store(place)
    assert_all_there(store, *registries)
    compact(store, utc_now())
    assert [] == [finding for finding in check(store, utc_now(), deep=True) if finding.is_problem]
    sweep(store, timedelta(0))
    assert {part.path for part in store.manifest().parts} == set(store._storage.names())


def seals(collector):
    return "regstats_events_total 0.0" not in collector.get("/metrics")


def unsealed(collector):
    """Bytes."""
    return json.loads(collector.get("/healthz"))["journal"]["bytes"]


def stopped_for(seconds, server, collector, registries):
    """The storage does not answer. Deliveries are taken, and it is said how many wait."""
    server.send_signal(signal.SIGSTOP)
    try:
        before = len(registries.acknowledged)
        time.sleep(seconds)
        assert len(registries.acknowledged) > before + 10
        assert unsealed(collector) > 0
    finally:
        server.send_signal(signal.SIGCONT)


class Process:
    """One that works until it is stopped or killed, and fails when it sees what cannot be."""

    def __init__(self, work, place, state, *about):
        self._stop = PROCESSES.Event()
        self._ours, theirs = PROCESSES.Pipe()
        arguments = work, place, state, self._stop, theirs, *about
        self._process = PROCESSES.Process(target=begin, args=arguments, daemon=True)
        self._process.start()

    def stop(self):
        """What came of it."""
        self._stop.set()
        assert self._ours.poll(2 * PATIENCE), "it does not answer; its traceback, if any, is above"
        result = self._ours.recv()
        self._process.join()
        return result

    def kill(self):
        self._process.kill()
        self._process.join()
        assert -signal.SIGKILL == self._process.exitcode, "it failed before it was killed; its traceback is above"

    def assert_content(self):
        assert self._process.exitcode is None, "it failed; its traceback is above"


def begin(work, place, state, stop, result, *about):
    os.environ["REGSTATS_STATE"] = state
    result.send(work(place, stop, *about))


def read_on(place, stop, counters):
    """On a machine without a journal: it sees what is sealed, each event once, and never fewer than before."""
    seen, queries, stats = 0, 0, regstats.open(place)
    while not (stop.is_set() and queries):  # on a busy machine the first answer may take as long as all the rest
        ((events, distinct),) = stats.sql("select count(*), count(distinct event_id) from events").fetchall()
        requests = int(stats.pulls(interval="total")["requests"].sum())
        started = sum(counter[0] for counter in counters)
        assert seen <= events <= requests <= started, (seen, events, requests, started)
        assert events == distinct
        seen, queries = requests, queries + 2
        stop.wait(0.3)
    return queries


def keep(place, stop, seed):
    """Whatever people do with a store that is in use."""
    store, rng = Store(place, create=True), random.Random(seed)
    work = [
        lambda: compact(store, utc_now()),
        lambda: compact(store, utc_now(), closed=False),
        lambda: replay(store),
        lambda: assert_well(store),
    ]
    while not stop.is_set():
        try:
            rng.choices(work, [6, 3, 1, 1])[0]()
        except StoreError as error:
            print(error)


def assert_well(store):
    problems = [finding for finding in check(store, utc_now(), deep=True) if finding.is_problem]
    assert not problems, problems
