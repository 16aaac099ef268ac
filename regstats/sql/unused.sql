-- What has nobody pulled for a long time?
-- Grain: one row per tag, and one with tag NULL per manifest that no tag points to any more and no index lists, of which
-- the last use was `days` days ago or more. Time zone: none.
-- Use is of a manifest, by whatever tag or digest it was asked for, or of a child of it. A version check is a use too:
-- who asks whether there is something new has what is there. What was pushed lately is not unused yet.
-- size: of configuration and layers, of all platforms, as far as they were seen to be pushed; layers that other images
-- have too are counted with each.
-- Registries that tell of no pulls are left out: nobody knows what is unused there.
-- What is there is known from pushes and deletes, or else from pulls of a tag that was never seen to be pushed, if what
-- it gave last was not deleted since.
with changed as (
  -- With a text that is larger the later it was: events at the same moment have the order of their ids.
  select source, repository, tag, digest, kind, action, us, concat(lpad(cast(us as varchar), 20, '0'), event_id) as moment
  from all_changes
  where {places} and {past}
),
written as (
  -- When each manifest was last pushed, and last deleted.
  select source, repository, digest, max(case when action = 'push' then kind end) as kind,
    max(case when action = 'push' then us end) as push_us, max(case when action = 'delete' then us end) as delete_us,
    max(case when action = 'push' then moment end) as push_moment,
    max(case when action = 'delete' then moment end) as delete_moment
  from changed
  where digest is not null
  group by source, repository, digest
),
emptied as (
  -- When all of a repository was deleted.
  select source, repository, max(us) as us, max(moment) as moment
  from changed
  where action = 'delete' and digest is null and tag is null
  group by source, repository
),
stored as (
  select w.*
  from written as w
  left join emptied as e on e.source = w.source and e.repository = w.repository
  where w.push_moment > coalesce(w.delete_moment, '') and w.push_moment > coalesce(e.moment, '')
),
child as (
  select distinct source, repository, parent, digest
  from (
    select source, repository, digest as parent, unnest(reference_digests) as digest
    from all_changes
    where action = 'push' and kind = 'index' and {places} and {past}
  ) as c
  where (source, repository, parent) in (select source, repository, digest from stored where kind = 'index')
),
touched as (
  -- Few rows, of which the rest is made.
  select source, repository, tag, digest,
    max(case when {people} and kind <> 'lookup' then us end) as use_us,
    max(case when {people} and kind in ('pull_by_tag', 'pull_by_digest') then us end) as pull_us
  from pulls
  where {places} and {past}
  group by source, repository, tag, digest
),
latest as (
  select source, repository, tag, max(us) as us
  from moves
  where {places} and {past}
  group by source, repository, tag
),
moved as (
  select m.source, m.repository, m.tag, m.digest,
    row_number() over (partition by m.source, m.repository, m.tag order by m.event_id desc) as age
  from moves as m
  inner join latest as l on l.source = m.source and l.repository = m.repository and l.tag = m.tag and l.us = m.us
),
asked as (
  select source, repository, digest, max(use_us) as use_us, max(pull_us) as pull_us
  from (
    select source, repository, digest, use_us, pull_us from touched
    union all
    -- Where the registry did not tell what was pushed: whatever the tag gave.
    select t.source, t.repository, m.digest, t.use_us, t.pull_us
    from touched as t
    inner join moved as m on m.source = t.source and m.repository = t.repository and m.tag = t.tag
    where m.age = 1 and m.digest like 'unknown:%' and t.digest is distinct from m.digest
  ) as t
  where use_us is not null
  group by source, repository, digest
),
used as (
  select source, repository, digest, max(use_us) as use_us, max(pull_us) as pull_us
  from (
    select source, repository, digest, use_us, pull_us from asked
    union all
    select c.source, c.repository, c.parent, a.use_us, a.pull_us
    from asked as a
    inner join child as c on c.source = a.source and c.repository = a.repository and c.digest = a.digest
  ) as a
  group by source, repository, digest
),
unknown as (
  -- Tags that are pulled, and were never seen to be pushed or deleted.
  select source, repository, tag
  from (select distinct source, repository, tag from touched where tag is not null) as p
  where not exists (
    select 1 from latest as l where l.source = p.source and l.repository = p.repository and l.tag = p.tag
  )
),
seen as (
  -- What they gave.
  select source, repository, tag, digest, use_us as us,
    row_number() over (partition by source, repository, tag order by use_us desc, digest desc) as age
  from touched
  where use_us is not null and (source, repository, tag) in (select source, repository, tag from unknown)
),
known as (
  select source, repository, tag, digest from moved where age = 1
  union all
  select s.source, s.repository, s.tag, s.digest
  from seen as s
  where s.age = 1
    and not exists (
      select 1 from written as w
      where w.source = s.source and w.repository = s.repository and w.digest = s.digest
        and w.delete_us >= s.us and w.delete_moment > coalesce(w.push_moment, '')
    )
    and not exists (
      select 1 from emptied as e where e.source = s.source and e.repository = s.repository and e.us >= s.us
    )
),
tagged as (
  select source, repository, tag, digest, cast(null as bigint) as size from known where digest is not null
  union all
  -- What a registry says that it has, and no event ever told of.
  select l.source, l.repository, l.tag, l.digest, l.size
  from {catalog} as l
  where not exists (select 1 from known as k where k.source = l.source and k.repository = l.repository and k.tag = l.tag)
),
there as (
  select source, repository, tag, digest, size from tagged
  union all
  select s.source, s.repository, null, s.digest, null
  from stored as s
  where s.digest not like 'unknown:%' and not exists (
      select 1 from tagged as t where t.source = s.source and t.repository = s.repository and t.digest = s.digest
    )
    and not exists (
      select 1 from child as c where c.source = s.source and c.repository = s.repository and c.digest = s.digest
    )
),
judged as (
  select t.source, t.repository, t.tag, t.digest, t.size, u.pull_us, w.push_us,
    cast(floor(
      ($end_us - coalesce(
        greatest(coalesce(u.use_us, w.push_us), coalesce(w.push_us, u.use_us)), ({begun})
      )) / 86400000000.0
    ) as bigint) as idle_days
  from there as t
  left join used as u on u.source = t.source and u.repository = t.repository and u.digest = t.digest
  left join written as w on w.source = t.source and w.repository = t.repository and w.digest = t.digest
  where t.source not in (select source from silent)
),
idle as (
  select * from judged where {things} and idle_days >= $days and {is_image}
),
whole as (
  -- The manifests of an image: its own, or those of an index.
  select source, repository, digest, digest as manifest from idle
  union
  select i.source, i.repository, i.digest, c.digest
  from idle as i
  inner join child as c on c.source = i.source and c.repository = i.repository and c.parent = i.digest
),
piece as (
  select distinct w.source, w.repository, w.digest, m.piece
  from whole as w
  inner join (
    select source, repository, digest, unnest(reference_digests) as piece
    from all_changes
    where action = 'push' and kind = 'manifest' and {places} and {past}
  ) as m on m.source = w.source and m.repository = w.repository and m.digest = w.manifest
),
sized as (
  select p.source, p.repository, p.digest, cast(sum(b.size) as bigint) as size
  from piece as p
  inner join (select source, digest, max(size) as size from all_blobs group by source, digest) as b
    on b.source = p.source and b.digest = p.piece
  group by p.source, p.repository, p.digest
)
select i.repository, i.tag, i.digest, {pulled_at} as last_pull, {pushed_at} as last_push, i.idle_days, coalesce(i.size, s.size) as size
from idle as i
left join sized as s on s.source = i.source and s.repository = i.repository and s.digest = i.digest
order by i.idle_days desc, i.repository, i.tag nulls last, i.digest, i.source
