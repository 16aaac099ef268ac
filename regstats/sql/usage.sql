-- Who uses which repository?
-- Grain: one row per actor and repository, and per period and value of `by` if asked for; only where something was
-- pulled. The actor NULL is everybody without a name. Time zone: of the period, `tz`.
select
  {keys},
  count(*) as pulls,
  count(*) filter (where downloaded) as downloads,
  max(timestamp) as last_pull
from pulls
where {where} and kind in ('pull_by_tag', 'pull_by_digest')
group by {group}
order by period nulls first, pulls desc, {order}
