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
person as (
  -- Numbered, because numbers are sooner compared than names.
  select *, row_number() over (order by {puller}) as person
  from (
    select distinct {puller}
    from pulls
    where {places} and {people} and {past} and kind <> 'lookup'
      and us >= (select first_us from span) and date >= (select first_date from span)
  ) as p
),
asked as (
  select a.source, a.repository, a.tag, a.digest, a.us, a.kind <> 'version_check' as is_pull, p.person
  from (
    select * from pulls
    where {places} and {people} and {past} and kind <> 'lookup'
      and us >= (select first_us from span) and date >= (select first_date from span)
  ) as a
  inner join person as p on {same_puller}
),
matched as (
  select t.tag_no, t.n, a.person, a.us, a.is_pull, a.us >= t.end_us as is_late
  from asked as a
  inner join tenure as t on t.source = a.source and t.repository = a.repository and t.digest = a.digest
  where a.us >= t.us and (a.tag is null or a.tag = t.tag) and (a.us < t.end_us or a.is_pull)
),
used as (
  -- Each puller of each of them: when it was last seen, and when it first had it.
  select tag_no, n, person, max(us) as last_us, min(case when is_pull then us end) as got_us
  from matched
  where not is_late
  group by tag_no, n, person
  union all
  -- And of whatever a tag pointed to before anything is known of it.
  select t.tag_no, 0, a.person, max(a.us), null
  from asked as a
  inner join tenure as t on t.source = a.source and t.repository = a.repository and t.tag = a.tag
  where t.n = 1 and a.us < t.us
  group by t.tag_no, a.person
),
followed as (
  select *, lead(n) over (partition by tag_no, person order by n) as next_n from used
),
waiting as (
  -- Who pulled one of them, and not the next ones: it is still a puller of the tag for 30 days. Of these only how many.
  select u.tag_no, u.n{and_by}, count(*) as pullers
  from (
    select tag_no, person, last_us, unnest(range(first_n, end_n)) as n
    from (
      select f.tag_no, f.person, f.last_us, f.n + 1 as first_n,
        least(coalesce(f.next_n, t.last_n + 1), t.last_n + 1) as end_n
      from followed as f
      inner join tenure as t on t.tag_no = f.tag_no and t.n = greatest(f.n, 1)
      where f.next_n is null or f.next_n > f.n + 1
    ) as f
  ) as w
  inner join updated as u on u.tag_no = w.tag_no and u.n = w.n{with_person_of_w}
  where w.last_us >= u.us - 2592000000000
  group by u.tag_no, u.n{and_by}
),
member as (
  select u.tag_no, u.n, m.got_us{and_by},
    case when m.got_us is not null
      then row_number() over (partition by u.tag_no, u.n{and_by} order by m.got_us nulls last) end as place
  from used as m
  inner join updated as u on u.tag_no = m.tag_no and u.n = m.n{with_person_of_m}
),
counted as (
  select tag_no, n{and_by}, cast(sum(pullers) as bigint) as pullers, cast(sum(moved) as bigint) as moved
  from (
    select tag_no, n{and_by}, count(*) as pullers, count(got_us) as moved from member group by tag_no, n{and_by}
    union all
    select tag_no, n{and_by}, pullers, 0 from waiting
  ) as c
  group by tag_no, n{and_by}
),
summary as (
  -- The one that makes it so many per cent of all.
  select c.tag_no, c.n{and_by_of_c}, c.pullers,
    min(case when 2 * m.place >= c.pullers then m.got_us end) as got_50,
    min(case when 10 * m.place >= 9 * c.pullers then m.got_us end) as got_90
  from counted as c
  left join member as m on m.tag_no = c.tag_no and m.n = c.n{and_same_m}
  group by c.tag_no, c.n{and_by_of_c}, c.pullers
),
stale as (
  select u.tag_no, u.n{and_by}, max(m.us) as old_us
  from matched as m
  inner join tenure as t on t.tag_no = m.tag_no and t.n = m.n
  inner join updated as u on u.tag_no = m.tag_no and u.n > m.n{with_person_of_m}
  where m.is_late and u.digest <> t.digest and m.us >= u.us and m.us < u.end_us
  group by u.tag_no, u.n{and_by}
),
arrived as (
  select {period} as period, tag_no, n{and_by}, cast(sum(moved) as bigint) as moved
  from (
    select tag_no, n{and_by}, moved, {got_at} as timestamp, {got_date} as date
    from (
      select tag_no, n{and_by}, got_us as at_us, 1 as moved from member where got_us is not null
      union all
      select c.tag_no, c.n{and_by_of_c}, u.us, 0
      from counted as c
      inner join updated as u on u.tag_no = c.tag_no and u.n = c.n
      where c.moved < c.pullers
    ) as m
  ) as m
  group by period, tag_no, n{and_by}
)
select
  a.period, u.repository, u.tag, u.digest, u.pushed_at{and_by_of_a}, s.pullers,
  cast(sum(a.moved) over (partition by a.tag_no, a.n{and_by_of_a} order by a.period) as double) / s.pullers as share,
  s.got_50 - u.us as time_to_50,
  s.got_90 - u.us as time_to_90,
  {old_at} as last_old_pull
from arrived as a
inner join updated as u on u.tag_no = a.tag_no and u.n = a.n
inner join summary as s on s.tag_no = a.tag_no and s.n = a.n{and_same_s}
left join stale as o on o.tag_no = a.tag_no and o.n = a.n{and_same_o}
order by u.repository, u.tag, u.us, u.n, u.tag_no{and_order_of_a}, a.period
