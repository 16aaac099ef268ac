-- How well is it maintained?
-- Grain: one row per tag that was updated, and before them one per repository (tag NULL). Time zone: none, times are
-- instants, intervals microseconds.
-- Updates are pushes that changed the tag's digest. Signatures and attestations (sha256-<hex>, .sig, .att, .sbom) are
-- not images. A repository's updates are its releases: pushes of manifests that were not there before; those that are
-- less than an hour apart are one release, such as 1.2.3, 1.2 and latest, or a tag per platform.
-- kind: `immutable` are tags that are named after one build, and are meant never to change; the others are `moving`.
-- Intervals are between updates within the window; age is up to the window's end, or now; overdue is age ÷ median interval, of what is not
-- immutable. grade: age ÷ expected interval up to 1 A, 2 B, 4 C, 8 D, 16 E, more F. Expected is the p90 interval, but at
-- least 7 and at most 90 days; 90 days too where there were less than three updates.
with recent as (
  select source, repository, tag, digest, timestamp, us, event_id, is_update
  from pushes
  where {where} and {is_image}
),
known as (
  select source, repository, digest, min(us) as first_us
  from pushes
  where {places} and {people} and {past} and {is_image}
    and (source, repository, digest) in (select source, repository, digest from recent)
  group by source, repository, digest
),
updates as (
  select source, repository, tag, case when {is_immutable} then 'immutable' else 'moving' end as kind, timestamp, us,
    us - lag(us) over (partition by source, repository, tag order by us, event_id) as gap
  from recent
  where is_update
),
fresh as (
  select r.source, r.repository, r.timestamp, r.us,
    r.us - lag(r.us) over (partition by r.source, r.repository order by r.us, r.event_id) as gap
  from recent as r
  inner join known as k on k.source = r.source and k.repository = r.repository and k.digest = r.digest
  where r.us = k.first_us
),
releases as (
  select source, repository, timestamp, us, us - lag(us) over (partition by source, repository order by us) as gap
  from fresh
  where gap is null or gap >= 3600000000
),
summary as (
  select repository, tag, kind, count(*) as updates, min(timestamp) as first_update, max(timestamp) as last_update,
    cast(percentile_disc(0.5) within group (order by gap) as bigint) as median_interval,
    cast(percentile_disc(0.9) within group (order by gap) as bigint) as p90_interval,
    $end_us - max(us) as age
  from (
    select repository, tag, kind, timestamp, us, gap from updates
    union all
    select repository, null, 'repository', timestamp, us, gap from releases
  ) as u
  group by repository, tag, kind
),
judged as (
  select *,
    cast(age as double) / case
      when updates < 3 or p90_interval > 7776000000000 then 7776000000000
      when p90_interval < 604800000000 then 604800000000
      else p90_interval
    end as lateness
  from summary
)
select
  repository, tag, kind, updates, first_update, last_update, median_interval, p90_interval, age,
  case when kind <> 'immutable' and median_interval > 0 then cast(age as double) / median_interval end as overdue,
  case
    when kind = 'immutable' then null
    when lateness <= 1 then 'A'
    when lateness <= 2 then 'B'
    when lateness <= 4 then 'C'
    when lateness <= 8 then 'D'
    when lateness <= 16 then 'E'
    else 'F'
  end as grade
from judged
order by repository, tag nulls first
