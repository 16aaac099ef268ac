-- What was deployed, when, and how did it go? The latest first.
-- Grain: one row per push (or delete) and rule that applied to it. Time zone: none, times are instants.
-- history: a line for each thing that was done with it.
-- lead_time: of those that were not asked for by hand.
-- duration: from the first attempt to the end; lead_time: from the push to the end; both in microseconds.
select
  deployment_id, rule, target, status, reason,
  * exclude (deployment_id, rule, target, status, reason, history, us, date), array_to_string(history, chr(10)) as history,
  epoch_us(finished_at) - epoch_us(started_at) as duration,
  case when status = 'succeeded' and again_of is null then epoch_us(finished_at) - us end as lead_time
from deployments
where ($id is null or starts_with(deployment_id, $id))
  and ($repositories is null or len(list_filter($repositories, lambda g: repository glob g)) > 0)
  and ($rules is null or len(list_filter($rules, lambda g: rule glob g)) > 0)
  and ($status is null or status = $status) and ($since is null or timestamp >= $since)
  and ($until is null or timestamp < $until)
order by us desc, seen_at desc, deployment_id
limit $limit
