-- The requests of which all is known that the log says, as events.
-- Grain: one row per event. Time zone: UTC. `_…` are not columns of events.
select
  h.event_id, $source as source, 'log' as dialect, make_timestamptz(h.us) as timestamp, true as timestamp_trusted,
  $now as received_at, h.action,
  case
    when h.kind <> 'manifest' or h.action = 'delete' then h.kind
    when coalesce(h.media_type, s.media_type) is not null
      then if(regexp_matches(coalesce(h.media_type, s.media_type), '\b(index|manifest\.list)\b'), 'index', 'manifest')
    when j.is_index or k.is_index then 'index'
    else 'manifest'
  end as kind,
  h.repository, h.tag, j.given as digest,
  if(h.action = 'delete', null, coalesce(h.media_type, s.media_type)) as media_type, h.size, h.from_repository,
  if(h.action = 'delete', null, s.reference_digests) as reference_digests,
  h.actor, h.client_address, h.user_agent, h.client, h.client_version, h.method, h.request_id, h.registry,
  cast(null as varchar) as instance_id, h.file || ':' || h.number as delivery_id,
  h.n as _n, h.us as _began, h.ended_us as _ended, h.reference as _reference, h.file as _file
from recent as h
inner join judged as j using (n)
left join known as k on h.repository = k.repository and j.given = k.digest and k.us <= h.us + 60000000
left join stored_manifests as s on h.repository = s.repository and j.given = s.digest and h.kind = 'manifest'
where not h.settled and h.us <= $horizon
order by h.us, h.n
