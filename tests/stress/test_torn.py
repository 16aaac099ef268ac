"""The journal, torn or damaged at every byte: what was whole counts, the rest is kept aside, and nothing fails."""

import collections
import itertools
import json
import secrets

import msgspec
import pytest
from makers import NOW, days, envelope, make_delivery, make_event, make_push

from regstats.check import check
from regstats.compact import compact
from regstats.events import TORN
from regstats.journal import Journal, segments
from regstats.sealing import seal
from regstats.stats import Stats
from regstats.store import Store

PER_STORE = 100


def make_deliveries():
    """A few of all kinds, with ids that no damage makes equal."""
    bodies = [
        envelope(make_event(id=secrets.token_hex(8)), make_event(id=secrets.token_hex(8), at=NOW - days(2))),
        b"\xff\x00 not text\n",
        envelope(make_push(id=secrets.token_hex(8), repository="größe/\U0001f40b", actor=None)),
        b'{"no": "dialect"}',
        envelope(make_event(id=secrets.token_hex(8), at="")),
    ]
    return [msgspec.structs.replace(make_delivery(body), delivery_id=secrets.token_hex(8)) for body in bodies]


def event_ids(deliveries):
    """The ids of events that each delivery holds."""
    found = []
    for delivery in deliveries:
        try:
            found.append([event["id"] for event in json.loads(delivery.body)["events"]])
        except (ValueError, KeyError):
            found.append([])
    return found


def written(deliveries, folder):
    """The bytes of a segment."""
    journal = Journal(folder)
    journal.append(deliveries)
    journal.rotate()
    (segment,) = segments(folder)
    data = segment.read_bytes()
    segment.unlink()
    return data


def length_of_segment(tmp_path):
    return len(written(make_deliveries(), tmp_path / "length"))


def stores_of(tmp_path, segments_data):
    """Stores with so many segments each, whose writer has died."""
    for number in itertools.count():
        some = list(itertools.islice(segments_data, PER_STORE))
        if not some:
            return
        store = Store(tmp_path / str(number), create=True)
        store.journal.mkdir()
        for position, (data, _) in enumerate(some):
            (store.journal / f"20261124T1200{position:08}Z-00000000.ndjson").write_bytes(data)
        yield store, [expected for _, expected in some]


def bodies_of(store, condition):
    return sorted(row[0] for row in Stats(store.root).sql(f"select body from deliveries where {condition}").fetchall())


def ids_of(store):
    return sorted(row[0] for row in Stats(store.root).sql("select event_id from events").fetchall())


def assert_well(store):
    assert [] == check(store, NOW, deep=True)
    compact(store, NOW)
    assert [] == check(store, NOW, deep=True)
    Stats(store.root, now=NOW).health()


def torn_at(offset, tmp_path):
    """A segment that ends at a byte; and what must become of it."""
    deliveries = make_deliveries()
    whole = written(deliveries, tmp_path / "written")
    data = whole[: min(offset, len(whole))]
    complete = data.count(b"\n")
    tail = data.rpartition(b"\n")[2]
    is_only_the_newline_missing = bool(tail) and whole[len(data) :].startswith(b"\n")
    sealed = complete + is_only_the_newline_missing
    ids = event_ids(deliveries)
    return data, {
        "seen": list(itertools.chain.from_iterable(ids[:complete])),
        "events": list(itertools.chain.from_iterable(ids[:sealed])),
        "bodies": [delivery.body for delivery in deliveries[:sealed]],
        "torn": [tail] if tail and not is_only_the_newline_missing else [],
    }


def gathered(expectations, key):
    return sorted(itertools.chain.from_iterable(expected[key] for expected in expectations))


def test_torn_at_every_byte(tmp_path, rng, often):
    """What was complete counts, the torn tail never does, and goes to quarantine."""
    length = length_of_segment(tmp_path)
    offsets = [*range(0, length, often(rng.randint(40, 60), 1)), length - 1, length]
    for store, expected in stores_of(tmp_path, (torn_at(offset, tmp_path) for offset in offsets)):
        assert gathered(expected, "seen") == ids_of(store)
        assert [] == [finding for finding in check(store, NOW, deep=True) if finding.is_problem]
        assert sum(bool(one["torn"]) for one in expected) == seal(store).quarantined - quarantined(expected)
        assert gathered(expected, "events") == ids_of(store)
        assert gathered(expected, "bodies") == bodies_of(store, f"source <> '{TORN}'")
        assert gathered(expected, "torn") == bodies_of(store, f"source = '{TORN}' and error is not null")
        assert_well(store)


def quarantined(expectations):
    """How many whole deliveries nobody understands."""
    return sum(b"events" not in body for expected in expectations for body in expected["bodies"])


def damaged_at(offset, rng, tmp_path):
    """A segment in which a byte is another; and the bodies that must be there all the same."""
    deliveries = make_deliveries()
    data = bytearray(written(deliveries, tmp_path / "written"))
    offset = min(offset, len(data) - 1)
    hit = data[:offset].count(b"\n")
    lost = {hit, hit + 1} if data[offset] == ord("\n") else {hit}  # the next one begins in the middle of a line
    data[offset] ^= rng.choice([1 << rng.randrange(8), rng.randrange(1, 256)])
    return bytes(data), [delivery.body for number, delivery in enumerate(deliveries) if number not in lost]


def test_damaged_at_every_byte(tmp_path, rng, often):
    """Sealing never fails, and every other delivery is there, byte for byte."""
    length = length_of_segment(tmp_path)
    offsets = range(0, length, often(rng.randint(40, 60), 1))
    for store, expected in stores_of(tmp_path, (damaged_at(offset, rng, tmp_path) for offset in offsets)):
        Stats(store.root).pulls()
        seal(store)
        there = collections.Counter(bodies_of(store, "true"))
        assert [] == list((collections.Counter(itertools.chain.from_iterable(expected)) - there).elements())
        assert_well(store)


LINE = b'{"received_at":"2026-11-24T12:00:00Z","delivery_id":"d","source":"default","body":%s}'
UNTIMED = msgspec.json.encode(envelope(make_event(at="")).decode())


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"2026-11-24T12:00:00Z", b"2026-11-24T12:00:00.1234567"),  # a Z that became a digit
        (b"2026-11-24T12:00:00Z", b"0001-01-01T00:00:00Z"),
        (b"2026-11-24T12:00:00Z", b"9999-12-31T23:59:59Z"),
        (b'"body"', b'"bodx"'),
        (b'"source"', b'"tource"'),
        (b'"default"', b'"journal"'),
        (b'"body":', b'"body":"\\ud800","body":'),
    ],
)
def test_damage_that_leaves_valid_json(store, old, new):
    """Nothing fails for it, neighbours count, and what was sent is still in the store."""
    line = LINE % UNTIMED
    assert old in line
    store.journal.mkdir()
    neighbour = LINE.replace(b'"d"', b'"e"') % msgspec.json.encode(envelope(make_event(id="other", at="")).decode())
    (store.journal / "20261124T120000000000Z-00000000.ndjson").write_bytes(
        line.replace(old, new) + b"\n" + neighbour + b"\n"
    )
    Stats(store.root, now=NOW).pulls()
    seal(store)
    assert "other" in ids_of(store)
    assert any(b"registry.example" in body and b"other" not in body for body in bodies_of(store, "true"))
    assert_well(store)
