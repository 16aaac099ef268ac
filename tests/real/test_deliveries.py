"""`regstats serve` sends what is due: two of them on one store, to a real mail server and a directory, once."""

from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy

import pytest
from aiosmtpd.controller import Controller
from makers import envelope, journalled, make_event
from servers import HOST, PATIENCE, Collector, free_port, stop, wait_until

from regstats.config import load
from regstats.dispatch import Dispatch
from regstats.outbox import Outbox
from regstats.store import Store

SETTINGS = """
[mail]
host = "127.0.0.1"
port = {port}
security = "none"
sender = "regstats@example.org"

[destinations.boss]
mail = ["boss@example.org"]

[destinations.archive]
directory = "{folder}"

[[report.schedule]]
name = "daily"
cron = "0 0 * * *"
window = "1d"
to = ["boss", "archive"]

[[alert]]
name = "strange"
when = "quarantine"
to = ["boss"]
"""


class Inbox:
    """What a mail server has taken; nothing while it is busy."""

    def __init__(self):
        self.mails, self.is_busy = [], True

    async def handle_DATA(self, server, session, envelope):  # noqa: N802
        if self.is_busy:
            return "451 come back later"
        self.mails.append(message_from_bytes(envelope.content, policy=policy.default))
        return "250 OK"


@pytest.fixture
def inbox():
    made = Inbox()
    server = Controller(made, hostname=HOST, port=free_port())
    server.start()
    made.port = server.port
    yield made
    server.stop()


@pytest.fixture
def both(tmp_path, inbox):
    """Two collectors on one store, in which a report is due, and something was not understood."""
    file, store = tmp_path / "regstats.toml", Store(tmp_path / "store", create=True)
    file.write_text(SETTINGS.format(port=inbox.port, folder=tmp_path / "archive"))
    now = datetime.now(UTC)
    journalled(store, envelope(make_event(at=now - timedelta(days=1))), received_at=now - timedelta(days=1))
    journalled(store, b"garbage", received_at=now)
    Dispatch(store, load(file, {}), lambda: now - timedelta(days=2)).run("daily")
    for waiting in Outbox(store.root).folder.glob("report-*.json"):
        waiting.unlink()
    made = [Collector(store.root, tmp_path / f"{number}.log", config=file) for number in range(2)]
    yield made
    for one in made:
        if one.process is not None:
            stop(one.process)


@pytest.mark.slow
def test_two_collectors_send_it_once(both, inbox, tmp_path):
    """What the mail server does not take now it gets a minute later; the directory has its report already."""
    for one in both:
        one.start()
    box = Outbox(both[0].data)
    wait_until(lambda: len(box.waiting()) == 2, "a report and an alert that wait")
    archive = wait_until(lambda: list((tmp_path / "archive").glob("daily-latest.html")), "the report in the directory")
    assert b"Registry report" in archive[0].read_bytes()
    inbox.is_busy = False
    wait_until(lambda: [] == box.waiting(), "the mail server to have taken all", 2 * PATIENCE)
    subjects = sorted(mail["Subject"].split(",")[0] for mail in inbox.mails)
    assert ["Registry alert strange: 1 new", "Registry report daily"] == subjects
    (report,) = (mail for mail in inbox.mails if "report" in mail["Subject"])
    (file,) = report.iter_attachments()
    assert file.get_payload(decode=True) == archive[0].read_bytes()
    assert [0, 0] == [stop(one.process) for one in both]
    assert 1 == sum(one.log.count('"what":"delivered","id":"alert-strange') for one in both)
