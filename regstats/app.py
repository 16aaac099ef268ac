"""The Flask application, and the worker process that runs it: it appends to its journal, and ends its segments."""

import resource
import threading
from collections.abc import Callable
from datetime import datetime
from logging import getLogger
from pathlib import Path

from flask import Flask
from werkzeug.exceptions import HTTPException

from regstats import logs, monitoring, status
from regstats.collector import Intake, problem
from regstats.config import Settings
from regstats.connections import Connections
from regstats.journal import Journal
from regstats.store import utc_now

_log = getLogger(__name__)

CONNECTIONS = 1024
"""So many one worker has at once, each with a thread while its body arrives; others wait to be accepted."""


def create_app(
    settings: Settings,
    journal: Journal,
    now: Callable[[], datetime] = utc_now,
    doorkeeper: monitoring.Doorkeeper | None = None,
) -> Flask:
    """The application of one worker process."""
    app = Flask("regstats", static_folder=None)
    app.register_blueprint(status.blueprint(settings, journal))
    app.register_error_handler(HTTPException, problem)
    app.wsgi_app = Intake(app.wsgi_app, settings, journal, now, doorkeeper or monitoring.Doorkeeper())  # type: ignore[method-assign]
    return app


def worker(settings: Settings) -> Flask:
    """What each worker process runs."""
    logs.configure()
    _allow_files(2 * CONNECTIONS)
    journal = Journal(Path(settings.data) / "journal", monitoring.note_commit)
    doorkeeper = monitoring.Doorkeeper()
    connections = Connections(settings.port, settings.request_timeout)
    for seconds, call in (
        (settings.seal_interval, journal.rotate),
        (1.0, connections.end_overdue),
        (1.0, doorkeeper.tell),
        (1.0, monitoring.add_up),
    ):
        run_every(seconds, call, threading.Event())
    return create_app(settings, journal, doorkeeper=doorkeeper)


def _allow_files(number: int) -> None:
    """Every connection is an open file, and the usual limit is 1024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < number:
        most = number if hard == resource.RLIM_INFINITY else min(number, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def run_every(seconds: float, call: Callable[[], None], stop: threading.Event) -> threading.Thread:
    """Calls something now and every so many seconds, in a thread, until told to stop."""

    def run() -> None:
        while not stop.is_set():
            try:
                call()
            except Exception:  # noqa: BLE001 - it must not be the last time
                _log.exception("Something that is done regularly failed; it is tried again.")
            stop.wait(seconds)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread
