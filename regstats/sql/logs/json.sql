-- Lines that are JSON objects: of docker-registry, Traefik, Caddy, and of nginx and Apache with the names that people
-- give (logformats.NAMES).
-- Grain: one row per line of `{lines}` that names a manifest or blob, or is not understood. Time zone: each line says its
-- own; else that of the session.
select
  n, line, stamp is not null as understood, * exclude (n, line)
from (select n, line,
  {method} as method, {uri} as uri, {request} as request, {status} as status,
  json_stamp({began}, {seconds}, {stamp}) as stamp,
  case length(regexp_extract(coalesce({began}, {seconds}, {stamp}), '\d\.(\d+)', 1))
    when 0 then 1000000 when 1 then 100000 when 2 then 10000 when 3 then 1000 when 4 then 100 when 5 then 10 else 1
  end as resolution,
  {began} is not null as at_start,
  coalesce(
    cast(1000000 * try_cast({took_seconds} as double) as bigint),
    cast(try_cast({took_nanoseconds} as double) / 1000 as bigint),
    go_duration({took})
  ) as duration,
  {size} as size, {address} as address, {actor} as actor, {agent} as agent, {host} as host,
  {request_id} as request_id, {media_type} as media_type, {sent_media_type} as sent_media_type, {digest} as digest,
  false as escaped, false as weak
from (select n, line, try(json_extract_string(line, [{paths}])) as f from {lines} where {named}))
union all by name
select n, line, false as understood
from (select n, line, try(json_extract_string(line, [{paths}])) as f from {lines} where not {named})
where json_stamp({began}, {seconds}, {stamp}) is null
