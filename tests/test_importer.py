import gzip
import json
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
from foreign import harbor
from makers import NOW, A, envelope, journalled, make_event

from regstats import sealing
from regstats.errors import InputError
from regstats.importer import Imported, Intake, import_file
from regstats.journal import Journal, segments
from regstats.privacy import Privacy
from regstats.stats import Stats

LINES = [json.dumps({"events": [make_event(id=str(number))]}).encode() for number in range(3)]


@pytest.fixture
def imported(store, tmp_path):
    """Imports a file of some bytes."""

    def run(data, source="default"):
        path = tmp_path / "file"
        path.write_bytes(data)
        return import_file(path, store, Intake(source, NOW))

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
    """Nor does one that has grown since, or another that has the same events."""
    assert Imported(3, 0, 3, 0, 0) == imported(b"\n".join(LINES))
    assert Imported(0, 3, 0, 0, 0) == imported(b"\n".join(LINES))
    assert Imported(1, 3, 1, 0, 0) == imported(b"\n".join([*LINES, envelope(make_event(id="3")).replace(b"\n", b"")]))
    assert Imported(2, 0, 0, 2, 0) == imported(b"\n".join(LINES[1:]))


def test_what_is_not_understood_goes_to_quarantine(imported):
    """Line by line: the others count."""
    assert Imported(4, 0, 2, 0, 2) == imported(b"\n".join([b"garbage", LINES[0], b"{}", LINES[1]]))


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
    assert Imported() == imported(b"")


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
        import_file(tmp_path / "nosuch", store, Intake("default", NOW))


def test_real_recordings(store):
    """What a real registry sent can be imported, and all of it is understood."""
    path = Path(__file__).parent / "recordings/deliveries.jsonl.gz"
    done = import_file(path, store, Intake("default", NOW))
    assert done.events == done.deliveries > 170
    assert 0 == done.quarantined == done.duplicates


def csv_of(*rows, head="action,namespace,repository,tag,digest,timestamp,user_agent_tool,user_agent_version"):
    return "\n".join([head, *rows, ""]).encode()


@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_rows_of_docker_hub(imported, store, mark):
    """Each is what Docker has made of it already: a check before a pull stays one."""
    data = csv_of(
        "version_check,team,app,1.0,sha256:a,2026-11-20 10:00:00,docker,27.0",
        'pull_by_tag,team,app,1.0,sha256:a,2026-11-20 10:00:00,docker,"27.0"',
        "pull_by_digest,team,app,,sha256:b,2026-11-20 10:00:01,,",
        "",
    )
    assert Imported(3, 0, 3, 0, 0) == imported(mark.encode() + data)
    (row,) = Stats(store.root, now=NOW).repositories().to_dict("records")
    assert ("team/app", 2, 1) == (row["repository"], row["pulls"], row["version_checks"])
    assert Imported(0, 3, 0, 0, 0) == imported(mark.encode() + data)


def test_names_of_columns_as_people_write_them(imported):
    """With spaces and capitals."""
    head = "Action,Namespace,Repository,Tag,Digest,Timestamp,User agent tool,User agent version"
    assert 1 == imported(csv_of("pull_by_tag,team,app,1.0,sha256:a,2026-11-20 10:00:00,docker,27.0", head=head)).events


def test_a_summary_is_no_list_of_what_happened(imported):
    """It says which file would be."""
    assert 1 == imported(csv_of("team,app,3,1", head="namespace,repository,pull_by_tag,pull_by_digest")).quarantined


@pytest.mark.parametrize("indent", [None, 1])
def test_a_page_of_an_audit_log(imported, store, indent):
    """Each entry is a delivery of its own, however the list is written."""
    entry = {"username": "alice", "resource": "team/app:1.0", "resource_type": "artifact", "operation": "pull"}
    entries = [entry | {"id": number, "op_time": f"2026-11-20T10:0{number}:00Z"} for number in range(3)]
    assert Imported(3, 0, 3, 0, 0) == imported(json.dumps(entries, indent=indent).encode())
    assert 3 == Stats(store.root, now=NOW).pulls(interval="total")["pulls"].sum()


def test_a_recording_whose_payload_is_no_text(imported, store):
    """But JSON itself, beside the headers that say what it is about."""
    headers = {"Ce-Id": "1", "Ce-Type": "zot.image.updated", "Ce-Time": "2026-11-20T10:00:00Z"}
    body = {"name": "team/app", "reference": "1.0", "digest": "sha256:a"}
    assert 1 == imported(json.dumps({"method": "POST", "headers": headers, "body": body}, indent=2).encode()).events
    assert ["team/app"] == Stats(store.root, now=NOW).pushes(by="repository", interval="total")["repository"].tolist()


def test_the_same_payload_twice_in_a_file_is_two(imported, store):
    """Where a registry has no ids, nobody can tell whether it is the same one."""
    push = b'{"repository": "team/app", "docker_url": "", "updated_tags": ["1"]}\n'
    assert Imported(2, 0, 2, 0, 0) == imported(push * 2)
    assert Imported(0, 2, 0, 0, 0) == imported(push * 2)


def test_an_import_that_was_interrupted_is_done_again(store, tmp_path, monkeypatch):
    """Whatever was taken in before; nothing comes twice, nothing is missing."""
    lines = [envelope(make_event(id=str(number))).replace(b"\n", b"") for number in range(50)]
    path = tmp_path / "file"
    path.write_bytes(b"\n".join(lines))
    monkeypatch.setattr("regstats.importer._BATCH", 7)
    added = 0

    def add_some(*arguments):
        nonlocal added
        added += 1
        if added in (3, 6):
            raise KeyboardInterrupt
        return sealing.add(*arguments)

    monkeypatch.setattr("regstats.importer.add", add_some)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            import_file(path, store, Intake("default", NOW))
    done = import_file(path, store, Intake("default", NOW))
    assert (50, done.deliveries) == (done.known + done.deliveries, done.events)
    assert [(50, 50)] == Stats(store.root).sql(
        "select (select count(*) from deliveries), (select count(distinct event_id) from events)"
    ).fetchall()


def test_people_in_what_is_imported(store, tmp_path):
    """Are as unrecognisable as in what is received."""
    path = tmp_path / "file"
    path.write_bytes(LINES[0])
    import_file(path, store, Intake("default", NOW, privacy=Privacy(actors="drop", addresses="truncate")))
    assert [(None, "192.0.2.0")] == Stats(store.root).sql("select actor, client_address from events").fetchall()
    assert b"alice" not in b"".join(path.read_bytes() for path in store.root.rglob("*.parquet"))


def test_a_dialect_that_is_fixed(store, tmp_path):
    """By the settings of the source."""
    path = tmp_path / "file"
    path.write_bytes(b'{"detail": {"repository-name": "team/app", "image-tag": "1.0", "action-type": "PUSH"}}')
    assert 1 == import_file(path, store, Intake("aws", NOW, dialect="ecr")).events


def test_an_audit_log_reaches_up_to_the_first_webhook(imported, store):
    """Of each action: what the registry has told of itself is not counted again, nor if it is imported again."""

    def at(minute):
        return datetime(2026, 11, 20, 10, minute, tzinfo=UTC)

    journalled(store, msgspec.json.encode(harbor("team/app", "1.0", A, "live", at(30), "harbor.artifact.pulled")[1]))
    entry = {"username": "alice", "resource": "team/app:1.0", "resource_type": "artifact"}
    entries = [
        entry | {"operation": operation, "op_time": at(minute).isoformat(), "id": number}
        for number, (operation, minute) in enumerate([("pull", 10), ("pull", 30), ("pull", 40), ("create", 50)])
    ]
    assert Imported(2, 2, 2, 0, 0) == imported(json.dumps(entries).encode())
    assert Imported(0, 4, 0, 0, 0) == imported(json.dumps(entries).encode())
    stats = Stats(store.root, now=NOW)
    assert (2, 1) == (stats.pulls(interval="total")["pulls"].sum(), stats.pushes(interval="total")["pushes"].sum())
