"""What other registries send: for each dialect pairs of a payload and what it says, with the reason, in `dialects/`."""

import json
from pathlib import Path
from urllib.parse import urlencode

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from makers import NOW, make_delivery

from regstats.payloads import DIALECTS, _payloads, handshake, is_kept, parse, understand

FOLDER = Path(__file__).parent / "dialects"
FIXTURES = [
    pytest.param(path.stem, fixture, id=f"{path.stem}: {fixture['why']}")
    for path in sorted(FOLDER.glob("*.json"))
    for fixture in json.loads(path.read_text())
]
OWN = {"source", "dialect", "received_at", "delivery_id", "timestamp_trusted", "reference_digests"}
every_fixture = pytest.mark.parametrize(("name", "fixture"), FIXTURES)


def delivered(fixture, **changes):
    """A fixture as it would be delivered."""
    body = json.dumps(fixture["payload"]).encode()
    if "form" in fixture:
        body = urlencode({"payload": json.dumps(fixture["form"])}).encode()
    return msgspec.structs.replace(make_delivery(body), headers=fixture.get("headers", {}), **changes)


def as_expected(event):
    """An event as fixtures write it: without what is missing, what is ours, and ids and times that are not its own."""
    row = {name: value for name, value in msgspec.to_builtins(event).items() if value is not None and name not in OWN}
    if not event.timestamp_trusted:
        assert NOW == event.timestamp
        del row["timestamp"]
    if event.event_id.startswith(event.delivery_id):
        del row["event_id"]
    return row | ({"request_id": "(delivery)"} if event.request_id == event.delivery_id else {})


@every_fixture
def test_what_a_payload_says(name, fixture):
    """Every column: those that a fixture does not name are missing."""
    parsed = parse(delivered(fixture))
    expected = [{key: value for key, value in row.items() if value is not None} for row in fixture.get("expected", [])]
    assert expected == [as_expected(event) for event in parsed.events]
    assert name == parsed.dialect
    assert {name} >= {event.dialect for event in parsed.events}
    assert fixture.get("error", "") in (parsed.error or "")
    assert bool(parsed.error) is ("error" in fixture)


def test_every_dialect_has_fixtures():
    """Whoever adds a dialect says what it understands: a push, or a pull."""
    assert set(DIALECTS) == {path.stem for path in FOLDER.glob("*.json")}
    for name in DIALECTS:
        some = json.loads((FOLDER / f"{name}.json").read_text())
        assert {"push", "pull"} & {row["action"] for fixture in some for row in fixture.get("expected", [])}, name


@every_fixture
def test_no_two_dialects_claim_a_payload(name, fixture):
    """So it does not matter in which order they are asked."""
    for payload in _payloads(delivered(fixture)):
        assert [name] == [dialect.name for dialect in DIALECTS.values() if dialect.claims(payload)]


@every_fixture
def test_headers_that_matter_are_kept(name, fixture):
    """What a dialect reads is stored with the delivery: else it could not be understood again."""
    kept = {key: value for key, value in fixture.get("headers", {}).items() if is_kept(key.lower())}
    assert fixture.get("headers", {}) == kept


@every_fixture
def test_a_retry_is_the_same_and_another_delivery_is_not(name, fixture):
    """With an id of the sender a repeated delivery has the events of the first one; without, no two are merged."""
    first, again = (parse(delivered(fixture, delivery_id=delivery)).events for delivery in ("one", "two"))
    for mine, theirs, row in zip(first, again, fixture.get("expected", []), strict=True):
        assert ("event_id" in row) is (mine.event_id == theirs.event_id)
    assert len(first) == len({event.event_id for event in first})


@every_fixture
def test_a_fixed_dialect_is_not_guessed(name, fixture):
    """By the header that the collector writes for a source, or by what is said of its source when it is read again."""
    delivery = delivered(fixture)
    fixed = msgspec.structs.replace(delivery, headers=delivery.headers | {"X-Regstats-Dialect": name})
    if name != "gitlab":
        assert parse(delivery) == parse(fixed)
    other = "quay" if name != "quay" else "harbor"
    _, events = understand([delivery], {"default": other})
    assert [] == events


def test_a_dialect_that_is_not_there():
    """A store may have been written by a later version."""
    delivery = msgspec.structs.replace(make_delivery(b"{}"), headers={"X-Regstats-Dialect": "tomorrow"})
    assert "There is no dialect 'tomorrow'; there are: acr, aliyun," in parse(delivery).error


def test_only_three_kinds_of_registries_tell_of_pulls():
    """And two kinds of exports. For all others metrics must not say 0."""
    assert {"distribution", "gitlab", "harbor", "harbor_audit", "dockerhub_csv"} == {
        name for name, dialect in DIALECTS.items() if dialect.reports_pulls
    }


def test_event_grid_gets_its_code_back():
    """And nobody else gets anything."""
    question = next(
        f for _, f in (p.values for p in FIXTURES) if f.get("headers") == {"aeg-event-type": "SubscriptionValidation"}
    )
    body = json.dumps(question["payload"]).encode()
    assert {"validationResponse": "512d38b6"} == json.loads(
        handshake({"aeg-event-type": "SubscriptionValidation"}, body)
    )
    assert None is handshake({}, body)
    for wrong in (b"", b"[]", b"{}", b'[{"eventType": "x", "data": {}}]', b"[" * 100_000):
        assert None is handshake({"aeg-event-type": "SubscriptionValidation"}, wrong)


def test_a_list_of_payloads():
    """Each is understood for itself, and no two events have the same id."""
    hub = {"push_data": {"tag": "1"}, "repository": {"repo_name": "a/b"}}
    parsed = parse(make_delivery(json.dumps([hub, {"x": 1}, hub]).encode()))
    assert ["a/b", "a/b"] == [event.repository for event in parsed.events]
    assert 2 == len({event.event_id for event in parsed.events})
    assert "No dialect knows this payload. Its keys: x." == parsed.error


def test_a_byte_order_mark_is_no_part_of_a_payload():
    """Some senders write one."""
    assert 1 == len(parse(make_delivery(b'\xef\xbb\xbf{"push_data": {}, "repository": {"repo_name": "a"}}')).events)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda v: st.lists(v, max_size=3) | st.dictionaries(st.text(), v, max_size=3),
    max_leaves=5,
)


def places(value, at=()):
    """Every place in a document."""
    yield at
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from places(inner, (*at, key))


def changed(value, at, new):
    if not at:
        return new
    copy = value.copy()
    copy[at[0]] = changed(value[at[0]], at[1:], new)
    return copy


@given(st.data())
def test_nothing_that_is_odd_raises(data):
    """Whatever stands in whatever place: events, or a reason, or nothing has happened; and it can be stored."""
    _, fixture = data.draw(st.sampled_from([param.values for param in FIXTURES]))
    at = data.draw(st.sampled_from(list(places(fixture["payload"]))))
    odd = changed(fixture["payload"], at, data.draw(json_values))
    parsed = parse(delivered(fixture | {"payload": odd}))
    assert not (parsed.error or "").startswith("The parser failed")


def test_samples_of_other_registries(shared):
    """Other projects' and vendors' samples: every one is understood, or has a reason that is true."""
    reasons = {}
    for path in sorted(shared.glob("payloads/*/*.json")):
        if path.parent.name == "malformed":
            continue
        said, headers = path.read_bytes(), {}
        if path.parent.name == "zot":
            wrapped = json.loads(said)
            said, headers = json.dumps(wrapped["body"]).encode(), wrapped["headers"]
        parsed = parse(msgspec.structs.replace(make_delivery(said), headers=headers))
        if parsed.error:
            reasons[f"{path.parent.name}/{path.stem}"] = parsed.error
        else:
            assert parsed.events, path
    if not reasons:
        pytest.skip("no samples here")
    assert {
        "acr/image_updater_missing_repository": "it names no repository",
        "dockerhub/image_updater_empty_payload": "No dialect knows this payload. Its keys: none.",
        "dockerhub/image_updater_missing_repository_name": "it names no repository",
        "github/image_updater_empty_payload": "No dialect knows this payload. Its keys: none.",
        "github/image_updater_missing_package_name": "it names no repository",
        "github/image_updater_non_container_package_type_should_be_ignored": "A package of the kind npm: no image.",
        "harbor/image_updater_empty_payload": "No dialect knows this payload. Its keys: none.",
        "harbor/image_updater_missing_repository_name": "it names no repository",
        "harbor/image_updater_missing_resources": (
            "PUSH_ARTIFACT without resources: it does not say what happened to what."
        ),
        "nexus/flux_asset_created": "A file of the format npm: no image.",
        "quay/image_updater_empty_json_payload": "No dialect knows this payload. Its keys: none.",
    } == reasons
