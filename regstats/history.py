"""`regstats import`: which of its files are what, one after the other, and what there is to say of each."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import NamedTuple

from regstats import accesslogs, importer, merging
from regstats.accesslogs import Imported as Logged
from regstats.config import DEFAULT_SOURCE, Settings
from regstats.importer import Imported, Intake
from regstats.store import Store
from regstats.terminal import work

PAYLOADS = "payloads"


class Asked(NamedTuple):
    """How files are to be taken in."""

    source: str | None
    """On whom all is booked; None: nobody said."""
    form: str
    """What they are: payloads, or one of `logformats.FORMATS`, or `auto`."""
    tz: str
    now: datetime
    settings: Settings

    @property
    def intake(self) -> Intake:
        """For payloads."""
        source = self.source or DEFAULT_SOURCE
        return Intake(source, self.now, self.settings.source(source).dialect, self.settings.privacy)

    @property
    def of_logs(self) -> accesslogs.Settings:
        """For access logs."""
        source = self.source or DEFAULT_SOURCE
        return accesslogs.Settings(source, self.now, self.form, self.tz, privacy=self.settings.privacy)


def taken_in(paths: Sequence[Path], store: Store, asked: Asked) -> Iterator[str]:
    """Takes in files, and says of each what came of it. Raises InputError where one cannot be read."""
    stores = [path for path in paths if merging.is_store(path)]
    files = [path for path in paths if path not in stores]
    logs = accesslogs.plan(files, asked.of_logs) if asked.form != PAYLOADS else []
    for path in stores:
        done = work(f"Importing {path}", partial(merging.import_store, path, store, asked.source))
        yield f"{path}: {_of_payloads(done)}"
    for path in (path for path in files if path not in {log.path for log in logs}):
        size = path.stat().st_size if path.is_file() else None
        done = work(f"Importing {path}", partial(importer.import_file, path, store, asked.intake), total=size)
        yield f"{path}: {_of_payloads(done)}"
    if logs:
        size = sum(log.path.stat().st_size for log in logs if log.path.is_file())
        told = work(
            "Importing", lambda advance: accesslogs.import_logs(logs, store, asked.of_logs, advance), total=size
        )
        yield from (f"{path}: {_of_log(one)}" for path, one in told.items())


def _of_payloads(done: Imported) -> str:
    known = f" ({done.known:,} known already)" if done.known else ""
    return (
        f"{done.deliveries:,} deliveries{known}, {done.events:,} new events, {done.duplicates:,} known already, "
        f"{done.quarantined:,} not understood"
    )


def _of_log(done: Logged) -> str:
    span = f", {done.first:%Y-%m-%d %H:%M} to {done.last:%Y-%m-%d %H:%M} UTC" if done.first else ""
    kept = f" (the first {accesslogs.KEPT:,} of them are in quarantine)" if done.bad > accesslogs.KEPT else ""
    return (
        f"{done.lines:,} lines, {done.events:,} new events, {done.known:,} known already, {done.other:,} with nothing "
        f"to count, {done.bad:,} not understood{kept}{span}"
    )
