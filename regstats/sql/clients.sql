-- With what do they pull?
-- Grain: one row per client and version that pulled or checked, and per period and value of `by` if asked for; NULL is
-- what is not known. Time zone: of the period, `tz`.
-- pullers: distinct pairs of actor and client address, of pulls and checks.
with used as (
  select
    {keys}, actor as its_actor,
    count(*) filter (where kind in ('pull_by_tag', 'pull_by_digest')) as pulls,
    count(*) filter (where kind in ('pull_by_tag', 'pull_by_digest') and downloaded) as downloads,
    count(*) filter (where kind = 'version_check') as version_checks,
    max(timestamp) as last_seen
  from pulls
  where {where} and kind <> 'lookup'
  group by {group}, its_actor, client_address
)
select
  {group},
  cast(sum(pulls) as bigint) as pulls,
  cast(sum(downloads) as bigint) as downloads,
  cast(sum(version_checks) as bigint) as version_checks,
  count(distinct its_actor) as actors,
  count(*) as pullers,
  max(last_seen) as last_seen
from used
group by {group}
order by period nulls first, pulls desc, version_checks desc, {order}
