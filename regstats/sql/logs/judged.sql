-- What a log does not say of requests, and other requests of the same client tell: which digest a tag had, what is an
-- index. Of all that are recent; nothing that lies more than 60 s from a request says anything about it.
-- Grain: one row per request of `recent`, without those that stand in the log twice. Time zone: none.
-- Source of the rules: recordings of what clients send (README, "History: what happened before").
--
-- Docker and containerd ask for a tag with HEAD and then for the digest with GET: what follows a HEAD at once is what it
-- told. Who asks for a tag and then deletes a digest was told that one. A manifest that another one follows before any
-- blob is an index, and so is what is pushed by tag after something that the same client pushed by digest.
with heard as (
  select n, us, ended_us, client_key, method, action, kind, tag, reference, digest
  from recent
  anti join echoes('recent') using (n)
),
told as (
  select n, us, client_key, method, action, kind, tag, reference, digest,
    lead(method) over w as next_method, lead(action) over w as next_action, lead(kind) over w as next_kind,
    lead(tag) over w as next_tag, lead(reference) over w as next_reference, lead(us) over w - us as next_in,
    lag(method) over w as last_method, lag(kind) over w as last_kind, lag(tag) over w as last_tag,
    lag(digest) over w as last_digest,
    us - lag(us) over w as last_before
  from heard
  where ended_us - us <= 60000000
    and ((action = 'pull' and (kind = 'manifest' or method = 'GET')) or (action = 'delete' and kind = 'manifest'))
  window w as (partition by client_key order by us, n)
),
resolved as (
  select *,
    case
      when digest is null and action = 'pull' and kind = 'manifest' and next_kind = 'manifest' and next_tag is null
        and next_in <= 60000000 and ((method = 'HEAD' and next_method = 'GET') or next_action = 'delete')
        then next_reference
      else digest
    end as given,
    coalesce(last_method = 'HEAD' and last_kind = 'manifest' and last_tag is not null and last_before <= 60000000
      and coalesce(last_digest = reference, true), false) as is_claimed
  from told
),
followed as (
  select n, us, kind, given,
    coalesce(
      kind = 'manifest' and tag is null and not is_claimed and lag(kind) over w = 'manifest'
      and lag(given) over w is distinct from given and us - lag(us) over w <= 60000000, false
    ) as is_listed,
    lead(kind) over w as next_kind, lead(us) over w as next_us, client_key
  from resolved
  where method = 'GET'
  window w as (partition by client_key order by us, n)
),
fetched as (
  select n, given, next_us,
    not is_listed and coalesce(lead(is_listed) over (partition by client_key order by us, n), false) as is_index,
    coalesce(next_kind = 'blob' and next_us - us <= 60000000, false) as is_plain
  from followed
  where kind = 'manifest' or is_listed
),
written as (
  select n, tag is not null and coalesce(
    lag(tag) over w is null and us - lag(us) over w <= 60000000, false
  ) as is_index
  from heard
  where action = 'push' and kind = 'manifest'
  window w as (partition by client_key order by us, n)
)
select h.n, coalesce(r.given, h.digest) as given, coalesce(f.is_index, w.is_index, false) as is_index,
  coalesce(f.is_plain, false) as is_plain, f.next_us
from heard as h
left join resolved as r using (n)
left join fetched as f using (n)
left join written as w using (n)
