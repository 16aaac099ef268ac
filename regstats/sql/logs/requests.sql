-- Of lines that were read, those requests for which a registry would have sent an event, and which event.
-- Grain: one row per request; `is_valid`: whether these are names that a registry takes. Time zone: none.
-- Source of the rule: what docker-registry 2.8.2 and distribution 3.1.1 send (README, "History: what happened before").
with told as (
  select *, verb_of(method, request) as verb, target_of(uri, request) as target,
    coalesce(method is not null or starts_with(split_part(request, ' ', 3), 'HTTP/'), false) as is_request
  from parsed
  anti join echoes('placed') using (n)
  where understood and stamp is not null and status in ('200', '201', '202', '206', '307')
    and (contains(coalesce(uri, request), '/manifests/') or contains(coalesce(uri, request), '/blobs/'))
),
-- One step after the other: what is named and used twice in the same select is worked out twice.
raw as (
  select * exclude (method, uri), split_part(target, '?', 1) as raw_path,
    case when contains(target, '/blobs/uploads/') then split_part(target, '?', 2) else '' end as query
  from told
),
path as (select *, in_path(raw_path) as path from raw),
ending as (select *, split_part(path, '/', -1) as last from path),
middle as (select *, left(path, length(path) - length(last) - 1) as before from ending),
object as (
  select *, strpos(before, '/v2/') as start,
    case
      when ends_with(before, '/manifests') then '/manifests'
      when ends_with(before, '/blobs') then '/blobs'
      when ends_with(before, '/blobs/uploads') then '/blobs/uploads'
    end as what
  from middle
),
action as (
  select *, substring(before, start + 4, length(before) - length(what) - start - 3) as repository,
    case when what = '/manifests' then 'manifest' else 'blob' end as kind,
    case
      when what <> '/blobs/uploads' and verb in ('GET', 'HEAD')
        and (status = '200' or (what = '/blobs' and status in ('206', '307'))) then 'pull'
      when what = '/manifests' and verb = 'PUT' and status = '201' then 'push'
      when what <> '/blobs/uploads' and verb = 'DELETE' and status = '202' then 'delete'
      when what = '/blobs/uploads' and status = '201' and verb = 'POST' and contains(query, 'mount=') then 'mount'
      when what = '/blobs/uploads' and status = '201' and verb in ('PUT', 'POST') then 'push'
    end as action
  from object
),
referred as (
  select *,
    case when what = '/blobs/uploads' then regexp_extract(query, '(?:^|&)(?:digest|mount)=([^&]+)', 1) else last end
      as raw_reference
  from action
),
decoded as (select *, in_path(raw_reference) as reference from referred),
meaning as (
  select *, regexp_full_match(reference, '[a-z0-9]+(?:[+._-][a-z0-9]+)*:[0-9a-fA-F]{32,}') as is_digest from decoded
)
select
  n, name, weak, escaped, action, kind, verb as method,
  repository, reference, is_digest,
  case
    when action = 'mount' then nullif(in_path(regexp_extract(query, '(?:^|&)from=([^&]+)', 1)), '')
  end as from_repository,
  case
    when kind = 'blob' then 'application/octet-stream'
    when action in ('pull', 'push')
      then nullif(lower(trim(split_part(if(action = 'push', sent_media_type, media_type), ';', 1))), '')
  end as media_type,
  case when action = 'pull' and verb = 'GET' and status = '200' then try_cast(size as bigint) end as size,
  nullif(nullif(digest, ''), '-') as digest,
  nullif(nullif(actor, ''), '-') as actor,
  nullif(nullif(address, ''), '-') as address,
  nullif(nullif(agent, ''), '-') as agent,
  nullif(nullif(host, ''), '-') as host,
  nullif(request_id, '') as request_id,
  -- A filter here would be pushed down to where all of the above is worked out twice.
  is_request and action is not null and start > 0 and regexp_full_match(repository, '[a-z0-9]+(?:[._/-]+[a-z0-9]+)*') and length(repository) <= 255
    and case when is_digest then true when kind = 'manifest' then regexp_full_match(reference, '\w[\w.-]{0,127}') else false end
    as is_valid
from meaning
