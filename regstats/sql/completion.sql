-- Which values of a column begin like this?
-- Grain: one row per value. Time zone: none.
select distinct {column} as name
from ({events}) as e
where starts_with({column}, $begun) and {where}
order by name
limit 100
