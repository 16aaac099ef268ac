import gzip
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from makers import NOW, envelope, make_event

from regstats.errors import InputError
from regstats.importer import import_file
from regstats.journal import Journal, segments
from regstats.sealing import Sealed
from regstats.stats import Stats

LINES = [json.dumps({"events": [make_event(id=str(number))]}).encode() for number in range(3)]


@pytest.fixture
def imported(store, tmp_path):
    """Imports a file of some bytes."""

    def run(data, source="default"):
        path = tmp_path / "file"
        path.write_bytes(data)
        return import_file(path, store, source, NOW)

    return run


@pytest.mark.parametrize(
    "data",
    [
        b"\n".join(LINES),
        b"\n".join(LINES) + b"\n",
        b"\r\n".join(LINES) + b"\n\n",
        gzip.compress(b"\n".join(LINES)),
        envelope(*(json.loads(line)["events"][0] for line in LINES)),
        gzip.compress(envelope(*(json.loads(line)["events"][0] for line in LINES))),
        json.dumps({"events": [json.loads(line)["events"][0] for line in LINES]}).encode(),
    ],
    ids=["lines", "last newline", "other newlines", "gzip", "one payload", "one payload, gzip", "one line"],
)
def test_forms_of_files(imported, store, data):
    """A payload per line, or one in all, gzipped or not: told by content, not by name."""
    assert 3 == imported(data).events
    assert 3 == Stats(store.root).pulls()["pulls"].sum()
    assert [] == segments(store.journal)


def test_the_same_file_again_counts_nothing_twice(imported):
    """Or a file that overlaps with what was received."""
    assert Sealed(3, 3, 0, 0) == imported(b"\n".join(LINES))
    assert Sealed(3, 0, 3, 0) == imported(b"\n".join(LINES))


def test_what_is_not_understood_goes_to_quarantine(imported):
    """Line by line: the others count."""
    assert Sealed(4, 2, 0, 2) == imported(b"\n".join([b"garbage", LINES[0], b"{}", LINES[1]]))


def test_recorded_deliveries(imported, store):
    """A line may be a delivery with its headers and time; credentials are not taken over."""
    recorded = {
        "received_at": 1795488682.25,
        "method": "POST",
        "headers": {"Content-Type": "application/json", "Authorization": "Bearer secret"},
        "body": LINES[0].decode(),
    }
    iso = recorded | {"received_at": "2026-11-24T04:51:22+01:00", "body": LINES[1].decode()}
    assert 2 == imported(json.dumps(recorded).encode() + b"\n" + json.dumps(iso).encode()).events
    table = Stats(store.root).sql("select received_at, headers, body from deliveries order by 1 desc").to_arrow_table()
    assert [datetime(2026, 11, 24, 3, 51, 22, tzinfo=UTC), datetime(2026, 11, 24, 2, 51, 22, 250000, UTC)] == table[
        "received_at"
    ].to_pylist()
    assert [[("Content-Type", "application/json")]] * 2 == table["headers"].to_pylist()
    assert [LINES[1], LINES[0]] == table["body"].to_pylist()


@pytest.mark.parametrize("moment", [1e300, -1e300, "0001-01-01T00:00:00Z", "9999-12-31T23:59:59-14:00", -1e11])
def test_an_absurd_time_of_receipt_gives_way_to_now(imported, store, moment):
    """It is in the way of nothing: neither of the import, nor of sealing what else comes."""
    recorded = {"received_at": moment, "body": envelope(make_event(at="")).decode()}
    assert 1 == imported(json.dumps(recorded).encode()).events
    assert [(NOW,)] == Stats(store.root).sql("select timestamp from events").fetchall()


def test_the_source_can_be_named(imported, store):
    """As if it had come in at /events/NAME."""
    imported(LINES[0], source="lab")
    assert ["lab"] == list(Stats(store.root, now=NOW).pulls(by="source")["source"])


def test_an_empty_file_is_nothing(imported):
    """Not an error, and not a delivery."""
    assert Sealed() == imported(b"")


def test_beside_a_running_collector(imported, store):
    """Its segment stays its own."""
    running = Journal(store.journal)
    running.append([])
    assert 1 == imported(LINES[0]).events
    assert 1 == len(segments(store.journal))


@pytest.mark.parametrize("data", [gzip.compress(b"\n".join(LINES))[:-20], b"\x1f\x8bnot gzip"])
def test_a_damaged_file(imported, data):
    """What can be read before the damage is kept, and the error names the file."""
    with pytest.raises(InputError, match=r"Cannot read .*file"):
        imported(data)


def test_a_file_that_is_not_there(store, tmp_path):
    """Named."""
    with pytest.raises(InputError, match=r"Cannot read .*nosuch: No such file or directory"):
        import_file(tmp_path / "nosuch", store, "default", NOW)


def test_real_recordings(store):
    """What a real registry sent can be imported, and all of it is understood."""
    path = Path(__file__).parent / "recordings/deliveries.jsonl.gz"
    done = import_file(path, store, "default", NOW)
    assert done.events == done.deliveries > 170
    assert 0 == done.quarantined == done.duplicates
