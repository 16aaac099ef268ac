"""Senders that do as registries do, and what must hold of a store in the end."""

import collections
import http.client
import itertools
import multiprocessing
import random
import subprocess
import sys
import threading
import time
from datetime import timedelta

from makers import days, envelope, make_event
from servers import HOST, PATIENCE

from regstats import compact as compact_module
from regstats import store as store_module
from regstats.compact import compact
from regstats.stats import Stats
from regstats.store import Store, utc_now

# Processes begin anew, with a fresh interpreter: a fork would copy threads and locks.
PROCESSES = multiprocessing.get_context("spawn")


def post(collector, body):
    """A delivery on a connection of its own: the status, and when to try again."""
    connection = http.client.HTTPConnection(HOST, collector.port, timeout=PATIENCE)
    try:
        connection.request("POST", "/events", body, {"Authorization": f"Bearer {collector.token}"})
        answer = connection.getresponse()
        answer.read()
        return answer.status, answer.headers["Retry-After"]
    finally:
        connection.close()


class Registries:
    """Threads that each send one event after the other: each again and again, the same bytes, until it is answered 204.

    Now and then one forgets what it could not deliver, as registries do when they are restarted.
    """

    def __init__(self, collector, rng, *, number=8, first=0, pause=0.03, padding=0, forgets=0.01):
        self.sent, self.acknowledged, self.answers = set(), set(), collections.Counter()
        self.started_and_acknowledged = PROCESSES.RawArray("Q", 2)
        self._collector, self._pause, self._padding, self._forgets = collector, pause, padding, forgets
        self._began, self._lock = utc_now(), threading.Lock()
        self._stop, self._give_up = threading.Event(), threading.Event()
        self._threads = [
            # Daemons: a test that fails before it stops them must not keep the whole run from ending.
            threading.Thread(target=self._run, args=(name, random.Random(rng.random())), daemon=True)
            for name in range(first, first + number)
        ]

    def start(self):
        for thread in self._threads:
            thread.start()
        return self

    def stop(self):
        """Each delivers what it has begun, and ends."""
        self._stop.set()
        for thread in self._threads:
            thread.join(PATIENCE)
        self._give_up.set()
        for thread in self._threads:
            thread.join()

    def _run(self, name, rng):
        for number in itertools.count():
            if self._stop.wait(rng.uniform(0, 2 * self._pause)):
                return
            event_id = f"{name}-{number}"
            with self._lock:
                self.sent.add(event_id)
                self.started_and_acknowledged[0] += 1
            if self._is_delivered(self._body(event_id, rng), rng):
                with self._lock:
                    self.acknowledged.add(event_id)
                    self.started_and_acknowledged[1] += 1

    def _body(self, event_id, rng):
        """A pull of one of the last dates; of a repository of its own, so that each event is a request of its own."""
        at = self._began - days(rng.randrange(6)) - timedelta(seconds=rng.randrange(3600))
        padding = rng.randbytes(self._padding // 2).hex()
        return envelope(make_event(id=event_id, at=at, repository=f"team/{rng.randrange(20)}", actor=padding or "bob"))

    def _is_delivered(self, body, rng):
        while self._answer(body)[0] != 204:
            if self._give_up.is_set() or (rng.random() < self._forgets and not self._stop.is_set()):
                return False
            time.sleep(rng.uniform(0.01, 0.1))
        return True

    def _answer(self, body):
        try:
            answer = post(self._collector, body)
        except (OSError, http.client.HTTPException) as error:
            answer = type(error).__name__, None
        with self._lock:
            self.answers[answer] += 1
        return answer


def assert_all_there(store, *registries):
    """Everything acknowledged, each event once, and nothing that was never sent."""
    sent, acknowledged = (set().union(*(getattr(one, what) for one in registries)) for what in ("sent", "acknowledged"))
    stats = Stats(store.place)
    ids = [row[0] for row in stats.sql("select event_id from events").fetchall()]
    assert [] == [event_id for event_id, count in collections.Counter(ids).items() if count > 1]
    assert set() == acknowledged - set(ids)
    assert set() == set(ids) - sent
    delivered = stats.sql("""
        select json_extract_string(decode(body), '$.events[0].id'), delivery_id
        from deliveries
        where source <> 'journal'
    """).fetchall()
    assert len(delivered) == len({delivery_id for _, delivery_id in delivered})
    assert set() == acknowledged - {event_id for event_id, _ in delivered}
    assert set(ids) == {event_id for event_id, _ in delivered}


def assert_in_order(store, monkeypatch):
    """After upkeep plain Parquet has the same, nothing is left of what was interrupted, and `check` is content."""
    count = "select count(*) from"
    expected = [Stats(store.root).sql(f"{count} {table}").fetchall() for table in ("events", "deliveries")]
    tidy_up(store, monkeypatch)
    actual = [
        Stats(store.root).sql(f"{count} '{store.root}/{table}/date=*/*.parquet'").fetchall()
        for table in ("events", "deliveries")
    ]
    assert expected == actual
    files = sorted(str(path.relative_to(store.root)) for path in store.root.rglob("*") if path.is_file())
    assert sorted([*(part.path for part in store.manifest().parts), "lock", "manifest.json"]) == files
    command = [sys.executable, "-m", "regstats", "check", "--deep", "--data", str(store.root)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (0, "All is well.\n", "") == (done.returncode, done.stdout, done.stderr)


def tidy_up(store, monkeypatch):
    """Upkeep, and upkeep again when readers of replaced parts are long gone."""
    compact(store, utc_now())
    later = utc_now() + days(1)
    with monkeypatch.context() as patch:
        for module in (store_module, compact_module):
            patch.setattr(module, "utc_now", lambda: later)
        compact(Store(store.root), utc_now())
