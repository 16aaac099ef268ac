"""The intake: who may send, and that nothing is refused for what it says."""

import base64
import hmac
import json
import os
import stat

import pytest
from makers import NOW, envelope, make_event

from regstats.app import create_app
from regstats.config import Settings, Source
from regstats.journal import Journal, read, segments

SETTINGS = Settings(token="secret", max_body=10_000, sources={"lab": Source(token="lab-secret"), "shop": Source()})
BODY = envelope(make_event())


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "journal"


@pytest.fixture
def client(folder):
    return create_app(SETTINGS, Journal(folder), lambda: NOW).test_client()


def received(folder):
    return [delivery for segment in segments(folder) for delivery in read(segment, finished=False)]


def basic(credentials):
    return "Basic " + base64.b64encode(credentials.encode()).decode()


def bearer(token="secret"):
    return {"Authorization": f"Bearer {token}"}


def test_a_delivery_is_stored_as_it_came(client, folder):
    """Time, sender, the headers that matter, and every byte."""
    answer = client.post("/events", data=BODY, headers={**bearer(), "Content-Type": "application/x", "Cookie": "c"})
    assert (204, b"") == (answer.status_code, answer.data)
    (delivery,) = received(folder)
    assert (NOW, "default", "127.0.0.1", BODY) == (
        delivery.received_at, delivery.source, delivery.remote_address, delivery.body
    )  # fmt: skip
    assert "application/x" == delivery.headers["Content-Type"]
    assert {"Authorization", "Cookie"}.isdisjoint(delivery.headers)


@pytest.mark.parametrize(
    "authorization",
    ["Bearer secret", "bearer secret", "Bearer  secret ", "token secret", "Token secret", basic("any:secret"),
     basic(":secret")],
)  # fmt: skip
def test_the_right_token_in_any_form(client, authorization):
    """Registries send static headers, or Basic from the URL."""
    assert 204 == client.post("/events", data=BODY, headers={"Authorization": authorization}).status_code


@pytest.mark.parametrize(
    "authorization",
    [None, "", "secrets", "Bearer", "Bearer ", "Bearer wrong", "Bearer secre", "Bearer secrett", "Bearer sécret",
     "Digest secret", basic("secret:"), basic("secret"), basic("a:wrong"), "Basic !!!", "Basic c2VjcmV0"],
)  # fmt: skip
def test_a_wrong_token_is_refused(client, folder, authorization):
    """With 401, a reason, and nothing stored."""
    headers = {} if authorization is None else {"Authorization": authorization}
    answer = client.post("/events", data=BODY, headers=headers)
    assert (401, "application/problem+json") == (answer.status_code, answer.mimetype)
    assert 'Bearer realm="regstats"' == answer.headers["WWW-Authenticate"]
    assert "A token is needed" in answer.json["detail"]
    assert [] == received(folder)


def test_each_source_has_its_own_address_and_token(client, folder):
    """A source without a token of its own takes the common one; nobody else's."""
    for source, token, expected in (
        ("lab", "lab-secret", 204),
        ("lab", "secret", 401),
        ("shop", "secret", 204),
        ("shop", "lab-secret", 401),
        ("nosuch", "secret", 404),
    ):
        assert expected == client.post(f"/events/{source}", data=BODY, headers=bearer(token)).status_code
    assert ["lab", "shop"] == [delivery.source for delivery in received(folder)]


@pytest.mark.parametrize(
    "body",
    [b"", b"not JSON", b"[1, 2]", b"{}", b'{"events": []}', b"\xff\xfe\x00", bytes(10_000), b'{"events": [{"a":'],
)
def test_nothing_is_refused_for_what_it_says(client, folder, body):
    """One event refused would block all later ones of that registry, for ever."""
    assert 204 == client.post("/events", data=body, headers=bearer()).status_code
    assert [body] == [delivery.body for delivery in received(folder)]


@pytest.mark.parametrize(
    "content_type",
    ["application/vnd.docker.distribution.events.v2+json", "application/x-www-form-urlencoded", "multipart/form-data",
     "text/html; charset=utf-16", ""],
)  # fmt: skip
def test_the_body_is_taken_whatever_its_content_type(client, folder, content_type):
    """Form types too: nothing but us reads the body."""
    client.post("/events", data=BODY, headers={**bearer(), "Content-Type": content_type})
    assert [BODY] == [delivery.body for delivery in received(folder)]


@pytest.mark.parametrize("size", [10_001, 1_000_000])
def test_too_large_a_delivery_is_refused(client, folder, size):
    """The message says how large it may be."""
    answer = client.post("/events", data=bytes(size), headers=bearer())
    assert 413 == answer.status_code
    assert "10,000 bytes" in answer.json["detail"]
    assert [] == received(folder)


@pytest.mark.parametrize(("size", "expected"), [(10_000, 204), (10_001, 413)])
def test_the_limit_holds_when_the_sender_does_not_say_how_much_it_sends(client, size, expected):
    """Chunked bodies have no length."""
    chunked = {"wsgi.input_terminated": True, "CONTENT_LENGTH": ""}
    answer = client.post("/events", data=bytes(size), headers=bearer(), environ_overrides=chunked)
    assert expected == answer.status_code


@pytest.mark.parametrize("path", ["/events", "/events/", "/events/lab", "/events/lab/"])
def test_there_are_no_redirects(client, path):
    """A sender follows a redirect without the body, takes the answer for success, and the event is lost."""
    token = "lab-secret" if "lab" in path else "secret"
    assert 204 == client.post(path, data=BODY, headers=bearer(token)).status_code


def test_what_cannot_be_stored_is_not_acknowledged(folder):
    """503 with Retry-After, a reason, and it goes on by itself when it can be stored again."""
    folder.write_text("in the way")
    client = create_app(SETTINGS, Journal(folder), lambda: NOW).test_client()
    answer = client.post("/events", data=BODY, headers=bearer())
    assert (503, "5") == (answer.status_code, answer.headers["Retry-After"])
    assert "Cannot write to the journal" in answer.json["detail"]
    folder.unlink()
    assert 204 == client.post("/events", data=BODY, headers=bearer()).status_code
    assert [BODY] == [delivery.body for delivery in received(folder)]


def test_an_open_collector_needs_no_token(folder):
    """On loopback, and only there: see the settings."""
    client = create_app(Settings(), Journal(folder)).test_client()
    assert 204 == client.post("/events", data=BODY).status_code


def test_other_requests_are_answered_as_problems(client):
    """For programs, in one form."""
    for method, path, expected in (("GET", "/events", 405), ("GET", "/nosuch", 404), ("PUT", "/events", 405)):
        answer = client.open(path, method=method)
        assert (expected, "application/problem+json") == (answer.status_code, answer.mimetype)
        assert expected == json.loads(answer.data)["status"]


@pytest.mark.parametrize(
    ("path", "headers", "expected"),
    [("/events", bearer(), 204), ("/events/lab", bearer("lab-secret"), 204), ("/events/shop/", bearer(), 204),
     ("/events", {}, 401), ("/events", bearer("wrong"), 401), ("/events/lab", bearer(), 401),
     ("/events/nosuch", bearer(), 404)],
)  # fmt: skip
def test_whether_a_delivery_would_be_taken(client, folder, path, headers, expected):
    """OPTIONS has the answer of POST, and whatever is sent with it is not kept."""
    assert expected == client.options(path, data=BODY, headers=headers).status_code
    assert expected == client.post(path, data=BODY, headers=headers).status_code
    assert (expected == 204) == len(received(folder))


def test_only_some_addresses_may_send(folder):
    """403, even with the right token; a source's own list goes before the common one."""
    settings = Settings(
        token="secret", allow=["192.0.2.0/24"], sources={"lab": Source(allow=["198.51.100.7"])},
        trusted_proxies=["10.0.0.1"],
    )  # fmt: skip
    client = create_app(settings, Journal(folder)).test_client()
    for path, remote, forwarded_for, expected in (
        ("/events", "192.0.2.9", "", 204),
        ("/events", "198.51.100.7", "", 403),
        ("/events/lab", "198.51.100.7", "", 204),
        ("/events/lab", "192.0.2.9", "", 403),
        ("/events", "10.0.0.1", "192.0.2.9", 204),
        ("/events", "10.0.0.1", "203.0.113.1", 403),
        ("/events", "203.0.113.1", "192.0.2.9", 403),
    ):
        from_there = {"REMOTE_ADDR": remote, "HTTP_X_FORWARDED_FOR": forwarded_for}
        answer = client.post(path, data=BODY, headers=bearer(), environ_overrides=from_there)
        assert expected == answer.status_code, (path, remote, forwarded_for)
    assert ["192.0.2.9", "198.51.100.7", "192.0.2.9"] == [delivery.remote_address for delivery in received(folder)]


def test_a_source_that_signs(folder):
    """It need not show a token, and cannot do with one instead."""
    settings = Settings(token="secret", sources={"forge": Source(signing_secret="s")})
    client = create_app(settings, Journal(folder)).test_client()
    signature = hmac.new(b"s", BODY, "sha256").hexdigest()
    assert 204 == client.post("/events/forge", data=BODY, headers={"X-Gitea-Signature": signature}).status_code
    assert 401 == client.post("/events/forge", data=BODY + b" ", headers={"X-Gitea-Signature": signature}).status_code
    assert 401 == client.post("/events/forge", data=BODY, headers=bearer()).status_code
    (delivery,) = received(folder)
    assert "X-Gitea-Signature" not in delivery.headers


@pytest.mark.parametrize(
    ("query", "expected"),
    [("token=secret", 204), ("a=b&token=secret", 204), ("token=wrong", 401), ("token=", 401), ("secret", 401)],
)
def test_a_token_in_the_address(client, folder, query, expected):
    """For Docker Hub, Quay and Google's Pub/Sub, which have nothing but an address; it is not kept."""
    assert expected == client.post(f"/events?{query}", data=BODY).status_code
    assert all("secret" not in str(delivery.headers) for delivery in received(folder))
    assert (expected == 204) == len(received(folder))


def test_artifactory_may_send_the_secret_itself(folder):
    """Unless it is told to sign."""
    client = create_app(Settings(sources={"art": Source(signing_secret="s")}), Journal(folder)).test_client()
    for shown, expected in (("s", 204), ("x", 401), (hmac.new(b"s", BODY, "sha256").hexdigest(), 204)):
        assert expected == client.post("/events/art", data=BODY, headers={"X-JFrog-Event-Auth": shown}).status_code


def test_a_source_whose_dialect_is_fixed(folder):
    """It is written down with the delivery, whatever the sender says of it."""
    settings = Settings(sources={"q": Source(dialect="quay")})
    client = create_app(settings, Journal(folder)).test_client()
    client.post("/events/q", data=b"{}", headers={"X-Regstats-Dialect": "harbor"})
    assert ["quay"] == [delivery.headers["X-Regstats-Dialect"] for delivery in received(folder)]


VALIDATION = b'[{"eventType": "Microsoft.EventGrid.SubscriptionValidationEvent", "data": {"validationCode": "c"}}]'


def test_event_grid_is_told_that_it_may_send(client, folder):
    """If it shows the token; what it asked is kept like all deliveries."""
    asks = {"aeg-event-type": "SubscriptionValidation"}
    assert 401 == client.post("/events", data=VALIDATION, headers=asks).status_code
    answer = client.post("/events?token=secret", data=VALIDATION, headers=asks)
    assert (200, {"validationResponse": "c"}) == (answer.status_code, answer.json)
    assert 204 == client.post("/events?token=secret", data=BODY, headers=asks).status_code
    assert [VALIDATION, BODY] == [delivery.body for delivery in received(folder)]


def test_senders_of_cloudevents_are_told_that_they_may(client):
    """They ask with OPTIONS, and want to hear their own name."""
    asks = {"WebHook-Request-Origin": "grid.example"}
    answer = client.options("/events?token=secret", headers=asks)
    assert (200, "grid.example") == (answer.status_code, answer.headers["WebHook-Allowed-Origin"])
    assert 401 == client.options("/events", headers=asks).status_code


def test_a_delivery_that_was_cut_off_is_not_acknowledged(client, folder):
    """Its sender said how long it would be."""
    cut_off = {"wsgi.input_terminated": True, "CONTENT_LENGTH": str(len(BODY) + 1)}
    assert 400 == client.post("/events", data=BODY, headers=bearer(), environ_overrides=cut_off).status_code
    assert [] == received(folder)


def test_the_journal_is_not_for_everybody(client, folder):
    """Names of people and images are in it."""
    os.umask(0o022)
    client.post("/events", data=BODY, headers=bearer())
    (segment,) = segments(folder)
    assert 0 == stat.S_IMODE(segment.stat().st_mode) & stat.S_IRWXO
