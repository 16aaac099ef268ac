-- What is there?
-- Grain: one row per repository in which a manifest was pulled, checked or pushed. Time zone: none, times are instants.
-- pullers: distinct pairs of actor and client address among the pulls; actors: distinct names in pulls and pushes.
with used as (
  select
    repository, tag, actor,
    kind in ('pull_by_tag', 'pull_by_digest') as is_pull, downloaded, kind = 'version_check' as is_check,
    false as is_push, false as is_update, timestamp,
    concat(coalesce(actor, ''), ' ', coalesce(client_address, '')) as puller
  from pulls
  where {where}
  union all
  select repository, tag, actor, false, false, false, true, is_update, timestamp, null
  from pushes
  where {where}
)
select
  repository,
  count(*) filter (where is_pull) as pulls,
  count(*) filter (where is_pull and downloaded) as downloads,
  count(*) filter (where is_check) as version_checks,
  count(*) filter (where is_push) as pushes,
  count(*) filter (where is_update) as updates,
  count(distinct tag) as tags,
  count(distinct actor) as actors,
  count(distinct case when is_pull then puller end) as pullers,
  min(case when is_pull then timestamp end) as first_pull,
  max(case when is_pull then timestamp end) as last_pull,
  min(case when is_push then timestamp end) as first_push,
  max(case when is_push then timestamp end) as last_push
from used
group by repository
order by pulls desc, pushes desc, repository
