"""The store: parts, and the manifest that says which of them count.

    DATA/journal/…ndjson      acknowledged, not yet sealed (`journal`)
    DATA/ledger/…json         deployments, likewise (`ledger`)
    DATA/<table>/date=…/…     parts (`parts`), or month=…
    DATA/manifest.json        the live parts; replaced atomically: the one point of commit

Writers hold DATA/lock. Readers hold nothing: they read the manifest, then the journal, then see whether the manifest is
still the same. In object storage there are the parts, the manifest and the lock; the rest is in a local directory.
"""

import hashlib
import itertools
import os
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from msgspec import Struct

from regstats import extras, journal, parts
from regstats.database import connect_for_upkeep, read_parquet
from regstats.errors import StoreError, StoreNotFoundError
from regstats.events import Delivery, Deployment
from regstats.ledger import Ledger
from regstats.parts import Part, Span, TableName, by_date
from regstats.storage import MANIFEST, Disk, Source, Storage, is_url

if TYPE_CHECKING:
    import duckdb

GRACE = timedelta(minutes=10)
"""How long a part is kept after it was replaced: longer than the longest query."""


_SPANS = 10_000
"""Of so many parts it is remembered between which moments their rows lie."""


class Manifest(Struct, frozen=True):
    """Which parts count, and which segments are in them already."""

    version: int = 0
    parts: list[Part] = []
    sealed: list[str] = []
    """Segments that are in `parts`, and may still be in the journal after a crash."""
    retired: dict[str, datetime] = {}
    """Paths of parts that counted until then. A reader may be at them, so they go a little later."""


class Snapshot(NamedTuple):
    """All that the store held at one moment."""

    key: object
    """Equal for equal contents."""
    parts: list[Part]
    unsealed: list[Delivery]
    deployments: list[Deployment]
    """Those that are not in parts."""


class Store:
    """A store at a path. Raises StoreNotFoundError where there is none, unless it is to be created."""

    def __init__(self, place: str | os.PathLike[str], *, create: bool = False) -> None:
        self.place = os.fspath(place)
        """A directory, or the address of object storage, as it was given."""
        self.root = local_directory(self.place)
        """The directory of what is on this machine's disk in any case: journal, ledger, outbox."""
        is_remote = is_url(self.place)
        self._storage = _storage_of(self.place, self.root)
        self._spans: dict[Part, Span] = {}
        self.journal = self.root / "journal"
        self.ledger = Ledger(self.root)
        if create or is_remote:
            self._create(self.journal if create and is_remote else self.root)
        if not (create or self._is_there(is_remote)):
            raise StoreNotFoundError(
                f"There is no store at {self.place}. Start a collector with `regstats serve --data {self.place}`, "
                f"import payloads with `regstats import FILE --data {self.place}`, or see one with `regstats demo`."
            )

    def _create(self, folder: Path) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            hint = "" if str(self.root) == self.place else " $REGSTATS_STATE can name another directory."
            raise StoreError(f"Cannot create the store at {self.root}: {error.strerror}.{hint}") from None

    def _is_there(self, is_remote: bool) -> bool:
        return (self.journal.is_dir() or self.manifest().version > 0) if is_remote else self.root.is_dir()

    @property
    def address(self) -> str:
        """Where it is, for whoever is in another directory."""
        return address_of(self.place)

    def manifest(self) -> Manifest:
        """The manifest now; an empty one where nothing was sealed yet."""
        try:
            return msgspec.json.decode(self._storage.manifest(), type=Manifest)
        except FileNotFoundError:
            return Manifest()
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise StoreError(
                f"{self.place}/{MANIFEST} is damaged: {error}. `regstats check --repair` makes it anew from the parts."
            ) from None

    def url_of(self, part: Part) -> str:
        """Where the file of a part is, as DuckDB calls it."""
        return self._storage.url(part.path)

    def open(self, part: Part) -> str | Source:
        """The file of a part, for PyArrow."""
        return self._storage.open(part.path)

    def read(self, part: Part, columns: Sequence[str] | None = None, filters: pc.Expression | None = None) -> pa.Table:
        """The rows of a part, or those that are asked for."""
        return pq.read_table(self.open(part), columns=columns, filters=filters, partitioning=None)

    def span(self, part: Part) -> Span:
        """Between which moments the rows of a part lie. It is looked for once, because parts do not change."""
        if part not in self._spans:
            if len(self._spans) >= _SPANS:
                self._spans.clear()
            self._spans[part] = parts.span(pq.read_metadata(self.open(part)), part.table)
        return self._spans[part]

    def rows(self, parts: Iterable[Part], columns: Iterable[str]) -> str:
        """The rows of some parts, one at least, as a query of DuckDB."""
        return read_parquet(map(self.url_of, parts), columns)

    def connect(self, memory: str = "2GB") -> "duckdb.DuckDBPyConnection":
        """A database for upkeep of this store, which is to be closed."""
        connection = connect_for_upkeep(self.root, memory)
        self.introduce(connection)
        return connection

    def introduce(self, connection: "duckdb.DuckDBPyConnection") -> None:
        """Lets a connection read parts of this store."""
        self._storage.introduce(connection)

    def snapshot(self, known: object = None) -> Snapshot | None:
        """All parts, deliveries and deployments, none missing and none twice; None if it is still `known` (a key).

        A segment leaves the journal, and a deployment the ledger, only after the manifest has changed. So if it did not
        change while they were read, all belong together.
        """
        while True:
            manifest = self.manifest()
            pending = [s for s in journal.segments(self.journal) if not self.is_sealed(s.stem, manifest)]
            try:
                key = (manifest.version, *map(_state, pending), *map(_state, self.ledger.files()))
                if key == known:
                    return None
                unsealed = list(itertools.chain.from_iterable(journal.read(s, finished=False) for s in pending))
                deployments = self.ledger.read()
            except FileNotFoundError:
                continue
            if self.manifest().version == manifest.version:
                return Snapshot(key, manifest.parts, unsealed, deployments)

    def exclusive(self) -> AbstractContextManager[None]:
        """No other writer until the end of the block. Each change is made within one; it cannot be entered twice."""
        return self._storage.exclusive()

    def is_writable(self) -> bool:
        """Whether it is worth to try and write."""
        return self._storage.is_writable()

    def is_sealed(self, segment: str, manifest: Manifest | None = None) -> bool:
        """Whether what is in a segment of the journal is in parts."""
        return self._storage.owner + segment in (self.manifest() if manifest is None else manifest).sealed

    def write(self, table: TableName, day: date, name: str, rows: pa.Table) -> Part:
        """A part on disk. It counts once it is committed."""
        part = parts.describe(table, day, name, rows)
        with self.appearing(part) as unseen, parts.writer(unseen, rows.schema) as file:
            file.write_table(rows)
        return part

    def appearing(self, part: Part) -> AbstractContextManager[Path]:
        """Where to write the file of a part, which then is there whole and durable, or not at all."""
        return self._storage.appearing(part.path)

    def remove(self, part: Part) -> None:
        """Deletes the file of a part that does not count."""
        self._storage.remove(part.path)

    def set_aside(self, name: str) -> None:
        """Moves a file out of the way, by its path from the root: nothing that may be of use to somebody is deleted."""
        self._storage.set_aside(name, f"damaged/{utc_now():%Y%m%dT%H%M%SZ}-{name.rpartition('/')[2]}")

    def commit(
        self,
        *,
        add: Iterable[Part] = (),
        drop: Iterable[Part] = (),
        sealed: str | None = None,
        grace: timedelta | None = None,
    ) -> None:
        """From now on the parts to `add` count and those to `drop` do not, and the segment `sealed` is in them.

        Files of parts that were dropped go after `grace`, the usual one if none is given.
        """
        before, added, dropped, mine = self.manifest(), set(add), set(drop), self._storage.owner
        live = sorted(added.union(part for part in before.parts if part not in dropped))
        paths = {part.path for part in live}
        retired = before.retired | {part.path: utc_now() for part in dropped}
        kept, gone = _swept({path: since for path, since in retired.items() if path not in paths}, grace)
        after = Manifest(
            version=before.version + 1,
            parts=live,
            sealed=[*(s for s in before.sealed if not self._is_over(s)), *([] if sealed is None else [mine + sealed])],
            retired=kept,
        )
        self._storage.publish(msgspec.json.format(msgspec.json.encode(after), indent=1))
        for path in gone:
            self._storage.remove(path)

    def _is_over(self, sealed: str) -> bool:
        """Whether a segment that is sealed has gone from the journal; of other machines' nobody knows here."""
        mine = self._storage.owner
        return sealed.startswith(mine) and not journal.exists(self.journal, sealed.removeprefix(mine))

    def replace(self, table: TableName, day: date, name: str, rows: pa.Table) -> None:
        """Puts one part in the place of all parts of a table for a date."""
        part = self.write(table, day, name, rows)
        self.commit(add=[part], drop=(p for p in by_date(self.manifest().parts, table).get(day, []) if p != part))

    def orphans(self) -> list[Part]:
        """Files that look like parts, and neither count, nor have counted until a moment ago, nor will.

        Parts named after a segment that is still in the journal are of a seal that was interrupted: it is done again.
        """
        manifest = self.manifest()
        known = {part.path for part in manifest.parts} | manifest.retired.keys()
        found = map(parts.at, self._storage.names())
        return [
            part
            for part in found
            if part is not None and part.path not in known and not journal.exists(self.journal, part.name)
        ]


def _storage_of(place: str, local: Path) -> Storage:
    if not is_url(place):
        return Disk(local)
    bucket: Storage = extras.module("regstats.objects", "s3", "obstore and fsspec").Bucket(place, local)
    return bucket


def local_directory(place: str) -> Path:
    """Where a store keeps what has to be on a local disk: the store itself, or, of object storage, its own directory.

    That is `$REGSTATS_STATE`; by default one of this user's, for each store.
    """
    if not is_url(place):
        return Path(place)
    if own := os.environ.get("REGSTATS_STATE"):
        return Path(own)
    users = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
    return users / "regstats" / hashlib.sha256(place.rstrip("/").encode()).hexdigest()[:16]


def address_of(place: str) -> str:
    """Where a store is, for whoever is in another directory."""
    return place if is_url(place) else str(Path(place).resolve())


def _swept(retired: dict[str, datetime], grace: timedelta | None) -> tuple[dict[str, datetime], list[str]]:
    """Of parts that have been retired those that stay a little, and those whose files are to be deleted."""
    last = utc_now() - (GRACE if grace is None else grace)
    kept = {path: since for path, since in retired.items() if since > last}
    return kept, sorted(retired.keys() - kept.keys())


def _state(path: Path) -> tuple[str, int, int]:
    """What changes when a file that is appended to, or replaced, does."""
    stat = path.stat()
    return path.name, stat.st_size, stat.st_ino


def utc_now() -> datetime:
    """The clock. Passed in wherever a result depends on it."""
    return datetime.now(UTC)
