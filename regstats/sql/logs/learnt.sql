-- What was concluded of manifests that is not known yet: the first thing that was seen of each.
-- Grain: one row per repository and digest. Time zone: none, `us` are microseconds since 1970.
select r.repository, j.given as digest, arg_min(j.is_index, j.next_us) as is_index, min(j.next_us) as us
from judged as j
inner join recent as r using (n)
where (j.is_index or j.is_plain) and not r.settled and j.given is not null and j.next_us <= $last
  and not exists (from known as k where k.repository = r.repository and k.digest = j.given)
group by r.repository, j.given
