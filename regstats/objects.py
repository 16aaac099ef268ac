"""Object storage as the place of a store: S3 and what speaks like it, Google's, Azure's.

Nothing there can be renamed or locked, but a PUT can be made to depend on what it replaces (If-Match, If-None-Match).
The manifest is replaced so: if it is not the one any more that was there when the lock was taken, nothing is committed.
The lock itself is an object with a holder, who writes it anew every few seconds. Who sees it unchanged for long, by its
own clock, takes it over; a holder who was only slow finds out at the latest when it commits, and commits nothing.
"""

import hashlib
import io
import os
import re
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
import obstore
from cachetools import LRUCache
from fsspec import AbstractFileSystem
from msgspec import Struct
from obstore.exceptions import AlreadyExistsError, BaseError, PreconditionError
from obstore.store import from_url

from regstats.errors import StoreError
from regstats.journal import sync_directory
from regstats.storage import MANIFEST

if TYPE_CHECKING:
    import duckdb
    from obstore import PutMode
    from obstore.store import ClientConfig, RetryConfig

_LOCK = "lock"
_EXPIRES, _RENEWED, _ASKED = 15.0, 4.0, 0.25
"""Seconds: after which a lock that does not change is free, between two signs of life, between two looks at it."""
_CLIENT: "ClientConfig" = {
    "timeout": timedelta(seconds=60),
    "connect_timeout": timedelta(seconds=5),
    "allow_http": True,
}
_RETRIES: "RetryConfig" = {"max_retries": 20, "retry_timeout": timedelta(minutes=2)}
_SMALL = 128 * 1024
"""Bytes that are got at once: most parts are small, and each request takes its time."""
_CREDENTIALS_OF_MACHINES = "http://169.254.169.254/"
"""Where machines of clouds ask for theirs, if nobody has set any."""
_KEPT = 256 * 1024 * 1024
"""Bytes of what was read that a process keeps: DuckDB asks for the same again with each question."""
_PATTERN = re.compile(r"[*?\[\]{}]")


class _Object(NamedTuple):
    """What is known of an object."""

    size: int
    modified: datetime
    e_tag: str


class _Holder(Struct, frozen=True):
    """What the lock says. A new `sign` each time, so that no two are equal."""

    by: str
    """Nobody, if empty."""
    sign: str


class Bucket:
    """A store in object storage. Raises StoreError where it cannot be reached, or is not what it should be."""

    def __init__(self, place: str, local: Path) -> None:
        if _PATTERN.search(place):
            raise StoreError(f"{place} cannot be the place of a store: its name has one of * ? [ ] {{ }}.")
        self._place, self._local = place, local
        self._scheme = f"regstats-{hashlib.sha256(place.encode()).hexdigest()[:12]}"
        self._mutex = threading.Lock()
        self._lease: _Lease | None = None
        self._tag: str | None = None
        self._known: dict[str, _Object] = {}
        self._pieces: LRUCache[tuple[str, int, int, str], bytes] = LRUCache(_KEPT, getsizeof=len)
        self._keeping = threading.Lock()
        with self._told():
            self._store = from_url(place, client_options=_CLIENT, retry_config=_RETRIES)

    def __str__(self) -> str:
        return self._place

    @property
    def owner(self) -> str:
        """An id of the local directory, made when it is first needed."""
        file = self._local / "id"
        with suppress(FileNotFoundError):
            return f"{file.read_text()}/"
        self._local.mkdir(parents=True, exist_ok=True)
        unseen = file.with_suffix(f".{secrets.token_hex(4)}")
        unseen.write_text(secrets.token_hex(8))
        with suppress(FileExistsError):
            os.link(unseen, file)  # of two at once, one is first
        unseen.unlink()
        sync_directory(self._local)
        return self.owner

    def url(self, name: str) -> str:
        """What DuckDB calls an object."""
        return f"{self._scheme}://{name}"

    def introduce(self, connection: "duckdb.DuckDBPyConnection") -> None:
        """Lets a connection of DuckDB read here."""
        connection.register_filesystem(_Files(self, self._scheme))

    def open(self, name: str) -> "_Reader":
        """An object for reading."""
        return _Reader(self, name)

    def known(self, name: str) -> _Object:
        """What is known of an object, which is looked for once: parts do not change. Raises FileNotFoundError.

        But a part that does not count may be written again, and writers look at such parts, too: see `exclusive`.
        """
        found = self._known.get(name)
        if found is None:
            with self._told():
                meta = obstore.head(self._store, name)
            found = self._known[name] = _Object(meta["size"], meta["last_modified"], str(meta["e_tag"]))
        return found

    def range(self, name: str, start: int, end: int, e_tag: str) -> bytes:
        """A piece of an object, if it is still the same one; what was read a moment ago is kept."""
        piece = name, start, end, e_tag
        with self._keeping:
            data = self._pieces.get(piece)
        if data is None:
            with self._told():
                found = obstore.get(self._store, name, options={"range": (start, end), "if_match": e_tag})
                data = bytes(found.bytes())
            if len(data) <= _KEPT:
                with self._keeping:
                    self._pieces[piece] = data
        return data

    @contextmanager
    def appearing(self, name: str) -> Iterator[Path]:
        """In the local directory, and then uploaded: an object is there whole, or not at all."""
        folder = self._local / "tmp"
        folder.mkdir(parents=True, exist_ok=True)
        unseen = folder / f"{secrets.token_hex(8)}.parquet"
        try:
            yield unseen
            with self._told():
                self._upload(name, unseen, "overwrite")
        finally:
            unseen.unlink(missing_ok=True)

    def remove(self, name: str) -> None:
        """Deletes an object, if it is there, and if nobody can have taken over the lock."""
        if self._lease is None or not self._lease.is_sure():
            raise StoreError(f"{name} is not deleted: it is not certain that nobody else writes to {self._place}.")
        with self._told(), suppress(FileNotFoundError):
            obstore.delete(self._store, name)

    def set_aside(self, name: str, aside: str) -> None:
        """Gives an object another name, if it is there."""
        with self._told(), suppress(FileNotFoundError):
            obstore.rename(self._store, name, aside)

    def names(self) -> Iterator[str]:
        """All objects that may be parts."""
        with self._told():
            found = [str(meta["path"]) for page in obstore.list(self._store) for meta in page]
        return (name for name in found if re.fullmatch(r"[^/]+/[^/]+=[^/]+/[^/]+[.]parquet", name))

    def manifest(self) -> bytes:
        """The manifest now. Raises FileNotFoundError."""
        return self._got(MANIFEST)[0]

    def publish(self, manifest: bytes) -> None:
        """In the place of the one that was there when the lock was taken, or not at all."""
        if self._lease is None:
            raise StoreError(f"{self._place} is not locked.")
        try:
            self._tag = self._put(MANIFEST, manifest, self._tag)
        except BaseError as error:
            # Whether a PUT without an answer has been done, nobody knows until it is seen.
            found, tag = self._found(MANIFEST)
            if found != manifest:
                told = f"Nothing was committed to {self._place}: {_reason(error)}"
                raise StoreError(f"{told} What is in the journal stays there.") from error
            self._tag = tag

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """By an object that its holder writes anew again and again."""
        with self._mutex, _Lease(self) as lease:
            self._lease = lease
            self._known.clear()
            try:
                _, self._tag = self._found(MANIFEST)
                yield
            finally:
                self._lease = None

    def is_writable(self) -> bool:
        """Nobody knows without trying."""
        return True

    # The lock

    def holder(self) -> tuple[_Holder | None, str | None]:
        """Who has the lock, and the tag of that; None where there never was one."""
        data, tag = self._found(_LOCK)
        return (None if data is None else msgspec.json.decode(data, type=_Holder)), tag

    def hold(self, holder: _Holder, tag: str | None) -> str | None:
        """Writes the lock, if it is still the one with that tag; the new tag, or None if it is another's."""
        try:
            return self._put(_LOCK, msgspec.json.encode(holder), tag)
        except (AlreadyExistsError, PreconditionError):
            return None
        except BaseError:
            found, tag = self.holder()
            return tag if found == holder else None

    # Requests

    def _put(self, name: str, data: bytes, tag: str | None) -> str:
        """Writes an object where that one is; the new tag. Raises what obstore does."""
        if tag is None:
            return self._upload(name, data, "create")
        try:
            return self._upload(name, data, {"e_tag": tag})
        except PreconditionError:  # Ceph 16 takes the quotes for a part of the tag
            return self._upload(name, data, {"e_tag": tag.strip('"')})

    def _upload(self, name: str, what: bytes | Path, mode: "PutMode") -> str:
        """Its tag."""
        try:
            return str(obstore.put(self._store, name, what, mode=mode)["e_tag"])
        except FileNotFoundError as error:
            raise StoreError(f"{self._place}: there is no such bucket. regstats makes none; make it first.") from error

    def _got(self, name: str) -> tuple[bytes, str]:
        with self._told():
            found = obstore.get(self._store, name)
            return bytes(found.bytes()), str(found.meta["e_tag"])

    def _found(self, name: str) -> tuple[bytes | None, str | None]:
        try:
            return self._got(name)
        except FileNotFoundError:
            return None, None

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Errors in the words of this program."""
        try:
            yield
        except BaseError as error:
            raise StoreError(f"{self._place}: {_reason(error)}") from error


class _Lease:
    """The lock of a bucket, for as long as the block lasts and this process gives signs of life."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket
        self._name = secrets.token_hex(8)
        self._tag: str | None = None
        self._renewed_at = 0.0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._renew, daemon=True)

    def __enter__(self) -> "_Lease":
        seen, since = "", time.monotonic()
        while True:
            began = time.monotonic()
            holder, tag = self._bucket.holder()
            if tag is not None and tag != seen:
                seen, since = tag, began
            is_free = holder is None or not holder.by or began - since > _EXPIRES
            if is_free and self._write(self._name, tag, began):
                break
            time.sleep(_ASKED)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()
        with suppress(StoreError):  # then it expires
            self._write("", self._tag, time.monotonic())

    def is_sure(self) -> bool:
        """Whether nobody can have taken it over: much less time has passed than that takes."""
        return time.monotonic() - self._renewed_at < _EXPIRES / 2

    def _write(self, by: str, tag: str | None, began: float) -> bool:
        self._tag = self._bucket.hold(_Holder(by, secrets.token_hex(8)), tag)
        if self._tag is not None:
            self._renewed_at = began
        return self._tag is not None

    def _renew(self) -> None:
        while not self._done.wait(_RENEWED):
            began = time.monotonic()
            with suppress(StoreError):  # the next try may succeed
                if self._tag is None or not self._write(self._name, self._tag, began):
                    return  # somebody else has it


class _Reader(io.RawIOBase):
    """An object, as a file that can be read anywhere. That it is replaced meanwhile is an error."""

    def __init__(self, bucket: Bucket, name: str) -> None:
        self._bucket, self._name = bucket, name
        self._object = bucket.known(name)
        self._position = 0
        self._whole = self._range(0, self._object.size) if self._object.size <= _SMALL else None

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def tell(self) -> int:
        """Where it is read next."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Goes there."""
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._object.size}[whence]
        self._position = start + offset
        return self._position

    def read(self, size: int | None = -1) -> bytes:
        """So many bytes, fewer only at the end."""
        left = max(0, self._object.size - self._position)
        size = left if size is None or size < 0 else min(size, left)
        if not size:
            return b""
        begin = self._position
        self._position += size
        if self._whole is not None:
            return self._whole[begin : begin + size]
        return self._range(begin, begin + size)

    def _range(self, begin: int, end: int) -> bytes:
        return self._bucket.range(self._name, begin, end, self._object.e_tag)


class _Files(AbstractFileSystem):  # type: ignore[misc]
    """A bucket as DuckDB wants it. Nothing is listed: all that is read is named."""

    cachable = False

    def __init__(self, bucket: Bucket, scheme: str) -> None:
        super().__init__()
        self.protocol = scheme
        self._bucket = bucket

    def info(self, path: str, **_: Any) -> dict[str, Any]:
        """What there is to know before it is read."""
        return {"name": path, "size": self._bucket.known(_named(path)).size, "type": "file"}

    def ls(self, path: str, detail: bool = True, **_: Any) -> list[Any]:
        """A file is all that is in it."""
        return [self.info(path) if detail else path]

    def open(self, path: str, mode: str = "rb", **_: Any) -> _Reader:
        """For reading, whatever the mode."""
        return self._bucket.open(_named(path))

    def modified(self, path: str) -> datetime:
        """By which DuckDB knows what it has read before."""
        return self._bucket.known(_named(path)).modified


def _named(url: str) -> str:
    return url.rpartition("://")[2]


def _reason(error: Exception) -> str:
    """What obstore says, without how often it tried and what its types are called."""
    text = str(error).partition("\n")[0].partition("Debug source")[0].strip()
    if _CREDENTIALS_OF_MACHINES in text:
        return (
            "No credentials were found: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give this machine a role."
        )
    return f"{text.rstrip('.')}."
