-- What did a tag point to, when, and who moved it?
-- Grain: one row per tag and stretch of time [since, until) in which it pointed to one manifest, as far as it lies in the
-- window; digest NULL: it was deleted. until NULL: it is still so. Time zone: none, times are instants.
-- Nobody is excluded: who is not counted still moves tags. A push of what is there already moves nothing.
with moved as (
  select *, lag(us) over (partition by source, repository, tag order by us, event_id) as earlier
  from moves
  where {things} and {past}
),
stretch as (
  select *, lead(timestamp) over (partition by source, repository, tag order by us, event_id) as until
  from moved
  where digest is distinct from before or (digest is null and earlier is null)
)
select repository, tag, digest, timestamp as since, until, actor, client_address
from stretch
where {people} and ({overlapping})
order by repository, tag, us, event_id
