"""What regstats keeps: a delivery as received, the events that were in it, and what was deployed because of them.

`gc=False`: nothing in them refers back, so the garbage collector need not look at the many that sealing makes.
"""

import itertools
import re
import secrets
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from operator import attrgetter

from msgspec import Struct

_INDEX = re.compile(r"\b(index|manifest\.list)\b")

TORN = "journal"
"""The source of what is no delivery: a line of the journal that was not written to its end."""


class Delivery(Struct, frozen=True, kw_only=True, gc=False):
    """One HTTP POST as received. Everything else can be derived from it again."""

    received_at: datetime
    """When the collector took it, UTC."""
    delivery_id: str
    """Given by the collector; unique."""
    source: str
    """The configured sender, by name."""
    dialect: str | None = None
    """Whose payload format it is; None until understood."""
    remote_address: str | None = None
    """The address that sent it: the registry's, not a client's."""
    headers: dict[str, str]
    """The headers that say something about the payload; never credentials."""
    body: bytes
    """Exactly what was sent."""
    error: str | None = None
    """Why it is in quarantine; None if all of it was understood."""
    event_count: int = 0
    """How many events were understood in it; those that came before, in another delivery, are among them."""


class Event(Struct, frozen=True, gc=False):
    """One thing that happened at a registry. Attribute order is column order; empty text is None throughout."""

    event_id: str
    """The registry's own; with `source` it is the event's identity."""
    source: str
    dialect: str
    timestamp: datetime
    """When it happened, UTC microseconds; `received_at` where the registry's own time cannot be believed."""
    timestamp_trusted: bool
    """Whether `timestamp` is the registry's."""
    received_at: datetime
    action: str
    """pull, push, mount, delete; another word is kept as it came."""
    kind: str
    """What it happened to: manifest, index, blob, tag, repository or unknown (a delete by digest says no more)."""
    repository: str
    tag: str | None
    digest: str | None
    media_type: str | None
    size: int | None
    """Bytes of the object itself, never bytes sent; None on a delete."""
    from_repository: str | None
    """Where a mounted blob came from."""
    reference_digests: list[str] | None
    """What a manifest refers to, where the registry is configured to say so."""
    actor: str | None
    """Who; None is anonymous. A registry without authentication passes on whatever name the client gave."""
    client_address: str | None
    """The client's IP address, without port. Behind a careless proxy any client can choose it."""
    user_agent: str | None
    client: str | None
    """The program that `user_agent` names: docker, containerd, podman, …"""
    client_version: str | None
    method: str | None
    """The HTTP method: the only thing that tells a HEAD from a GET."""
    request_id: str | None
    """One per HTTP request: groups the events of one delete."""
    registry: str | None
    """The registry's name as the client called it."""
    instance_id: str | None
    """New each time the registry starts."""
    delivery_id: str


UNTOLD = "unknown:"
"""How a digest begins that its registry does not tell, with the event's id after it: a tag points to something new."""


class Change(Struct, frozen=True, gc=False):
    """A tag that was pushed or deleted: what the view `moves` says of it."""

    timestamp: datetime
    source: str
    repository: str
    tag: str
    digest: str | None
    """What it points to from then on; None if it was deleted, `unknown:…` if nobody told."""
    before: str | None
    """What it pointed to until then; None if nothing is known."""
    media_type: str | None
    actor: str | None
    client_address: str | None
    event_id: str

    @property
    def action(self) -> str:
        """Push or delete."""
        return "delete" if self.digest is None else "push"

    @property
    def is_told(self) -> bool:
        """Whether it is known what it points to."""
        return self.digest is None or not self.digest.startswith(UNTOLD)

    @property
    def kind(self) -> str:
        """Manifest or index, by its media type."""
        return "index" if _INDEX.search(self.media_type or "") else "manifest"


ENDED = ("succeeded", "failed", "skipped", "superseded", "rejected")
"""What becomes of a deployment in the end."""
STATUSES = ("waiting", "unapproved", "running", *ENDED)


class Deployment(Change, frozen=True, kw_only=True, gc=False):
    """What a rule did because of a change, or why it did nothing. Attribute order is column order."""

    deployment_id: str
    """The same for the same event and rule; unique."""
    rule: str
    target: str
    """What was deployed to."""
    status: str
    """One of STATUSES."""
    reason: str | None = None
    """Why that is so, in words."""
    seen_at: datetime
    """When the rule was applied."""
    due_at: datetime
    """Not to be done before."""
    started_at: datetime | None = None
    """When it was first tried."""
    finished_at: datetime | None = None
    attempts: int = 0
    interruptions: int = 0
    """How many of the attempts ended with the collector: what came of them nobody knows."""
    output: str | None = None
    """The end of what the last attempt said."""
    history: list[str] = []
    """All that was done with it, a line each."""
    approved_by: str | None = None
    again_of: str | None = None
    """The deployment that it repeats, by hand."""


def new_ids() -> Iterator[str]:
    """Ids for deliveries, for any thread: unique, and so alike for neighbours that they take next to no space."""
    return map(f"{secrets.token_hex(8)}-{{:x}}".format, itertools.count())


Identity = tuple[str, str]


identity: Callable[[Event], Identity] = attrgetter("source", "event_id")
"""What makes two events the same one, however often it is delivered."""


def unique(events: Iterable[Event]) -> dict[Identity, Event]:
    """Each event once, as it first came."""
    first: dict[Identity, Event] = {}
    for event in events:
        first.setdefault(identity(event), event)
    return first
