"""The Flask applications, and the worker process that runs them: it appends to its journal, and ends its segments."""

import resource
import threading
from collections.abc import Callable, Iterable
from datetime import datetime
from logging import getLogger
from typing import Any
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from flask import Flask
from werkzeug.exceptions import HTTPException

from regstats import logs, monitoring, status
from regstats.access import Access
from regstats.collector import Intake, problem
from regstats.config import Settings
from regstats.connections import Connections
from regstats.journal import Journal
from regstats.store import local_directory, utc_now

_log = getLogger(__name__)

CONNECTIONS = 1024
"""So many one worker has at once, each with a thread while its body arrives; others wait to be accepted."""


def create_app(
    settings: Settings,
    journal: Journal | None,
    now: Callable[[], datetime] = utc_now,
    doorkeeper: monitoring.Doorkeeper | None = None,
) -> Flask:
    """The application of one worker process; without a journal it takes no deliveries."""
    app, access = Flask("regstats", static_folder=None), Access(settings)
    app.register_blueprint(status.blueprint(settings, journal, access))
    app.register_error_handler(HTTPException, problem)
    routes: Any = app.wsgi_app
    if settings.only != "collector":
        routes = Beside(routes, lambda: _web(settings, access))
    if journal is not None:
        routes = Intake(routes, settings, journal, now, doorkeeper or monitoring.Doorkeeper())
    app.wsgi_app = routes  # type: ignore[method-assign]
    return app


def _web(settings: Settings, access: Access) -> WSGIApplication:
    from regstats import web

    return web.create(settings, access).wsgi_app


class Beside:
    """Passes on what `status` does not answer, to what is made when it is first asked for.

    DuckDB, pandas and plotly take a second and 150 MB, and many a collector is never asked.
    """

    def __init__(self, status: WSGIApplication, make: Callable[[], WSGIApplication]) -> None:
        self._status, self._make = status, make
        self._made: WSGIApplication | None = None
        self._lock = threading.Lock()

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answers one request."""
        if environ["PATH_INFO"] in status.PATHS:
            return self._status(environ, start_response)
        with self._lock:
            self._made = self._made or self._make()
        return self._made(environ, start_response)


def worker(settings: Settings) -> Flask:
    """What each worker process runs."""
    logs.configure()
    _allow_files(2 * CONNECTIONS)
    connections, doorkeeper = Connections(settings.port, settings.request_timeout), monitoring.Doorkeeper()
    journal = None
    if settings.only != "web":
        journal = Journal(local_directory(settings.data) / "journal", monitoring.note_commit)
        run_every(settings.seal_interval, journal.rotate, threading.Event())
    for call in (connections.end_overdue, doorkeeper.tell, monitoring.add_up):
        run_every(1.0, call, threading.Event())
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
