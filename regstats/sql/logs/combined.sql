-- Lines of Apache's common and combined formats, also with the virtual host before them (vhost_combined), nginx's
-- combined and what people put after it (request time, X-Forwarded-For, …), Traefik's common format, and the access log
-- of docker-registry.
-- Grain: one row per line of `{lines}`. Time zone: each line says its own.
--
-- Quotes within quotes are escaped by all of these, so whatever clients write stays in its place. Where none is, the
-- line is split at its quotes, which takes a tenth of the time that the groups of a regular expression take.
-- Traefik says when a request began, and after how many ms it was done, at the end of the line; nginx's $request_time
-- has three decimals.
with shaped as materialized (
  select n, line,
    regexp_matches(
      line, '^(?:\S+ )?\S+ \S+ [^"]*\[[^\]" ]{20} [+-]\d{4}\] "(?:[^"\\]|\\.)*" \d{3} (?:\d|-)'
    ) as understood
  from {lines}
),
pieces as (
  select n, line, understood, string_split(line, '"') as s
  from shaped
  where ({which}) and not contains(line, '\"')
),
split as (
  select n, line, understood, s[1] as head, s[2] as request, s[3] as numbers, case when s[5] = ' ' then s[6] end as agent,
    case when len(s) > 7 or s[7] <> '' then array_to_string(s[7:], '"') end as rest
  from pieces
  union all
  select n, line, understood, p.head, p.request, p.numbers, p.agent, p.rest
  from (
    select n, line, understood, regexp_extract(
      line, '^([^"]*)"((?:[^"\\]|\\.)*)"( \d{3} [^" ]+ ?)(?:"(?:[^"\\]|\\.)*" "((?:[^"\\]|\\.)*)")?(.*)$',
      ['head', 'request', 'numbers', 'agent', 'rest']
    ) as p
    from shaped
    where ({which}) and contains(line, '\"')
  )
),
headed as (
  select *, split_part(head, ' ', 1) as one, split_part(head, ' ', 2) as two,
    regexp_full_match(two, '[0-9A-Fa-f]*[.:][0-9A-Fa-f:.]*') as is_behind
  from split
)
select
  n, line, understood, cast(null as varchar) as method, cast(null as varchar) as uri,
  request, split_part(numbers, ' ', 2) as status,
  try_strptime(head[-28:-3], '%d/%b/%Y:%H:%M:%S %z') as stamp,
  1000000 as resolution,
  {at_start} or coalesce(ends_with(rest, 'ms'), false) as at_start,
  case
    when rest is not null and rest <> '' then coalesce(
      1000 * try_cast(regexp_extract(rest, ' (\d{1,9})ms$', 1) as bigint),
      cast(1000000 * try_cast(regexp_extract(rest, '(?:^|[ "=])(\d{1,9}\.\d{3})(?:$|[ ",])', 1) as double) as bigint)
    )
  end as duration,
  split_part(numbers, ' ', 3) as size,
  if(is_behind, two, one) as address,
  case when is_behind then head[length(one) + length(two) + length(split_part(head, ' ', 3)) + 4:-31]
    else head[length(one) + length(two) + 3:-31] end as actor,
  agent, if(is_behind, one, null) as host,
  cast(null as varchar) as request_id, cast(null as varchar) as media_type, cast(null as varchar) as sent_media_type,
  cast(null as varchar) as digest, true as escaped, {at_start} as weak
from headed
