-- How much is there, and from when to when?
-- Grain: one row. Time zone: UTC.
select count(*) as events, count(distinct repository) as repositories, min(timestamp) as first, max(timestamp) as last
from events
