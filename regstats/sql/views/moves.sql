-- When a tag was made to point to a manifest, or to nothing any more.
-- Grain: one row per push with a tag, and one per tag that was deleted: by its name, or because the manifest was deleted
-- that it pointed to. Time zone: none. Nobody is excluded: whoever moved a tag, it points to something else now.
-- Events at the same moment have the order of their ids, here and wherever moves are put in order.
-- digest: what it points to from then on, NULL if deleted; before: what it pointed to until then, NULL if nothing is known.
-- A registry of version 3 names the tags that went with a manifest, one of version 2 does not: then they are those that
-- pointed to it.
-- `later` are the changes from some date on, `earlier` the moves before it, which are known already.
with removed as (
  select source, repository, digest, us, event_id, timestamp, date, actor, client_address, user_agent, client, client_version
  from later
  where action = 'delete' and tags = 0
),
touched as (
  select source, repository, tag from later where tag is not null
  union
  select e.source, e.repository, e.tag
  from earlier as e
  inner join removed as r on r.source = e.source and r.repository = e.repository
  where r.digest is null or r.digest = e.digest
),
state as (
  -- What those tags pointed to at last.
  select source, repository, tag, digest, us, event_id,
    row_number() over (partition by source, repository, tag order by us desc, event_id desc) as age
  from earlier
  where (source, repository, tag) in (select source, repository, tag from touched)
),
named as (
  select *,
    lag(digest) over (partition by source, repository, tag order by us, event_id) as before,
    lead(us) over (partition by source, repository, tag order by us, event_id) as next_us,
    lead(event_id) over (partition by source, repository, tag order by us, event_id) as next_id
  from (
    select source, repository, tag, case when action = 'push' then digest end as digest, us, event_id, true as is_later
    from later
    where tag is not null
    union all
    select source, repository, tag, digest, us, event_id, false from state where age = 1
  ) as t
),
ended as (
  -- Those that pointed to a manifest when it was deleted, or to any when the whole repository was.
  select r.*, n.tag, n.digest as before, n.next_id,
    row_number() over (partition by n.source, n.repository, n.tag, n.event_id order by r.us, r.event_id) as number
  from named as n
  inner join removed as r on r.source = n.source and r.repository = n.repository
  where n.digest is not null and (r.digest is null or r.digest = n.digest)
    and (r.us > n.us or (r.us = n.us and r.event_id > n.event_id))
    and (n.next_us is null or r.us < n.next_us or (r.us = n.next_us and r.event_id < n.next_id))
)
select
  l.timestamp, l.date, n.source, n.repository, n.tag, n.digest, case when e.next_id is null then n.before end as before,
  l.media_type, l.size, l.actor, l.client_address, l.user_agent, l.client, l.client_version, l.event_id,
  l.action = 'push' as is_push
from named as n
inner join later as l on l.source = n.source and l.event_id = n.event_id
left join (select source, tag, next_id from ended where number = 1 and next_id is not null) as e
  on e.source = n.source and e.next_id = n.event_id and e.tag = n.tag
where n.is_later
union all
select
  timestamp, date, source, repository, tag, null, before, null, null,
  actor, client_address, user_agent, client, client_version, event_id, false
from ended
where number = 1
