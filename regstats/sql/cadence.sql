-- How well is it maintained?
-- Grain: one row per repository and tag that was updated. Time zone: none, times are instants, intervals microseconds.
-- Updates are pushes that changed the tag's digest. Signatures and attestations (sha256-<hex>, .sig, .att, .sbom) are
-- not images. Intervals are between updates within the window; age is up to `now`; overdue is age ÷ median interval.
with updates as (
  select
    repository, tag, timestamp, us,
    us - lag(us) over (partition by source, repository, tag order by us, event_id) as gap
  from pushes
  where {where}
    and is_update
    and not regexp_matches(tag, '^sha256-[0-9a-f]{64}(\.(sig|att|sbom))?$')
),
summary as (
  select
    repository, tag,
    count(*) as updates,
    min(timestamp) as first_update,
    max(timestamp) as last_update,
    cast(percentile_disc(0.5) within group (order by gap) as bigint) as median_interval,
    cast(percentile_disc(0.9) within group (order by gap) as bigint) as p90_interval,
    $now_us - max(us) as age
  from updates
  group by repository, tag
)
select *, case when median_interval > 0 then cast(age as double) / median_interval end as overdue
from summary
order by repository, tag
