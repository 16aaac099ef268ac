"""Acting on rules: once for each push, the newest for each target, whatever ends the process."""

import os
import threading
import time
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from makers import INDEX, NOW, A, B, envelope, journalled, make_event, make_push
from prometheus_client import REGISTRY
from servers import free_port, wait_until

from regstats import check
from regstats.actions import Outcome, act
from regstats.config import Settings
from regstats.deployer import Deployer
from regstats.journal import lock
from regstats.ledger import Asked
from regstats.outbox import Outbox
from regstats.rebuild import rebuild
from regstats.sealing import seal
from regstats.stats import Stats
from regstats.store import Store

OK, AGAIN, WRONG, UNKNOWN = (
    Outcome(ok=True, why="exit status 0", output="done\n"),
    Outcome(ok=False, why="exit status 1", output="busy\n"),
    Outcome(ok=False, why="it answered 404", again=False),
    Outcome(ok=None, why="it was ended with the collector"),
)
RULE = {"name": "app", "match": {"repository": "team/*"}, "settle": "0s", "command": ["deploy", "{tag}"]}


class World:
    """A store, a clock, and one process after the other that acts on rules."""

    def __init__(self, root, *rules, **settings):
        self.store, self.now = Store(root, create=True), NOW
        self.rules, self.settings = rules, settings
        self.done, self.results = [], []
        self.holds = self.acts = False
        self.start()

    def start(self, **options):
        rules = [RULE | rule for rule in self.rules or [{}]]
        its = msgspec.convert({"deploy": rules} | self.settings, Settings)
        inside = self.inside = []  # what is being done for this process
        self.deployer = Deployer(
            self.store, its, lambda: self.now, lambda job: self.do(job, inside), self.seconds, **options
        )
        self.deployer.tick()

    def seconds(self):
        return self.now.timestamp()

    def end(self):
        """As when the process is killed: what it held is free, and nothing else is done."""
        self.deployer.give_up()

    def restart(self):
        self.end()
        self.start()

    def do(self, job, inside):
        self.done.append((job.rule.name, job.change.repository, job.change.tag))
        inside.append(job.deployment_id)
        while self.holds:
            time.sleep(0.001)
        inside.remove(job.deployment_id)
        if self.acts:
            return act(job)
        return self.results.pop(0) if self.results else OK

    def push(self, **changes):
        event = make_push(**{"at": self.now} | changes)
        journalled(self.store, envelope(event), received_at=self.now)
        return event

    def tick(self, seconds=0.3):
        """Some time goes by, and what has begun in it ends, unless it is held."""
        self.now += timedelta(seconds=seconds)
        self.deployer.tick()
        while self.deployer.is_busy and not self.holds:
            self.deployer.tick()
        wait_until(lambda: len(self.inside) == len(self.deployer._running), "what was begun to run")

    def rows(self, *columns):
        stats = Stats(self.store.root, now=self.now)
        rows = stats.sql("from deployments order by seen_at, us").to_arrow_table().to_pylist()
        return [tuple(row[column] for column in columns) if columns[1:] else row[columns[0]] for row in rows]

    def asked(self, wish, number=0):
        name = self.rows("deployment_id")[number]
        self.store.ledger.ask(name, wish, Asked("alice", self.now))
        return name


@pytest.fixture
def world(tmp_path):
    made = []

    def make(*rules, **settings):
        made.append(World(tmp_path / "data", *rules, **settings))
        return made[0]

    yield make
    for one in made:
        for _ in range(100):
            one.end()


def test_a_push_is_done_once_however_often_it_is_told_of(world):
    one = world()
    event = one.push()
    one.tick()
    for _ in range(2):
        journalled(one.store, envelope(event), received_at=one.now)
        one.tick(60)
    one.restart()
    one.tick(60)
    seal(one.store)
    one.restart()
    journalled(one.store, envelope(event), received_at=one.now)
    one.tick(60)
    assert [("app", "team/app", "1.0")] == one.done
    assert [("succeeded", "exit status 0", 1, "done\n")] == one.rows("status", "reason", "attempts", "output")


def test_prometheus_is_told_how_they_ended(world):
    one, ended = world({"name": "counted"}), {"rule": "counted", "status": "succeeded"}
    before = REGISTRY.get_sample_value("regstats_deployments_total", ended) or 0
    one.push()
    one.tick()
    assert before + 1 == REGISTRY.get_sample_value("regstats_deployments_total", ended)


def test_what_was_decided_is_told(world):
    one = world()
    one.push(actor="ci", digest=B)
    one.tick(1)
    (row,) = Stats(one.store.root, now=one.now).deployments().to_dict("records")
    assert ("app", "team/app", "succeeded", "team/app", "1.0", B, "ci") == tuple(
        row[name] for name in ("rule", "target", "status", "repository", "tag", "digest", "actor")
    )
    assert timedelta(seconds=1) == row["lead_time"]
    assert timedelta(0) == row["duration"]
    assert ["attempt 1", "exit status 0", "succeeded: exit status 0"] == [
        line.partition(" ")[2] for line in row["history"].splitlines()
    ]


def test_the_same_digest_again(world):
    one = world({"match": {"repository": "team/*", "changed": True}}, {"name": "all"})
    for digest in (A, A, B, A):
        one.push(digest=digest)
        one.tick()
    assert ["app", "app", "app"] == [rule for rule, *_ in one.done if rule == "app"]
    assert 4 == [rule for rule, *_ in one.done].count("all")


def test_the_tags_of_one_build_are_one_deployment(world):
    one = world({"settle": "5s"})
    for tag in ("1", "1.3", "1.3.0"):
        one.push(tag=tag)
        one.tick(1)
    assert [] == one.done
    one.tick(5)
    assert [("app", "team/app", "1.3.0")] == one.done
    assert [("1", "superseded"), ("1.3", "superseded"), ("1.3.0", "succeeded")] == one.rows("tag", "status")
    last = one.rows("deployment_id")[2]
    assert f"{one.rows('deployment_id')[1]} came after it" == one.rows("reason")[0]
    assert f"{last} came after it" == one.rows("reason")[1]


@pytest.mark.parametrize("changes", [{"actor": "mallory"}, {"addr": "198.51.100.1:4000"}, {"repository": "other"}])
def test_what_no_rule_is_about_leaves_no_trace(world, changes):
    one = world({"match": {"repository": "team/*", "actor": "ci", "networks": "10.0.0.0/8"}})
    one.push(**{"actor": "ci", "addr": "10.1.1.1:4000"} | changes)
    one.tick()
    one.tick(60)
    assert ([], []) == (one.done, one.rows("status"))


def test_a_pull_is_nothing_to_do(world):
    one = world()
    journalled(one.store, envelope(make_event(at=one.now), make_push(at=one.now, tag=None)), received_at=one.now)
    one.tick(60)
    assert [] == one.done


def test_a_rule_begins_with_what_comes_then(world, tmp_path):
    before = Store(tmp_path / "data", create=True)
    journalled(before, envelope(make_push(at=NOW)), received_at=NOW - timedelta(seconds=1))
    one = world()
    one.tick(60)
    assert [] == one.done
    one.end()
    one.rules = [{}, {"name": "new"}, {"name": "app", "match": {"repository": "team/app"}}][1:]
    one.now += timedelta(seconds=1)
    one.push(tag="2")
    one.now += timedelta(seconds=1)
    one.start()
    one.tick(60)
    assert [] == one.done  # one is new, and the other has another match
    one.push(tag="3")
    one.tick()
    assert [("new", "team/app", "3"), ("app", "team/app", "3")] == one.done


def test_what_came_while_nobody_looked_is_done(world):
    one = world({"target": "{tag}"})
    one.end()
    one.push(tag="1")
    seal(one.store)
    one.now += timedelta(minutes=30)
    one.push(tag="2")
    one.now += timedelta(minutes=29)
    one.start()
    one.tick()
    assert {("app", "team/app", "1"), ("app", "team/app", "2")} == set(one.done)


def test_what_the_tail_has_missed_is_seen_later_and_counts_from_then_on(world):
    """A segment that came and went between two looks."""
    one = world({"match": {"repository": "team/*", "changed": True}, "target": "{event_id}"})
    one.push(digest=A)
    one.tick()
    one.push(digest=B)
    seal(one.store)
    one.tick()
    assert 1 == len(one.done)
    one.tick(30)
    assert 2 == len(one.done)
    one.push(digest=A)
    one.tick()
    assert [(None, "succeeded"), (A, "succeeded"), (B, "succeeded")] == one.rows("before", "status")


def test_what_is_too_old_is_skipped_and_that_is_told(world):
    one = world()
    one.end()
    one.push(tag="1")
    one.now += timedelta(minutes=61)
    one.start()
    late = one.now - timedelta(minutes=60, seconds=1)
    one.push(tag="2", at=late, repository="team/b")  # by a registry that had to wait
    one.tick()
    one.push(tag="3")
    one.tick()
    assert [("app", "team/app", "3")] == one.done
    why = "it was seen {} later; max_age is 1h"
    expected = [("1", "skipped", why.format("1:01:00")), ("2", "skipped", why.format("1:00:01"))]
    assert expected == one.rows("tag", "status", "reason")[:2]


def test_what_was_due_too_long_ago_is_skipped(world):
    one = world({"delay": "10m"})
    one.push()
    one.tick()
    one.end()
    one.now += timedelta(minutes=71)
    one.start()
    assert [("skipped", "it was due 1:01:00 ago; max_age is 1h")] == one.rows("status", "reason")


def test_what_is_seen_late_does_not_replace_what_is_newer(world):
    one = world()
    one.push(tag="2")
    one.tick()
    one.push(tag="1", at=one.now - timedelta(seconds=30))
    one.tick()
    assert [("app", "team/app", "2")] == one.done
    assert [("2", "succeeded"), ("1", "superseded")] == one.rows("tag", "status")


def test_one_at_a_time_and_then_the_newest(world):
    one = world()
    one.holds = True
    for tag in ("1", "2", "3"):
        one.push(tag=tag)
        one.tick()
    assert ["1"] == [tag for *_, tag in one.done]
    one.holds = False
    one.tick(1)
    one.tick(1)
    assert ["1", "3"] == [tag for *_, tag in one.done]
    assert ["succeeded", "superseded", "succeeded"] == one.rows("status")


def test_a_slow_target_holds_up_no_other(world):
    one = world()
    one.holds = True
    for repository in ("team/slow", "team/b", "team/c"):
        one.push(repository=repository)
        one.tick()
    assert 3 == len(one.done)


def test_rules_that_share_a_target_wait_for_one_another(world):
    one = world({"target": "prod"}, {"name": "b", "target": "prod"})
    one.holds = True
    one.push()
    one.tick()
    assert 1 == len(one.done)
    one.holds = False
    one.tick(1)
    one.tick(1)
    assert [("app", "succeeded"), ("b", "succeeded")] == sorted(one.rows("rule", "status"))


def test_delay_and_cooldown(world):
    one = world({"delay": "10s", "cooldown": "1m"})
    one.push(tag="1")
    one.tick(0)
    one.tick(9)
    assert [] == one.done
    one.tick(1)
    assert 1 == len(one.done)
    one.push(tag="2")
    one.tick(1)
    one.restart()
    one.tick(55)
    assert 1 == len(one.done)
    one.tick(10)
    assert 2 == len(one.done)


def test_what_fails_is_tried_again_less_and_less_often(world):
    one = world()
    one.results = [AGAIN, AGAIN, AGAIN, OK]
    one.push()
    one.tick()
    began, tries = one.now, [0]
    for _ in range(50):
        one.tick(1)
        if len(one.done) > len(tries):
            tries.append(round((one.now - began).total_seconds()))
    assert [0, 5, 15, 35] == tries
    assert [("succeeded", 4, "done\n")] == one.rows("status", "attempts", "output")


@pytest.mark.parametrize(("down", "status", "attempts"), [(30, "succeeded", 4), (40, "failed", 4)])
def test_a_target_that_is_down_for_a_while(world, down, status, attempts):
    """A real one, and a clock that is not."""
    port = free_port()
    one = world({"command": None, "http": {"url": f"http://127.0.0.1:{port}/"}})
    one.acts = True
    one.push()
    one.tick(0)
    for _ in range(down):
        one.tick(1)
    server = HTTPServer(("127.0.0.1", port), Accepting)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    for _ in range(10):
        one.tick(1)
    server.shutdown()
    server.server_close()
    thread.join()
    assert [(status, attempts)] == one.rows("status", "attempts")
    why = "it cannot be reached: [Errno 111] Connection refused"
    refused = [line for line in one.rows("history")[0] if why in line]
    assert (3 if status == "succeeded" else 5) == len(refused)  # the last of five says that it has failed


class Accepting(BaseHTTPRequestHandler):
    def do_POST(self):
        self.send_response(202)
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.mark.parametrize(
    ("results", "attempts", "why"), [([AGAIN] * 9, 4, "exit status 1"), ([WRONG], 1, "it answered 404")]
)
def test_what_does_not_get_better_has_failed(world, results, attempts, why):
    one = world()
    one.results = list(results)
    one.push()
    for _ in range(100):
        one.tick(1)
    assert [("failed", attempts, why)] == one.rows("status", "attempts", "reason")
    assert attempts == len(one.done)


def test_what_failed_gives_way_to_what_is_newer(world):
    one = world()
    one.holds, one.results = True, [AGAIN, OK]
    one.push(tag="1")
    one.tick()
    one.push(tag="2")
    one.tick()
    one.holds = False
    one.tick(1)
    one.tick(1)
    assert [("1", "failed"), ("2", "succeeded")] == one.rows("tag", "status")
    assert "exit status 1; not tried again, because " in one.rows("reason")[0]


def test_killed_before_it_begins(world):
    one = world({"settle": "5s"})
    one.push()
    one.tick()
    one.restart()
    one.tick(6)
    assert [("succeeded", 1, 0)] == one.rows("status", "attempts", "interruptions")


def test_killed_while_it_runs(world):
    one = world()
    one.holds = True
    one.push()
    one.tick()
    one.restart()
    one.holds = False
    one.tick(2)
    one.tick()
    assert 2 == len(one.done)
    assert [("succeeded", 2, 1)] == one.rows("status", "attempts", "interruptions")
    history = [line.partition(" ")[2] for line in one.rows("history")[0]]
    assert "interrupted: the collector ended meanwhile; whether it was done is not known" in history


def test_killed_again_and_again(world):
    one = world()
    one.holds = True
    one.push()
    for _ in range(4):
        one.tick(2)
        one.restart()
    assert [("failed", 3, 3)] == one.rows("status", "attempts", "interruptions")


def test_what_still_runs_is_waited_for(world):
    """A command holds the lock of what it writes to, even after the collector is gone."""
    one = world({"timeout": "1m"})
    one.holds = True
    one.push()
    one.tick()
    output = one.store.ledger.output(one.rows("deployment_id")[0])
    output.write_text("half done\n")
    with output.open("ab") as file:
        assert lock(file.fileno())
        one.restart()
        one.push(tag="2")
        one.tick(10)
        assert ["running", "waiting"] == one.rows("status")
    one.holds = False
    one.tick(1)
    one.tick(1)
    assert [("1.0", "failed", "half done\n"), ("2", "succeeded", "done\n")] == one.rows("tag", "status", "output")


def test_ended_with_the_collector(world):
    one = world()
    one.results = [UNKNOWN]
    one.push()
    one.tick()
    one.tick()
    assert [("succeeded", 2, 1)] == one.rows("status", "attempts", "interruptions")


def test_a_rule_that_is_gone(world):
    one = world({"delay": "10s"})
    one.push()
    one.tick()
    one.rules = [{"name": "other", "match": {"repository": "x"}}]
    one.restart()
    assert [("skipped", "there is no rule 'app' any more")] == one.rows("status", "reason")


def test_approved(world):
    one = world({"approve": True})
    one.push()
    one.tick()
    one.tick(24 * 3600)  # people take their time
    assert ([], ["unapproved"]) == (one.done, one.rows("status"))
    one.asked("approve")
    one.restart()
    one.tick()
    assert [("succeeded", "alice")] == one.rows("status", "approved_by")
    one.asked("approve")  # too late
    one.tick()
    assert 1 == len(one.done)


def test_rejected(world):
    one = world({"approve": True})
    one.push()
    one.tick()
    one.asked("reject")
    one.tick()
    assert ([], [("rejected", "alice said no")]) == (one.done, one.rows("status", "reason"))


def test_a_newer_push_takes_the_place_of_one_that_waits_for_an_approval(world):
    one = world({"approve": True})
    for tag in ("1", "2"):
        one.push(tag=tag)
        one.tick()
    assert ["superseded", "unapproved"] == one.rows("status")


def test_once_more_by_hand(world):
    one = world({"approve": True, "cooldown": "0s"})
    one.push()
    one.tick()
    one.asked("approve")
    one.tick()
    seal(one.store)
    name = one.asked("run")
    one.tick()
    one.restart()
    one.tick()
    assert 2 == len(one.done)
    assert [(None, "succeeded"), (name, "succeeded")] == one.rows("again_of", "status")


def test_by_hand_where_nobody_acts(world):
    """Only what is asked for; what else waits is left to whoever acts next."""
    one = world({"delay": "10m", "target": "{tag}"})
    one.push(tag="1")
    one.tick()
    one.tick(700)
    one.push(tag="2")
    one.tick()
    one.end()
    name = one.asked("run")
    one.store.ledger.ask("another", "run", Asked("bob", one.now))
    one.now += timedelta(hours=1)
    one.start(by_hand=name)
    one.tick()
    assert ["another"] == [request.deployment_id for request in one.store.ledger.requests()]
    assert ["1", "1"] == [tag for *_, tag in one.done]
    assert ["succeeded", "waiting", "succeeded"] == one.rows("status")


def test_a_tag_that_is_deleted_by_its_digest(world):
    one = world({"match": {"repository": "team/*", "action": "delete"}, "target": "{tag}"})
    for tag in ("1", "2"):
        one.push(tag=tag, digest=A)
    one.push(tag="3", digest=B)
    at = one.now + timedelta(seconds=1)
    gone = make_event(action="delete", method="DELETE", tag=None, digest=A, at=at, media_type=None)
    journalled(one.store, envelope(gone), received_at=one.now)
    one.tick(2)
    assert {"1", "2"} == {tag for *_, tag in one.done}
    assert [None, None] == one.rows("digest")


def test_kinds(world):
    one = world({"match": {"kind": "index"}})
    one.push()
    one.push(media_type=INDEX, tag="2")
    one.tick()
    assert ["2"] == [tag for *_, tag in one.done]


def test_one_process_acts(world):
    one, its = world(), msgspec.convert({"deploy": [RULE]}, Settings)
    other = Deployer(one.store, its, lambda: one.now, lambda job: one.do(job, []))
    one.push()
    one.tick()
    other.tick()
    assert (False, 1) == (other.acts, len(one.done))
    one.end()
    other = Deployer(one.store, its, lambda: one.now, lambda job: one.do(job, []))
    other.tick()
    assert other.acts
    other.give_up()


def test_nothing_is_done_before_it_is_on_disk(world, monkeypatch):
    one = world()

    def fails(_):
        raise OSError(5, "Input/output error")

    one.push()
    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", fails)
        with pytest.raises(OSError, match="Input/output"):
            one.tick()
    assert ([], []) == (one.done, one.rows("status"))
    one.tick(60)
    one.tick()
    assert ["succeeded"] == one.rows("status")


def test_what_goes_wrong_at_the_beginning_is_begun_again(world, monkeypatch):
    one = world()
    one.end()
    one.push()
    with monkeypatch.context() as patch:
        patch.setattr(Stats, "sql", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            one.start()
    one.start()
    one.tick()
    assert ["succeeded"] == one.rows("status")


def test_a_full_disk_loses_nothing(world, monkeypatch):
    one = world()
    one.push()
    put = one.store.ledger.put
    for fails in (1, 2, 3):  # before it is decided, before it is begun, before it is told how it went
        counts = iter(range(1, 100))

        def failing(deployment, fails=fails, counts=counts):
            if next(counts) == fails:
                raise OSError(28, "No space left on device")
            put(deployment)

        monkeypatch.setattr(one.store.ledger, "put", failing)
        with pytest.raises(OSError, match="No space"):
            one.tick(1)
        monkeypatch.setattr(one.store.ledger, "put", put)
        one.tick(60)
        one.tick(60)
        assert fails == one.rows("status").count("succeeded")
        one.push(tag=f"{fails}.1")
    one.end()


def test_destinations_are_told(world):
    to = {"ops": {"directory": "/nowhere"}}
    one = world({"to": ["ops"], "approve": True}, destinations=to)
    one.push(actor="**ci**")
    one.tick()
    one.asked("approve")
    one.results = [WRONG]
    one.tick()
    first, second = Outbox(one.store.root).waiting()
    assert "Deployment app unapproved: team/app:1.0" == first.subject
    assert "Deployment app failed: team/app:1.0" == second.subject
    assert "it answered 404" in second.text
    assert "by `**ci**`" in second.text
    assert "failed" == second.fields["status"]


def test_the_relation_is_the_same_before_and_after_sealing(world):
    one = world({"settle": "5s"})
    for tag in ("1", "2"):
        one.push(tag=tag)
    one.tick()
    one.tick(6)
    one.push(tag="3")
    one.tick()
    before = one.rows("deployment_id", "status", "history", "tag", "seen_at")
    seal(one.store)
    assert before == one.rows("deployment_id", "status", "history", "tag", "seen_at")
    assert ["3"] == [deployment.tag for deployment in one.store.ledger.read()]


def test_a_crash_while_sealing_counts_nothing_twice(world, monkeypatch):
    one = world()
    one.push()
    one.tick()
    with monkeypatch.context() as patch:
        patch.setattr(one.store.ledger, "remove", lambda _: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            seal(one.store)
    assert 1 == len(one.rows("status"))
    one.push(tag="2")
    one.tick()
    seal(one.store)
    assert (2, []) == (len(one.rows("status")), one.store.ledger.files())
    assert [] == check.check(one.store, one.now)


def test_the_ledger_outlives_a_rebuild(world):
    one = world()
    one.push()
    one.tick()
    seal(one.store)
    rebuild(one.store, one.now)
    assert ["succeeded"] == one.rows("status")
    assert [] == check.check(one.store, one.now, deep=True)


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["push", "push", "push", "delete"]),
        st.sampled_from(["1", "2"]),
        st.sampled_from([A, B]),
        st.sampled_from([0, 0, 0, -30]),
    ),
    min_size=2,
    max_size=8,
)


@settings(max_examples=12, derandomize=True, deadline=None)
@given(STEPS)
def test_what_is_kept_in_mind_is_what_the_store_says(tmp_path_factory, steps):
    """However pushes, deletes and late events follow on one another, what a tag pointed to before is the same."""
    seen = []
    for asks in (False, True):
        one = World(tmp_path_factory.mktemp("data"), {"target": "{event_id}"})
        if asks:
            one.deployer._watch._tips.change = lambda event: None  # so the store has to be asked each time
        for number, (action, tag, digest, late) in enumerate(steps):
            at = one.now + timedelta(seconds=late)
            event = {"at": at, "id": f"e{number}", "digest": digest, "tag": tag}
            gone = {"action": "delete", "method": "DELETE", "tag": None, "media_type": None}
            journalled(one.store, envelope(make_push(**event | (gone if action == "delete" else {}))), received_at=at)
            one.tick(1)
        seen.append(one.rows("event_id", "before", "status"))
        one.end()
    assert seen[0] == seen[1]
