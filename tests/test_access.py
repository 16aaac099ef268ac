"""Who may look: at home without a token, elsewhere with one, and how often."""

import logging
import re
from functools import partial
from http import HTTPStatus

import pytest
from asking import basic, bearer, reader
from hypothesis import given
from hypothesis import strategies as st
from werkzeug.exceptions import TooManyRequests
from werkzeug.security import generate_password_hash

from regstats import web
from regstats.access import Access, Allowance
from regstats.app import create_app
from regstats.assets import NAMES
from regstats.config import Read, Settings
from regstats.journal import Journal

PAGE, API, BADGE = "/", "/api/v1/", "/badge.svg?repository=team/app"
READ = ("/recent", API, BADGE, "/metrics")
"""One of each kind."""
CHALLENGES = ['Basic realm="regstats", charset="UTF-8"', 'Bearer realm="regstats"']
FAR = {"X-Forwarded-For": "203.0.113.7"}


class Clock:
    """Goes on when it is told to."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    """What those who count how often somebody asks go by."""
    made = Clock()
    monkeypatch.setattr("regstats.app.Access", partial(Access, clock=made))
    return made


def statuses(client, paths=READ, **how):
    return {path: client.get(path, **how).status_code for path in paths}


def all_are(status, paths=READ):
    return dict.fromkeys(paths, status)


# Without a token


@pytest.mark.parametrize(
    "host",
    ["localhost", "localhost:8080", "127.0.0.1", "127.0.0.1:8080", "127.8.9.1", "[::1]", "[::1]:8080"],
)
def test_without_a_token_this_machine_may_read_under_its_own_names(store, host):
    """All that there is."""
    assert all_are(200) == statuses(reader(store), headers={"Host": host})


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:8080", "localhost.evil.example", "127.0.0.1.evil.example", "192.0.2.1", "0.0.0.0",
     "[::2]:8080", "[::1", "::1", "localhost@evil.example", "evil.example:localhost", "", " ", "[localhost.evil]:80"],
)  # fmt: skip
def test_under_other_names_nobody_may(store, host):
    """A page elsewhere could give its own name this address, and read with its visitors' browsers (DNS rebinding)."""
    client = reader(store)
    assert all_are(403) == statuses(client, headers={"Host": host})
    assert "Set `token` or users in `[read]`" in client.get(API, headers={"Host": host}).json["detail"]


@pytest.mark.parametrize(
    ("forwarded", "expected"),
    [
        ("127.0.0.1", 200),
        ("::1, 127.0.0.1", 200),
        ("203.0.113.7", 403),
        ("127.0.0.1, 203.0.113.7", 403),
        ("203.0.113.7, 127.0.0.1", 403),
        ("2001:db8::7", 403),
        ("unknown", 403),
        ("", 200),
        (",", 403),
        (" ", 403),
        ("127.0.0.1, _hidden", 403),
    ],
)
def test_what_a_proxy_takes_from_elsewhere_is_not_from_here(store, forwarded, expected):
    """Even if the proxy is, and even if it does not say from where."""
    assert all_are(expected) == statuses(reader(store), headers={"X-Forwarded-For": forwarded})


@pytest.mark.parametrize(("remote", "expected"), [("127.0.0.1", 200), ("::1", 200), ("192.0.2.7", 403), ("", 403)])
def test_who_connects_from_elsewhere_is_not_let_in(store, remote, expected):
    """Whatever host he names."""
    assert all_are(expected) == statuses(reader(store), environ_overrides={"REMOTE_ADDR": remote})


@pytest.mark.parametrize("stranger", [{"Host": "evil.example"}, FAR])
def test_without_a_token_a_stranger_sees_no_more_than_that_it_is_well(store, stranger):
    """Details are for those who may read."""
    client = reader(store)
    assert {"status": "ok"} == client.get("/healthz", headers=stranger).json
    assert "problems" in client.get("/healthz").json


# With a token, or users


@pytest.fixture(scope="module")
def hashes():
    """A quick one of each kind, of the same password."""
    return {method: generate_password_hash("päss:word", method) for method in ("scrypt:1024:8:1", "pbkdf2:sha256:1")}


@pytest.fixture
def guarded(store, hashes):
    users = {"alice": "päss:word", **dict(zip(("scrypted", "derived"), hashes.values(), strict=True))}
    return reader(store, token="sécret", read=Read(rate=0, users=users))


def header(text):
    return {"Authorization": text.encode().decode("latin-1")}


@pytest.mark.parametrize(
    "shown",
    [header("Bearer sécret"), header("bearer sécret"), header("token sécret"), basic("", "sécret"),
     basic("x", "sécret"), basic("alice", "päss:word"), basic("scrypted", "päss:word"), basic("derived", "päss:word")],
)  # fmt: skip
def test_who_shows_the_token_or_a_password_may_read(guarded, shown):
    """From anywhere, under any name of the server."""
    assert all_are(200) == statuses(guarded, headers={**shown, "Host": "stats.example", **FAR})
    assert "problems" in guarded.get("/healthz", headers=shown).json


@pytest.mark.parametrize(
    "shown",
    [{}, header("Bearer wrong"), header("Bearer sécre"), header("Bearer"), header("sécre"), header("Digest sécret"),
     basic("alice", "wrong"), basic("alice", ""), basic("Alice", "päss:word"), basic("", "päss:word"),
     basic("nobody", "päss:word"), basic("scrypted", "wrong"), basic("derived", "wrong"), basic("scrypted", "…"),
     {"Authorization": "Basic !!!"}, {"Authorization": "Basic /////w=="}, header("Bearer päss:word"),
     header("Basic alice:päss:word")],
)  # fmt: skip
def test_who_does_not_may_not(guarded, shown):
    """Is told how to: a browser then asks for a name and a password."""
    for path in READ:
        answer = guarded.get(path, headers=shown)
        assert 401 == answer.status_code, path
        assert CHALLENGES == answer.headers.getlist("WWW-Authenticate")
        assert b"sword" not in answer.data
    assert {"status": "ok"} == guarded.get("/healthz", headers=shown).json


def test_a_hash_is_no_password(store, hashes):
    """Who has read the settings cannot log in with it."""
    for hashed in hashes.values():
        client = reader(store, token="t", read=Read(users={"alice": hashed}))
        assert 401 == client.get(API, headers=basic("alice", hashed)).status_code
        assert 200 == client.get(API, headers=basic("alice", "päss:word")).status_code


def test_users_alone_close_a_server(store):
    """Also on this machine."""
    client = reader(store, read=Read(users={"alice": "p"}))
    assert all_are(401) == statuses(client)
    assert all_are(200) == statuses(client, headers=basic("alice", "p"))


def test_readers_may_have_a_token_of_their_own(store):
    """With it nobody can send, and with that of senders nobody can read."""
    settings = Settings(data=str(store.root), token="sender", read=Read(token="reader", rate=0))
    client = create_app(settings, Journal(store.journal)).test_client()
    assert all_are(200) == statuses(client, headers=bearer("reader"))
    assert all_are(401) == statuses(client, headers=bearer("sender"))
    assert 401 == client.post("/events", data=b"{}", headers=bearer("reader")).status_code
    assert 204 == client.post("/events", data=b"{}", headers=bearer("sender")).status_code


def test_no_route_is_open(store):
    """But those to what is the same everywhere, and whether all is well."""
    settings = Settings(data=str(store.root), token="t")
    apps = [web.create(settings, Access(settings)), create_app(settings, None)]
    rules = [rule for app in apps for rule in app.url_map.iter_rules() if "GET" in rule.methods]
    paths = {re.sub("<[^>]+>", "pulls", rule.rule) for rule in rules}
    closed = paths - {"/static/pulls/pulls", "/healthz"}
    assert {"/", "/explore/pulls", "/charts/pulls", "/api/v1/pulls", "/badge.json", "/metrics"} <= closed
    assert all_are(401, closed) == statuses(create_app(settings, None).test_client(), closed)


@pytest.mark.parametrize(("part", "path"), [("badge", BADGE), ("api", API), ("page", "/recent")])
def test_what_is_public_is_only_that(store, part, path):
    """Everything else is as closed as before, with a token and without."""
    for settings, refused in (({"token": "t"}, 401), ({}, 403)):
        client = reader(store, read=Read(public=[part], rate=0), **settings)
        assert all_are(refused) | {path: 200} == statuses(client, headers=FAR)
        assert {"status": "ok"} == client.get("/healthz", headers=FAR).json


def test_only_what_is_public_may_be_kept_by_others(store):
    """Proxies between here and a reader."""
    client = reader(store, token="t", read=Read(public=["badge"], rate=0))
    assert {"public", "max-age=300"} == set(client.get(BADGE).headers["Cache-Control"].split(", "))
    assert {"private", "max-age=2"} == set(client.get(API, headers=bearer("t")).headers["Cache-Control"].split(", "))
    assert 401 == client.get(API).status_code  # though it was just answered


# How often


def test_after_too_many_wrong_passwords_one_has_to_wait(store, clock):
    """Who was here before need not, and neither does anybody at another address."""
    client = reader(store, token="t", read=Read(users={"alice": "p"}, rate=0))
    assert 200 == client.get(API, headers=basic("alice", "p")).status_code
    assert [401] * 19 == [client.get(API, headers=basic("alice", str(n))).status_code for n in range(19)]
    answer = client.get(API, headers=basic("alice", "again"))
    assert (429, "3") == (answer.status_code, answer.headers["Retry-After"])
    assert "20 a minute" in answer.json["detail"]
    assert 429 == client.get(API, headers=basic("bob", "p")).status_code
    assert 429 == client.get(API, headers=bearer("wrong")).status_code
    assert 429 == client.get("/metrics", headers=bearer("wrong")).status_code
    for shown in (basic("alice", "p"), bearer("t")):
        assert 200 == client.get(API, headers=shown).status_code
    assert 401 == client.get(API).status_code  # nothing was shown, so nothing was tried
    elsewhere = {"REMOTE_ADDR": "192.0.2.7"}
    assert 401 == client.get(API, headers=basic("alice", "x"), environ_overrides=elsewhere).status_code
    clock.now = 3.0
    assert [401, 429] == [client.get(API, headers=basic("alice", "x")).status_code for _ in range(2)]


def test_answers_that_are_made_anew_are_counted(store, clock):
    """For each reader; what is known costs nothing, and what is wrong or not there costs as much as anything else."""
    client = reader(store, read=Read(rate=3, cache=3600))
    asked = [f"/api/v1/pulls?actor={number}" for number in range(5)]
    assert {asked[0]: 200, asked[1]: 200} == statuses(client, asked[:2])
    assert [200] * 50 == [client.get(asked[0]).status_code for _ in range(50)]
    assert 400 == client.get("/api/v1/pulls?x=y").status_code
    answer = client.get(asked[2])
    assert (429, "20") == (answer.status_code, answer.headers["Retry-After"])
    assert 200 == client.get(asked[0]).status_code
    assert 200 == client.get(asked[2], environ_overrides={"REMOTE_ADDR": "127.0.0.2"}).status_code
    clock.now = 19.0
    assert 429 == client.get(asked[3]).status_code
    clock.now = 20.0
    assert {asked[3]: 200, asked[4]: 429} == statuses(client, asked[3:])
    clock.now = 10_000.0
    assert [200, 200, 200, 429] == [client.get(f"/api/v1/pushes?tag={n}").status_code for n in range(4)]


def test_a_user_has_his_own_allowance(store, clock):
    """Wherever he is; and nobody gets another one by making up names."""
    read = Read(rate=1, users={"alice": "p", "bob": "q"}, public=["badge"])
    client = reader(store, token="t", read=read)
    assert [200, 429] == [client.get(f"/api/v1/pulls?tag={n}", headers=basic("alice", "p")).status_code for n in (1, 2)]
    assert 200 == client.get("/api/v1/pulls?tag=3", headers=basic("bob", "q")).status_code
    badges = [f"/badge.svg?repository={name}" for name in ("a", "b", "c")]
    shown = [{}, basic("carol", "x"), basic("alice", "x")]
    assert [200, 429, 429] == [
        client.get(badge, headers=header).status_code for badge, header in zip(badges, shown, strict=True)
    ]
    assert 429 == client.get("/api/v1/pulls?tag=4", headers=basic("made-up", "t")).status_code


def _waits(allowance):
    """How many seconds somebody who takes one has to wait."""
    try:
        allowance.take("somebody")
    except TooManyRequests as error:
        return error.retry_after
    return 0


@given(st.lists(st.floats(0, 30), max_size=200), st.integers(1, 100))
def test_nobody_gets_more_than_is_allowed_and_who_waits_gets_one(pauses, a_minute):
    """Whatever he tries in between."""
    clock = Clock()
    allowance = Allowance(a_minute, clock)
    for taken, pause in enumerate(pauses, 1):
        clock.now += pause
        wait = _waits(allowance)
        if wait:
            clock.now += wait
            assert 0 == _waits(allowance)
        assert taken <= a_minute * (1 + clock.now / 60) + 1e-6


# What every answer has


def assets(client, **how):
    """Where a page has its style and scripts from, by their names."""
    return {path.rpartition("/")[2]: path for path in re.findall(r"/static/[^\"]+", client.get(PAGE, **how).text)}


@pytest.mark.parametrize("path", [PAGE, API, "/api/v1/pulls?x=y", "/nosuch", "/explore/nosuch", "/api/v1/nosuch", BADGE,
                                  "/badge.svg", "/static/x/page.js", "page.js"])  # fmt: skip
@pytest.mark.parametrize("host", ["localhost", "evil.example"])
def test_every_answer_is_safe_to_show(store, path, host):
    """Nothing runs in it but our own script, nobody can put it into his page, and it is what it says that it is."""
    client = reader(store)
    answer = client.get(assets(client).get(path, path), headers={"Host": host, "Accept": "text/html"})
    policy = answer.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'")
    assert "unsafe-inline" not in policy.partition("script-src")[2].partition(";")[0]
    assert "unsafe-eval" not in policy
    assert ("nosniff", "DENY", "no-referrer") == tuple(
        answer.headers[name] for name in ("X-Content-Type-Options", "X-Frame-Options", "Referrer-Policy")
    )
    is_badge = path == BADGE and answer.status_code == HTTPStatus.OK
    assert ("cross-origin" if is_badge else "same-origin") == answer.headers["Cross-Origin-Resource-Policy"]
    assert "Access-Control-Allow-Origin" not in answer.headers


def test_assets_are_the_same_everywhere(store):
    """So they need no token, and may be kept for ever."""
    client = reader(store, token="t")
    named = assets(client, headers=bearer("t"))
    assert set(NAMES) == named.keys()
    for path in named.values():
        answer = client.get(path, headers=FAR)
        assert (200, "public, max-age=31536000, immutable") == (answer.status_code, answer.headers["Cache-Control"])


def test_secrets_are_told_to_nobody(store, clock, caplog):
    """Neither in answers nor in the log, right ones or wrong ones."""
    caplog.set_level(logging.DEBUG)
    users = {"alice": "in-plain", "bob": generate_password_hash("hashed", "pbkdf2:sha256:1")}
    client = reader(store, token="of-senders", read=Read(token="of-readers", users=users))
    secrets = ["in-plain", "hashed", "of-senders", "of-readers", *users.values(), "mistyped"]
    (store.root / "manifest.json").write_text("damaged")
    seen = []
    for shown in (bearer("of-readers"), basic("alice", "in-plain"), basic("bob", "hashed"), bearer("mistyped"),
                  basic("alice", "mistyped"), *[basic("x", "mistyped")] * 20):  # fmt: skip
        for path in (*READ, "/healthz", "/nosuch"):
            answer = client.get(path, headers=shown)
            seen += [answer.text, str(answer.headers), str(answer.status_code)]
    assert {"200", "401", "404", "429", "503"} <= set(seen)
    told = "\n".join(seen) + caplog.text + "".join(str(vars(record)) for record in caplog.records)
    assert caplog.records
    assert [] == [secret for secret in secrets if secret in told]
