-- What the store has of a source in the time of some requests.
-- Grain: one row per event. Time zone: none, `us` are microseconds since 1970. `origin`: the format of the log it is from.
select
  event_id, epoch_us(timestamp) as us, action, method, repository, coalesce(tag, digest) as reference, client_address,
  user_agent, request_id, if(dialect = 'log', split_part(delivery_id, ':', 1), '') as origin
from ({events})
where source = $source and timestamp between make_timestamptz($first) and make_timestamptz($last)
