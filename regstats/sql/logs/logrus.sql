-- Lines of docker-registry's own log, as text: `time="…" level=info msg="response completed" key=value …`.
-- Grain: one row per line of `{lines}`. Time zone: each line says its own.
--
-- Keys stand in alphabetical order, values with spaces are quoted, quotes in them escaped. All that comes before a key
-- is matched as keys and values, so no value can pretend to be one. Other lines than of requests have no method.
select
  n, line, starts_with(line, 'time="') as understood,
  trim(p.method, '"') as method,
  case when starts_with(p.uri, '"') then p.uri[2:-2] else p.uri end as uri,
  cast(null as varchar) as request, p.status as status,
  try_cast(split_part(line, '"', 2) as timestamptz) as stamp,
  case when contains(split_part(line, '"', 2), '.') then 1 else 1000000 end as resolution, false as at_start,
  go_duration(p.took) as duration,
  p.size as size, trim(p.address, '"') as address, trim(p.actor, '"') as actor,
  case when starts_with(p.agent, '"') then p.agent[2:-2] else p.agent end as agent,
  trim(p.host, '"') as host, p.request_id as request_id,
  trim(p.media_type, '"') as media_type, trim(p.sent_media_type, '"') as sent_media_type, cast(null as varchar) as digest,
  true as escaped, false as weak
from (
  select n, line, case
    -- The groups of a regular expression take long: only where there may be an event.
    when contains(line, ' msg="response completed') and (contains(line, '/manifests/') or contains(line, '/blobs/'))
    then regexp_extract(line,
    '^time="[^"]*" level=\w+ msg="response completed[^"]*"(?: auth\.user\.name={value})?(?: [a-g][\w.]*={any})*?'
    || '(?: http\.request\.contenttype={value})? http\.request\.host={value} http\.request\.id=(\S+)'
    || ' http\.request\.method={value}(?: http\.request\.referer={any})? http\.request\.remoteaddr={value}'
    || ' http\.request\.uri={value}(?: http\.request\.useragent={value})?(?: http\.response\.contenttype={value})?'
    || ' http\.response\.duration=(\S+) http\.response\.status=(\d+)(?: http\.response\.written=(\d+))?',
    ['actor', 'sent_media_type', 'host', 'request_id', 'method', 'address', 'uri', 'agent', 'media_type', 'took',
     'status', 'size']
    )
  end as p
  from {lines}
)
