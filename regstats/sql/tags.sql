-- What is there, tag by tag?
-- Grain: one row per repository and tag that was pulled, checked or pushed, and per period and value of `by` if asked
-- for; the tag NULL is what was pulled by digest. Time zone: of the period, `tz`; times are instants.
-- digest: what the tag points to at the end of the window; NULL if it was deleted. Where no push is known it is what the
-- last pull or check in the window got.
with used as (
  select
    {keys}, actor as its_actor, concat(coalesce(actor, ''), ' ', coalesce(client_address, '')) as puller,
    count(*) filter (where kind in ('pull_by_tag', 'pull_by_digest')) as pulls,
    count(*) filter (where kind in ('pull_by_tag', 'pull_by_digest') and downloaded) as downloads,
    count(*) filter (where kind = 'version_check') as version_checks,
    0 as pushes, 0 as updates,
    min(case when kind in ('pull_by_tag', 'pull_by_digest') then timestamp end) as first_pull,
    max(case when kind in ('pull_by_tag', 'pull_by_digest') then timestamp end) as last_pull,
    cast(null as {instant}) as first_push, cast(null as {instant}) as last_push,
    max_by(digest, us) as seen, max(us) as seen_us
  from pulls
  where {where} and kind <> 'lookup'
  group by {group}, its_actor, puller
  union all
  select
    {keys}, actor, null, 0, 0, 0, count(*), count(*) filter (where is_update),
    null, null, min(timestamp), max(timestamp), null, null
  from pushes
  where {where}
  group by {group}, actor
),
counted as (
  select
    {group},
    cast(sum(pulls) as bigint) as pulls,
    cast(sum(downloads) as bigint) as downloads,
    cast(sum(version_checks) as bigint) as version_checks,
    cast(sum(pushes) as bigint) as pushes,
    cast(sum(updates) as bigint) as updates,
    count(distinct its_actor) as actors,
    count(distinct case when pulls > 0 then puller end) as pullers,
    min(first_pull) as first_pull, max(last_pull) as last_pull,
    min(first_push) as first_push, max(last_push) as last_push,
    max_by(seen, seen_us) as seen
  from used
  group by {group}
),
moved as (
  select repository, tag, digest,
    row_number() over (partition by repository, tag order by us desc, event_id desc) as age
  from moves
  where {things} and {past}
)
select
  {group_of_c}, case when m.age is null then case when c.tag is not null then c.seen end else m.digest end as digest,
  pulls, downloads, version_checks, pushes, updates, actors, pullers, first_pull, last_pull, first_push, last_push
from counted as c
left join (select * from moved where age = 1) as m on m.repository = c.repository and m.tag = c.tag
order by period nulls first, pulls desc, pushes desc, {order}
