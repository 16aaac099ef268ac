"""The store on disk: parts, and the manifest that says which of them count.

    DATA/journal/…ndjson      acknowledged, not yet sealed (`journal`)
    DATA/ledger/…json         deployments, likewise (`ledger`)
    DATA/<table>/date=…/…     parts (`parts`), or month=…
    DATA/manifest.json        the live parts; replaced atomically: the one point of commit

Writers hold DATA/lock. Readers hold nothing: they read the manifest, then the journal, then see whether the manifest is
still the same.
"""

import fcntl
import itertools
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from msgspec import Struct

from regstats import journal, parts
from regstats.database import connect_for_upkeep, read_parquet
from regstats.errors import StoreError, StoreNotFoundError
from regstats.events import Delivery, Deployment
from regstats.ledger import Ledger
from regstats.parts import Part, TableName, by_date

if TYPE_CHECKING:
    import duckdb

GRACE = timedelta(minutes=10)
"""How long a part is kept after it was replaced: longer than the longest query."""


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

    def __init__(self, root: str | os.PathLike[str], *, create: bool = False) -> None:
        self.root = Path(root)
        self.journal = self.root / "journal"
        self.ledger = Ledger(self.root)
        self.manifest_path = self.root / "manifest.json"
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
            return msgspec.json.decode(self.manifest_path.read_bytes(), type=Manifest)
        except FileNotFoundError:
            return Manifest()
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise StoreError(
                f"{self.manifest_path} is damaged: {error}. `regstats check --repair` makes it anew from the parts."
            ) from None

    def path_of(self, part: Part) -> str:
        """Where the file of a part is."""
        return str(self.root / part.path)

    def read(self, part: Part, columns: Sequence[str] | None = None, filters: pc.Expression | None = None) -> pa.Table:
        """The rows of a part, or those that are asked for."""
        return pq.read_table(self.path_of(part), columns=columns, filters=filters, partitioning=None)

    def rows(self, parts: Iterable[Part], columns: Iterable[str]) -> str:
        """The rows of some parts, one at least, as a query of DuckDB."""
        return read_parquet(map(self.path_of, parts), columns)

    def connect(self, memory: str = "2GB") -> "duckdb.DuckDBPyConnection":
        """A database for upkeep of this store, which is to be closed."""
        return connect_for_upkeep(self.root, memory)

    def snapshot(self, known: object = None) -> Snapshot | None:
        """All parts, deliveries and deployments, none missing and none twice; None if it is still `known` (a key).

        A segment leaves the journal, and a deployment the ledger, only after the manifest has changed. So if it did not
        change while they were read, all belong together.
        """
        while True:
            manifest = self.manifest()
            pending = [s for s in journal.segments(self.journal) if s.stem not in manifest.sealed]
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

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """No other writer until the end of the block. Each change is made within one; it cannot be entered twice."""
        file = os.open(self.root / "lock", os.O_WRONLY | os.O_CREAT, 0o640)
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield
        finally:
            os.close(file)

    def write(self, table: TableName, day: date, name: str, rows: pa.Table) -> Part:
        """A part on disk. It counts once it is committed."""
        part = parts.describe(table, day, name, rows)
        with self.appearing(part) as unseen, parts.writer(unseen, rows.schema) as file:
            file.write_table(rows)
        return part

    def appearing(self, part: Part) -> AbstractContextManager[Path]:
        """Where to write the file of a part, which then is there whole and durable, or not at all."""
        return parts.appearing(self.root / part.path)

    def remove(self, part: Part) -> None:
        """Deletes the file of a part that does not count."""
        (self.root / part.path).unlink(missing_ok=True)

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
        before, added, dropped = self.manifest(), set(add), set(drop)
        live = sorted(added.union(part for part in before.parts if part not in dropped))
        paths = {part.path for part in live}
        retired = before.retired | {part.path: utc_now() for part in dropped}
        after = Manifest(
            version=before.version + 1,
            parts=live,
            sealed=[*(s for s in before.sealed if journal.exists(self.journal, s)), *([sealed] if sealed else [])],
            retired=self._swept({path: since for path, since in retired.items() if path not in paths}, grace),
        )
        with parts.appearing(self.manifest_path) as unseen:
            unseen.write_bytes(msgspec.json.format(msgspec.json.encode(after), indent=1))

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
        found = (parts.at(path.relative_to(self.root)) for path in self.root.glob("*/*=*/*.parquet"))
        return [
            part
            for part in found
            if part is not None and part.path not in known and not journal.exists(self.journal, part.name)
        ]

    def _swept(self, retired: dict[str, datetime], grace: timedelta | None) -> dict[str, datetime]:
        """Deletes the files of parts that have been retired long enough; the others."""
        last = utc_now() - (GRACE if grace is None else grace)
        kept = {path: since for path, since in retired.items() if since > last}
        for path in retired.keys() - kept.keys():
            (self.root / path).unlink(missing_ok=True)
        return kept


def _state(path: Path) -> tuple[str, int, int]:
    """What changes when a file that is appended to, or replaced, does."""
    stat = path.stat()
    return path.name, stat.st_size, stat.st_ino


def utc_now() -> datetime:
    """The clock. Passed in wherever a result depends on it."""
    return datetime.now(UTC)
