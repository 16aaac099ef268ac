-- Lines of docker-registry's own log, as text: `time="…" level=info msg="response completed" key=value …`.
-- Grain: one row per line of `{lines}`. Time zone: each line says its own.
--
-- Values with anything but letters, digits and -._/@^+ are quoted, quotes in them escaped. Without what is quoted, a line
-- is keys and values in which no client can write a key: it is split there, which takes a tenth of the time that the
-- groups of a regular expression take. Lines with quotes in quotes are matched as a whole, all keys in their order.
-- Other lines than of requests have no method.
with wanted as (
  select n, line, contains(line, ' msg="response completed') as is_request
  from (select *, true as understood from {lines})
  where {which}
),
pieces as (
  select n, line, s[2:-1:2] as quoted, array_to_string(s[1:-1:2], '"') || ' ' as outside
  from (select n, line, string_split(line, '"') as s from wanted where is_request and not contains(line, '\"'))
),
valued as (
  select n, line,
    logrus_value(outside, quoted, ' auth.user.name=') as actor,
    logrus_value(outside, quoted, ' http.request.contenttype=') as sent_media_type,
    logrus_value(outside, quoted, ' http.request.host=') as host,
    logrus_value(outside, quoted, ' http.request.id=') as request_id,
    logrus_value(outside, quoted, ' http.request.method=') as method,
    logrus_value(outside, quoted, ' http.request.remoteaddr=') as address,
    logrus_value(outside, quoted, ' http.request.uri=') as uri,
    logrus_value(outside, quoted, ' http.request.useragent=') as agent,
    logrus_value(outside, quoted, ' http.response.contenttype=') as media_type,
    logrus_value(outside, quoted, ' http.response.duration=') as took,
    logrus_value(outside, quoted, ' http.response.status=') as status,
    logrus_value(outside, quoted, ' http.response.written=') as size
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
    where is_request and contains(line, '\"')
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
