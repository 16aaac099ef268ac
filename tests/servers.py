"""Processes that tests start on loopback, and waiting for them."""

import http.client
import itertools
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from email import message_from_bytes, policy

import pytest
from aiosmtpd.controller import Controller

HOST = "127.0.0.1"
PATIENCE = 60  # seconds until something that must happen is given up; nothing is measured by it


def free_port():
    """For a server that will listen there, and may be started there again.

    The kernel does not give it to anybody meanwhile: it gives higher ones to clients, and to those who ask for any.
    """
    return next(port for port in PORTS if can_be_had(port))


def ports():
    """One after another, from chance on, of a thousand that no other worker of pytest-xdist has."""
    worker, start = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")), secrets.randbelow(1000)
    return (20_000 + worker % 12 * 1000 + number % 1000 for number in itertools.count(start))


PORTS = ports()


def can_be_had(port):
    with socket.socket() as probe:
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def wait_until(condition, what, patience=PATIENCE):
    """Polls until the condition holds, and returns what it gave."""
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        result = condition()
        if result:
            return result
        time.sleep(0.05)
    pytest.fail(f"waited {patience} s for {what}")


def listens(port):
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) == 0


def stop(process, how=signal.SIGTERM):
    """Stops a process that we started, and waits until it is gone; its exit status."""
    if process.poll() is None:
        process.send_signal(how)
    return process.wait(PATIENCE)


class Collector:
    """`regstats serve` in a process group of its own. Can be stopped, killed, and started again on the same port.

    Without a token whoever is on this machine may send and read.
    """

    def __init__(self, data, log, token="collector-token", program=("-m", "regstats"), **settings):
        self.data, self.port, self.token, self.settings = data, free_port(), token, settings
        self._log, self._program = log, program
        self.process = None

    def launch(self, *options):
        """Starts it, and does not wait for it."""
        environment = {key: value for key, value in os.environ.items() if not key.startswith("REGSTATS_")}
        environment |= {f"REGSTATS_{key.upper()}": str(value) for key, value in self.settings.items()}
        command = [sys.executable, *self._program, "serve", "--data", str(self.data), "--port", str(self.port)]
        command += ["--token", self.token] if self.token else []
        with self._log.open("ab") as log:
            self.process = subprocess.Popen([*command, *options], env=environment, stderr=log, start_new_session=True)

    def start(self, *options):
        self.launch(*options)
        wait_until(lambda: listens(self.port) or self.process.poll() is not None, "the collector")
        assert self.process.poll() is None, self.log
        return self

    def stop(self):
        return stop(self.process)

    def kill(self):
        """SIGKILL for it and all its workers, as when the machine dies."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(PATIENCE)
        wait_until(lambda: not listens(self.port), "the end of its workers")

    @property
    def log(self):
        return self._log.read_text()

    @property
    def url(self):
        return f"http://{HOST}:{self.port}"

    @property
    def place(self):
        return HOST, self.port

    def post(self, body, token=None, path="/events", headers=()):
        connection = http.client.HTTPConnection(HOST, self.port, timeout=PATIENCE)
        connection.request("POST", path, body, {"Authorization": f"Bearer {token or self.token}", **dict(headers)})
        status = connection.getresponse().status
        connection.close()
        return status

    def get(self, path):
        """What a page says to those who have the token."""
        connection = http.client.HTTPConnection(HOST, self.port, timeout=PATIENCE)
        connection.request("GET", path, headers={"Authorization": f"Bearer {self.token}"})
        text = connection.getresponse().read().decode()
        connection.close()
        return text

    def ask(self, metric, *options):
        """What the command line says, as rows."""
        command = [sys.executable, "-m", "regstats", metric, "--data", str(self.data), "--format", "json", *options]
        return json.loads(subprocess.run(command, capture_output=True, check=True, text=True).stdout)

    def total(self, metric, column, *options):
        return sum(row[column] for row in self.ask(metric, *options))


class Inbox:
    """For a mail server: what it has taken, whom it refuses, and what it says instead of taking anything."""

    def __init__(self):
        self.taken, self.refuse, self.says = [], set(), None

    async def handle_RCPT(self, server, session, envelope, address, options):  # noqa: N802
        if address in self.refuse:
            return "550 no such mailbox"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):  # noqa: N802
        if self.says:
            return self.says
        self.taken.append(envelope)
        return "250 OK"

    @property
    def mails(self):
        return [message_from_bytes(envelope.content, policy=policy.default) for envelope in self.taken]


@contextmanager
def mail_server(inbox, **options):
    """A real one on loopback; its port."""
    server = Controller(inbox, hostname=HOST, port=free_port(), **options)
    server.start()
    try:
        yield server.port
    finally:
        server.stop()
