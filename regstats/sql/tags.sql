-- What is there, tag by tag?
-- Grain: one row per repository and tag that was pulled, checked or pushed, and per period and value of `by` if asked
-- for; the tag NULL is what was pulled by digest. Time zone: of the period, `tz`; times are instants.
-- digest: what the tag points to at the end of the window; NULL if it was deleted. Where no push is known it is what the
-- last pull or check in the window got.
with used as (
  select
    {keys}, actor as its_actor,
    count(*) filter (where kind in ('pull_by_tag', 'pull_by_digest')) as pulls,
    count(*) filter (where kind in ('pull_by_tag', 'pull_by_digest') and downloaded) as downloads,
    count(*) filter (where kind = 'version_check') as version_checks,
    0 as pushes, 0 as updates,
    min(case when kind in ('pull_by_tag', 'pull_by_digest') then timestamp end) as first_pull,
    max(case when kind in ('pull_by_tag', 'pull_by_digest') then timestamp end) as last_pull,
    cast(null as {instant}) as first_push, cast(null as {instant}) as last_push
  from pulls
  where {where} and kind <> 'lookup'
  group by {group}, its_actor, client_address
  union all
  select
    {keys}, actor as its_actor, 0, 0, 0, count(*), count(*) filter (where is_update),
    null, null, min(timestamp), max(timestamp)
  from pushes
  where {where}
  group by {group}, its_actor
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
    count(case when pulls > 0 then 1 end) as pullers,
    min(first_pull) as first_pull, max(last_pull) as last_pull,
    min(first_push) as first_push, max(last_push) as last_push
  from used
  group by {group}
),
latest as (
  select repository, tag, max(us) as us
  from moves
  where {things} and {past} and (repository, tag) in (select repository, tag from counted)
  group by repository, tag
),
moved as (
  select m.repository, m.tag, m.digest,
    row_number() over (partition by m.repository, m.tag order by m.event_id desc) as age
  from moves as m
  inner join latest as l on l.repository = m.repository and l.tag = m.tag and l.us = m.us
),
unknown as (
  select c.repository, c.tag
  from counted as c
  where c.tag is not null
    and not exists (select 1 from latest as l where l.repository = c.repository and l.tag = c.tag)
),
seen as (
  select repository, tag, max_by(digest, us) as digest
  from pulls
  where {where} and kind <> 'lookup' and (repository, tag) in (select repository, tag from unknown)
  group by repository, tag
)
select
  {group_of_c}, coalesce(m.digest, s.digest) as digest,
  pulls, downloads, version_checks, pushes, updates, actors, pullers, first_pull, last_pull, first_push, last_push
from counted as c
left join (select * from moved where age = 1) as m on m.repository = c.repository and m.tag = c.tag
left join seen as s on s.repository = c.repository and s.tag = c.tag
order by period nulls first, pulls desc, pushes desc, {order}
