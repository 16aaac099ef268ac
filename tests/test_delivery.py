"""How messages arrive: as files, by a real SMTP server, and by HTTP, on loopback."""

import json
import ssl
import threading
from contextlib import ExitStack
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import msgspec
import pytest
import servers
import trustme
from aiosmtpd.smtp import AuthResult
from servers import HOST, Inbox, free_port

from regstats.agenda import Destination, Mail
from regstats.config import Settings
from regstats.delivery import deliver
from regstats.errors import DeliveryError
from regstats.outbox import Attachment, Message

AT = datetime(2026, 11, 23, 6, 0, tzinfo=UTC)
PAGE = "<p>Ünïcödé</p>\n".encode()
HOSTILE = "<!channel> <script>alert(1)</script> & \u202egnp.exe"


def message(**changes):
    given = {
        "id": "report-weekly-20261123T0600Z-x", "to": "x", "kind": "report", "name": "weekly",
        "subject": "Registry report weekly, 2026-11-23", "text": "# Report\n\n- **57** pulls of `team/äpp`\n",
        "html": "<p>57 pulls of <b>team/äpp</b></p>", "fields": {"window": "7d"}, "at": AT, "made_at": AT,
        "attachments": [Attachment("weekly-2026-11-23.html", "text/html", PAGE)],
    }  # fmt: skip
    return Message(**(given | changes))


def settings(server=None, **destination):
    return Settings(mail=server, destinations={"x": Destination(**destination)})


# Files


def files_in(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_file_with_its_date_and_a_link_to_the_latest(tmp_path):
    """What was there before stays."""
    folder = tmp_path / "made" / "reports"
    for day in (16, 23):
        deliver(message(at=AT.replace(day=day)), settings(directory=str(folder)))
    dated = ["weekly-2026-11-16T0600Z.html", "weekly-2026-11-23T0600Z.html"]
    assert [*dated, "weekly-latest.html"] == files_in(folder)
    latest = folder / "weekly-latest.html"
    assert (dated[1], PAGE) == (str(latest.readlink()), latest.read_bytes())


def test_again_is_the_same_file(tmp_path):
    """Whatever was interrupted may be done again."""
    for _ in range(2):
        deliver(message(), settings(directory=str(tmp_path)))
    assert ["weekly-2026-11-23T0600Z.html", "weekly-latest.html"] == files_in(tmp_path)


def test_a_text_without_a_file_is_one(tmp_path):
    """An alert."""
    deliver(message(attachments=[]), settings(directory=str(tmp_path)))
    assert message().text == (tmp_path / "weekly-latest.md").read_text()


def test_a_directory_that_cannot_be_written(tmp_path):
    """Is named, with why."""
    (tmp_path / "file").write_text("")
    with pytest.raises(DeliveryError, match=r"Cannot write to .*file.*: (Not a directory|File exists)\."):
        deliver(message(), settings(directory=str(tmp_path / "file" / "reports")))


# Mail


@pytest.fixture(scope="session")
def authority():
    return trustme.CA()


@pytest.fixture(scope="session")
def ca(authority, tmp_path_factory):
    path = tmp_path_factory.mktemp("ca") / "ca.pem"
    authority.cert_pem.write_to_path(path)
    return str(path)


@pytest.fixture
def inbox():
    return Inbox()


def context_of(authority, name=HOST):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    return context


def logged_in(server, session, envelope, mechanism, data):
    return AuthResult(success=(data.login, data.password) == (b"regstats", b"secret"), handled=False)


def options_of(security, authority):
    login = {"auth_required": True, "authenticator": logged_in}
    return {
        "starttls": {"tls_context": context_of(authority), "require_starttls": True, **login},
        "tls": {"ssl_context": context_of(authority)},  # to it, a login on what is encrypted already looks unsafe
        "none": {},
    }[security]


@pytest.fixture
def mail_server(inbox, authority, ca):
    """Makes a server of some kind of security; gives the settings for it."""
    with ExitStack() as running:

        def start(security="starttls", **changes):
            port = running.enter_context(servers.mail_server(inbox, **options_of(security, authority)))
            who = {"user": "regstats", "password": "env:REGSTATS_TEST_PASSWORD"} if security == "starttls" else {}
            given = {"host": HOST, "port": port, "security": security, "sender": "regstats@example.org", "ca": ca} | who
            return Mail(**(given | changes))

        yield start


@pytest.fixture(autouse=True)
def password(monkeypatch):
    monkeypatch.setenv("REGSTATS_TEST_PASSWORD", "secret")


BOSSES = ["boss@example.org", "office@example.org"]


@pytest.mark.parametrize("security", ["starttls", "tls", "none"])
def test_mail_arrives(mail_server, inbox, security):
    """Encrypted and by name, or neither: the text, the same as HTML, and the file."""
    deliver(message(), settings(mail_server(security), mail=BOSSES))
    (envelope,), (mail,) = inbox.taken, inbox.mails
    assert (BOSSES, "regstats@example.org") == (envelope.rcpt_tos, envelope.mail_from)
    assert ("Registry report weekly, 2026-11-23", ", ".join(BOSSES)) == (mail["Subject"], mail["To"])
    assert "57** pulls of `team/äpp`" in mail.get_body("plain").get_content()
    assert "<b>team/äpp</b>" in mail.get_body("html").get_content()
    (file,) = mail.iter_attachments()
    content = file.get_payload(decode=True)
    assert ("weekly-2026-11-23.html", "text/html", PAGE) == (file.get_filename(), file.get_content_type(), content)
    assert "auto-generated" == mail["Auto-Submitted"]


def test_the_same_mail_has_the_same_id(mail_server, inbox):
    """So that a mailbox can tell that it has it already."""
    server = settings(mail_server("none"), mail=BOSSES)
    deliver(message(), server)
    deliver(message(), server)
    first, second = inbox.mails
    assert first["Message-ID"] == second["Message-ID"]


def test_names_cannot_add_headers(mail_server, inbox):
    """Whatever a repository is called."""
    deliver(message(subject="Alert\r\nBcc: victim@example.org\u2028x"), settings(mail_server("none"), mail=BOSSES))
    (envelope,), (mail,) = inbox.taken, inbox.mails
    assert (None, BOSSES) == (mail["Bcc"], envelope.rcpt_tos)
    assert "Alert\\u000d\\u000aBcc: victim@example.org\\u2028x" == mail["Subject"]


def test_a_wrong_password(mail_server, inbox, monkeypatch):
    """Is said; the password is not."""
    server = mail_server()
    monkeypatch.setenv("REGSTATS_TEST_PASSWORD", "wr0ng")
    with pytest.raises(DeliveryError, match="535") as caught:
        deliver(message(), settings(server, mail=BOSSES))
    assert ([], False) == (inbox.taken, "wr0ng" in str(caught.value))
    monkeypatch.delenv("REGSTATS_TEST_PASSWORD")
    with pytest.raises(DeliveryError, match="REGSTATS_TEST_PASSWORD is not set"):
        deliver(message(), settings(server, mail=BOSSES))


@pytest.mark.parametrize("security", ["starttls", "tls"])
def test_a_server_that_nobody_vouches_for(mail_server, inbox, security):
    """Gets neither password nor report."""
    with pytest.raises(DeliveryError, match="certificate verify failed"):
        deliver(message(), settings(mail_server(security, ca=None), mail=BOSSES))
    assert [] == inbox.taken


def test_a_server_without_encryption_gets_nothing(mail_server, inbox):
    """Where encryption is asked for."""
    server = msgspec.structs.replace(mail_server("none"), security="starttls")
    with pytest.raises(DeliveryError, match="STARTTLS"):
        deliver(message(), settings(server, mail=BOSSES))
    assert [] == inbox.taken


def test_a_server_that_is_busy_or_away(mail_server, inbox):
    """It says why, and the outbox tries again."""
    server = settings(mail_server("none"), mail=BOSSES)
    inbox.says = "451 come back later"
    with pytest.raises(DeliveryError, match="451 come back later"):
        deliver(message(), server)
    inbox.says = None
    deliver(message(), server)
    assert 1 == len(inbox.taken)
    with pytest.raises(DeliveryError, match="Connection refused"):
        deliver(message(), settings(Mail(host=HOST, port=free_port(), sender="a@b", security="none"), mail=BOSSES))


def test_one_of_two_addresses_is_refused(mail_server, inbox, caplog):
    """The other has it, so it is not sent again; all refused is an error."""
    server = settings(mail_server("none"), mail=BOSSES)
    inbox.refuse = {BOSSES[1]}
    deliver(message(), server)
    assert [BOSSES[:1]] == [envelope.rcpt_tos for envelope in inbox.taken]
    assert "refused some of the addresses" in caplog.text
    inbox.refuse = set(BOSSES)
    with pytest.raises(DeliveryError, match="no such mailbox"):
        deliver(message(), server)


# Webhooks


class Hook(BaseHTTPRequestHandler):
    """Keeps what was posted, and answers what it is told to."""

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.posted.append((self.path, dict(self.headers), json.loads(body)))
        self.send_response(self.server.status)
        self.send_header("Location", "/elsewhere")
        self.end_headers()
        self.wfile.write(self.server.says)

    do_GET = do_POST  # noqa: N815

    def log_message(self, *_):
        """Quietly."""


@pytest.fixture
def hook():
    with ThreadingHTTPServer((HOST, free_port()), Hook) as server:
        server.posted, server.status, server.says = [], 200, b"ok"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def posting(hook, style="json"):
    return settings(webhook=f"http://{HOST}:{hook.server_port}/secret", style=style)


def test_json_has_all_that_a_program_wants(hook):
    """And the same thing has the same key."""
    deliver(message(), posting(hook))
    ((path, headers, body),) = hook.posted
    assert ("/secret", "application/json", message().id) == (path, headers["Content-Type"], headers["Idempotency-Key"])
    told = {name: value for name, value in msgspec.to_builtins(message()).items() if name in body}
    assert {**told, "window": "7d"} == body
    assert {"id", "kind", "name", "subject", "text", "at", "window"} == body.keys()


@pytest.mark.parametrize("style", ["slack", "mattermost"])
def test_a_chat_gets_a_text(hook, style):
    """In its own marks."""
    deliver(message(), posting(hook, style))
    (text,) = hook.posted[0][2].values()
    expected = {"slack": "*Report*\n\n- *57* pulls of `team/äpp`\n", "mattermost": message().text}
    assert expected[style] == text


def test_nobody_is_called_in_slack(hook):
    """`<!channel>` in a name would call everybody."""
    deliver(message(text=f"- `{HOSTILE}`"), posting(hook, "slack"))
    text = hook.posted[0][2]["text"]
    assert ("&lt;!channel&gt; &lt;script", False) == (text[3 : 3 + len("&lt;!channel&gt; &lt;script")], "<" in text)


@pytest.mark.parametrize(("style", "longest"), [("slack", 3000), ("mattermost", 16000)])
def test_a_long_text_is_cut_between_lines(hook, style, longest):
    """A chat refuses what is longer."""
    deliver(message(text="- a line\n" * 5000), posting(hook, style))
    text = hook.posted[0][2]["text"]
    assert ({"- a line", "…"}, True) == (set(text.splitlines()), longest - 20 < len(text) <= longest + 2)


@pytest.mark.parametrize("status", [301, 302, 307, 400, 403, 404, 429, 500, 503])
def test_an_answer_that_is_none_of_success(hook, status):
    """Is said with what the server says, and not followed; the address, which may be secret, is not."""
    hook.status, hook.says = status, b"no_service\x1b[31m"
    with pytest.raises(DeliveryError, match=f"The webhook of 'x' answered {status} no_service") as caught:
        deliver(message(), posting(hook))
    assert (1, False, False) == (len(hook.posted), "secret" in str(caught.value), "\x1b" in str(caught.value))


def test_a_webhook_in_the_environment(hook, monkeypatch):
    """So that it is in no file."""
    monkeypatch.setenv("REGSTATS_TEST_HOOK", f"http://{HOST}:{hook.server_port}/from-env")
    deliver(message(), settings(webhook="env:REGSTATS_TEST_HOOK"))
    assert "/from-env" == hook.posted[0][0]


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        (f"http://{HOST}:1/secret", "cannot be reached: .*Connection refused"),
        ("file:///etc/passwd#secret", "begins with https:// or http://"),
        ("http://[secret", "cannot be reached|begins with"),
        ("env:REGSTATS_NOT_THERE", "REGSTATS_NOT_THERE is not set"),
    ],
)
def test_a_webhook_that_is_none(url, complaint):
    """Is said without its address."""
    with pytest.raises(DeliveryError, match=complaint) as caught:
        deliver(message(), settings(webhook=url))
    assert "secret" not in str(caught.value)


def test_a_destination_that_is_no_more():
    """What waited for it is given up after a day."""
    with pytest.raises(DeliveryError, match="no destination 'x' any more"):
        deliver(message(), Settings())
