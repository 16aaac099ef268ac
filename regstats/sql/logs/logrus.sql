-- Lines of docker-registry's own log, as text: `time="…" level=info msg="response completed" key=value …`.
-- Grain: one row per line of `{lines}`. Time zone: each line says its own.
--
-- Values with anything but letters, digits and -._/@^+ are quoted, quotes in them escaped. Where no client wrote what
-- looks like a key or a quote, the line is split at its keys, which takes a tenth of the time that the groups of a
-- regular expression take. Other lines are matched as a whole, all keys in their order.
-- Other lines than of requests have no method.
with wanted as materialized (
  select n, line, is_request, is_request and not contains(line, '\"')
    and not regexp_matches(line, '^(?:[^"]*"[^"]*")*[^"]*"[^"]* (?:auth|http)\.') as is_plain
  from (select n, line, true as understood, contains(line, ' msg="response completed') as is_request from {lines})
  where {which}
),
pieces as (
  select n, line, string_split(replace(line, '"', ''), ' http.') as p, split_part(line, ' auth.user.name=', 2) as actor
  from wanted
  where is_plain
),
valued as (
  select n, line,
    if(starts_with(actor, '"'), split_part(actor, '"', 2), split_part(actor, ' ', 1)) as actor,
    logrus_value(p, 'request.contenttype=') as sent_media_type,
    logrus_value(p, 'request.host=') as host,
    logrus_value(p, 'request.id=') as request_id,
    logrus_value(p, 'request.method=') as method,
    logrus_value(p, 'request.remoteaddr=') as address,
    logrus_value(p, 'request.uri=') as uri,
    logrus_value(p, 'request.useragent=') as agent,
    logrus_value(p, 'response.contenttype=') as media_type,
    split_part(logrus_value(p, 'response.duration='), ' ', 1) as took,
    split_part(logrus_value(p, 'response.status='), ' ', 1) as status,
    split_part(logrus_value(p, 'response.written='), ' ', 1) as size
  from pieces
  union all
  select n, line, trim(p.actor, '"'), trim(p.sent_media_type, '"'), trim(p.host, '"'), p.request_id, p.method,
    trim(p.address, '"'), if(starts_with(p.uri, '"'), p.uri[2:-2], p.uri),
    if(starts_with(p.agent, '"'), p.agent[2:-2], p.agent), trim(p.media_type, '"'), p.took, p.status, p.size
  from (
    select n, line, regexp_extract(line,
      '^time="[^"]*" level=\w+ msg="response completed[^"]*"(?: auth\.user\.name={value})?(?: [a-g][\w.]*={any})*?'
      || '(?: http\.request\.contenttype={value})? http\.request\.host={value} http\.request\.id=(\S+)'
      || ' http\.request\.method={value}(?: http\.request\.referer={any})? http\.request\.remoteaddr={value}'
      || ' http\.request\.uri={value}(?: http\.request\.useragent={value})?(?: http\.response\.contenttype={value})?'
      || ' http\.response\.duration=(\S+) http\.response\.status=(\d+)(?: http\.response\.written=(\d+))?',
      ['actor', 'sent_media_type', 'host', 'request_id', 'method', 'address', 'uri', 'agent', 'media_type', 'took',
       'status', 'size']
    ) as p
    from wanted
    where is_request and not is_plain
  )
  union all
  select n, line, null, null, null, null, null, null, null, null, null, null, null, null
  from wanted
  where not is_request
)
select
  n, line, true as understood, nullif(method, '') as method, uri, cast(null as varchar) as request, status,
  try_cast(split_part(line, '"', 2) as timestamptz) as stamp,
  case when contains(split_part(line, '"', 2), '.') then 1 else 1000000 end as resolution, false as at_start,
  go_duration(took) as duration, size, address, actor, agent, host, request_id, media_type, sent_media_type,
  cast(null as varchar) as digest, true as escaped, false as weak
from valued
