-- Requests that were read, with their identity, as rows of `recent`.
-- Grain: one row per request that is not there yet. Time zone: none, times are microseconds since 1970.
--
-- A line is known by its text: an equal one in the same file is the second of its kind.
with repeated as (
  select n, row_number() over (partition by name order by n) as nth
  from requests
  where name in (select name from requests group by name having count(*) > 1)
),
before as (
  select name, max(occurrence) as occurrence from recent where file = $file group by name
),
counted as (
  select q.*, coalesce(t.nth, 1) + coalesce(b.occurrence, 0) as occurrence
  from requests as q
  left join repeated as t using (n)
  left join before as b using (name)
  where q.request_id is null or coalesce(t.nth, 1) = 1
),
identified as (
  select *, 'log-' || case when request_id is not null or occurrence = 1 then name else name || '-' || occurrence end
    as event_id
  from counted
)
select
  $offset + i.n as n, event_id, name, occurrence, i.weak, us, ended_us,
  action, case when action = 'delete' and not is_digest then 'tag' else kind end as kind,
  method, object, repository, reference, case when not is_digest then reference end as tag,
  case
    when is_digest then reference
    when regexp_full_match(i.digest, '[a-z0-9]+(?:[+._-][a-z0-9]+)*:[0-9a-fA-F]{32,}') then i.digest
  end as digest,
  from_repository,
  case
    when kind = 'blob' or regexp_matches(media_type, '^application/vnd\.(docker|oci)\.') then media_type
  end as media_type,
  size, a.text as actor, d.text as client_address, u.text as user_agent, u.client, u.client_version, if(contains(i.host, '\'), null, i.host) as registry,
  request_id, hash(repository, a.text, d.text, u.text) as client_key, false as settled, $file as file, i.n as number
from identified as i
inner join placed using (n)
left join texts as a on i.actor = a.raw and i.escaped = a.escaped
left join agents as u on i.agent = u.raw and i.escaped = u.escaped
left join addresses as d on i.address = d.raw and i.escaped = d.escaped
where i.event_id not in (select event_id from recent)
