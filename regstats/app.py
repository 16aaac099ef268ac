"""Wiring: the Flask application, and `serve`, which runs it.

Worker processes only append to their journal and end its segments. The process that started them seals: so sealing
never takes time from a delivery, a worker that dies leaves a segment that is sealed like any other, and when the
workers have stopped, what they left is sealed before `serve` returns.
"""

import functools
import logging
import multiprocessing
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from flask import Flask, Response
from granian.constants import HTTPModes, Interfaces
from granian.log import LogLevels
from granian.server import MPServer
from werkzeug.exceptions import HTTPException

from regstats import collector
from regstats.compact import account
from regstats.config import Settings, check_exposure
from regstats.errors import ConfigError
from regstats.journal import Journal
from regstats.sealing import seal
from regstats.store import Store, utc_now

_log = logging.getLogger(__name__)

_LOG_FORMAT = "%(asctime)s %(levelname)s %(message)s"
_ACCOUNT_SECONDS = 60
_THREADS = 16  # deliveries that one worker handles at once


def create_app(settings: Settings, journal: Journal, now: Callable[[], datetime] = utc_now) -> Flask:
    """The application of one worker process."""
    app = Flask("regstats", static_folder=None)
    app.url_map.strict_slashes = False  # a redirect would lose the delivery: senders follow it without the body
    app.register_blueprint(collector.blueprint(settings, journal, now))
    app.register_error_handler(HTTPException, collector.problem)

    @app.get("/healthz")
    def healthz() -> Response:
        return Response('{"status":"ok"}', mimetype="application/json")

    return app


def serve(settings: Settings) -> None:
    """Runs the collector until SIGTERM or SIGINT; then answers what it has taken, seals it, and returns.

    Raises ConfigError where the address is not safe or not free, StoreError where the store cannot be made.
    """
    check_exposure(settings)
    _check_free(settings.host, settings.port)
    store = Store(settings.data, create=True)
    _configure_logging()
    _attempt(_seal, store)  # what a collector before this one had taken, and could not seal any more
    server = _server(settings)
    try:
        seal, account_for = functools.partial(_attempt, _seal, store), functools.partial(_attempt, _account, store)
        with _every(settings.seal_interval, seal), _every(_ACCOUNT_SECONDS, account_for):
            _log.info("Listening on http://%s:%s, storing in %s.", settings.host, settings.port, store.root.resolve())
            server.serve(target_loader=functools.partial(_worker, settings), wrap_loader=False)
    finally:
        _attempt(_seal, store)
        _log.info("Stopped.")


def _server(settings: Settings) -> MPServer:
    multiprocessing.set_start_method("spawn", force=True)  # a fork would copy this process's threads and locks
    return MPServer(
        "regstats",
        address=settings.host,
        port=settings.port,
        interface=Interfaces.WSGI,
        http=HTTPModes.http1,
        workers=settings.workers,
        blocking_threads=_THREADS,
        respawn_failed_workers=True,
        log_level=LogLevels.error,
        websockets=False,
    )


def _seal(store: Store) -> None:
    sealed = seal(store)
    if sealed.quarantined:
        _log.warning("%d deliveries went to quarantine; see `regstats quarantine`.", sealed.quarantined)


def _account(store: Store) -> None:
    account(store, utc_now())  # without it readers do, each time


def _attempt(upkeep: Callable[[Store], None], store: Store) -> None:
    """Does what need not be done at once. An error is logged: the collector goes on, and the next try may succeed."""
    try:
        upkeep(store)
    except Exception:  # noqa: BLE001 - whatever it is, taking deliveries does not depend on it
        _log.exception("Upkeep of the store failed (%s); nothing is lost, and it is tried again.", upkeep.__name__)


def _worker(settings: Settings) -> Flask:
    """What each worker process runs."""
    _configure_logging()
    journal = Journal(Path(settings.data) / "journal")
    _run_every(settings.seal_interval, journal.rotate, threading.Event())
    return create_app(settings, journal)


@contextmanager
def _every(seconds: float, call: Callable[[], None]) -> Iterator[None]:
    """Calls something every so many seconds, in a thread, until the end of the block."""
    stop = threading.Event()
    thread = _run_every(seconds, call, stop)
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _run_every(seconds: float, call: Callable[[], None], stop: threading.Event) -> threading.Thread:
    def run() -> None:
        while not stop.wait(seconds):
            call()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread


def _check_free(host: str, port: int) -> None:
    """Two servers can share a port unnoticed (SO_REUSEPORT), and each would get some of the deliveries."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        raise ConfigError(
            f"Cannot listen on {host}:{port}: {error.strerror or error}. Choose another --port."
        ) from None


def _configure_logging() -> None:
    logging.basicConfig(level=logging.INFO, format=_LOG_FORMAT)
    logging.Formatter.converter = time.gmtime
