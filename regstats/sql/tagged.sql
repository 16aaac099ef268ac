-- What happened to tags? Each push and each delete, and what the tag pointed to before.
-- Grain: one row per push with a tag, and one per tag that was deleted. Time zone: none, times are instants.
select timestamp, source, repository, tag, digest, before, media_type, actor, client_address, event_id
from moves
where ($since is null or timestamp >= $since) and timestamp < $until
order by us, event_id
