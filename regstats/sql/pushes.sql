-- How often is it pushed, over time?
-- Grain: one row per period and value of `by` in which something was pushed. Time zone: of the period, `tz`.
-- updates: the pushes that changed what their tag points to.
select
  {keys},
  count(*) as pushes,
  count(*) filter (where is_update) as updates
from pushes
where {where}
group by {group}
order by {order}
