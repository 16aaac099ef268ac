"""What waits to be sent: messages on disk, each until it has arrived or is given up.

DATA/outbox/<message>.json       waits
DATA/outbox/log.ndjson           what has arrived, what has not yet, and what was given up
"""

from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from logging import INFO, WARNING, getLogger
from pathlib import Path
from typing import Any, Literal, TypeVar

import msgspec
from msgspec import Struct

from regstats.errors import DeliveryError
from regstats.parts import appearing

_log = getLogger(__name__)

Read = TypeVar("Read")

_PAUSES = [timedelta(minutes=minutes) for minutes in (1, 5, 15, 30, 60)]
"""Between one try and the next; after the last one always that."""
PATIENCE = timedelta(days=1)
"""How long it is tried."""
_LOG = "log.ndjson"
_STATE = "state.json"


class Attachment(Struct, frozen=True):
    """A file that goes with a message."""

    name: str
    type: str
    """Media type."""
    content: bytes


class Message(Struct, frozen=True, kw_only=True):
    """Something for one destination."""

    id: str
    """The same for the same thing: however often it is put into the outbox, it is there once."""
    to: str
    """The name of the destination."""
    kind: Literal["report", "alert", "deployment", "test"]
    name: str
    """Of the schedule, the alert, or the rule."""
    subject: str
    text: str
    """Markdown."""
    html: str | None = None
    """The same for those who read HTML."""
    attachments: list[Attachment] = []
    fields: dict[str, Any] = {}
    """What a program would want to know."""
    at: datetime
    """The moment it tells of."""
    made_at: datetime
    attempts: int = 0
    due: datetime | None = None
    """Not to be tried before; None: now."""
    error: str | None = None
    """Why it has not arrived yet."""


class Outbox:
    """The messages of a store. One process at a time may use it."""

    def __init__(self, root: Path) -> None:
        self.folder = root / "outbox"

    def put(self, message: Message) -> None:
        """Durable from here on."""
        path = self.folder / f"{message.id}.json"
        with appearing(path) as unseen:
            unseen.write_bytes(msgspec.json.encode(message))

    def files(self) -> list[Path]:
        """Those of what has not arrived."""
        return [path for path in self.folder.glob("*.json") if path.name != _STATE]

    def waiting(self) -> list[Message]:
        """What has not arrived, the oldest first. What cannot be read is put aside."""
        found = (self._read(path, Message) for path in self.files())
        return sorted((message for message in found if message), key=lambda message: (message.made_at, message.id))

    def deliver(self, now: datetime, send: Callable[[Message], None]) -> None:
        """Sends what is due. What does not arrive is tried again, less and less often, for a day."""
        failed: set[str] = set()
        for message in self.waiting():
            is_due = message.due is None or message.due <= now
            if is_due and message.to not in failed and not self._try(message, now, send):
                failed.add(message.to)  # what is next would fail as well, and may wait as long

    def _try(self, message: Message, now: datetime, send: Callable[[Message], None]) -> bool:
        """Whether it has arrived."""
        tried = msgspec.structs.replace(message, attempts=message.attempts + 1, error=None)
        try:
            send(message)
        except Exception as error:  # noqa: BLE001 - whatever it is, it must not be in the way of what is next
            if not isinstance(error, DeliveryError):
                _log.exception("A mistake of regstats.", extra={"fields": {"id": message.id}})
            self._again(msgspec.structs.replace(tried, error=str(error) or type(error).__name__), now)
            return False
        self._done("delivered", tried, now)
        return True

    def _again(self, message: Message, now: datetime) -> None:
        pause = _PAUSES[min(message.attempts, len(_PAUSES)) - 1]
        if now + pause - message.made_at > PATIENCE:
            self._done("given up", message, now)
        else:
            self.put(msgspec.structs.replace(message, due=now + pause))
            self._note("not delivered", message, now)

    def _done(self, what: str, message: Message, now: datetime) -> None:
        (self.folder / f"{message.id}.json").unlink(missing_ok=True)
        self._note(what, message, now)

    def _note(self, what: str, message: Message, now: datetime) -> None:
        """In the log of this process, and in that of the store."""
        told = {"what": what, "id": message.id, "to": message.to, "attempts": message.attempts}
        told |= {"error": message.error} if message.error else {}
        line = msgspec.json.encode({"time": now, **told, "subject": message.subject})
        with (self.folder / _LOG).open("ab") as file:
            file.write(line + b"\n")
        _log.log(WARNING if message.error else INFO, "A message was %s.", what, extra={"fields": told})

    def log(self, last: int) -> list[dict[str, Any]]:
        """The last lines of the log."""
        path = self.folder / _LOG
        lines = path.read_bytes().splitlines()[-last:] if last and path.exists() else []
        found = []
        for line in lines:
            with suppress(msgspec.DecodeError):  # one that was not finished
                found.append(msgspec.json.decode(line))
        return found

    def load(self, kind: type[Read]) -> Read:
        """What was remembered last, as this type; its defaults if nothing was."""
        return self._read(self.folder / _STATE, kind) or kind()

    def remember(self, state: Struct) -> None:
        """What has been done, durable from here on."""
        with appearing(self.folder / _STATE) as unseen:
            unseen.write_bytes(msgspec.json.encode(state))

    def _read(self, path: Path, kind: type[Read]) -> Read | None:
        """What is in a file; None where it is not there, or put aside because nobody can read it."""
        try:
            return msgspec.json.decode(path.read_bytes(), type=kind)
        except FileNotFoundError:
            return None
        except msgspec.DecodeError as error:
            aside = path.with_suffix(".broken")
            path.rename(aside)
            _log.error("What was to be sent cannot be read: %s. It lies in %s.", error, aside)
            return None
