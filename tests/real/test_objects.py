"""A store in object storage: what is there, who may write, and what happens where nothing answers."""

import subprocess
import sys
import threading
from contextlib import contextmanager
from datetime import timedelta

import buckets
import obstore
import pytest
from makers import NOW, envelope, journalled, make_event

from regstats import objects
from regstats.check import check
from regstats.compact import compact, sweep
from regstats.errors import MissingExtraError, StoreError, StoreNotFoundError
from regstats.objects import Bucket
from regstats.rebuild import rebuild
from regstats.sealing import seal
from regstats.stats import Stats
from regstats.store import Store


@pytest.fixture(scope="module")
def bucket(tmp_path_factory):
    with buckets.running(tmp_path_factory.mktemp("moto") / "log") as bucket:
        yield bucket


@pytest.fixture
def machine(bucket, tmp_path, monkeypatch):
    """The store as a machine sees it that has a disk of its own."""
    place = bucket.place()
    for name, value in bucket.environment.items():
        monkeypatch.setenv(name, value)

    def make(name="here", **how):
        monkeypatch.setenv("REGSTATS_STATE", str(tmp_path / name))
        return Store(place, **how)

    return make


def events_of(store):
    return sorted(event_id for (event_id,) in Stats(store.place, now=NOW).sql("select event_id from events").fetchall())


def taken(store, *names):
    """Deliveries of one event each, in the journal."""
    journalled(store, *(envelope(make_event(id=name)) for name in names))


def test_what_one_machine_seals_another_reads(machine):
    """And what is in a journal only the machine knows that has it."""
    here = machine(create=True)
    taken(here, "a", "b")
    assert ["a", "b"] == events_of(here)
    seal(here)
    taken(here, "c")
    assert ["a", "b"] == events_of(machine("elsewhere"))
    assert ["a", "b", "c"] == events_of(machine())


def test_upkeep(machine):
    """Merging, accounting, gathering, rebuilding: as on a disk, and then nothing is wrong, and nothing is left."""
    here = machine(create=True)
    for name in "abc":
        taken(here, name, f"{name}2")
        seal(here)
    requests = int(Stats(here.place, now=NOW).pulls(interval="total")["requests"].sum())
    assert 0 < compact(here, NOW + timedelta(days=5)).merged
    assert 2 * 3 == rebuild(here, NOW).events
    compact(here, NOW + timedelta(days=5))
    assert [] == check(machine("elsewhere"), NOW, deep=True)
    assert requests == int(Stats(here.place, now=NOW).pulls(interval="total")["requests"].sum()) == 6
    sweep(here, timedelta(0))
    assert {part.path for part in here.manifest().parts} == set(here._storage.names())


def test_the_command_line(machine):
    """With nothing but the address."""
    here = machine(create=True)
    taken(here, "a")
    seal(here)
    command = [sys.executable, "-m", "regstats"]
    done = subprocess.run([*command, "check", "--deep", "--data", here.place], capture_output=True, text=True)
    assert (0, "All is well.\n", "") == (done.returncode, done.stdout, done.stderr)
    table = ["repositories", "--data", here.place, "--since", "2000-01-01", "--format", "csv"]
    done = subprocess.run([*command, *table], capture_output=True, text=True)
    assert (0, 2) == (done.returncode, len(done.stdout.splitlines()))


@contextmanager
def in_another_thread(store):
    """Holds the lock of the store, as another machine would."""
    entered, leave = threading.Event(), threading.Event()

    def hold():
        with store.exclusive():
            entered.set()
            leave.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    try:
        assert entered.wait(10)
        yield
    finally:
        leave.set()
        thread.join()


def test_one_writes_at_a_time(machine, monkeypatch):
    """Who comes second waits; and goes on when the first is done."""
    here, elsewhere = machine(create=True), machine("elsewhere", create=True)
    monkeypatch.setattr(objects, "_RENEWED", 0.1)
    monkeypatch.setattr(objects, "_EXPIRES", 1.0)
    done = []

    def second():
        with elsewhere.exclusive():
            done.append(True)

    thread = threading.Thread(target=second)
    with in_another_thread(here):
        thread.start()
        thread.join(3 * objects._EXPIRES)  # the first gives signs of life, so that its time does not run out
        assert [] == done
    thread.join(10)
    assert [True] == done


def test_who_was_only_slow_commits_nothing(machine, monkeypatch):
    """Another has taken over the lock of one that gave no sign of life, and has written."""
    slow, quick = machine(create=True), machine("elsewhere", create=True)
    taken(slow, "slow")
    taken(quick, "quick")
    monkeypatch.setattr(objects, "_RENEWED", 1000.0)
    monkeypatch.setattr(objects, "_EXPIRES", 0.5)
    with slow.exclusive():
        seal(quick)
        with pytest.raises(StoreError, match="Nothing was committed"):
            slow.commit(sealed="nothing")
        with pytest.raises(StoreError, match="is not deleted"):
            slow.remove(slow.manifest().parts[0])
    assert ["quick"] == events_of(machine("third"))
    assert 1 == seal(slow).events
    assert ["quick", "slow"] == events_of(machine("third"))


def test_what_was_sealed_before_a_crash_is_not_sealed_again(machine, monkeypatch):
    """Though others have written since, who know nothing of that machine's journal."""
    here, elsewhere = machine(create=True), machine("elsewhere", create=True)
    taken(here, "a")
    (segment,) = here.journal.iterdir()
    content = segment.read_bytes()
    seal(here)
    segment.write_bytes(content)
    taken(elsewhere, "b")
    seal(elsewhere)
    assert ["a", "b"] == events_of(machine())
    assert 0 == seal(here).deliveries
    assert not segment.exists()
    assert 2 == sum(part.rows for part in here.manifest().parts if part.table == "deliveries")


def test_a_commit_whose_answer_was_lost_counts(machine, monkeypatch):
    """It is looked whether it was done."""
    here = machine(create=True)
    taken(here, "a")
    seal(here)
    put = obstore.put

    def lossy(store, name, data, **how):
        done = put(store, name, data, **how)
        if name == "manifest.json":
            raise obstore.exceptions.GenericError("the connection was closed")
        return done

    monkeypatch.setattr(obstore, "put", lossy)
    taken(here, "b")
    assert 1 == seal(here).events
    monkeypatch.setattr(obstore, "put", put)
    taken(here, "c")
    assert 1 == seal(here).events
    assert ["a", "b", "c"] == events_of(here)


def test_an_object_that_is_replaced_is_not_mixed_with_the_new_one(machine, monkeypatch):
    """Nobody reads half of the one and half of the other."""
    here = machine(create=True)
    taken(here, "a")
    seal(here)
    name = here.manifest().parts[0].path
    reader = here._storage.open(name)
    assert b"PAR1" == reader.read(4)
    monkeypatch.setattr(objects, "_SMALL", 0)
    reader = here._storage.open(name)
    with here._storage.appearing(name) as unseen:
        unseen.write_bytes(b"something else")
    with pytest.raises(StoreError):
        reader.read(4)


def test_where_nothing_answers(machine, monkeypatch):
    """What is taken stays in the journal; who asks is told what cannot be reached."""
    here = machine(create=True)
    taken(here, "a")
    monkeypatch.setenv("AWS_ENDPOINT", "http://127.0.0.1:1")
    monkeypatch.setattr(objects, "_RETRIES", {"max_retries": 0})
    lost = machine(create=True)
    with pytest.raises(StoreError, match=r"^s3://bucket/.*127\.0\.0\.1:1"):
        seal(lost)
    assert 1 == len(list(lost.journal.iterdir()))
    assert 1 == seal(here).events


def test_there_is_no_bucket(machine):
    """That is not taken for anything that could not be read."""
    command = [sys.executable, "-m", "regstats", "import", "--data", "s3://nosuchbucket/store", "-"]
    machine(create=True)
    done = subprocess.run(command, input=envelope(make_event()), capture_output=True)
    assert (1, True) == (done.returncode, b"s3://nosuchbucket/store: there is no such bucket" in done.stderr), done


def test_a_part_that_is_gone_is_told_of(machine):
    """By its name, and not by a stack of calls."""
    here = machine(create=True)
    taken(here, "a")
    seal(here)
    with here.exclusive():
        for name in here._storage.names():
            here._storage.remove(name)
    done = subprocess.run([sys.executable, "-m", "regstats", "pulls", "--data", here.place], capture_output=True)
    assert 1 == done.returncode
    assert b"regstats: " == done.stderr[:10]
    assert b"deliveries/date=2026-11-24/" in done.stderr


def test_there_is_no_store(machine, bucket):
    """Neither there, nor anywhere by such a name."""
    with pytest.raises(StoreNotFoundError, match=r"There is no store at s3://bucket/stores/.*--data s3://"):
        machine("elsewhere")


@pytest.mark.parametrize(
    ("place", "why"),
    [
        ("nosuch://bucket/store", "nosuch://bucket/store: "),
        ("s3://bucket/sto*re", "cannot be the place of a store"),
        ("s3://", "s3://: "),
    ],
)
def test_no_such_place(place, why, tmp_path):
    """It is said which, and why."""
    with pytest.raises(StoreError, match=why.replace("*", r"\*")):
        Bucket(place, tmp_path)


def test_what_is_missing_is_named(tmp_path, monkeypatch):
    """Most people need no object storage."""
    monkeypatch.setenv("REGSTATS_STATE", str(tmp_path))
    monkeypatch.setitem(sys.modules, "obstore", None)
    monkeypatch.delitem(sys.modules, "regstats.objects")
    with pytest.raises(MissingExtraError, match=r"needs obstore and fsspec, .*regstats\[s3\]"):
        Store("s3://bucket/store")
