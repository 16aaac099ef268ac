"""Bytes and headers → events. One module per dialect, each a pure function; this one finds out whose payload it is.

A dialect is a module here that has a `DIALECT`, and nothing else has to know it.
"""

import importlib
import pkgutil
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, TypeVar
from urllib.parse import parse_qsl

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from regstats.errors import PayloadError
from regstats.events import TORN, Delivery, Event
from regstats.payloads import acr, distribution
from regstats.payloads.dialect import Dialect, Payload

_modules = (importlib.import_module(f"{__name__}.{found.name}") for found in pkgutil.iter_modules(__path__))
DIALECTS: dict[str, Dialect] = {
    module.DIALECT.name: module.DIALECT for module in _modules if hasattr(module, "DIALECT")
}
"""All that are known, by name."""

SILENT = tuple(dialect.name for dialect in DIALECTS.values() if not dialect.reports_pulls)
"""Those whose registries do not tell of pulls."""

DOWNLOADS = tuple(dialect.name for dialect in DIALECTS.values() if dialect.is_download)
"""Those of what is downloaded, and not sent."""

FIXED = "X-Regstats-Dialect"
"""The header that says whose payload it is, whatever it looks like: the settings say so of its source."""

SIGNATURES = {name: hashes for dialect in DIALECTS.values() for name, hashes in dialect.signatures.items()}
"""The headers in which senders sign, in small letters, and with which hashes."""

_REASON_LENGTH = 500

# The headers that say something about a payload. Anything else is dropped, above all credentials.
_HEADERS = {"content-type", "user-agent", "x-forwarded-for", FIXED.lower()}.union(
    *(d.headers for d in DIALECTS.values())
)
_HEADER_PREFIXES = tuple(name.removesuffix("*") for name in _HEADERS if name.endswith("*"))
_SECRET = ("signature", "token", "auth", "secret")

NOTHING: Mapping[str, str] = {}


class Parsed(Struct, frozen=True, gc=False):
    """What a delivery says. `error` is None if all of it was understood; the events that were stand beside it."""

    dialect: str | None
    events: list[Event]
    error: str | None


def parse(delivery: Delivery) -> Parsed:
    """What does this delivery say? Never raises: what cannot be understood comes back as `error`."""
    fixed = delivery.headers.get(FIXED)
    try:
        if fixed in (None, distribution.NAME) and (events := distribution.parse_at_once(delivery)):  # nearly every one
            return Parsed(distribution.NAME, events, None)
        return _parse(delivery, fixed)
    except PayloadError as error:
        return Parsed(None, [], _shortened(str(error)))
    except Exception as error:  # noqa: BLE001 - one odd payload must never stop the sealing of all the others
        return Parsed(None, [], _shortened(f"The parser failed: {type(error).__name__}: {error}"))


def _parse(delivery: Delivery, fixed: str | None) -> Parsed:
    names: list[str] = []
    events: list[Event] = []
    problems: list[str] = []
    for payload in _payloads(delivery):
        try:
            dialect = _dialect(payload, fixed)
            names.append(dialect.name)
            for one in dialect.parse(payload):
                if isinstance(one, Event):
                    events.append(one)
                else:
                    problems.append(str(one))
        except PayloadError as error:
            problems.append(str(error))
    return Parsed(names[0] if names else None, events, _shortened("; ".join(problems)) or None)


def understand(
    deliveries: Iterable[Delivery], fixed: Mapping[str, str] = NOTHING
) -> tuple[list[Delivery], list[Event]]:
    """Deliveries with their dialect and, where something in them is not understood, the reason; and their events.

    `fixed` are the dialects of sources, where the settings say them: their deliveries say so themselves afterwards.
    """
    understood: list[Delivery] = []
    events: list[Event] = []
    for delivery in deliveries:
        if delivery.source == TORN:
            understood.append(delivery)
            continue
        if delivery.source in fixed:
            headers = delivery.headers | {FIXED: fixed[delivery.source]}
            delivery = replace(delivery, headers=headers)  # noqa: PLW2901 - so it is from now on
        said = parse(delivery)
        understood.append(replace(delivery, dialect=said.dialect, error=said.error, event_count=len(said.events)))
        events.extend(said.events)
    return understood, events


def handshake(headers: Mapping[str, str], body: bytes) -> bytes | None:
    """What a sender wants to hear before it sends anything; None if it asks nothing.

    Azure's Event Grid sends a code, which has to be sent back: else anybody could let it flood anybody.
    """
    return acr.validated(body) if headers.get("aeg-event-type") == "SubscriptionValidation" else None


def is_known(body: bytes) -> bool:
    """Whether a dialect claims a payload, whatever it says."""
    nothing = Delivery(received_at=datetime.now(UTC), delivery_id="", source="", headers={}, body=body)
    return any(dialect.claims(payload) for payload in _payloads(nothing) for dialect in DIALECTS.values())


def documents(delivery: Delivery) -> Any:
    """What a delivery says as JSON, whatever it is; None where it is not that."""
    try:
        return msgspec.json.decode(_json_in(delivery.body))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, PayloadError):
        return None


def whose(delivery: Delivery) -> list[Dialect]:
    """The dialects of which a delivery may be: that of each of its payloads, or all if nobody knows."""
    try:
        return [_dialect(payload, delivery.headers.get(FIXED)) for payload in _payloads(delivery)]
    except Exception:  # noqa: BLE001 - whatever is odd about it
        return list(DIALECTS.values())


def kept_headers(headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Those headers of a delivery that are stored with it."""
    return {name: value for name, value in headers if is_kept(name.lower())}


@lru_cache(maxsize=1024)
def is_kept(name: str) -> bool:
    """Whether the header of that name, in small letters, is stored with a delivery."""
    return name in _HEADERS or (name.startswith(_HEADER_PREFIXES) and not any(word in name for word in _SECRET))


def _dialect(payload: Payload, fixed: str | None) -> Dialect:
    if fixed is not None:
        if fixed not in DIALECTS:
            raise PayloadError(f"There is no dialect {fixed!r}; there are: {', '.join(DIALECTS)}.")
        return DIALECTS[fixed]
    dialect = next((dialect for dialect in DIALECTS.values() if dialect.claims(payload)), None)
    if dialect is None:
        raise PayloadError(f"No dialect knows this payload. Its keys: {', '.join(payload.keys) or 'none'}.")
    return dialect


_T = TypeVar("_T")
_objects = msgspec.json.Decoder(dict[str, msgspec.Raw] | list[msgspec.Raw])
_object = msgspec.json.Decoder(dict[str, msgspec.Raw])


def _payloads(delivery: Delivery) -> Iterator[Payload]:
    """The JSON objects that a delivery consists of: one, or a list of some."""
    body = _json_in(delivery.body)
    headers = {name.lower(): value for name, value in delivery.headers.items()}
    said = _decoded(_objects, body)
    if isinstance(said, dict):
        yield Payload(body, said, headers, delivery, delivery.delivery_id)
        return
    if not said:
        raise PayloadError("Not a payload of any known dialect: the list is empty.")
    for position, raw in enumerate(said):
        name = f"{delivery.delivery_id}:{position}"
        yield Payload(bytes(raw), _decoded(_object, bytes(raw)), headers, delivery, name)


def _json_in(body: bytes) -> bytes:
    """Without a byte order mark, and out of a form (`payload=…`), in which GitHub and Gitea can send it."""
    body = body.removeprefix(b"\xef\xbb\xbf")
    if not body.strip():
        raise PayloadError("The body is empty.")
    if body.startswith(b"payload="):
        return dict(parse_qsl(body, strict_parsing=False)).get(b"payload", b"")
    return body


def _decoded(decoder: msgspec.json.Decoder[_T], raw: bytes) -> _T:
    try:
        return decoder.decode(raw)
    except msgspec.ValidationError as error:
        raise PayloadError(f"Not a payload of any known dialect: {error}.") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise PayloadError(f"Not JSON: {error}.") from None


def _shortened(reason: str) -> str:
    return reason if len(reason) <= _REASON_LENGTH else reason[: _REASON_LENGTH - 1] + "…"
