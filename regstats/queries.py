"""From a metric and what is asked of it to the SQL that answers it.

The text is in `sql/`; here are its blanks. Values never come into the text: they are parameters. What differs from one
engine to another is here and in `engine`, not in the text.
"""

import re
from collections.abc import Container
from typing import Any, NamedTuple

from regstats.database import literal, sql_text
from regstats.metrics import METRICS
from regstats.parameters import Query
from regstats.payloads import SILENT

_INSTANT = "timestamptz"
SIGNATURE = r"^sha256-[0-9a-f]{64}(\.(sig|att|sbom))?$"
"""Tags of signatures and attestations, as cosign and the OCI referrers' fallback make them: not images."""
_IMMUTABLE = (
    r"^v?[0-9]+\.[0-9]+\.[0-9]+"  # 1.2.3, v1.2.3-rc.1, 1.2.3-alpine
    r"|(^|[-_.])[0-9]{4}-?[01][0-9]-?[0-3][0-9]([-_.T]|$)"  # 2026-11-24, nightly-20261124
    r"|(^|[-_.]|sha|g)[0-9a-f]*([0-9][a-f]|[a-f][0-9])[0-9a-f]{5,}$"  # a commit: 3f43b61, main-3f43b61, sha-…
)
"""Tags that are named after one build: a full version, a date, a commit."""


_NO_PULLS = "case when source not in (select source from silent) then 0 end"
"""The pulls in a row of something else: none, or, where the registry does not tell of pulls, nobody knows."""
_NO_CATALOG = "(select null as source, null as repository, null as tag, null as digest, 0 as size where false)"


class _Measure(NamedTuple):
    """What a leaderboard counts: rows of a view, and how those that meet a condition are counted."""

    rows: str
    formula: str = "sum(case when {condition} then 1 else 0 end)"


_PULLS = "select * from pulls where kind in ('pull_by_tag', 'pull_by_digest')"
_MEASURES = {
    "pulls": _Measure(_PULLS),
    "downloads": _Measure(f"{_PULLS} and downloaded"),
    "version_checks": _Measure("select * from pulls where kind = 'version_check'"),
    "requests": _Measure("select * from pulls", "sum(case when {condition} then requests else 0 end)"),
    "pushes": _Measure("select * from pushes"),
    "updates": _Measure("select * from pushes where is_update"),
    "deletes": _Measure(
        "select * from deletes where kind <> 'blob'", "count(distinct case when {condition} then request_id end)"
    ),
}


class Prepared(NamedTuple):
    """SQL with its values."""

    text: str
    values: dict[str, Any]


def prepare(metric: str, query: Query, tables: Container[str] = ()) -> Prepared:
    """The SQL of a metric for what is asked. `tables` are those that are given beside the store."""
    text = sql_text(metric)
    for name, filling in (_blanks(metric, query) | _own_blanks(query) | _catalog(given="catalog" in tables)).items():
        text = text.replace(f"{{{name}}}", filling)
    if query.limit is not None:
        text = f"{text}\nlimit {query.limit}"
    needed = set(re.findall(r"\$(\w+)", text))
    return Prepared(text, {name: value for name, value in query.values.items() if name in needed})


def grain(metric: str, query: Query) -> list[str]:
    """The columns by which the rows of a metric are split, without the period."""
    keys = METRICS[metric].keys if metric in METRICS else ()
    return list(dict.fromkeys([*keys, *query.by]))


def _blanks(metric: str, query: Query) -> dict[str, str]:
    """Conditions and columns that most metrics have."""
    columns = grain(metric, query)
    return {
        "keys": ", ".join([f"{query.period} as period", *columns]),
        "period": query.period,
        "group": ", ".join(["period", *columns]),
        "group_of_c": ", ".join(f"c.{column}" for column in ["period", *columns]),
        "order": ", ".join(f"{column} nulls first" for column in columns or ["period"]),
        "where": query.where,
        "things": query.things,
        "places": query.places,
        "people": query.people,
        "window": query.window,
        "past": query.past,
        # Events lie where they happened; when they were received is another question.
        "received": re.sub(r" and date [<>]= \$\w+", "", query.window),
        "day": "date" if query.tz == "UTC" else "cast(timezone($tz, timestamp) as date)",
        "instant": _INSTANT,
        "no_pulls": _NO_PULLS,
        "silent_dialects": ", ".join(map(literal, SILENT)),
        "is_image": f"(tag is null or regexp_extract(tag, '{SIGNATURE}', 0) = '')",
        "is_immutable": f"regexp_extract(tag, '{_IMMUTABLE}', 0) <> ''",
    }


def _own_blanks(query: Query) -> dict[str, str]:
    """Those that one metric has."""
    rows, formula = _MEASURES[query.measure]
    columns = query.by or ["repository"]
    tag = [column for column in ("source", "repository", "tag") if column != "source" or column in query.by]
    return {
        "rows": rows,
        "counted_now": formula.replace("{condition}", query.window),
        "counted_before": formula.replace("{condition}", f"not ({query.window})"),
        "measure": query.measure,
        "columns": ", ".join(columns),
        "column_order": ", ".join(f"{column} nulls first" for column in columns),
        "both_windows": "timestamp >= $before and date >= $before_date and " + query.past
        if query.since
        else query.past,
        "before": "cast(before as double)" if query.since else "cast(null as double)",
        "of_tag": ", ".join(tag),
        "m_of_tag": ", ".join(f"m.{column}" for column in tag),
        "c_of_tag": ", ".join(f"c.{column}" for column in tag),
        "same_m": " and ".join(f"m.{column} = c.{column}" for column in tag),
        "same_s": " and ".join(f"s.{column} = c.{column}" for column in tag),
        "same_l": " and ".join(f"m.{column} = l.{column}" for column in tag),
        "overlapping": _overlapping(query),
        "pulled_at": "make_timestamptz(i.pull_us)",
        "pushed_at": "make_timestamptz(i.push_us)",
        **_pullers(query),
        **_days(query),
    }


def _catalog(*, given: bool) -> dict[str, str]:
    """What a registry says that it has, and since when it would have been told of if it had been used."""
    begun = "select min(us) from (select us from all_pulls union all select us from all_changes) as a"
    return {"catalog": "catalog", "begun": begun} if given else {"catalog": _NO_CATALOG, "begun": "null"}


def _overlapping(query: Query) -> str:
    """Which stretches of time are asked for: those of a moment, or those that reach into the window."""
    if query.at is not None:
        return "digest is not null and timestamp <= $at and (until is null or until > $at)"
    return "until is null or until > $since" if query.since else "true"


def _pullers(query: Query) -> dict[str, str]:
    """The columns of pullers that `adoption` is split by."""
    puller = dict.fromkeys(["actor", "client_address", *query.by])
    return {
        "and_by": "".join(f", {column}" for column in query.by),
        "and_by_of_a": "".join(f", a.{column}" for column in query.by),
        "and_order_of_a": "".join(f", a.{column} nulls first" for column in query.by),
        "and_same_s": "".join(f" and s.{column} is not distinct from a.{column}" for column in query.by),
        "and_same_o": "".join(f" and o.{column} is not distinct from a.{column}" for column in query.by),
        "and_by_of_c": "".join(f", c.{column}" for column in query.by),
        "and_same_m": "".join(f" and m.{column} is not distinct from c.{column}" for column in query.by),
        "with_person_of_w": "\n  inner join person as p on p.person = w.person" if query.by else "",
        "with_person_of_m": "\n  inner join person as p on p.person = m.person" if query.by else "",
        "puller": ", ".join(puller),
        "same_puller": " and ".join(f"p.{column} is not distinct from a.{column}" for column in puller),
        "got_at": "make_timestamptz(at_us)",
        "got_date": "cast(make_timestamptz(at_us) as date)",
        "old_at": "make_timestamptz(o.old_us)",
    }


def _days(query: Query) -> dict[str, str]:
    """The days that `anomalies` looks at."""
    return {
        "calendar": "select cast(unnest(generate_series(first, $end_day, interval 1 day)) as date) as day "
        "from (select coalesce(cast($wide_day as date), min(day)) as first "
        "from (select day from counted union all select day from traced) as c) as c",
        "wide": f"timestamp >= $wide and date >= $wide_date and {query.past}" if query.since else query.past,
        "day_in_window": "day >= $since_day" if query.since else "true",
        "day_is_over": "day < $end_day",
        "day_start": "timezone($tz, cast(day as timestamp))",
        "pushed_in_window": "p.day >= $since_day" if query.since else "true",
        "alarm_in_window": "alarm >= (select min(number) from days where day >= $since_day)" if query.since else "true",
    }
