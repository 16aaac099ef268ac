-- Which of the digests that were deleted without a tag were manifests: those that were ever pushed as one, listed by an
-- index that was pushed, or pulled (not as a part of an index). A delete of a blob looks like one of a manifest.
-- Grain: one row per source, repository and digest. Time zone: none.
with alone as (
  select distinct source, repository, digest
  from all_changes
  where action = 'delete' and tags = 0 and digest is not null
)
-- Looked for where something is to be found, because there are many pulls, and seldom a delete without a tag.
select source, repository, digest from all_changes
where action = 'push' and (source, repository, digest) in (select source, repository, digest from alone)
union
select source, repository, digest
from (
  select source, repository, unnest(reference_digests) as digest
  from all_changes
  where action = 'push' and kind = 'index' and exists (select 1 from alone)
) as i
where (source, repository, digest) in (select source, repository, digest from alone)
union
select source, repository, digest from all_pulls
where (source, repository, digest) in (select source, repository, digest from alone)
