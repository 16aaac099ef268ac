-- What was uploaded: blobs and manifests, each time that they were. A mount takes up nothing that was not there.
-- Grain: one row per push event of something that has a digest. Time zone: none, times are instants.
select timestamp, date, source, repository, digest, size, actor, client_address, user_agent, client
from events
where action = 'push' and kind in ('blob', 'manifest', 'index') and digest is not null
