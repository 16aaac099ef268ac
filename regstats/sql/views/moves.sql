-- When a tag was made to point to a manifest, or to nothing any more.
-- Grain: one row per push with a tag, and one per tag that was deleted: by its name, or because the manifest was deleted
-- that it pointed to. Time zone: none. Nobody is excluded: whoever moved a tag, it points to something else now.
-- digest: what it points to from then on, NULL if deleted; before: what it pointed to until then, NULL if nothing is known.
-- A registry of version 3 names the tags that went with a manifest, one of version 2 does not: then they are those that
-- pointed to it.
with named as (
  select *,
    lag(digest) over (partition by source, repository, tag order by us, event_id) as before,
    lead(us) over (partition by source, repository, tag order by us, event_id) as next_us,
    lead(event_id) over (partition by source, repository, tag order by us, event_id) as next_id
  from (
    select
      timestamp, us, date, source, repository, tag, case when action = 'push' then digest end as digest,
      media_type, size, actor, client_address, user_agent, client, client_version, event_id, action = 'push' as is_push
    from all_changes
    where tag is not null
  ) as t
),
ended as (
  -- Those that pointed to a manifest when it was deleted; that it was no blob is certain then.
  select r.*, n.tag as of_tag, n.digest as before, n.next_id,
    row_number() over (partition by n.source, n.repository, n.tag, n.event_id order by r.us, r.event_id) as number
  from named as n
  inner join all_changes as r on r.source = n.source and r.repository = n.repository and r.digest = n.digest
  where r.action = 'delete' and r.tag is null and n.is_push and r.us >= n.us and (n.next_us is null or r.us < n.next_us)
)
select
  n.timestamp, n.us, n.date, n.source, n.repository, n.tag, n.digest,
  case when e.next_id is null then n.before end as before,
  n.media_type, n.size, n.actor, n.client_address, n.user_agent, n.client, n.client_version, n.event_id, n.is_push
from named as n
left join (select source, next_id from ended where number = 1 and next_id is not null) as e
  on e.source = n.source and e.next_id = n.event_id
union all
select
  timestamp, us, date, source, repository, of_tag, null, before, null, null,
  actor, client_address, user_agent, client, client_version, event_id, false
from ended
where number = 1
