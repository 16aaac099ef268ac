-- How often is it pulled, over time?
-- Grain: one row per period and value of `by` in which a manifest was asked for. Time zone: of the period, `tz`.
-- downloads: the pulls that fetched layers. requests: the raw manifest events that all of it was made of.
select
  {keys},
  count(*) filter (where kind in ('pull_by_tag', 'pull_by_digest')) as pulls,
  count(*) filter (where kind in ('pull_by_tag', 'pull_by_digest') and downloaded) as downloads,
  count(*) filter (where kind = 'version_check') as version_checks,
  cast(sum(requests) as bigint) as requests
from pulls
where {where}
group by {group}
order by period nulls first, {order}
