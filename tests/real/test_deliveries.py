"""`regstats serve` sends what is due: two of them on one store, to a real mail server and a directory, once."""

from datetime import UTC, datetime, timedelta

import pytest
from makers import envelope, journalled, make_event
from servers import Collector, Inbox, mail_server, stop, wait_until

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


HURRIED = """
from datetime import timedelta
from regstats import cli, outbox, server
outbox._PAUSES, server._SEND_SECONDS = [timedelta(seconds=1)], 1
cli.main()
"""
"""`regstats`, to which seconds are what minutes are else."""


@pytest.fixture
def inbox():
    """Of a mail server that is busy; where it is."""
    made = Inbox()
    made.says = "451 come back later"
    with mail_server(made) as made.port:
        yield made


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
    logs = [tmp_path / f"{number}.log" for number in range(2)]
    made = [Collector(store.root, log, program=("-c", HURRIED), config=file) for log in logs]
    yield made
    for one in made:
        if one.process is not None:
            stop(one.process)


@pytest.mark.slow
def test_two_collectors_send_it_once(both, inbox, tmp_path):
    """What the mail server does not take now it gets a while later; the directory has its report already."""
    for one in both:
        one.start()
    box = Outbox(both[0].data)
    wait_until(lambda: len(box.waiting()) == 2, "a report and an alert that wait")
    wait_until(lambda: any(message.error for message in box.waiting()), "the mail server to say that it is busy")
    archive = wait_until(lambda: list((tmp_path / "archive").glob("daily-latest.html")), "the report in the directory")
    assert b"Registry report" in archive[0].read_bytes()
    inbox.says = None
    wait_until(lambda: [] == box.waiting(), "the mail server to have taken all")
    subjects = sorted(mail["Subject"].split(",")[0] for mail in inbox.mails)
    assert ["Registry alert strange: 1 new", "Registry report daily"] == subjects
    (report,) = (mail for mail in inbox.mails if "report" in mail["Subject"])
    (file,) = report.iter_attachments()
    assert file.get_payload(decode=True) == archive[0].read_bytes()
    assert [0, 0] == [stop(one.process) for one in both]
    assert 1 == sum(one.log.count('"what":"delivered","id":"alert-strange') for one in both)
