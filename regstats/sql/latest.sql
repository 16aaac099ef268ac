-- Until when is there anything?
-- Grain: one row. Time zone: UTC. A registry's clock may be ahead: what is after tomorrow does not count.
select max(date) as date
from events
where date <= $tomorrow
