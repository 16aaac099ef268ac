-- What is there?
-- Grain: one row per repository in which a manifest was pulled, checked or pushed, and per period and value of `by` if
-- asked for. Time zone: of the period, `tz`; times are instants.
-- Pulls are NULL where no registry that it is in tells of them. pullers: distinct pairs of actor and client address among the pulls; actors: distinct names in pulls and pushes.
with used as (
  -- Few rows, among which it is cheap to count what is distinct: one for each puller,
  select
    {keys}, cast(null as varchar) as its_tag, actor as its_actor,
    count(*) filter (where kind in ('pull_by_tag', 'pull_by_digest')) as pulls,
    count(*) filter (where kind in ('pull_by_tag', 'pull_by_digest') and downloaded) as downloads,
    count(*) filter (where kind = 'version_check') as version_checks,
    0 as pushes, 0 as updates,
    min(case when kind in ('pull_by_tag', 'pull_by_digest') then timestamp end) as first_pull,
    max(case when kind in ('pull_by_tag', 'pull_by_digest') then timestamp end) as last_pull,
    cast(null as {instant}) as first_push, cast(null as {instant}) as last_push
  from pulls
  where {where} and kind <> 'lookup'
  group by {group}, its_actor, client_address
  union all
  -- one for each tag,
  select {keys}, tag as its_tag, null, null, null, null, 0, 0, null, null, null, null
  from pulls
  where {where} and kind <> 'lookup'
  group by {group}, its_tag
  union all
  -- and one for each tag and who pushed it.
  select
    {keys}, tag as its_tag, actor as its_actor, max({no_pulls}), max({no_pulls}), max({no_pulls}),
    count(*), count(*) filter (where is_update),
    null, null, min(timestamp), max(timestamp)
  from pushes
  where {where}
  group by {group}, its_tag, its_actor
)
select
  {group},
  cast(sum(pulls) as bigint) as pulls,
  cast(sum(downloads) as bigint) as downloads,
  cast(sum(version_checks) as bigint) as version_checks,
  cast(sum(pushes) as bigint) as pushes,
  cast(sum(updates) as bigint) as updates,
  count(distinct its_tag) as tags,
  count(distinct its_actor) as actors,
  case when count(pulls) > 0 then count(case when pulls > 0 then 1 end) end as pullers,
  min(first_pull) as first_pull, max(last_pull) as last_pull,
  min(first_push) as first_push, max(last_push) as last_push
from used
group by {group}
order by period nulls first, pulls desc nulls last, pushes desc, {order}
