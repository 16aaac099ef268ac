"""The same questions, answered with what one would use instead: pandas, polars, SQLite, a table of DuckDB's own.

All but the last start where the hard work is done: from the pulls that regstats has accounted for, and from its pushes
and deletes in a file each. They answer with what is counted and with first and last times, and leave out what else
there is in a row. Who is to be excluded does not occur, so they need not look. `since` is a date, or None for all.
"""

import sqlite3
from datetime import date, timedelta
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import polars as pl
import pyarrow.parquet as pq

import regstats
from regstats import store
from regstats.backends import duck
from regstats.database import connect, read_parquet
from regstats.store import Store

NOW = date(2026, 11, 24)
PULLS = ["pull_by_tag", "pull_by_digest"]
UNUSED_FOR = timedelta(days=90)


class Data(NamedTuple):
    """Where everything is: the store, and a folder with what the peers are given."""

    store: Path
    folder: Path

    def files(self, table: str, since: date | None) -> list[str]:
        """Parquet files of a table: pulls as they are in the store, a file per month and for each of the last dates."""
        if table != "pulls":
            return [str(self.folder / f"{table}.parquet")]
        store = Store(self.store)
        parts = [part for part in store.manifest().parts if part.table == "pulls"]
        return [store.url_of(part) for part in parts if since is None or part.contents[-1].date >= since]


# What is made beforehand.


def write_parquet(data: Data) -> None:
    """Pushes and deletes, as regstats sees them."""
    stats = regstats.open(data.store, now=NOW)
    for table in ("pushes", "deletes"):
        rows = stats.sql(f"select * exclude date from {table} order by repository, tag, us")
        rows.write_parquet(str(data.folder / f"{table}.parquet"), compression="zstd")


def write_duckdb(data: Data) -> None:
    """A table for each table of the store, in the order in which the parts are."""
    store, tables = Store(data.store), {}
    for part in store.manifest().parts:
        tables.setdefault(part.table, []).append(store.url_of(part))
    with connect() as con:
        con.execute(f"attach '{data.folder / 'duckdb'}' as native")
        for table, files in tables.items():
            columns = con.sql(f"from read_parquet('{files[0]}', hive_partitioning = false)").columns
            con.execute(f"create table native.{table} as {read_parquet(files, columns)}")


_SQLITE = """
create table pulls (us integer, date text, repository text, tag text, kind text, actor text, client_address text,
  client text, client_version text, requests integer, downloaded integer);
create table pushes (us integer, date text, repository text, tag text, digest text, actor text, client_address text,
  client text, event_id text, is_update integer);
create table deletes (us integer, date text, repository text, tag text, kind text, actor text, client_address text,
  client text, request_id text, event_id text);
"""
_INDEXES = """
create index by_date on pulls (date);
create index by_tag on pulls (repository, tag, us);
create index by_actor on pulls (actor, repository);
create index pushes_by_tag on pushes (repository, tag, us);
create index pushes_by_date on pushes (date);
analyze;
"""


def write_sqlite(data: Data) -> None:
    """Tables with the columns that are needed, and indexes."""
    with sqlite3.connect(data.folder / "sqlite") as con, connect() as reader:
        con.executescript("pragma journal_mode = off; pragma synchronous = off;" + _SQLITE)
        for table in ("pulls", "pushes", "deletes"):
            columns = [name for _, name, *_ in con.execute(f"pragma table_info({table})")]
            selected = ", ".join(
                {"us": "epoch_us(timestamp)", "date": "timestamp::date::varchar"}.get(c, c) for c in columns
            )
            for file in data.files(table, None):
                rows = reader.sql(f"select {selected} from read_parquet('{file}')").fetchall()
                con.executemany(f"insert into {table} values ({', '.join('?' * len(columns))})", rows)
        con.executescript(_INDEXES)


# Who is asked. `ask` answers with a frame that has the columns of the metric, of those that are compared.


class Regstats:
    """regstats itself."""

    def __init__(self, data: Data, since: date | None) -> None:
        self._since = since
        self.stats = regstats.open(data.store, now=NOW)
        self.stats.sql("from events limit 0").fetchall()  # opens it: without this the first question would

    def ask(self, question: str) -> pd.DataFrame:
        parameters = {"limit": 10} if question == "top" else {}
        if self._since:
            parameters["since"] = f"{(NOW - self._since).days}d"
        return getattr(self.stats, question)(**parameters)


class DuckDB(Regstats):
    """The same SQL over tables of a DuckDB database: regstats reads them where else it would read Parquet files."""

    def __init__(self, data: Data, since: date | None) -> None:
        def read_table(files, columns):
            table = Path(next(iter(files))).parent.parent.name
            return f"select {', '.join(dict.fromkeys([*columns, 'date']))} from native.{table}"

        store.read_parquet = read_table
        connected = duck.connect

        def connect_to_tables():
            con = connected()
            con.execute(f"attach '{data.folder / 'duckdb'}' as native (read_only)")
            return con

        duck.connect = connect_to_tables
        super().__init__(data, since)


class Pandas:
    """Reads the columns that it needs; who asks again has them in memory."""

    def __init__(self, data: Data, since: date | None) -> None:
        self._data, self._since, self._frames = data, since, {}

    def ask(self, question: str) -> pd.DataFrame:
        return getattr(self, question)()

    def _read(self, table: str, columns: str) -> pd.DataFrame:
        key = table, columns, self._since
        if key not in self._frames:
            files = self._data.files(table, self._since)
            frame = pq.read_table(files, columns=columns.split(), partitioning=None).to_pandas()
            self._frames[key] = frame[frame["timestamp"] >= str(self._since)] if self._since else frame
        return self._frames[key]

    def pulls(self) -> pd.DataFrame:
        asked = self._read("pulls", "timestamp kind downloaded requests")
        is_pull = asked["kind"].isin(PULLS)
        counted = {"period": asked["timestamp"].dt.floor("D"), "pulls": is_pull, "requests": asked["requests"]}
        counted |= {"downloads": is_pull & asked["downloaded"], "version_checks": asked["kind"] == "version_check"}
        return pd.DataFrame(counted).groupby("period").sum().reset_index()

    def pushes(self) -> pd.DataFrame:
        pushes, deletes = (
            self._read("pushes", "timestamp is_update"),
            self._read("deletes", "timestamp kind request_id"),
        )
        by_day = pushes.groupby(pushes["timestamp"].dt.floor("D"))["is_update"].agg(pushes="size", updates="sum")
        deletes = deletes[deletes["kind"] != "blob"]
        counted = deletes.groupby(deletes["timestamp"].dt.floor("D"))["request_id"].nunique()
        return by_day.join(counted.rename("deletes"), how="outer").fillna(0).reset_index()

    def repositories(self) -> pd.DataFrame:
        return self._used(["repository"])

    def tags(self) -> pd.DataFrame:
        return self._used(["repository", "tag"])

    def _used(self, keys: list[str]) -> pd.DataFrame:
        asked = self._read("pulls", "timestamp repository tag kind downloaded actor client_address")
        pushed = self._read("pushes", "timestamp repository tag is_update").groupby(keys)
        pulled = asked[asked["kind"].isin(PULLS)]
        pulls = pulled.groupby(keys, dropna=False)
        checks = asked[asked["kind"] == "version_check"].groupby(keys, dropna=False).size()
        pullers = pulled.drop_duplicates([*keys, "actor", "client_address"]).groupby(keys, dropna=False).size()
        frame = pulls.agg(
            pulls=("kind", "size"), downloads=("downloaded", "sum"),
            first_pull=("timestamp", "min"), last_pull=("timestamp", "max"),
        )  # fmt: skip
        pushes = pushed.agg(
            pushes=("is_update", "size"), updates=("is_update", "sum"),
            first_push=("timestamp", "min"), last_push=("timestamp", "max"),
        )  # fmt: skip
        frame = frame.join([checks.rename("version_checks"), pullers.rename("pullers"), pushes], how="outer")
        return frame.reset_index().sort_values("pulls", ascending=False)

    def top(self) -> pd.DataFrame:
        asked = self._read("pulls", "timestamp repository kind")
        counts = asked.loc[asked["kind"].isin(PULLS), "repository"].value_counts()
        return pd.DataFrame({"pulls": counts, "share": counts / counts.sum()}).head(10).reset_index()

    def cadence(self) -> pd.DataFrame:
        pushes = self._read("pushes", "timestamp us repository tag is_update")
        updates = pushes[pushes["is_update"]].sort_values(["repository", "tag", "us"])
        updates = updates.assign(gap=updates.groupby(["repository", "tag"])["us"].diff())
        by_tag = updates.groupby(["repository", "tag"])
        frame = by_tag["timestamp"].agg(updates="size", first_update="min", last_update="max")
        return frame.assign(median_interval=by_tag["gap"].quantile(0.5, interpolation="lower")).reset_index()

    def activity(self) -> pd.DataFrame:
        columns = "timestamp repository actor client_address client"
        asked = self._read("pulls", f"{columns} kind")
        deletes = self._read("deletes", f"{columns} kind request_id")
        deletes = deletes[deletes["kind"] != "blob"].drop_duplicates("request_id")
        done = pd.concat([
            asked.assign(pulls=asked["kind"].isin(PULLS).astype(int), pushes=0, deletes=0).drop(columns="kind"),
            self._read("pushes", columns).assign(pulls=0, pushes=1, deletes=0),
            deletes[columns.split()].assign(pulls=0, pushes=0, deletes=1),
        ])  # fmt: skip
        done = done.assign(day=done["timestamp"].dt.floor("D")).groupby("actor", dropna=False)
        return done.agg(
            first_seen=("timestamp", "min"), last_seen=("timestamp", "max"), active_days=("day", "nunique"),
            pulls=("pulls", "sum"), pushes=("pushes", "sum"), deletes=("deletes", "sum"),
            repositories=("repository", "nunique"), addresses=("client_address", "nunique"),
            clients=("client", "nunique"),
        ).reset_index()  # fmt: skip

    def usage(self) -> pd.DataFrame:
        asked = self._read("pulls", "timestamp repository actor kind downloaded")
        pulled = asked[asked["kind"].isin(PULLS)].groupby(["actor", "repository"], dropna=False)
        return pulled.agg(
            pulls=("kind", "size"), downloads=("downloaded", "sum"), last_pull=("timestamp", "max")
        ).reset_index()

    def history(self) -> pd.DataFrame:
        columns = "us repository tag actor client_address event_id"
        pushes = self._read("pushes", f"timestamp is_update digest {columns}")
        deletes = self._read("deletes", f"timestamp {columns}")
        moved = pd.concat([pushes[pushes["is_update"]], deletes[deletes["tag"].notna()]])
        moved = moved.sort_values(["repository", "tag", "us", "event_id"])
        return moved.assign(until=moved.groupby(["repository", "tag"])["timestamp"].shift(-1))

    def unused(self) -> pd.DataFrame:
        asked, pushes = (
            self._read("pulls", "timestamp repository tag"),
            self._read("pushes", "timestamp repository tag"),
        )
        last = pd.concat([asked, pushes]).groupby(["repository", "tag"])["timestamp"].max()
        return last[last < pd.Timestamp(NOW, tz="UTC") - UNUSED_FOR].sort_values().reset_index()

    def clients(self) -> pd.DataFrame:
        asked = self._read("pulls", "timestamp kind downloaded client client_version actor client_address")
        asked = asked[asked["kind"] != "lookup"]
        is_pull, keys = asked["kind"].isin(PULLS), ["client", "client_version"]
        by_client = asked.assign(
            pulls=is_pull, downloads=is_pull & asked["downloaded"], version_checks=~is_pull
        ).groupby(keys, dropna=False)  # fmt: skip
        pullers = asked.drop_duplicates([*keys, "actor", "client_address"]).groupby(keys, dropna=False).size()
        frame = by_client[["pulls", "downloads", "version_checks"]].sum()
        return frame.assign(last_seen=by_client["timestamp"].max(), pullers=pullers).reset_index()


class Polars:
    """Scans the files anew each time, by its streaming engine."""

    def __init__(self, data: Data, since: date | None) -> None:
        self._data, self._since = data, since

    def ask(self, question: str) -> pl.DataFrame:
        return getattr(self, question)().collect(engine="streaming")

    def _scan(self, table: str) -> pl.LazyFrame:
        rows = pl.scan_parquet(self._data.files(table, self._since), hive_partitioning=False)
        return rows.filter(pl.col("timestamp").dt.date() >= self._since) if self._since else rows

    def pulls(self) -> pl.LazyFrame:
        is_pull = pl.col("kind").is_in(PULLS)
        return self._scan("pulls").group_by(period=pl.col("timestamp").dt.date()).agg(
            pulls=is_pull.sum(), downloads=(is_pull & pl.col("downloaded")).sum(),
            version_checks=(pl.col("kind") == "version_check").sum(), requests=pl.col("requests").sum(),
        ).sort("period")  # fmt: skip

    def pushes(self) -> pl.LazyFrame:
        period = pl.col("timestamp").dt.date()
        pushes = self._scan("pushes").group_by(period=period).agg(pushes=pl.len(), updates=pl.col("is_update").sum())
        deletes = self._scan("deletes").filter(pl.col("kind") != "blob").group_by(period=period)
        counted = deletes.agg(deletes=pl.col("request_id").n_unique())
        return pushes.join(counted, on="period", how="full", coalesce=True).fill_null(0).sort("period")

    def repositories(self) -> pl.LazyFrame:
        return self._used(["repository"])

    def tags(self) -> pl.LazyFrame:
        return self._used(["repository", "tag"])

    def _used(self, keys: list[str]) -> pl.LazyFrame:
        is_pull, time = pl.col("kind").is_in(PULLS), pl.col("timestamp")
        pulls = self._scan("pulls").group_by(keys).agg(
            pulls=is_pull.sum(), downloads=(is_pull & pl.col("downloaded")).sum(),
            version_checks=(pl.col("kind") == "version_check").sum(),
            first_pull=time.filter(is_pull).min(), last_pull=time.filter(is_pull).max(),
            pullers=pl.struct("actor", "client_address").filter(is_pull).n_unique(),
        )  # fmt: skip
        pushes = self._scan("pushes").group_by(keys).agg(
            pushes=pl.len(), updates=pl.col("is_update").sum(), first_push=time.min(), last_push=time.max()
        )  # fmt: skip
        return pulls.join(pushes, on=keys, how="full", coalesce=True, nulls_equal=True).sort("pulls", descending=True)

    def top(self) -> pl.LazyFrame:
        pulled = self._scan("pulls").filter(pl.col("kind").is_in(PULLS)).group_by("repository").agg(pulls=pl.len())
        return pulled.with_columns(share=pl.col("pulls") / pl.col("pulls").sum()).top_k(10, by="pulls")

    def cadence(self) -> pl.LazyFrame:
        updates = self._scan("pushes").filter("is_update").sort("repository", "tag", "us")
        return updates.group_by("repository", "tag", maintain_order=True).agg(
            updates=pl.len(), first_update=pl.col("timestamp").min(), last_update=pl.col("timestamp").max(),
            median_interval=pl.col("us").diff().drop_nulls().quantile(0.5, "lower"),
        )  # fmt: skip

    def activity(self) -> pl.LazyFrame:
        columns = ["timestamp", "repository", "actor", "client_address", "client"]
        pulls = self._scan("pulls").select(*columns, pulls=pl.col("kind").is_in(PULLS))
        deletes = self._scan("deletes").filter(pl.col("kind") != "blob").unique("request_id")
        done = pl.concat([
            pulls,
            self._scan("pushes").select(*columns, pushes=pl.lit(True)),
            deletes.select(*columns, deletes=pl.lit(True)),
        ], how="diagonal")  # fmt: skip
        time = pl.col("timestamp")
        return done.group_by("actor").agg(
            pl.col("pulls", "pushes", "deletes").sum(), first_seen=time.min(), last_seen=time.max(),
            active_days=time.dt.date().n_unique(), repositories=pl.col("repository").n_unique(),
            addresses=pl.col("client_address").n_unique(), clients=pl.col("client").n_unique(),
        )  # fmt: skip

    def usage(self) -> pl.LazyFrame:
        return self._scan("pulls").filter(pl.col("kind").is_in(PULLS)).group_by("actor", "repository").agg(
            pulls=pl.len(), downloads=pl.col("downloaded").sum(), last_pull=pl.col("timestamp").max()
        )  # fmt: skip

    def history(self) -> pl.LazyFrame:
        columns = ["timestamp", "us", "repository", "tag", "actor", "client_address", "event_id"]
        pushes = self._scan("pushes").filter("is_update").select(*columns, "digest")
        deletes = self._scan("deletes").filter(pl.col("tag").is_not_null()).select(columns)
        moved = pl.concat([pushes, deletes], how="diagonal").sort("repository", "tag", "us", "event_id")
        return moved.with_columns(until=pl.col("timestamp").shift(-1).over("repository", "tag"))

    def unused(self) -> pl.LazyFrame:
        columns = ["repository", "tag", "timestamp"]
        used = pl.concat([self._scan("pulls").select(columns), self._scan("pushes").select(columns)])
        last = used.drop_nulls("tag").group_by("repository", "tag").agg(last=pl.col("timestamp").max())
        return last.filter(pl.col("last").dt.date() < NOW - UNUSED_FOR).sort("last")

    def clients(self) -> pl.LazyFrame:
        is_pull = pl.col("kind").is_in(PULLS)
        asked = self._scan("pulls").filter(pl.col("kind") != "lookup")
        return asked.group_by("client", "client_version").agg(
            pulls=is_pull.sum(), downloads=(is_pull & pl.col("downloaded")).sum(), version_checks=(~is_pull).sum(),
            pullers=pl.struct("actor", "client_address").n_unique(), last_seen=pl.col("timestamp").max(),
        )  # fmt: skip


_COUNTS = """count(*) filter (where kind in ('pull_by_tag', 'pull_by_digest')) as pulls,
  count(*) filter (where kind in ('pull_by_tag', 'pull_by_digest') and downloaded) as downloads,
  count(*) filter (where kind = 'version_check') as version_checks"""
_USED = f"""
with pulled as (
  select {{keys}}, {_COUNTS},
    min(us) filter (where kind in ('pull_by_tag', 'pull_by_digest')) as first_pull,
    max(us) filter (where kind in ('pull_by_tag', 'pull_by_digest')) as last_pull,
    count(distinct case when kind in ('pull_by_tag', 'pull_by_digest')
      then coalesce(actor, '') || ' ' || coalesce(client_address, '') end) as pullers
  from pulls where {{since}} group by {{keys}}
),
pushed as (
  select {{keys}}, count(*) as pushes, sum(is_update) as updates, min(us) as first_push, max(us) as last_push
  from pushes where {{since}} group by {{keys}}
)
select * from pulled full join pushed using ({{keys}}) order by pulls desc
"""


class SQLite:
    """One query each, over indexed tables."""

    pulls = f"select date as period, {_COUNTS}, sum(requests) as requests from pulls where {{since}} group by date"
    pushes = """
        select * from (
          select date as period, count(*) as pushes, sum(is_update) as updates
          from pushes where {since} group by date
        )
        full join (
          select date as period, count(distinct request_id) as deletes
          from deletes where {since} and kind <> 'blob' group by date
        ) using (period)
        order by period"""
    repositories = _USED.replace("{keys}", "repository")
    tags = _USED.replace("{keys}", "repository, tag")
    top = """
        select repository, count(*) as pulls, 1.0 * count(*) / sum(count(*)) over () as share
        from pulls where {since} and kind in ('pull_by_tag', 'pull_by_digest')
        group by repository order by pulls desc limit 10"""
    cadence = """
        with updated as (
          select repository, tag, us, us - lag(us) over (partition by repository, tag order by us, event_id) as gap
          from pushes where {since} and is_update
        ),
        ranked as (
          select repository, tag, gap, row_number() over (partition by repository, tag order by gap) as number,
            count(*) over (partition by repository, tag) as gaps
          from updated where gap is not null
        )
        select repository, tag, count(*) as updates, min(us) as first_update, max(us) as last_update,
          max(median.gap) as median_interval
        from updated
        left join (select * from ranked where number = (gaps + 1) / 2) as median using (repository, tag)
        group by repository, tag"""
    activity = """
        select actor, min(us) as first_seen, max(us) as last_seen, count(distinct date) as active_days,
          sum(pulls) as pulls, sum(pushes) as pushes, count(distinct deletion) as deletes,
          count(distinct repository) as repositories, count(distinct client_address) as addresses,
          count(distinct client) as clients
        from (
          select actor, us, date, repository, client_address, client,
            kind in ('pull_by_tag', 'pull_by_digest') as pulls, 0 as pushes, null as deletion
          from pulls where {since}
          union all
          select actor, us, date, repository, client_address, client, 0, 1, null from pushes where {since}
          union all
          select actor, us, date, repository, client_address, client, 0, 0, request_id
          from deletes where {since} and kind <> 'blob'
        )
        group by actor"""
    usage = """
        select actor, repository, count(*) as pulls, sum(downloaded) as downloads, max(us) as last_pull
        from pulls where {since} and kind in ('pull_by_tag', 'pull_by_digest') group by actor, repository"""
    history = """
        select *, lead(us) over (partition by repository, tag order by us, event_id) as until
        from (
          select us, repository, tag, digest, actor, client_address, event_id
          from pushes where {since} and is_update
          union all
          select us, repository, tag, null, actor, client_address, event_id
          from deletes where {since} and tag is not null
        )"""
    unused = f"""
        select repository, tag, max(date) as last
        from (
          select repository, tag, date from pulls where tag is not null
          union all
          select repository, tag, date from pushes
        )
        group by repository, tag having max(date) < '{NOW - UNUSED_FOR}' order by last"""
    clients = f"""
        select client, client_version, {_COUNTS}, max(us) as last_seen,
          count(distinct coalesce(actor, '') || ' ' || coalesce(client_address, '')) as pullers
        from pulls where {{since}} and kind <> 'lookup' group by client, client_version"""

    def __init__(self, data: Data, since: date | None) -> None:
        self._since = f"date >= '{since}'" if since else "true"
        self._con = sqlite3.connect(data.folder / "sqlite")
        self._con.executescript(
            "pragma cache_size = -1000000; pragma mmap_size = 8000000000; pragma temp_store = memory"
        )

    def ask(self, question: str) -> pd.DataFrame:
        found = self._con.execute(getattr(self, question).replace("{since}", self._since))
        return pd.DataFrame(found.fetchall(), columns=[name for name, *_ in found.description])
