"""Clients that are slow, stop, or go away in the middle stand in nobody's way, and half a body is never a delivery."""

import socket
import struct
from contextlib import ExitStack

import pytest
from conftest import HOST
from makers import envelope, make_event
from test_serve import event_ids, expected, post

BODY = envelope(make_event())
HALF = BODY[: len(BODY) // 2]


@pytest.fixture
def quick(collector):
    """A collector that gives a delivery two seconds."""
    collector.settings["request_timeout"] = 2
    return collector.start()


def head(collector, *more, path="/events"):
    lines = [f"POST {path} HTTP/1.1", "Host: x", f"Authorization: Bearer {collector.token}", *more, "", ""]
    return "\r\n".join(lines).encode()


def half_body(collector):
    return head(collector, f"Content-Length: {len(BODY)}") + HALF


def half_chunk(collector):
    return head(collector, "Transfer-Encoding: chunked") + b"%x\r\n" % len(BODY) + HALF


def half_head(collector):
    return head(collector)[:40]


def nothing(_collector):
    return b""


def connected(collector, data):
    connection = socket.create_connection((HOST, collector.port), timeout=60)
    connection.sendall(data)
    return connection


@pytest.mark.parametrize("start", [half_body, half_chunk, half_head, nothing])
def test_many_that_stall_stop_nobody(quick, start):
    """Deliveries of others are taken meanwhile; those that stall are cut off, and leave nothing behind."""
    with ExitStack() as stack:
        stalled = [stack.enter_context(connected(quick, start(quick))) for _ in range(200)]
        assert [204] * 5 == [post(quick, number) for number in range(5)]
        for connection in stalled:
            assert_ended(connection)
    assert [204] * 5 == [post(quick, number) for number in range(5, 10)]
    assert 0 == quick.stop()
    assert expected(10) == event_ids(quick)


def assert_ended(connection):
    """The server ends the connection; before that it may say something, but never that it has stored it."""
    said = b""
    try:
        while data := connection.recv(4096):
            said += data
    except ConnectionResetError:
        pass
    assert b" 204 " not in said


def half_closed(connection):
    connection.shutdown(socket.SHUT_WR)
    assert_ended(connection)
    connection.close()


def closed(connection):
    connection.close()


def reset(connection):
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


@pytest.mark.parametrize("end", [half_closed, closed, reset])
def test_half_a_body_is_no_delivery(quick, end):
    """However its sender goes away."""
    for _ in range(10):
        end(connected(quick, half_body(quick)))
    assert 204 == post(quick, 0)
    quick.stop()
    assert expected(1) == event_ids(quick)
    assert [1] == [row["deliveries"] for row in quick.ask("health")]


def test_a_stop_does_not_wait_for_ever(collector):
    """For clients that never finish."""
    collector.settings["request_timeout"] = 3600
    collector.start()
    with ExitStack() as stack:
        for _ in range(20):
            stack.enter_context(connected(collector, half_body(collector)))
        assert 204 == post(collector, 0)
        assert 0 == collector.stop()
    assert expected(1) == event_ids(collector)
