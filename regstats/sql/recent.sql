-- What has just come in?
-- Grain: one row per event of a manifest, tag or repository, the latest to be received first. Time zone: UTC.
select timestamp, received_at, source, event_id, action, method, repository, tag, digest, actor, client, client_version,
  client_address
from events
where date >= $since and kind <> 'blob'
  and ($repository is null or repository glob $repository)
  and ($actor is null or actor glob $actor)
order by received_at desc, timestamp desc, source, event_id
limit 15
