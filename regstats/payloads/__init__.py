"""Bytes and headers → events. One module per dialect, each a pure function; this one finds out whose payload it is."""

from collections.abc import Iterable
from typing import NamedTuple

import msgspec

from regstats.errors import PayloadError
from regstats.events import TORN, Delivery, Event
from regstats.payloads import distribution

Document = dict[str, msgspec.Raw]

_DIALECTS = (distribution,)
_REASON_LENGTH = 500

# The headers that say something about a payload. Anything else is dropped, above all credentials.
_HEADERS = frozenset({"content-type", "user-agent", "x-forwarded-for", "x-github-event", "x-github-delivery"})
_HEADER_PREFIXES = ("ce-", "x-gitea-", "x-forgejo-", "x-nexus-", "x-regstats-")
_SECRET = ("signature", "token", "auth", "secret")


class Parsed(NamedTuple):
    """What a delivery says. `error` is None if all of it was understood; the events that were stand beside it."""

    dialect: str | None
    events: list[Event]
    error: str | None


def parse(delivery: Delivery) -> Parsed:
    """What does this delivery say? Never raises: what cannot be understood comes back as `error`."""
    try:
        if events := distribution.parse_at_once(delivery):  # nearly every one
            return Parsed(distribution.NAME, events, None)
        document = _document(delivery.body)
        dialect = next((d for d in _DIALECTS if d.claims(document)), None)
        if dialect is None:
            raise PayloadError(f"No dialect knows this payload. Its keys: {', '.join(document) or 'none'}.")
        events, problems = dialect.parse(document, delivery)
        return Parsed(dialect.NAME, events, _shortened("; ".join(problems)) or None)
    except PayloadError as error:
        return Parsed(None, [], _shortened(str(error)))
    except Exception as error:  # noqa: BLE001 - one odd payload must never stop the sealing of all the others
        return Parsed(None, [], _shortened(f"The parser failed: {type(error).__name__}: {error}"))


def understand(deliveries: Iterable[Delivery]) -> tuple[list[Delivery], list[Event]]:
    """Deliveries with their dialect and, where something in them is not understood, the reason; and their events."""
    understood: list[Delivery] = []
    events: list[Event] = []
    for delivery in deliveries:
        if delivery.source == TORN:
            understood.append(delivery)
            continue
        dialect, found, error = parse(delivery)
        understood.append(msgspec.structs.replace(delivery, dialect=dialect, error=error, event_count=len(found)))
        events.extend(found)
    return understood, events


def kept_headers(headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Those headers of a delivery that are stored with it."""
    return {name: value for name, value in headers if is_kept(name.lower())}


def is_kept(name: str) -> bool:
    """Whether the header of that name, in small letters, is stored with a delivery."""
    return name in _HEADERS or (name.startswith(_HEADER_PREFIXES) and not any(word in name for word in _SECRET))


def _document(body: bytes) -> Document:
    if not body.strip():
        raise PayloadError("The body is empty.")
    try:
        return msgspec.json.decode(body, type=Document)
    except msgspec.ValidationError as error:
        raise PayloadError(f"Not a payload of any known dialect: {error}.") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise PayloadError(f"Not JSON: {error}.") from None


def _shortened(reason: str) -> str:
    return reason if len(reason) <= _REASON_LENGTH else reason[: _REASON_LENGTH - 1] + "…"
