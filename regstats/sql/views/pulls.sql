-- The accounting: what happened at the clients, from the requests that a registry reports.
-- Grain: one row per pull, version check or lookup. Time zone: none, times are instants, all arithmetic is on microseconds.
-- Source of the rule: the action classification that Docker Hub publishes for its own statistics, and recordings of what
-- clients send (README, "What counts as a pull").
--
-- A client here is one source, repository, actor, address and user agent. What belongs together lies at most 60 s apart.
-- Pairs are made like parentheses: a GET belongs to the latest HEAD before it that no GET between them belongs to. So
-- whether two events belong together depends on nothing that came before the first of them, and every date can be
-- accounted for from its own events and those of a few hours around it.
with accountable as (
  -- Requests for manifests, blobs that were fetched, and writes of manifests. A delete by digest may be one of a blob:
  -- then no manifest has that digest.
  select *
  from events
  where {dates}
    and (
      (action = 'pull' and kind in ('manifest', 'index'))
      or (action = 'pull' and kind = 'blob' and coalesce(method, 'GET') <> 'HEAD')
      or (action in ('push', 'delete') and kind <> 'blob' and digest is not null)
    )
),
client as (
  select row_number() over (order by source, repository, actor, client_address, user_agent) as k, *
  from (
    select source, repository, actor, client_address, user_agent, max(client) as client,
      max(client_version) as client_version
    from accountable
    group by source, repository, actor, client_address, user_agent
  ) as c
),

-- All of it numbered per client in the order of time.
happened as (
  select
    c.k,
    row_number() over (
      partition by c.k order by e.us, case when e.method = 'HEAD' then 0 else 1 end, e.event_id
    ) as n,
    e.us, e.timestamp, e.date, e.event_id, e.tag, e.digest, e.media_type, e.size,
    e.reference_digests, e.action = 'pull' and e.kind <> 'blob' as is_request,
    e.action = 'pull' and e.kind = 'blob' as is_blob,
    coalesce(e.method, 'GET') = 'HEAD' as is_head,
    e.kind = 'index' as is_index
  from accountable as e
  inner join client as c
    on e.source = c.source and e.repository = c.repository
    and e.actor is not distinct from c.actor
    and e.client_address is not distinct from c.client_address
    and e.user_agent is not distinct from c.user_agent
),

-- 1. A GET by tag belongs to a HEAD of the same tag. Nesting: HEAD opens, GET closes; a GET and the HEAD it closes are
-- neighbours among the events of their depth.
tag_depth as (
  select *, sum(case when is_head then 1 else -1 end) over (partition by k, tag order by n)
    + case when is_head then 0 else 1 end as depth
  from happened
  where is_request and tag is not null
),
tag_pair as (
  select k, n, head_n
  from (
    select k, n, us, is_head,
      lag(n) over (partition by k, tag, depth order by n) as head_n,
      lag(us) over (partition by k, tag, depth order by n) as head_us,
      lag(is_head) over (partition by k, tag, depth order by n) as after_head
    from tag_depth
  ) as t
  where not is_head and after_head and us - head_us <= 60000000
),

-- 2. A GET by digest belongs to a HEAD, by tag or by digest, that gave this digest and was not fetched by tag.
digest_depth as (
  select h.*, sum(case when is_head then 1 else -1 end) over (partition by h.k, digest order by h.n)
    + case when is_head then 0 else 1 end as depth
  from happened as h
  left join tag_pair as p on h.k = p.k and h.n = p.head_n
  where is_request and (is_head or tag is null) and p.k is null
),
digest_pair as (
  select k, n, head_n
  from (
    select k, n, us, is_head,
      lag(n) over (partition by k, digest, depth order by n) as head_n,
      lag(us) over (partition by k, digest, depth order by n) as head_us,
      lag(is_head) over (partition by k, digest, depth order by n) as after_head
    from digest_depth
  ) as d
  where not is_head and after_head and us - head_us <= 60000000
),
request as (
  select h.*, coalesce(t.head_n, d.head_n, h.n) as first_n
  from happened as h
  left join tag_pair as t on h.k = t.k and h.n = t.n
  left join digest_pair as d on h.k = d.k and h.n = d.n
  where h.is_request
),

-- 3. A GET by digest that is left belongs to an index before it: to the latest one that is known to list it, or whose
-- list is not known. Children may follow one another for a while: each within 60 s of the one before, all within an hour.
family as (
  select *, sum(starts) over (partition by k order by n) as chain
  from (
    select k, n, us, digest, is_index, reference_digests, first_n,
      case when us - lag(us) over (partition by k order by n) <= 60000000 then 0 else 1 end as starts
    from request
    where is_index or (tag is null and not is_head and first_n = n)
  ) as f
),
listing as (
  select k, n, unnest(reference_digests) as digest
  from family
  where is_index
),
listed as (
  select k, n, max(parent_n) over (partition by k, digest order by n) as parent_n
  from (
    select k, n, digest, n as parent_n from listing
    union all
    select k, n, digest, null from family where not is_index
  ) as l
),
parent as (
  select f.k, f.n, greatest(coalesce(max(l.parent_n), 0), coalesce(max(f.parent_n), 0)) as parent_n
  from (
    select *, max(case when is_index and reference_digests is null then n end) over (partition by k, chain order by n) as parent_n
    from family
  ) as f
  left join listed as l on f.k = l.k and f.n = l.n
  where not f.is_index
  group by f.k, f.n
),
child as (
  select c.k, c.n, i.first_n
  from parent as p
  inner join family as c on p.k = c.k and p.n = c.n
  inner join family as i on p.k = i.k and p.parent_n = i.n
  where c.chain = i.chain and c.us - i.us <= 3600000000
),
member as (
  select r.k, r.n, coalesce(c.first_n, r.first_n) as first_n, r.us, r.is_head
  from request as r
  left join child as c on r.k = c.k and r.n = c.n
),

-- 4. A blob belongs to the client's latest request for a manifest, with the same chain of 60 s and limit of an hour.
stream as (
  select *, max(case when is_request then n end) over (partition by k, chain order by n) as request_n
  from (
    select *, sum(starts) over (partition by k order by n) as chain
    from (
      select k, n, us, size, is_request,
        case when us - lag(us) over (partition by k order by n) <= 60000000 then 0 else 1 end as starts
      from happened
      where is_request or is_blob
    ) as s
  ) as s
),
fetched as (
  -- Any sender can claim any size: the sum of two may be too large for a bigint.
  select m.k, m.first_n, count(*) as blobs,
    cast(least(coalesce(sum(cast(s.size as decimal(38, 0))), 0), 9223372036854775807) as bigint) as bytes
  from stream as s
  inner join member as m on s.k = m.k and s.request_n = m.n
  where not s.is_request and s.us - m.us <= 3600000000
  group by m.k, m.first_n
),

pull as (
  select k, first_n, count(*) as requests, max(us) as last_us, bool_or(not is_head) as has_get
  from member
  group by k, first_n
),

-- 5. Who asks for a manifest to push or delete it looked it up, unless blobs were fetched.
written as (
  select distinct p.k, p.first_n
  from pull as p
  inner join happened as f on p.k = f.k and p.first_n = f.n
  inner join happened as w on p.k = w.k and f.digest = w.digest
  where not w.is_request and not w.is_blob and w.n > p.first_n and w.us - p.last_us <= 60000000
)

select
  f.timestamp, f.us, f.date, c.source, c.repository, f.tag, f.digest, f.media_type,
  case
    when w.k is not null and b.k is null then 'lookup'
    when f.tag is null then 'pull_by_digest'
    when p.has_get then 'pull_by_tag'
    else 'version_check'
  end as kind,
  c.actor, c.client_address, c.user_agent, c.client, c.client_version,
  p.requests,
  coalesce(b.blobs, 0) as blobs,
  coalesce(b.bytes, 0) as bytes,
  coalesce(b.blobs, 0) > 1 as downloaded,
  f.event_id
from pull as p
inner join happened as f on p.k = f.k and p.first_n = f.n
inner join client as c on p.k = c.k
left join fetched as b on p.k = b.k and p.first_n = b.first_n
left join written as w on p.k = w.k and p.first_n = w.first_n
