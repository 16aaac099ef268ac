"""What the collector tells about itself."""

import json
import logging
import shutil

import msgspec
import pytest
from makers import NOW, days, envelope, journalled, make_event, make_push
from prometheus_client.parser import text_string_to_metric_families
from test_formats import EVIL

from regstats import monitoring
from regstats.app import create_app
from regstats.config import Exclude, Retention, Settings, Source
from regstats.dispatch import State
from regstats.journal import Journal
from regstats.logs import JsonLines, Text
from regstats.outbox import Message, Outbox
from regstats.sealing import seal
from regstats.stats import Stats
from regstats.store import utc_now
from regstats.upkeep import Upkeep

BODY = envelope(make_event())
BEARER = {"Authorization": "Bearer secret"}


@pytest.fixture
def settings(store):
    return Settings(data=str(store.root), token="secret", max_body=10_000, sources={"quiet": Source(), "lab": Source()})


@pytest.fixture
def published(monkeypatch, tmp_path):
    """Upkeep can tell the worker something."""
    monkeypatch.setattr(monitoring, "_directory", lambda: str(tmp_path))
    monkeypatch.setattr(monitoring, "numbers", lambda: monitoring.REGISTRY)


@pytest.fixture
def client(store, settings):
    return create_app(settings, Journal(store.journal), lambda: NOW).test_client()


def numbers(client):
    """The metrics by name and labels, without buckets."""
    lines = client.get("/metrics", headers=BEARER).text.splitlines()
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines if line[0] != "#")}


def change(client, work):
    """What some work adds to the metrics."""
    before = numbers(client)
    work()
    return {name: value - before.get(name, 0) for name, value in numbers(client).items()}


def test_deliveries_are_counted(client):
    """By source, with their bytes, and how long they took."""
    changes = change(client, lambda: [client.post("/events/lab", data=BODY, headers=BEARER) for _ in range(3)])
    assert 3 == changes['regstats_deliveries_total{source="lab"}']
    assert 3 * len(BODY) == changes['regstats_delivery_bytes_total{source="lab"}']
    assert 3 == changes["regstats_request_seconds_count"]


@pytest.mark.parametrize(
    ("path", "data", "headers", "source", "reason"),
    [
        ("/events", BODY, {}, "default", "unauthorized"),
        ("/events/lab", BODY, {"Authorization": "Bearer wrong"}, "lab", "unauthorized"),
        ("/events/lab", bytes(10_001), BEARER, "lab", "too large"),
        ("/events/made-up-by-the-sender", BODY, BEARER, "(unknown)", "unknown source"),
    ],
)
def test_what_was_not_taken_is_counted(client, path, data, headers, source, reason):
    """By reason, and by a source that we know: the names that senders make up are without number."""
    changes = change(client, lambda: client.post(path, data=data, headers=headers))
    assert 1 == changes[f'regstats_rejected_total{{reason="{reason}",source="{source}"}}']
    assert "made-up" not in client.get("/metrics", headers=BEARER).text


def test_the_store_is_measured(client, store, settings):
    """Its rows, its parts, and what is not sealed yet."""
    journalled(store, BODY, b"garbage")
    assert 0 < numbers(client)["regstats_unsealed_bytes"]
    changes = change(client, Upkeep(store, settings).seal)
    assert {"regstats_events_total": 1, "regstats_quarantined_total": 1, "regstats_seal_seconds_count": 1} == {
        name: changes[name]
        for name in ("regstats_events_total", "regstats_quarantined_total", "regstats_seal_seconds_count")
    }
    assert (0, 2, 1) == tuple(
        numbers(client)[name]
        for name in ("regstats_unsealed_bytes", 'regstats_rows{table="deliveries"}', 'regstats_parts{table="events"}')
    )


def test_metrics_are_for_those_who_have_the_token(client):
    """Names of sources and amounts are nobody else's business."""
    assert 401 == client.get("/metrics").status_code


def test_healthz_tells_strangers_no_more_than_that_it_is_well(client):
    """For the host's probes."""
    assert (200, {"status": "ok"}) == ((answer := client.get("/healthz")).status_code, answer.json)


def test_healthz_names_what_is_wrong(client):
    """Who is turned away sees it nowhere else: a registry just goes on trying."""
    client.post("/events/quiet", data=BODY)
    report = client.get("/healthz", headers=BEARER).json
    assert "ok" == report["status"]
    assert "1 deliveries of quiet were not taken: unauthorized." in report["problems"]
    (rejected,) = [rejected for rejected in report["rejected"] if rejected["source"] == "quiet"]
    assert ("unauthorized", 1) == (rejected["reason"], rejected["number"])


def test_who_only_asks_is_told_apart(client):
    """Whoever tries tokens is seen, and no delivery is missing; who shows none does not try."""
    asked = 'regstats_rejected_total{reason="asked, and refused",source="lab"}'
    assert 0 == change(client, lambda: client.options("/events/lab")).get(asked, 0)
    wrong = {"Authorization": "Bearer wrong"}
    changes = change(client, lambda: client.options("/events/lab", headers=wrong))
    assert 1 == changes[asked]
    assert 0 == change(client, lambda: client.options("/events/lab", headers=BEARER))[asked]
    assert not [text for text in client.get("/healthz", headers=BEARER).json["problems"] if "asked" in text]


def test_healthz_says_that_nothing_can_be_stored(store, settings):
    """With 503, until it can be again."""
    store.journal.write_text("in the way")
    client = create_app(settings, Journal(store.journal), lambda: NOW).test_client()
    assert 503 == client.post("/events", data=BODY, headers=BEARER).status_code
    answer = client.get("/healthz", headers=BEARER)
    assert (503, "failing") == (answer.status_code, answer.json["status"])
    assert "Cannot write to the journal" in answer.json["problems"][0]
    assert {"status": "failing"} == client.get("/healthz").json
    store.journal.unlink()
    assert 204 == client.post("/events", data=BODY, headers=BEARER).status_code
    assert 200 == client.get("/healthz").status_code


def test_healthz_says_that_sealing_is_behind(client, store):
    """A journal that only grows: deliveries are safe, but something is wrong."""
    journalled(store, BODY)
    (segment,) = store.journal.iterdir()
    segment.rename(segment.with_name("20261124T000000000000Z-00000000.ndjson"))
    report = client.get("/healthz", headers=BEARER).json
    assert any(problem.startswith("The journal was not sealed for ") for problem in report["problems"])
    assert 1 == report["journal"]["segments"]


def test_healthz_says_that_the_disk_is_nearly_full(client, monkeypatch):
    """Before it is."""
    monkeypatch.setattr("shutil.disk_usage", lambda _: shutil._ntuple_diskusage(1000, 960, 40))
    assert "The disk is nearly full: 40 bytes are free." in client.get("/healthz", headers=BEARER).json["problems"]


def test_healthz_shows_the_health_of_each_source(client, store, settings, published):
    """As it was published last by the process that seals."""
    assert {"as_of": None, "sources": []} == client.get("/healthz", headers=BEARER).json["health"]
    journalled(store, BODY, received_at=utc_now())
    seal(store)
    Upkeep(store, settings).report()
    (row,) = client.get("/healthz", headers=BEARER).json["health"]["sources"]
    assert ("default", 1, 1) == (row["source"], row["deliveries"], row["events"])


def uses(client):
    """What `/metrics` says of repositories: pulls, downloads, pushes, updates."""
    found = {}
    for family in text_string_to_metric_families(client.get("/metrics", headers=BEARER).text):
        if family.name.startswith("regstats_repository_"):
            for sample in family.samples:
                found.setdefault(sample.labels["repository"], []).append(sample.value)
    return found


def test_the_use_of_repositories_is_counted(client, store, settings, published):
    """From 0 when the collector starts, without those who are not counted."""
    journalled(store, envelope(make_event(repository="old")))
    upkeep = Upkeep(store, msgspec.structs.replace(settings, exclude=Exclude(actors=["ci-*"])))
    assert {} == uses(client)
    upkeep.report()
    assert {"old": [0, 0, 0, 0]} == uses(client)
    pull = {"repository": "old", "addr": "192.0.2.8:1"}
    journalled(store, envelope(make_event(**pull)), envelope(make_event(**pull, actor="ci-7")))
    journalled(store, envelope(make_push(repository="new"), make_push(repository="new", tag="2.0")))
    upkeep.report()
    assert {"old": [1, 0, 0, 0], "new": [0, 0, 0, 0]} == uses(client)
    upkeep.report()
    assert {"old": [1, 0, 0, 0], "new": [0, 0, 2, 2]} == uses(client)
    assert 2 == numbers(client)["regstats_repositories"]


def test_pulls_that_nobody_tells_of_are_not_there(client, store, settings, published):
    """A registry that does not report them has a number of pushes, and none of pulls; once it does, it has both."""
    upkeep = Upkeep(store, settings)
    upkeep.report()
    for tag in ("1", "2"):
        push = {"repository": "team/app", "docker_url": "", "updated_tags": [tag]}
        journalled(store, msgspec.json.encode(push), source="quay")
        upkeep.report()
    assert {"team/app": [2, 2]} == uses(client)
    journalled(store, envelope(make_event()))
    upkeep.report()
    assert {"team/app": [1, 0, 2, 2]} == uses(client)


def test_the_use_of_repositories_never_goes_down(client, store, settings, published):
    """Not even when retention drops what had been counted."""
    upkeep = Upkeep(store, msgspec.structs.replace(settings, retention=Retention(events="30d")), lambda: NOW)
    upkeep.report()
    journalled(store, *(envelope(make_event(at=NOW - days(day))) for day in (50, 40, 1)))
    upkeep.seal()
    upkeep.report()
    upkeep.report()
    assert {"team/app": [3, 0, 0, 0]} == uses(client)
    upkeep.compact()
    assert 1 == Stats(store.root).repositories()["pulls"].sum()
    upkeep.report()
    assert {"team/app": [3, 0, 0, 0]} == uses(client)
    journalled(store, envelope(make_event(at=NOW - days(2))))
    upkeep.report()
    assert {"team/app": [4, 0, 0, 0]} == uses(client)


def test_names_of_repositories_do_nothing_to_the_metrics(client, store, settings, published):
    """They are whatever a client wrote, and come out as that."""
    names = {*EVIL, 'a"} 1\nregstats_made_up 2\n', "back\\slash\\n", "\r\x00\x85\u2028", "{}", ","}
    journalled(store, *(envelope(make_event(repository=name)) for name in names))
    Upkeep(store, settings).report()
    assert {name: [0, 0, 0, 0] for name in names} == uses(client)
    text = client.get("/metrics", headers=BEARER).text
    assert not any(line.startswith("regstats_made_up") for line in text.split("\n"))


def test_what_waits_to_be_sent_is_counted(client, store):
    """So that somebody hears of it though mail does not work."""
    assert "\nregstats_outbox_messages 0.0\n" in client.get("/metrics", headers=BEARER).text
    box = Outbox(store.root)
    for to in ("a", "b"):
        box.put(Message(id=to, to=to, kind="test", name="x", subject="x", text="x", at=NOW, made_at=NOW))
    box.remember(State())
    assert "\nregstats_outbox_messages 2.0\n" in client.get("/metrics", headers=BEARER).text


@pytest.mark.parametrize(("step", "metric"), [("count", "repositories"), ("report", "health")])
def test_what_cannot_be_published_is_in_nobodys_way(client, store, settings, published, monkeypatch, step, metric):
    """What was published before stays, and the other is published all the same."""
    journalled(store, envelope(make_event()))
    upkeep = Upkeep(store, settings)
    upkeep.report()
    before = monitoring.published("repositories"), monitoring.published("health")
    journalled(store, envelope(make_event(repository="new")), received_at=utc_now())
    with monkeypatch.context() as patch:
        patch.setattr(Stats, metric, lambda *_, **__: 1 / 0)
        changes = change(client, upkeep.report)
    after = monitoring.published("repositories"), monitoring.published("health")
    assert 1 == changes[f'regstats_upkeep_failures_total{{step="{step}"}}']
    assert (step == "count", step == "report") == tuple(a == b for a, b in zip(before, after, strict=True))


def test_rejections_are_logged_once_a_minute(caplog):
    """At once, then with their number: a registry tries again and again."""
    times = iter([0, 1, 59, 60, 61, 200])
    doorkeeper = monitoring.Doorkeeper(lambda: next(times))
    for _ in range(5):
        doorkeeper.reject("lab", "unauthorized", "192.0.2.7")
    doorkeeper.tell()
    assert [1, 3, 1] == [record.fields["count"] for record in caplog.records]
    assert {"source": "lab", "reason": "unauthorized", "count": 3, "address": "192.0.2.7"} == caplog.records[1].fields


def test_a_log_line_is_one_line_of_json():
    """Whatever a sender put into it."""
    record = logging.makeLogRecord({"msg": "Odd.", "levelname": "WARNING", "fields": {"source": "a\nb\x1b[31m"}})
    line = JsonLines().format(record)
    assert ("Odd.", "warning", "a\nb\x1b[31m") == tuple(json.loads(line)[key] for key in ("message", "level", "source"))
    assert "\n" not in line
    assert "\x1b" not in line
    assert Text().format(record).endswith("WARNING Odd. source='a\\nb\\x1b[31m'")


def test_a_failure_of_upkeep_is_told_and_does_no_harm(store, settings, caplog):
    """With where it happened; the next try may succeed."""
    journalled(store, BODY)
    (store.root / "events").write_text("in the way")
    upkeep = Upkeep(store, settings)
    upkeep.seal()
    (record,) = caplog.records
    assert ({"step": "seal"}, True) == (record.fields, "Traceback" in JsonLines().format(record))
    (store.root / "events").unlink()
    upkeep.seal()
    assert 1 == sum(part.rows for part in store.manifest().parts if part.table == "events")


def test_a_collector_lives_by_the_clock(store, settings, monkeypatch):
    """Whatever the present of the numbers is."""
    monkeypatch.setenv("REGSTATS_NOW", "2020-01-01")
    assert Upkeep(store, settings)._stats.now is None
