-- What was deleted.
-- Grain: one row per delete request and tag that went with it; one with tag NULL where no tag did. Time zone: none.
-- With most registries a delete of a blob looks like one of a manifest: it is a manifest if they say so, if tags went
-- with it, or by `deleted_manifests`.
select
  d.timestamp, d.us, d.date, d.source, d.repository, d.tag, d.digest, cast(null as varchar) as media_type,
  case
    when d.digest is null and d.tag is null then 'repository'
    when d.digest is null then 'tag'
    when d.tag is not null or m.digest is not null or d.kind in ('manifest', 'index') then 'manifest'
    else 'blob'
  end as kind,
  d.actor, d.client_address, d.user_agent, d.client, d.client_version,
  coalesce(d.request_id, d.event_id) as request_id, d.event_id
from all_changes as d
left join deleted_manifests as m on d.source = m.source and d.repository = m.repository and d.digest = m.digest
where d.action = 'delete' and (d.tag is not null or d.tags = 0)
