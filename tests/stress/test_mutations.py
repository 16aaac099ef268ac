"""Promise 8: whatever is posted is answered 204, stored byte for byte, and in the way of nothing else."""

import collections
import hashlib
import io
import json
import random
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest
from makers import BLOB, INDEX, NOW, days, envelope, make_event, make_push

from regstats.app import create_app
from regstats.check import check
from regstats.compact import compact
from regstats.config import NOBODY, Settings
from regstats.formats import FORMATS
from regstats.journal import Journal
from regstats.metrics import METRICS
from regstats.parameters import DIMENSIONS, INTERVALS
from regstats.rebuild import rebuild
from regstats.sealing import seal
from regstats.stats import Stats

PER_SEAL, SENDERS = 2_000, 16


def recordings():
    """What real registries sent, where such recordings lie beside the checkout."""
    folder = Path(__file__).parents[3] / "shared" / "captures"
    for file in sorted(folder.glob("*.jsonl")):
        for line in file.read_bytes().splitlines():
            yield json.loads(line)["body"]


def made():
    digest = "sha256:" + "b" * 64
    yield envelope(make_event(), make_push(), make_event(method="HEAD"))
    yield envelope(make_event(media_type=INDEX, references=[{"digest": digest, "size": 7}]))
    yield envelope(make_event(digest=digest, tag=None), make_event(media_type=BLOB, tag=None, size=2**40))
    yield envelope(make_push(action="mount", from_repository="team/base", media_type=BLOB, tag=None))
    yield envelope(make_event(action="delete", method="DELETE", media_type=None, size=0, digest=None))
    yield envelope(make_event(repository="größe/\U0001f40b", actor="Zoë", addr="[2001:db8::7]:443", at=NOW - days(2)))


PAYLOADS = [*(body.decode() for body in made()), *recordings()]

TEXTS = [
    "", " ", "\x00", "a\x00b", "\ud800", "\udfff\ud800", "\u2028", "\u202egnp.exe", "\ufeff", "e\u0301" * 50,
    "\U0010ffff", "x" * 20_000, "'; drop table events; --", "../../../etc/passwd", "date=2026-11-24", "*?[",
    "$tz {where}", "null", "0", "true", "192.0.2.7", "fe80::1%eth0", "[::1", "::ffff:1.2.3.4:5", "999.1.1.1:5", ":",
    "sha256:", "journal", "application/octet-stream", INDEX, "DELETE", "HEAD", "pull", "push", "delete", "mount",
]  # fmt: skip
TIMES = [
    "0001-01-01T00:00:00Z", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59.999999999Z", "9999-12-31T23:59:59-14:00",
    "2026-11-25T12:00:00Z", "2026-11-25T12:00:00.000001Z", "2014-01-01T00:00:00Z", "2013-12-31T23:59:59Z", "2026-11-24",
    "2026-11-24T24:00:00Z", "2026-11-24T12:00:60Z", "2026-W48-2T12", "20261124T120000", "2026-11-24T12:00:00+23:59:59",
    "2026-11-24T12:00", "1795488682", "2026-11-24\ud80012:00:00Z", "2026-11-24T12:00:00.123456789012345678901234567Z",
]  # fmt: skip
DEEP = "stands for many brackets"  # more than Python would write
NUMBERS = [0, -1, 1, 2**31, 2**53 + 1, 2**63 - 1, 2**63, -(2**63) - 1, 10**400, 1e308, 0.5, -0.0]


def any_value(rng):
    some = [None, True, False, {}, [], [None], {"": None}, DEEP, [DEEP], {"x": DEEP}, [{}] * 1_000]
    return rng.choice([rng.choice(some), rng.choice(TEXTS), rng.choice(TIMES), rng.choice(NUMBERS)])


def places(value):
    """Every container in a document, with each of its keys."""
    keys = value.keys() if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for key in keys:
        yield value, key
        yield from places(value[key])


def replaced(document, rng):
    container, key = rng.choice(list(places(document)))
    container[key] = any_value(rng)


def retimed(document, rng):
    for event in document["events"]:
        event["timestamp"] = rng.choice(TIMES)


def resized(document, rng):
    for event in document["events"]:
        event["target"]["size"] = rng.choice(NUMBERS)


def removed(document, rng):
    container, key = rng.choice(list(places(document)))
    del container[key]


def renamed(document, rng):
    container, key = rng.choice(list(places(document)))
    if isinstance(container, dict):
        container[rng.choice([key.upper(), rng.choice(TEXTS), key + "\x00"])] = container.pop(key)


def repeated(document, rng):
    document["events"] = document["events"] * rng.choice([2, 10])


def exchanged(document, rng):
    (a, i), (b, j) = rng.choices(list(places(document)), k=2)
    a[i], b[j] = json.loads(json.dumps(b[j])), json.loads(json.dumps(a[i]))


DOCUMENT_CHANGES = [replaced, replaced, retimed, resized, removed, renamed, repeated, exchanged]


def changed_document(text, rng):
    document = json.loads(text)
    for _ in range(rng.choice([1, 1, 2, 4])):
        try:
            rng.choice(DOCUMENT_CHANGES)(document, rng)
        except (IndexError, KeyError, TypeError):
            continue  # what it would change is gone by now
    text = json.dumps(document, ensure_ascii=rng.random() < 0.7)
    brackets = rng.choice([1, 50, 900, 20_000])
    text = text.replace(json.dumps(DEEP), "[" * brackets + "]" * brackets)
    if rng.random() < 0.1:  # a key that is there twice
        text = text.replace('"id": ', f'"id": {json.dumps(rng.choice(TEXTS))}, "id": ', 1)
    return text.encode("utf-8", "surrogatepass")


def changed_bytes(body, rng):
    data = bytearray(body)
    for _ in range(rng.choice([1, 1, 1, 3, 20])):
        at, size = rng.randrange(len(data) + 1), rng.choice([1, 1, 4, 300])
        match rng.randrange(6):
            case 0:
                data[at : at + 1] = bytes([rng.randrange(256)])
            case 1:
                del data[at : at + size]
            case 2:
                data[at:at] = rng.randbytes(size)
            case 3:
                data[at:at] = data[at : at + size]
            case 4 if rng.random() < 0.2:
                del data[at:]
            case 5:
                other = rng.choice(PAYLOADS).encode()
                data[at:] = other[rng.randrange(len(other)) :]
    return bytes(data)


def mutation(rng):
    text = rng.choice(PAYLOADS)
    if rng.random() < 0.9:  # else it comes again, and again
        document = json.loads(text)
        for event in document["events"]:
            event["id"] = rng.randbytes(8).hex()
        text = json.dumps(document, indent=3, ensure_ascii=False)
    body = changed_document(text, rng) if rng.random() < 0.5 else changed_bytes(text.encode(), rng)
    return body[:1_000_000]


class Client:
    """Posts to the real application, without a server."""

    def __init__(self, store):
        self.journal = Journal(store.journal)
        settings = Settings(data=str(store.root))
        self._app = create_app(settings, self.journal, lambda: NOW)

    def post(self, body, rng):
        header = rng.choice(["", "application/json", "\xff\x00\n", "ü; charset=utf-7", "x" * 5_000])
        answers = []
        environ = {
            "REQUEST_METHOD": "POST",
            "PATH_INFO": "/events",
            "CONTENT_LENGTH": str(len(body)),
            "CONTENT_TYPE": header,
            "HTTP_X_REGSTATS_NOTE": header,
            "REMOTE_ADDR": "192.0.2.1",
            "wsgi.input": io.BytesIO(body),
        }
        self._app(environ, lambda status, headers: answers.append(status))
        return answers


def test_whatever_is_posted(store, rng, often):
    """Mutations of what registries send: all stored, none in the way; and everything can be asked and made again."""
    client, sent = Client(store), collections.Counter()
    with ThreadPoolExecutor(SENDERS) as senders:
        for _ in range(often(6_000, 200_000) // PER_SEAL):
            for hashes in senders.map(post_some, [client] * SENDERS, [rng.random() for _ in range(SENDERS)]):
                sent.update(hashes)
            client.journal.rotate()
            assert PER_SEAL == seal(store).deliveries
    assert_stored(store, sent)
    assert_answers(store)
    before = events_of(store)
    rebuild(store, NOW)
    compact(store, NOW)
    assert before == events_of(store)
    assert_stored(store, sent)
    assert [] == [finding for finding in check(store, NOW, deep=True) if finding.is_problem]


def post_some(client, seed):
    rng, hashes = random.Random(seed), []
    for _ in range(PER_SEAL // SENDERS):
        body = mutation(rng)
        assert ["204 No Content"] == client.post(body, rng)
        hashes.append(hashlib.sha256(body).hexdigest())
    return hashes


def events_of(store):
    return {row[0] for row in Stats(store.root).sql("select event_id from events").fetchall()}


def assert_stored(store, sent):
    """Every body as it was sent; each either understood, with events, or in quarantine, with a reason."""
    rows = Stats(store.root).sql("select sha256(body), error, event_count from deliveries").fetchall()
    assert sent == collections.Counter(row[0] for row in rows)
    assert [] == [row for row in rows if row[1] is None and row[2] < 1]
    assert [] == [row for row in rows if row[1] == ""]
    quarantined = sum(row[1] is not None for row in rows)
    print(f"{len(rows)} deliveries, {quarantined} in quarantine, {len(events_of(store))} events")
    assert len(rows) > quarantined > len(rows) / 10


def assert_answers(store):
    """Every metric can be had, for every interval and by every column, and be shown."""
    for now in (NOW, NOW + days(1)):
        stats = Stats(store.root, now=now, exclude=NOBODY)
        frames = [stats.quarantine(limit=50), *(getattr(stats, metric)() for metric in METRICS)]
        for interval in INTERVALS:
            frames += [metric(interval=interval, tz="Asia/Kathmandu") for metric in (stats.pulls, stats.pushes)]
        frames += [stats.activity(interval="day"), stats.pulls(by=list(DIMENSIONS), interval="total")]
        for frame in frames:
            for write in FORMATS.values():
                write(frame.drop(columns="body", errors="ignore").head(500))


@pytest.mark.parametrize("age", [0, 3])
def test_sizes_whose_sum_is_too_large(store, age):
    """One sender cannot make all pulls unanswerable by claiming absurd sizes."""
    at, largest = NOW - days(age), 2**63 - 1
    blobs = [
        make_event(at=at + timedelta(seconds=1 + n), media_type=BLOB, size=largest, tag=None, digest=f"sha256:{n}")
        for n in range(3)
    ]
    client = Client(store)
    assert ["204 No Content"] == client.post(envelope(make_event(at=at), *blobs), random.Random(0))
    assert [1] == list(Stats(store.root, now=NOW).pulls(interval="total")["pulls"])
    client.journal.rotate()
    seal(store)
    compact(store, NOW)
    assert [(largest,)] == Stats(store.root, now=NOW).sql("select bytes from pulls").fetchall()
    assert [] == check(store, NOW, deep=True)
