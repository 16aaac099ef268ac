"""Apache Spark gives the answers that DuckDB gives, in a session that is in another time zone.

`STRESS=1` has executors of their own, `local-cluster[2,1,1024]`, asks more, and asks it of five million events, too,
for all of which Spark accounts. `TEST_SPARK=…` names another master, or
a server: `sc://127.0.0.1:15002`.
"""

import hashlib
import importlib
import os
import random
import shutil
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pandas as pd
import pyarrow as pa
import pytest
from makers import BLOB, INDEX, A, B, envelope, journalled, make_deployment, make_event, make_push

import regstats
from regstats.compact import compact
from regstats.config import Exclude, Team
from regstats.errors import ParameterError, SlowQueryError
from regstats.metrics import METRICS
from regstats.sealing import seal
from regstats.stats import Stats
from regstats.store import Store

sql = pytest.importorskip("pyspark.sql")
pytestmark = pytest.mark.skipif(shutil.which("java") is None, reason="java is not installed")

IS_LONG = bool(os.environ.get("STRESS"))
seldom = pytest.mark.skipif(not IS_LONG, reason="takes long: with STRESS=1")
NOW = datetime(2026, 10, 26, 12, tzinfo=UTC)
CHILD = f"sha256:{'c' * 64}"
EXCLUDE = Exclude(clients=["skopeo"], actors=["ci-*", "it's\\\\*"], networks=["198.51.100.0/24"])
BERLIN = {"tz": "Europe/Berlin", "since": "2026-10-24", "until": "2026-10-26"}
ASKED = [
    *((metric, {}) for metric in METRICS),
    ("pulls", {"interval": "hour", **BERLIN}),
    ("pulls", {"by": ["repository", "actor"], "repository": ["team/*", "o[!x]*"], "actor": ["a*", "it's?x"]}),
]
ASKED_SELDOM = [
    ("tags", {"by": ["source"], "interval": "day", **BERLIN}),
    ("top", {"measure": "deletes", "limit": 2}),
    ("unused", {"days": 0}),
    *((metric, BERLIN) for metric, about in METRICS.items() if "since" in about.parameters),
    *(("pulls", {"interval": interval, **BERLIN}) for interval in ("week", "month", "total")),
    *(("top", {"measure": measure, "by": ["client", "tag"], "since": "3d"}) for measure in ("requests", "updates")),
    ("adoption", {"by": ["actor"], "interval": "day", "tz": "Europe/Berlin"}),
    ("history", {"at": "2026-10-25T00:30:00Z"}),
]
MANY = 5_000_000
_QUICK = "-XX:TieredStopAtLevel=1 -XX:ReservedCodeCacheSize=200m"
SOON = {
    "spark.sql.codegen.wholeStage": "false",
    "spark.sql.codegen.factoryMode": "NO_CODEGEN",
    "spark.sql.adaptive.enabled": "false",
    "spark.driver.extraJavaOptions": _QUICK,
    "spark.executor.extraJavaOptions": _QUICK,
}
"""Nothing is compiled that is run once: it takes half the time."""


@pytest.fixture(scope="module")
def spark(tmp_path_factory):
    """A session in New York."""
    folder = tmp_path_factory.mktemp("spark")
    own = {
        "SPARK_HOME": str(Path(sql.__file__).parents[1]),
        "SPARK_LOCAL_IP": "127.0.0.1",
        "SPARK_LOCAL_HOSTNAME": "localhost",
        "SPARK_WORKER_DIR": str(folder / "work"),
    }
    settings = {} if IS_LONG else SOON
    settings |= {
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.sql.shuffle.partitions": "8" if IS_LONG else "1",
        "spark.sql.warehouse.dir": str(folder / "warehouse"),
        "spark.sql.session.timeZone": "America/New_York",
        "spark.local.dir": str(folder / "local"),
    }
    master = os.environ.get("TEST_SPARK", "local-cluster[2,1,1024]" if IS_LONG else "local[2]")
    if master.startswith("sc://"):
        yield master
        return
    with pytest.MonkeyPatch.context() as patch:
        for name, value in own.items():
            patch.setenv(name, value)
        builder = sql.SparkSession.builder.master(master)
        for name, value in settings.items():
            builder = builder.config(name, value)
        session = builder.getOrCreate()
        session.sparkContext.setLogLevel("OFF")
        yield session
        session.stop()


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A store with closed dates in parts, an open one, and a journal with repetitions."""
    store = Store(tmp_path_factory.mktemp("store") / "of=[odd] names%20", create=True)
    events = list(happened(random.Random(7), 600))
    old, late = events[:-60], events[-60:]
    journalled(store, envelope(*old), received_at=NOW - timedelta(days=1))
    store.ledger.put(make_deployment("aaaa1", rule="web", repository="team/web"))
    store.ledger.put(make_deployment("aaaa2", repository="other"))
    seal(store)
    store.ledger.put(make_deployment("aaaa3", "unapproved", started_at=None, finished_at=None))
    compact(store, now=NOW)
    journalled(store, envelope(*late, *old[-20:], *old[:5]), b"garbage", received_at=NOW)
    return store.root


def happened(chance, number):
    """Events of 60 days, half of them around the end of summer time in Berlin, the latest last."""
    start = NOW - timedelta(days=60)
    moments = sorted(
        start + timedelta(days=60) * chance.random() ** (1 if chance.random() < 0.5 else 0.05) for _ in range(number)
    )
    yield make_push(tag="1.0", repository="team/old", at=start)
    for at in moments:
        yield event(chance, at)
    yield from (make_event(tag="1.0", actor="looping", at=NOW - timedelta(hours=n / 30)) for n in range(60))


def event(chance, at):
    where = {"repository": chance.choice(["team/app", "team/web", "other"]), "at": at}
    who = {
        "actor": chance.choice(["alice", "ada", None, "ci-1", "it's\\x"]),
        "addr": f"{chance.choice(['192.0.2.7', '198.51.100.3', '2001:db8::1'])}",
        "user_agent": chance.choice(["docker/27.5.1", "containerd/1.7", "skopeo/1.9"]),
    }
    what = chance.random()
    digest, tag = chance.choice([A, B, CHILD]), chance.choice(["latest", "1.0", None])
    if what < 0.1:
        kind = {"media_type": INDEX, "references": [{"digest": CHILD, "mediaType": INDEX, "size": 3}]}
        return make_push(**where, **who, tag=chance.choice(["latest", "1.0", "2.0"]), digest=digest, **kind)
    if what < 0.15:
        return make_push(**where, **who, tag=None, digest=digest, media_type=BLOB, size=chance.randrange(9000))
    if what < 0.18:
        return make_event(**where, **who, action="delete", method="DELETE", tag=tag, digest=digest)
    kind = {"media_type": chance.choice([INDEX, BLOB, BLOB])} if tag is None else {}
    return make_event(**where, **who, tag=tag, digest=digest, method=chance.choice(["GET", "HEAD"]), **kind)


@pytest.fixture(scope="module")
def answers(place, spark):
    return [regstats.open(place, now=NOW, exclude=EXCLUDE, engine=engine) for engine in ("duckdb", spark)]


def test_spark_answers_as_duckdb_does(answers, place, spark, subtests):
    """One test, because each process that had one of several would start a Spark of its own."""
    every_metric(answers, subtests)
    every_view(answers, subtests)
    with subtests.test("deployments"):
        some_deployments(answers)
    with subtests.test("sql"):
        sql_is_a_frame(answers)
    with subtests.test("what happens meanwhile is seen"):
        what_happens_meanwhile(answers, place)
    with subtests.test("the session is left as it was"):
        the_session(spark)


def every_metric(answers, subtests):
    for metric, parameters in ASKED + ASKED_SELDOM * IS_LONG:
        with subtests.test(metric, parameters=parameters):
            expected, actual = (getattr(stats, metric)(**parameters) for stats in answers)
            pd.testing.assert_frame_equal(expected, actual, check_exact=True)
            assert expected.attrs == actual.attrs


@seldom
def test_what_is_given_beside_the_store(answers):
    teams = {"mine": Team(repositories=["team/*"]), "its": Team(actors=["it's?x", "a[dl]*"])}
    catalog = pd.DataFrame({"repository": ["new"], "tag": ["1"], "digest": [A]})
    for ask in (lambda stats: stats.chargeback(teams), lambda stats: stats.unused(catalog=catalog)):
        pd.testing.assert_frame_equal(*map(ask, answers), check_exact=True)


def every_view(answers, subtests):
    """Row for row, with all columns."""
    for view in ("events", "pulls", "deletes", "changes", "moves", "all_blobs", "uploads"):
        with subtests.test(view):
            expected, actual = (rows(stats, f"select * from {view}") for stats in answers)
            pd.testing.assert_frame_equal(expected, actual)
            assert len(expected)


def rows(stats, query):
    """As text, in an order that both know."""
    frame = stats._engine.query(query).to_pandas().astype(str)
    return frame[sorted(frame)].sort_values(sorted(frame), ignore_index=True)


def what_happens_meanwhile(answers, place):
    """In a journal that grows, and when it is sealed."""
    journals = 2 if IS_LONG else 1
    for number in range(journals):
        journalled(Store(place), envelope(make_event(tag="new", at=NOW, id=f"new-{number}")), received_at=NOW)
        assert [[number + 1]] * 2 == [pulls_of(stats, "new") for stats in answers]
    seal(Store(place))
    assert [[journals]] * 2 == [pulls_of(stats, "new") for stats in answers]


def pulls_of(stats, tag):
    return stats.pulls(tag=tag, interval="total", since="1d")["pulls"].tolist()


def some_deployments(answers):
    for asked in ({}, {"repository": "team/*", "rule": ["w[!x]*", "other"], "status": "succeeded", "limit": 1}):
        expected, actual = (stats.deployments(**asked) for stats in answers)
        pd.testing.assert_frame_equal(expected, actual, check_exact=True)
        assert len(expected)


def sql_is_a_frame(answers):
    """Of Spark; and who names a part of a query after a view does not take it from others."""
    frame = answers[1].sql("select count(*) as n from pulls where actor = $actor", actor="looping")
    assert isinstance(frame, sql.DataFrame)
    assert [(60,)] == [tuple(row) for row in frame.collect()]
    query = "with pulls as (select * from pulls where actor = 'looping') select count(*) as n from pulls"
    assert [[(60,)]] * 2 == [[tuple(row) for row in answers[1].sql(query).collect()] for _ in range(2)]
    with pytest.raises(ParameterError, match="tables: 'pulls' is a view already"):
        answers[1].sql("select * from pulls", tables={"pulls": pa.table({"x": [1]})})


@seldom
def test_several_threads_are_answered(answers):
    expected = answers[0].top(), answers[0].tags()
    found = {}

    def ask(number):
        found[number] = getattr(answers[1], ("top", "tags")[number % 2])()

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number, frame in found.items():
        pd.testing.assert_frame_equal(expected[number % 2], frame, check_exact=True)
    assert 4 == len(found)


@seldom
def test_who_does_not_want_to_wait_need_not(place, spark):
    stats = Stats(place, now=NOW, engine=spark, patience=2)
    began = time.monotonic()
    with pytest.raises(SlowQueryError, match="This takes more than 2 seconds"):
        stats._engine.query("select sum(a.id * b.id % 7) as n from range(3000000) as a cross join range(3000000) as b")
    assert time.monotonic() - began < 60
    assert [{"n": 3}] == stats._engine.query("select count(*) as n from range(3)").to_pylist()


def the_session(spark):
    if not isinstance(spark, str):
        assert "America/New_York" == spark.conf.get("spark.sql.session.timeZone")
        assert [] == [table.name for table in spark.catalog.listTables()]


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """Five million events, accounted for; and the same without what was accounted for."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(Path(__file__).parents[1] / "bench")
        traffic = importlib.import_module("traffic")
    accounted = traffic.write(tmp_path_factory.mktemp("many") / "store", MANY, 90)
    compact(accounted, traffic.NOW)
    bare = tmp_path_factory.mktemp("bare") / "store"
    shutil.copytree(accounted.root, bare)
    manifest = accounted.manifest()
    kept = [part for part in manifest.parts if part.table in ("events", "deliveries")]
    (bare / "manifest.json").write_bytes(msgspec.json.encode(msgspec.structs.replace(manifest, parts=kept)))
    return accounted.root, bare, traffic.NOW


@pytest.fixture(scope="module")
def of_many(many, spark):
    """As DuckDB answers from what is accounted for, and as Spark does that has to account for all of it."""
    accounted, bare, now = many
    return [regstats.open(accounted, now=now), regstats.open(bare, now=now, engine=spark)]


@seldom
@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin"])
@pytest.mark.parametrize("metric", METRICS)
def test_every_metric_of_many_events(of_many, metric, zone):
    parameters = {"tz": zone} if "tz" in METRICS[metric].parameters else {}
    expected, actual = (getattr(stats, metric)(**parameters) for stats in of_many)
    pd.testing.assert_frame_equal(expected, actual, check_exact=True)
    assert len(expected)


@seldom
@pytest.mark.parametrize("table", ["pulls", "changes", "moves", "blobs"])
def test_what_is_accounted_for_of_many_events(of_many, table):
    """Row for row: their number, and what all their columns add up to, by date."""
    expected, actual = (day_by_day(stats, f"all_{table}") for stats in of_many)
    assert expected == actual
    assert len(expected) > 80


def day_by_day(stats, view):
    """Each date's rows, as text, in the order of their texts: a hash of them."""
    found = {}
    for (day,) in (
        stats._engine.query(f"select distinct date from {view} order by date").to_pandas().itertuples(index=False)
    ):
        frame = rows(stats, f"select * from {view} where date = date '{day}'")
        found[day] = len(frame), hashlib.sha256(frame.to_csv(index=False).encode()).hexdigest()
    return found
