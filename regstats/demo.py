"""`regstats demo`: the whole job, shown once, over real HTTP."""

import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryFile
from types import FrameType
from typing import NoReturn

import pyarrow.parquet as pq
from rich.console import Console
from rich.progress import track

from regstats import formats, report, sample
from regstats.errors import ConfigError, RegstatsError
from regstats.events import Delivery
from regstats.stats import Stats, default_data
from regstats.store import Store

_HOST = "127.0.0.1"
_START_SECONDS = 20


def run(data: Path | None, *, keep_serving: bool, out: Path = Path("report.html")) -> None:
    """Starts a collector, replays the sample to it, prints the numbers, writes a report, and goes on serving."""
    console = Console(highlight=False, soft_wrap=True)
    root = _root(data)
    for number in (signal.SIGINT, signal.SIGTERM):  # in the background of a script SIGINT would be ignored
        signal.signal(number, _interrupt)
    with suppress(KeyboardInterrupt), _collector(root) as url:
        deliveries = _recorded()
        console.print(f"A collector listens at {url}/events and stores in {root}.")
        _replay(url, track(deliveries, "Replaying a day of a small team's registry", console=console, transient=True))
        stats = Stats(root)
        stats.now = stats.sql("select max(timestamp) as now from events").to_arrow_table()["now"][0].as_py()
        _print_numbers(console, stats, len(deliveries))
        report.write(stats, out)
        _print_places(console, root, out, url)
        if keep_serving:
            _wait(console)


def _root(data: Path | None) -> Path:
    """Where the demo's store is: never one that holds anything else."""
    root = data or Path(default_data()) / "demo"
    if data is not None and data.exists() and any(data.iterdir()):
        raise ConfigError(f"{data} is not empty, and the demo would mix its numbers with yours; name another --data.")
    return root


def _recorded() -> list[Delivery]:
    """The deliveries of the sample, in the order in which they came."""
    store = Store(sample.path())
    parts = [store.path_of(part) for part in store.manifest().parts if part.table == "deliveries"]
    if not parts:
        raise RegstatsError(f"The sample in {store.root} is missing; reinstall regstats.")
    table = pq.ParquetDataset(parts).read(columns=["received_at", "delivery_id", "source", "headers", "body"])
    rows = table.sort_by([("received_at", "ascending"), ("delivery_id", "ascending")]).to_pylist()
    return [Delivery(**row | {"headers": dict(row["headers"])}) for row in rows]


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
    for title, frame in (
        ("Counts: what is there, and how much is it used?", stats.repositories()),
        ("Cadence: how well is it maintained?", stats.cadence()),
        ("Activity: who does what?", stats.activity()),
    ):
        console.print(f"\n[bold]{title}[/bold] (as of {stats.now:%Y-%m-%d %H:%M} UTC)")
        console.print(formats.as_table(frame), markup=False, end="")


def _print_places(console: Console, root: Path, out: Path, url: str) -> None:
    for what, where in (
        ("The report", str(out.resolve())),
        ("The store", str(root.resolve())),
        ("The collector", f"{url}/events"),
        ("More numbers", f"regstats pulls --data {root} --interval hour --by repository"),
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
