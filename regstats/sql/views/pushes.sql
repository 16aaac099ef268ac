-- Pushes of tagged manifests, and which of them changed what the tag points to.
-- Grain: one row per push. Time zone: none, times are instants.
-- The children of an index and blobs have no tag: they are not pushes but parts of one.
-- is_update: the digest differs from what the tag pointed to before: the first push of a tag, and the first one after
-- the tag was deleted, are updates.
with moved as (
  select
    timestamp, us, date, source, repository, tag, digest, media_type, size,
    actor, client_address, user_agent, client, client_version, event_id, true as is_push
  from events
  where action = 'push' and kind in ('manifest', 'index') and tag is not null
  union all
  select
    timestamp, us, date, source, repository, tag, null, null, null,
    actor, client_address, user_agent, client, client_version, event_id, false
  from events
  where action = 'delete' and tag is not null
)
select
  timestamp, us, date, source, repository, tag, digest, media_type, size,
  actor, client_address, user_agent, client, client_version, is_update, event_id
from (
  select *, digest is distinct from lag(digest) over (partition by source, repository, tag order by us, event_id) as is_update
  from moved
) as m
where is_push
