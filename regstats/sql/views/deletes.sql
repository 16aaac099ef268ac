-- What was deleted.
-- Grain: one row per delete request and tag that went with it; one with tag NULL where no tag did. Time zone: none.
-- A delete of a blob looks like one of a manifest: it is a manifest if that digest was ever pushed as one, listed by an
-- index that was pushed, or pulled (not as a part of an index), or if tags went with it.
with alone as (
  select distinct source, repository, digest
  from all_changes
  where action = 'delete' and tags = 0 and digest is not null
),
manifest as (
  -- Looked for where something is to be found, because there are many pulls, and seldom a delete without a tag.
  select source, repository, digest from all_changes
  where action = 'push' and (source, repository, digest) in (select source, repository, digest from alone)
  union
  select source, repository, digest
  from (
    select source, repository, unnest(reference_digests) as digest
    from all_changes
    where action = 'push' and kind = 'index' and exists (select 1 from alone)
  ) as i
  where (source, repository, digest) in (select source, repository, digest from alone)
  union
  select source, repository, digest from all_pulls
  where (source, repository, digest) in (select source, repository, digest from alone)
)
select
  d.timestamp, d.us, d.date, d.source, d.repository, d.tag, d.digest, cast(null as varchar) as media_type,
  case
    when d.digest is null and d.tag is null then 'repository'
    when d.digest is null then 'tag'
    when d.tag is not null or m.digest is not null then 'manifest'
    else 'blob'
  end as kind,
  d.actor, d.client_address, d.user_agent, d.client, d.client_version,
  coalesce(d.request_id, d.event_id) as request_id, d.event_id
from all_changes as d
left join manifest as m on d.source = m.source and d.repository = m.repository and d.digest = m.digest
where d.action = 'delete' and (d.tag is not null or d.tags = 0)
