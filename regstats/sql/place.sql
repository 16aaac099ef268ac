-- What do most clients call the registry that has a repository?
-- Grain: one row, none where it is not known. Time zone: UTC.
select registry
from events
where repository = $repository and date >= $since and registry is not null
group by registry
order by count(*) desc, registry
limit 1
