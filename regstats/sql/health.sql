-- Can I trust these numbers?
-- Grain: one row per source, of what was received in the window; `journal` are lines of the journal that were torn and
-- never acknowledged. Time zone: UTC.
-- duplicates: events that came again; of deliveries that are kept, where older ones are not. lag: from the registry's
-- clock to receipt, in microseconds; the median is in whole milliseconds. What was imported from logs was not delivered.
-- reports_pulls: whether its registry tells of pulls at all; NULL if no event is known. gaps: silences longer than an hour and twice what is usual; usual is what nine in ten days do not exceed (days with
-- deliveries; a silence belongs to the day it ends in).
-- restarts: registry instances that began when another had ended; replicas side by side are none.
with minute as (
  -- Few rows, so that it is cheap to put them in order; silences of less than a minute do not matter.
  select source, cast(floor(us / 60000000.0) as bigint) as minute, min(us) as first_us, max(us) as last_us,
    count(*) as deliveries, sum(event_count) as event_count, count(error) as quarantined
  from (select source, received_at as timestamp, date, us, event_count, error from deliveries)
  where {places} and {window}
  group by source, cast(floor(us / 60000000.0) as bigint)
),
event as (
  -- One row per delay in milliseconds: few again.
  select source, instance_id, timestamp_trusted, cast(floor((received_us - us) / 1000.0) as bigint) as delay,
    count(*) as events,
    count(*) filter (where received_us >= (select min(first_us) from minute) and dialect <> 'log') as delivered,
    min(us) as first_us, max(us) as last_us, max(received_us - us) as longest,
    bool_or(dialect not in ({silent_dialects})) as reports_pulls
  from (
    select source, dialect, us, epoch_us(received_at) as received_us, received_at as timestamp,
      timestamp_trusted and dialect <> 'log' as timestamp_trusted, instance_id
    from events
  ) as e
  where {places} and {received}
  group by source, instance_id, timestamp_trusted, cast(floor((received_us - us) / 1000.0) as bigint)
),
silence as (
  select source, cast(floor(first_us / 86400000000.0) as bigint) as day,
    first_us - lag(last_us) over (partition by source order by minute) as us
  from minute
),
daily as (select source, day, max(us) as us from silence where us is not null group by source, day),
usual as (select source, cast(percentile_disc(0.9) within group (order by us) as bigint) as us from daily group by source),
gap as (
  select silence.source, max(silence.us) as longest,
    count(*) filter (where silence.us > 3600000000 and silence.us > 2 * usual.us) as gaps
  from silence inner join usual on usual.source = silence.source
  group by silence.source
),
instance as (
  select source, instance_id, min(first_us) as first, max(last_us) as last
  from event
  where instance_id is not null
  group by source, instance_id
),
restart as (
  select source, count(*) as instances,
    count(*) filter (where first > (select min(other.last) from instance as other where other.source = i.source))
      as restarts
  from instance as i
  group by source
),
delayed as (
  select source, delay, longest,
    sum(events) over (partition by source order by delay) as up_to, sum(events) over (partition by source) as total
  from event
  where timestamp_trusted
),
lagged as (
  select source, 1000 * min(case when 2 * up_to >= total then delay end) as lag, max(longest) as max_lag
  from delayed
  group by source
),
counted as (
  select source, sum(events) as events, sum(delivered) as delivered, bool_or(reports_pulls) as reports_pulls
  from event
  group by source
),
received as (
  select source, sum(deliveries) as deliveries, sum(event_count) as event_count, sum(quarantined) as quarantined,
    min(first_us) as first_us, max(last_us) as last_us
  from minute
  group by source
)
select
  r.source, cast(r.deliveries as bigint) as deliveries,
  cast(coalesce(c.events, 0) as bigint) as events,
  cast(r.event_count - coalesce(c.delivered, 0) as bigint) as duplicates,
  cast(r.quarantined as bigint) as quarantined,
  make_timestamptz(r.first_us) as first_received, make_timestamptz(r.last_us) as last_received,
  $now_us - r.last_us as silence,
  l.lag, l.max_lag,
  coalesce(g.gaps, 0) as gaps,
  g.longest as longest_gap,
  coalesce(s.instances, 0) as instances,
  coalesce(s.restarts, 0) as restarts,
  c.reports_pulls
from received as r
left join counted as c on c.source = r.source
left join lagged as l on l.source = r.source
left join gap as g on g.source = r.source
left join restart as s on s.source = r.source
order by r.source
