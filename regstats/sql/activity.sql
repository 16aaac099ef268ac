-- Who does what?
-- Grain: one row per actor who pulled, checked, pushed or deleted, and per period and value of `by` if asked for; the
-- actor NULL is everybody without a name. Time zone: of the period and of active days, `tz`.
-- pulls: NULL where no registry in which somebody did something tells of them. deletes: requests that deleted a manifest, tag or repository, however many tags went with it; not those of blobs.
with done as (
  -- Few rows, among which it is cheap to count what is distinct.
  select
    {keys}, {day} as its_day, cast(null as varchar) as its_repository, cast(null as varchar) as its_address,
    cast(null as varchar) as its_client, cast(null as varchar) as deletion,
    count(*) filter (where kind in ('pull_by_tag', 'pull_by_digest')) as pulls, 0 as pushes,
    min(timestamp) as first_seen, max(timestamp) as last_seen
  from pulls
  where {where}
  group by {group}, its_day
  union all
  select
    {keys}, null, repository as its_repository, client_address as its_address, client as its_client, null,
    null, 0, null, null
  from pulls
  where {where}
  group by {group}, its_repository, its_address, its_client
  union all
  select {keys}, {day}, repository, client_address, client, null, {no_pulls}, 1, timestamp, timestamp
  from pushes
  where {where}
  union all
  select {keys}, {day}, repository, client_address, client, request_id, {no_pulls}, 0, timestamp, timestamp
  from deletes
  where {where} and kind <> 'blob'
)
select
  {group},
  min(first_seen) as first_seen,
  max(last_seen) as last_seen,
  count(distinct its_day) as active_days,
  cast(sum(pulls) as bigint) as pulls,
  cast(sum(pushes) as bigint) as pushes,
  count(distinct deletion) as deletes,
  count(distinct its_repository) as repositories,
  count(distinct its_address) as addresses,
  count(distinct its_client) as clients
from done
group by {group}
order by period nulls first, pulls desc nulls last, pushes desc, {order}
