"""What is compared: ways to take deliveries, each started alone and stopped by its process id."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import sqlite_app
from load import HOST, TOKEN

import regstats
from regstats.app import create_app
from regstats.config import Settings
from regstats.journal import Journal
from regstats.store import Store

PATIENCE = 60  # seconds until something that must happen is given up; nothing is measured by it
HERE = Path(__file__).parent
NGINX = """
daemon off; worker_processes 1; pid nginx.pid; error_log error.log;
events {{ worker_connections 1024; }}
http {{
  log_format times '$msec'; access_log {log};
  client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path f; uwsgi_temp_path u; scgi_temp_path s;
  server {{ listen {host}:{port}; location / {{ return 204; }} }}
}}
"""


@dataclass(frozen=True)
class Subject:
    """A server: its command, given a folder of its own and a port; how many deliveries it stored there, and when."""

    name: str
    command: Callable[[Path, int], list[str]]
    stored: Callable[[Path], int] | None = None
    arrivals: Callable[[Path], list[float]] | None = None

    @contextmanager
    def running(self, folder, port):
        """The process, from when it listens until the end of the block."""
        environment = {key: value for key, value in os.environ.items() if not key.startswith("REGSTATS_")}
        environment |= {"BENCH_FOLDER": str(folder), "BENCH_TOKEN": TOKEN}
        with process(self.command(folder, port), folder / "log", env=environment) as started:
            wait_until(lambda: listens(port) or started.poll() is not None, self.name)
            if started.poll() is not None:
                raise RuntimeError(f"{self.name} does not run:\n{(folder / 'log').read_text()}")
            yield started


@contextmanager
def process(command, log, **options):
    """A process that writes to a log, until the end of the block."""
    with log.open("ab") as output:
        started = subprocess.Popen(command, stdout=output, stderr=output, **options)
    try:
        yield started
    finally:
        if started.poll() is None:
            started.send_signal(signal.SIGTERM)
        started.wait(PATIENCE)


def wait_until(condition, what):
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise RuntimeError(f"Waited {PATIENCE} s for {what}.")
        time.sleep(0.1)


def free_port():
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return probe.getsockname()[1]


def listens(port):
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) == 0


def worker(parent):
    """The process that takes deliveries: not multiprocessing's own helper."""
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    (found,) = [pid for pid in children if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    return int(found)


def memory(pid):
    """Resident, proportional, anonymous, and the peak of resident, in MB."""
    text = "".join(Path(f"/proc/{pid}/{file}").read_text() for file in ("status", "smaps_rollup"))
    kilobytes = dict(re.findall(r"^(VmRSS|Pss|RssAnon|VmHWM):\s+(\d+) kB", text, re.MULTILINE))
    return [round(int(kilobytes[name]) / 1024) for name in ("VmRSS", "Pss", "RssAnon", "VmHWM")]


def _serve(folder, port):
    command = [sys.executable, "-m", "regstats", "serve", "--data", str(folder / "store")]
    return [*command, "--port", str(port), "--token", TOKEN]


def _gunicorn(app, *options):
    command = [sys.executable, "-m", "gunicorn", "--chdir", str(HERE), "--workers", "1", *options, app]
    return lambda _, port: [*command, "--bind", f"{HOST}:{port}"]


def _nginx(log):
    def command(folder, port):
        (folder / "nginx.conf").write_text(NGINX.format(host=HOST, port=port, log=log))
        return ["nginx", "-p", str(folder), "-e", str(folder / "error.log"), "-c", str(folder / "nginx.conf")]

    return command


def same_app():
    """The application of `regstats serve`, for another server."""
    store = Store(Path(os.environ["BENCH_FOLDER"]) / "store", create=True)
    return create_app(Settings(data=str(store.root), token=os.environ["BENCH_TOKEN"]), Journal(store.journal))


def _deliveries(folder):
    return regstats.open(folder / "store").sql("select count(*) from deliveries").fetchall()[0][0]


def _received(folder):
    """When `regstats serve` took each delivery, in seconds, in order."""
    query = "select epoch(received_at) from deliveries order by 1"
    return [seconds for (seconds,) in regstats.open(folder / "store").sql(query).fetchall()]


SYNC, THREADS = ["--worker-class", "sync"], ["--worker-class", "gthread", "--threads", "16"]
SERVE = Subject("regstats serve", _serve, _deliveries, _received)
SAME_APP = [
    Subject("gunicorn sync, same app", _gunicorn("subjects:same_app()", *SYNC), _deliveries),
    Subject("gunicorn gthread, same app", _gunicorn("subjects:same_app()", *THREADS), _deliveries),
]
WITH_SQLITE = [
    Subject("gunicorn sync, Flask + SQLite", _gunicorn("sqlite_app:create_app()", *SYNC), sqlite_app.stored),
    Subject("gunicorn gthread, Flask + SQLite", _gunicorn("sqlite_app:create_app()", *THREADS), sqlite_app.stored),
]
BARE = Subject(
    "bare loop",
    lambda folder, port: [sys.executable, str(HERE / "bare.py"), str(port), str(folder / "requests")],
    lambda folder: (folder / "requests").read_bytes().count(b"POST /events"),
    lambda folder: [float(when) for when in re.findall(rb"([0-9.]+) POST /events", (folder / "requests").read_bytes())],
)
NOTHING = Subject("nginx `return 204`, stores nothing", _nginx("off"))
LOGGED = Subject(
    "nginx `return 204`, with times",
    _nginx("times.log times"),
    arrivals=lambda folder: sorted(map(float, (folder / "times.log").read_text().split())),
)
ALL = [SERVE, *SAME_APP, *WITH_SQLITE, BARE, NOTHING]
