"""The store on disk: Parquet parts, and the manifest that says which of them count.

    DATA/journal/…ndjson                         acknowledged, not yet sealed (`journal`)
    DATA/deliveries/date=<received>/<part>.parquet
    DATA/events/date=<event date>/<part>.parquet
    DATA/pulls/date=<date of the pull>/<part>.parquet   derived from events (`accounting`)
    DATA/manifest.json                           the live parts; replaced atomically: the one point of commit

Writers hold DATA/lock. Readers hold nothing: they read the manifest, then the journal, then see whether the manifest is
still the same.
"""

import fcntl
import itertools
import os
import types
import typing
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Literal, NamedTuple

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from msgspec import Struct

from regstats import journal
from regstats.errors import StoreError, StoreNotFoundError
from regstats.events import Delivery, Event
from regstats.payloads import parse

TableName = Literal["deliveries", "events", "pulls"]

_GRACE = timedelta(minutes=10)  # longer than the longest query

_ARROW_TYPES: dict[Any, pa.DataType] = {
    str: pa.string(),
    int: pa.int64(),
    bool: pa.bool_(),
    bytes: pa.binary(),
    datetime: pa.timestamp("us", tz="UTC"),
    list[str]: pa.list_(pa.string()),
    dict[str, str]: pa.map_(pa.string(), pa.string()),
}


def _schema(row: type[Struct]) -> pa.Schema:
    """The columns of a row type. Only types that every Parquet engine reads: ids are text, times UTC microseconds."""
    fields = []
    for name, hint in typing.get_type_hints(row).items():
        options = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
        (kind,) = (option for option in options if option is not type(None))
        fields.append(pa.field(name, _ARROW_TYPES[kind], nullable=type(None) in options))
    return pa.schema(fields)


DELIVERIES = _schema(Delivery)
EVENTS = _schema(Event)


class Part(Struct, frozen=True, order=True):
    """One immutable Parquet file."""

    table: TableName
    date: date
    name: str
    rows: int

    @property
    def path(self) -> str:
        """Where it is, from the root of the store."""
        return f"{self.table}/date={self.date}/{self.name}.parquet"


class Manifest(Struct, frozen=True):
    """Which parts count, and which segments are in them already."""

    version: int = 0
    parts: list[Part] = []
    sealed: list[str] = []
    """Segments that are in `parts`, and may still be in the journal after a crash."""
    retired: dict[str, datetime] = {}
    """Paths of parts that counted until then. A reader may be at them, so they go a little later."""


Identity = tuple[str, str]


class Sealed(NamedTuple):
    """What a seal did."""

    deliveries: int = 0
    events: int = 0
    duplicates: int = 0
    quarantined: int = 0


class Snapshot(NamedTuple):
    """All that the store held at one moment."""

    key: object
    """Equal for equal contents."""
    parts: list[Part]
    unsealed: list[Delivery]


class Store:
    """A store at a path. Raises StoreNotFoundError where there is none, unless it is to be created."""

    def __init__(self, root: str | os.PathLike[str], *, create: bool = False) -> None:
        self.root = Path(root)
        self.journal = self.root / "journal"
        self._manifest_path = self.root / "manifest.json"
        if create:
            self._create()
        elif not self.root.is_dir():
            raise StoreNotFoundError(
                f"There is no store at {self.root}. Start a collector with `regstats serve --data {self.root}`, "
                f"import payloads with `regstats import FILE --data {self.root}`, or see one with `regstats demo`."
            )

    def _create(self) -> None:
        try:
            self.root.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"Cannot create the store at {self.root}: {error.strerror}.") from None

    def manifest(self) -> Manifest:
        """The manifest now; an empty one where nothing was sealed yet."""
        try:
            return msgspec.json.decode(self._manifest_path.read_bytes(), type=Manifest)
        except FileNotFoundError:
            return Manifest()
        except msgspec.DecodeError as error:
            raise StoreError(f"{self._manifest_path} is damaged: {error}.") from None

    def path_of(self, part: Part) -> str:
        """Where the file of a part is."""
        return str(self.root / part.path)

    def snapshot(self, known: object = None) -> Snapshot | None:
        """All parts and all unsealed deliveries, none missing and none twice; None if it is still `known` (a key).

        A segment leaves the journal only after the manifest has changed. So if the manifest did not change while the
        journal was read, both belong together.
        """
        while True:
            manifest = self.manifest()
            pending = [s for s in journal.segments(self.journal) if s.stem not in manifest.sealed]
            try:
                key = (manifest.version, tuple((s.name, s.stat().st_size) for s in pending))
                if key == known:
                    return None
                unsealed = list(itertools.chain.from_iterable(journal.read(s, finished=False) for s in pending))
            except FileNotFoundError:
                continue
            if self.manifest().version == manifest.version:
                return Snapshot(key, manifest.parts, unsealed)

    def seal(self) -> Sealed:
        """Moves every finished segment of the journal into parts.

        Whatever happens on the way, each delivery and each event ends up in the live parts exactly once: parts are
        named after their segment, they count from the moment the manifest names them, and only then the segment goes.
        """
        total = Sealed()
        if not journal.segments(self.journal):
            return total
        with self._locked():
            for segment in journal.segments(self.journal):
                with journal.claim(segment) as ours:
                    if ours:
                        done = self._seal(segment)
                        total = Sealed(*(a + b for a, b in zip(total, done, strict=True)))
        return total

    def _seal(self, segment: Path) -> Sealed:
        manifest = self.manifest()
        done = Sealed()
        if segment.stem not in manifest.sealed:
            deliveries, events = understand(journal.read(segment, finished=True))
            fresh = self._fresh(events, manifest)
            parts = [*self._write("deliveries", segment.stem, deliveries), *self._write("events", segment.stem, fresh)]
            if parts:
                self._commit(manifest, parts, segment)
            quarantined = sum(delivery.error is not None for delivery in deliveries)
            done = Sealed(len(deliveries), len(fresh), len(events) - len(fresh), quarantined)
        segment.unlink()
        return done

    def _fresh(self, events: list[Event], manifest: Manifest) -> list[Event]:
        """The events that are not in the store yet, each once."""
        by_date: dict[date, list[Event]] = {}
        for event in unique(events):
            by_date.setdefault(event.timestamp.date(), []).append(event)
        known = set().union(*(self._twins(some, manifest) for some in by_date.values()))
        return [event for event in itertools.chain(*by_date.values()) if identity(event) not in known]

    def _twins(self, events: list[Event], manifest: Manifest) -> set[Identity]:
        """The identities, among those of the given events of one date, that are stored already.

        A repeated event has the timestamp of its twin, so only those times are looked at. Where the timestamp is that
        of receipt, the twin may have come up to a day before.
        """
        margin = timedelta(0) if all(event.timestamp_trusted for event in events) else timedelta(days=1)
        first, last = min(e.timestamp for e in events) - margin, max(e.timestamp for e in events)
        among_these = (pc.field("timestamp") >= first) & (pc.field("timestamp") <= last)
        stored: set[Identity] = set()
        for part in manifest.parts:
            if part.table == "events" and first.date() <= part.date <= last.date():
                table = pq.read_table(self.path_of(part), columns=["source", "event_id"], filters=among_these)
                stored.update(zip(*(column.to_pylist() for column in table.columns), strict=True))
        return stored.intersection(map(identity, events))

    def _write(self, table: TableName, name: str, rows: list[Any]) -> list[Part]:
        """One part per date."""
        schema, moment = (EVENTS, "timestamp") if table == "events" else (DELIVERIES, "received_at")
        by_date: dict[date, list[Any]] = {}
        for row in rows:
            by_date.setdefault(getattr(row, moment).date(), []).append(row)
        parts = []
        for day, some in sorted(by_date.items()):
            part = Part(table, day, name, len(some))
            _write_parquet(to_table(some, schema), self.root / part.path)
            parts.append(part)
        return parts

    def replace(self, table: TableName, day: date, name: str, rows: pa.Table) -> None:
        """Puts one part in the place of all parts of a table for a date."""
        part = Part(table, day, name, rows.num_rows)
        with self._locked():
            _write_parquet(rows, self.root / part.path)
            manifest = self.manifest()
            old = [p for p in manifest.parts if (p.table, p.date) == (table, day) and p != part]
            retired = manifest.retired | {p.path: utc_now() for p in old if p.path != part.path}
            kept = [p for p in manifest.parts if p not in old and p != part]
            self._set_manifest(msgspec.structs.replace(manifest, parts=[*kept, part], retired=self._swept(retired)))

    def _swept(self, retired: dict[str, datetime]) -> dict[str, datetime]:
        """Deletes the files of parts that have been retired long enough; the others."""
        kept = {path: since for path, since in retired.items() if utc_now() - since < _GRACE}
        for path in retired.keys() - kept.keys():
            (self.root / path).unlink(missing_ok=True)
        return kept

    def _commit(self, before: Manifest, parts: list[Part], segment: Path) -> None:
        still_there = [name for name in before.sealed if (self.journal / f"{name}{segment.suffix}").exists()]
        self._set_manifest(
            msgspec.structs.replace(before, parts=[*before.parts, *parts], sealed=[*still_there, segment.stem])
        )

    def _set_manifest(self, manifest: Manifest) -> None:
        after = msgspec.structs.replace(manifest, version=manifest.version + 1, parts=sorted(manifest.parts))
        _replace(self._manifest_path, msgspec.json.format(msgspec.json.encode(after), indent=1))

    @contextmanager
    def _locked(self) -> Iterator[None]:
        file = os.open(self.root / "lock", os.O_WRONLY | os.O_CREAT, 0o640)
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield
        finally:
            os.close(file)


def understand(deliveries: Iterable[Delivery]) -> tuple[list[Delivery], list[Event]]:
    """Deliveries with their dialect and, where something in them is not understood, the reason; and their events."""
    understood: list[Delivery] = []
    events: list[Event] = []
    for delivery in deliveries:
        if delivery.error is not None:  # a torn line of the journal is no payload
            understood.append(delivery)
            continue
        parsed = parse(delivery)
        understood.append(msgspec.structs.replace(delivery, dialect=parsed.dialect, error=parsed.error))
        events.extend(parsed.events)
    return understood, events


def identity(event: Event) -> Identity:
    """What makes two events the same one, however often it is delivered."""
    return event.source, event.event_id


def unique(events: Iterable[Event]) -> list[Event]:
    """Each event once, as it first came."""
    first: dict[Identity, Event] = {}
    for event in events:
        first.setdefault(identity(event), event)
    return list(first.values())


def to_table(rows: list[Any], schema: pa.Schema) -> pa.Table:
    """Rows as an Arrow table. A row's attributes are in the order of the columns: the schema was made from them."""
    columns = zip(*map(msgspec.structs.astuple, rows), strict=True) if rows else [()] * len(schema)
    arrays = [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)]
    return pa.Table.from_arrays(arrays, schema=schema)


def utc_now() -> datetime:
    """The clock. Passed in wherever a result depends on it."""
    return datetime.now(UTC)


def _write_parquet(table: pa.Table, path: Path) -> None:
    if not path.parent.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        journal.sync_directory(path.parent.parent)
    unseen = path.with_suffix(".tmp")
    pq.write_table(table, unseen, compression="zstd", version="2.6", data_page_version="2.0")
    _publish(unseen, path)


def _replace(path: Path, data: bytes) -> None:
    unseen = path.with_suffix(".tmp")
    unseen.write_bytes(data)
    _publish(unseen, path)


def _publish(unseen: Path, path: Path) -> None:
    """A file appears under its name whole and durable, or not at all."""
    with unseen.open("rb") as file:
        os.fsync(file.fileno())
    unseen.rename(path)
    journal.sync_directory(path.parent)
