-- Sources whose registries do not tell of pulls: there nobody knows how many there are, and no metric says 0.
-- Grain: one row per source. Time zone: none.
-- All that such a registry tells of is changes. Whoever also has pulls of a source, such as those of an access log, knows.
-- Pulls are looked at only where it matters: there are many.
with quiet as (
  select source from all_changes group by source having bool_and(dialect in ({dialects}))
)
select source from quiet
except
select p.source from all_pulls as p inner join quiet as q on q.source = p.source
