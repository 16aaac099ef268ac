-- Pushes of tagged manifests, and which of them changed what the tag points to.
-- Grain: one row per push. Time zone: none, times are instants.
-- The children of an index and blobs have no tag: they are not pushes but parts of one.
-- is_update: the digest differs from that of the tag's push before; the first push of a tag is one.
select
  timestamp, us, date, source, repository, tag, digest, media_type, size,
  actor, client_address, user_agent, client, client_version,
  digest is distinct from lag(digest) over (partition by source, repository, tag order by us, event_id) as is_update,
  event_id
from events
where action = 'push' and kind in ('manifest', 'index') and tag is not null
