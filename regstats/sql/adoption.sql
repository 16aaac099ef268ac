-- How fast do clients move to a new digest, and who still pulls the old one?
-- Grain: one row per update of a moving tag in the window, and value of `by` of its pullers if asked for; per period in
-- which somebody moved, if asked for. Time zone: of the period, `tz`; times are instants, durations microseconds.
-- pullers: distinct pairs of actor and client address that pulled or checked the tag, or its manifest by digest, from 30
-- days before the update until the tag moved on (or the window ended).
-- share: of those, who had pulled the new manifest by then; with periods, by the end of the period.
-- time_to_50, time_to_90: from the update until so many per cent of them had; NULL if they never did.
-- last_old_pull: when, after the update, somebody last pulled what the tag had pointed to before.
-- Tags that are named after one build, and signatures, do not move. An update that nobody could have pulled is left out.
with moved as (
  select source, repository, tag, digest, timestamp, date, us, event_id
  from moves
  where {things} and {past} and {is_image} and not {is_immutable} and digest is distinct from before
),
stretch as (
  select *,
    row_number() over (partition by source, repository, tag order by us, event_id) as n,
    coalesce(lead(us) over (partition by source, repository, tag order by us, event_id), $end_us + 1) as end_us,
    count(*) over (
      partition by source, repository, tag order by us range between current row and 2592000000000 following
    ) as following
  from moved
),
tenure as (
  -- What a tag pointed to, numbered; last_n is the latest that can be of concern to who pulled this one.
  select *, coalesce(lead(n + following) over (partition by source, repository, tag order by n), n) as last_n
  from stretch
),
updated as (
  select source, repository, tag, n, digest, timestamp as pushed_at, date, us, end_us
  from tenure
  where digest is not null and {window}
),
span as (
  select min(us) - 2592000000000 as first_us, min(date) - 31 as first_date from updated
),
asked as (
  select source, repository, tag, digest, us, kind <> 'version_check' as is_pull,
    concat(coalesce(actor, ''), ' ', coalesce(client_address, '')) as puller{and_by}
  from pulls
  where {places} and {people} and {past} and kind <> 'lookup'
    and us >= (select first_us from span) and date >= (select first_date from span)
),
used as (
  -- Each puller of each of them: when it was last seen, and when it first had it.
  select t.source, t.repository, t.tag, t.n, a.puller{and_by},
    max(a.us) as last_us, min(case when a.is_pull then a.us end) as got_us
  from asked as a
  inner join tenure as t on t.source = a.source and t.repository = a.repository and t.digest = a.digest
  where a.us >= t.us and a.us < t.end_us and (a.tag is null or a.tag = t.tag)
  group by t.source, t.repository, t.tag, t.n, a.puller{and_by}
  union all
  -- And of whatever a tag pointed to before anything is known of it.
  select t.source, t.repository, t.tag, 0, a.puller{and_by}, max(a.us), null
  from asked as a
  inner join tenure as t on t.source = a.source and t.repository = a.repository and t.tag = a.tag
  where t.n = 1 and a.us < t.us
  group by t.source, t.repository, t.tag, a.puller{and_by}
),
followed as (
  select *, lead(n) over (partition by source, repository, tag, puller{and_by} order by n) as next_n from used
),
waiting as (
  -- Who pulled one of them, and not the next ones: it is still a puller of the tag for 30 days.
  select f.source, f.repository, f.tag, f.puller{and_by}, f.last_us,
    unnest(range(f.n + 1, least(coalesce(f.next_n, t.last_n + 1), t.last_n + 1))) as n
  from followed as f
  inner join tenure as t
    on t.source = f.source and t.repository = f.repository and t.tag = f.tag and t.n = greatest(f.n, 1)
),
member as (
  select u.*, m.puller, m.got_us{and_by}
  from (
    select source, repository, tag, n, puller, last_us, got_us{and_by} from used
    union all
    select source, repository, tag, n, puller, last_us, null{and_by} from waiting
  ) as m
  inner join updated as u on u.source = m.source and u.repository = m.repository and u.tag = m.tag and u.n = m.n
  where m.last_us >= u.us - 2592000000000
),
summary as (
  select source, repository, tag, n{and_by}, count(*) as pullers,
    percentile_disc(0.5) within group (order by coalesce(got_us, 9223372036854775807)) as got_50,
    percentile_disc(0.9) within group (order by coalesce(got_us, 9223372036854775807)) as got_90
  from member
  group by source, repository, tag, n{and_by}
),
stale as (
  select u.source, u.repository, u.tag, u.n{and_by}, max(a.us) as old_us
  from asked as a
  inner join tenure as t on t.source = a.source and t.repository = a.repository and t.digest = a.digest
  inner join updated as u on u.source = t.source and u.repository = t.repository and u.tag = t.tag
  where a.is_pull and (a.tag is null or a.tag = t.tag) and a.us >= t.end_us and u.n > t.n and u.digest <> a.digest
    and a.us >= u.us and a.us < u.end_us
  group by u.source, u.repository, u.tag, u.n{and_by}
),
arrived as (
  select {period} as period, source, repository, tag, n, digest, pushed_at, us{and_by}, count(got_us) as moved
  from (select *, {got_at} as timestamp from member) as m
  group by period, source, repository, tag, n, digest, pushed_at, us{and_by}
)
select
  a.period, a.repository, a.tag, a.digest, a.pushed_at{and_by_of_a}, s.pullers,
  cast(sum(a.moved) over (
    partition by a.source, a.repository, a.tag, a.n{and_by_of_a} order by a.period
  ) as double) / s.pullers as share,
  case when s.got_50 < 9223372036854775807 then s.got_50 - a.us end as time_to_50,
  case when s.got_90 < 9223372036854775807 then s.got_90 - a.us end as time_to_90,
  {old_at} as last_old_pull
from arrived as a
inner join summary as s
  on s.source = a.source and s.repository = a.repository and s.tag = a.tag and s.n = a.n{and_same_s}
left join stale as o
  on o.source = a.source and o.repository = a.repository and o.tag = a.tag and o.n = a.n{and_same_o}
order by a.repository, a.tag, a.us, a.n, a.source{and_by_of_a}, a.period
