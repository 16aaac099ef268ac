"""`regstats check`: is everything in the store as it was promised? And `--repair`, for what can be repaired."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from datetime import date, datetime
from functools import partial

import duckdb
import msgspec
import pyarrow as pa
from msgspec import Struct

from regstats import accounting, journal, moves
from regstats.compact import has_rows_of_its_own, remove, unfinished
from regstats.errors import StoreError
from regstats.events import TORN, unique
from regstats.parts import EVENTS, KEYS, MOMENTS, SCHEMAS, Part, TableName, by_date, describe, to_table
from regstats.payloads import understand
from regstats.rebuild import deliveries_of, make_anew
from regstats.storage import MANIFEST
from regstats.store import Store

_NEEDS_REBUILD = "make the events anew from the deliveries"


class Finding(Struct, frozen=True):
    """Something that is not as it should be."""

    where: str
    """The file, from the root of the store."""
    what: str
    repair: str
    """What makes it right, or made it."""
    mend: Callable[[], object] | None = None
    """Does so; where it is None, `rebuild` does."""
    is_problem: bool = True
    """Whether a promise is broken. Else it is only untidy, as after a crash, and a running collector sees to it."""
    is_repaired: bool = False


def check(store: Store, now: datetime, *, repair: bool = False, deep: bool = False) -> list[Finding]:
    """What is not as it should be; nothing, if all is well. With `repair` each is repaired as it is found.

    `deep` also reads every delivery again, to see whether all its events are there, and derives everything else again,
    which takes as long as `rebuild`. The store is locked meanwhile: deliveries are taken, and sealed afterwards.
    """
    steps = [_manifest, _parts, _orphans, _repetitions, _journal, _left, *([_events, _derived] if deep else [])]
    findings: list[Finding] = []
    with store.exclusive() if store.is_writable() else nullcontext():
        for step in steps:
            found = list(step(store))
            findings += _mended(found, store, now) if repair else found
            if not repair and any(finding.is_problem for finding in found):
                break  # what comes after relies on it
    return findings


def _mended(findings: list[Finding], store: Store, now: datetime) -> list[Finding]:
    for finding in findings:
        if finding.mend is not None:
            finding.mend()
    if any(finding.mend is None for finding in findings):
        make_anew(store, now)
    return [msgspec.structs.replace(finding, is_repaired=True) for finding in findings]


def _manifest(store: Store) -> Iterator[Finding]:
    try:
        store.manifest()
    except StoreError as error:
        yield Finding(
            MANIFEST,
            str(error).partition(" `regstats")[0],
            "set it aside, and take in all parts that are there",
            partial(store.set_aside, MANIFEST),
        )


def _parts(store: Store) -> Iterator[Finding]:
    """Each part is there, can be read, and holds what the manifest says."""
    for part in store.manifest().parts:
        where = part.path
        try:
            actual = _described(store, part)
        except (OSError, pa.ArrowException, KeyError) as error:
            reason = str(error).partition("\n")[0]
            yield Finding(where, f"Cannot be read: {reason}.", _loss(part), partial(_give_up, store, part))
            if part.table == "events":
                yield Finding(where, "Its events do not count now.", _NEEDS_REBUILD)
            continue
        if actual != part:
            what = f"Holds {actual.rows:,} rows, {actual.early:,} early, {actual.late:,} late; not {part.rows:,}, "
            what += f"{part.early:,}, {part.late:,} as the manifest says."
            mend = partial(store.commit, add=[actual], drop=[part])
            yield Finding(where, what, "correct the manifest", mend)


def _described(store: Store, part: Part) -> Part:
    """The part as it really is, after reading all of it."""
    table = store.read(part)
    missing = [f.name for f in SCHEMAS.get(part.table, []) if f.name not in table.schema.names]
    if missing:
        raise KeyError(f"no column {', '.join(missing)}")
    actual = describe(part.table, part.date, part.name, table)
    rows = Counter(table["date"].to_pylist()) if part.days else {}
    days = tuple(msgspec.structs.replace(day, rows=rows.get(day.date, 0)) for day in part.days)
    return msgspec.structs.replace(actual, days=days)


def _loss(part: Part) -> str:
    if part.table == "deliveries":
        return "set it aside; its deliveries are lost, their events stay"
    return "set it aside"


def _give_up(store: Store, part: Part) -> None:
    store.commit(drop=[part])
    store.set_aside(part.path)


def _orphans(store: Store) -> Iterator[Finding]:
    """No file looks like a part and does not count."""
    for orphan in store.orphans():
        if has_rows_of_its_own(store, orphan):
            what = "Does not count, and holds rows that are nowhere else."
            yield Finding(orphan.path, what, "take them in", partial(_adopt, store, orphan))
        else:
            what = "Does not count, and holds nothing that is not elsewhere: left behind by interrupted work."
            yield Finding(orphan.path, what, "remove it", partial(store.remove, orphan), is_problem=False)


def _adopt(store: Store, orphan: Part) -> None:
    """Makes those rows of an orphan count that do not yet."""
    key = ", ".join(KEYS[orphan.table])
    live = by_date(store.manifest().parts, orphan.table).get(orphan.date, [])
    columns = SCHEMAS[orphan.table].names
    rows = f"from (select {', '.join(columns)} from ({store.rows([orphan], columns)}))"
    if live:
        rows += f" anti join (select {key} from ({store.rows(live, KEYS[orphan.table])})) using ({key})"
    with store.connect() as connection:
        table = connection.sql(rows).to_arrow_table().cast(SCHEMAS[orphan.table])
    store.commit(add=[store.write(orphan.table, orphan.date, f"adopted-{orphan.name}", table)])
    store.remove(orphan)


def _repetitions(store: Store) -> Iterator[Finding]:
    """No delivery, no event and no deployment is there twice."""
    for table in KEYS:
        with store.connect() as connection:
            for day, count in connection.sql(_repeated(store, table)).fetchall() if _of(store, table) else []:
                mend = partial(_without_repetitions, store, table, day)
                yield Finding(f"{table}/date={day}", f"{count:,} {table} are there twice.", "remove one of each", mend)


def _of(store: Store, table: TableName) -> list[Part]:
    return [part for part in store.manifest().parts if part.table == table]


def _repeated(store: Store, table: TableName) -> str:
    """How many rows of each date have been there before."""
    key = ", ".join(KEYS[table])
    rows = f"select {key}, date from ({store.rows(_of(store, table), KEYS[table])})"
    numbered = f"select date, row_number() over (partition by {key} order by date) as number from ({rows})"
    return f"select date, count(*) from ({numbered}) where number > 1 group by date order by date"


def _without_repetitions(store: Store, table: TableName, day: date) -> None:
    """Makes one part of a date's, without the rows that are in it twice, or at a date before it."""
    key, columns = ", ".join(KEYS[table]), ", ".join(SCHEMAS[table].names)
    own = store.rows(by_date(store.manifest().parts, table)[day], SCHEMAS[table].names)
    before = f"select {key} from ({store.rows(_of(store, table), KEYS[table])}) where date < '{day}'"
    first = f"select *, row_number() over (partition by {key} order by {MOMENTS[table]}) as number from ({own})"
    query = f"""
        with first as ({first}), before as ({before})
        select {columns} from first anti join before using ({key}) where number = 1
    """
    with store.connect() as connection:
        rows = connection.sql(query).to_arrow_table().cast(SCHEMAS[table])
    store.replace(table, day, f"once-{store.manifest().version + 1}", rows)


def _journal(store: Store) -> Iterator[Finding]:
    """What was torn was never acknowledged: sealing keeps it in quarantine."""
    for segment in journal.segments(store.journal):
        with journal.claim(segment) as ours:
            torn = sum(delivery.source == TORN for delivery in journal.read(segment, finished=True)) if ours else 0
        if torn:
            what = f"{torn:,} lines are torn; they were never acknowledged."
            yield Finding(f"journal/{segment.name}", what, "seal it", lambda: None, is_problem=False)


def _left(store: Store) -> Iterator[Finding]:
    for path in unfinished(store):
        what = "Was not finished: left behind by interrupted work."
        yield Finding(str(path.relative_to(store.root)), what, "remove it", partial(remove, path), is_problem=False)


def _events(store: Store) -> Iterator[Finding]:
    """Every event that is in a delivery is in the store."""
    events = _of(store, "events")
    stored = store.rows(events, KEYS["events"]) if events else "select '' as source, '' as event_id where false"
    with store.connect() as connection:
        connection.execute(f"create table stored as select source, event_id from ({stored})")
        for part in (part for part in store.manifest().parts if part.table == "deliveries"):
            missing, differing = _compared(connection, store, part)
            if missing:
                yield Finding(part.path, f"{missing:,} events of its deliveries are not there.", _NEEDS_REBUILD)
            if differing:
                what = f"{differing:,} of its deliveries are understood differently now."
                yield Finding(part.path, what, _NEEDS_REBUILD, is_problem=False)


def _compared(connection: duckdb.DuckDBPyConnection, store: Store, part: Part) -> tuple[int, int]:
    """How many events of the deliveries of a part are missing, and how many deliveries are understood differently."""
    missing = differing = 0
    for batch in deliveries_of(store, part):
        deliveries, events = understand(batch)
        differing += sum(old != new for old, new in zip(batch, deliveries, strict=True))
        connection.register("expected", to_table(list(unique(events).values()), EVENTS))
        absent = "select count(*) from expected anti join stored using (source, event_id)"
        ((count,),) = connection.sql(absent).fetchall()
        missing += count
    return missing, differing


def _derived(store: Store) -> Iterator[Finding]:
    """What is kept of a date is what would be derived now."""
    parts = store.manifest().parts
    for derived in accounting.DERIVED:
        for day, (part, _) in derived.kept(parts).items():
            made = derived.of_date(store, parts, day)
            if not made.equals(accounting.rows_of(store, part, day).cast(made.schema)):
                what, mend = f"Its {derived.table} are not those of the events.", partial(_give_up, store, part)
                yield Finding(part.path, what, "account for the date again", mend)
    for part in moves.wrong(store, parts):
        what = "Its moves are not those of the changes."
        yield Finding(part.path, what, "account for the date again", partial(_give_up, store, part))
