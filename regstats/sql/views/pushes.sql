-- Pushes of tagged manifests, and which of them changed what the tag points to.
-- Grain: one row per push. Time zone: none, times are instants.
-- The children of an index and blobs have no tag: they are not pushes but parts of one.
-- is_update: the digest differs from what the tag pointed to before: the first push of a tag, and the first one after
-- the tag was deleted, are updates.
select
  timestamp, us, date, source, repository, tag, digest, media_type, size,
  actor, client_address, user_agent, client, client_version, digest is distinct from before as is_update, event_id
from moves
where is_push
