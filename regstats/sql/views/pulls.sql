-- What was asked of manifests, one row per pull or version check: the accounting of pulls, in this one place.
-- Grain: one row per manifest GET (a pull) or HEAD (a version check). Time zone: none, times are instants.
-- Blobs and pushes do not count. Still too simple: an index pull is two GETs, dockerd checks before it pulls.
select
  timestamp, us, date, source, repository, tag, digest, media_type,
  case
    when method = 'HEAD' then 'version_check'
    when tag is not null then 'pull_by_tag'
    else 'pull_by_digest'
  end as kind,
  actor, client_address, user_agent, client, client_version,
  1 as requests,
  event_id
from events
where action = 'pull' and kind in ('manifest', 'index')
