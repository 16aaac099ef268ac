-- What the queries of logs share: functions, what is known of the lines before, and what was concluded from them.
-- Grain: one row of `recent` per request that may be an event. Time zone: none, times are microseconds since 1970.
create macro go_duration(text) as (
  -- As Go writes it: 105.3µs, 5.702655ms, 1.5s, 2m3.25s, 1h2m3s.
  case
    when ends_with(text, 'ms') then 1000 * try_cast(text[:-3] as double)
    when ends_with(text, 'µs') then try_cast(text[:-3] as double)
    when ends_with(text, 's') then
      3600000000 * coalesce(try_cast(regexp_extract(text, '(\d{1,6})h', 1) as double), 0)
      + 60000000 * coalesce(try_cast(regexp_extract(text, '(\d{1,6})m', 1) as double), 0)
      + 1000000 * try_cast(regexp_extract(text, '([0-9.]+)s$', 1) as double)
  end
);
create macro json_stamp(began, seconds, written) as coalesce(
  try_cast(began as timestamptz),
  to_timestamp(try_cast(seconds as double)),
  try_cast(written as timestamptz),
  try_strptime(written, '%d/%b/%Y:%H:%M:%S %z'),
  to_timestamp(try_cast(written as double))
);
create macro logrus_value(pieces, key) as (
  -- pieces: of a line, each beginning with a key.
  list_filter(pieces, lambda piece: starts_with(piece, key))[1][length(key) + 1:]
);
create macro in_path(uri) as (
  -- What is not escaped in a URI, and what was escaped because it stands in a log.
  case when contains(uri, '%') or contains(uri, '\') then try(url_decode(replace(uri, '\x', '%'))) else uri end
);
create macro verb_of(method, request) as coalesce(method, split_part(request, ' ', 1));
create macro target_of(uri, request) as coalesce(uri, split_part(request, ' ', 2));
create macro echoes(requests) as table (
  -- Lines of docker-registry's access log that say again what its own log, within 2 to 4 s, says better: of a table of
  -- requests. Most logs have none; then nothing is looked for.
  select n
  from query_table(requests)
  where weak and (object, us // 2000000) in (
    select (object, us // 2000000 + b) from query_table(requests), (values (-1), (0), (1)) as near(b)
    where not weak and (select bool_or(weak) from query_table(requests))
  )
);
create temp table recent (
  n bigint, event_id varchar, name varchar, occurrence bigint, weak boolean, us bigint, ended_us bigint,
  action varchar, kind varchar, method varchar, object ubigint, repository varchar, reference varchar, tag varchar,
  digest varchar, from_repository varchar, media_type varchar, size bigint, actor varchar, client_address varchar,
  user_agent varchar, client varchar, client_version varchar, registry varchar, request_id varchar, client_key ubigint,
  settled boolean, file varchar, number bigint
);
create table known (repository varchar, digest varchar, is_index boolean, us bigint);
