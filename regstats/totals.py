"""How often each repository was used since the collector started, in numbers that never go down.

What is in the store may go down: retention drops dates, and what looked like a pull may turn out to be a lookup. A
counter of Prometheus that goes down was started anew, and all that it counts then is new. So these begin at 0, and what
has grown since the last look is added to them.
"""

from collections.abc import Iterable
from typing import NamedTuple

MOST = 100
"""So many repositories are told of: each is four series for Prometheus, and who may push can make any number."""


class Use(NamedTuple):
    """How often a repository was used."""

    pulls: int = 0
    downloads: int = 0
    pushes: int = 0
    updates: int = 0


_NOTHING = Use()


class Totals:
    """Adds up the use of repositories, from what of it is seen in the store."""

    def __init__(self, seen: dict[str, Use]) -> None:
        """What is seen at the start was before the collector started."""
        self._seen = seen
        self._totals = dict.fromkeys(seen, _NOTHING)

    def add(self, seen: dict[str, Use]) -> None:
        """Adds what has grown since the last look.

        A new repository is at 0 now, and has its first numbers after the next look: what was never seen at 0 does not
        grow, for Prometheus.
        """
        new = dict.fromkeys(seen.keys() - self._totals.keys(), _NOTHING)
        for repository in seen.keys() - new.keys():
            total, before = self._totals[repository], self._seen.get(repository, _NOTHING)
            self._totals[repository] = Use(*_grown(total, before, seen[repository]))
        self._totals |= new
        self._seen = seen | new

    def most_used(self) -> dict[str, Use]:
        """The totals of those with the most pulls and pushes in the store: that changes less than the totals do.

        One that drops out is counted on, so it comes back with no less than it had.
        """
        ranked = sorted(self._totals, key=lambda repository: (-self._size(repository), repository))
        return {repository: self._totals[repository] for repository in ranked[:MOST]}

    def _size(self, repository: str) -> int:
        use = self._seen.get(repository, _NOTHING)
        return use.pulls + use.pushes


def _grown(total: Use, before: Use, now: Use) -> Iterable[int]:
    return (t + max(0, n - b) for t, b, n in zip(total, before, now, strict=True))
