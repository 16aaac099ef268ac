"""What a registry says, and what it is told: one that says whatever a test wants."""

import hashlib
import json
import threading
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from makers import INDEX, MANIFEST

from regstats import registry as registries
from regstats import session as sessions
from regstats.credentials import Login
from regstats.errors import ActionError
from regstats.inventory import describe, select
from regstats.registry import Client, Descriptor, Manifest
from regstats.session import Session

BODY = json.dumps({"schemaVersion": 2, "mediaType": MANIFEST}).encode()
DIGEST = f"sha256:{hashlib.sha256(BODY).hexdigest()}"
OTHER = f"sha256:{'f' * 64}"
ALICE = Login("alice", "secret")


class Fake:
    """A server. `answers` has for a method and the beginning of a path a status, headers, and a body, or a function."""

    def __init__(self):
        self.answers, self.requests = {}, []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self):
                self.rfile.read(int(self.headers["Content-Length"] or 0))
                outer.requests.append((self.command, self.path, self.headers))
                begun = [key for key in outer.answers if f"{self.command} {self.path} ".startswith(key)]
                said = outer.answers[max(begun, key=len)] if begun else (404, {}, b"")
                status, headers, body = said(self) if callable(said) else said
                self.send_response(status)
                for name, value in ({"Content-Length": str(len(body))} | headers).items():
                    self.send_header(name, value)
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body)

            do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = answer  # noqa: N815

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.address = f"127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def has(self, **answers):
        self.answers |= answers

    def close(self):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def fake():
    with closing(Fake()) as made:
        made.answers["GET /v2/ "] = (200, {}, b"{}")
        yield made


@pytest.fixture
def elsewhere():
    with closing(Fake()) as made:
        yield made


@pytest.fixture
def client(fake, monkeypatch):
    monkeypatch.setattr(sessions, "_PAUSE", 0)
    with closing(Client(Session(fake.address, ALICE))) as made:
        yield made


def said(body=BODY, kind=MANIFEST, digest=DIGEST):
    return 200, {"Content-Type": kind} | ({"Docker-Content-Digest": digest} if digest else {}), body


def fails(match):
    return pytest.raises(ActionError, match=match)


def test_a_manifest_is_its_bytes(fake, client):
    """Exactly; and whether the registry says the digest or not."""
    for digest in (DIGEST, None):
        fake.answers["GET /v2/team/app/manifests/"] = said(digest=digest)
        assert Manifest(DIGEST, MANIFEST, BODY) == client.manifest("team/app", "1.0")
        assert Manifest(DIGEST, MANIFEST, BODY) == client.manifest("team/app", DIGEST)
    assert client.manifest("team/web", "1.0") is None
    fake.answers["GET /v2/team/app/manifests/"] = said(kind="text/plain; charset=utf-8")
    assert MANIFEST == client.manifest("team/app", "1.0").media_type


@pytest.mark.parametrize(("reference", "digest"), [("1.0", OTHER), (OTHER, DIGEST), (OTHER, None)])
def test_other_bytes_than_were_asked_for(fake, client, reference, digest):
    """Whoever is to blame: the registry, or somebody between."""
    fake.answers["GET /v2/team/app/manifests/"] = said(digest=digest)
    with fails(f"gives other bytes for team/app {reference} than {OTHER}"):
        client.manifest("team/app", reference)


@pytest.mark.parametrize(
    ("answer", "match"),
    [
        (said(b"{}" + b" " * (4 << 20)), "says more than"),
        (said(digest="../../etc"), "is not known|Digests such as"),
        (said(b"[", MANIFEST, None), "is not understood"),
        (said(BODY, MANIFEST, "md5:00"), "Digests such as md5:00 are not known"),
    ],
)
def test_what_is_no_manifest(fake, client, answer, match):
    fake.answers["GET /v2/team/app/manifests/"] = answer
    with fails(match):
        _ = client.manifest("team/app", "1.0").children


def test_what_a_tag_points_to(fake, client):
    """As the answer to HEAD says, or from the manifest where that says too little."""
    fake.answers["HEAD /v2/team/app/manifests/"] = said()
    assert Descriptor(DIGEST, MANIFEST, len(BODY)) == client.head("team/app", "1.0")
    fake.answers |= {"HEAD /v2/team/app/manifests/": said(digest=None), "GET /v2/team/app/manifests/": said()}
    assert DIGEST == client.digest("team/app", "1.0")
    assert client.digest("team/web", "1.0") is None
    fake.answers["HEAD /v2/team/app/manifests/"] = said(digest="latest")
    with fails("says 'latest', which is no digest"):
        client.digest("team/app", "1.0")


def test_lists_have_pages(fake, client, elsewhere):
    """Each is asked for once, at this registry, wherever it says that they are; what can be no name is left out."""
    pages = {
        "GET /v2/team/app/tags/list?n=1000": (["a", "b"], "/v2/team/app/tags/list?last=b"),
        "GET /v2/team/app/tags/list?last=b": (["b", "../c", "d\n", "e"], f"http://{elsewhere.address}/v2/team/app/tags/list?last=e"),
        "GET /v2/team/app/tags/list?last=e": (None, "/v2/team/app/tags/list?last=b"),
    }  # fmt: skip
    for path, (tags, following) in pages.items():
        body = json.dumps({"name": "team/app", "tags": tags}).encode()
        fake.answers[path] = 200, {"Link": f'<{following}>; rel="next"'}, body
    assert ["a", "b", "e"] == client.tags("team/app")
    assert [] == client.tags("team/none")
    assert [] == elsewhere.requests
    fake.answers["GET /v2/_catalog"] = 200, {}, b'{"repositories": ["team/app", "../x", "Team"]}'
    assert ["team/app"] == list(client.repositories())


def test_blobs_may_be_elsewhere_but_nobody_else_is_told_who_we_are(fake, client, elsewhere):
    """Storage has addresses of its own; so may uploads."""
    data, part = b"layer", Descriptor(registries.digest_as("", b"layer"), "", 5)
    fake.answers["GET /v2/team/app/blobs/"] = 307, {"Location": f"http://localhost:{elsewhere.address[10:]}/data"}, b""
    elsewhere.answers["GET /data"] = 200, {}, data
    assert data == client.small_blob("team/app", part)
    location = f"http://{elsewhere.address}/upload?state=1"
    fake.answers["POST /v2/team/app/blobs/uploads/"] = 202, {"Location": location}, b""
    elsewhere.answers["PUT /upload"] = 201, {}, b""
    client.add("team/app", part, lambda: client.blob("team/app", part), None)
    assert all(headers["Authorization"] for _, path, headers in fake.requests if path != "/v2/")
    assert [None, None, None] == [headers["Authorization"] for _, _, headers in elsewhere.requests]
    assert f"/upload?state=1&digest={part.digest.replace(':', '%3A')}" == elsewhere.requests[-1][1]


@pytest.mark.parametrize("data", [b"other", b"lay", b"layer and more", b""])
def test_a_damaged_blob(fake, client, data):
    """Is noticed before its last bytes are handed on."""
    part = Descriptor(registries.digest_as("", b"layer"), "", 5)
    fake.answers["GET /v2/team/app/blobs/"] = 200, {}, data
    with fails("is damaged where it is"):
        client.small_blob("team/app", part)
    with fails("which is no configuration"):
        client.small_blob("team/app", Descriptor(part.digest, "", 5 << 20))


def test_what_passes_is_asked_again(fake, client):
    """Twice, for what may be asked again; a push is not sent again by itself."""
    for method in ("GET", "HEAD", "PUT"):
        fake.answers[f"{method} /v2/team/app/manifests/"] = 503, {}, b""
    asks = [
        (lambda: client.manifest("team/app", "1"), 3),
        (lambda: client.digest("team/app", "1"), 3),
        (lambda: client.put("team/app", "1", Manifest(DIGEST, MANIFEST, BODY)), 1),
    ]
    for ask, times in asks:
        fake.requests.clear()
        with fails("answers 503") as failed:
            ask()
        assert failed.value.again
        assert times == sum("/manifests/" in path for _, path, _ in fake.requests)


def test_a_registry_that_makes_something_else_of_it(fake, client):
    fake.answers["PUT /v2/team/app/manifests/"] = 201, {"Docker-Content-Digest": OTHER}, b""
    with fails(f"made {OTHER} of {DIGEST}"):
        client.put("team/app", "1", Manifest(DIGEST, MANIFEST, BODY))


@pytest.mark.parametrize(
    ("status", "login", "expected"),
    [
        (401, ALICE, "refuses alice: wrong user or password"),
        (401, None, "wants a login"),
        (403, ALICE, r"does not allow alice to do this \(DELETE\)"),
        (403, None, r"does not allow us to do this \(DELETE\)"),
        (405, ALICE, "answers 405 to DELETE /v2/team/app/manifests/1.0"),
    ],
)
def test_what_a_registry_refuses(fake, status, login, expected):
    """In a line, with its own words, in which nothing is hidden."""
    words = {"errors": [{"code": "UNSUPPORTED", "message": "not\u202e today\n\x1b[31m"}]}
    fake.answers["DELETE /v2/team/app/manifests/"] = status, {}, json.dumps(words).encode()
    with closing(Client(Session(fake.address, login))) as client, fails(expected) as failed:
        client.delete("team/app", "1.0")
    assert str(failed.value).endswith("UNSUPPORTED not\\u202e today\\u000a\\u001b[31m")
    assert not failed.value.again


def tokens(fake, *, realm=None, says=(200, {}, b'{"access_token": "t"}')):
    """A registry that wants a token, and its service."""

    def answer(request):
        if request.headers["Authorization"] == "Bearer t":
            return said()
        asked = (
            f'Bearer realm="{realm or f"http://{fake.address}/token?a=b"}",service="s",scope="repository:team/app:pull"'
        )
        return 401, {"WWW-Authenticate": asked}, b""

    fake.answers |= {"GET /v2/team": answer, "HEAD /v2/team": answer, "GET /token": says, "POST /token": says}


def test_a_token_is_got_once_for_the_same_right(fake, client):
    """And shown from then on; with what the address of the service had already."""
    tokens(fake)
    for _ in range(3):
        assert DIGEST == client.manifest("team/app", "1.0").digest
        assert DIGEST == client.digest("team/app", "1.0")
    asked = [path for _, path, _ in fake.requests if path.startswith("/token")]
    assert ["/token?a=b&service=s&scope=repository%3Ateam%2Fapp%3Apull"] == asked


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ({"says": (401, {}, b"{}")}, "The token service of .* refuses alice: wrong user or password"),
        ({"says": (200, {}, b"{}")}, "gave no token"),
        ({"says": (200, {}, b"<html>")}, "does not answer as a registry does"),
        ({"realm": "ftp://nowhere"}, "does not say where to get it"),
        ({"realm": "http://127.0.0.1:9/token"}, "cannot be reached: Connection refused"),
    ],
)
def test_token_services_that_give_none(fake, client, given, match):
    tokens(fake, **given)
    with fails(match):
        client.manifest("team/app", "1.0")


def test_a_login_is_not_sent_without_tls(fake, monkeypatch):
    """Where the registry itself has it, whatever it says."""
    session = Session("registry.example", ALICE)
    with fails("would have our login sent without TLS, to http://registry.example/token"):
        session._token({"realm": "http://registry.example/token"})


def test_a_registry_that_is_not_there():
    """With the reason, and no more."""
    with (
        closing(Client(Session("127.0.0.1:9"))) as client,
        fails("^127.0.0.1:9 cannot be reached: Connection refused$"),
    ):
        client.check()


def test_docker_hub_is_elsewhere():
    """Than names of images say."""
    session = Session("docker.io", ALICE)
    assert ("docker.io", "https://registry-1.docker.io") == (session.registry, session.base)
    assert session._shown("https://registry-1.docker.io/v2/", sessions.Scope("a", "GET"))
    assert {} == session._shown("https://docker.io/v2/", sessions.Scope("a", "GET"))


def test_who_we_are_is_not_taken_from_elsewhere(fake, tmp_path, monkeypatch):
    """Requests would look into ~/.netrc."""
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login eve password x\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    with closing(Client(Session(fake.address))) as client:
        client.check()
    assert all(headers["Authorization"] is None for _, _, headers in fake.requests)


def test_loopback_is_not_asked_through_a_proxy(fake, client, monkeypatch):
    """Docker does not either."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    client.check()
    assert [("GET", "/v2/")] * 2 == [request[:2] for request in fake.requests]


def test_what_is_looked_at_and_what_is_written_have_names_of_their_own(fake, client):
    """The one is not counted, the other is."""
    fake.answers |= {"GET /v2/team": said(), "PUT /v2/team": (201, {}, b"")}
    client.put("team/app", "1", client.manifest("team/app", "1"))
    agents = {method: headers["User-Agent"].partition("/")[0] for method, _, headers in fake.requests}
    assert {"GET": "regstats", "PUT": "regstats-images"} == agents


# What is there


def test_indexes_without_all_they_list(fake, client):
    """What is there is described."""
    index = json.dumps({"mediaType": INDEX, "manifests": [
        {"digest": DIGEST, "mediaType": MANIFEST, "platform": {"os": "linux", "architecture": "arm", "variant": "v7"}},
        {"digest": OTHER, "mediaType": MANIFEST, "platform": {"os": "unknown", "architecture": "unknown"}},
    ]}).encode()  # fmt: skip
    fake.answers |= {
        "GET /v2/team/app/manifests/1.0": said(index, INDEX, None),
        f"GET /v2/team/app/manifests/{DIGEST}": said(),
    }
    assert (0, None, ["linux/arm/v7"]) == describe(client, "team/app", "1.0")
    assert describe(client, "team/app", "2.0") is None


def test_a_registry_that_lists_no_repositories(fake, client):
    """Names work all the same; globs of repositories say why they do not."""
    fake.answers |= {"GET /v2/_catalog": (401, {}, b""), "HEAD /v2/team/app/manifests/1.0": said()}
    assert [DIGEST] == [one.digest for one in select(lambda _: client, ["team/app:1.0"], fake.address, 1)]
    with fails(r"To find 'team/\*' all repositories have to be listed\. .* refuses alice"):
        select(lambda _: client, ["team/*"], fake.address, 1)
