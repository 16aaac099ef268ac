"""Promise 1: acknowledged means on disk, whatever happens next."""

import errno
import os
import threading
from datetime import UTC, datetime

import pytest
from makers import make_delivery

from regstats import journal
from regstats.errors import JournalError
from regstats.journal import Journal, Tail, claim, read, segments


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "journal"


def everything(folder):
    return [delivery for segment in segments(folder) for delivery in read(segment, finished=True)]


@pytest.mark.parametrize("body", [b"{}", b"", b"\xff\x00\n", 'ü"\\\n\u2028'.encode(), bytes(100_000)])
def test_a_delivery_is_read_as_it_was_written(folder, body):
    """Every byte of the body, whether it is text or not."""
    delivery = make_delivery(body)
    Journal(folder).append([delivery])
    assert [delivery] == everything(folder)


def test_a_delivery_is_on_disk_before_append_returns(folder, monkeypatch):
    """The answer 204 follows the fsync of the data and of the segment's name."""
    done = []
    write, rename, sync = os.write, os.rename, os.fsync
    monkeypatch.setattr(os, "write", lambda file, data: (done.append("write"), write(file, data))[1])
    monkeypatch.setattr(os, "fdatasync", lambda file: done.append("fdatasync"))
    monkeypatch.setattr(os, "rename", lambda *names: (done.append("rename"), rename(*names))[1])
    monkeypatch.setattr(os, "fsync", lambda file: (done.append("fsync"), sync(file))[1])
    Journal(folder).append([make_delivery(b"{}")])
    assert ["rename", "fsync", "write", "fdatasync"] == done


def test_a_segment_being_written_cannot_be_claimed(folder):
    """Only its writer knows whether more will come."""
    writer = Journal(folder)
    writer.append([make_delivery(b"1")])
    (segment,) = segments(folder)
    with claim(segment) as ours:
        assert not ours
    writer.rotate()
    with claim(segment) as ours:
        assert ours


def test_a_segment_that_is_claimed_cannot_be_claimed_again(folder):
    """Two that seal at the same time do not get the same segment."""
    writer = Journal(folder)
    writer.append([make_delivery(b"1")])
    writer.rotate()
    (segment,) = segments(folder)
    with claim(segment) as first, claim(segment) as second:
        assert (True, False) == (first, second)


def test_a_segment_that_is_gone_is_nobodys(folder):
    """Another has sealed it meanwhile."""
    with claim(folder / "gone.ndjson") as ours:
        assert not ours


def test_a_segment_that_is_full_is_ended(folder, monkeypatch):
    """So that what sealing holds in memory has a limit."""
    monkeypatch.setattr(journal, "_SEGMENT_BYTES", 1000)
    writer = Journal(folder)
    for _ in range(4):
        writer.append([make_delivery(bytes(b"x" * 600))])
    assert [2, 2] == [len(read(segment, finished=True)) for segment in segments(folder)]


def test_many_threads_append_to_one_segment(folder):
    """Every delivery is there, whole, once."""
    writer = Journal(folder)

    def send(sender):
        for number in range(25):
            writer.append([make_delivery(f"{sender}-{number}".encode())])

    threads = [threading.Thread(target=send, args=(sender,)) for sender in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {f"{s}-{n}".encode() for s in range(8) for n in range(25)} == {d.body for d in everything(folder)}
    assert 200 == len(everything(folder))


def test_what_gathers_while_the_disk_is_busy_is_written_at_once(folder, monkeypatch):
    """Ten deliveries that come during one fsync share the next one; each returns only after it."""
    writer, syncs, busy, go_on = Journal(folder), [], threading.Event(), threading.Event()

    def slow(_file):
        busy.set()
        assert go_on.wait(30)
        syncs.append(len(everything(folder)))

    monkeypatch.setattr(os, "fdatasync", slow)
    synced_before_return = {}

    def send(number):
        writer.append([make_delivery(b"%d" % number)])
        synced_before_return[number] = len(syncs)

    threads = [threading.Thread(target=send, args=(number,)) for number in range(11)]
    threads[0].start()
    assert busy.wait(30)
    for thread in threads[1:]:
        thread.start()
    while len(writer._waiting) < 10:
        assert not go_on.wait(0.001)
    go_on.set()
    for thread in threads:
        thread.join()
    assert [1, 11] == syncs
    assert [2] * 10 == [synced_before_return[number] for number in range(1, 11)]


def test_an_error_is_for_all_that_shared_the_write(folder, monkeypatch):
    """None of them is acknowledged, none is kept, and the next write is a new one."""
    writer, errors, gate = Journal(folder), [], threading.Barrier(4)

    def send(number):
        gate.wait()
        try:
            writer.append([make_delivery(b"%d" % number)])
        except JournalError as error:
            errors.append(error)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", fail)
        threads = [threading.Thread(target=send, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert 4 == len(errors)
    writer.append([after := make_delivery(b"after")])
    assert [after] == everything(folder)


def test_a_torn_last_line_is_kept_aside_at_every_byte(folder):
    """A crash in the middle of a write: what was acknowledged before it is whole, the torn rest has a reason."""
    writer = Journal(folder)
    first, second = make_delivery(b'{"first": "\xc3\xbc"}'), make_delivery(b'{"second": 2}')
    writer.append([first])
    writer.append([second])
    writer.rotate()
    (segment,) = segments(folder)
    whole = segment.read_bytes()
    end_of_first = whole.index(b"\n") + 1
    for length in range(end_of_first, len(whole)):
        segment.write_bytes(whole[:length])
        assert [first] == read(segment, finished=False)
        kept, *torn = read(segment, finished=True)
        assert first == kept
        if length == end_of_first:
            assert [] == torn
        elif length < len(whole) - 1:
            assert [whole[end_of_first:length]] == [delivery.body for delivery in torn]
            assert "Torn journal line" in torn[0].error
        else:  # only the newline is missing, so all of it is there
            assert [second] == torn


def test_zeros_in_the_middle_are_kept_aside(folder):
    """After a power loss a file may have lost a block that was never synced."""
    writer = Journal(folder)
    deliveries = [make_delivery(b"1"), make_delivery(b"2"), make_delivery(b"3")]
    writer.append(deliveries)
    writer.rotate()
    (segment,) = segments(folder)
    lines = segment.read_bytes().split(b"\n")
    segment.write_bytes(b"\n".join([lines[0], bytes(len(lines[1])), lines[2], b""]))
    first, torn, third = read(segment, finished=True)
    assert [deliveries[0], deliveries[2]] == [first, third]
    assert "Torn journal line" in torn.error


def fail(*_):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("call", ["write", "fdatasync", "open"])
def test_a_delivery_that_cannot_be_stored_is_not_acknowledged_and_not_kept(folder, call):
    """Disk full: an error for the sender, nothing half-written, and it goes on by itself when there is room."""
    writer = Journal(folder)
    before, refused, after = make_delivery(b"before"), make_delivery(b"refused"), make_delivery(b"after")
    writer.append([before])
    if call == "open":
        writer.rotate()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, call, fail)
        with pytest.raises(JournalError, match=r"Cannot write to the journal in .*: No space left on device"):
            writer.append([refused])
    writer.append([after])
    assert [before, after] == everything(folder)


def test_half_a_write_is_taken_back(folder, monkeypatch):
    """The disk takes some bytes and then is full: the next delivery does not continue a torn line."""
    writer = Journal(folder)
    before, after = make_delivery(b"before"), make_delivery(b"after")
    writer.append([before])
    write = os.write
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", lambda file, data: write(file, data[:10]) if len(data) > 200 else fail())
        with pytest.raises(JournalError):
            writer.append([make_delivery(b"x" * 95)])
    writer.append([after])
    assert [before, after] == everything(folder)


def test_a_segment_that_is_gone_is_noticed(folder):
    """Somebody cleaned up, or a lock was lost and another process sealed it: what would be lost is not acknowledged."""
    writer = Journal(folder)
    writer.append([make_delivery(b"sealed")])
    (segment,) = segments(folder)
    segment.unlink()
    with pytest.raises(JournalError, match="the segment was removed while it was written"):
        writer.append([make_delivery(b"lost otherwise")])
    assert "removed" in writer.problem
    writer.append([make_delivery(b"again")])
    assert writer.problem is None
    assert [b"again"] == [delivery.body for delivery in everything(folder)]


def test_when_a_segment_was_begun(folder):
    """Its name says it."""
    before = datetime.now(UTC)
    Journal(folder).append([make_delivery(b"{}")])
    assert before <= journal.created(segments(folder)[0]) <= datetime.now(UTC)


def test_any_error_is_for_all_that_shared_the_write(folder, monkeypatch):
    """Not only one of the disk: nobody may take the error of another's turn for success."""
    writer, results, syncs, busy, go_on = Journal(folder), {}, [], threading.Event(), threading.Event()

    def send(number):
        try:
            writer.append([make_delivery(b"%d" % number)])
            results[number] = "stored"
        except JournalError as error:
            results[number] = str(error).rpartition(": ")[2]

    def sync(_file):
        syncs.append(busy.set())
        assert go_on.wait(30)
        if len(syncs) == 2:
            raise MemoryError

    monkeypatch.setattr(os, "fdatasync", sync)
    threads = [threading.Thread(target=send, args=(number,)) for number in range(4)]
    threads[0].start()
    assert busy.wait(30)
    for thread in threads[1:]:
        thread.start()
    while len(writer._waiting) < 3:
        assert not go_on.wait(0.001)
    go_on.set()
    for thread in threads:
        thread.join()
    assert {0: "stored"} | dict.fromkeys((1, 2, 3), "MemoryError.") == results
    assert [b"0"] == [delivery.body for delivery in everything(folder)]


# The tail


def test_the_tail_gives_each_delivery_once_as_it_comes(tmp_path):
    """Of all writers; what is not yet complete later; and of a segment that goes, all."""
    tail, writers = Tail(tmp_path), [Journal(tmp_path), Journal(tmp_path)]
    assert [] == tail.new()
    for number, writer in enumerate(writers):
        writer.append([make_delivery(b"%d" % number)])
    assert [b"0", b"1"] == sorted(delivery.body for delivery in tail.new())
    tail.make_durable()
    assert [] == tail.new()
    writers[0].append([make_delivery(b"2")])
    writers[0].rotate()
    for segment in segments(tmp_path):
        segment.unlink()
    assert [b"2"] == [delivery.body for delivery in tail.new()]
    assert [] == tail.new()


def test_the_tail_waits_for_the_end_of_a_line(tmp_path):
    whole = Journal(tmp_path / "whole")
    whole.append([make_delivery(b"one"), make_delivery(b"two")])
    (source,) = segments(tmp_path / "whole")
    data, target, tail = source.read_bytes(), tmp_path / source.name, Tail(tmp_path)
    target.write_bytes(data[: len(data) // 2 + 10])
    assert [b"one"] == [delivery.body for delivery in tail.new()]
    with target.open("ab") as file:
        file.write(data[len(data) // 2 + 10 :])
    assert [b"two"] == [delivery.body for delivery in tail.new()]


def test_the_tail_reads_what_is_written_just_before_a_segment_goes(tmp_path, monkeypatch):
    journal, tail = Journal(tmp_path), Tail(tmp_path)
    journal.append([make_delivery(b"one")])
    look = tail._look

    def looked(name):
        monkeypatch.setattr(tail, "_look", look)
        found = look(name)
        (segment,) = segments(tmp_path)
        journal.append([make_delivery(b"two")])
        segment.unlink()
        return found

    monkeypatch.setattr(tail, "_look", looked)
    assert [b"one", b"two"] == [delivery.body for delivery in tail.new()]
