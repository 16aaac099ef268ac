"""What tags point to, in memory: so a push can be judged without asking the store, which takes longer than all else.

It is as good as what it was told. Where it cannot know, because something was deleted or came late, it says so.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple

from msgspec.structs import replace

from regstats.events import Change, Event
from regstats.rules import of_event


class Tip(NamedTuple):
    """What a tag points to, and since when: a row of `sql/tips.sql`."""

    source: str
    repository: str
    tag: str
    timestamp: datetime
    event_id: str
    digest: str | None


def tip_of(change: Change) -> Tip:
    """What a tag points to after a change."""
    at = change.timestamp, change.event_id
    return Tip(change.source, change.repository, change.tag, *at, change.digest)


class Tips:
    """The tips of all tags, as far as they are known."""

    def __init__(self) -> None:
        self._tips: dict[tuple[str, str, str], Tip] = {}
        self._unsure: set[tuple[str, str]] = set()

    def know(self, tips: Iterable[Tip]) -> None:
        """Takes in what is certain, unless something newer is known."""
        for tip in tips:
            key = tip[:3]
            known = self._tips.get(key)
            if known is None or known[3:5] <= tip[3:5]:
                self._tips[key] = tip

    def sure(self, repository: str) -> None:
        """All tips of a repository have been told."""
        self._unsure = {place for place in self._unsure if place[1] != repository}

    def unsure(self) -> set[str]:
        """Repositories of which something is not known."""
        return {repository for _, repository in self._unsure}

    def change(self, event: Event) -> Change | None:
        """What an event did to a tag, and what that pointed to before; None if only the store knows, or if nothing."""
        place = event.source, event.repository
        if event.action == "delete":
            self._unsure.add(place)
        change = of_event(event)
        if change is None or change.action == "delete":
            return None
        key = (*place, change.tag)
        known = self._tips.get(key)
        if place in self._unsure or (known and known[3:5] >= (event.timestamp, event.event_id)):
            self._unsure.add(place)
            return None
        self._tips[key] = tip_of(change)
        return replace(change, before=known.digest if known else None)
