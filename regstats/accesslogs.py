"""`regstats import` of access logs: what happened before there was a collector, counted as if there had been one."""

import hashlib
import io
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple
from zoneinfo import available_timezones

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from regstats import logfiles, sealing
from regstats.database import connect, literal
from regstats.errors import InputError, ParameterError
from regstats.events import Delivery
from regstats.logfiles import STDIN, Advance
from regstats.logformats import FORMATS, Shape, parse, prepare, shape_of
from regstats.logged import Counts, Log, Position
from regstats.overlap import Known
from regstats.parts import EVENTS, Part
from regstats.privacy import OPEN, Privacy
from regstats.store import Store

BLOCK = 24 << 20
"""Bytes of lines that are looked at together."""
KEPT = 1000
"""So many lines of a file that are not understood are kept in quarantine; the others are only counted."""
_ROTATED = 60  # seconds by which logs of a set may overlap
_RICHEST = ("json", "registry", "combined", "haproxy")
_SAMPLE = 1 << 18
_LONGEST = 1 << 16  # bytes of a line in quarantine


class Imported(NamedTuple):
    """What came of a file."""

    lines: int = 0
    events: int = 0
    """New ones."""
    known: int = 0
    """Requests of which the store has the event already."""
    bad: int = 0
    """Lines that were not understood."""
    first: datetime | None = None
    last: datetime | None = None
    """When the first and the last request was, of any kind."""

    def with_lines(self, counts: Counts) -> "Imported":
        """With some lines more."""
        moments = [moment for moment in (self.first, self.last, counts.first, counts.last) if moment is not None]
        return self._replace(
            lines=self.lines + counts.lines,
            known=self.known + counts.known,
            bad=self.bad + counts.bad,
            first=min(moments, default=None),
            last=max(moments, default=None),
        )

    def with_events(self, number: int, new: int) -> "Imported":
        """With some events more, of which some are new."""
        return self._replace(events=self.events + new, known=self.known + number - new)

    @property
    def other(self) -> int:
        """Lines that are understood, and nothing to count."""
        return self.lines - self.events - self.known - self.bad


class Planned(NamedTuple):
    """A file, and what its first lines say of it."""

    path: Path
    shape: Shape | None
    """None of standard input, which can be read only once."""
    first: float = float("inf")
    """When its first line was written, in seconds since 1970."""


class Settings(NamedTuple):
    """How logs are to be read."""

    source: str
    now: datetime
    format: str = "auto"
    """One of `logformats.FORMATS`, or it is found out."""
    zone: str = "UTC"
    """Of times that do not say theirs."""
    privacy: Privacy = OPEN
    """What is kept of people."""
    block: int = BLOCK


def plan(paths: Iterable[Path], settings: Settings) -> list[Planned]:
    """Those of the files that are logs, in the order in which they were written; standard input last.

    Of the same requests the log counts that comes first: those of formats that say more do. Raises InputError where a
    file cannot be read, or is not of the format that is asked for; ParameterError.
    """
    if settings.zone not in available_timezones():
        raise ParameterError(f"tz={settings.zone!r} is not a time zone; one is Europe/Berlin.")
    found = [_planned(path, settings) for path in dict.fromkeys(paths)]
    return sorted((planned for planned in found if planned), key=_order)


def _order(planned: Planned) -> tuple[float, float, str]:
    richness = list(_RICHEST).index(planned.shape.format) if planned.shape else len(_RICHEST)
    return richness, planned.first, str(planned.path)


def _planned(path: Path, settings: Settings) -> Planned | None:
    if path == STDIN:
        return Planned(path, None)
    with logfiles.opened(path) as file, _database(settings) as connection:
        shape = _shape(connection, file, path, settings)
        if shape is None:
            return None
        ((first,),) = connection.sql("select epoch(min(stamp)) from parsed where understood").fetchall()
    return Planned(path, shape, float("inf") if first is None else first)


def _shape(
    connection: duckdb.DuckDBPyConnection, file: io.BufferedReader, path: Path, settings: Settings
) -> Shape | None:
    """How the lines of a file are to be read, told by its first ones, which are not read yet."""
    start = file.peek(_SAMPLE)[:_SAMPLE]
    sample = _numbered(start[: start.rfind(b"\n") + 1] or start + b"\n", 0)
    prepare(connection, settings.now)
    shape = shape_of(connection, sample, FORMATS if settings.format == "auto" else [settings.format])
    if shape is not None:
        parse(connection, sample, shape, whole=True)
    elif settings.format != "auto" or path == STDIN:
        kind = "log" if settings.format == "auto" else f"log of the format {settings.format}"
        raise InputError(f"{_called(path)} is no {kind}: none of its first lines is understood.")
    return shape


def _database(settings: Settings) -> duckdb.DuckDBPyConnection:
    """One that leaves the other cores to others."""
    connection = connect()
    connection.execute("set threads = 1")
    connection.execute(f"set timezone = {literal(settings.zone)}")
    return connection


def _called(path: Path) -> str:
    return "stdin" if path == STDIN else str(path)


def _numbered(block: bytes | bytearray, before: int) -> pa.Table:
    """Lines with their numbers."""
    lines = logfiles.lines(block)
    return pa.table({"n": pa.arange(before + 1, before + len(lines) + 1), "line": lines})


def import_logs(
    planned: Iterable[Planned], store: Store, settings: Settings, advance: Advance = lambda _: None
) -> dict[Path, Imported]:
    """Takes in logs, in this order. What was taken in before, or came from the registry itself, is not counted again.

    It may be interrupted at any moment, and is then done again from the start. `advance` is told how many bytes of the
    files more are read. Raises InputError where a file cannot be read to its end; what came before it stays.
    """
    with _database(settings) as connection:
        work = _Import(connection, store, settings)
        try:
            for one in planned:
                work.take(one, advance)
        except InputError:
            work.settle(all_of_it=True)
            raise
        work.settle(all_of_it=True)
    return work.done


class _Import:
    """An import on its way."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, store: Store, settings: Settings) -> None:
        self._connection, self._store, self._settings = connection, store, settings
        self._known = Known(connection, store, settings.source)
        self._log = Log(connection, self._known.manifests(), settings.now)
        self._origin, self._lines = "", 0
        self.done: dict[Path, Imported] = {}
        self._paths: dict[str, Path] = {}

    def take(self, planned: Planned, advance: Advance) -> None:
        """Takes in one file."""
        with logfiles.opened(planned.path, advance) as file:
            if planned.shape is None:
                with _database(self._settings) as connection:
                    planned = planned._replace(shape=_shape(connection, file, planned.path, self._settings))
            if planned.shape is not None:
                self._take(planned.path, planned.first, planned.shape, file)

    def _take(self, path: Path, first: float, shape: Shape, file: io.BufferedReader) -> None:
        name, before = f"{shape.format}:{_called(path)}", 0
        self._begin(first, shape)
        self._paths[name], self.done[path] = path, Imported()
        for block in logfiles.blocks(file, self._settings.block):
            lines = _numbered(block, before)
            counts = self._log.read(lines, shape, Position(name, self._lines))
            before += lines.num_rows
            self._keep(name, self._log.bad(max(KEPT - self.done[path].bad, 0)) if counts.bad else [])
            self.done[path] = self.done[path].with_lines(counts)
            self.settle()
        self._lines += before

    def _begin(self, first: float, shape: Shape) -> None:
        """What goes on where the file before ended has to do with it; anything else has not."""
        if shape.format != self._origin or first < self._log.horizon - _ROTATED:
            self.settle(all_of_it=True)
            self._log.forget()
            self._known.forget()
        self._origin = shape.format

    def settle(self, *, all_of_it: bool = False) -> None:
        """Counts the events of which all is known, each once."""
        events = _masked(self._log.settle(self._settings.source, all_of_it=all_of_it), self._settings.privacy)
        with self._store.exclusive():
            known = self._known.among(events, self._origin)
            fresh = events.filter(pc.invert(pc.is_in(events["_n"], value_set=pa.array(known)))) if known else events
            parts = list(self._written(fresh))
            if parts:
                self._store.commit(add=parts)
        there, new = Counter(events["_file"].to_pylist()), Counter(fresh["_file"].to_pylist())
        for file, number in there.items():
            path = self._paths[file]
            self.done[path] = self.done[path].with_events(number, new[file])

    def _written(self, events: pa.Table) -> Iterator[Part]:
        """New events as parts, one per date."""
        rows = events.select(EVENTS.names).cast(EVENTS)
        dates = pc.cast(pc.floor_temporal(rows["timestamp"], unit="day"), pa.date32())
        name = hashlib.sha256("".join(rows["event_id"].to_pylist()).encode()).hexdigest()[:24]
        for day in sorted(pc.unique(dates).to_pylist()):
            yield self._store.write("events", day, f"log-{name}", rows.filter(pc.equal(dates, day)))

    def _keep(self, file: str, bad: list[tuple[int, str]]) -> None:
        """Puts lines that are not understood into quarantine, if they are not there yet."""
        deliveries = [self._delivery(file, number, line) for number, line in bad]
        if not deliveries:
            return
        with self._store.exclusive():
            there = set(self._quarantined())
            fresh = [delivery for delivery in deliveries if delivery.delivery_id not in there]
            if fresh:
                name = hashlib.sha256("".join(delivery.delivery_id for delivery in fresh).encode()).hexdigest()[:24]
                sealing.add(self._store, f"log-{name}", fresh)

    def _delivery(self, file: str, number: int, line: str) -> Delivery:
        body = line.encode()[:_LONGEST]
        return Delivery(
            received_at=self._settings.now,
            delivery_id=f"{file}:{number}:{hashlib.sha256(body).hexdigest()[:12]}",
            source=self._settings.source,
            headers={},
            body=body,
        )

    def _quarantined(self) -> Iterator[Any]:
        for part in self._store.manifest().parts:
            if part.table == "deliveries":
                lines = self._store.read(part, ["delivery_id"], pc.field("error").is_valid())
                yield from lines["delivery_id"].to_pylist()


def _masked(rows: pa.Table, privacy: Privacy) -> pa.Table:
    """Events in which people are changed; each of them is looked at once."""
    for name, mask in (("actor", privacy.actor), ("client_address", privacy.address)) if privacy.is_on else ():
        seen = rows[name].combine_chunks().dictionary_encode()
        kept = pa.array([mask(one) for one in seen.dictionary.to_pylist()], pa.string())
        rows = rows.set_column(rows.schema.get_field_index(name), name, kept.take(seen.indices))
    return rows
