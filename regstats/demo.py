"""`regstats demo`: the whole job, shown once, over real HTTP; or many events, to feel how that is."""

import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryFile
from types import FrameType
from typing import NoReturn

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn, track

from regstats import formats, report, sample
from regstats.errors import ConfigError, RegstatsError
from regstats.events import Delivery
from regstats.sample import grown
from regstats.stats import Stats, default_data
from regstats.store import Store

_HOST = "127.0.0.1"
_START_SECONDS = 20


def run(data: Path | None, *, keep_serving: bool, out: Path = Path("report.html")) -> None:
    """Starts a collector, replays the sample to it, prints the numbers, writes a report, and goes on serving."""
    console = Console(highlight=False, soft_wrap=True)
    root = _root(data, "demo")
    for number in (signal.SIGINT, signal.SIGTERM):  # in the background of a script SIGINT would be ignored
        signal.signal(number, _interrupt)
    with suppress(KeyboardInterrupt), _collector(root) as url:
        console.print(f"A collector listens at {url}/events and stores in {root}.")
        deliveries, what = sample.deliveries(), "Replaying half a year of a small company's registry"
        _replay(url, track(deliveries, what, console=console, transient=True))
        stats = Stats(root, now=sample.NOW)
        _print_numbers(console, stats, len(deliveries))
        report.write(stats, out)
        _print_places(console, root, out, url)
        if keep_serving:
            _wait(console)


def grow(data: Path | None, events: int = grown.EVENTS, length: int = grown.HALF_A_YEAR) -> None:
    """Fills a store with many events, without HTTP, and says what to ask it."""
    root = _root(data, "demo-large")
    started, stored, console = time.monotonic(), 0, Console(highlight=False, soft_wrap=True)
    columns = TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn()
    try:
        with Progress(*columns, console=Console(stderr=True)) as bar:
            task = bar.add_task("Half a year of a grown company's registry", total=length + 1)
            with closing(grown.write(Store(root, create=True), events, length)) as days:
                for stored in days:  # noqa: B007 - the last one is what counts
                    bar.advance(task)
    except KeyboardInterrupt:
        console.print(f"Interrupted; {root} is a store of what was there until then.")
        raise
    _print_grown(console, root, stored, time.monotonic() - started)


def _print_grown(console: Console, root: Path, events: int, seconds: float) -> None:
    size = sum(path.stat().st_size for path in root.rglob("*") if path.is_file())
    console.print(
        f"{events:,} events in {seconds:,.0f} seconds; {size / 1e6:,.0f} MB in {root.resolve()}. "
        f"It ends at {sample.NOW:%Y-%m-%d}. Try next:"
    )
    for command in (
        "top --limit 10",
        "pulls --interval month --by client",
        "anomalies --since 2026-11-01",
        "unused --limit 20",
    ):
        console.print(f"  regstats {command} --data {root}", markup=False)


def _root(data: Path | None, name: str) -> Path:
    """Where the demo's store is: never one that holds anything else."""
    root = data or Path(default_data()) / name
    may_grow = data is None and name == "demo"  # what is replayed again counts once
    if not may_grow and root.exists() and any(root.iterdir()):
        raise ConfigError(f"{root} is not empty, and the demo would mix its numbers with yours; name another --data.")
    return root


@contextmanager
def _collector(root: Path) -> Iterator[str]:
    """A real collector in a process of its own, until the end of the block."""
    port = _free_port()
    environment = {key: value for key, value in os.environ.items() if not key.startswith("REGSTATS_")}
    command = [sys.executable, "-m", "regstats", "serve", "--data", str(root), "--port", str(port)]
    with TemporaryFile() as log:
        process = subprocess.Popen(  # noqa: S603 - our own command
            [*command, "--config", os.devnull],
            env=environment,
            stderr=log,
            start_new_session=True,  # Ctrl-C is for us; we stop it when we are done
        )
        try:
            if not _has_started(port, process):
                log.seek(0)
                raise RegstatsError(f"The collector did not start. It says: {log.read().decode().strip()}")
            yield f"http://{_HOST}:{port}"
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((_HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def _has_started(port: int, process: subprocess.Popen[bytes]) -> bool:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with suppress(OSError), socket.create_connection((_HOST, port), timeout=1):
            return True
        time.sleep(0.05)
    return False


def _replay(url: str, deliveries: Iterable[Delivery]) -> None:
    """Posts each delivery over a connection of its own, as a registry does."""
    address = url.removeprefix("http://")
    for delivery in deliveries:
        connection = http.client.HTTPConnection(address, timeout=10)
        connection.request("POST", "/events", delivery.body, delivery.headers)
        status = connection.getresponse().status
        connection.close()
        if status != http.HTTPStatus.NO_CONTENT:
            raise RegstatsError(f"The collector answered {status} instead of 204.")


def _print_numbers(console: Console, stats: Stats, deliveries: int) -> None:
    stored, quarantined = stats.sql("select count(*) from events").fetchall()[0][0], len(stats.quarantine())
    console.print(
        f"{deliveries:,} deliveries were sent; {stored:,} events are counted. What was sent twice counts once, and "
        f"what is no notification is kept in quarantine ({quarantined:,}) and not counted."
    )
    cadence = stats.cadence()
    for title, frame in (
        ("Counts: what is there, and how much is it used?", stats.repositories()),
        ("Cadence: how well is it maintained?", cadence[cadence["kind"] != "immutable"].reset_index(drop=True)),
        ("Activity: who does what?", stats.activity()),
        ("Anomalies: what is out of the ordinary?", stats.anomalies()),
    ):
        console.print(f"\n[bold]{title}[/bold] (as of {stats.now:%Y-%m-%d %H:%M} UTC)")
        console.print(formats.as_table(frame), markup=False, end="")


def _print_places(console: Console, root: Path, out: Path, url: str) -> None:
    for what, where in (
        ("The report", str(out.resolve())),
        ("The dashboard", f"{url}/?since={sample.NOW - timedelta(days=30):%Y-%m-%d}&until={sample.NOW:%Y-%m-%d}"),
        ("The store", str(root.resolve())),
        ("The collector", f"{url}/events"),
        ("More numbers", f"regstats pulls --data {root} --interval month --by repository"),
    ):
        console.print(f"{what + ':':15}{where}", markup=False)


def _wait(console: Console) -> None:
    """Until Ctrl-C or SIGTERM."""
    console.print("Serving until Ctrl-C.")
    try:
        signal.pause()
    finally:
        console.print("Stopping; what was acknowledged is sealed.")


def _interrupt(_signal: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt
