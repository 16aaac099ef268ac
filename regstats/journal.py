"""The journal: where a delivery becomes durable. An append-only log of newline-terminated JSON, one line per delivery.

A segment is one file, written by one process, which holds its lock (flock) for as long as it writes. So a segment
whose lock is free is finished, whether its writer closed it or died, and nothing has to be guessed.
"""

import errno
import fcntl
import os
import secrets
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from regstats.errors import JournalError
from regstats.events import TORN, Delivery

_SUFFIX, _NAME = ".ndjson", "%Y%m%dT%H%M%S%fZ"
_SEGMENT_BYTES = 32 * 1024 * 1024  # what sealing holds in memory at once
_FIRST_YEAR, _LAST_YEAR = 1970, 9000


class _Waiting:
    """Deliveries of one caller that are on their way to the disk."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.is_done = False
        self.error: Exception | None = None


class Journal:
    """Where one process writes. Thread-safe. Raises JournalError where a delivery could not be made durable.

    Group commit: while one thread waits for the disk, what other threads bring gathers, and the next of them takes all
    of it to the disk at once.
    """

    def __init__(self, directory: Path, observe: Callable[[float], None] = lambda seconds: None) -> None:
        self.problem: str | None = None
        """Why the last deliveries could not be stored; None if they could."""
        self._directory = directory
        self._observe = observe  # how long it took to have a group on disk
        self._arriving = threading.Lock()
        self._waiting: list[_Waiting] = []
        self._writing = threading.Lock()
        self._file: int | None = None
        self._size = 0

    def append(self, deliveries: Iterable[Delivery]) -> None:
        """Returns when all of them are on disk. On an error none of them is, and all must be sent again."""
        mine = _Waiting(b"".join(_encode(delivery) for delivery in deliveries))
        with self._arriving:
            self._waiting.append(mine)
        with self._writing:
            if not mine.is_done:
                self._commit()
        if mine.error is not None:
            raise JournalError(self._explain(mine.error)) from mine.error

    def _explain(self, error: Exception) -> str:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        return f"Cannot write to the journal in {self._directory}: {reason}."

    def _commit(self) -> None:
        """Takes everything that waits to the disk."""
        with self._arriving:
            group, self._waiting = self._waiting, []
        error: Exception | None = None
        try:
            self._write(b"".join(waiting.data for waiting in group))
        except Exception as reason:  # noqa: BLE001 - whatever it is (no memory): none of the group may be answered 204
            error = reason
            self._give_up_segment()
        self.problem = None if error is None else self._explain(error)
        for waiting in group:
            waiting.is_done, waiting.error = True, error
        if self._size >= _SEGMENT_BYTES:
            self._close()

    def rotate(self) -> None:
        """Ends the current segment, if any, so that it can be sealed."""
        with self._writing:
            self._close()

    def _write(self, data: bytes) -> None:
        started = time.perf_counter()
        if self._file is None:
            self._file = _create_segment(self._directory)
        written = 0
        while written < len(data):
            written += os.write(self._file, data[written:])
        os.fdatasync(self._file)
        if not os.fstat(self._file).st_nlink:
            raise OSError(errno.ESTALE, "the segment was removed while it was written")
        self._size += len(data)
        self._observe(time.perf_counter() - started)

    def _give_up_segment(self) -> None:
        """After a failed write the end of the segment is unknown, after a failed fsync all its pages are."""
        if self._file is None:
            return
        with suppress(OSError):  # a tail that stays torn is kept aside by sealing
            os.ftruncate(self._file, self._size)
        self._close()

    def _close(self) -> None:
        file, self._file, self._size = self._file, None, 0
        if file is not None:
            with suppress(OSError):  # all that counts is on disk, and the file is closed whatever close says
                os.close(file)  # releases the lock


def segments(directory: Path) -> list[Path]:
    """Every segment, oldest first, being written or not."""
    return sorted(directory.glob(f"*{_SUFFIX}"))


def created(segment: Path) -> datetime:
    """When a segment was begun."""
    return datetime.strptime(segment.stem.partition("-")[0], _NAME).replace(tzinfo=UTC)


def exists(directory: Path, segment: str) -> bool:
    """Whether the segment of that name is still in the journal."""
    return (directory / f"{segment}{_SUFFIX}").exists()


class Tail:
    """What is appended to a journal by any process, as it comes; what was there before comes first.

    A segment that goes, because it was sealed, is read to its end. One that came and went between two looks is not
    seen: whoever must not miss anything looks into the store as well, now and then.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._open: dict[str, int] = {}
        self._read: dict[str, int] = {}

    def new(self) -> list[Delivery]:
        """What has come since the last look. It is on its way to the disk: see `make_durable`."""
        for segment in segments(self._directory):
            if segment.name not in self._open:
                with suppress(FileNotFoundError):
                    self._open[segment.name] = os.open(segment, os.O_RDONLY)
        found = [delivery for name in list(self._open) for delivery in self._look(name)]
        for name in [name for name, file in self._open.items() if not os.fstat(file).st_nlink]:
            found += self._look(name)  # what was written between the two
            os.close(self._open.pop(name))
            self._read.pop(name, None)
        return found

    def _look(self, name: str) -> list[Delivery]:
        file, start = self._open[name], self._read.get(name, 0)
        state = os.fstat(file)
        if state.st_size <= start:
            return []
        *lines, tail = os.pread(file, state.st_size - start, start).split(b"\n")
        self._read[name] = state.st_size - len(tail)
        written_at = datetime.fromtimestamp(state.st_mtime, UTC)
        return [_decode(line, (name, start), written_at) for line in lines]

    def make_durable(self) -> None:
        """What has been read is on disk from here on, whatever its writer is about to find out. Raises OSError."""
        for file in self._open.values():
            os.fdatasync(file)


@contextmanager
def claim(segment: Path) -> Iterator[bool]:
    """Whether the segment is finished and now ours; it is until the end of the block."""
    try:
        file = os.open(segment, os.O_RDONLY)
    except FileNotFoundError:
        yield False
        return
    try:
        yield lock(file)
    finally:
        os.close(file)


def read(segment: Path, *, finished: bool) -> list[Delivery]:
    """The deliveries of a segment. What comes after the last newline was never acknowledged.

    While the segment is being written that is a line not yet complete, and skipped. In a finished one it is torn: it
    comes back as a delivery with an `error`, and so does any line that is not what was written.
    """
    data = segment.read_bytes()
    *lines, tail = data.split(b"\n")
    if finished and tail:
        lines.append(tail)
    written_at = datetime.fromtimestamp(segment.stat().st_mtime, UTC)
    name = segment.stem
    return [_decode(line, (name, number), written_at) for number, line in enumerate(lines)]


class _Line(Struct, kw_only=True, omit_defaults=True, forbid_unknown_fields=True, gc=False):
    """A delivery in the journal. The body is text where it is valid UTF-8, so that people can read the file.

    Strict, because a damaged line may still be JSON: with an unknown key its body would be lost, and with a time that
    has no zone, or is not of this age, it could not be sealed beside others.
    """

    received_at: Annotated[datetime, Meta(tz=True)]
    delivery_id: str
    source: str
    dialect: str | None = None
    remote_address: str | None = None
    headers: dict[str, str] = {}
    body: str | None = None
    body_base64: bytes | None = None

    def __post_init__(self) -> None:
        if not _FIRST_YEAR <= self.received_at.year <= _LAST_YEAR:
            raise ValueError(f"received in {self.received_at.year}")


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(_Line)


def _encode(delivery: Delivery) -> bytes:
    text = binary = None
    try:
        text = delivery.body.decode()
    except UnicodeDecodeError:
        binary = delivery.body
    line = _Line(
        received_at=delivery.received_at,
        delivery_id=delivery.delivery_id,
        source=delivery.source,
        dialect=delivery.dialect,
        remote_address=delivery.remote_address,
        headers=delivery.headers,
        body=text,
        body_base64=binary,
    )
    return _encoder.encode(line) + b"\n"


def _decode(data: bytes, place: tuple[str, int], written_at: datetime) -> Delivery:
    try:
        line = _decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        reason = f"Torn journal line, never acknowledged: {error}."
        name = "{}-{}".format(*place)
        return Delivery(received_at=written_at, delivery_id=name, source=TORN, headers={}, body=data, error=reason)
    return Delivery(
        received_at=line.received_at,
        delivery_id=line.delivery_id,
        source=line.source,
        dialect=line.dialect,
        remote_address=line.remote_address,
        headers=line.headers,
        body=line.body_base64 or (line.body or "").encode(),
    )


def _create_segment(directory: Path) -> int:
    """A new segment, locked before it can be seen under its name, and its name durable."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"{datetime.now(UTC):{_NAME}}-{secrets.token_hex(4)}{_SUFFIX}"
    unseen = path.with_suffix(".new")
    file = os.open(unseen, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o640)
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
        unseen.rename(path)
        sync_directory(directory)
    except OSError:
        os.close(file)
        raise
    return file


def lock(file: int, *, wait: bool = False) -> bool:
    """Whether the lock of an open file is ours now; nobody else has it then."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    return True


def sync_directory(directory: Path) -> None:
    """Makes names in a directory durable."""
    file = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)
