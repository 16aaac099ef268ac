-- Sources whose registries do not tell of pulls: there nobody knows how many there are, and no metric says 0.
-- Grain: one row per source. Time zone: none.
-- All that such a registry tells of is changes. Whoever also has pulls of a source, such as those of an access log, knows.
select c.source
from (select source from all_changes group by source having bool_and(dialect in ({dialects}))) as c
where not exists (select 1 from all_pulls as p where p.source = c.source)
