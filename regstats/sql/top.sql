-- What is used most?
-- Grain: one row per value of `by`. Time zone: none.
-- share: of the total of the window. before: in the window of equal length before it, NULL if the window has no start.
-- change: how much more or less than before, as a fraction; NULL if there was nothing before.
-- rank: equal measures have equal ranks, and come in the order of their names.
with measured as (
  select
    {columns},
    cast({counted_now} as bigint) as measure,
    cast({counted_before} as bigint) as before
  from ({rows}) as r
  where {things} and {people} and {both_windows}
  group by {columns}
)
select
  rank() over (order by measure desc) as rank, {columns}, measure as {measure},
  cast(measure as double) / sum(measure) over () as share,
  {before} as before,
  case when {before} > 0 then cast(measure - before as double) / before end as change
from measured
where measure > 0
order by measure desc, {column_order}
