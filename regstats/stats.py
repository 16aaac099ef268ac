"""`Stats`: one method per metric, each a pandas DataFrame."""

import html
import os
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Unpack

import msgspec
import pandas as pd
import pyarrow as pa

from regstats import config
from regstats.backends import NONE, backend
from regstats.config import Exclude, Team
from regstats.database import sql_text
from regstats.engine import Engine
from regstats.errors import ParameterError
from regstats.events import STATUSES
from regstats.metrics import METRICS
from regstats.parameters import Moment, Parameters, Query, Texts, moment, understand
from regstats.queries import prepare
from regstats.series import filled, periods
from regstats.store import Store, utc_now

DEFAULT_DATA = "data"

_DURATIONS = frozenset(
    ["median_interval", "p90_interval", "age", "silence", "lag", "max_lag", "longest_gap", "time_to_50", "time_to_90"]
) | {"duration", "lead_time"}
_CATALOG = pa.schema(
    {"source": pa.string(), "repository": pa.string(), "tag": pa.string(), "digest": pa.string(), "size": pa.int64()}
)
_OPTIONAL = {"source": config.DEFAULT_SOURCE, "size": None}
_RULES = pa.schema({"position": pa.int64(), "team": pa.string(), "repository": pa.string(), "actor": pa.string()})
_NULLABLE = {pa.int64(): pd.Int64Dtype(), pa.bool_(): pd.BooleanDtype()}
_MAY_BE_MISSING = frozenset({"size", "pushed"})
"""Whole numbers, or missing: always `Int64`, as all whole numbers are of which one is missing."""


class Stats:
    """The numbers of a store.

    Every metric takes the same parameters: `repository`, `tag`, `actor`, `client`, `source` (globs, or lists of them),
    `since` and `until` (ISO date or time, or `30d`, `12h`, `4w` before now), `interval` (hour, day, week, month,
    total) and `by` (columns) where it counts something, `tz` (default UTC), `limit`. A wrong one raises ParameterError,
    a ValueError, and so does one that it has not (`metrics.METRICS` says which it has).

    If `now` is set, nothing counts that happened later.

    Times are UTC and time-zone-aware (datetime64[us, UTC]); `period` is a plain date in `tz` (datetime64[us]), or for
    hours a time in `tz`; intervals and ages are timedelta64[us], counts int64, shares float64, names str.

    Each call sees what was acknowledged until then, or until `lag` seconds before; one that takes
    more than `patience` seconds raises SlowQueryError. May be used from several threads.

    Most registries do not tell of pulls: where none in a row does, its pulls, downloads, version_checks, requests and
    pullers are missing, not 0, and the column is Int64. A digest `unknown:…` was not told either.

    Who is excluded (`exclude`, by default proxies and replication) counts nowhere but in `history`, in `health`, and in
    `sql` over `changes`, `moves`, `events` and `deliveries`; every frame names it in `attrs["excluded"]`.
    """

    def __init__(
        self,
        data: str | os.PathLike[str] | None = None,
        *,
        now: Moment | None = None,
        exclude: Exclude | None = None,
        lag: float = 0.0,
        patience: float | None = None,
        engine: Any = "duckdb",
    ) -> None:
        self.now = _present() if now is None else now
        """The present, for `30d` and ages; None is the clock. Set it to look at the past."""
        self.exclude = config.load().exclude if exclude is None else exclude
        """Who is not counted; from `regstats.toml` if not given."""
        store = Store(data if data is not None else default_data())
        self._engine = Engine(store, self.exclude, backend(engine, store, patience), lag)

    def pulls(self, **parameters: Unpack[Parameters]) -> pd.DataFrame:
        """How often is it pulled, over time?

        Columns: period, the columns of `by`, pulls, downloads (the pulls that fetched layers), version_checks (asked
        whether there is something new, and fetched nothing), requests (the raw manifest events that all of it was made
        of). A row for every period of the window, from the first that anything happened in if it has no start.
        """
        return self._series("pulls", parameters)

    def pushes(self, **parameters: Unpack[Parameters]) -> pd.DataFrame:
        """How often is it pushed, over time?

        Columns: period, the columns of `by`, pushes (of manifests with a tag), updates (pushes that changed the digest
        of their tag), deletes (requests that deleted a manifest or tag). A row for every period, as in `pulls`.
        """
        return self._series("pushes", parameters)

    def repositories(self, **parameters: Unpack[Parameters]) -> pd.DataFrame:
        """What is there? One row per repository, the most pulled first.

        Columns: repository, pulls, downloads, version_checks, pushes, updates, tags, actors, pullers (distinct actor
        and address), first_pull, last_pull, first_push, last_push.
        """
        return self._answer("repositories", parameters)

    def tags(self, **parameters: Unpack[Parameters]) -> pd.DataFrame:
        """What is there, tag by tag? One row per repository and tag, the most pulled first.

        Columns: repository, tag (missing: what was pulled by digest), digest (what the tag points to at the end of the
        window, missing if it was deleted), pulls, downloads, version_checks, pushes, updates, actors, pullers,
        first_pull, last_pull, first_push, last_push.
        """
        return self._answer("tags", parameters)

    def top(self, **parameters: Unpack[Parameters]) -> pd.DataFrame:
        """What is used most? A leaderboard: one row per repository, or whatever is named in `by`.

        `measure`: pulls (default), downloads, version_checks, requests, pushes, updates or deletes.
        Columns: rank (equal measures have equal ranks), repository or the columns of `by`, the measure, share (of the
        window's total, 0 to 1), before (the measure in the window of equal length before; missing without `since`),
        change (the difference as a fraction of before; NaN if that is 0 or missing).
        """
        return self._answer("top", parameters)

    def cadence(self, **parameters: Unpack[Parameters]) -> pd.DataFrame:
        """How well is it maintained? Per repository one row for its releases (tag missing), and one for each tag.

        Columns: repository, tag, kind (repository, moving, immutable), updates, first_update, last_update,
        median_interval and p90_interval (between updates; NaT after a single one), age (since the last one, at the end
        of the window), overdue (age ÷
        median interval; NaN after a single update, and for immutable tags), grade (A to F; missing for immutable tags).

        An immutable tag is named after one build: 1.2.3, 2026-11-24, a commit. All others are moving. Updates of a
        repository are its releases: manifests that are pushed for the first time, less than an hour apart is one.

        The grade compares the age with the interval that is expected: the p90 interval, but at least 7 and at most 90
        days; and 90 days after less than three updates. Up to once that interval is A, twice B, 4 times C, 8 times D,
        16 times E, longer F.
        """
        return self._answer("cadence", parameters)

    def activity(self, **parameters: Unpack[Parameters]) -> pd.DataFrame:
        """Who does what? One row per actor, the most active first; with `interval`, per period and actor.

        Columns: (period,) actor (missing: anonymous), first_seen, last_seen, active_days, pulls, pushes, deletes,
        repositories, addresses, clients (the last three: how many different ones).
        """
        return self._answer("activity", parameters)

    def usage(self, **parameters: Unpack[Parameters]) -> pd.DataFrame:
        """Who uses which repository? One row per actor and repository, the most pulled first.

        Columns: actor (missing: anonymous), repository, pulls, downloads, last_pull.
        """
        return self._answer("usage", parameters)

    def history(self, **parameters: Unpack[Parameters]) -> pd.DataFrame:
        """What did a tag point to, when, and who moved it? One row per tag and stretch of time, in order.

        Columns: repository, tag, digest (missing: the tag was deleted then), since, until (not included; NaT: it is
        still so), actor and client_address (who made it so). Where a manifest was deleted by its digest, the tags that
        pointed to it end there. With `since` or `until`: what was so at any time of the window.

        `at`: what each tag pointed to at that moment, one row per tag that was there.
        Nobody is excluded: who is not counted still moves tags.
        """
        return self._answer("history", parameters)

    def adoption(self, **parameters: Unpack[Parameters]) -> pd.DataFrame:
        """How fast do clients move to a new digest, and who still pulls the old one?

        One row per update of a moving tag.

        Columns: (period,) repository, tag, digest, pushed_at, (by…,) pullers, share (0 to 1, of its pullers that have
        pulled the new manifest), time_to_50 and time_to_90 (until so many per cent had; NaT if they have not),
        last_old_pull (when somebody last pulled, after the update and before the next one, any manifest that the tag
        had pointed to before; NaT: nobody did).

        Pullers are distinct pairs of actor and address that pulled or checked the tag from 30 days before the update
        until the tag moved on. With `by`, which may be actor, client, client_version, client_address and user_agent,
        they are looked at apart: by actor and client_address, a share of 0 is who has not moved. With `interval`, a
        row for each period in which somebody moved, and for that of the update, with the share at its end.
        """
        return self._answer("adoption", parameters)

    def unused(self, *, catalog: pd.DataFrame | None = None, **parameters: Unpack[Parameters]) -> pd.DataFrame:
        """What has nobody pulled for a long time? One row per tag, the longest unused first.

        `days`: how long that is, default 90.

        Columns: repository, tag (missing: a manifest that no tag points to any more, and no index lists), digest,
        last_pull, last_push, idle_days (since the last use or push, whichever was later), size (bytes of
        configuration and layers, of all platforms, as far as they were seen to be pushed; layers that other images have
        too are counted with each).

        What is used is a manifest, under whatever name: if several tags share one, all of them are in use, and a
        pull of a child is a use of its index. A version check is a use too. Who is excluded does not use anything;
        with `actor` or `client`, only they do. Signatures and attestations are left out: they go with their image; and
        so are registries that do not tell of pulls.

        `catalog`: what the registry says that is in it, a frame with repository, tag and digest (and size, and source).
        It adds what no event ever told of: unused since the first event of all.
        """
        tables = {} if catalog is None else {"catalog": _catalog(catalog)}
        return self._ask("unused", self._understand("unused", parameters), tables)

    def clients(self, **parameters: Unpack[Parameters]) -> pd.DataFrame:
        """With what do they pull? One row per client and version, the most used first.

        Columns: client and client_version (missing: not known), pulls, downloads, version_checks, actors, pullers
        (distinct actor and address, of pulls and checks), last_seen.
        """
        return self._answer("clients", parameters)

    def anomalies(self, **parameters: Unpack[Parameters]) -> pd.DataFrame:
        """What is out of the ordinary? One row per surprise, the latest first.

        Columns: kind, repository, actor (each missing where it is not about one), at, observed, expected, reason (in
        words). Everything is compared with the eight weeks before it:

        spike, drop: a day's pulls of a repository are far from the median of the same weekday: six times as far as is
        usual there (median absolute distance) and as chance makes it, by 20 pulls at least, and the double or half.
        silence: no pulls for four times as long as its longest pause in four weeks or more was, and for more than
        three days; `at` is the last pull.
        new_actor: a name that was not seen, or did not push to a repository that others pushed to.
        pull_loop: one client pulls one manifest 50 times on a day, and ten times as often as others do.
        Of days in a row the first is told.
        """
        return self._answer("anomalies", parameters)

    def health(self, **parameters: Unpack[Parameters]) -> pd.DataFrame:
        """Can I trust these numbers? One row per source, of what was received in the window.

        Columns: source, deliveries, events, duplicates (events that came again), quarantined (deliveries of which
        something was not understood), first_received, last_received, silence (since the last), lag and max_lag (from
        the registry's clock to receipt: the median, the longest), gaps (silences longer than an hour and than twice
        what is usual), longest_gap, instances (of the registry) and restarts, reports_pulls (whether the registry tells
        of pulls; missing if no event is known). A registry that restarts loses what it has not delivered yet, so near a
        gap or a restart events may be missing. Nobody is excluded.

        The source `journal` is what a crash left unfinished in the journal: it was never acknowledged.
        """
        return self._answer("health", parameters)

    def quarantine(self, *, limit: int | None = None) -> pd.DataFrame:
        """Which deliveries were not understood, and why? The newest first.

        Columns: received_at, delivery_id, source, dialect, remote_address, bytes, error (the reason), body (exactly
        what was sent). Events of a delivery that were understood count all the same.
        """
        return self._ask("quarantine", understand({"limit": limit}, now=self.present, known=["limit"]))

    def chargeback(
        self,
        teams: Mapping[str, Team],
        *,
        since: Moment | None = None,
        until: Moment | None = None,
        tz: str | None = None,
    ) -> pd.DataFrame:
        """Who uses what, and what does it take? One row per team, in their order, and at last one of nobody's.

        Columns: team (missing: nobody's), pulls, downloads, bytes (of the blobs that these fetched: an upper bound),
        pushes, pushed (bytes of what was uploaded; missing where nothing that was pushed in the window has a size).

        A pull, with its bytes, is charged once: to the first team that its actor belongs to, else to the first team
        that its repository belongs to, else to nobody. So the sums are the totals of `pulls`. A push is charged to the
        first team that its repository belongs to, whoever pushed, and so is what was uploaded: the blobs and manifests,
        each once per source, however often and to however many repositories.

        `teams`: as in the settings, `config.load().teams`.
        """
        asked = {"since": since, "until": until, "tz": tz}
        query = understand(asked, now=self.present, interval="total", known=[*asked], is_past=self.now is not None)
        return self._ask("chargeback", query, {"rules": _rules(teams)})

    def sql(self, query: str, /, *, tables: Mapping[str, pa.Table] = NONE, **values: Any) -> Any:
        """Anything else, in SQL: a DuckDB relation over `events`, `pulls`, `pushes`, `deletes` and `deliveries`.

        `$name` in the query stands for the keyword argument of that name; `tables` are others that it may name.
        Where Apache Spark computes it is a Spark DataFrame.

        >>> stats.sql("select client, count(*) from pulls group by all")  # doctest: +SKIP
        """
        return self._engine.relation(query, values, tables)

    def __repr__(self) -> str:
        events, repositories, first, last = self._span()
        span = f", {first:%Y-%m-%d} … {last:%Y-%m-%d}" if events else ""
        return f"<Stats {events:,} events, {repositories:,} repositories{span}>"

    def _repr_html_(self) -> str:
        """For a notebook: what is in the store, of which time, and who is not counted."""
        events, repositories, first, last = self._span()
        span = f"{first:%Y-%m-%d} to {last:%Y-%m-%d}" if events else "nothing has happened yet"
        told = {
            "events": f"{events:,}",
            "repositories": f"{repositories:,}",
            "span": span,
            "present": f"{self.present:%Y-%m-%d %H:%M} UTC" if self.now is not None else "now",
            "not counted": str(self.exclude),
        }
        rows = (f"<tr><th>{name}</th><td>{html.escape(text)}</td></tr>" for name, text in told.items())
        return f"<table><tbody>{''.join(rows)}</tbody></table>"

    def _span(self) -> list[Any]:
        """How many events, of how many repositories, the first and the last time."""
        return [column[0].as_py() for column in self._engine.query(sql_text("span"))]

    @property
    def present(self) -> datetime:
        """The present as the numbers see it: `now`, else the clock."""
        return moment("now", self.now, now=utc_now()) or utc_now()

    def deployments(
        self,
        *,
        deployment_id: str | None = None,
        repository: Texts | None = None,
        rule: Texts | None = None,
        status: str | None = None,
        since: Moment | None = None,
        until: Moment | None = None,
        limit: int | None = None,
    ) -> pd.DataFrame:
        """What was deployed, when, and how did it go? One row per push and rule that applied to it, the latest first.

        `deployment_id` may be the beginning of one, `repository` and `rule` are globs, `status` is one of waiting,
        unapproved, running, succeeded, failed, skipped, superseded, rejected. The window is of the pushes. Columns:
        those of `events.Deployment`, history as lines of a text, duration (from the first attempt to the end) and
        lead_time (from the push to the end, if it went well).
        """
        if status not in (None, *STATUSES):
            raise ParameterError(f"status={status!r} is not one of: {', '.join(STATUSES)}.")
        asked = {"repository": repository, "since": since, "until": until, "limit": limit}
        query = understand(asked, now=self.present, interval="total", known=[*asked])
        text, values = prepare("deployments", query)
        named = {"id": deployment_id or "", "status": status}
        rules = pa.table({"rule": pa.array(["*"] if rule is None else _listed(rule), pa.string())})
        frame = _frame(self._engine.query(text, values | named, {"rules": rules}), query)
        told: dict[Any, Any] = {"metric": "deployments", "interval": "total", "tz": "UTC", "excluded": {}}
        frame.attrs = told | {"since": query.since, "until": query.until}
        return frame

    def _series(self, metric: str, parameters: Parameters) -> pd.DataFrame:
        """The answer to a question about time, with all periods of the window."""
        query = self._understand(metric, parameters)
        if query.interval == "total":
            return self._shown(metric, query)
        frame = self._ask(metric, query._replace(limit=None))
        if len(frame):
            frame = _without_gaps(frame, query)
        return frame.head(query.limit) if query.limit else frame

    def _answer(self, metric: str, parameters: Parameters) -> pd.DataFrame:
        return self._shown(metric, self._understand(metric, parameters))

    def _understand(self, metric: str, parameters: Parameters) -> Query:
        asked = METRICS[metric]
        return understand(
            parameters,
            now=self.present,
            interval=asked.interval,
            known=asked.parameters,
            dimensions=asked.dimensions,
            is_past=self.now is not None,
        )

    def _shown(self, metric: str, query: Query) -> pd.DataFrame:
        frame = self._ask(metric, query)
        return frame.drop(columns="period") if query.interval == "total" and "period" in frame else frame

    def _ask(self, metric: str, query: Query, tables: Mapping[str, pa.Table] = NONE) -> pd.DataFrame:
        frame = _frame(self._engine.query(*prepare(metric, query, tables), tables), query)
        frame.attrs = {
            "metric": metric,
            "since": query.since,
            "until": query.until,
            "interval": query.interval,
            "tz": query.tz,
            "excluded": msgspec.to_builtins(self.exclude),
        }
        return frame


def default_data() -> str:
    """Where the store is if nobody says: `$REGSTATS_DATA`, else `./data`."""
    return os.environ.get("REGSTATS_DATA") or DEFAULT_DATA


def _present() -> str | None:
    """The present if nobody says: `$REGSTATS_NOW`, else the clock. Raises ParameterError where that is not a time."""
    named = os.environ.get("REGSTATS_NOW") or None
    moment("REGSTATS_NOW", named, now=utc_now())
    return named


def _listed(globs: Texts) -> list[str]:
    return [globs] if isinstance(globs, str) else list(globs)


def _catalog(given: pd.DataFrame) -> pa.Table:
    """What a registry says that is in it, as a table. Raises ParameterError where a column is missing."""
    missing = {"repository", "tag", "digest"} - set(given.columns)
    if missing:
        raise ParameterError(f"The catalog has no column {min(missing)!r}; it needs repository, tag and digest.")
    whole = given.assign(**{column: value for column, value in _OPTIONAL.items() if column not in given.columns})
    return pa.Table.from_pandas(whole[list(_CATALOG.names)], schema=_CATALOG, preserve_index=False)


def _rules(teams: Mapping[str, Team]) -> pa.Table:
    """What belongs to which team, a row for each glob; the last row is nobody's."""
    rows = [
        {"position": position, "team": name, column: glob}
        for position, (name, team) in enumerate(teams.items())
        for column, globs in (("repository", team.repositories), ("actor", team.actors))
        for glob in globs
    ]
    return pa.Table.from_pylist([*rows, {"position": len(teams)}], schema=_RULES)


def _without_gaps(frame: pd.DataFrame, query: Query) -> pd.DataFrame:
    """The series with all periods up to the end of the window, or to the latest event, if its clock is ahead."""
    seen = [moment.to_pydatetime() for moment in _instants(frame["period"], query.tz)]
    first = query.since or min(seen)
    last = max(query.end - timedelta(microseconds=1), *seen, first)
    attrs, frame.attrs = frame.attrs, {}  # pandas would copy them with every step
    whole = filled(frame, periods(first, last, query.interval, query.tz), query.by)
    whole.attrs = attrs
    return whole


def _instants(column: "pd.Series[Any]", tz: str) -> list[pd.Timestamp]:
    """The first and last of some periods as instants."""
    ends = pd.DatetimeIndex([column.min(), column.max()])
    return list(ends if ends.tz else ends.tz_localize(tz, ambiguous=True, nonexistent="shift_forward"))


def _frame(table: pa.Table, query: Query) -> pd.DataFrame:
    """An Arrow table with the types that a metric's frame has."""
    table = table.cast(pa.schema([field.with_type(_type_of(field, query)) for field in table.schema]))
    frame: pd.DataFrame = table.to_pandas(date_as_object=False)
    for name in filter(lambda name: _is_nullable(table[name], name), frame.columns):
        frame[name] = table[name].to_pandas(types_mapper=_NULLABLE.get)
    return frame


def _is_nullable(column: pa.ChunkedArray, name: str) -> bool:
    """Whether pandas would make something else of it, because a value is missing, or may be: of numbers, fractions."""
    may_be = pa.types.is_boolean(column.type) or name in _MAY_BE_MISSING
    return may_be or (pa.types.is_int64(column.type) and bool(column.null_count))


def _type_of(field: pa.Field, query: Query) -> pa.DataType:
    if field.name in _DURATIONS:
        return pa.duration("us")
    if pa.types.is_date(field.type):
        return pa.timestamp("us")
    if pa.types.is_timestamp(field.type):
        return pa.timestamp("us", tz=query.tz if field.name == "period" else "UTC")
    return field.type
