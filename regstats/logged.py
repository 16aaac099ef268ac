"""Lines of access logs → events, as a registry would have sent them.

What a log does not say is concluded from other lines of the same client, a minute before or after. So requests wait
until all is read that has to do with them, and are kept a while longer; where a batch of lines ends changes nothing.
"""

import re
from collections.abc import Callable
from datetime import datetime
from typing import Any, NamedTuple

import duckdb
import pyarrow as pa

from regstats import logformats
from regstats.addresses import address_in
from regstats.database import sql_text
from regstats.logformats import Shape
from regstats.useragents import client_of

NAME = "log"
"""The dialect of what comes out of logs."""

_SECOND = 1_000_000  # microseconds
_LATE = 65 * _SECOND
"""How much later than it began a request may be read: it took a minute, and lines are not quite in order."""
_WAIT = _LATE + 60 * _SECOND
"""It may say something about one a minute before it."""
_KEPT = _WAIT + 135 * _SECOND

_ESCAPED = re.compile(r"((?:\\x[0-9A-Fa-f]{2})+)|\\(.)", re.DOTALL)


class Position(NamedTuple):
    """Where lines come from."""

    file: str
    """What it is called in the ids of deliveries."""
    offset: int
    """How many lines of other files there were before."""


class Counts(NamedTuple):
    """What lines were."""

    lines: int = 0
    bad: int = 0
    """Not understood."""
    known: int = 0
    """Of requests that another file had a moment ago."""
    first: datetime | None = None
    last: datetime | None = None
    """When the first and the last of the requests was, whatever was asked for."""


class Log:
    """What was read of logs, and what is still open. `stored` are manifests that are known from elsewhere."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, stored: pa.Table, now: datetime) -> None:
        self._connection, self._now = connection, now
        self._last_stamp, self._last_rank, self._horizon = 0, 0, 0
        logformats.prepare(connection, now)
        connection.register("stored_manifests", stored)

    def read(self, lines: pa.Table, shape: Shape, position: Position) -> Counts:
        """Takes in some lines, which are numbered from 1 in their file."""
        logformats.parse(self._connection, lines, shape)
        last = {"last_stamp": self._last_stamp, "last_rank": self._last_rank}
        self._sql(f"create or replace temp table placed as {sql_text('logs/placed')}", **last)
        self._sql(f"create or replace temp table asked as {sql_text('logs/requests')}")
        self._sql("create or replace temp view requests as select * exclude (is_valid) from asked where is_valid")
        self._texts()
        parameters = {"file": position.file, "offset": position.offset}
        before = self._count("recent")
        # To insert rows takes twice as long as to make a table of them.
        fresh = f"(from recent) union all by name ({sql_text('logs/fresh')})"
        self._sql(f"create or replace temp table recent as {fresh}", **parameters)
        known = self._count("requests") - (self._count("recent") - before)
        self._remember()
        ((bad, first, last),) = self._sql(
            "select count(*) filter (not understood and line <> ''), min(stamp) filter (understood), "
            "max(stamp) filter (understood) from parsed"
        ).fetchall()
        return Counts(lines.num_rows, bad, known, first, last)

    def bad(self, most: int) -> list[tuple[int, str]]:
        """Some of the lines just read that are not understood, with their numbers."""
        query = "select n, line from parsed where not understood and line <> '' order by n limit $most"
        return self._sql(query, most=most).fetchall()

    @property
    def horizon(self) -> float:
        """Up to when all is read, in seconds since 1970."""
        return self._horizon / _SECOND

    def forget(self) -> None:
        """What comes now has nothing to do with what came before."""
        self._sql("delete from recent")
        self._last_stamp, self._last_rank, self._horizon = 0, 0, 0

    def settle(self, source: str, *, all_of_it: bool = False) -> pa.Table:
        """The events of which all is known that will be, or of all requests; `_…` are not columns of events."""
        horizon = self._horizon if all_of_it else self._horizon - _WAIT
        self._sql(f"create or replace temp table judged as {sql_text('logs/judged')}")
        self._sql(f"insert into known {sql_text('logs/learnt')}", last=self._horizon - (0 if all_of_it else _LATE))
        parameters = {"source": source, "now": self._now, "horizon": horizon}
        events = self._connection.sql(sql_text("logs/settled"), params=parameters).to_arrow_table()
        self._sql("update recent set settled = true where not settled and us <= $horizon", horizon=horizon)
        self._sql("delete from recent where settled and us < $oldest", oldest=self._horizon - _KEPT)
        return events

    def _remember(self) -> None:
        query = "select arg_max(stamp, n), arg_max(rank, n), max(greatest(ended_us, us)) from placed"
        ((stamp, rank, last),) = self._sql(query).fetchall()
        if stamp is not None:
            self._last_stamp, self._last_rank, self._horizon = stamp, rank, max(self._horizon, last)

    def _texts(self) -> None:
        """What is said of clients, each once: it is only then that Python can look at it."""
        self._table("texts", "actor", make=lambda text: (text,), columns=("text",))
        self._table(
            "agents", "agent", make=lambda text: (text, *client_of(text)), columns=("text", "client", "client_version")
        )
        self._table("addresses", "address", make=lambda text: (str(address_in(text) or "") or None,), columns=("text",))

    def _table(
        self, name: str, *sources: str, make: Callable[[str], tuple[Any, ...]], columns: tuple[str, ...]
    ) -> None:
        union = " union all ".join(f"select {column} as raw, escaped from requests" for column in sources)
        found = self._sql(f"select distinct raw, escaped from ({union}) where raw is not null").fetchall()
        made = [make(unescaped(raw) if escaped else raw) for raw, escaped in found]
        rows: dict[str, Any] = {
            "raw": pa.array([raw for raw, _ in found], pa.string()),
            "escaped": pa.array([escaped for _, escaped in found], pa.bool_()),
        }
        for number, column in enumerate(columns):
            rows[column] = pa.array([row[number] for row in made], pa.string())
        self._connection.register(name, pa.table(rows))

    def _count(self, table: str) -> int:
        ((number,),) = self._sql(f"select count(*) from {table}").fetchall()
        return int(number)

    def _sql(self, query: str, **parameters: Any) -> duckdb.DuckDBPyConnection:
        return self._connection.execute(query, parameters)


def unescaped(text: str) -> str:
    r"""What was meant: nginx writes `\x22`, Apache and docker-registry `\"`.

    >>> unescaped(r'a \"b\" \x63\xc3\xa9')
    'a "b" cé'
    """
    return _ESCAPED.sub(_meant, text) if "\\" in text else text


def _meant(found: re.Match[str]) -> str:
    if found[1]:
        return bytes.fromhex(found[1].replace("\\x", "")).decode(errors="replace")
    return {"n": "\n", "t": "\t", "r": "\r"}.get(found[2], found[2])
