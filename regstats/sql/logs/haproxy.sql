-- Lines of HAProxy's HTTP log (`option httplog`), also with HTTPS's additions at the end. Syslog's prefix may be there.
-- Grain: one row per line of `{lines}`. Time zone: that of the session, because HAProxy writes its local time without one.
--
-- The time is that at which the request came in; the last of the five timers is what it took. User agents are there only
-- if they are captured (`capture request header User-Agent len 200`): what has the form of one among what is captured.
select
  n, line, p.status <> '' as understood,
  cast(null as varchar) as method, cast(null as varchar) as uri, p.request as request, p.status as status,
  cast(try_strptime(p.stamp, '%d/%b/%Y:%H:%M:%S.%g') as timestamptz) as stamp,
  1000 as resolution, true as at_start,
  1000 * try_cast(p.took as bigint) as duration,
  cast(null as varchar) as size, p.address as address, cast(null as varchar) as actor,
  regexp_extract(p.captured, '(?:^|[{|])([A-Za-z][A-Za-z0-9._-]*/[^|}]*)', 1) as agent,
  cast(null as varchar) as host, cast(null as varchar) as request_id, cast(null as varchar) as media_type, cast(null as varchar) as sent_media_type, cast(null as varchar) as digest,
  true as escaped, false as weak
from (
  select n, line, regexp_extract(line,
    '(?:^| )([0-9A-Fa-f:.]+):\d+ \[([^\]" ]+)\] \S+ \S+ -?\d+/-?\d+/-?\d+/-?\d+/\+?(-?\d+) (\d{3}) \+?\d+ \S+ \S+ \S+ '
    || '\S+ \S+ ((?:\{[^"]*\} )?)"([^"]*)"',
    ['address', 'stamp', 'took', 'status', 'captured', 'request']
  ) as p
  from {lines}
)
