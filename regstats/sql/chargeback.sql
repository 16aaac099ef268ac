-- Who uses what, and what does it take?
-- Grain: one row per team, in the order of the settings, and at last one with team NULL for what belongs to none. Time
-- zone: none, times are instants.
-- A pull, with its bytes, is charged once: to the first team that its actor belongs to, else to the first team that its
-- repository belongs to, else to nobody. So the sums are those of `pulls`.
-- A push is charged to the first team that its repository belongs to, whoever pushed: it is there that it takes up space.
-- pushed: bytes of the blobs and manifests that were uploaded, each once per source, however often and to however many
-- repositories: it is charged to the first team that one of these belongs to. NULL where nothing that was pushed in the
-- window has a size at all: then it is not known.
-- Pulls are NULL where all that a team pushed was pushed to registries that do not tell of them.
-- `rules` has a row per glob, with the position of its team; the last one is nobody's, and has none.
with pulled as (
  select actor, repository, count(*) as pulls, count(*) filter (where downloaded) as downloads,
    sum(cast(bytes as decimal(38, 0))) as bytes
  from pulls
  where {window} and kind in ('pull_by_tag', 'pull_by_digest')
  group by actor, repository
),
written as (
  select repository, count(*) as pushes, max({no_pulls}) as pulls
  from pushes
  where {window}
  group by repository
),
uploaded as (
  select source, repository, digest, max(size) as size
  from uploads
  where {window} and size is not null
  group by source, repository, digest
),
person as (
  select a.actor, min(r.position) as position
  from (select distinct actor from pulled) as a
  inner join rules as r on a.actor glob r.actor
  group by a.actor
),
place as (
  select a.repository, min(r.position) as position
  from (
    select repository from pulled
    union
    select repository from written
    union
    select repository from uploaded
  ) as a
  inner join rules as r on a.repository glob r.repository
  group by a.repository
),
kept as (
  -- What lies in the storage once.
  select min(p.position) as position, max(u.size) as size
  from uploaded as u
  left join place as p on p.repository = u.repository
  group by u.source, u.digest
),
charged as (
  select coalesce(a.position, b.position) as position, p.pulls, p.downloads, p.bytes, 0 as pushes,
    cast(0 as decimal(38, 0)) as pushed
  from pulled as p
  left join person as a on a.actor = p.actor
  left join place as b on b.repository = p.repository
  union all
  select p.position, w.pulls, w.pulls, w.pulls, w.pushes, 0
  from written as w
  left join place as p on p.repository = w.repository
  union all
  select position, null, null, null, 0, cast(size as decimal(38, 0)) from kept
),
summed as (
  select coalesce(position, (select max(position) from rules)) as position, sum(pulls) as pulls,
    sum(downloads) as downloads, sum(bytes) as bytes, sum(pushes) as pushes, sum(pushed) as pushed
  from charged
  group by coalesce(position, (select max(position) from rules))
)
-- Any sender can claim any size: sums may be too large for a bigint.
select
  t.team,
  cast(coalesce(s.pulls, case when coalesce(s.pushes, 0) = 0 then 0 end) as bigint) as pulls,
  cast(coalesce(s.downloads, case when coalesce(s.pushes, 0) = 0 then 0 end) as bigint) as downloads,
  cast(least(coalesce(s.bytes, case when coalesce(s.pushes, 0) = 0 then 0 end), 9223372036854775807) as bigint) as bytes,
  cast(coalesce(s.pushes, 0) as bigint) as pushes,
  case
    when exists (select 1 from uploaded) then cast(least(coalesce(s.pushed, 0), 9223372036854775807) as bigint)
  end as pushed
from (select distinct position, team from rules) as t
left join summed as s on s.position = t.position
order by t.position
