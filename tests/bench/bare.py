"""The least that a durable collector in Python can do: accept, read, append, fdatasync, answer, close; one thread.

python tests/bench/bare.py PORT FILE
"""

import os
import socket
import sys
import time

ANSWER = b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n"


def main(port, path):
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    listener = socket.create_server(("127.0.0.1", port), backlog=1024)
    while True:
        connection, _ = listener.accept()
        with connection:
            received = read(connection)
            if received:
                os.write(file, b"%.6f %b\n" % (time.time(), received))
                os.fdatasync(file)
                connection.sendall(ANSWER)


def read(connection):
    """A whole request; nothing of one that was not sent to its end."""
    received = b""
    while True:
        more = connection.recv(65536)
        if not more:
            return b""
        received += more
        head, separator, body = received.partition(b"\r\n\r\n")
        if separator and len(body) >= length(head):
            return received


def length(head):
    return next((int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
