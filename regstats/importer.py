"""`regstats import`: files of payloads, taken in as if they had been posted."""

import gzip
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import chain, islice
from pathlib import Path

import msgspec
from msgspec import Struct

from regstats.errors import InputError
from regstats.events import Delivery, new_ids
from regstats.journal import Journal
from regstats.payloads import kept_headers
from regstats.sealing import Sealed, seal
from regstats.store import Store

_BATCH = 1000  # deliveries that share one fsync
_EARLIEST, _LATEST = datetime(1970, 1, 1, tzinfo=UTC), datetime(9000, 1, 1, tzinfo=UTC)


class _Recorded(Struct):
    """A delivery that somebody recorded: its payload as text, and what else was known."""

    body: str
    headers: dict[str, str] = {}
    received_at: datetime | float | None = None
    remote_address: str | None = None


_ids = new_ids()
_recorded = msgspec.json.Decoder(_Recorded)


def import_file(path: Path, store: Store, source: str, now: datetime) -> Sealed:
    """Takes in one file: a JSON payload per line, or a single JSON payload, either of them gzipped or not.

    A line may also be a recorded delivery: an object with `body` (the payload as text) and perhaps `headers`,
    `received_at`, `remote_address`. Events that are in the store already are not counted again. What cannot be
    understood goes to quarantine. Raises InputError where the file cannot be read.
    """
    journal = Journal(store.journal)
    try:
        deliveries = (_delivery(payload, source, now) for payload in _payloads(path))
        while batch := list(islice(deliveries, _BATCH)):
            journal.append(batch)
    except (OSError, EOFError, gzip.BadGzipFile) as error:
        raise InputError(f"Cannot read {path}: {getattr(error, 'strerror', None) or error}.") from None
    finally:
        journal.rotate()
    return seal(store)


def _payloads(path: Path) -> Iterator[bytes]:
    with path.open("rb") as probe:
        opened = gzip.open if probe.read(2) == b"\x1f\x8b" else open
    with opened(path, "rb") as file:
        first = file.readline()
        rest = file.read() if first and not _is_json(first) else None
        if rest is not None and _is_json(first + rest):  # one payload, over several lines
            yield first + rest
            return
        yield from (line for line in chain([first], file if rest is None else rest.splitlines()) if line.strip())


def _is_json(data: bytes) -> bool:
    try:
        msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return True


def _delivery(line: bytes, source: str, now: datetime) -> Delivery:
    try:
        recorded = _recorded.decode(line)
        body = recorded.body.encode()
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        recorded, body = _Recorded(body=""), line
    return Delivery(
        received_at=_moment(recorded.received_at) or now,
        delivery_id=next(_ids),
        source=source,
        remote_address=recorded.remote_address,
        headers=kept_headers(recorded.headers.items()),
        body=body,
    )


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
