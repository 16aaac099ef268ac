-- What happened to tags that was told of since then? As `tagged`, and when it was received.
-- Grain: one row per push with a tag, and one per tag that was deleted. Time zone: none, times are instants.
select
  m.timestamp, m.source, m.repository, m.tag, m.digest, m.before, m.media_type, m.actor, m.client_address, m.event_id,
  e.received_at
from moves as m
inner join events as e on e.source = m.source and e.event_id = m.event_id
where e.received_at >= $since and ($first is null or (e.date >= $first and m.date >= $first))
order by m.us, m.event_id
