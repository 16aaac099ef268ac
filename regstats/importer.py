"""`regstats import` of payloads: what registries sent, or what can be downloaded from them, a file at a time.

They become deliveries, as if they had been posted. Access logs are `accesslogs`' business, stores `merging`'s.
"""

import csv
import gc
import hashlib
import io
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import BinaryIO, NamedTuple

import msgspec
import pyarrow as pa
from msgspec import Struct

from regstats import logfiles
from regstats.database import literal
from regstats.events import Delivery
from regstats.logfiles import Advance
from regstats.payloads import DOWNLOADS, FIXED, is_known, kept_headers, parse, whose
from regstats.privacy import OPEN, Privacy, redacted
from regstats.sealing import Sealed, add, seal
from regstats.store import Store

_BATCH, _BATCH_BYTES = 20_000, 32 << 20
"""Deliveries, and bytes of them, that are made into parts at once."""
_EARLIEST, _LATEST = datetime(1970, 1, 1, tzinfo=UTC), datetime(9000, 1, 1, tzinfo=UTC)


class Intake(NamedTuple):
    """On whom payloads are booked, and how they are read."""

    source: str
    now: datetime
    dialect: str | None = None
    """Whose they are, if that is fixed."""
    privacy: Privacy = OPEN


class _Recorded(Struct):
    """A delivery that somebody recorded: its payload, and what else was known."""

    body: msgspec.Raw
    headers: dict[str, str] | None = None
    received_at: datetime | float | None = None
    remote_address: str | None = None


_recorded = msgspec.json.Decoder(_Recorded)
_text = msgspec.json.Decoder(str)
_list = msgspec.json.Decoder(list[msgspec.Raw])


class Imported(NamedTuple):
    """What came of a file."""

    deliveries: int = 0
    """New ones."""
    known: int = 0
    """Deliveries that were taken in before."""
    events: int = 0
    """New ones."""
    duplicates: int = 0
    """Events that are in the store already."""
    quarantined: int = 0

    def plus(self, known: int, sealed: Sealed) -> "Imported":
        """With some deliveries more."""
        more = Imported(sealed.deliveries, known, sealed.events, sealed.duplicates, sealed.quarantined)
        return Imported(*(a + b for a, b in zip(self, more, strict=True)))


def import_file(path: Path, store: Store, intake: Intake, advance: Advance = lambda _: None) -> Imported:
    """Takes in one file, compressed or not: a JSON payload per line; or one in all, or a list of them; or rows of CSV.

    A payload may also be a recorded delivery: an object with `body` (the payload, as text or JSON) and perhaps
    `headers`, `received_at`, `remote_address`. What was taken in from this file before is left out, so it may have
    grown, and an import that was interrupted is done again. Events that are in the store already are not counted
    again. What cannot be understood goes to quarantine. Raises InputError where the file cannot be read; what came
    before stays.
    """
    seal(store)  # so that all that is known is in parts
    done, is_new, told = Imported(), False, None
    with logfiles.opened(path, advance) as file, _nothing_collected():
        for batch in _batches(_deliveries(file, intake)):
            told = _told_since(store, batch[0]) if told is None else told
            with store.exclusive():
                fresh = batch if is_new else _unknown(store, batch)
                is_new = len(fresh) == len(batch)  # then all that comes after it is new, too
                fresh = [one for one in fresh if not _is_told(one, told)]
                done = done.plus(len(batch) - len(fresh), _added(store, fresh))
    return done


@contextmanager
def _nothing_collected() -> Iterator[None]:
    """Nothing that is made of payloads refers to itself: to look for that takes 7 % of the time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _told_since(store: Store, first: Delivery) -> dict[str, datetime]:
    """Since when the registry itself tells of each action; nothing if the first delivery was not downloaded."""
    parts = [part for part in store.manifest().parts if part.table == "events"]
    if not parts or not any(dialect.is_download for dialect in whose(first)):
        return {}
    with store.connect() as connection:
        rows = connection.sql(store.rows(parts, ["source", "dialect", "action", "timestamp"]))
        live = rows.filter(
            f"source = {literal(first.source)} and dialect not in ({', '.join(map(literal, DOWNLOADS))})"
        )
        return dict(live.aggregate("action, min(timestamp)").fetchall())


def _is_told(delivery: Delivery, told: Mapping[str, datetime]) -> bool:
    """Whether it was downloaded, and the registry has told of it itself: of all that is in it, if of the first."""
    events = parse(delivery).events if told else []
    return bool(events) and events[0].timestamp >= told.get(events[0].action, _LATEST)


def _added(store: Store, deliveries: list[Delivery]) -> Sealed:
    if not deliveries:
        return Sealed()
    name = hashlib.sha256("".join(one.delivery_id for one in deliveries).encode()).hexdigest()[:24]
    return add(store, f"imported-{name}", deliveries)


def _unknown(store: Store, batch: list[Delivery]) -> list[Delivery]:
    """Those that are not in the store."""
    parts = [part for part in store.manifest().parts if part.table == "deliveries"]
    if not parts:
        return batch
    ids = pa.table({"delivery_id": [one.delivery_id for one in batch]})
    with store.connect() as connection:
        connection.register("batch", ids)
        stored = store.rows(parts, ["delivery_id"])
        known = set(connection.sql(f"from ({stored}) semi join batch using (delivery_id)").fetchnumpy()["delivery_id"])
    return [one for one in batch if one.delivery_id not in known]


def _batches(deliveries: Iterable[Delivery]) -> Iterator[list[Delivery]]:
    batch: list[Delivery] = []
    size = 0
    for delivery in deliveries:
        batch.append(delivery)
        size += len(delivery.body)
        if len(batch) >= _BATCH or size >= _BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _deliveries(file: BinaryIO, intake: Intake) -> Iterator[Delivery]:
    """Each with an id that says which payload of which file it is: so it has the same one if that is read again."""
    name = ""
    fixed = {} if intake.dialect is None else {FIXED: intake.dialect}
    for number, payload in enumerate(_payloads(file), 1):
        own = hashlib.sha256(payload).hexdigest()[:16]
        name = name or own
        delivery = _delivery(payload, f"{name}-{number}-{own}", intake, fixed)
        yield redacted(delivery, intake.privacy)


# What is in a file


def _payloads(file: BinaryIO) -> Iterator[bytes]:
    """The payloads of a file, told by its first line; those of a list one by one."""
    first = file.readline()
    if not _is_json(first):
        if _is_header(first):
            yield from _rows(chain([first], file))
            return
        rest = file.read()
        if _is_json(first + rest):  # over several lines
            yield from _elements(first + rest)
            return
        file = io.BytesIO(rest)
    for line in chain([first], file):
        payload = line.strip()
        if payload.startswith(b"["):
            yield from _elements(payload)
        elif payload:
            yield payload


def _is_json(data: bytes) -> bool:
    try:
        msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return True


def _elements(data: bytes) -> Iterable[bytes]:
    if not data.startswith(b"["):
        return [data]
    try:
        return [bytes(raw) for raw in _list.decode(data)]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return [data]


def _is_header(line: bytes) -> bool:
    """Whether it is the first line of CSV of which a dialect knows the columns."""
    columns = _columns(line)
    return len(columns) > 1 and is_known(msgspec.json.encode(dict.fromkeys(columns, "")))


def _columns(line: bytes) -> list[str]:
    """Names as dialects have them: `User agent tool` is `user_agent_tool`."""
    cells = next(csv.reader([line.decode("utf-8-sig", errors="replace")]), [])
    return [re.sub(r"\W+", "_", cell.strip().lower()) for cell in cells]


def _rows(lines: Iterable[bytes]) -> Iterator[bytes]:
    """Each row as an object; an empty cell is nothing."""
    text = (line.decode(errors="replace") for line in lines)
    columns = _columns(next(text).encode())
    for row in csv.reader(text):
        if row:
            yield msgspec.json.encode({name: cell or None for name, cell in zip(columns, row, strict=False)})


def _delivery(payload: bytes, delivery_id: str, intake: Intake, fixed: dict[str, str]) -> Delivery:
    """A payload as it would have been received; one that somebody recorded, as it was. `fixed` is a header of all."""
    found = _recorded_in(payload)
    if found is None:
        return Delivery(
            received_at=intake.now,
            delivery_id=delivery_id,
            source=intake.source,
            headers=fixed,
            body=payload,
        )
    recorded, body = found
    return Delivery(
        received_at=_moment(recorded.received_at) or intake.now,
        delivery_id=delivery_id,
        source=intake.source,
        remote_address=recorded.remote_address,
        headers=kept_headers((recorded.headers or {}).items()) | fixed,
        body=body,
    )


_ENVELOPE = (b'{"events"', b'{ "events"')
"""How nearly all payloads begin, and none that somebody recorded."""


def _recorded_in(payload: bytes) -> tuple[_Recorded, bytes] | None:
    """What is known of a delivery that somebody recorded, and its body; None if the payload is only itself."""
    if payload.startswith(_ENVELOPE) or b'"body"' not in payload:
        return None
    try:
        recorded = _recorded.decode(payload)
        body = bytes(recorded.body)
        if body.startswith(b'"'):
            return recorded, _text.decode(body).encode()
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None
    return None if recorded.headers is None else (recorded, body)


def _moment(value: datetime | float | None) -> datetime | None:
    """When it was received, as far as that can be believed; without a zone it is UTC."""
    try:
        if isinstance(value, float | int):
            value = datetime.fromtimestamp(value, UTC)
        elif value is not None:
            value = value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)
    except (OverflowError, ValueError, OSError):
        return None
    return value if value is not None and _EARLIEST <= value <= _LATEST else None
