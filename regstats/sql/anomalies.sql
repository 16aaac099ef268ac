-- What is out of the ordinary?
-- Grain: one row per surprise in the window. Time zone: of days, `tz`; `at` is an instant. Everything is compared with the
-- eight weeks before it; what is known of less than that is compared with less, and nothing with less than said here.
-- spike, drop: the pulls of a repository on a day against those on the same weekday. Expected is their median. It is a
-- surprise if it is 6 times as far from it as their median distance (MAD) x 1.4826; and farther than chance makes it: 6
-- times the standard deviation of a Poisson count, whose square roots all deviate alike, by a half (Anscombe); and by at
-- least 20 pulls; and the double or half. At least 4 weeks must be known, and a day must be over to be a drop. Of days in
-- a row the first is told.
-- silence: days without a pull of a repository that had pulls on at least 10 days before the last one, over at least 4
-- weeks: more than 3, and more than 4 times as many as its longest pause.
-- new_actor: a name that has not been seen in any repository, or not as a pusher in a repository that others pushed to.
-- At least 14 days must be known.
-- pull_loop: one client that pulls one manifest at least 50 times on a day, and 10 times as often as the median client
-- that pulled it on that day (of others, if there are any). Of days in a row the first is told.
with counted as (
  select repository, {day} as day, count(*) as pulls, max(us) as last_us
  from pulls
  where {things} and {people} and {wide} and kind in ('pull_by_tag', 'pull_by_digest')
  group by repository, {day}
),
traced as (
  select actor, day, sum(actions) as actions, min(us) as us
  from (
    select actor, {day} as day, count(*) as actions, min(us) as us
    from pulls
    where {things} and {people} and {wide} and actor is not null
    group by actor, {day}
    union all
    select actor, {day} as day, count(*), min(us)
    from pushes
    where {things} and {people} and {wide} and actor is not null
    group by actor, {day}
  ) as t
  group by actor, day
),
days as (
  -- From the first on that anything is known of. With numbers, because dates are not subtracted alike everywhere.
  select day, row_number() over (order by day) as number
  from ({calendar}) as d
),
every as (
  -- Every day of a repository from its first one on.
  select r.repository, d.day, d.number, coalesce(c.pulls, 0) as pulls
  from (select repository, min(day) as first_day from counted group by repository) as r
  inner join days as d on d.day >= r.first_day
  left join counted as c on c.repository = r.repository and c.day = d.day
),
weekly as (
  select *,
    lag(pulls, 7) over w as w1, lag(pulls, 14) over w as w2, lag(pulls, 21) over w as w3, lag(pulls, 28) over w as w4,
    lag(pulls, 35) over w as w5, lag(pulls, 42) over w as w6, lag(pulls, 49) over w as w7, lag(pulls, 56) over w as w8
  from every
  window w as (partition by repository order by day)
),
compared as (
  select v.repository, v.day, v.number, v.pulls,
    case k.k when 1 then w1 when 2 then w2 when 3 then w3 when 4 then w4
      when 5 then w5 when 6 then w6 when 7 then w7 else w8 end as earlier
  from weekly as v
  cross join (values (1), (2), (3), (4), (5), (6), (7), (8)) as k(k)
  where w4 is not null and {day_in_window}
    and (pulls >= 20 or greatest(w1, w2, w3, w4, w5, w6, w7, w8) >= 20)
),
centred as (
  select repository, day, number, pulls, cast(percentile_disc(0.5) within group (order by earlier) as bigint) as expected
  from compared
  where earlier is not null
  group by repository, day, number, pulls
),
spread as (
  select e.repository, e.day, e.number, e.pulls, e.expected, count(*) as weeks,
    cast(percentile_disc(0.5) within group (order by abs(c.earlier - e.expected)) as bigint) as mad
  from centred as e
  inner join compared as c on c.repository = e.repository and c.day = e.day
  where c.earlier is not null and abs(e.pulls - e.expected) >= 20
    and (e.pulls >= 2 * e.expected or 2 * e.pulls <= e.expected)
  group by e.repository, e.day, e.number, e.pulls, e.expected
),
extreme as (
  select *, case when pulls > expected then 'spike' else 'drop' end as kind
  from spread
  where abs(pulls - expected) >= 6 * 1.4826 * mad and 2 * abs(sqrt(pulls + 0.375) - sqrt(expected + 0.375)) >= 6
    and (pulls > expected or {day_is_over})
),
first_extreme as (
  select *, lag(number) over (partition by repository, kind order by number) as earlier from extreme
),
pause as (
  select c.repository, c.day, d.number, c.last_us, coalesce(
    lead(d.number) over (partition by c.repository order by d.number), (select max(number) from days)
  ) - d.number - 1 as days
  from counted as c
  inner join days as d on d.day = c.day
),
silence as (
  select *, count(*) over w as active_days, number - min(number) over w as known_days, max(days) over w as longest,
    number + greatest(3, 4 * max(days) over w) + 1 as alarm
  from pause
  window w as (partition by repository order by number range between 56 preceding and 1 preceding)
),
seen as (
  select t.*, d.number, lag(d.number) over (partition by t.actor order by d.number) as earlier
  from traced as t
  inner join days as d on d.day = t.day
),
pushed as (
  select repository, actor, {day} as day, count(*) as actions, min(us) as us
  from pushes
  where {things} and {people} and {wide} and actor is not null
  group by repository, actor, {day}
),
pusher as (
  select p.*, d.number,
    lag(d.number) over (partition by p.repository, p.actor order by d.number) as earlier,
    min(d.number) over (partition by p.repository order by d.number range between 56 preceding and current row) as begun
  from pushed as p
  inner join days as d on d.day = p.day
),
known as (
  select min(d.number) as first_number
  from (select day from counted union all select day from traced) as c
  inner join days as d on d.day = c.day
),
busy as (
  select client_address, {day} as day
  from pulls
  where {where} and kind in ('pull_by_tag', 'pull_by_digest')
  group by client_address, {day}
  having count(*) >= 50
),
looped as (
  select p.repository, p.digest, p.actor, p.client_address, p.user_agent, p.local_day as day, count(*) as pulls, min(p.us) as us,
    max(p.client) as client
  from (select *, {day} as local_day from pulls where {where} and kind in ('pull_by_tag', 'pull_by_digest')) as p
  inner join busy as b on b.day = p.local_day and b.client_address is not distinct from p.client_address
  group by p.repository, p.digest, p.actor, p.client_address, p.user_agent, p.local_day
  having count(*) >= 50
),
other as (
  -- Those that pulled the same manifest on the same day.
  select l.repository, l.digest, l.day, p.actor, p.client_address, p.user_agent, count(*) as pulls
  from (select *, {day} as local_day from pulls where {where} and kind in ('pull_by_tag', 'pull_by_digest')) as p
  inner join (select distinct repository, digest, day from looped) as l
    on l.repository = p.repository and l.digest = p.digest and l.day = p.local_day
  group by l.repository, l.digest, l.day, p.actor, p.client_address, p.user_agent
),
loop as (
  select l.*, d.number, o.others, o.median
  from looped as l
  inner join days as d on d.day = l.day
  left join (
    select m.repository, m.digest, m.day, m.actor, m.client_address, m.user_agent, count(*) as others,
      cast(percentile_disc(0.5) within group (order by x.pulls) as bigint) as median
    from looped as m
    inner join other as x on x.repository = m.repository and x.digest = m.digest and x.day = m.day
    where x.actor is distinct from m.actor or x.client_address is distinct from m.client_address
      or x.user_agent is distinct from m.user_agent
    group by m.repository, m.digest, m.day, m.actor, m.client_address, m.user_agent
  ) as o
    on o.repository = l.repository and o.digest = l.digest and o.day = l.day
    and o.actor is not distinct from l.actor and o.client_address is not distinct from l.client_address
    and o.user_agent is not distinct from l.user_agent
  where l.pulls >= 10 * coalesce(o.median, 1)
),
surprise as (
  select kind, repository, cast(null as varchar) as actor, {day_start} as at,
    cast(pulls as double) as observed, cast(expected as double) as expected,
    concat(pulls, ' pulls on a day; on this weekday it was ', expected, ' in the median of ', weeks, ' weeks') as reason
  from first_extreme
  where earlier is null or earlier < number - 1
  union all
  select 'silence', repository, null, make_timestamptz(last_us), days, longest,
    concat(days, ' days without a pull; the longest pause was ', longest, ' days')
  from silence
  where active_days >= 10 and known_days >= 28 and days > 3 and days > 4 * longest and {alarm_in_window}
  union all
  select 'new_actor', null, actor, make_timestamptz(us), actions, 0,
    concat('not seen in the eight weeks before; ', actions, ' actions on the first day')
  from seen, known
  where (earlier is null or number - earlier > 56) and number - first_number >= 14 and {day_in_window}
  union all
  select 'new_actor', p.repository, p.actor, make_timestamptz(p.us), p.actions, 0,
    concat('pushes to a repository that others pushed to in the eight weeks before; ', p.actions, ' pushes on the first day')
  from pusher as p
  inner join seen as s on s.actor = p.actor and s.number = p.number, known
  where (p.earlier is null or p.number - p.earlier > 56) and p.begun < p.number
    and s.earlier is not null and s.number - s.earlier <= 56
    and p.number - first_number >= 14 and {pushed_in_window}
  union all
  select 'pull_loop', repository, actor, make_timestamptz(us), pulls, coalesce(median, 1),
    concat(
      pulls, ' pulls of one manifest on a day by ', coalesce(client, user_agent, 'a client'), ' at ',
      coalesce(client_address, 'an unknown address'),
      case when others > 0 then concat('; the median of ', others, ' others is ', median) else '' end
    )
  from loop as l
  where not exists (
    select 1 from loop as e
    where e.number = l.number - 1 and e.repository = l.repository and e.actor is not distinct from l.actor
      and e.client_address is not distinct from l.client_address and e.user_agent is not distinct from l.user_agent
  )
)
select s.kind, s.repository, s.actor, s.at, s.observed, s.expected, s.reason
from surprise as s
order by s.at desc, s.kind, s.repository nulls first, s.actor nulls first, s.reason
