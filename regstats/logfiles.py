"""Files of lines, however they are compressed, many lines at a time as Arrow: reading them costs next to nothing."""

import bz2
import gzip
import io
import lzma
import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa

from regstats.errors import InputError

STDIN = Path("-")
LONGEST = 1 << 20
"""Bytes of the longest line that is kept whole. Of a longer one its beginning is."""

_BLOCK = 1 << 20
_ERRORS = (OSError, EOFError, zlib.error, lzma.LZMAError, pa.ArrowInvalid)

Advance = Callable[[int], object]


def _zstd(file: Any) -> Any:
    return io.BufferedReader(pa.CompressedInputStream(pa.PythonFile(file, "r"), "zstd"))


_COMPRESSED: dict[bytes, Callable[[Any], Any]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ\x00": lzma.open,
    b"\x28\xb5\x2f\xfd": _zstd,
}
"""By what such files begin with; their names say nothing."""


class _Counted(io.RawIOBase):
    """A file that tells how much of it is read."""

    def __init__(self, file: BinaryIO, advance: Advance) -> None:
        self._file, self._advance = file, advance

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._file.read(len(buffer))
        buffer[: len(data)] = data
        self._advance(len(data))
        return len(data)


@contextmanager
def opened(path: Path, advance: Advance = lambda _: None) -> Iterator[Any]:
    """What is in a file, or comes from standard input. Raises InputError where it cannot be read."""
    try:
        with sys.stdin.buffer if path == STDIN else path.open("rb") as file:
            plain = io.BufferedReader(_Counted(file, advance), _BLOCK)
            start = plain.peek(8)
            unpack = next((unpack for magic, unpack in _COMPRESSED.items() if start.startswith(magic)), None)
            yield plain if unpack is None else io.BufferedReader(unpack(plain), _BLOCK)
    except _ERRORS as error:
        raise InputError(f"Cannot read {path}: {getattr(error, 'strerror', None) or error}.") from None


def blocks(file: BinaryIO, size: int) -> Iterator[bytes]:
    """All of it, about so many bytes at a time, each ending with a line."""
    rest = b""
    while data := file.read(size):
        end = data.rfind(b"\n") + 1
        if not end:
            rest = (rest + data)[:LONGEST]
            continue
        yield rest + data[:end]
        rest = data[end:]
    if rest:
        yield rest + b"\n"


def lines(block: bytes) -> pa.StringArray:
    """The lines of a block, each with its newline. What is no UTF-8 becomes U+FFFD."""
    if b"\r" in block:  # one byte is found much faster than two
        block = block.replace(b"\r\n", b"\n")
    try:
        block.decode()
    except UnicodeDecodeError:
        block = block.decode(errors="replace").encode()
    ends = np.flatnonzero(np.frombuffer(block, np.uint8) == ord("\n")).astype(np.int32) + 1
    offsets = np.concatenate([np.zeros(1, np.int32), ends])
    return pa.Array.from_buffers(pa.string(), len(ends), [None, pa.py_buffer(offsets), pa.py_buffer(block)])
