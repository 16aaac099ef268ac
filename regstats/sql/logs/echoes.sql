-- Lines of docker-registry's access log that say again what a line of its own log, just before or after, says better.
-- Grain: one row per such line of `parsed`. Time zone: none.
-- The same rule as that of judged.sql, which sees what this one does not because it was read at another time.
with said as (
  select n, weak, us // 2000000 as moment,
    hash(coalesce(method, split_part(request, ' ', 1)), coalesce(uri, split_part(request, ' ', 2))) as object
  from parsed
  inner join placed using (n)
)
select n
from said
where weak and (object, moment) in (
  select (object, moment + b) from said, (values (-1), (0), (1)) as near(b)
  where not weak and (select bool_or(weak) from parsed)
)
