-- How large the blobs are that were pushed or mounted: the configurations and layers of images.
-- Grain: one row per source, digest and size. Time zone: none; timestamp is the first time.
select date, source, digest, size, min(timestamp) as timestamp
from events
where {dates} and kind = 'blob' and action in ('push', 'mount') and digest is not null and size is not null
group by date, source, digest, size
