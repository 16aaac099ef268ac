-- What does each tag point to? Of all repositories, or of one.
-- Grain: one row per tag that was ever pushed or deleted. Time zone: none, times are instants.
-- digest: NULL if it was deleted.
select source, repository, tag, timestamp, event_id, digest
from (
  select *, row_number() over (partition by source, repository, tag order by us desc, event_id desc) as age
  from moves
  where ($repository is null or repository = $repository)
) as m
where age = 1
