-- What changed in a registry: pushes of manifests, and deletes. They are few among all events.
-- Grain: one row per event. Time zone: none.
select *
from events
where {dates} and (action = 'delete' or (action = 'push' and kind in ('manifest', 'index')))
