"""Promises 1 to 5, with real processes: whatever is killed, whenever, nothing is lost, repeated, or seen wrongly."""

import random
import signal
import socket
import time

from registries import PROCESSES, Registries, assert_all_there, assert_in_order
from servers import HOST, PATIENCE, listens, wait_until

import regstats
from regstats.check import check
from regstats.compact import compact
from regstats.rebuild import rebuild, replay
from regstats.store import Store, utc_now


def test_killed_at_any_moment(tmp_path, rng, often, make_collector, monkeypatch):
    """The collector and upkeep beside it are killed again and again, under load, before the eyes of a reader."""
    store = Store(tmp_path / "store", create=True)
    collector = make_collector(store.root, seal_interval=0.3, workers=2)
    collector.launch()
    registries = Registries(collector, rng).start()
    reader = Reader(store, registries)
    upkeep = Upkeep(store, rng)
    try:
        kills = kill_again_and_again(often(6, 200), collector, upkeep, reader, rng)
        wait_until(lambda: listens(collector.port), "the collector")
    finally:
        registries.stop()
        upkeep.kill()
        queries = reader.stop()
    print(f"{kills} kills, {queries} queries, {len(registries.acknowledged)} acknowledged, {registries.answers}")
    assert 0 == collector.stop()
    assert [] == list(store.journal.glob("*.ndjson"))
    assert {"204", "503"} >= {str(status) for status, _ in registries.answers if isinstance(status, int)}
    assert_all_there(store, registries)
    assert_in_order(store, monkeypatch)


def kill_again_and_again(times, collector, upkeep, reader, rng):
    """Kills the collector so many times, a few of them before it listens, and upkeep about as often."""
    kills = 0
    while kills < times:
        if rng.random() < 0.8:
            wait_until(lambda: listens(collector.port) or collector.process.poll() is not None, "the collector")
        time.sleep(rng.uniform(0, 1.5))
        assert collector.process.poll() is None, collector.log
        reader.assert_content()
        if rng.random() < 0.5:
            upkeep.kill()
            upkeep.start()
        if rng.random() < 0.8:
            collector.kill()
            wait_until(lambda: is_free(collector.port), "the end of the workers")
            collector.launch()
            kills += 1
    return kills


def is_free(port):
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


class Upkeep:
    """A process that does at random whatever people do with a store that is in use, until it is killed."""

    def __init__(self, store, rng):
        self._store, self._rng, self._process = store, rng, None
        self.start()

    def start(self):
        self._process = PROCESSES.Process(target=keep, args=(self._store.root, self._rng.random()), daemon=True)
        self._process.start()

    def kill(self):
        self._process.kill()
        self._process.join()
        assert -signal.SIGKILL == self._process.exitcode, "it failed before it was killed; its traceback is above"


def keep(root, seed):
    store, rng = Store(root), random.Random(seed)
    work = [
        lambda: compact(store, utc_now()),
        lambda: compact(store, utc_now(), closed=False),
        lambda: rebuild(store, utc_now()),
        lambda: replay(store),
        lambda: assert_well(store),
    ]
    while True:
        rng.choices(work, [6, 3, 2, 1, 1])[0]()


def assert_well(store):
    problems = [finding for finding in check(store, utc_now(), deep=True) if finding.is_problem]
    assert not problems, problems


class Reader:
    """A process that queries all the time, and fails when it sees what cannot be."""

    def __init__(self, store, registries):
        self._stop = PROCESSES.Event()
        self._ours, theirs = PROCESSES.Pipe()
        counters = registries.started_and_acknowledged
        arguments = store.root, counters, self._stop, theirs
        self._process = PROCESSES.Process(target=read_on, args=arguments, daemon=True)
        self._process.start()

    def stop(self):
        """How many queries all went well."""
        self._stop.set()
        assert self._ours.poll(PATIENCE), "the reader does not answer; its traceback, if any, is above"
        queries = self._ours.recv()
        self._process.join()
        return queries

    def assert_content(self):
        assert self._process.exitcode is None, "the reader failed; its traceback is above"


def read_on(root, counters, stop, result):
    started, acknowledged, seen, queries = 0, 1, 0, 0
    stats = regstats.open(root)
    while not stop.is_set():
        before = counters[acknowledged]
        ((events, distinct),) = stats.sql("select count(*), count(distinct event_id) from events").fetchall()
        requests = int(stats.pulls(interval="total")["requests"].sum())
        after = counters[started]
        assert max(before, seen) <= events <= requests <= after, (before, seen, events, requests, after)
        assert events == distinct
        seen, queries = requests, queries + 2
        if queries % 10 == 0:
            stats = regstats.open(root)  # not only those who were there before
    result.send(queries)
