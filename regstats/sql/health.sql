-- Can I trust these numbers?
-- Grain: one row per source, of what was received in the window; `journal` are lines of the journal that were torn and
-- never acknowledged. Time zone: UTC.
-- duplicates: events that came again. lag: from the registry's clock to receipt, microseconds.
-- gaps: silences longer than an hour and twice what is usual; usual is what nine in ten days do not exceed (days with
-- deliveries; a silence belongs to the day it ends in).
-- restarts: registry instances that began when another had ended; replicas side by side are none.
with delivery as (
  select source, received_at, error, event_count
  from (select source, received_at, received_at as timestamp, date, error, event_count from deliveries)
  where {where}
),
event as (
  select source, happened_at, received_at, timestamp_trusted, instance_id
  from (
    select source, timestamp as happened_at, received_at, received_at as timestamp, cast(received_at as date) as date,
      timestamp_trusted, instance_id
    from events
  )
  where {where}
),
silence as (
  select source, cast(received_at as date) as day,
    epoch_us(received_at) - epoch_us(lag(received_at) over (partition by source order by received_at)) as us
  from delivery
),
daily as (select source, day, max(us) as us from silence where us is not null group by source, day),
usual as (select source, percentile_disc(0.9) within group (order by us) as us from daily group by source),
gap as (
  select silence.source, max(silence.us) as longest,
    count(*) filter (where silence.us > 3600000000 and silence.us > 2 * usual.us) as gaps
  from silence inner join usual on usual.source = silence.source
  group by silence.source
),
instance as (
  select source, instance_id, min(happened_at) as first, max(happened_at) as last
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
counted as (
  select source, count(*) as events,
    percentile_disc(0.5) within group (order by epoch_us(received_at) - epoch_us(happened_at))
      filter (where timestamp_trusted) as lag,
    max(epoch_us(received_at) - epoch_us(happened_at)) filter (where timestamp_trusted) as max_lag
  from event
  group by source
),
received as (
  select source, count(*) as deliveries, sum(event_count) as event_count,
    count(*) filter (where error is not null) as quarantined,
    min(received_at) as first_received, max(received_at) as last_received
  from delivery
  group by source
)
select
  r.source, r.deliveries,
  coalesce(c.events, 0) as events,
  cast(r.event_count - coalesce(c.events, 0) as bigint) as duplicates,
  r.quarantined, r.first_received, r.last_received,
  $now_us - epoch_us(r.last_received) as silence,
  c.lag, c.max_lag,
  coalesce(g.gaps, 0) as gaps,
  g.longest as longest_gap,
  coalesce(s.instances, 0) as instances,
  coalesce(s.restarts, 0) as restarts
from received as r
left join counted as c on c.source = r.source
left join gap as g on g.source = r.source
left join restart as s on s.source = r.source
order by r.source
