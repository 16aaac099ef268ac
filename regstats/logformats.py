"""What access logs look like: which formats there are, how a file's is found out, and its lines as requests.

Each format is a query of `sql/logs`, which makes a row with the same columns of each line. What stands before a line
because of where the log was kept (syslog, journald, docker, Kubernetes) goes first.
"""

import re
from collections.abc import Callable, Collection, Iterable
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import duckdb
import pyarrow as pa

from regstats.database import literal, sql_text


class Shape(NamedTuple):
    """How the lines of a file are to be read."""

    format: str
    wrapping: str = "none"


_PREFIXES = (
    r"\S+ (?:stdout|stderr) [FP] ",  # Kubernetes (CRI)
    r"[\w.-]+ +\| ",  # docker compose logs
    r"(?:<\d+>)?[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d \S+ [^ :\[]+(?:\[\d+\])?: ",  # syslog, journalctl
    r"(?:<\d+>)?(?:1 )?\d{4}-\d\d-\d\dT[\d:.,]+(?:Z|[+-]\d\d:?\d\d) \S+ [^ :\[]+(?:\[\d+\])?: ",  # with ISO times
    r"<\d+>1 \S+ \S+ \S+ \S+ \S+ (?:-|\[[^\]]*\]) (?:\x{FEFF})?",  # RFC 5424
    r"\d{4}-\d\d-\d\dT[\d:.]+(?:Z|[+-]\d\d:\d\d) ",  # docker logs --timestamps
)
_WRAPPINGS = {
    "none": "line",
    "docker": "json_extract_string(line, '$.log')",
    "journald": "json_extract_string(line, '$.MESSAGE')",
    "prefix": f"regexp_replace(line, {literal('^(?:' + '|'.join(_PREFIXES) + ')')}, '')",
}
_LONGEST = 1 << 16
_NAMED = (
    "(contains(line, '/manifests/') or (contains(line, '/blobs/') and (not contains(line, '/blobs/uploads/')"
    " or contains(line, 'digest=') or contains(line, 'mount='))))"
)
"""Of an upload, only the request that ends it says which blob it was."""
_OF_INTEREST = (
    f"not understood or ({_NAMED} and (contains(line, ' 20') or contains(line, ' 307') or contains(line, 'status')))"
)
"""Lines of which more has to be known. It is quickly seen that the others are no events."""
_BELIEVABLE = (
    f"length(line) <= {_LONGEST} and coalesce(stamp between getvariable('earliest') and getvariable('latest'), false)"
)

NAMES = {
    "method": ("request_method", "method", "http.request.method", "RequestMethod", "request.method", "verb"),
    "uri": ("request_uri", "uri", "http.request.uri", "RequestPath", "request.uri", "path", "url"),
    "request": ("request", "request_line"),
    "status": ("status", "http.response.status", "DownstreamStatus", "status_code", "response", "code"),
    "seconds": ("msec",),
    "stamp": ("time", "time_iso8601", "@timestamp", "timestamp", "time_local", "ts"),
    "began": ("StartUTC",),
    "took_seconds": ("request_time", "duration"),
    "took_nanoseconds": ("Duration",),
    "took": ("http.response.duration",),
    "size": ("body_bytes_sent", "http.response.written", "DownstreamContentSize", "size", "bytes_sent", "bytes"),
    "address": ("remote_addr", "http.request.remoteaddr", "request.client_ip", "request.remote_ip", "ClientHost",
                "client_ip", "clientip", "remote_ip", "client", "ip"),
    "actor": ("remote_user", "auth.user.name", "user_id", "ClientUsername", "user"),
    "agent": ("http_user_agent", "http.request.useragent", 'request.headers."User-Agent"[0]', "request_User-Agent",
              "user_agent", "userAgent", "agent"),
    "host": ("http_host", "http.request.host", "request.host", "RequestHost", "host", "vhost", "server_name"),
    "request_id": ("http.request.id",),
    "media_type": ("content_type", "sent_http_content_type", "upstream_http_content_type",
                   "http.response.contenttype", 'resp_headers."Content-Type"[0]', "downstream_Content-Type"),
    "sent_media_type": ("http_content_type", "request_content_type", "http.request.contenttype",
                        'request.headers."Content-Type"[0]', "request_Content-Type"),
    "digest": ("digest", "docker_content_digest", "sent_http_docker_content_digest",
               "upstream_http_docker_content_digest", 'resp_headers."Docker-Content-Digest"[0]',
               "downstream_Docker-Content-Digest"),
}  # fmt: skip
"""What is understood of lines that are JSON; where there are several, the first."""
_EARLIEST = datetime(2014, 1, 1, tzinfo=UTC)  # there was no such registry before
_NESTED = re.compile(r"(request|resp_headers)\.")

_VALUE = r'("(?:[^"\\]|\\.)*"|[^\s"]*)'
_ANY = r'(?:"(?:[^"\\]|\\.)*"|[^\s"]*)'


def _combined(*, at_start: bool) -> str:
    return sql_text("logs/combined").replace("{at_start}", str(at_start).lower())


def _json() -> str:
    return sql_text("logs/json").replace("{named}", f"({{all}} or {_NAMED})")


def _registry() -> str:
    """Three forms in one stream; each line is looked at as what it begins like."""
    answered = f"({{all}} or ({_NAMED} and (contains(line, 'status=20') or contains(line, 'status=307'))))"
    logrus = sql_text("logs/logrus").replace("{value}", _VALUE).replace("{any}", _ANY).replace("{which}", answered)
    forms = {
        "starts_with(line, 'time=\"')": logrus,
        "starts_with(line, '{')": _json(),
        "not starts_with(line, 'time=\"') and not starts_with(line, '{')": _combined(at_start=True),
    }
    of_each = (text.replace("{lines}", f"(from plain where {which})") for which, text in forms.items())
    union = " union all by name ".join(f"({text})" for text in of_each)
    return f"with plain as materialized (from {{lines}}) {union}"


FORMATS: dict[str, tuple[Callable[[], str], str]] = {
    "combined": (lambda: _combined(at_start=False), "Apache, nginx, Traefik: common, combined, and more at the end"),
    "json": (_json, "JSON objects: nginx, Apache, Traefik, Caddy, docker-registry"),
    "haproxy": (lambda: sql_text("logs/haproxy"), "HAProxy, option httplog"),
    "registry": (_registry, "docker-registry: its own log, text or JSON, with or without its access log"),
}


def prepare(connection: duckdb.DuckDBPyConnection, now: datetime) -> None:
    """Makes the functions and tables that the queries of logs need. Later times than tomorrow's are not believed."""
    connection.execute("set variable earliest = $earliest", {"earliest": _EARLIEST})
    connection.execute("set variable latest = $latest", {"latest": now + timedelta(days=1)})
    for statement in connection.extract_statements(sql_text("logs/setup")):
        connection.execute(statement)


def parse(connection: duckdb.DuckDBPyConnection, lines: pa.Table, shape: Shape, *, whole: bool = False) -> None:
    """Makes the table `parsed` of a table of lines with their numbers (`n`, `line`).

    Of lines that are understood it has those that may be events, without their text; or all, with it.
    """
    unwrapped = _WRAPPINGS[shape.wrapping]
    if unwrapped.startswith("json"):
        unwrapped = f"case when json_valid(line) then replace({unwrapped}, chr(10), '') end"
    connection.register("read", lines)
    plain = f"(select n, {unwrapped} as line from read)"
    which = "true" if whole else _OF_INTEREST
    rows = FORMATS[shape.format][0]().replace("{lines}", plain)
    if "{paths}" in rows:
        rows = _named(rows, _keys(connection, plain))
    rows = rows.replace("{which}", which).replace("{all}", str(whole).lower())
    connection.execute(
        "create or replace temp table parsed as "
        f"select * replace (if(understood and {not whole}, null, line) as line), "
        "if(understood, coalesce(nullif(request_id, ''), md5(line)), null) as name "
        f"from (select * replace (understood and {_BELIEVABLE} as understood) from ({rows}))"
    )
    connection.unregister("read")


def _keys(connection: duckdb.DuckDBPyConnection, lines: str) -> set[str]:
    """The names that are in lines that are JSON, if there are some."""
    keys = f"select distinct unnest(try(json_keys(line))) from {lines} where starts_with(ltrim(line), '{{')"
    return {key for (key,) in connection.execute(keys).fetchall()}


def _named(text: str, keys: Collection[str]) -> str:
    """With the names that are there: most of the time that is spent on a line goes with the number of names."""
    paths: list[str] = []
    for column, names in NAMES.items():
        found = []
        for name in names:
            nested = _NESTED.match(name)
            if (nested[1] if nested else name) in keys:
                paths.append(f"$.{name}" if nested else f'$."{name}"')
                found.append(f"nullif(f[{len(paths)}], '')")
        text = text.replace(f"{{{column}}}", f"coalesce({', '.join([*found, 'cast(null as varchar)'])})")
    return text.replace("{paths}", ", ".join(map(literal, paths or ["$"])))


def shape_of(connection: duckdb.DuckDBPyConnection, sample: pa.Table, formats: Iterable[str]) -> Shape | None:
    """How the lines of a file are to be read, from some of them: so that most are understood. None if none is.

    A registry's own log may begin with much that is no request.
    """
    best, most = None, (0, 0, 0)
    for shape in (Shape(name, wrapping) for wrapping in _WRAPPINGS for name in formats):
        parse(connection, sample, shape, whole=True)
        found, own = "coalesce(method, request) is not null", "starts_with(line, 'time=\"')"
        # A prefix could be taken for the name of a host.
        sure = f"{found} and regexp_matches(address, '^[0-9A-Fa-f]*[.:][0-9A-Fa-f.:]*$')"
        (row,) = connection.sql(
            f"select count(*) filter ({sure}), count(*) filter ({found}), count(*) filter ({found} or {own}) "
            "from parsed where understood"
        ).fetchall()
        if row > most:
            best, most = shape, row
        if row[0] == sample.num_rows:
            break
    return best
