-- Which deliveries were not understood, and why?
-- Grain: one row per delivery of which something was not understood, the newest first. Time zone: UTC.
select received_at, delivery_id, source, dialect, remote_address, octet_length(body) as bytes, error, body
from deliveries
where error is not null
order by received_at desc, delivery_id
