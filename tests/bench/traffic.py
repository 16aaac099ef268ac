"""Traffic for benchmarks: what clients do at a registry, expanded into the events that each was measured to cause.

Repositories are drawn from a Zipf distribution, and each machine has some that it prefers. Tags move when something is
pushed, and who pulls gets what the tag points to then. People work on weekdays, CI builds by night as well, and there
are more machines as time goes by. All of it is made by DuckDB from hashes, so the same numbers give the same events.

`python tests/bench/traffic.py STORE [--events 50000000] [--days 730]` writes such a store, accounted for. In the
deliveries, one for each event, the body is a stand-in: there is nothing that could be taken up again from it.
"""

import argparse
from datetime import UTC, date, datetime, time
from pathlib import Path

from regstats.compact import _MERGED as LAYOUTS
from regstats.compact import compact
from regstats.database import connect, literal
from regstats.parts import COMPRESSION_LEVEL, DAY, EDGE, Part, TableName, appearing
from regstats.store import Store
from regstats.useragents import client_of

LAST_DAY = date(2026, 11, 23)
NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
"""When a collector has accounted for all of it, and gathered the months before."""

_DOCKER = (
    "docker/{0} go/go1.22.{1} git-commit/4c9b3b0 kernel/6.1.0-{1}-amd64 os/linux arch/amd64 "
    r"UpstreamClient(Docker-Client/{0} \(linux\))"
)
_DOCKERS = [
    _DOCKER.format(v, n) for n, v in enumerate(("24.0.7", "25.0.3", "26.1.5", "27.3.1", "27.5.1", "28.1.1"), 20)
]
_CRANE = "crane/(devel) go-containerregistry/(devel)"

# Client: how many machines, the names of their actors and how many, and the user agents, of which each machine has one
# after the other.
CLIENTS = {
    "docker": (1200, "user", 180, _DOCKERS),
    "containerd": (900, "cluster", 30, [f"containerd/{v}" for v in ("1.7.11", "1.7.24", "2.0.2", "2.1.4")]),
    "podman": (350, "user", 180, [f"containers/5.{v} (github.com/containers/image)" for v in ("29.2", "32.2", "36.1")]),
    "skopeo": (100, "ops", 10, ["skopeo/1.14.2", "skopeo/1.18.0"]),
    "crane": (300, "updates", 20, [_CRANE]),
    "builder": (150, "ci", 60, [*_DOCKERS[2:], "Buildah/1.33.7", "kaniko/v1.23.2"]),
    "release": (150, "ci", 60, [_CRANE]),
    "cleanup": (1, "admin", 1, ["curl/8.5.0"]),
}
MACHINES = sum(machines for machines, *_ in CLIENTS.values())

# Client, its share of all that those do who pull, what it is, and its steps: milliseconds after the start, method,
# what, and the tag by which it is asked for. t is the image's top, c its child for the client's platform where the top
# is an index, c1 and c2 its children, b0 its config, b1 to b3 its layers.
_FETCH = "60 GET t, 120 GET c, 180 GET b0, 240 GET b1, 260 GET b2, 280 GET b3"
OPERATIONS = [
    ("docker", 0.17, "pull", f"0 HEAD t tag, {_FETCH}"),
    ("docker", 0.09, "pull", "0 HEAD t tag, 60 GET t, 120 GET c, 180 GET b0, 240 GET b3"),
    ("docker", 0.10, "version check", "0 HEAD t tag"),
    ("containerd", 0.16, "pull", f"0 HEAD t tag, {_FETCH}"),
    ("containerd", 0.07, "pull", f"0 HEAD t, {_FETCH}"),
    ("containerd", 0.03, "version check", "0 HEAD t tag"),
    ("podman", 0.07, "pull", "0 GET t tag, 60 GET c, 90 GET b0, 120 GET b1, 140 GET b2, 160 GET b3"),
    ("podman", 0.05, "pull", "0 GET t tag, 60 GET c, 90 GET b0"),
    ("skopeo", 0.03, "pull", "0 GET t tag"),
    ("skopeo", 0.01, "pull", "0 GET t tag, 60 GET c1, 70 GET c2, 90 GET b0, 120 GET b1, 140 GET b2, 160 GET b3"),
    ("crane", 0.22, "version check", "0 HEAD t tag"),
    ("builder", 0, "push", "-300 HEAD b1, -280 HEAD b2, -200 PUT b3, -99 PUT b0, -60 PUT c1, -50 PUT c2, 0 PUT t main"),
    ("release", 0, "push", "5 GET t main, 20 PUT t version, 21 PUT t minor, 22 PUT t major, 23 PUT t latest"),
    ("cleanup", 0, "delete", "9000 DELETE t, 9001 DELETE t version"),
]
PUSH, RELEASE, CLEANUP = range(len(OPERATIONS) - 3, len(OPERATIONS))

_BUILDS = 0.03
"""Per operation of those who pull. Every third to tenth build is released, and that pushes four tags more."""
_INDEXES = 0.29
"""Of what is pulled: a third of all repositories, but not the two that are pulled most."""


def write(root: Path, events: int, days: int, repositories: int = 1000) -> Store:
    """A store with about so many events over so many days, a part per date and table, laid out as merging does it."""
    store, parts = Store(root, create=True), []
    weights = [_weight(number, days) for number in range(days)]
    scale = events / EVENTS_PER_OPERATION / sum(weights)
    with connect() as con:
        _prepare(con, days, repositories, round(events / EVENTS_PER_OPERATION * _BUILDS))
        for number in range(days):
            con.execute(_day(number, days, round(scale * weights[number])))
            parts += [_part(con, store, table, _date(number, days)) for table in ("events", "deliveries")]
    with store.exclusive():
        store.commit(add=parts)
    return store


def _expected_events() -> float:
    """Of an operation of those who pull, and of its share of the pushes."""
    steps = [[step.split()[2] for step in steps.split(", ")] for *_, steps in OPERATIONS]
    sizes = [sum(_INDEXES if what[0] == "c" else 1 for what in some) for some in steps]
    releases = sum(0.88 / (3 + rest) for rest in range(8)) / 8
    pulls = sum(size * share for size, (_, share, *_) in zip(sizes, OPERATIONS, strict=True))
    return pulls + _BUILDS * (sizes[PUSH] + releases * sizes[RELEASE])


EVENTS_PER_OPERATION = _expected_events()


def _date(number: int, days: int) -> date:
    return LAST_DAY - DAY * (days - 1 - number)


def _weight(number: int, days: int) -> float:
    """How much happens on a day: little on weekends and between the years, and more as time goes by."""
    day = _date(number, days)
    free = day.weekday() >= 5 or (day.month, day.day) >= (12, 24)
    return (0.7 + 0.6 * number / days) * (0.35 if free else 1.25)


def _part(con, store: Store, table: TableName, day: date) -> Part:
    """The part of a table, on disk."""
    columns, order, row_group = LAYOUTS[table]
    moment = "received_at" if table == "deliveries" else "timestamp"
    start = datetime.combine(day, time(), UTC)
    ((rows, first, last, *edges),) = con.execute(
        f"""select count(*), min(cast({moment} as date)), max(cast({moment} as date)),
        count(*) filter (timestamp < $1), count(*) filter (timestamp >= $2) from day""",
        [start + EDGE, start + DAY - EDGE],
    ).fetchall()
    if not first == last == day:
        raise RuntimeError(f"Of {day} there are events from {first} to {last}.")
    made = Part(table, day, "bench", rows, *(edges if table == "events" else []))
    form = f"format parquet, parquet_version v2, compression zstd, compression_level {COMPRESSION_LEVEL}"
    query = f"select {', '.join(columns)} from day {order or 'order by received_at'}"
    with appearing(store.root / made.path) as unseen:
        con.execute(f"copy ({query}) to {literal(str(unseen))} ({form}, row_group_size {row_group})")
    return made


def _prepare(con, days: int, repositories: int, builds: int) -> None:
    """Tables of what can be done and by whom, and of all builds."""
    start = f"epoch_us(timestamp '{_date(0, days)}')"
    con.execute(
        f"""
        create macro u(i, s) as hash(cast(i as bigint) + cast(s as bigint) * 10000000000000) / pow(2.0, 64);
        create macro id(x) as cast(cast(md5(x) as uuid) as varchar);
        create macro among(i, n) as cast(hash(i) % n as int);
        create macro zipf(x, n) as cast(floor(exp(x * ln(n + 1))) as int);
        create macro midnight(number) as {start} + cast(number as bigint) * 86400000000;
        -- Within a day: by night, in office hours with their peak at noon, or any time.
        create macro office(x, y) as cast((7 + 5.5 * (x + y)) * 3600e6 as bigint);
        create macro night(x) as cast((1 + 3 * x) * 3600e6 as bigint);
        create macro evenly(x) as cast(10e6 + x * 86370e6 as bigint);

        -- Some repositories are new, and some are given up: nothing is pushed there any more, and later nothing pulled.
        create macro born(r) as case when r % 4 = 3 then cast(floor(u(r, 20) * 0.7 * {days}) as int) else -1 end;
        create macro given_up(r) as
          case when r % 8 = 5 then cast(floor((0.2 + 0.5 * u(r, 21)) * {days}) as int) else {days} end;
        create macro in_use(r, number) as number > born(r) and number < given_up(r) + 45;
        create macro name_of(r) as 'team-' || (r % 41) || '/'
          || ['api', 'web', 'worker', 'db-migrate', 'gateway', 'base', 'etl', 'model', 'docs'][1 + r % 9] || '-' || r;
        create macro is_index(r) as r % 3 = 0;

        -- Images of a repository are numbered; each `pace`th is a release, and releases have versions.
        create macro pace(r) as 3 + among(r, 8);
        create macro before(r) as case when born(r) >= 0 then pace(r) - 1
          else pace(r) * (1 + among(r + 7, 40)) + among(r + 8, pace(r)) end;
        create macro version_of(v) as (1 + v // 40) || '.' || (v // 8 % 5) || '.' || (v % 8);
        create macro tag_of(r, called, v) as case called
          when 'version' then case when r % 3 = 1 then 'v' else '' end || version_of(v)
          when 'minor' then regexp_replace(version_of(v), '\\.\\d+$', '') when 'major' then (1 + v // 40)::varchar
          else called end;
        create macro digest_of(r, d, what) as 'sha256:' || sha256(case what
          when 'b1' then 'base:' || (r % 10) || ':' || (d // 100) when 'b2' then r || ':' || (d // 10) || ':' || what
          else r || ':' || d || ':' || what end);

        create table step as from (values {_steps()}) as s(client, op, least, most, step, ms, method, what, called);
        create table client as from (values {_clients()}) as c(client, first, machines, actor, actors, agents);
        create table agent as from (values {_agents()}) as a(client, position, user_agent, family, version);
        create table build as
        with drawn as (
          select j, 1 + (cast(floor({repositories} * pow(u(j, 40), 2)) as int) * 7 + 3) % {repositories} as r
          from range({builds}) as b(j)
        ),
        dated as (
          select j, r, born(r) + 1 + cast(floor(u(j, 41) * (given_up(r) - born(r) - 1)) as int) as number from drawn
        ),
        shifted as (  -- most of what falls on a weekend is done on the Friday before
          select j, r, number - case when isodow(make_timestamp(midnight(number))) > 5 and u(j, 42) < 0.8
            then isodow(make_timestamp(midnight(number))) - 5 else 0 end as number
          from dated
        ),
        timed as (
          select j, r, midnight(greatest(number, born(r) + 1, 0))
            + case when u(j, 43) < 0.2 then night(u(j, 44)) else office(u(j, 44), u(j, 45)) end as us,
            u(j, 46) < 0.88 as is_new  -- or the same image is pushed again
          from shifted
          union all
          select {builds} + r, r, midnight(born(r)) + evenly(u(r, 47)), true
          from range(1, {repositories} + 1) as x(r) where born(r) >= 0
          union all
          select null, r, 0, false from range(1, {repositories} + 1) as x(r) where born(r) < 0
        )
        select j, r, us, is_new, lead(us, 1, 9e18::bigint) over w as until,
          cast(before(r) + sum(is_new::int) over w as bigint) as d
        from timed window w as (partition by r order by us, j);
        """
    )


def _steps() -> str:
    rows, least = [], 0.0
    for op, (client, share, _, steps) in enumerate(OPERATIONS):
        for number, step in enumerate(steps.split(", ")):
            ms, method, what, *called = step.split()
            tag = f"'{called[0]}'" if called else "null"
            rows.append(f"('{client}', {op}, {least}, {least + share}, {number}, {ms}, '{method}', '{what}', {tag})")
        least += share
    return ", ".join(rows)


def _clients() -> str:
    rows, first = [], 0
    for client, (machines, actor, actors, agents) in CLIENTS.items():
        rows.append(f"('{client}', {first}, {machines}, '{actor}', {actors}, {len(agents)})")
        first += machines
    return ", ".join(rows)


def _agents() -> str:
    rows = []
    for client, (*_, agents) in CLIENTS.items():
        for position, agent in enumerate(agents):
            family, version = client_of(agent)
            rows.append(
                f"('{client}', {position}, {literal(agent)}, '{family}', {literal(version) if version else 'null'})"
            )
    return ", ".join(rows)


def _day(number: int, days: int, operations: int) -> str:
    # In two steps: as one query DuckDB 2.0.0 fails with an internal error about its cache of dictionaries.
    return f"""
        create or replace table operation as
        with drawn as (
          select i, u(i, 1) as draw, u(i, 2) as x, u(i, 3) as y, u(i, 4) as z
          from range({number * 100_000_000}, {number * 100_000_000 + operations}) as o(i)
        ),
        -- A machine, of which there are more and more. Now and then one of them is stuck in a loop.
        by_machine as (
          select i, op, c.client, c.first + case when is_stuck then 7
              else cast(floor(pow(x, 2) * c.machines * {0.6 + 0.4 * number / days}) as int) end as c, is_stuck,
            midnight({number}) + case
              when c.client = 'crane' or y < 0.2 then evenly(z)
              when y < 0.3 then night(z)
              else office(z, u(i, 5)) end as us
          from (select *, {number} % 97 = 50 and u(i, 6) < 0.03 as is_stuck from drawn)
          inner join (select distinct op, client, least, most from step) on draw >= least and draw < most
          inner join client as c using (client)
        ),
        by_repository as (
          select i, op, client, c, us, case when in_use(r, {number}) then r else r - 1 end as r
          from (
            select *, zipf(u(c * 32 + case when is_stuck then 1 else zipf(u(i, 7), 24) end, 8),
              (select max(r) from build)) as r
            from by_machine
          )
        ),
        -- What the machine asks for: the tag, and the version and number of the image behind it.
        by_tag as (
          select o.*, d, d // pace(o.r) as v, u(i, 9) as x, u(i, 10) as y
          from by_repository as o
          inner join (select * from build where us < midnight({number + 1}) and until > midnight({number})) as b
            on b.r = o.r and o.us >= b.us and o.us < b.until
        ),
        pull as (
          select i, op, client, c, us, r, called, v, case when called = 'main' then d else v * pace(r) end as d
          from (
            select * exclude v,
              case when x < 0.2 then 'main' when x < 0.5 then 'latest' when x < 0.6 then 'major'
                when x < 0.75 then 'minor' else 'version' end as called,
              case when x >= 0.75 then greatest(v - zipf(y, 18) + 1, 1)
                when x >= 0.6 and y < 0.3 and v >= 8 then v // 8 * 8 - 1  -- the line before
                else v end as v
            from by_tag
          )
        ),
        -- Builds push `main`; releases the others, and in some repositories the version of 20 releases before goes.
        pushed as (
          select 1000000000000 + j as i, r, us, d, d // pace(r) as v, is_new and d % pace(r) = 0 as is_release
          from build
          where us >= midnight({number}) and us < midnight({number + 1})
        )
        from pull
        union all
        select i, {PUSH}, 'builder', first + among(r, machines), us, r, 'main', v, d
        from pushed, client where client = 'builder'
        union all
        select i, {RELEASE}, 'release', first + among(r, machines), us, r, 'latest', v, d
        from pushed, client where client = 'release' and is_release
        union all
        select i, {CLEANUP}, 'cleanup', first, us, r, 'version', v - 20, (v - 20) * pace(r)
        from pushed, client
        where client = 'cleanup' and is_release and r % 5 = 0 and v > 20 and (v - 20) % 8 <> 7;

        create or replace table day as
        with happened as (
          select o.*, s.step, s.method, s.called as named, us + ms * (1000 + among(i, 4000)) as moment,
            case when what = 'c' then case when c % 4 = 0 then 'c2' else 'c1' end else what end as what
          from operation as o
          inner join step as s using (op)
          where what[1] <> 'c' or is_index(r)
        )
        select
          id(i || '-' || op || '-' || step) as event_id, 'default' as source, 'distribution' as dialect,
          make_timestamptz(moment) as timestamp, true as timestamp_trusted,
          make_timestamptz(moment + 2000 + among(i * 16 + step, 60000)) as received_at,
          case method when 'PUT' then 'push' when 'DELETE' then 'delete' else 'pull' end as action,
          case when method = 'DELETE' then case when named is null then 'unknown' else 'tag' end
            when what[1] = 'b' then 'blob' when what = 't' and is_index(r) then 'index' else 'manifest' end as kind,
          name_of(r) as repository, tag_of(r, case when named = 'tag' then called else named end, v) as tag,
          case when kind <> 'tag' then digest_of(r, d, what) end as digest,
          case kind when 'blob' then 'application/octet-stream'
            when 'index' then 'application/vnd.oci.image.index.v1+json'
            when 'manifest' then 'application/vnd.oci.image.manifest.v1+json' end as media_type,
          cast(case kind when 'index' then 860 when 'manifest' then 1000 + among(r, 700)
            when 'blob' then case when what = 'b0' then 1500 + among(r * 100000 + d, 6000)
              else exp(11 + 7 * u(r * 100000 + d // case what when 'b1' then 100 when 'b2' then 10 else 1 end, 11)) end
            end as bigint) as size,
          cast(null as varchar) as from_repository,
          case kind when 'index' then [digest_of(r, d, 'c1'), digest_of(r, d, 'c2')] when 'manifest'
            then [digest_of(r, d, 'b0'), digest_of(r, d, 'b1'), digest_of(r, d, 'b2'), digest_of(r, d, 'b3')] end
            as reference_digests,
          case when c % 5 > 0 or o.client in ('builder', 'release', 'cleanup')
            then actor || '-' || (c % actors) end as actor,
          '10.' || (20 + c // 250) || '.' || (c % 250) || '.7' as client_address,
          a.user_agent, a.family as client, a.version as client_version,
          method, id(i || '/' || op || '/' || case when method = 'DELETE' then 0 else step end) as request_id,
          'registry.example' as registry, id('instance ' || {number // 60}) as instance_id,
          printf('6b1d5a0e9c3f7482-%x', (i * 16 + op) * 16 + step) as delivery_id,
          '10.0.0.5' as remote_address, map {{'User-Agent': 'Go-http-client/1.1',
            'Content-Type': 'application/vnd.docker.distribution.events.v1+json'}} as headers,
          cast('{{"events": "a stand-in"}}' as blob) as body, cast(null as varchar) as error,
          cast(1 as bigint) as event_count
        from happened as o
        inner join client using (client)
        inner join agent as a on a.client = o.client
          and position = case o.client when 'builder' then c % agents  -- which has several side by side
            else least(agents - 1, cast(floor({number / days} * agents + u(c, 12)) as int)) end
    """


def truth(store: Store) -> dict[str, int]:
    """What the clients did, from how it was made: the last two digits of a delivery's id are operation and step."""
    files = [store.url_of(part) for part in store.manifest().parts if isinstance(part, Part) and part.table == "events"]
    ops = {what: [f"{n:x}" for n, op in enumerate(OPERATIONS) if op[2] == what] for what in ("pull", "version check")}
    with connect() as con:
        (row,) = (
            con.sql(
                f"""
            select count(*) filter (op in {tuple(ops["pull"])}) as pulls,
              count(*) filter (op in {tuple(ops["version check"])}) as version_checks
            from (
              select left(right(delivery_id, 2), 1) as op from read_parquet({files}) where right(delivery_id, 1) = '0'
            )
            """
            )
            .to_arrow_table()
            .to_pylist()
        )
        return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("store", type=Path)
    parser.add_argument("--events", type=int, default=50_000_000)
    parser.add_argument("--days", type=int, default=730)
    options = parser.parse_args()
    compact(write(options.store, options.events, options.days), NOW)


if __name__ == "__main__":
    main()
