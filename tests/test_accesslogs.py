"""Access logs as events: what each format says, what is concluded, and that nothing counts twice."""

import bz2
import gzip
import json
import lzma
import os
import random
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest
from makers import INDEX, MANIFEST, NOW, A, B, envelope, journalled, make_event

from regstats import accesslogs, cli
from regstats.accesslogs import Settings, import_logs, plan
from regstats.check import check
from regstats.compact import compact
from regstats.config import NOBODY
from regstats.errors import InputError
from regstats.logformats import FORMATS
from regstats.logged import unescaped
from regstats.overlap import Logged, Told, pairs
from regstats.rebuild import rebuild
from regstats.sealing import seal
from regstats.stats import Stats
from regstats.store import Store

C, D = (f"sha256:{letter * 64}" for letter in "cd")
AT = datetime(2026, 11, 24, 10, 0, tzinfo=UTC)
PODMAN = "containers/5.23.1 (github.com/containers/image)"


def combined(request, status=200, size=500, *, at=AT, agent="skopeo/1.9.3", user="alice", address="192.0.2.7", end=""):
    """A line of nginx's combined format."""
    return (
        f'{address} - {user} [{at:%d/%b/%Y:%H:%M:%S +0000}] "{request} HTTP/1.1" {status} {size} "-" "{agent}"{end}\n'
    )


def path(reference="1.0", repository="team/app", what="manifests"):
    return f"/v2/{repository}/{what}/{reference}"


def get(*of, **how):
    return combined(f"GET {path(*of)}", **how)


def head(*of, **how):
    return combined(f"HEAD {path(*of)}", **how)


def put(*of, **how):
    return combined(f"PUT {path(*of)}", 201, **how)


def blob(digest=D, **how):
    return combined(f"GET /v2/team/app/blobs/{digest}", **how)


@pytest.fixture
def take(store, tmp_path):
    """Imports texts, each a file, and says what came of them."""

    def run(*texts, source="default", names=None, now=NOW, **settings):
        files = []
        for number, text in enumerate(texts):
            files.append(tmp_path / (names[number] if names else f"access.log.{number}"))
            files[-1].write_bytes(text if isinstance(text, bytes) else text.encode())
        asked = Settings(source, now, **settings)
        done = import_logs(plan(files, asked), store, asked)
        assert [] == check(store, now)
        return list(done.values())

    return run


@pytest.fixture
def events(store):
    def ask(columns="action, kind, repository, tag, digest, method", where="true"):
        return (
            Stats(store.root).sql(f"select {columns} from events where {where} order by timestamp, event_id").fetchall()
        )

    return ask


def counted(store, columns="repository, tag, kind, blobs"):
    return sorted(map(str, Stats(store.root, exclude=NOBODY).sql(f"select {columns} from pulls").fetchall()))


EXPECTED = ("pull", "team/app", "1.0", "alice", "192.0.2.7", "skopeo", "GET")
REGISTRY = {
    "http.request.host": "registry.example",
    "http.request.id": "3cff12b5-c4f9-4dec-b07e-908ca58e535b",
    "http.request.method": "GET",
    "http.request.remoteaddr": "192.0.2.7:39674",
    "http.request.uri": "/v2/team/app/manifests/1.0",
    "http.request.useragent": "skopeo/1.9.3",
    "http.response.contenttype": MANIFEST,
    "http.response.duration": "3.570105ms",
    "http.response.status": 200,
    "http.response.written": 582,
    "level": "info",
    "msg": "response completed",
    "time": "2026-11-24T10:00:00.121462243Z",
}
LOGRUS = (
    'time="2026-11-24T10:00:00.121462243Z" level=info msg="response completed" auth.user.name=alice '
    'go.version=go1.19.8 http.request.host="registry.example:5000" '
    "http.request.id=3cff12b5-c4f9-4dec-b07e-908ca58e535b "
    "http.request.method=GET http.request.remoteaddr=192.0.2.7 http.request.uri=/v2/team/app/manifests/1.0 "
    f"http.request.useragent=skopeo/1.9.3 http.response.contenttype={MANIFEST} http.response.duration=3.570105ms "
    "http.response.status=200 http.response.written=582"
)
NGINX = {
    "time": "2026-11-24T10:00:00+00:00", "remote_addr": "192.0.2.7", "remote_user": "alice", "request_method": "GET",
    "request_uri": "/v2/team/app/manifests/1.0", "status": "200", "http_user_agent": "skopeo/1.9.3",
}  # fmt: skip
TRAEFIK = {
    "ClientAddr": "192.0.2.7:39674", "ClientHost": "192.0.2.7", "ClientUsername": "alice", "DownstreamStatus": 200,
    "Duration": 3570105, "RequestHost": "registry.example", "RequestMethod": "GET",
    "RequestPath": "/v2/team/app/manifests/1.0", "StartUTC": "2026-11-24T10:00:00.117892138Z",
    "request_User-Agent": "skopeo/1.9.3", "level": "info", "msg": "", "time": "2026-11-24T10:00:00Z",
}  # fmt: skip
CADDY = {
    "level": "info", "ts": 1795514400.121, "logger": "http.log.access", "msg": "handled request",
    "request": {"remote_ip": "192.0.2.7", "client_ip": "192.0.2.7", "proto": "HTTP/2.0", "method": "GET",
                "host": "registry.example", "uri": "/v2/team/app/manifests/1.0",
                "headers": {"User-Agent": ["skopeo/1.9.3"]}},
    "user_id": "alice", "duration": 0.00357, "size": 582, "status": 200,
    "resp_headers": {"Content-Type": [MANIFEST], "Docker-Content-Digest": [A]},
}  # fmt: skip
LINE = combined("GET /v2/team/app/manifests/1.0").strip()
HAPROXY = (
    "192.0.2.7:39674 [24/Nov/2026:10:00:00.117] front registry/one 0/0/1/2/4 200 900 - - ---- 1/1/0/0/0 0/0 "
    '{skopeo/1.9.3} "GET /v2/team/app/manifests/1.0 HTTP/1.1"'
)
FORMS = {
    "combined": LINE,
    "common": LINE.partition(' "-" "')[0],
    "vhost_combined": f"registry.example:443 {LINE}",
    "main": f'{LINE} "-"',
    "with times": f"{LINE} 0.003 0.002",
    "with named times": f'{LINE} "-" rt=0.003 uct="0.000"',
    "traefik": f'{LINE} 42 "registry@docker" "http://172.17.0.2:5000" 3ms',
    "HTTP/2": LINE.replace("HTTP/1.1", "HTTP/2.0"),
    "absolute": LINE.replace("GET /v2", "GET https://registry.example/v2"),
    "prefix": LINE.replace("GET /v2", "GET /repository/docker/v2"),
    "query": LINE.replace("/1.0 ", "/1.0?ns=docker.io "),
    "percent": LINE.replace("team/app", "team%2Fapp"),
    "logrus": LOGRUS,
    "logrus, JSON": json.dumps(REGISTRY),
    "nginx, JSON": json.dumps(NGINX),
    "nginx, msec": json.dumps(NGINX | {"msec": "1795514400.121", "request_time": "0.004"}),
    "apache, JSON": json.dumps(
        {"time": "24/Nov/2026:10:00:00 +0000", "clientip": "192.0.2.7", "user": "alice", "status": "200",
         "request": "GET /v2/team/app/manifests/1.0 HTTP/1.1", "agent": "skopeo/1.9.3"}
    ),
    "traefik, JSON": json.dumps(TRAEFIK),
    "caddy": json.dumps(CADDY),
    "haproxy": HAPROXY,
    "haproxy, syslog": f"Nov 24 10:00:00 lb haproxy[14389]: {HAPROXY}",
    "kubernetes": f"2026-11-24T10:00:00.121462243Z stdout F {LINE}",
    "docker": json.dumps({"log": f"{LINE}\n", "stream": "stdout", "time": "2026-11-24T10:00:00.1Z"}),
    "docker logs": f"2026-11-24T10:00:00.121462243Z {LOGRUS}",
    "compose": f"registry-1  | {LINE}",
    "journald": f"Nov 24 10:00:00 host docker-registry[812]: {LINE}",
    "journald, JSON": json.dumps({"MESSAGE": LINE, "_HOSTNAME": "host"}),
    "syslog": f"<134>Nov 24 10:00:00 host nginx: {LINE}",
    "RFC 5424": f"<134>1 2026-11-24T10:00:00.003Z host nginx 12 - - {LINE}",
}  # fmt: skip
SAYS_NO_ACTOR = ("logrus, JSON", "haproxy", "haproxy, syslog")
SAYS_NO_CLIENT = ("common",)


@pytest.mark.parametrize("form", FORMS)
def test_forms_of_lines(take, events, form):
    """Each is found out, and says the same of the same request, as far as it says it."""
    expected = list(EXPECTED)
    if form in SAYS_NO_ACTOR:
        expected[3] = None
    if form in SAYS_NO_CLIENT:
        expected[5] = None
    (done,) = take(f"{FORMS[form]}\n")
    assert (1, 1, 0, 0) == (done.lines, done.events, done.known, done.bad)
    assert [tuple(expected)] == events("action, repository, tag, actor, client_address, client, method")
    ((timestamp, trusted, dialect, received),) = events("timestamp, timestamp_trusted, dialect, received_at")
    assert abs(timestamp - AT) < timedelta(seconds=1)
    assert (True, "log", NOW) == (trusted, dialect, received)


REQUESTS = [
    ("GET /v2/team/app/manifests/1.0", 200, ("pull", "manifest", "1.0", None)),
    ("HEAD /v2/team/app/manifests/1.0", 200, ("pull", "manifest", "1.0", None)),
    (f"GET /v2/team/app/manifests/{A}", 200, ("pull", "manifest", None, A)),
    ("GET /v2/team/app/manifests/1.0", 304, None),
    ("GET /v2/team/app/manifests/1.0", 404, None),
    ("GET /v2/team/app/manifests/1.0", 401, None),
    ("PUT /v2/team/app/manifests/1.0", 201, ("push", "manifest", "1.0", None)),
    (f"PUT /v2/team/app/manifests/{A}", 201, ("push", "manifest", None, A)),
    ("PUT /v2/team/app/manifests/1.0", 400, None),
    (f"DELETE /v2/team/app/manifests/{A}", 202, ("delete", "manifest", None, A)),
    ("DELETE /v2/team/app/manifests/1.0", 202, ("delete", "tag", "1.0", None)),
    (f"GET /v2/team/app/blobs/{A}", 200, ("pull", "blob", None, A)),
    (f"HEAD /v2/team/app/blobs/{A}", 200, ("pull", "blob", None, A)),
    (f"GET /v2/team/app/blobs/{A}", 206, ("pull", "blob", None, A)),
    (f"GET /v2/team/app/blobs/{A}", 307, ("pull", "blob", None, A)),
    (f"HEAD /v2/team/app/blobs/{A}", 404, None),
    (f"DELETE /v2/team/app/blobs/{A}", 202, ("delete", "blob", None, A)),
    ("POST /v2/team/app/blobs/uploads/", 202, None),
    ("PATCH /v2/team/app/blobs/uploads/1-2?_state=x", 202, None),
    (f"PUT /v2/team/app/blobs/uploads/1-2?_state=x&digest={A.replace(':', '%3A')}", 201, ("push", "blob", None, A)),
    (f"POST /v2/team/app/blobs/uploads/?digest={A}", 201, ("push", "blob", None, A)),
    (f"POST /v2/team/app/blobs/uploads/?mount={A}&from=team%2Fweb", 201, ("mount", "blob", None, A)),
    (f"POST /v2/team/app/blobs/uploads/?mount={A}&from=team%2Fweb", 202, None),
    ("GET /v2/", 200, None),
    ("GET /v2/_catalog?n=100", 200, None),
    ("GET /v2/team/app/tags/list", 200, None),
    (f"GET /v2/team/app/referrers/{A}", 200, None),
    ("GET /manifests/1.0", 200, None),
    ("GET /v2/team/app/manifests/", 200, None),
    ("GET /v2/team/app/manifests/a%20b", 200, None),
    ("GET /v2/TEAM/app/manifests/1.0", 200, None),
    ("GET /v2/../../etc/manifests/passwd", 200, None),
    ("GET /v2/team/app/blobs/nothing", 200, None),
    ("GET /search?q=/v2/team/app/manifests/1.0", 200, None),
]  # fmt: skip


def test_which_requests_are_events(take, events):
    """Those for which a registry sends one."""
    lines = [combined(line, status, at=AT + timedelta(minutes=2 * n)) for n, (line, status, _) in enumerate(REQUESTS)]
    (done,) = take("".join(lines))
    assert (0, len(REQUESTS) - done.events) == (done.bad, done.other)
    seen = {
        int((moment - AT).total_seconds()) // 120: event
        for moment, *event in events("timestamp, action, kind, tag, digest")
    }
    for number, (line, status, event) in enumerate(REQUESTS):
        assert (event and list(event)) == seen.get(number), (line, status)


def test_a_mount_says_from_where(take, events):
    """As the registry does."""
    take(combined(f"POST /v2/team/app/blobs/uploads/?from=team%2Fweb&mount={A}", 201))
    assert [("team/web",)] == events("from_repository")


def test_what_a_line_says_beside_the_request(take, events):
    """Types, digests and sizes where they are logged; a push has the type that was sent, not that of the answer."""
    take(json.dumps(NGINX | {"digest": A, "content_type": f"{INDEX}; charset=utf-8", "host": "registry.example",
                             "body_bytes_sent": "517"}) + "\n" +
         json.dumps(NGINX | {"request_method": "PUT", "status": 201, "digest": B, "content_type": "text/plain",
                             "request_content_type": MANIFEST, "time": "2026-11-24T10:00:01+00:00"}))  # fmt: skip
    expected = [("index", "1.0", A, INDEX, 517, "registry.example"), ("manifest", "1.0", B, MANIFEST, None, None)]
    assert expected == events("kind, tag, digest, media_type, size, registry")


def test_json_that_is_not_understood_is_told_from_json_with_nothing_to_count(take):
    """Whether or not it looks like a request for an image: half a line, no time, a time that cannot be."""
    whole, other = json.dumps(NGINX), json.dumps(NGINX | {"request_uri": "/metrics"})
    without = json.dumps({name: value for name, value in NGINX.items() if name != "time"})
    bad = [whole[:-5], other[:-5], without, without.replace("/v2/", "/v3/"), '{"message": "started"}', "started",
           whole.replace("2026-", "1926-")]  # fmt: skip
    done = take("\n".join([whole, other, other, *bad]) + "\n", format="json")[0]
    assert (10, 1, 7, 2) == (done.lines, done.events, done.bad, done.other)


def test_a_request_began_before_it_was_logged(take, events):
    """A log says when it was done; how long it took, perhaps. Seconds stay whole seconds, so that order stays."""
    take(blob(end=" 75.300") + blob(C), json.dumps(NGINX | {"msec": "1795514400.500", "request_time": "0.400"}))
    moments = [(moment - AT).total_seconds() for (moment,) in events("timestamp")]
    assert pytest.approx([-75, 0, 0.1], abs=0.9) == moments
    assert -75 == int(moments[0] // 1)


def test_lines_of_one_second_stay_in_order(take, store):
    """Three pulls in a second, each with its own blobs."""
    take("".join(get("1") + "".join(blob(f"sha256:{n}{k}" + "0" * 62) for k in range(n)) for n in (2, 3, 4)))
    assert ["('team/app', '1', 'pull_by_tag', 2)", "('team/app', '1', 'pull_by_tag', 3)",
            "('team/app', '1', 'pull_by_tag', 4)"] == counted(store)  # fmt: skip


# What a log does not say


def test_docker_asks_for_a_tag_with_head(take, events, store):
    """And then for the digest, and for that of its platform: one pull of the tag, which is an index."""
    take(head("1.0") + get(A) + get(B) + blob() + blob(C))
    assert [("index", "1.0", A), ("index", None, A), ("manifest", None, B)] == events(
        "kind, tag, digest", "kind <> 'blob'"
    )
    assert ["('team/app', '1.0', 'pull_by_tag', 2)"] == counted(store)


def test_podman_asks_for_a_tag_with_get(take, events, store):
    """The first is an index if another follows before any blob; its digest is not known."""
    take(get("1.0") + get(B) + blob() + blob(C))
    assert [("index", "1.0", None), ("manifest", None, B)] == events("kind, tag, digest", "kind <> 'blob'")
    assert ["('team/app', '1.0', 'pull_by_tag', 2)"] == counted(store)


def test_all_platforms(take, events, store):
    """As `skopeo copy --all` gets them."""
    take(get("1.0") + get(A) + blob() + get(B) + blob(C))
    assert [("index", "1.0"), ("manifest", None), ("manifest", None)] == events("kind, tag", "kind <> 'blob'")
    assert ["('team/app', '1.0', 'pull_by_tag', 2)"] == counted(store)


def test_two_pulls_are_two(take, store):
    """Of single images, one after the other."""
    take(head("1") + get(A) + blob() + head("2") + get(B) + blob(C))
    assert ["('team/app', '1', 'pull_by_tag', 1)", "('team/app', '2', 'pull_by_tag', 1)"] == counted(store)


@pytest.mark.parametrize(
    "other", [{"address": "192.0.2.8"}, {"user": "bob"}, {"agent": PODMAN}, {"at": AT + timedelta(seconds=61)}]
)
def test_another_client_says_nothing(take, events, other):
    """Nor one more than a minute later."""
    take(head("1.0") + get(A, **other))
    assert [(None,), (A,)] == events("digest")


def test_several_tags_looked_at(take, events):
    """The last of them is what was fetched."""
    take(head("1") + head("2") + get(A))
    assert [("1", None), ("2", A), (None, A)] == events("tag, digest")


def test_an_index_stays_one(take, events):
    """Of which it was seen once: for all who ask for it, before they have the children, too."""
    later = {"at": AT + timedelta(hours=1), "address": "192.0.2.9"}
    take(head("1.0") + get(A) + get(B) + blob() + head("1.0", **later) + get(A, **later))
    assert ["index"] * 4 == [kind for kind, digest in events("kind, digest") if digest == A]


def test_what_was_pushed_by_tag_after_digests_is_an_index(take, events):
    """As skopeo and buildx push it."""
    take(put(A) + put(B) + put("1.0") + put("2.0", at=AT + timedelta(minutes=5)))
    assert ["manifest", "manifest", "index", "manifest"] == [kind for (kind,) in events("kind")]


def test_who_deletes_what_was_looked_up(take, events, store):
    """Skopeo asks for the tag, and deletes the digest that it was told: that was no pull."""
    take(get("1.0") + combined(f"DELETE {path(A)}", 202))
    assert [("1.0", A), (None, A)] == events("tag, digest")
    assert ["('team/app', '1.0', 'lookup', 0)"] == counted(store)


def test_what_a_registry_told_of_an_index_is_known(take, events, store):
    """Its type, and what it lists."""
    told = make_event(digest=A, media_type=INDEX, references=[{"digest": B}, {"digest": C}], at=AT - timedelta(days=9))
    journalled(store, envelope(told))
    seal(store)
    take(get(A))
    assert [("index", INDEX, [B, C])] == events("kind, media_type, reference_digests", "dialect = 'log'")


# Nothing twice


def test_the_same_log_again(take, events):
    """Adds nothing; nor does it when it has grown, but for what is new."""
    text = get("1") + get("2") + blob()
    assert (3, 0) == take(text)[0][1:3]
    assert (0, 3) == take(text)[0][1:3]
    assert (1, 3) == take(text + get("3", at=AT + timedelta(minutes=10)))[0][1:3]
    assert (0, 4) == take(gzip.compress((text + get("3", at=AT + timedelta(minutes=10))).encode()))[0][1:3]
    assert 4 == len(events())


def test_equal_lines_are_several_requests(take):
    """In one second; and they are known when they come again."""
    assert (3, 0) == take(get("1") * 3)[0][1:3]
    assert (0, 3) == take(get("1") * 3)[0][1:3]
    assert (2, 3) == take(get("1") * 5)[0][1:3]


def test_a_copy_beside_it(take):
    """The same file twice in one import."""
    assert [(3, 0), (0, 3)] == [done[1:3] for done in take(*[get("1") + get("2") * 2] * 2)]


def test_rotated_logs_in_any_order(take, events, store, tmp_path):
    """They are put in the order of what is in them: a pull may begin in one and go on in the next."""
    texts = [
        head("1.0") + get(A),
        get(B, at=AT + timedelta(seconds=1)) + blob(at=AT + timedelta(seconds=2)),
        get("2.0", at=AT + timedelta(days=1)),
    ]
    names = ["access.log.2.gz", "access.log.1", "access.log"]
    take(*[gzip.compress(texts[0].encode()), *texts[1:]][::-1], names=names[::-1])
    assert ["('team/app', '1.0', 'pull_by_tag', 1)", "('team/app', '2.0', 'pull_by_tag', 0)"] == counted(store)
    other = Store(tmp_path / "whole", create=True)
    (tmp_path / "whole.log").write_text("".join(texts))
    settings = Settings("default", NOW)
    import_logs(plan([tmp_path / "whole.log"], settings), other, settings)
    assert counted(store) == counted(other)


@pytest.mark.parametrize(
    "pack", [gzip.compress, bz2.compress, lzma.compress, lambda data: pa.Codec("zstd").compress(data, asbytes=True)]
)
def test_compressed(take, pack):
    """Found out by content. gzip in several pieces, too."""
    assert 2 == take(pack((get("1") + get("2")).encode()))[0].events
    assert 1 == take(gzip.compress(get("1").encode()) + gzip.compress(get("3").encode()))[0].events


def rows(store, columns="* exclude (delivery_id)"):
    return Stats(store.root).sql(f"select {columns} from events order by event_id").fetchall()


def traffic(seed, sessions=150):
    """A log of clients that do what clients do, at the same time."""
    chance, lines = random.Random(seed), []
    for _ in range(sessions):
        at = AT + timedelta(seconds=chance.randrange(1800))
        how = {"address": f"192.0.2.{chance.randrange(5)}", "agent": chance.choice(["skopeo/1.9.3", PODMAN])}
        some = chance.sample([A, B, C, D], 3)
        steps = chance.choice([[head("1"), get(some[0]), get(some[1]), blob(some[2])], [get("1"), blob(some[0])],
                               [head("2")], [get("2"), get(some[0])], [put(some[0]), put("1")],
                               [get("3")] * 2])  # fmt: skip
        for step in steps:
            at += timedelta(seconds=chance.choice([0, 0, 1, 30]))
            request, status = step.split('"')[1].removesuffix(" HTTP/1.1"), step.split('" ')[1][:3]
            lines.append((at, combined(request, status, at=at, end=chance.choice(["", " 0.004", " 40.000"]), **how)))
    return "".join(line for _, line in sorted(lines, key=lambda line: line[0]))


@pytest.mark.parametrize("seed", range(4 if os.environ.get("STRESS") else 2))
def test_where_a_batch_ends_changes_nothing(tmp_path, seed):
    """However much is read at once: the same events."""
    (tmp_path / "log").write_text(traffic(seed))
    found = []
    for block in (1 << 24, 9000, 2700, 2500):
        store, settings = Store(tmp_path / str(block), create=True), Settings("default", NOW, block=block)
        import_logs(plan([tmp_path / "log"], settings), store, settings)
        found.append(rows(store))
    assert all(one == found[0] for one in found)
    assert 200 < len(found[0])


def test_interrupted_and_done_again(tmp_path):
    """Kill -9 in the middle: what counts is whole, and the next import completes it."""
    (tmp_path / "log").write_text(traffic(7, 4000))
    once = Store(tmp_path / "once", create=True)
    settings = Settings("default", NOW)
    import_logs(plan([tmp_path / "log"], settings), once, settings)
    code = (
        "import sys; from regstats import accesslogs, cli; accesslogs.Settings.__new__.__defaults__ = "
        "(*accesslogs.Settings.__new__.__defaults__[:-1], 60_000); cli.main()"
    )
    data = tmp_path / "killed"
    command = [sys.executable, "-c", code, "import", str(tmp_path / "log"), "--data", str(data)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None and len(list(data.glob("events/*/*.parquet"))) < 3:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert -signal.SIGKILL == process.wait()
    there = rows(Store(data), "event_id")
    assert 0 < len(there) < len(rows(once))
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    assert [] == check(Store(data), NOW)
    assert rows(once, "event_id, timestamp, digest, kind") == rows(Store(data), "event_id, timestamp, digest, kind")


# Beside a collector


def live(request, at, **changes):
    """The event of a request, as the registry sends it."""
    method, where = request.split()
    reference = where.rpartition("/")[2]
    by_tag = not reference.startswith("sha256:")
    return make_event(
        method=method, at=at, tag=reference if by_tag else None, digest=A if by_tag else reference,
        action={"PUT": "push", "DELETE": "delete"}.get(method, "pull"),
        media_type="application/octet-stream" if "/blobs/" in where else MANIFEST,
        addr=changes.pop("addr", "192.0.2.7:39674"), user_agent=changes.pop("user_agent", "skopeo/1.9.3"), **changes,
    )  # fmt: skip


@pytest.mark.parametrize("sealed", [True, False])
def test_what_the_registry_told_is_not_counted_again(take, store, sealed):
    """Of the day on which the collector was started. Whether it is sealed yet or not."""
    requests = [f"GET {path()}", f"GET {path(A, what='blobs')}", f"PUT {path('2.0')}", f"DELETE {path(B)}"]
    journalled(store, *(envelope(live(r, AT + timedelta(milliseconds=300 * n))) for n, r in enumerate(requests)))
    if sealed:
        seal(store)
    status = {"PUT": 201, "DELETE": 202}
    text = "".join(combined(r, status.get(r.split()[0], 200)) for r in requests)
    (done,) = take(combined(requests[0], at=AT - timedelta(minutes=20)) + text)
    assert (1, 4) == (done.events, done.known)


def test_one_to_one(take, store):
    """Five requests and three events of them: two are new. Also when it is imported again, in smaller batches."""
    journalled(store, *(envelope(live(f"GET {path()}", AT + timedelta(seconds=n))) for n in (2, 3, 4)))
    text = "".join(get(at=AT + timedelta(seconds=n)) for n in range(5))
    assert (2, 3) == take(text)[0][1:3]
    assert (0, 5) == take(text, block=200)[0][1:3]


def test_the_nearest_one_is_the_same(take, store, events):
    """Pulled twice, and the registry told of the second pull only: what the log adds is the first one."""
    second = AT + timedelta(seconds=4)
    journalled(store, envelope(live(f"GET {path()}", second), live(f"GET {path(D, what='blobs')}", second)))
    (done,) = take("".join(get(at=at) + blob(at=at) for at in (AT, second)))
    assert (2, 2) == (done.events, done.known)
    assert [(AT,), (AT,)] == [(at.replace(microsecond=0),) for (at,) in events("timestamp", "dialect = 'log'")]


@pytest.mark.parametrize(
    ("told", "known"),
    [
        ({}, 1),
        ({"addr": "10.0.0.1"}, 1),  # the proxy's: the registry did not see the client's
        ({"user_agent": "skopeo/1.10.0"}, 0),
        ({"repository": "team/web"}, 0),
        ({"at": AT + timedelta(seconds=30)}, 0),
        ({"request": f"HEAD {path()}"}, 0),
        ({"request": f"GET {path('2.0')}"}, 0),
        ({"actor": None}, 1),  # a registry without passwords, a proxy with them
    ],
)
def test_what_is_the_same_request(take, store, told, known):
    """Repository, reference, method, program and time; the address if that is there."""
    journalled(store, envelope(live(**{"request": f"GET {path()}", "at": AT} | told)))
    (done,) = take(get())
    assert (1 - known, known) == (done.events, done.known)


def test_a_log_that_does_not_name_programs(take, store):
    """Then the address has to do."""
    journalled(store, envelope(live(f"GET {path()}", AT)))
    assert 1 == take(get().partition(' "-" "')[0] + "\n")[0].known


def test_the_registrys_own_log_has_the_ids_of_requests(take, store):
    """Which say what is the same, even if clocks do not."""
    told = live(f"GET {path()}", AT + timedelta(minutes=3), request_id=REGISTRY["http.request.id"], user_agent="x")
    journalled(store, envelope(told))
    assert 1 == take(LOGRUS)[0].known


def test_another_source_is_another_registry(take, store):
    """What it told says nothing of this one."""
    journalled(store, envelope(live(f"GET {path()}", AT)))
    assert 1 == take(get(), source="other")[0].events


def test_two_logs_of_the_same_requests(take, events):
    """Of the registry and of the proxy before it: in one import or in two."""
    own = "".join(LOGRUS.replace("3cff", f"{n:04}").replace("10:00:00", f"10:00:0{n}") + "\n" for n in range(3))
    proxy = "".join(get(at=AT + timedelta(seconds=n)) for n in range(4))
    assert [(3, 0), (1, 3)] == [done[1:3] for done in take(proxy, own)]
    assert (0, 3) == take(own)[0][1:3]
    assert 4 == len(events())


@pytest.mark.parametrize("own", [LOGRUS, json.dumps(REGISTRY)])
def test_the_registrys_access_log_says_it_again(take, events, own):
    """In the same stream: its own line says more. Where there is only the access log, that counts."""
    own = own.replace("10:00:00.12", "10:00:01.99")
    twice = own + "\n" + get(user="-", at=AT + timedelta(seconds=2))
    for block in (len(own) + 10, 1 << 20):  # the second has both
        done = take(twice, block=block, format="registry")[0]
        assert (1, 0) == (done.events + done.known, done.bad)
        assert [(MANIFEST,)] == events("media_type")
    quiet = 'time="2026-11-24T09:00:00Z" level=warning msg="No HTTP secret provided"\n'
    assert 1 == take(quiet + get("5", at=AT + timedelta(hours=1)), format="registry")[0].events


def test_pairs_are_made_in_order():
    """Each once, within their time, of the same key."""
    logged = [Logged(1, 0, 10, 1), Logged(1, 5, 15, 2), Logged(1, 20, 30, 3), Logged(2, 0, 10, 4)]
    told = [Told(0, 5, "a"), Told(1, 9, "b"), Told(1, 14, "c"), Told(1, 16, "d"), Told(2, 11, "e"), Told(3, 5, "f")]
    assert [(1, "b"), (2, "c")] == [(request.n, event.event_id) for request, event in pairs(iter(logged), iter(told))]


# Everything in a log is text that anybody may have written


HOSTILE = [
    get(agent=r"\x22 200 0 \x22-\x22 \x22evil"),
    get(agent=r"a \"b\" c\\"),
    get(agent="'; drop table events; --"),
    get(user="x [24/Nov/2026:10:00:00 +0000] GET /v2/a/manifests/1 200 0"),
    get(agent="\x1b[31m"),
    get(agent="\u202e" * 50),
    get(agent="x" * 20_000),
    get(agent="%00%ff"),
    get(agent=r"\xff\xfe\x00"),
    get(user="$source {lines} %s"),
]


def test_hostile_lines(take, events):
    """One request each, whatever stands in it."""
    (done,) = take(get("2") + "".join(HOSTILE))
    assert (len(HOSTILE) + 1, len(HOSTILE) + 1, 0) == (done.lines, done.events, done.bad)
    assert {("team/app", "1.0"), ("team/app", "2")} == set(events("repository, tag"))
    assert '" 200 0 "-" "evil' in {agent for (agent,) in events("user_agent")}


@pytest.mark.parametrize("quote", ['"', "", "'"])
def test_nothing_in_a_value_is_taken_for_a_key(take, events, quote):
    """Of the registry's own log: the client chooses its name and its address."""
    keys = "auth.user.name=eve http.response.status=200 http.request.uri=/v2/evil/app/manifests/1"
    evil = f"x{quote} {keys} http.request.useragent={quote}y"
    line = LOGRUS.replace("http.request.useragent=skopeo/1.9.3", f"http.request.useragent={json.dumps(evil)}")
    take(line + "\n" + line.replace("status=200", "status=404").replace("3cff", "4cff"))
    assert [("team/app", evil)] == events("repository, user_agent")


def test_values_of_the_registrys_own_log(take, events):
    """A name with a space in it stands in quotes; what stands behind the last key is not part of its value."""
    line = LOGRUS.replace("auth.user.name=alice", 'auth.user.name="alice b"')
    take(f"{line} instance.id=1 service=registry version=3.1.1")
    assert [("alice b", "skopeo/1.9.3", 582)] == events("actor, user_agent, size")


def test_a_name_that_is_seldom_there_is_seen(take, events):
    """Only names that a block has are looked for in it; lines may be indented."""
    line = {key: value for key, value in NGINX.items() if key != "remote_user"}
    lines = [json.dumps(line | {"time": f"2026-11-24T10:00:{n:02}Z"}) + "\n" for n in range(40)]
    lines[30] = "  " + lines[30].replace("{", '{"ClientUsername": "carol", ', 1)
    assert 40 == take("".join(lines), block=4000)[0].events
    assert [("carol",)] == events("actor", "actor is not null")


def test_line_ends_of_windows_make_no_other_lines(take):
    """What was imported before is known, however its lines end."""
    text = get("1") + get("2")
    assert (2, 0) == take(text)[0][1:3]
    assert (0, 2) == take(text.replace("\n", "\r\n"))[0][1:3]


GARBAGE = [b"\xff\xfe", b"\0\0", b"{", b"[1]", b'{"a":1}', b"x" * 3_000_000, b'"',
           b'1.2.3.4 - - [99/Nov/2026:99:00:00 +0000] "GET /v2/a/manifests/1 HTTP/1.1" 200 1']  # fmt: skip


@pytest.mark.parametrize("garbage", GARBAGE, ids=range(len(GARBAGE)))
def test_what_is_not_understood_is_kept(take, events, store, garbage):
    """In quarantine, once, with its reason and where it stood; everything else counts."""
    text = get("1").encode() + garbage + b"\n" + get("2").encode()
    for known in (0, 2):
        (done,) = take(text, block=1 << 20)
        assert (3, 2 - known, known, 1, 0) == (done.lines, done.events, done.known, done.bad, done.other)
    ((delivery, error, size),) = (
        Stats(store.root).sql("select delivery_id, error, octet_length(body) from deliveries").fetchall()
    )
    assert "access.log.0:2:" in delivery
    assert error
    assert size <= 65_536


def test_no_more_than_a_thousand_lines_are_kept(take, store):
    """The others are counted."""
    (done,) = take(get("1") + "".join(f"garbage {n}\n" for n in range(2500)), block=5000)
    assert 2500 == done.bad
    assert [(accesslogs.KEPT,)] == Stats(store.root).sql("select count(*) from deliveries").fetchall()


def test_times_that_cannot_be_are_not_believed(take):
    """They would be partitions of their own."""
    (done,) = take(get() + get(at=datetime(1970, 1, 1, tzinfo=UTC)) + get(at=NOW + timedelta(days=3)))
    assert (1, 2) == (done.events, done.bad)


def test_times_without_a_zone(take, events):
    """HAProxy writes its own; --tz says which that is."""
    take(HAPROXY, zone="Europe/Berlin")
    assert [(AT - timedelta(hours=1) + timedelta(milliseconds=117),)] == [
        (t.replace(microsecond=t.microsecond // 1000 * 1000),) for (t,) in events("timestamp")
    ]


# Files, commands


def test_payloads_are_no_logs(tmp_path):
    """Nor is anything else that is not understood."""
    (tmp_path / "payloads").write_bytes(envelope(make_event()))
    (tmp_path / "lines").write_bytes(json.dumps({"events": [make_event()]}).encode() + b"\ngarbage\n")
    recorded = {
        "received_at": "2026-11-24T10:00:00Z",
        "method": "POST",
        "headers": {},
        "body": envelope(make_event()).decode(),
    }
    (tmp_path / "recorded").write_text(json.dumps(recorded))
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "garbage").write_bytes(b"garbage\n")
    assert [] == plan(sorted(tmp_path.iterdir()), Settings("default", NOW))


def test_a_format_that_is_asked_for(tmp_path):
    """Has to be there."""
    (tmp_path / "log").write_text(get())
    with pytest.raises(InputError, match="no log of the format haproxy"):
        plan([tmp_path / "log"], Settings("default", NOW, "haproxy"))
    assert set(FORMATS) == set(cli._IMPORTED) - {"auto", "payloads"} == set(accesslogs._RICHEST)


def test_a_damaged_file(take, store):
    """What stands before the damage counts, and the error names the file."""
    data = gzip.compress("".join(get(str(n)) for n in range(20_000)).encode())
    with pytest.raises(InputError, match=r"Cannot read .*access.log.0"):
        take(data[: len(data) // 2], block=100_000)
    assert 1000 < len(rows(store, "event_id"))


def test_rebuild_keeps_what_came_from_logs(take, store):
    """There is no delivery of it."""
    take(get("1") + "garbage\n" + get("2"))
    before = rows(store, "*")
    assert (1, 2, 1) == rebuild(store, NOW)
    compact(store, NOW + timedelta(days=2))
    assert before == rows(store, "*")
    assert [] == check(store, NOW, deep=True)


def test_the_command(tmp_path):
    """Takes logs and payloads, from files and from standard input; says what it did."""
    (tmp_path / "access.log").write_text(get("1") + combined("GET /") + "garbage\n")
    (tmp_path / "payloads").write_bytes(envelope(make_event()))
    command = [sys.executable, "-m", "regstats", "import", "--data", "store"]
    said = subprocess.run(
        [*command, "access.log", "payloads", "-"], cwd=tmp_path, input=get("2"), capture_output=True, text=True,
        check=True, env=os.environ,
    ).stdout.splitlines()  # fmt: skip
    assert [
        "payloads: 1 deliveries, 1 new events, 0 known already, 0 not understood",
        "access.log: 3 lines, 1 new events, 0 known already, 1 with nothing to count, 1 not understood, "
        "2026-11-24 10:00 to 2026-11-24 10:00 UTC",
        "-: 1 lines, 1 new events, 0 known already, 0 with nothing to count, 0 not understood, "
        "2026-11-24 10:00 to 2026-11-24 10:00 UTC",
    ] == said


@pytest.mark.parametrize(
    ("text", "meant"),
    [(r"\x22a\x5Cb", '"a\\b'), (r"a \"b\"", 'a "b"'), (r"\xc3\xa9", "é"), (r"\xff", "\ufffd"), ("\\", "\\")],
)
def test_what_is_escaped(text, meant):
    """As nginx and Apache do it."""
    assert meant == unescaped(text)
