"""What counts as a pull: the published rules, recordings of real clients, and an oracle."""

import csv
import gzip
import json
import os
import random
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import oracle
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from makers import BLOB, INDEX, MANIFEST, NOW, envelope, journalled, make_delivery, make_event

from regstats.compact import account
from regstats.config import NOBODY
from regstats.events import Event
from regstats.journal import Journal
from regstats.payloads import understand
from regstats.sealing import seal
from regstats.stats import Stats
from regstats.store import Store

RECORDINGS = Path(__file__).parent / "recordings"
MEDIA_TYPES = {"blob": BLOB, "index": INDEX, "manifest": MANIFEST}

# Docker Hub's action classification, the source of the rule: what it starts with, what follows from the same client,
# and what it is. Letters are digests: I is an index, M and N are its children, S is a single image.
RULES = {
    "HEAD tag": (["HEAD :1 S"], "version_check"),
    "HEAD tag, GET the digest": (["HEAD :1 S", "GET S"], "pull_by_tag"),
    "HEAD tag, GET the tag": (["HEAD :1 S", "GET :1 S"], "pull_by_tag"),
    "HEAD tag of an index, GET it and a child": (["HEAD :1 I", "GET I", "GET M"], "pull_by_tag"),
    "HEAD tag of an index, GET it and its children": (["HEAD :1 I", "GET I", "GET M", "GET N"], "pull_by_tag"),
    "HEAD tag of an index that is cached, GET a child": (["HEAD :1 I", "GET M"], "pull_by_tag"),
    "GET tag": (["GET :1 S"], "pull_by_tag"),
    "GET tag of an index, GET its children": (["GET :1 I", "GET M", "GET N"], "pull_by_tag"),
    "GET digest": (["GET S"], "pull_by_digest"),
    "HEAD digest": (["HEAD S"], "pull_by_digest"),
    "HEAD digest, GET it": (["HEAD S", "GET S"], "pull_by_digest"),
    "GET digest of an index, GET a child": (["GET I", "GET M"], "pull_by_digest"),
    "HEAD digest of an index, GET its children": (["HEAD I", "GET I", "GET M", "GET N"], "pull_by_digest"),
    "HEAD digest of an index that is cached, GET a child": (["HEAD I", "GET M"], "pull_by_digest"),
    "GET tag, push it elsewhere": (["GET :1 S", "PUT :2 S"], "lookup"),
    "GET tag, delete it": (["GET :1 S", "DELETE S"], "lookup"),
    "HEAD tag, push it": (["HEAD :1 S", "PUT :1 S"], "lookup"),
    "GET tag of an index, GET its children, push it": (["GET :1 I", "GET M", "GET N", "PUT :2 I"], "lookup"),
    "GET tag and layers, push it": (["GET :1 S", "GET blob", "PUT :2 S"], "pull_by_tag"),
    "GET tag, push another": (["GET :1 S", "PUT :2 M"], "pull_by_tag"),
}
DIGESTS = {name: f"sha256:{name * 64}" for name in "IMNS"}


def happen(*steps, at=NOW, seconds=1, **changes):
    """Events from steps as they stand in the table above."""
    for number, step in enumerate(steps):
        method, *tag, what = step.split()
        yield make_event(
            at=at + timedelta(seconds=number * seconds),
            action={"PUT": "push", "DELETE": "delete"}.get(method, "pull"),
            method=method,
            tag=tag[0][1:] if tag else None,
            digest=DIGESTS.get(what, "sha256:" + "b" * 64),
            media_type=None if method == "DELETE" else {"I": INDEX, "blob": BLOB}.get(what, MANIFEST),
            **changes,
        )


def kinds(stats):
    """How many there are of each kind."""
    return dict(stats.sql("select kind, count(*) from pulls group by all order by all").fetchall())


@pytest.mark.parametrize(("steps", "expected"), RULES.values(), ids=RULES)
def test_published_rules(stats_of, steps, expected):
    """Each gives one of its kind, and all requests for manifests are in it."""
    stats = stats_of(*happen(*steps))
    assert {expected: 1} == kinds(stats)
    requests = [step for step in steps if step[:3] in ("HEA", "GET") and "blob" not in step]
    assert [(len(requests),)] == stats.sql("select requests from pulls").fetchall()


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        (["GET :1 S"] * 3, {"pull_by_tag": 3}),
        (["HEAD :1 S", "GET S"] * 3, {"pull_by_tag": 3}),
        (["HEAD :1 S"] * 3 + ["GET S"] * 3, {"pull_by_tag": 3}),
        (["HEAD :1 S"] * 3 + ["GET S"] * 2, {"pull_by_tag": 2, "version_check": 1}),
        (["HEAD :1 S", "HEAD :2 S", "GET S", "GET S"], {"pull_by_tag": 2}),
        (["HEAD :1 S", "GET S", "HEAD :2 S"], {"pull_by_tag": 1, "version_check": 1}),
        (["HEAD :1 S", "HEAD :1 S", "GET :1 S", "GET :1 S"], {"pull_by_tag": 2}),
        (["GET :1 S", "GET :2 S", "GET S"], {"pull_by_digest": 1, "pull_by_tag": 2}),
        (["GET :1 I"] * 8 + ["GET M"] * 8, {"pull_by_tag": 8}),
        (["GET :1 I", "GET M"] * 8, {"pull_by_tag": 8}),
        (["HEAD :1 I"] * 8 + ["GET I"] * 8 + ["GET M"] * 8, {"pull_by_tag": 8}),
        (["GET S", "GET S"], {"pull_by_digest": 2}),
        (["HEAD :1 S", "GET :1 S", "GET S"], {"pull_by_digest": 1, "pull_by_tag": 1}),
    ],
)
def test_several_in_a_row_and_at_once(stats_of, steps, expected):
    """Each counts, of the same or of different tags, one after another or in parallel."""
    assert expected == kinds(stats_of(*happen(*steps)))


@pytest.mark.parametrize(
    ("steps", "apart"),
    [
        (["HEAD :1 S", "GET S"], {"pull_by_digest": 1, "version_check": 1}),
        (["HEAD :1 S", "GET :1 S"], {"pull_by_tag": 1, "version_check": 1}),
        (["GET :1 I", "GET M"], {"pull_by_digest": 1, "pull_by_tag": 1}),
        (["GET :1 S", "PUT :2 S"], {"pull_by_tag": 1}),
    ],
)
def test_what_is_too_far_apart_is_two(store, tmp_path, steps, apart):
    """Sixty seconds, and not one more."""
    for seconds in (60, 61):
        other = Store(tmp_path / str(seconds), create=True)
        journalled(other, *(envelope(event) for event in happen(*steps, seconds=seconds)))
        assert (apart == kinds(Stats(other.root))) == (seconds == 61)


def test_a_pull_is_over_after_an_hour(stats_of):
    """However closely children or blobs go on to follow."""
    stats = stats_of(*happen("GET :1 I", *["GET M"] * 75, seconds=50))
    assert {"pull_by_digest": 3, "pull_by_tag": 1} == kinds(stats)
    stats = stats_of(*happen("GET :1 S", *["GET blob"] * 75, seconds=50, repository="other"))
    assert [(72,)] == stats.sql("select blobs from pulls where repository = 'other'").fetchall()


@pytest.mark.parametrize("other", [{"actor": "bob"}, {"addr": "192.0.2.8:1"}, {"user_agent": "x"}, {"repository": "x"}])
def test_two_clients_are_two(stats_of, other):
    """Another actor, address, program, or repository."""
    head, _ = happen("HEAD :1 S", "GET S")
    _, get = happen("HEAD :1 S", "GET S", **other)
    assert {"pull_by_digest": 1, "version_check": 1} == kinds(stats_of(head, get))


def test_the_tag_is_that_of_the_head(stats_of):
    """Docker's GET has none."""
    (row,) = stats_of(*happen("HEAD :1 S", "GET S")).sql("select tag, digest, kind, requests from pulls").fetchall()
    assert ("1", DIGESTS["S"], "pull_by_tag", 2) == row


def test_an_index_that_lists_its_children_takes_no_others(stats_of):
    """Where the registry says what an index refers to, another image by digest is a pull of its own."""
    listed = [{"digest": DIGESTS["M"]}, {"digest": DIGESTS["N"]}]
    index, child, single = happen("GET :1 I", "GET M", "GET S")
    index["target"]["references"] = listed
    assert {"pull_by_digest": 1, "pull_by_tag": 1} == kinds(stats_of(index, child, single))


def test_parallel_pulls_of_two_indexes_that_list_their_children(stats_of):
    """Each child finds its own."""
    first, second, child = happen("GET :1 I", "GET :2 I", "GET M")
    second["target"]["digest"] = "sha256:" + "0" * 64
    first["target"]["references"], second["target"]["references"] = [{"digest": DIGESTS["M"]}], [{"digest": "sha256:1"}]
    stats = stats_of(first, second, child)
    assert [("1", 2), ("2", 1)] == stats.sql("select tag, requests from pulls order by tag").fetchall()


def test_children_may_follow_for_a_while(stats_of):
    """A copy of all platforms takes its time: each within a minute of the one before."""
    assert {"pull_by_tag": 1} == kinds(stats_of(*happen("GET :1 I", "GET M", "GET N", "GET S", seconds=50)))


def test_blobs_and_bytes(stats_of):
    """A single blob is the config, more are layers; the size is that of the blobs, an upper bound of what was sent."""
    first = list(happen("GET :1 S", "GET blob", "GET blob", "GET blob"))
    second = list(happen("GET :2 S", "GET blob", at=NOW + timedelta(minutes=5)))
    head = next(happen("HEAD blob", at=NOW + timedelta(minutes=5)))
    rows = (
        stats_of(*first, *second, head).sql("select tag, blobs, bytes, downloaded from pulls order by tag").fetchall()
    )
    assert [("1", 3, 3 * 502, True), ("2", 1, 502, False)] == rows


def test_sources_are_apart(store):
    """The same client at two registries did two things."""
    head, get = (envelope(event) for event in happen("HEAD :1 S", "GET S"))
    journal = Journal(store.journal)
    for source, body in (("one", head), ("two", get)):
        journal.append([make_delivery(body, source=source)])
    journal.rotate()
    assert {"pull_by_digest": 1, "version_check": 1} == kinds(Stats(store.root))


# Recordings of real clients.


@pytest.fixture(scope="module")
def captures():
    """Name → (the truth, the events that were recorded)."""
    with (RECORDINGS / "truth.tsv").open() as file:
        truth = {row["capture"]: row for row in csv.DictReader(file, delimiter="\t")}
    recorded = {name: [] for name in truth}
    with gzip.open(RECORDINGS / "deliveries.jsonl.gz") as file:
        for line in map(json.loads, file):
            recorded[line["capture"]].append(make_delivery(line["body"].encode()))
    return {name: (row, understand(recorded[name])[1]) for name, row in truth.items()}


COUNTED = """
    select
      count(*) filter (kind = 'pull_by_tag') as pull_by_tag,
      count(*) filter (kind = 'pull_by_digest') as pull_by_digest,
      count(*) filter (kind = 'version_check') as version_check,
      count(*) filter (kind like 'pull%' and downloaded) as downloads,
      (select count(*) from pushes) as tagged_manifest_pushes
    from pulls
"""


def counted(root):
    (row,) = Stats(root, exclude=NOBODY).sql(COUNTED).to_arrow_table().to_pylist()
    return row


def wire(event):
    """An event as the registry sends it again."""
    references = event.reference_digests and [{"digest": digest} for digest in event.reference_digests]
    return make_event(
        id=event.event_id, at=event.timestamp, action=event.action, method=event.method, tag=event.tag,
        repository=event.repository, media_type=MEDIA_TYPES.get(event.kind), digest=event.digest, size=event.size,
        actor=event.actor, addr=event.client_address, user_agent=event.user_agent, request_id=event.request_id,
        references=references,
    )  # fmt: skip


def receive(store, events):
    """Puts events into a store, as they would come in."""
    journal = Journal(store.journal)
    journal.append(make_delivery(envelope(wire(event)), source=event.source) for event in events)
    journal.rotate()
    seal(store)


def in_a_store(folder, events):
    store = Store(folder, create=True)
    receive(store, events)
    return store


@pytest.mark.slow
def test_every_recording_is_exact(captures, tmp_path):
    """One operation of a real client each; the truth is what the person at the client did."""
    decided = 0
    for name, (truth, events) in captures.items():
        figures = counted(in_a_store(tmp_path / name, events).root) if events else dict.fromkeys(FIGURES, 0)
        expected = {figure: int(truth[figure]) for figure in FIGURES if truth[figure] != "?"}
        assert expected == {figure: figures[figure] for figure in expected}, name
        decided += len(expected)
    assert decided > 400


FIGURES = ("pull_by_tag", "pull_by_digest", "version_check", "downloads", "tagged_manifest_pushes")


@pytest.mark.slow
def test_twenty_thousand_operations_of_two_thousand_clients(captures, tmp_path):
    """Shuffled together in time, a client's own operations further apart than the window: exactly the sum."""
    chosen = [(truth, events) for truth, events in captures.values() if events and "?" not in truth.values()]
    dice, expected, events = random.Random(1), dict.fromkeys(FIGURES, 0), []
    free = [datetime(2026, 11, 20, tzinfo=UTC) + timedelta(seconds=dice.uniform(0, 600)) for _ in range(2000)]
    for number in range(20_000):
        client = number % 2000
        truth, operation = dice.choice(chosen)
        first, last = operation[0].timestamp, max(event.timestamp for event in operation)
        for place, event in enumerate(operation):
            events.append(msgspec.structs.replace(
                event,
                event_id=f"{number}-{place}",
                request_id=f"{number}-{event.request_id}",
                timestamp=free[client] + (event.timestamp - first),
                client_address=f"10.0.{client // 250}.{client % 250}",
            ))  # fmt: skip
        free[client] += (last - first) + timedelta(seconds=61 + dice.expovariate(1 / 3000))
        expected = {figure: expected[figure] + int(truth[figure]) for figure in FIGURES}
    dice.shuffle(events)
    store = in_a_store(tmp_path / "all", events)
    assert expected == counted(store.root)
    account(store, NOW)
    assert expected == counted(store.root)


# The oracle: any order, any interleaving.

moments = st.sampled_from([0, 0, 0.001, 0.5, 1, 5, 30, 59, 60, 60.000001, 61, 200, 3000, 50_000])
LISTS = {"a": ["c", "d"], "b": None}


@st.composite
def streams(draw):
    """Events of a few clients that ask for a few manifests, at times around the limits and around midnight."""
    at, events = datetime(2026, 11, 21, 23, 58, tzinfo=UTC), []
    for number in range(draw(st.integers(1, 25))):
        at += timedelta(seconds=draw(moments))
        digest = draw(st.sampled_from("abcde"))
        kind = "index" if digest in LISTS else "manifest"
        action = draw(st.sampled_from(["pull"] * 6 + ["blob"] * 3 + ["push", "delete"]))
        method, tag = draw(st.sampled_from(["GET", "GET", "HEAD"])), draw(st.sampled_from([None, "1", "2"]))
        references = LISTS.get(digest) if draw(st.booleans()) else None
        if action == "blob":
            action, kind, tag, digest, references = "pull", "blob", None, draw(st.sampled_from("xyz")), None
        elif action == "delete":
            kind, tag, references = "unknown", None, None
        events.append(
            Event(
                event_id=f"{draw(st.integers(0, 9))}-{number}",
                source=draw(st.sampled_from(["one", "one", "two"])),
                dialect="distribution",
                timestamp=at,
                timestamp_trusted=True,
                received_at=at,
                action=action,
                kind=kind,
                repository=draw(st.sampled_from(["r", "r", "r", "q"])),
                tag=tag,
                digest=digest,
                media_type=None,
                size=draw(st.sampled_from([None, 5, 7])),
                from_repository=None,
                reference_digests=references,
                actor=draw(st.sampled_from(["alice", "alice", None])),
                client_address=draw(st.sampled_from(["192.0.2.7", None])),
                user_agent="curl/8",
                client="curl",
                client_version="8",
                method={"push": "PUT", "delete": "DELETE"}.get(action, method),
                request_id=None,
                registry=None,
                instance_id=None,
                delivery_id="1",
            )
        )
    return draw(st.permutations(events))


def pulls(store):
    names = "event_id, kind, requests, blobs, bytes"
    return sorted(Stats(store.root).sql(f"select {names} from pulls").fetchall())


@pytest.mark.slow
@pytest.mark.usefixtures("one_database")
@settings(max_examples=500 if os.environ.get("STRESS") else 60)
@given(events=streams())
def test_the_accounting_is_that_of_the_oracle(tmp_path_factory, events):
    """Whatever the clients do, in whatever order it arrives."""
    store = in_a_store(tmp_path_factory.mktemp("oracle"), events)
    assert sorted(map(tuple, oracle.account(events))) == pulls(store)


@pytest.mark.slow
@pytest.mark.usefixtures("one_database")
@settings(max_examples=300 if os.environ.get("STRESS") else 20)
@given(events=streams(), batches=st.integers(1, 4), closed=st.lists(st.integers(0, 4), max_size=4))
def test_dates_that_are_accounted_for_beforehand_have_the_same_pulls(tmp_path_factory, events, batches, closed):
    """Whenever it is done between the batches, on both sides of midnight, with events that come late."""
    store = Store(tmp_path_factory.mktemp("closed"), create=True)
    for number in range(batches):
        receive(store, events[number::batches])
        if number < len(closed):
            account(store, datetime(2026, 11, 22, 4, tzinfo=UTC) + timedelta(days=closed[number]))
    expected = pulls(in_a_store(tmp_path_factory.mktemp("fresh"), events))
    assert expected == pulls(store)
    account(store, NOW + timedelta(days=30))
    assert expected == pulls(store)
