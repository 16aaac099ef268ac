"""Work on sealed parts, at any time, beside readers and writers: so far, accounting for the pulls of closed dates."""

from datetime import datetime

from regstats import accounting
from regstats.store import Store


def account(store: Store, now: datetime) -> int:
    """Writes the pulls of each closed date that has none, or whose events have changed since; how many dates that were.

    One date at a time, so that memory does not grow with their number. Where events of a date come in meanwhile, its
    part is out of date before it counts, is not used by any reader, and is made again the next time.
    """
    done = 0
    parts = store.manifest().parts
    current = accounting.accounted(parts)
    for day in sorted({part.date for part in parts if part.table == "events"}):
        if day not in current and accounting.is_closed(day, now):
            pulls = accounting.of_date(store, parts, day)
            store.replace("pulls", day, accounting.basis(parts, day), pulls)
            done += 1
    return done
