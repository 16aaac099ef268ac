"""Every metric against numbers that were counted by hand."""

import shutil
import subprocess
import sys
import threading
import warnings
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pandas as pd
import pytest
from makers import BLOB, INDEX, NOW, days, envelope, journalled, make_event, make_push

import regstats
from regstats import sample
from regstats.backends import backend
from regstats.compact import account
from regstats.config import NOBODY
from regstats.engine import Engine
from regstats.errors import ParameterError, SlowQueryError, StoreNotFoundError
from regstats.metrics import METRICS
from regstats.sealing import seal
from regstats.stats import Stats, default_data
from regstats.store import Store

A, B, C = (f"sha256:{letter * 64}" for letter in "abc")


def rows(frame):
    """A frame as tuples; missing values as None."""
    return [tuple(None if pd.isna(v) else v for v in row) for row in frame.itertuples(index=False)]


def at(day, hour=12, minute=0):
    return datetime(2026, 11, day, hour, minute, tzinfo=UTC)


def test_pulls_per_day(stats_of):
    """A pull is what a client did, whatever requests it took; blobs make it a download, pushes are something else."""
    stats = stats_of(
        make_event(at=at(22)),
        make_event(at=at(22, 23, 59)),
        make_event(at=at(23), method="HEAD"),
        make_event(at=at(23, 12, 1), tag=None),
        make_event(at=at(23, 12, 1), media_type=BLOB, tag=None, digest=B),
        make_event(at=at(23, 12, 1), media_type=BLOB, tag=None, digest=C),
        make_event(at=at(23, 14), method="HEAD"),
        make_push(at=at(23, 15), digest=B),
    )
    frame = stats.pulls()
    assert ["period", "pulls", "downloads", "version_checks", "requests"] == list(frame.columns)
    assert [
        (pd.Timestamp(2026, 11, 22), 2, 0, 0, 2),
        (pd.Timestamp(2026, 11, 23), 1, 1, 1, 3),
        (pd.Timestamp(2026, 11, 24), 0, 0, 0, 0),
    ] == rows(frame)


def test_pulls_by_columns_in_total(stats_of):
    """Each combination that occurs, in the order of its values; nobody's name first."""
    stats = stats_of(
        make_event(repository="b", actor=None),
        make_event(repository="a", actor="alice"),
        make_event(repository="b", actor="alice"),
        make_event(repository="b", actor="alice"),
    )
    frame = stats.pulls(interval="total", by=["repository", "actor"])
    assert [("a", "alice", 1, 0, 0, 1), ("b", None, 1, 0, 0, 1), ("b", "alice", 2, 0, 0, 2)] == rows(frame)


@pytest.mark.parametrize(
    ("interval", "tz", "expected"),
    [
        ("day", "UTC", [("2026-10-24", 1), ("2026-10-25", 3)]),
        ("day", "Europe/Berlin", [("2026-10-25", 4)]),
        ("week", "Europe/Berlin", [("2026-10-19", 4)]),
        ("month", "Europe/Berlin", [("2026-10-01", 4)]),
        ("day", "America/New_York", [("2026-10-24", 4)]),
    ],
)
def test_periods_are_of_the_time_zone(stats_of, interval, tz, expected):
    """Around the end of summer time in Berlin: 22:30, 00:30 and 01:30 UTC, which is 00:30 and twice 02:30 there."""
    times = [
        datetime(2026, 10, 24, 22, 30, tzinfo=UTC),
        *(datetime(2026, 10, 25, h, 30, tzinfo=UTC) for h in (0, 1, 2)),
    ]
    stats = stats_of(*(make_event(at=time) for time in times))
    frame = stats.pulls(interval=interval, tz=tz, until="2026-10-25T03:00Z")
    assert [(pd.Timestamp(day), pulls) for day, pulls in expected] == rows(frame[["period", "pulls"]])


def test_the_repeated_hour_is_two_hours(stats_of):
    """Clocks are set back: 02:30 happens twice in Berlin, and each has a row."""
    stats = stats_of(*(make_event(at=datetime(2026, 10, 25, hour, 30, tzinfo=UTC)) for hour in (0, 1)))
    periods = stats.pulls(interval="hour", tz="Europe/Berlin", until="2026-10-25T02:59:00+01:00")["period"]
    assert ["2026-10-25 02:00:00+02:00", "2026-10-25 02:00:00+01:00"] == [str(period) for period in periods]


def test_hours_of_a_zone_that_is_half_an_hour_off(stats_of):
    """India's hours begin at half past UTC's."""
    stats = stats_of(make_event(at=at(23, 10, 29)), make_event(at=at(23, 10, 31)))
    periods = stats.pulls(interval="hour", tz="Asia/Kolkata", until="2026-11-23T11:00Z")["period"]
    assert ["2026-11-23 15:00:00+05:30", "2026-11-23 16:00:00+05:30"] == [str(period) for period in periods]


def test_the_window_is_half_open(stats_of):
    """[since, until): the first moment is in it, the last is not."""
    stats = stats_of(*(make_event(at=at(day, 0)) for day in (21, 22, 23, 24)))
    assert [22, 23] == list(stats.pulls(since="2026-11-22", until="2026-11-24")["period"].dt.day)
    assert [21, 22] == list(stats.pulls(until="2026-11-22T00:00:01")["period"].dt.day)
    assert [1] == list(stats.pulls(since="1d", interval="total")["pulls"])


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({"repository": "team/*"}, 2),
        ({"repository": "team/ap?"}, 1),
        ({"repository": "team/[!a]*"}, 1),
        ({"repository": ["team/app", "other"]}, 2),
        ({"repository": "*", "tag": "1.*"}, 2),
        ({"actor": "ali*"}, 2),
        ({"client": "podman"}, 3),
        ({"source": "default"}, 3),
        ({"source": "nosuch"}, 0),
        ({"repository": "team/%"}, 0),
        ({"repository": "' or 1=1 --"}, 0),
        ({"repository": "it's"}, 0),
    ],
)
def test_filters_are_globs(stats_of, parameters, expected):
    """As in a shell, not as in SQL, whose metacharacters mean nothing."""
    stats = stats_of(
        make_event(repository="team/app", tag="1.0", actor="alice"),
        make_event(repository="team/web", tag="latest", actor="alice"),
        make_event(repository="other", tag="1.1", actor="bob"),
    )
    assert expected == stats.pulls(**parameters)["pulls"].sum()


def test_pushes_and_updates(stats_of):
    """Manifests with a tag; an update changes what the tag points to. Children of an index and blobs are no pushes."""
    stats = stats_of(
        make_push(at=at(20), digest=A),
        make_push(at=at(21), digest=A),
        make_push(at=at(22), digest=B),
        make_push(at=at(22, 13), digest=A),
        make_push(at=at(22), digest=A, tag="2.0"),
        make_push(at=at(22), digest=A, repository="other", media_type=INDEX),
        make_push(at=at(22), digest=C, tag=None),
        make_push(at=at(22), digest=C, tag=None, media_type=BLOB),
    )
    expected = [
        (pd.Timestamp(2026, 11, 20), 1, 1, 0),
        (pd.Timestamp(2026, 11, 21), 1, 0, 0),
        (pd.Timestamp(2026, 11, 22), 4, 4, 0),
    ]
    assert expected == rows(stats.pushes(until="2026-11-23"))


def test_an_update_is_known_from_before_the_window(stats_of):
    """A repeated push is none, even if the first one is not asked for."""
    stats = stats_of(make_push(at=at(20), digest=A), make_push(at=at(22), digest=A))
    assert [(1, 0, 0)] == rows(stats.pushes(since="2026-11-21", interval="total"))


def test_late_pushes_are_put_in_order_by_their_own_time(stats_of):
    """What arrives last may have happened first."""
    stats = stats_of(make_push(at=at(22), digest=B), make_push(at=at(20), digest=A), make_push(at=at(23), digest=A))
    assert [1, 0, 1, 1, 0] == list(stats.pushes()["updates"])


def test_what_was_deleted_by_its_digest(stats_of):
    """A manifest is also one that was only pulled, or only listed by an index; anything else is a blob."""
    gone = {"action": "delete", "method": "DELETE", "media_type": None, "size": None, "tag": None}
    pulled, listed, unknown = (f"sha256:{letter * 64}" for letter in "123")
    stats = stats_of(
        make_event(at=at(20), digest=pulled, tag=None),
        make_push(at=at(20), digest=A, media_type=INDEX, references=[{"digest": listed}]),
        *(make_event(at=at(21), digest=digest, **gone) for digest in (pulled, listed, unknown)),
    )
    deleted = dict(stats.sql("select digest, kind from deletes").fetchall())
    assert {pulled: "manifest", listed: "manifest", unknown: "blob"} == deleted


def test_deletes(stats_of):
    """A delete by digest of a manifest, with the tags that went; one of a blob looks the same, and does not count."""
    gone = {"action": "delete", "method": "DELETE", "media_type": None, "size": None}
    stats = stats_of(
        make_push(at=at(20), digest=A, tag="1"),
        make_push(at=at(20), digest=A, tag="2"),
        make_push(at=at(20), digest=B, tag=None),
        make_event(at=at(21), digest=A, tag=None, request_id="manifest", **gone),
        make_event(at=at(21), digest=None, tag="1", request_id="manifest", **gone),
        make_event(at=at(21), digest=None, tag="2", request_id="manifest", **gone),
        make_event(at=at(22), digest=B, tag=None, request_id="untagged", **gone),
        make_event(at=at(22), digest=C, tag=None, request_id="blob", **gone),
        make_event(at=at(23), digest=None, tag="1", request_id="tag", **gone),
        make_push(at=at(24), digest=A, tag="1"),
    )
    deleted = stats.sql("select request_id, kind, tag, digest from deletes order by all").fetchall()
    assert [
        ("blob", "blob", None, C),
        ("manifest", "manifest", "1", A),
        ("manifest", "manifest", "2", A),
        ("tag", "tag", "1", None),
        ("untagged", "manifest", None, B),
    ] == deleted
    assert [(20, 2, 2, 0), (21, 0, 0, 1), (22, 0, 0, 1), (23, 0, 0, 1), (24, 1, 1, 0)] == rows(
        stats.pushes().assign(period=lambda frame: frame["period"].dt.day)
    )
    assert [3] == list(stats.activity()["deletes"])
    assert [1, 2, 1] == list(stats.pushes(by="tag", interval="total")["deletes"][[0, 1, 2]])


def test_repositories(stats_of):
    """One row each, the most pulled first; a puller is an actor at an address."""
    stats = stats_of(
        make_event(repository="a", at=at(20), actor="alice"),
        make_event(repository="a", at=at(21), actor="alice", addr="192.0.2.8:1"),
        make_event(repository="a", at=at(22), actor="bob", tag="2.0"),
        make_event(repository="a", at=at(23), actor="carol", method="HEAD"),
        make_push(repository="a", at=at(19), actor="ci", digest=A),
        make_push(repository="b", at=at(18), actor="ci", digest=A),
        make_push(repository="b", at=at(19), actor="ci", digest=A),
    )
    assert [
        ("a", 3, 0, 1, 1, 1, 2, 4, 3, at(20), at(22), at(19), at(19)),
        ("b", 0, 0, 0, 2, 1, 1, 1, 0, None, None, at(18), at(19)),
    ] == rows(stats.repositories())


def test_cadence(stats_of):
    """Intervals between updates, age up to now, overdue their ratio; nothing of the kind after a single update."""
    digests = [f"sha256:{number}" for number in range(5)]
    times = [at(1), at(2), at(4), at(8), at(18)]  # intervals of 1, 2, 4 and 10 days
    stats = stats_of(
        *(make_push(tag="latest", digest=digest, at=time) for digest, time in zip(digests, times, strict=True)),
        make_push(tag="latest", digest="sha256:4", at=at(19)),
        make_push(tag="once", digest=A, at=at(20)),
        make_push(tag="sha256-" + "a" * 64 + ".sig", digest=A, at=at(20)),
        make_push(tag="sha256-" + "a" * 64, digest=A, at=at(20)),
    )
    assert [
        ("team/app", None, "repository", 6, at(1), at(20), days(2), days(10), days(4), 2.0, "A"),
        ("team/app", "latest", "moving", 5, at(1), at(18), days(2), days(10), days(6), 3.0, "A"),
        ("team/app", "once", "moving", 1, at(20), at(20), None, None, days(4), None, "A"),
    ] == rows(stats.cadence())


def test_activity(stats_of):
    """One row per actor; a delete by digest is one delete, however many tags it removed."""
    stats = stats_of(
        make_event(at=at(20), actor="alice"),
        make_event(at=at(20, 13), actor="alice", media_type=BLOB, tag=None),
        make_event(at=at(22), actor="alice", repository="other", addr="192.0.2.8:1", user_agent="docker/27"),
        make_push(at=at(23), actor="bob"),
        make_event(at=at(23, 13), actor="bob", action="delete", media_type=None, tag=None, request_id="r"),
        make_event(at=at(23, 13), actor="bob", action="delete", media_type=None, digest=None, request_id="r"),
        make_event(at=at(24), actor=None),
    )
    assert [
        ("alice", at(20), at(22), 2, 2, 0, 0, 2, 2, 2),
        (None, at(24), at(24), 1, 1, 0, 0, 1, 1, 1),
        ("bob", at(23), at(23, 13), 1, 0, 1, 1, 1, 1, 1),
    ] == rows(stats.activity())


def test_activity_over_time(stats_of):
    """With an interval, a row per period and actor."""
    stats = stats_of(make_event(at=at(20)), make_event(at=at(21)), make_event(at=at(21), actor="bob"))
    frame = stats.activity(interval="day")
    assert [(20, "alice", 1), (21, "alice", 1), (21, "bob", 1)] == rows(
        frame.assign(period=frame["period"].dt.day)[["period", "actor", "pulls"]]
    )


@pytest.mark.parametrize("metric", METRICS)
def test_an_empty_store_gives_an_empty_frame_with_the_same_columns_and_types(store, stats_of, metric):
    """So that what is built on it needs no special case; the same for a repository that is not there."""
    empty = getattr(Stats(store.root, now=NOW), metric)()
    full = getattr(stats_of(make_event(), make_push()), metric)
    missing = {"source": "nosuch"} if metric == "health" else {"repository": "nosuch"}
    assert (0, 0) == (len(empty), len(full(**missing)))
    assert dict(full().dtypes) == dict(empty.dtypes) == dict(full(**missing).dtypes)


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """A real day in the journal, half of it in parts, all of it in parts, and with the pulls of closed dates kept."""
    bodies, folder = [delivery.body for delivery in sample.day()], tmp_path_factory.mktemp("places")
    for sealed in (0, len(bodies) // 2, len(bodies)):
        store = Store(folder / str(sealed), create=True)
        for some, is_sealed in ((bodies[:sealed], True), (bodies[sealed:], False)):
            journalled(store, *some)
            if is_sealed:
                seal(store)
    assert 1 == account(Store(shutil.copytree(store.root, folder / "kept")), NOW)
    return sorted(folder.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("metric", METRICS)
def test_where_the_events_are_makes_no_difference(places, metric):
    """A real day has the same numbers wherever it lies."""
    split = {"by": "client"} if "by" in METRICS[metric].parameters else {}
    first, *others = [getattr(Stats(place, now=NOW), metric)(**split) for place in places]
    assert 3 == len(others)
    for frame in others:
        pd.testing.assert_frame_equal(first, frame)


@pytest.mark.parametrize("metric", METRICS)
def test_limit(stats_of, metric):
    """At most so many rows, the first ones."""
    stats = stats_of(
        *(make_event(repository=f"r{day}", at=at(day), actor=f"a{day}") for day in range(20, 24)),
        *(make_push(repository=f"r{day}", at=at(day), actor=f"a{day}") for day in range(20, 24)),
    )
    everything = getattr(stats, metric)()
    pd.testing.assert_frame_equal(everything.head(2), getattr(stats, metric)(limit=2))


def test_times_are_aware_and_durations_are_timedeltas(stats_of):
    """The documented types."""
    stats = stats_of(make_push())
    frame = stats.cadence()
    assert "datetime64[us, UTC]" == str(frame["last_update"].dtype)
    assert "timedelta64[us]" == str(frame["age"].dtype)
    assert "datetime64[us]" == str(stats.pushes()["period"].dtype)
    assert "datetime64[us, Asia/Tokyo]" == str(stats.pushes(interval="hour", tz="Asia/Tokyo")["period"].dtype)


def test_a_frame_says_what_was_asked(stats_of):
    """For whoever draws it."""
    attributes = stats_of(make_event()).pulls(since="2026-11-01", interval="week").attrs
    assert {
        "metric": "pulls",
        "since": datetime(2026, 11, 1, tzinfo=UTC),
        "until": None,
        "interval": "week",
        "tz": "UTC",
        "excluded": {
            "clients": ["Go-http-client/*", "harbor-registry-client", "regstats/*"],
            "actors": [],
            "networks": [],
        },
    } == attributes


def test_what_is_acknowledged_counts_at_once(store):
    """The journal is read too, at every call, by an object that was made before."""
    stats = Stats(store.root, now=NOW)
    assert [] == list(stats.pulls()["pulls"])
    journalled(store, envelope(make_event()))
    assert [1] == list(stats.pulls()["pulls"])
    seal(store)
    assert [1] == list(stats.pulls()["pulls"])
    journalled(store, envelope(make_event()), b"garbage")
    assert [2] == list(stats.pulls()["pulls"])
    assert [b"garbage"] == list(stats.quarantine()["body"])


def test_with_a_lag_it_counts_a_little_later(store, monkeypatch):
    """Who asks often looks for what has come now and then."""
    clock = iter([0.0, 0.0, 0.9, 1.1, 1.1])  # looked at: before, and after each look
    monkeypatch.setattr("regstats.engine.time", SimpleNamespace(monotonic=clock.__next__))
    stats = Stats(store.root, now=NOW, lag=1.0)
    assert [] == list(stats.pulls()["pulls"])
    journalled(store, envelope(make_event()))
    assert [] == list(stats.pulls()["pulls"])
    assert [1] == list(stats.pulls()["pulls"])


def test_quarantine(store):
    """The newest first, with the reason and the exact bytes."""
    journalled(store, b"older", received_at=NOW - timedelta(hours=1))
    journalled(store, b"\xff\x00newer", envelope(make_event()))
    frame = Stats(store.root).quarantine()
    assert [(b"\xff\x00newer", 7), (b"older", 5)] == rows(frame[["body", "bytes"]])
    assert all("Not JSON" in reason for reason in frame["error"])
    assert [b"\xff\x00newer"] == list(Stats(store.root).quarantine(limit=1)["body"])


def test_sql(stats_of):
    """A DuckDB relation over all four views, with values."""
    stats = stats_of(make_event(repository="a"), make_push(repository="b"))
    query = "select count(*) from {} where $wanted is not null"
    counted = {
        view: stats.sql(query.format(view), wanted=1).fetchall()[0][0]
        for view in ("events", "pulls", "pushes", "deletes", "deliveries")
    }
    assert {"events": 2, "pulls": 1, "pushes": 1, "deletes": 0, "deliveries": 2} == counted
    assert 1 == len(stats.sql("from events where repository = $name", name="a").to_arrow_table())


def test_patience_has_an_end(store):
    """A query that takes longer is given up, and the next one is answered."""
    engine = Engine(store, NOBODY, backend("duckdb", store, patience=0.2))
    with pytest.raises(SlowQueryError, match=r"more than 0\.2 seconds"):
        engine.query("select sum(a.range * b.range) from range(100000000) as a, range(1000000) as b")
    assert [1] == engine.query("select 1 as one")["one"].to_pylist()


def test_sql_hands_over_to_whatever_is_used(stats_of):
    """Arrow, pandas and polars; a glob in a value is text."""
    relation = stats_of(make_event(repository="a")).sql("select repository, us from pulls where tag <> $odd", odd="'*")
    assert ["a"] == relation.to_arrow_table()["repository"].to_pylist()
    assert ["a"] == list(relation.pl()["repository"])
    with warnings.catch_warnings(action="ignore"):  # DuckDB's own, with pandas 3
        assert ["a"] == list(relation.df()["repository"])


def test_importing_is_quick():
    """Nothing large comes along before it is used."""
    script = "import sys, regstats; print({'pandas', 'duckdb', 'plotly', 'pyarrow', 'flask'} & sys.modules.keys())"
    assert (
        "set()\n" == subprocess.run([sys.executable, "-c", script], capture_output=True, check=True, text=True).stdout
    )


def test_repr(store, stats_of):
    """Size and span at a glance."""
    assert "<Stats 0 events, 0 repositories>" == repr(Stats(store.root))
    stats = stats_of(make_event(at=at(1)), make_event(at=at(23), repository="other"))
    assert "<Stats 2 events, 2 repositories, 2026-11-01 … 2026-11-23>" == repr(stats)


def test_several_threads(stats_of):
    """One object may be shared."""
    stats, seen = stats_of(make_event()), []
    threads = [threading.Thread(target=lambda: seen.append(stats.pulls()["pulls"].sum())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [1] * 8 == seen


def test_where_the_store_is_if_nobody_says(monkeypatch, tmp_path):
    """`$REGSTATS_DATA`, else `./data`."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("REGSTATS_DATA", raising=False)
    assert "data" == default_data()
    monkeypatch.setenv("REGSTATS_DATA", "elsewhere")
    assert "elsewhere" == default_data()
    with pytest.raises(StoreNotFoundError, match="elsewhere"):
        Stats()


@pytest.mark.parametrize("now", ["2026-11-24", "2026-11-24T00:00:00+00:00", datetime(2026, 11, 24, tzinfo=UTC)])
def test_now_can_be_set(stats_of, now):
    """To look at the past, in the forms that `since` has."""
    stats = stats_of(make_push(at=at(22, 0)), make_push(at=at(23, 0)))
    stats.now = now
    assert [days(2)] == list(stats.cadence(tag="1.0")["age"][1:])
    assert [1] == list(stats.pushes(since="24h")["pushes"])


def test_the_clock_is_used_when_now_is_not_set(stats_of):
    """`now` is for looking at the past."""
    assert days(0) < stats_of(make_push(at=NOW - days(1)), now=None).cadence()["age"][0]


@pytest.mark.parametrize("now", ["2026-11-23T12:00", "2026-11-23T12:00+00:00", "7d"])
def test_the_present_in_the_environment(stats_of, store, monkeypatch, now):
    """$REGSTATS_NOW is the present if none is passed, in the same formats."""
    stats_of(make_event())
    monkeypatch.setenv("REGSTATS_NOW", now)
    assert now == regstats.open(store.root).now
    assert Stats(store.root, now=now).pulls().equals(Stats(store.root).pulls())
    assert "2026-11-01" == regstats.open(store.root, now="2026-11-01").now


def test_a_present_that_is_not_a_time(store, monkeypatch):
    """Is refused at once, and named; an empty one is none."""
    monkeypatch.setenv("REGSTATS_NOW", "yesterday")
    with pytest.raises(ParameterError, match="REGSTATS_NOW='yesterday' is not a time; write 2026-11-01"):
        Stats(store.root)
    monkeypatch.setenv("REGSTATS_NOW", "")
    assert Stats(store.root).now is None
