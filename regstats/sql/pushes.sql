-- How often is it pushed, over time?
-- Grain: one row per period and value of `by` in which something was pushed or deleted. Time zone: of the period, `tz`.
-- updates: the pushes that changed what their tag points to. deletes: requests that deleted a manifest, tag or
-- repository; deletes of blobs are left out.
with done as (
  select {keys}, is_update, null as deletion
  from pushes
  where {where}
  union all
  select {keys}, null, request_id
  from deletes
  where {where} and kind <> 'blob'
)
select
  {group},
  count(is_update) as pushes,
  count(*) filter (where is_update) as updates,
  count(distinct deletion) as deletes
from done
group by {group}
order by period nulls first, {order}
