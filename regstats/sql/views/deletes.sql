-- What was deleted: a registry sends an event for the manifest or blob, and, with the same request, one for each tag.
-- Grain: one row per delete request and tag; one with tag NULL where no tag went with it. Time zone: none.
-- A delete of a blob looks like one of a manifest: it is a manifest if that digest was ever pushed as one, listed by an
-- index that was pushed, or pulled, or if tags went with it.
with deletion as (
  select
    timestamp, us, date, source, repository, tag,
    coalesce(digest, max(digest) over (partition by source, repository, coalesce(request_id, event_id))) as digest,
    count(tag) over (partition by source, repository, coalesce(request_id, event_id)) as tags,
    actor, client_address, user_agent, client, client_version,
    coalesce(request_id, event_id) as request_id, event_id
  from all_changes
  where action = 'delete'
),
alone as (select distinct source, repository, digest from deletion where tags = 0 and digest is not null),
written as (
  select source, repository, digest from all_changes where action = 'push'
  union all
  select source, repository, unnest(reference_digests) from all_changes where action = 'push' and kind = 'index'
),
manifest as (
  select a.source, a.repository, a.digest
  from alone as a
  inner join written as w on w.source = a.source and w.repository = a.repository and w.digest = a.digest
  union
  select a.source, a.repository, a.digest
  from alone as a
  inner join all_pulls as p on p.source = a.source and p.repository = a.repository and p.digest = a.digest
)
select
  d.timestamp, d.us, d.date, d.source, d.repository, d.tag, d.digest, cast(null as varchar) as media_type,
  case
    when d.digest is null and d.tag is null then 'repository'
    when d.digest is null then 'tag'
    when d.tag is not null or m.digest is not null then 'manifest'
    else 'blob'
  end as kind,
  d.actor, d.client_address, d.user_agent, d.client, d.client_version, d.request_id, d.event_id,
  row_number() over (partition by d.source, d.repository, d.request_id order by d.us, d.event_id) = 1 as is_first
from deletion as d
left join manifest as m on d.source = m.source and d.repository = m.repository and d.digest = m.digest
where d.tag is not null or d.tags = 0
