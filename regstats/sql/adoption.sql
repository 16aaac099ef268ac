-- How fast do clients move to a new digest, and who still pulls the old one?
-- Grain: one row per update of a moving tag in the window, and value of `by` of its pullers if asked for; per period in
-- which somebody moved, if asked for. Time zone: of the period, `tz`; times are instants, durations microseconds.
-- pullers: distinct pairs of actor and client address that pulled or checked the tag, or its manifest by digest, from 30
-- days before the update until the tag moved on (or the window ended).
-- share: of those, who had pulled the new manifest by then; with periods, by the end of the period.
-- time_to_50, time_to_90: from the update until so many per cent of them had; NULL if they never did.
-- last_old_pull: when, after the update, somebody last pulled what the tag had pointed to before.
-- Tags that are named after one build, and signatures, do not move. An update that nobody could have pulled is left out.
with updated_tag as (
  select distinct source, repository, tag
  from moves
  where {things} and {window} and {is_image} and not {is_immutable} and digest is not null
    and digest is distinct from before
),
moved as (
  select source, repository, tag, digest, timestamp, date, us, event_id
  from moves
  where (source, repository, tag) in (select source, repository, tag from updated_tag) and {past}
    and digest is distinct from before
),
stretch as (
  select *,
    dense_rank() over (order by source, repository, tag) as tag_no,
    row_number() over (partition by source, repository, tag order by us, event_id) as n,
    coalesce(lead(us) over (partition by source, repository, tag order by us, event_id), $end_us + 1) as end_us,
    count(*) over (
      partition by source, repository, tag order by us range between current row and 2592000000000 following
    ) as following
  from moved
),
every as (
  -- What a tag pointed to, numbered; last_n is the latest that can be of concern to who pulled this one.
  select *, coalesce(lead(n + following) over (partition by tag_no order by n), n) as last_n from stretch
),
updated as (
  select repository, tag, tag_no, n, digest, timestamp as pushed_at, us, end_us
  from every
  where digest is not null and {window}
),
span as (
  select min(us) - 2592000000000 as first_us, cast(min(timestamp) - interval 31 days as date) as first_date
  from every
  where digest is not null and {window}
),
tenure as (
  select source, repository, tag, tag_no, n, digest, us, end_us, last_n
  from every
  where end_us > (select first_us from span)
),
asked as (
  select source, repository, tag, digest, us, kind <> 'version_check' as is_pull, {puller}
  from pulls
  where {places} and {people} and {past} and kind <> 'lookup'
    and us >= (select first_us from span) and date >= (select first_date from span)
),
matched as (
  select t.tag_no, t.n, {puller}, a.us, a.is_pull, a.us >= t.end_us as is_late
  from asked as a
  inner join tenure as t on t.source = a.source and t.repository = a.repository and t.digest = a.digest
  where a.us >= t.us and (a.tag is null or a.tag = t.tag) and (a.us < t.end_us or a.is_pull)
),
used as (
  -- Each puller of each of them: when it was last seen, and when it first had it.
  select tag_no, n, {puller}, max(us) as last_us, min(case when is_pull then us end) as got_us
  from matched
  where not is_late
  group by tag_no, n, {puller}
  union all
  -- And of whatever a tag pointed to before anything is known of it.
  select t.tag_no, 0, {puller}, max(a.us), null
  from asked as a
  inner join tenure as t on t.source = a.source and t.repository = a.repository and t.tag = a.tag
  where t.n = 1 and a.us < t.us
  group by t.tag_no, {puller}
),
followed as (
  select *, lead(n) over (partition by tag_no, {puller} order by n) as next_n from used
),
waiting as (
  -- Who pulled one of them, and not the next ones: it is still a puller of the tag for 30 days.
  select f.tag_no, {puller}, f.last_us,
    unnest(range(f.n + 1, least(coalesce(f.next_n, t.last_n + 1), t.last_n + 1))) as n
  from followed as f
  inner join tenure as t on t.tag_no = f.tag_no and t.n = greatest(f.n, 1)
  where f.next_n is null or f.next_n > f.n + 1
),
member as (
  select u.*, m.got_us{and_by}
  from (
    select tag_no, n, {puller}, last_us, got_us from used
    union all
    select tag_no, n, {puller}, last_us, null from waiting
  ) as m
  inner join updated as u on u.tag_no = m.tag_no and u.n = m.n
  where m.last_us >= u.us - 2592000000000
),
summary as (
  select tag_no, n{and_by}, count(*) as pullers,
    percentile_disc(0.5) within group (order by coalesce(got_us, 9223372036854775807)) as got_50,
    percentile_disc(0.9) within group (order by coalesce(got_us, 9223372036854775807)) as got_90
  from member
  group by tag_no, n{and_by}
),
stale as (
  select u.tag_no, u.n{and_by}, max(m.us) as old_us
  from matched as m
  inner join tenure as t on t.tag_no = m.tag_no and t.n = m.n
  inner join updated as u on u.tag_no = m.tag_no and u.n > m.n
  where m.is_late and u.digest <> t.digest and m.us >= u.us and m.us < u.end_us
  group by u.tag_no, u.n{and_by}
),
arrived as (
  select {period} as period, repository, tag, tag_no, n, digest, pushed_at, us{and_by}, count(got_us) as moved
  from (select *, {got_at} as timestamp, {got_date} as date from (select *, coalesce(got_us, us) as at_us from member) as m)
  group by period, repository, tag, tag_no, n, digest, pushed_at, us{and_by}
)
select
  a.period, a.repository, a.tag, a.digest, a.pushed_at{and_by_of_a}, s.pullers,
  cast(sum(a.moved) over (partition by a.tag_no, a.n{and_by_of_a} order by a.period) as double) / s.pullers as share,
  case when s.got_50 < 9223372036854775807 then s.got_50 - a.us end as time_to_50,
  case when s.got_90 < 9223372036854775807 then s.got_90 - a.us end as time_to_90,
  {old_at} as last_old_pull
from arrived as a
inner join summary as s on s.tag_no = a.tag_no and s.n = a.n{and_same_s}
left join stale as o on o.tag_no = a.tag_no and o.n = a.n{and_same_o}
order by a.repository, a.tag, a.us, a.n, a.tag_no{and_order_of_a}, a.period
