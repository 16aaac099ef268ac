"""What waits to be sent: nothing is lost, and nothing is tried for ever."""

from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from regstats.errors import DeliveryError
from regstats.outbox import PATIENCE, Attachment, Message, Outbox

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


def message(name="weekly", to="archive", made_at=NOW):
    file = Attachment("weekly.html", "text/html", bytes(range(256)))
    return Message(
        id=f"{name}-{to}", to=to, kind="report", name=name, subject="Subject", text="Text", attachments=[file],
        at=NOW, made_at=made_at,
    )  # fmt: skip


@pytest.fixture
def outbox(tmp_path):
    return Outbox(tmp_path)


@pytest.fixture
def arrived():
    return []


def failing(*destinations):
    def send(one):
        if one.to in destinations:
            raise DeliveryError("The line is dead.")

    return send


def what(outbox):
    return [line["what"] for line in outbox.log(100)]


def test_what_was_put_in_comes_out(outbox, arrived):
    """As it was, by whoever looks next, and then it is gone."""
    outbox.put(message())
    assert [message()] == Outbox(outbox.folder.parent).waiting()
    outbox.deliver(NOW, arrived.append)
    outbox.deliver(NOW, arrived.append)
    assert ([message()], [], ["delivered"]) == (arrived, outbox.waiting(), what(outbox))


def test_the_same_thing_is_there_once(outbox, arrived):
    """However often it is put in."""
    outbox.put(message())
    outbox.put(message())
    outbox.deliver(NOW, arrived.append)
    assert [message()] == arrived


def test_the_oldest_goes_first(outbox, arrived):
    """So that one after the other arrives as it happened."""
    outbox.put(message("a", made_at=NOW + timedelta(seconds=1)))
    outbox.put(message("b"))
    outbox.deliver(NOW, arrived.append)
    assert ["b", "a"] == [one.name for one in arrived]


def test_what_does_not_arrive_is_tried_again(outbox, arrived):
    """After a minute, after five more, and so on; with why it has not arrived."""
    outbox.put(message())
    outbox.deliver(NOW, failing("archive"))
    outbox.deliver(NOW + timedelta(seconds=59), arrived.append)
    assert [] == arrived
    (waiting,) = outbox.waiting()
    assert (1, "The line is dead.", NOW + timedelta(minutes=1)) == (waiting.attempts, waiting.error, waiting.due)
    outbox.deliver(NOW + timedelta(minutes=1), failing("archive"))
    outbox.deliver(NOW + timedelta(minutes=5, seconds=59), arrived.append)
    assert [] == arrived
    outbox.deliver(NOW + timedelta(minutes=6), arrived.append)
    assert (["weekly"], []) == ([one.name for one in arrived], outbox.waiting())
    assert ["not delivered", "not delivered", "delivered"] == what(outbox)


def test_it_is_given_up_after_a_day(outbox, arrived):
    """Who wants last week's report next week?"""
    outbox.put(message())
    for minute in range(int(PATIENCE.total_seconds() / 60) + 60):
        outbox.deliver(NOW + timedelta(minutes=minute), failing("archive"))
    assert ([], "given up") == (outbox.waiting(), what(outbox)[-1])
    assert 20 <= what(outbox).count("not delivered") <= 30
    assert "The line is dead." == outbox.log(1)[0]["error"]


def test_one_that_does_not_arrive_is_in_nobodys_way(outbox, arrived):
    """And to where one has just not arrived no other is tried."""
    tried = []

    def send(one):
        tried.append(one.id)
        failing("dead")(one)

    for name in ("a", "b"):
        for to in ("dead", "archive"):
            outbox.put(message(name, to))
    outbox.deliver(NOW, send)
    assert ["a-archive", "a-dead", "b-archive"] == sorted(tried)
    assert ["a-dead", "b-dead"] == [one.id for one in outbox.waiting()]


def test_what_cannot_be_read_is_put_aside(outbox, arrived, caplog):
    """And is in nobody's way."""
    outbox.put(message())
    (outbox.folder / "torn.json").write_bytes(b'{"id": "to')
    outbox.deliver(NOW, arrived.append)
    assert ([message()], [b'{"id": "to']) == (arrived, [path.read_bytes() for path in outbox.folder.glob("*.broken")])
    assert "cannot be read" in caplog.text


def test_a_mistake_of_ours_loses_nothing(outbox, caplog):
    """It is in the log, the message still there, and the next one sent."""
    outbox.put(message(to="first"))
    outbox.put(message(to="second"))
    outbox.deliver(NOW, lambda one: 1 / (one.to == "second"))
    (waiting,) = outbox.waiting()
    assert ("first", "division by zero", True) == (waiting.to, waiting.error, "A mistake of regstats" in caplog.text)


def test_a_line_of_the_log_that_was_not_finished(outbox, arrived):
    """Is left out."""
    outbox.put(message())
    outbox.deliver(NOW, arrived.append)
    with (outbox.folder / "log.ndjson").open("ab") as file:
        file.write(b'{"what": "deli')
    assert (["delivered"], []) == (what(outbox), outbox.log(0))


def test_what_is_remembered(outbox):
    """Until something else is; defaults before."""

    class State(msgspec.Struct):
        number: int = 0

    assert 0 == outbox.load(State).number
    outbox.put(message())
    outbox.remember(State(7))
    assert (7, 1) == (outbox.load(State).number, len(outbox.waiting()))
    (outbox.folder / "state.json").write_bytes(b'{"number": 8')
    assert 0 == outbox.load(State).number
    assert [b'{"number": 8'] == [path.read_bytes() for path in outbox.folder.glob("*.broken")]
