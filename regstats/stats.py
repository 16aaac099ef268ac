"""`Stats`: one method per metric, each a pandas DataFrame."""

import os
from datetime import UTC, datetime, timedelta
from typing import Any, Unpack

import duckdb
import msgspec
import pandas as pd
import pyarrow as pa

from regstats import config
from regstats.config import Exclude
from regstats.database import sql_text
from regstats.engine import Engine
from regstats.parameters import Interval, Moment, Parameters, Query, moment, understand
from regstats.store import Store, utc_now

DEFAULT_DATA = "data"

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DURATIONS = frozenset({"median_interval", "p90_interval", "age", "silence", "lag", "max_lag", "longest_gap"})


class Stats:
    """The numbers of a store.

    Every metric takes the same parameters: `repository`, `tag`, `actor`, `client`, `source` (globs, or lists of them),
    `since` and `until` (ISO date or time, or `30d`, `12h`, `4w` before now), `interval` (hour, day, week, month,
    total), `by` (columns), `tz` (default UTC), `limit`. A wrong one raises ParameterError, a ValueError.

    Times are UTC and time-zone-aware; `period` is a plain date in `tz`, or for hours a time in `tz`; intervals and ages
    are timedeltas. Each call sees what was acknowledged until then. May be used from several threads.

    Who is excluded (`exclude`, by default proxies and replication) counts nowhere but in `sql` over `events` and
    `deliveries`; every frame names it in `attrs["excluded"]`.
    """

    def __init__(
        self,
        data: str | os.PathLike[str] | None = None,
        *,
        now: Moment | None = None,
        exclude: Exclude | None = None,
    ) -> None:
        self.now = now
        """The present, for `30d` and ages; None is the clock. Set it to look at the past."""
        self.exclude = config.load().exclude if exclude is None else exclude
        """Who is not counted; from `regstats.toml` if not given."""
        self._engine = Engine(Store(data if data is not None else default_data()), self.exclude)

    def pulls(self, **parameters: Unpack[Parameters]) -> pd.DataFrame:
        """How often is it pulled, over time?

        Columns: period, the columns of `by`, pulls, downloads (the pulls that fetched layers), version_checks (asked
        whether there is something new, and fetched nothing), requests (the raw manifest events that all of it was made
        of). One row per period with any request.
        """
        return self._series("pulls", parameters)

    def pushes(self, **parameters: Unpack[Parameters]) -> pd.DataFrame:
        """How often is it pushed, over time?

        Columns: period, the columns of `by`, pushes (of manifests with a tag), updates (pushes that changed the digest
        of their tag), deletes (requests that deleted a manifest or tag). One row per period with any of them.
        """
        return self._series("pushes", parameters)

    def repositories(self, **parameters: Unpack[Parameters]) -> pd.DataFrame:
        """What is there? One row per repository, the most pulled first.

        Columns: repository, pulls, downloads, version_checks, pushes, updates, tags, actors, pullers (distinct actor
        and address), first_pull, last_pull, first_push, last_push.
        """
        return self._metric("repositories", understand(parameters, now=self._now, interval="total"))

    def cadence(self, **parameters: Unpack[Parameters]) -> pd.DataFrame:
        """How well is it maintained? One row per repository and tag.

        Columns: repository, tag, updates, first_update, last_update, median_interval and p90_interval (between updates;
        NaT after a single one), age (since the last), overdue (age ÷ median interval; NaN after a single one).
        """
        now = self._now
        query = understand(parameters, now=now, interval="total")
        return self._metric("cadence", query, now_us=_microseconds(now))

    def activity(self, **parameters: Unpack[Parameters]) -> pd.DataFrame:
        """Who does what? One row per actor, the most active first; with `interval`, per period and actor.

        Columns: (period,) actor (missing: anonymous), first_seen, last_seen, active_days, pulls, pushes, deletes,
        repositories, addresses, clients (the last three: how many different ones).
        """
        return self._series("activity", parameters, interval="total")

    def health(
        self, *, source: str | list[str] | None = None, since: Moment | None = None, until: Moment | None = None
    ) -> pd.DataFrame:
        """Can I trust these numbers? One row per source, of what was received in the window.

        Columns: source, deliveries, events, duplicates (events that came again), quarantined (deliveries of which
        something was not understood), first_received, last_received, silence (since the last), lag and max_lag (from
        the registry's clock to receipt: the median, the longest), gaps (silences longer than an hour and than twice
        what is usual), longest_gap, instances (of the registry) and restarts. A registry that restarts loses what it
        has not delivered yet, so near a gap or a restart events may be missing. Nobody is excluded.

        The source `journal` is what a crash left unfinished in the journal: it was never acknowledged.
        """
        now = self._now
        query = understand({"source": source, "since": since, "until": until}, now=now, interval="total")
        return self._metric("health", query, now_us=_microseconds(now))

    def quarantine(self, *, limit: int | None = None) -> pd.DataFrame:
        """Which deliveries were not understood, and why? The newest first.

        Columns: received_at, delivery_id, source, dialect, remote_address, bytes, error (the reason), body (exactly
        what was sent). Events of a delivery that were understood count all the same.
        """
        return self._metric("quarantine", understand({"limit": limit}, now=self._now))

    def sql(self, query: str, **values: Any) -> duckdb.DuckDBPyRelation:
        """Anything else, in SQL: a DuckDB relation over `events`, `pulls`, `pushes`, `deletes` and `deliveries`.

        `$name` in the query stands for the keyword argument of that name.

        >>> stats.sql("select client, count(*) from pulls group by all")  # doctest: +SKIP
        """
        return self._engine.relation(query, values)

    def __repr__(self) -> str:
        events, repositories, first, last = (column[0].as_py() for column in self._engine.query(sql_text("span")))
        span = f", {first:%Y-%m-%d} … {last:%Y-%m-%d}" if events else ""
        return f"<Stats {events:,} events, {repositories:,} repositories{span}>"

    @property
    def _now(self) -> datetime:
        return moment("now", self.now, now=utc_now()) or utc_now()

    def _series(self, metric: str, parameters: Parameters, interval: Interval = "day") -> pd.DataFrame:
        query = understand(parameters, now=self._now, interval=interval)
        frame = self._metric(metric, query)
        return frame.drop(columns="period") if query.interval == "total" else frame

    def _metric(self, metric: str, query: Query, **values: Any) -> pd.DataFrame:
        text = _fill(sql_text(metric), query)
        zone = {"tz": query.tz} if "$tz" in text else {}
        frame = _frame(self._engine.query(text, query.values | zone | values), query)
        frame.attrs = {
            "metric": metric,
            "since": query.since,
            "until": query.until,
            "interval": query.interval,
            "excluded": msgspec.to_builtins(self.exclude),
        }
        return frame


def _microseconds(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(microseconds=1)


def default_data() -> str:
    """Where the store is if nobody says: `$REGSTATS_DATA`, else `./data`."""
    return os.environ.get("REGSTATS_DATA") or DEFAULT_DATA


def _fill(text: str, query: Query) -> str:
    """A metric's SQL with its conditions and columns. Values never come into the text: they are parameters."""
    keys = ["period", *query.by]
    replacements = {
        "keys": ", ".join([f"{query.period} as period", *query.by]),
        "group": ", ".join(keys),
        "order": ", ".join(f"{key} nulls first" for key in keys),
        "where": query.where,
        "period": query.period,
        "day": "cast(timezone($tz, timestamp) as date)",
    }
    for name, replacement in replacements.items():
        text = text.replace(f"{{{name}}}", replacement)
    return text if query.limit is None else f"{text}\nlimit {query.limit}"


def _frame(table: pa.Table, query: Query) -> pd.DataFrame:
    """An Arrow table with the types that a metric's frame has."""
    fields = [field.with_type(_type_of(field, query)) for field in table.schema]
    frame: pd.DataFrame = table.cast(pa.schema(fields)).to_pandas(date_as_object=False)
    return frame


def _type_of(field: pa.Field, query: Query) -> pa.DataType:
    if field.name in _DURATIONS:
        return pa.duration("us")
    if pa.types.is_date(field.type):
        return pa.timestamp("us")
    if pa.types.is_timestamp(field.type):
        return pa.timestamp("us", tz=query.tz if field.name == "period" else "UTC")
    return field.type
