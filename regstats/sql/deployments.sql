-- What was deployed, when, and how did it go? The latest first.
-- Grain: one row per push (or delete) and rule that applied to it. Time zone: none, times are instants.
-- history: a line for each thing that was done with it.
-- lead_time: of those that were not asked for by hand.
-- duration: from the first attempt to the end; lead_time: from the push to the end; both in microseconds.
-- `rules` are globs; $id is how a deployment's id begins.
select
  deployment_id, rule, target, status, reason,
  timestamp, source, repository, tag, digest, before, media_type, actor, client_address, event_id,
  seen_at, due_at, started_at, finished_at, attempts, interruptions, output, approved_by, again_of,
  array_to_string(history, chr(10)) as history,
  epoch_us(finished_at) - epoch_us(started_at) as duration,
  case when status = 'succeeded' and again_of is null then epoch_us(finished_at) - us end as lead_time
from deployments as d
where {things} and {window} and left(deployment_id, length($id)) = $id and coalesce($status, status) = status
  and exists (select 1 from rules as r where d.rule glob r.rule)
order by us desc, seen_at desc, deployment_id
