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
_INLINE = 12  # bytes of a text that a view has in itself
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


def blocks(file: Any, size: int) -> Iterator[bytearray]:
    """All of it, about so many bytes at a time, each ending with a line."""
    while True:
        block = bytearray(size)  # into which the rest of its last line fits, mostly, without a copy of all of it
        del block[file.readinto(block) :]
        if not block:
            return
        if not block.endswith(b"\n"):
            block += _rest_of_line(file)
        yield block


def _rest_of_line(file: Any) -> bytes:
    """With its end, also where the file ends without one, or only the beginning of a very long line is kept."""
    rest = more = file.readline(LONGEST)
    while more and not more.endswith(b"\n"):
        more = file.readline(LONGEST)
    return bytes(rest.removesuffix(b"\n") + b"\n")


def lines(block: bytes | bytearray) -> pa.StringViewArray:
    """The lines of a block, without copying them. What is no UTF-8 becomes U+FFFD.

    Source of the layout: the Arrow columnar format, "Variable-size Binary View Layout".
    """
    if b"\r" in block:  # one byte is found much faster than two
        block = block.replace(b"\r\n", b"\n")
    try:
        block.decode()
    except UnicodeDecodeError:
        block = block.decode(errors="replace").encode()
    text = np.frombuffer(block, np.uint8)
    ends = np.flatnonzero(text == ord("\n"))
    lengths = np.diff(ends, prepend=-1) - 1
    starts = ends - lengths
    views = np.zeros((len(ends), 4), np.int32)
    views[:, 0] = lengths
    (long,), (short,) = np.nonzero(lengths > _INLINE), np.nonzero(lengths <= _INLINE)
    views[long, 1] = np.ndarray(max(len(text) - 3, 0), np.int32, block, strides=(1,))[starts[long]]  # how each begins
    views[long, 3] = starts[long]
    inline = views.view(np.uint8)[:, 4:]
    for column in range(_INLINE):
        some = short[lengths[short] > column]
        inline[some, column] = text[starts[some] + column]
    return pa.Array.from_buffers(pa.string_view(), len(ends), [None, pa.py_buffer(views), pa.py_buffer(block)])
