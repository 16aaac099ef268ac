"""`regstats serve` as a real process: what was answered 204 is there, however it ends."""

import http.client
import json
import shutil
import signal
import subprocess
import threading
from pathlib import Path

import pytest
from makers import envelope, make_event
from servers import HOST, PATIENCE, Collector, free_port


def event_ids(collector):
    """What the store holds, read by another process."""
    return [row["digest"] for row in collector.ask("pulls", "--interval", "total", "--by", "digest")]


def post(collector, number):
    return collector.post(envelope(make_event(id=f"event-{number}", digest=f"sha256:{number:04}")))


def expected(count):
    return [f"sha256:{number:04}" for number in range(count)]


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_seals_everything(collector, how):
    """The journal is empty afterwards, and plain Parquet has it all."""
    collector.start()
    assert [204] * 20 == [post(collector, number) for number in range(20)]
    collector.process.send_signal(how)
    assert 0 == collector.process.wait(60)
    assert [] == list((collector.data / "journal").glob("*.ndjson"))
    assert expected(20) == event_ids(collector)
    lines = [json.loads(line) for line in collector.log.splitlines()]
    assert ["Listening.", "Stopped."] == [line["message"] for line in lines]


def test_a_kill_loses_and_repeats_nothing(collector):
    """SIGKILL for all its processes, in the middle of it; the next start seals what was left."""
    for start in range(0, 60, 20):
        collector.start()
        assert [204] * 20 == [post(collector, number) for number in range(start, start + 20)]
        collector.kill()
        assert expected(start + 20) == event_ids(collector)
    collector.start()
    collector.stop()
    assert [] == list((collector.data / "journal").glob("*.ndjson"))
    assert expected(60) == event_ids(collector)


def test_the_journal_is_sealed_while_it_runs(collector, patiently):
    """Every few seconds, also when nothing more comes."""
    collector.start()
    post(collector, 0)
    patiently(1, lambda: len(list(collector.data.glob("events/date=*/*.parquet"))))
    patiently([], lambda: list((collector.data / "journal").glob("*.ndjson")))
    assert expected(1) == event_ids(collector)


def test_what_cannot_be_sealed_now_is_sealed_later(collector, patiently):
    """Deliveries are taken meanwhile, the log says what is wrong, and nothing needs to be started again."""
    collector.data.mkdir()
    (collector.data / "events").write_text("in the way")
    collector.start()
    assert 204 == post(collector, 0)
    patiently(True, lambda: '"step":"seal"' in collector.log)
    assert 204 == post(collector, 1)
    assert expected(2) == event_ids(collector)
    (collector.data / "events").unlink()
    patiently([], lambda: list((collector.data / "journal").glob("*.ndjson")))
    assert expected(2) == event_ids(collector)


def test_several_workers_share_a_store(collector):
    """Each has its own segments; none is lost, none sealed twice."""
    collector.start("--workers", "3")
    threads = [
        threading.Thread(target=lambda start=start: [post(collector, number) for number in range(start, 80, 8)])
        for start in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    collector.stop()
    assert expected(80) == event_ids(collector)
    assert 80 == collector.total("pulls", "requests")


def test_several_collectors_share_a_store(collector, tmp_path):
    """What one that was killed has left in its journal, the other seals; and each event counts once."""
    other = Collector(collector.data, tmp_path / "other.log", seal_interval=0.5).start()
    try:
        collector.start()
        for number in range(0, 40, 2):
            assert (204, 204) == (post(collector, number), post(other, number + 1))
        body = envelope(make_event(id="event-40", digest=f"sha256:{40:04}"))
        assert (204, 204) == (collector.post(body), other.post(body))
        collector.kill()
        assert expected(41) == event_ids(other)
    finally:
        other.stop()
    assert [] == list((other.data / "journal").glob("*.ndjson"))
    assert expected(41) == event_ids(other)
    assert 41 == other.total("pulls", "requests")


def test_it_tells_how_it_is(collector, patiently):
    """Over all its processes: what was stored, what was not, and the health of each source."""
    collector.start("--workers", "2")
    assert [204] * 10 == [post(collector, number) for number in range(10)]
    assert [401] * 5 == [collector.post(b"{}", token="wrong") for _ in range(5)]

    def told():
        lines = [line for line in collector.get("/metrics").splitlines() if "_total{" in line]
        return [line for line in lines if "bytes" not in line and not line.endswith(" 0.0")]

    patiently(
        [
            'regstats_deliveries_total{source="default"} 10.0',
            'regstats_rejected_total{reason="unauthorized",source="default"} 5.0',
        ],
        lambda: sorted(told()),
    )
    report = json.loads(collector.get("/healthz"))
    assert ("ok", ["5 deliveries of default were not taken: unauthorized."]) == (report["status"], report["problems"])
    collector.stop()
    lines = [json.loads(line) for line in collector.log.splitlines()]
    refused = [line for line in lines if line["level"] == "warning"]
    assert {("default", "unauthorized")} == {(line["source"], line["reason"]) for line in refused}


def test_a_worker_that_dies_is_replaced(collector, patiently):
    """And what it had acknowledged is sealed by the process that started it."""
    collector.start()
    post(collector, 0)
    ps = ["ps", "-ww", "--no-headers", "-o", "pid,args", "--ppid", str(collector.process.pid)]
    lines = subprocess.run(ps, capture_output=True, check=True, text=True).stdout.splitlines()
    (worker,) = [line.split()[0] for line in lines if "spawn_main" in line]
    subprocess.run(["kill", "-KILL", worker], check=True)
    patiently([], lambda: list((collector.data / "journal").glob("*.ndjson")))

    def posted():
        try:
            return post(collector, 1)
        except OSError:
            return None

    patiently(204, posted)
    collector.stop()
    assert expected(2) == event_ids(collector)


def test_a_port_that_is_taken_is_refused(collector, tmp_path):
    """Two on one port would share the deliveries unnoticed."""
    collector.start()
    command = ["regstats", "serve", "--data", str(tmp_path / "other"), "--port", str(collector.port)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (2, f"regstats: Cannot listen on 127.0.0.1:{collector.port}: Address already in use.") == (
        done.returncode, done.stderr.partition(" Choose")[0]
    )  # fmt: skip


def test_large_and_chunked_bodies(collector):
    """413 is answered in a way that senders see, and the limit holds without a length."""
    collector.start()
    assert 413 == collector.post(bytes(30_000_000))
    assert 413 == collector.post(iter([bytes(1_000_000)] * 30))
    assert 204 == collector.post(iter([envelope(make_event(digest="sha256:0000"))]))
    collector.stop()
    assert expected(1) == event_ids(collector)


def _request(collector, path, method="GET"):
    connection = http.client.HTTPConnection(HOST, collector.port, timeout=PATIENCE)
    connection.request(method, path, headers={"Authorization": f"Bearer {collector.token}"})
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, body


def _pulls(server):
    """What a server says that was pulled, in all."""
    status, body = _request(server, "/api/v1/pulls?interval=total")
    assert 200 == status, body
    return [row["requests"] for row in json.loads(body)["data"]]


def _contents(store):
    """Every file and folder of a store, and when it was written."""
    return {path: path.stat().st_mtime_ns for path in [store, *store.rglob("*")]}


def _loaded(collector):
    """Which of the large libraries are in the memory of the workers."""
    ps = ["ps", "-ww", "--no-headers", "-o", "pid,args", "--ppid", str(collector.process.pid)]
    lines = subprocess.run(ps, capture_output=True, check=True, text=True).stdout.splitlines()
    workers = [line.split()[0] for line in lines if "spawn_main" in line]
    assert workers
    maps = "".join(Path(f"/proc/{worker}/maps").read_text() for worker in workers)
    return {name for name in ("duckdb", "pandas") if f"/{name}/" in maps or f"/_{name}" in maps}


def test_only_web_reads_what_others_write(collector, tmp_path, patiently):
    """A collector beside it writes; it takes nothing itself, and leaves nothing in the store."""
    collector.start("--only", "collector")
    assert 204 == post(collector, 0)
    web = Collector(collector.data, tmp_path / "web.log", seal_interval=0.5)
    web.start("--only", "web")
    try:
        patiently([1], lambda: _pulls(web))
        assert 204 == post(collector, 1)
        collector.kill()  # what is in the journal now stays there
        assert 204 == post(collector.start("--only", "collector"), 2)
        collector.kill()
        before = _contents(collector.data)
        patiently([3], lambda: _pulls(web))
        assert [404, 404] == [web.post(envelope(make_event()), path=path) for path in ("/events", "/events/default")]
        assert b"not found" in _request(web, "/events")[1].lower()
        assert (200, 200, 200) == tuple(_request(web, path)[0] for path in ("/", "/healthz", "/metrics"))
    finally:
        assert 0 == web.stop()
    assert before == _contents(collector.data)


def test_only_web_needs_no_more_than_to_read(collector, tmp_path):
    """A copy that cannot be written is enough; but there must be one."""
    collector.start("--only", "collector")
    assert 204 == post(collector, 0)
    collector.stop()
    copy = tmp_path / "copy"
    shutil.copytree(collector.data, copy)
    for path in [copy, *copy.rglob("*")]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    web = Collector(copy, tmp_path / "web.log")
    web.start("--only", "web")
    before = _contents(copy)
    try:
        assert [1] == _pulls(web)
        assert 200 == _request(web, "/healthz")[0]
    finally:
        web.stop()
    assert before == _contents(copy)
    for path in [copy, *copy.rglob("*")]:
        path.chmod(0o755)


def test_only_web_of_a_store_that_is_not_there(tmp_path):
    """Is refused, and makes none."""
    missing = tmp_path / "missing"
    command = ["regstats", "serve", "--only", "web", "--data", str(missing), "--port", str(free_port())]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode != 0
    assert f"There is no store at {missing}." in done.stderr
    assert "Traceback" not in done.stderr
    assert not missing.exists()


def test_a_collector_that_is_not_asked_stays_small(collector, tmp_path):
    """What answers questions is loaded for the first one; if there is to be none, never."""
    collector.start()
    assert 204 == post(collector, 0)
    assert 200 == _request(collector, "/healthz")[0]
    assert set() == _loaded(collector)
    assert [1] == _pulls(collector)
    assert {"duckdb", "pandas"} == _loaded(collector)
    other = Collector(tmp_path / "other", tmp_path / "other.log").start("--only", "collector")
    try:
        assert 204 == post(other, 0)
        paths = (
            "/",
            "/api/v1/",
            "/api/v1/pulls",
            "/api/v1/openapi.json",
            "/badge.svg?repository=a",
            "/static/x/page.js",
        )
        assert [404] * 6 == [_request(other, path)[0] for path in paths]
        assert (200, 200) == (_request(other, "/healthz")[0], _request(other, "/metrics")[0])
        assert set() == _loaded(other)
    finally:
        other.stop()
