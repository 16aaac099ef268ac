"""Where the parts and the manifest of a store are: a directory. `objects` has the same for object storage.

Names are paths from the root of the store, with `/`.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from regstats import parts

if TYPE_CHECKING:
    import duckdb

MANIFEST = "manifest.json"


def is_url(place: str) -> bool:
    """Whether a place is object storage, and not a directory."""
    return "://" in place


class Source(Protocol):
    """A file that can be read anywhere in it."""

    def read(self, size: int = -1, /) -> bytes:
        """So many bytes, or all that are left."""

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """Goes there."""


class Storage(Protocol):
    """What a store asks of the place where its parts and its manifest are."""

    @property
    def owner(self) -> str:
        """How segments of this machine's journal are told from those of others; empty where all have one journal."""

    def url(self, name: str) -> str:
        """What DuckDB calls a file, once it knows the place."""

    def introduce(self, connection: "duckdb.DuckDBPyConnection") -> None:
        """Lets a connection of DuckDB know the place."""

    def open(self, name: str) -> str | Source:
        """A file for PyArrow."""

    def appearing(self, name: str) -> AbstractContextManager[Path]:
        """Where to write a file that then is there whole and durable, or not at all."""

    def remove(self, name: str) -> None:
        """Deletes a file that nobody reads any more, if it is there."""

    def set_aside(self, name: str, aside: str) -> None:
        """Gives a file another name, if it is there."""

    def names(self) -> Iterator[str]:
        """All files that may be parts."""

    def manifest(self) -> bytes:
        """The manifest now. Raises FileNotFoundError."""

    def publish(self, manifest: bytes) -> None:
        """The one point of commit: from now on this is the manifest. Only within `exclusive`."""

    def exclusive(self) -> AbstractContextManager[None]:
        """No other writer until the end of the block."""

    def is_writable(self) -> bool:
        """Whether it is worth to try and write."""


class Disk:
    """A directory of a local or shared filesystem."""

    owner = ""

    def __init__(self, root: Path) -> None:
        self._root = root

    def __str__(self) -> str:
        return str(self._root)

    def url(self, name: str) -> str:
        """The path."""
        return str(self._root / name)

    def introduce(self, connection: "duckdb.DuckDBPyConnection") -> None:
        """DuckDB knows disks."""

    def open(self, name: str) -> str:
        """The path: PyArrow opens it itself."""
        return self.url(name)

    def appearing(self, name: str) -> AbstractContextManager[Path]:
        """Beside its place, and renamed."""
        return parts.appearing(self._root / name)

    def remove(self, name: str) -> None:
        """Deletes a file, if it is there."""
        (self._root / name).unlink(missing_ok=True)

    def set_aside(self, name: str, aside: str) -> None:
        """Renames a file, if it is there."""
        target = self._root / aside
        target.parent.mkdir(exist_ok=True)
        with suppress(FileNotFoundError):
            (self._root / name).rename(target)

    def names(self) -> Iterator[str]:
        """All files that may be parts."""
        return (path.relative_to(self._root).as_posix() for path in self._root.glob("*/*=*/*.parquet"))

    def manifest(self) -> bytes:
        """The manifest now. Raises FileNotFoundError."""
        return (self._root / MANIFEST).read_bytes()

    def publish(self, manifest: bytes) -> None:
        """By renaming."""
        with self.appearing(MANIFEST) as unseen:
            unseen.write_bytes(manifest)

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """By the lock of a file (flock)."""
        file = os.open(self._root / "lock", os.O_WRONLY | os.O_CREAT, 0o640)
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield
        finally:
            os.close(file)

    def is_writable(self) -> bool:
        """Whether this user may write."""
        return os.access(self._root, os.W_OK)
