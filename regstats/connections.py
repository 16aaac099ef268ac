"""No connection outlasts a limit, whatever its client does: sends slowly, stops, or never reads.

granian limits the time for the head of a request, not for its body. A connection takes one request, so how long a
connection lasts is how long a delivery takes.
"""

import os
import socket
import time
from collections.abc import Iterator
from contextlib import suppress


class Connections:
    """The connections that this process has accepted on a port."""

    def __init__(self, port: int, seconds: float) -> None:
        self._port, self._seconds = port, seconds
        self._seen: dict[int, float] = {}

    def end_overdue(self) -> None:
        """Shuts down what was seen first longer ago than the limit: who reads from it finds it cut off."""
        now, seen = time.monotonic(), {}
        for connection in _accepted(self._port):
            inode = os.fstat(connection.fileno()).st_ino  # a file number can be another connection's by the next time
            seen[inode] = self._seen.get(inode, now)
            if now - seen[inode] >= self._seconds:
                with suppress(OSError):  # it has ended by itself
                    connection.shutdown(socket.SHUT_RDWR)
        self._seen = seen


def _accepted(port: int) -> Iterator[socket.socket]:
    """Every accepted connection, each as a duplicate that lasts until the next."""
    for name in os.listdir("/dev/fd"):  # noqa: PTH208 - numbers, not paths
        with suppress(OSError), _duplicate(int(name)) as connection:
            if connection.family != socket.AF_UNIX and connection.getsockname()[1] == port and connection.getpeername():
                yield connection


def _duplicate(file: int) -> socket.socket:
    """Raises OSError where the file is not a socket, or not any more."""
    duplicate = os.dup(file)
    try:
        return socket.socket(fileno=duplicate)
    except OSError:
        os.close(duplicate)
        raise
