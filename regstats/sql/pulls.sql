-- How often is it pulled, over time?
-- Grain: one row per period and value of `by` in which a manifest was asked for, or something was pushed to a registry
-- that tells of no pulls: then all numbers are NULL. Time zone: of the period, `tz`.
-- downloads: the pulls that fetched layers. requests: the raw manifest events that all of it was made of.
with asked as (
  select {keys}, kind, downloaded, requests
  from pulls
  where {where}
  union all
  select {keys}, null, null, null
  from pushes
  where {where} and source in (select source from silent)
)
select
  {group},
  case when count(kind) > 0 then count(*) filter (where kind in ('pull_by_tag', 'pull_by_digest')) end as pulls,
  case when count(kind) > 0 then count(*) filter (where kind in ('pull_by_tag', 'pull_by_digest') and downloaded) end
    as downloads,
  case when count(kind) > 0 then count(*) filter (where kind = 'version_check') end as version_checks,
  cast(sum(requests) as bigint) as requests
from asked
group by {group}
order by period nulls first, {order}
