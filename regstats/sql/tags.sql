-- What is there, tag by tag?
-- Grain: one row per repository and tag that was pulled, checked or pushed, and per period and value of `by` if asked
-- for; the tag NULL is what was pulled by digest. Time zone: of the period, `tz`; times are instants.
-- digest: what the tag points to at the end of the window; NULL if it was deleted. Where no push is known it is what the
-- last pull or check in the window got. Pulls are NULL where no registry that it is in tells of them.
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
    {keys}, actor as its_actor, max({no_pulls}), max({no_pulls}), max({no_pulls}),
    count(*), count(*) filter (where is_update),
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
    case when count(pulls) > 0 then count(case when pulls > 0 then 1 end) end as pullers,
    min(first_pull) as first_pull, max(last_pull) as last_pull,
    min(first_push) as first_push, max(last_push) as last_push
  from used
  group by {group}
),
latest as (
  select {of_tag}, max(us) as us
  from moves
  where {things} and {past} and ({of_tag}) in (select {of_tag} from counted)
  group by {of_tag}
),
moved as (
  select m.*, row_number() over (partition by {m_of_tag} order by m.event_id desc) as age
  from (select * from moves where {things}) as m
  inner join latest as l on {same_l} and l.us = m.us
),
unknown as (
  select {c_of_tag}
  from counted as c
  where c.tag is not null and not exists (select 1 from latest as m where {same_m})
),
seen as (
  select *, row_number() over (partition by {of_tag} order by us desc, digest desc) as age
  from (
    select {of_tag}, digest, max(us) as us
    from pulls
    where {where} and kind <> 'lookup' and ({of_tag}) in (select {of_tag} from unknown)
    group by {of_tag}, digest
  ) as p
)
select
  {group_of_c}, coalesce(m.digest, s.digest) as digest,
  pulls, downloads, version_checks, pushes, updates, actors, pullers, first_pull, last_pull, first_push, last_push
from counted as c
left join (select {of_tag}, digest from moved where age = 1) as m on {same_m}
left join (select {of_tag}, digest from seen where age = 1) as s on {same_s}
order by period nulls first, pulls desc nulls last, pushes desc, {order}
