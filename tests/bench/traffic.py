"""Traffic for benchmarks: operations of clients, expanded into the events that each was measured to cause.

Repositories, tags and clients are drawn from a Zipf distribution; the hours of a day are drawn evenly. Made by DuckDB
from hashes, so the same numbers give the same events.
"""

from pathlib import Path

from regstats.database import connect
from regstats.parts import EVENTS, Part
from regstats.store import Store

# operation: its share of all operations, and its steps: milliseconds after the start, method, what, by tag.
# A manifest m, an index i, blobs b1 to b3.
OPERATIONS = {
    "docker pull": (0.40, "0 HEAD m tag, 20 GET m, 40 GET b1, 50 GET b2, 60 GET b3"),
    "podman pull": (0.20, "0 GET m tag, 30 GET b1, 60 GET b2"),
    "docker pull of an index": (0.15, "0 HEAD i tag, 20 GET i, 30 GET m, 50 GET b1, 60 GET b2, 70 GET b3"),
    "version check": (0.20, "0 HEAD m tag"),
    "push": (0.05, "0 PUT b1, 50 PUT b2, 90 PUT m tag"),
}
EVENTS_PER_OPERATION = sum(share * (steps.count(",") + 1) for share, steps in OPERATIONS.values())
FIRST_DAY = "2026-01-01"


def write(root: Path, events: int, days: int, repositories: int = 1000) -> Store:
    """A store with about so many events over so many days, a part per date, sorted as merging sorts them."""
    store = Store(root, create=True)
    per_day = round(events / EVENTS_PER_OPERATION / days)
    with connect() as con:
        con.execute(
            "create macro u(i, s) as hash(cast(i as bigint) + cast(s as bigint) * 1000000000000) / pow(2.0, 64)"
        )
        con.execute("create macro zipf(i, s, n) as cast(floor(exp(u(i, s) * ln(n + 1))) as int)")
        con.execute(f"create table step as from (values {_steps()}) as s(op, least, most, ms, method, what, tagged)")
        for number in range(days):
            con.execute(_day(number, per_day, repositories))
            ((day,),) = con.sql("select min(date) from day").fetchall()
            table = con.sql(
                f"select {', '.join(EVENTS.names)} from day order by repository, tag, timestamp"
            ).to_arrow_table()
            with store.exclusive():
                store.replace("events", day, "bench", table.cast(EVENTS))
    return store


def _steps() -> str:
    rows, least = [], 0.0
    for op, (share, steps) in OPERATIONS.items():
        for step in steps.split(", "):
            ms, method, what, *tag = step.split()
            rows.append(f"('{op}', {least}, {least + share}, {ms}, '{method}', '{what}', {bool(tag)})")
        least += share
    return ", ".join(rows)


def _day(number: int, operations: int, repositories: int) -> str:
    start = f"epoch_us(timestamp '{FIRST_DAY}') + {number} * 86400000000"
    return f"""
        create or replace table day as
        with op as (
          select i, zipf(i, 1, {repositories}) as r, zipf(i, 2, 30) as t, zipf(i, 3, 3000) as c, u(i, 4) as draw,
            cast(floor(86399e6 * u(i, 5)) as bigint) + {start} as us
          from range({number * operations}, {(number + 1) * operations}) as x(i)
        )
        select
          md5(i || '-' || ms) as event_id, 'default' as source, 'distribution' as dialect,
          make_timestamptz(us + ms * 1000) as timestamp, true as timestamp_trusted,
          make_timestamptz(us + ms * 1000 + 3000) as received_at,
          case when method = 'PUT' then 'push' else 'pull' end as action,
          case what when 'i' then 'index' when 'm' then 'manifest' else 'blob' end as kind,
          'team' || (r % 41) || '/repository-' || r as repository, case when tagged then 'v' || t end as tag,
          'sha256:' || sha256(r || ':' || t || ':' || what) as digest,
          case what when 'i' then 'application/vnd.oci.image.index.v1+json'
            when 'm' then 'application/vnd.oci.image.manifest.v1+json' else 'application/octet-stream' end
            as media_type,
          cast(1000 + hash(what) % 100000 as bigint) as size, cast(null as varchar) as from_repository,
          cast(null as varchar[]) as reference_digests,
          case when c % 5 > 0 then 'user-' || (c % 300) end as actor,
          '10.' || (c % 200) || '.' || (c // 200) || '.7' as client_address,
          case op when 'podman pull' then 'containers/5.23.1 (github.com/containers/image)'
            when 'version check' then 'crane/(devel) go-containerregistry/(devel)'
            else 'docker/27.5.' || (c % 20) end as user_agent,
          case op when 'podman pull' then 'podman' when 'version check' then 'crane' else 'docker' end as client,
          case op when 'podman pull' then '5.23.1' when 'version check' then null else '27.5.' || (c % 20) end
            as client_version,
          method, md5(i || '/' || ms) as request_id, 'registry.example' as registry, 'instance' as instance_id,
          md5(i || '+' || ms) as delivery_id, cast(make_timestamptz(us + ms * 1000) as date) as date
        from op inner join step on draw >= least and draw < most
    """


def truth(store: Store) -> dict[str, int]:
    """What the clients did, from how the events were made: an operation is its first event."""
    files = [
        store.path_of(part) for part in store.manifest().parts if isinstance(part, Part) and part.table == "events"
    ]
    with connect() as con:
        (row,) = (
            con.sql(
                f"""
            select count(*) filter (where tag is not null and action = 'pull' and client <> 'crane') as pulls,
              count(*) filter (where client = 'crane') as version_checks
            from read_parquet({files})
            """
            )
            .to_arrow_table()
            .to_pylist()
        )
        return row
