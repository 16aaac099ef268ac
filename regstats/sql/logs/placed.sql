-- Of lines that were read: which request each is of, when it began and ended, and how they follow one another.
-- Grain: one row per line of `parsed` that is understood. Time zone: none, times are microseconds since 1970.
--
-- A time may be no finer than a second, so those of the same second follow one another by a microsecond, as they do in
-- the file: the order is what tells which blobs belong to which manifest. What began in an earlier second than it was
-- logged comes in the second half.
with timed as (
  select n, weak, hash(verb_of(method, request), target_of(uri, request)) as object,
    epoch_us(stamp) as stamp, resolution, at_start,
    cast(least(greatest(coalesce(duration, 0), 0), 86400000000) as bigint) as duration
  from parsed
  where understood and stamp is not null
),
numbered as (
  select *, row_number() over (order by n) as place,
    stamp is distinct from lag(stamp, 1, $last_stamp) over (order by n) as is_first
  from timed
),
ranked as (
  select *, place - coalesce(max(case when is_first then place end) over (order by n), -$last_rank) as rank,
    duration // resolution * resolution as lasted
  from numbered
)
select
  n, weak, object, stamp, rank,
  case when at_start then stamp else stamp - lasted end
    + case
      when resolution = 1 then 0
      when lasted > 0 and not at_start then resolution // 2 + least(rank, resolution // 2 - 1)
      else least(rank, resolution // 2 - 1)
    end as us,
  case when at_start then stamp + duration else stamp end as ended_us
from ranked
