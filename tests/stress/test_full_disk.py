"""Promise 6: no room, or no way to write: 503, nothing half-written, and it goes on by itself. On a real small disk."""

import itertools
import json
import os
import secrets
import subprocess
import sys

import duckdb
import pytest
from makers import NOW, days, envelope, journalled, make_event
from registries import Registries, assert_all_there, assert_in_order, post
from servers import wait_until

from regstats.check import check
from regstats.compact import compact
from regstats.rebuild import rebuild
from regstats.sealing import seal
from regstats.stats import Stats
from regstats.store import Store

SIZE = (32 if os.environ.get("STRESS") else 4) * 1024 * 1024
UNAVAILABLE = (503, "5")


@pytest.fixture
def disk(tmp_path):
    """A disk of a few megabytes."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "regstats-test", str(folder)]
    mounted = subprocess.run(command, capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"a small disk cannot be mounted here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


class Ballast:
    """A file that takes what room there is on a disk, but for so many bytes."""

    def __init__(self, disk):
        self._path = disk / "ballast"

    def leave(self, size):
        self._path.write_bytes(b"")
        with self._path.open("wb", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(4096))
            except OSError:
                file.truncate(max(file.tell() - size, 0))

    def remove(self):
        self._path.unlink()


def counted(store):
    stats = Stats(store.root)
    ((events, distinct),) = stats.sql("select count(*), count(distinct event_id) from events").fetchall()
    assert events == distinct
    assert events == stats.pulls(interval="total")["requests"].sum()
    return events


@pytest.mark.parametrize("seal_interval", [0.2, 3600])
def test_a_disk_that_fills_under_load(disk, rng, often, make_collector, monkeypatch, seal_interval):
    """With sealing and merging, and with the journal alone: again and again full, and free again."""
    store, ballast = Store(disk / "store", create=True), Ballast(disk)
    collector = make_collector(store.root, seal_interval=seal_interval, workers=2).start()
    registries = Registries(collector, rng, pause=0.005, padding=2000, forgets=0).start()
    for _ in range(often(2, 8)):
        before = registries.answers[UNAVAILABLE]
        ballast.leave(rng.randrange(100_000))
        wait_until(lambda before=before: registries.answers[UNAVAILABLE] >= before + 20, "a full disk")
        low = len(registries.acknowledged)
        assert low <= counted(store) <= len(registries.sent)
        ballast.remove()
        wait_until(lambda low=low: len(registries.acknowledged) >= low + 50, "deliveries that are taken again")
    registries.stop()
    assert {(204, None), UNAVAILABLE} == set(registries.answers)
    assert 0 == collector.stop()
    refused = [json.loads(line) for line in collector.log.splitlines() if "not stored" in line]
    assert refused
    assert all("No space left on device" in line["detail"] for line in refused)
    assert_all_there(store, registries)
    assert_in_order(store, monkeypatch)


def a_store_to_work_on(disk):
    """With many parts, and some deliveries that are not sealed yet; none of them can be made small."""
    store = Store(disk / "store", create=True)
    for number in range(10):
        journalled(store, *(envelope(padded(f"{number}-{age}", age)) for age in (0, 2, 3)))
        seal(store)
    journalled(store, *(envelope(padded(f"new-{number}", number % 3)) for number in range(10)))
    return store


def padded(event_id, age):
    return make_event(id=event_id, at=NOW - days(age), actor=secrets.token_hex(5_000))


WORK = {
    "seal": seal,
    "compact": lambda store: compact(store, NOW),
    "rebuild": lambda store: rebuild(store, NOW),
}


@pytest.mark.parametrize("work", WORK)
def test_a_disk_with_any_room_left(disk, rng, often, work):
    """With no room at all, then with a little more each time: it fails and changes nothing, or it is done."""
    store, ballast = a_store_to_work_on(disk), Ballast(disk)
    expected, failures = counted(store), 0
    for room in itertools.count(0, 4096 * often(8, 1)):
        ballast.leave(room)
        try:
            WORK[work](store)
        except (OSError, duckdb.Error):
            failures += 1
        else:
            break
        assert expected == counted(store)
        assert [] == [finding for finding in check(store, NOW) if finding.is_problem]
    assert failures > 1
    ballast.remove()
    assert expected == counted(store)
    seal(store)
    compact(store, NOW)
    assert expected == counted(store)
    assert [] == check(store, NOW, deep=True)


def test_a_disk_that_becomes_read_only(disk, rng, make_collector, monkeypatch):
    """As after an error of the disk: 503 until it can be written again; readers and `check` work meanwhile."""
    store = Store(disk / "store", create=True)
    collector = make_collector(store.root, seal_interval=0.1).start()
    registries = Registries(collector, rng, number=2, pause=0.001)
    registries.start()
    wait_until(lambda: len(registries.acknowledged) >= 50, "some deliveries")
    registries.stop()
    wait_until(lambda: remounted(disk, "ro"), "a moment in which nothing is open for writing")
    body = envelope(make_event(id="refused", at=NOW))
    assert [UNAVAILABLE] * 3 == [post(collector, body) for _ in range(3)]
    assert len(registries.acknowledged) == counted(store)
    command = [sys.executable, "-m", "regstats", "check", "--deep", "--data", str(store.root)]
    assert 0 == subprocess.run(command, capture_output=True).returncode
    assert remounted(disk, "rw")
    assert (204, None) == post(collector, body)
    registries.sent.add("refused")
    registries.acknowledged.add("refused")
    assert 0 == collector.stop()
    assert "Read-only file system" in collector.log
    assert_all_there(store, registries)
    assert_in_order(store, monkeypatch)


def remounted(disk, how):
    done = subprocess.run(["mount", "-o", f"remount,{how}", str(disk)], capture_output=True)
    return done.returncode == 0


def test_a_journal_that_cannot_be_made(tmp_path, rng, make_collector, monkeypatch):
    """Something stands in its way, then no longer."""
    store = Store(tmp_path / "store", create=True)
    store.journal.write_text("in the way")
    collector = make_collector(store.root, seal_interval=0.1).start()
    registries = Registries(collector, rng, number=2)
    registries.start()
    wait_until(lambda: registries.answers[UNAVAILABLE] >= 5, "refusals")
    store.journal.unlink()
    wait_until(lambda: len(registries.acknowledged) >= 5, "deliveries that are taken")
    registries.stop()
    assert {(204, None), UNAVAILABLE} == set(registries.answers)
    assert 0 == collector.stop()
    assert_all_there(store, registries)
    assert_in_order(store, monkeypatch)
