"""(payload, expected) pairs: what a delivery says, and why it is in quarantine."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from makers import BLOB, INDEX, MANIFEST, NOW, envelope, make_delivery, make_event

from regstats.errors import PayloadError
from regstats.parts import EVENTS, to_table
from regstats.payloads import _payloads, distribution, kept_headers, parse, understand

DIGEST = "sha256:" + "b" * 64


def only(*events, **delivery):
    """The one event of an envelope."""
    parsed = parse(make_delivery(envelope(*events), **delivery))
    assert parsed.error is None
    (event,) = parsed.events
    return event


def reason(body):
    parsed = parse(make_delivery(body))
    assert parsed.events == []
    return parsed.error


def test_every_field_of_a_pull():
    """A manifest GET by tag, as docker-registry 2.8.2 sends it, ends up in the columns it belongs to."""
    event = only(
        {
            "id": "2109b422",
            "timestamp": "2026-11-24T03:51:22.227644262+09:00",
            "action": "pull",
            "target": {
                "mediaType": MANIFEST,
                "size": 502,
                "digest": DIGEST,
                "length": 502,
                "repository": "demo/app",
                "url": f"http://127.0.0.1:5000/v2/demo/app/manifests/{DIGEST}",
                "tag": "1.0",
                "references": [{"digest": "sha256:1", "size": 3}, {"digest": "sha256:2"}],
            },
            "request": {
                "id": "52fe28ca",
                "addr": "192.0.2.9:39674",
                "host": "registry.example:5000",
                "method": "GET",
                "useragent": "containers/5.23.1 (github.com/containers/image)",
            },
            "actor": {"name": "alice"},
            "source": {"addr": "vm:5000", "instanceID": "ebc2a2d4"},
        }
    )
    expected = {
        "event_id": "2109b422",
        "source": "default",
        "dialect": "distribution",
        "timestamp": datetime(2026, 11, 23, 18, 51, 22, 227644, UTC),
        "timestamp_trusted": True,
        "received_at": NOW,
        "action": "pull",
        "kind": "manifest",
        "repository": "demo/app",
        "tag": "1.0",
        "digest": DIGEST,
        "media_type": MANIFEST,
        "size": 502,
        "from_repository": None,
        "reference_digests": ["sha256:1", "sha256:2"],
        "actor": "alice",
        "client_address": "192.0.2.9",
        "user_agent": "containers/5.23.1 (github.com/containers/image)",
        "client": "podman",
        "client_version": "5.23.1",
        "method": "GET",
        "request_id": "52fe28ca",
        "registry": "registry.example:5000",
        "instance_id": "ebc2a2d4",
    }
    assert expected == {name: getattr(event, name) for name in expected}


@pytest.mark.parametrize(
    ("expected", "changes"),
    [
        ("manifest", {"media_type": MANIFEST}),
        ("index", {"media_type": INDEX}),
        ("index", {"media_type": "application/vnd.docker.distribution.manifest.list.v2+json"}),
        ("blob", {"media_type": BLOB, "tag": None}),
        ("unknown", {"action": "delete", "media_type": None, "size": None, "tag": None}),
        ("unknown", {"action": "delete", "media_type": "", "size": 0, "tag": None}),
        ("tag", {"action": "delete", "media_type": "", "digest": "", "size": 0}),
        ("repository", {"action": "delete", "media_type": None, "digest": None, "tag": None}),
        ("manifest", {"media_type": "application/vnd.example.new+json"}),
        ("unknown", {"media_type": "application/vnd.example.new+json", "tag": None}),
    ],
)
def test_kind(expected, changes):
    """By media type; only manifests have tags. A delete by digest may be of a manifest or a blob."""
    assert expected == only(make_event(**changes)).kind


def test_an_unknown_media_type_is_told_by_the_url():
    """New kinds of manifests come, and their URL still says /manifests/."""
    event = make_event(media_type="application/vnd.example.new+json", tag=None)
    event["target"]["url"] = "https://registry.example/v2/team/app/manifests/sha256:1"
    assert "manifest" == only(event).kind


def test_empty_text_is_nothing_and_a_delete_has_no_size():
    """Version 3 sends empty strings and a size of 0 where version 2 leaves the key out."""
    event = only(make_event(action="delete", media_type="", digest=DIGEST, size=0, tag="", actor="", user_agent=""))
    assert (None,) * 7 == (
        event.media_type, event.size, event.tag, event.actor, event.user_agent, event.client, event.client_version
    )  # fmt: skip


@pytest.mark.parametrize(
    ("addr", "expected"),
    [
        ("192.0.2.9:39674", "192.0.2.9"),
        ("192.0.2.9", "192.0.2.9"),
        ("[2001:db8::7]:443", "2001:db8::7"),
        ("2001:DB8:0::7", "2001:db8::7"),
        ("[::1]:5000", "::1"),
        ("::ffff:192.0.2.9", "192.0.2.9"),
        ("registry:5000", None),
        ("<b>", None),
        ("", None),
    ],
)
def test_client_address(addr, expected):
    """The IP address alone: a port would make one client many."""
    assert expected == only(make_event(addr=addr)).client_address


@pytest.mark.parametrize(
    ("timestamp", "expected"),
    [
        ("2026-11-24T02:51:22.227644262Z", datetime(2026, 11, 24, 2, 51, 22, 227644, UTC)),
        ("2026-11-24T02:51:22Z", datetime(2026, 11, 24, 2, 51, 22, tzinfo=UTC)),
        ("2026-11-24T02:51:22.1-08:00", datetime(2026, 11, 24, 10, 51, 22, 100000, UTC)),
        ("2016-01-02T00:00:00Z", datetime(2016, 1, 2, tzinfo=UTC)),
    ],
)
def test_timestamps_are_utc(timestamp, expected):
    """A registry sends its local time with an offset, and zero to nine digits of a second."""
    event = only(make_event(at=timestamp))
    assert (expected, True) == (event.timestamp, event.timestamp_trusted)


@pytest.mark.parametrize(
    "timestamp", [None, "", "yesterday", "0001-01-01T00:00:00Z", "0001-01-01T00:00:00+14:00", "2006-01-02T15:04:05Z",
                  "2026-11-26T12:00:00Z", "9999-12-31T23:59:59-12:00"]
)  # fmt: skip
def test_a_timestamp_that_cannot_be_gives_way_to_receipt(timestamp):
    """Missing, Go's zero time, the documentation's 2006, or more than a day ahead."""
    event = only(make_event(at=timestamp))
    assert (NOW, False) == (event.timestamp, event.timestamp_trusted)


def test_events_without_an_id_are_never_merged():
    """Some senders leave the id blank: each event then has one of its own, the same whenever it is parsed again."""
    delivery = make_delivery(envelope(*(make_event(id=blank) for blank in ("", "", None, None))))
    ids = [event.event_id for event in parse(delivery).events]
    assert 4 == len(set(ids) - {""})
    assert ids == [event.event_id for event in parse(delivery).events]


def test_one_broken_event_does_not_spoil_the_others():
    """The good ones count, the reason names the broken ones by position."""
    broken = [{"action": "pull"}, make_event(repository=""), make_event(action=""), make_event(size=-1), 7]
    parsed = parse(make_delivery(envelope(make_event(id="first"), *broken, make_event(id="last"))))
    assert ["first", "last"] == [event.event_id for event in parsed.events]
    assert ["Event 1", "Event 2", "Event 3", "Event 4", "Event 5"] == [
        problem.partition(":")[0] for problem in parsed.error.split("; ")
    ]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"", "empty"),
        (b" \n", "empty"),
        (b"hello", "Not JSON"),
        (b'{"events": [', "Not JSON"),
        (bytes(1_000_000), "Not JSON"),
        (b"[" * 1_000_000, "Not JSON"),
        (b'{"a":' * 100_000, "Not JSON"),
        (b'\xff\xfe{"events": []}', "Not JSON"),
        (b'{"events": [{"id": "\xff"}]}', "Event 0: "),
        (b"[]", "Not a payload"),
        (b"[1]", "Not a payload"),
        (b"[[]]", "Not a payload"),
        (b'"text"', "Not a payload"),
        (b"{}", "No dialect knows this payload"),
        (b'{"text": "hello"}', "Its keys: text"),
        (b'{"events": []}', "holds no events"),
        (b'{"events": "bad"}', "not a list"),
        (b'{"events": null}', "not a list"),
        (b'{"events": ["..."]}', "Event 0"),
        (b'{"events": [{}]}', "Event 0"),
        (b'{"events": [{"target": {"size": 1e400}, "action": "pull"}]}', "Event 0"),
        (b'{"events": [{"target": {"repository": "\\ud800"}, "action": "pull"}]}', ""),
    ],
)
def test_what_is_not_understood_has_a_reason(body, expected):
    """Whatever is sent: no exception, no event, and a sentence for the quarantine."""
    assert expected in reason(body)


def test_a_reason_is_short_however_large_the_payload():
    """An attacker must not fill the quarantine's table with one delivery."""
    assert 500 >= len(reason(json.dumps({"k" * 100_000: 1}).encode()))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda v: st.lists(v) | st.dictionaries(st.text(), v),
)
parts = ("id", "timestamp", "action", "target", "request", "actor", "source")
odd_events = st.builds(
    lambda changes: make_event() | changes, st.dictionaries(st.sampled_from(parts), json_values, max_size=3)
)


@pytest.mark.slow
@given(st.binary() | st.lists(odd_events | json_values).map(lambda events: envelope(*events)))
def test_nothing_breaks_the_way_into_the_store(body):
    """Whatever is sent can be parsed and becomes rows that can be stored, and what is no event has a reason."""
    (delivery,), events = understand([make_delivery(body)])
    assert len(events) == to_table(events, EVENTS).num_rows
    assert events or delivery.error


FIELDS = st.sampled_from([None, "", "x", 0, -1, 2**70, [], {}, "2026-11-24T12:00:00Z", "sha256:a"])


@given(
    events=st.lists(
        st.one_of(
            st.builds(lambda changes: {**make_event(), **changes}, st.dictionaries(
                st.sampled_from(["id", "timestamp", "action", "target", "request", "actor", "source"]), FIELDS
            )),
            st.builds(lambda changes: make_event() | {"target": changes}, st.dictionaries(
                st.sampled_from(["repository", "tag", "digest", "size", "mediaType", "url"]), FIELDS
            )),
            st.just(5),
        ), max_size=3,
    )
)  # fmt: skip
def test_the_quick_way_and_the_careful_way_agree(events):
    """What is understood at once is what would have been understood one by one."""
    delivery = make_delivery(envelope(*events))
    at_once = distribution.parse_at_once(delivery)
    try:
        (payload,) = _payloads(delivery)
        found = list(distribution.parse(payload))
    except PayloadError as error:
        found = [error]
    assert at_once == (None if any(isinstance(one, PayloadError) for one in found) else found)


def test_credentials_are_not_kept():
    """Of the headers, what says something about the payload, and nothing secret."""
    headers = {
        "Content-Type": "application/json",
        "Ce-Id": "1",
        "X-Gitea-Delivery": "2",
        "Authorization": "Bearer secret",
        "Cookie": "session=secret",
        "X-Gitea-Signature": "abc",
        "X-JFrog-Event-Auth": "secret",
    }
    assert {"Content-Type", "Ce-Id", "X-Gitea-Delivery"} == set(kept_headers(headers.items()))


def test_samples_of_the_dialect(shared):
    """Other projects' and the documentation's samples: all are understood, but for times that cannot be."""
    for path in sorted(shared.glob("payloads/distribution*/*.json")):
        parsed = parse(make_delivery(path.read_bytes()))
        assert (None, "distribution") == (parsed.error, parsed.dialect), path.name
        assert parsed.events, path.name


def test_malformed_samples(shared):
    """Each goes to quarantine."""
    for path in sorted(shared.glob("payloads/malformed/*")):
        assert reason(path.read_bytes()), path.name


def test_a_late_registry_is_believed():
    """A registry that was cut off for a week delivers old events, and their time is right."""
    event = only(make_event(at=NOW - timedelta(days=7)))
    assert (NOW - timedelta(days=7), True) == (event.timestamp, event.timestamp_trusted)
