"""`regstats serve`: the worker processes that take deliveries, and upkeep of the store.

Workers only append to their journals. The process that started them seals: so sealing never takes time from a delivery,
a worker that dies leaves a segment that is sealed like any other, and when the workers have stopped, what they left is
sealed before `serve` returns.
"""

import functools
import multiprocessing
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from logging import getLogger

from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.log import LogLevels
from granian.server import MPServer

from regstats import logs
from regstats.app import CONNECTIONS, run_every, worker
from regstats.config import Settings, check_exposure
from regstats.errors import ConfigError
from regstats.store import Store
from regstats.upkeep import Upkeep

_log = getLogger(__name__)

_COMPACT_SECONDS, _SEND_SECONDS, _REPORT_SECONDS = 15, 15, 60
_DEPLOY_SECONDS = 0.005  # between two looks for what is pushed
_STOP_SECONDS = 5  # for what is under way when the server stops; then workers are killed, and nothing answered is lost


def serve(settings: Settings) -> None:
    """Runs the collector until SIGTERM or SIGINT; then answers what it has taken, seals it, and returns.

    Raises ConfigError where the address is not safe or not free, StoreError where the store cannot be made.
    """
    check_exposure(settings)
    _check_free(settings.host, settings.port)
    store = Store(settings.data, create=settings.only != "web")
    logs.configure()
    if settings.only == "web":
        _run(settings, store)
    else:
        _collect(settings, store)
    _log.info("Stopped.")


def _collect(settings: Settings, store: Store) -> None:
    """Keeps the store in order while the workers run, which wait for nothing of that."""
    upkeep = Upkeep(store, settings)
    try:
        with (
            _every(settings.seal_interval, upkeep.seal),
            _every(_COMPACT_SECONDS, upkeep.compact),
            _every(_REPORT_SECONDS, upkeep.report),
            _every(_SEND_SECONDS, upkeep.send),
            _deploying(upkeep) if settings.deploy else nullcontext(),
        ):
            _run(settings, store)
    finally:
        upkeep.seal()


def _run(settings: Settings, store: Store) -> None:
    """Runs the workers until a signal."""
    where = {"address": f"http://{settings.host}:{settings.port}", "data": store.address}
    _log.info("Listening.", extra={"fields": where})
    _server(settings).serve(target_loader=functools.partial(worker, settings), wrap_loader=False)


def _server(settings: Settings) -> MPServer:
    multiprocessing.set_start_method("spawn", force=True)  # a fork would copy this process's threads and locks
    return MPServer(
        "regstats",
        address=settings.host,
        port=settings.port,
        interface=Interfaces.WSGI,
        http=HTTPModes.http1,
        http1_settings=HTTP1Settings(header_read_timeout=int(settings.request_timeout * 1000), keep_alive=False),
        workers=settings.workers,
        blocking_threads=CONNECTIONS,
        backpressure=CONNECTIONS,
        respawn_failed_workers=True,
        workers_kill_timeout=_STOP_SECONDS,
        log_level=LogLevels.error,
        log_dictconfig=logs.GRANIAN,
        websockets=False,
    )


@contextmanager
def _deploying(upkeep: Upkeep) -> Iterator[None]:
    """Acts on the rules of deployment until the end of the block, and lets what runs then end.

    It has begun before anything is taken: rules hold for all that comes from then on.
    """
    upkeep.deploy()
    try:
        with _every(_DEPLOY_SECONDS, upkeep.deploy):
            yield
    finally:
        upkeep.end_deployments()


@contextmanager
def _every(seconds: float, call: Callable[[], None]) -> Iterator[None]:
    """Calls something now and every so many seconds, in a thread, until the end of the block."""
    stop = threading.Event()
    thread = run_every(seconds, call, stop)
    try:
        yield
    finally:
        stop.set()
        thread.join()


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
