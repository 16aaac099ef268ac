"""What a name in the store may be that somebody began to type."""

import re
import threading
from collections.abc import Mapping
from itertools import accumulate
from typing import Any

from regstats.database import connect, sql_text
from regstats.parameters import FILTERS, Query, understand
from regstats.parts import Part
from regstats.store import Store, utc_now

_ROWS = 3_000_000  # that are looked at
_SECONDS = 1.0
_HARMLESS = re.compile(r"[\w./][\w./:@+~-]*", re.ASCII)
"""Names that every shell takes for nothing else. An actor named `$(reboot)` waits for somebody to press Tab."""


def names(data: str, column: str, begun: str, given: Mapping[str, Any]) -> list[str]:
    """The values of a column that begin like this, among the latest events, where they match the filters given.

    Raises duckdb.InterruptException if it takes longer than a person waits.
    """
    store = Store(data)
    parts = _latest(store.manifest().parts)
    if not parts:
        return []
    query = understand(given, now=utc_now())
    text = _filled("completion", column=column, events=store.rows(parts, FILTERS), where=query.where)
    with connect() as connection:
        store.introduce(connection)
        timer = threading.Timer(_SECONDS, connection.interrupt)
        timer.start()
        try:
            found = connection.sql(text, params=_needed(query, text) | {"begun": begun}).fetchall()
        finally:
            timer.cancel()
    return [name for (name,) in found if _HARMLESS.fullmatch(name)]


def _latest(parts: list[Part]) -> list[Part]:
    events = sorted((part for part in parts if part.table == "events"), reverse=True)
    before = accumulate((part.rows for part in events), initial=0)
    return [part for part, rows in zip(events, before, strict=False) if rows < _ROWS]


def _filled(name: str, **blanks: str) -> str:
    text = sql_text(name)
    for blank, filling in blanks.items():
        text = text.replace(f"{{{blank}}}", filling)
    return text


def _needed(query: Query, text: str) -> dict[str, Any]:
    return {name: query.values[name] for name in re.findall(r"\$(\w+)", text) if name in query.values}
