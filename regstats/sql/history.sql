-- What did a tag point to, when, and who moved it?
-- Grain: one row per tag and stretch of time [since, until) in which it pointed to one manifest, as far as it lies in the
-- window; digest NULL: it was deleted. until NULL: it is still so. Time zone: none, times are instants.
-- Nobody is excluded: who is not counted still moves tags. A push of what is there already moves nothing.
with moved as (
  select
    timestamp, us, source, repository, tag, digest, actor, client_address, user_agent, client, client_version, event_id
  from moves
  where {things} and {past} and digest is distinct from before
  union all
  -- What was deleted before anything else is known of it.
  select
    timestamp, us, source, repository, tag, digest, actor, client_address, user_agent, client, client_version, event_id
  from (
    select *, row_number() over (partition by source, repository, tag order by us, event_id) as number
    from moves
    where {things} and {past} and (source, repository, tag) in (
      select source, repository, tag from moves where {things} and {past} and digest is null and before is null
    )
  ) as m
  where number = 1 and digest is null and before is null
),
stretch as (
  select *, lead(timestamp) over (partition by source, repository, tag order by us, event_id) as until
  from moved
)
select repository, tag, digest, timestamp as since, until, actor, client_address
from stretch
where {people} and ({overlapping})
order by repository, tag, us, event_id
