-- Who does what?
-- Grain: one row per actor, and period if asked for; the actor NULL is everybody without a name. Time zone: of days, `tz`.
-- deletes: requests that deleted a manifest, tag or repository, however many tags went with it; not those of blobs.
with done as (
  select {period} as period, actor, timestamp, {day} as day, repository, client_address, client,
    false as is_pull, false as is_push, null as deletion
  from actions
  where {where}
  union all
  select {period}, actor, timestamp, {day}, repository, client_address, client, true, false, null
  from pulls
  where {where} and kind in ('pull_by_tag', 'pull_by_digest')
  union all
  select {period}, actor, timestamp, {day}, repository, client_address, client, false, true, null
  from pushes
  where {where}
  union all
  select {period}, actor, timestamp, {day}, repository, client_address, client, false, false, request_id
  from deletes
  where {where} and kind <> 'blob'
)
select
  period, actor,
  min(timestamp) as first_seen,
  max(timestamp) as last_seen,
  count(distinct day) as active_days,
  count(*) filter (where is_pull) as pulls,
  count(*) filter (where is_push) as pushes,
  count(distinct deletion) as deletes,
  count(distinct repository) as repositories,
  count(distinct client_address) as addresses,
  count(distinct client) as clients
from done
group by period, actor
order by period nulls first, pulls desc, pushes desc, actor nulls last
