-- What changed in a registry: pushes of manifests, and deletes. They are few among all events.
-- Grain: one row per event. Time zone: none.
-- A registry sends an event for the manifest or blob that is deleted, and, with the same request, one for each tag that
-- goes with it. tags: how many went with the same request. digest: of those, what was deleted with them.
-- Some registries do not tell the digest of what is pushed: then it is `unknown:…`, another one with each push, because
-- nobody can tell whether it is what was there before.
select
  timestamp, date, source, dialect, repository, tag,
  case when action = 'delete' then coalesce(digest, max(digest) over request)
    else coalesce(digest, concat('unknown:', event_id)) end as digest,
  media_type, size, action, kind, reference_digests, actor, client_address, user_agent, client, client_version,
  request_id, event_id, case when action = 'delete' then count(tag) over request end as tags
from events
where {dates} and (action = 'delete' or (action = 'push' and kind in ('manifest', 'index')))
window request as (partition by date, source, repository, action, coalesce(request_id, event_id))
