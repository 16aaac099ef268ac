"""The text of a query as Apache Spark takes it: `sql/` is written once, in what DuckDB and Spark have in common.

What they spell differently is in `_SPELLINGS`. Texts in quotes stay what they are.
"""

import re
from collections.abc import Collection
from typing import NamedTuple

_SPELLINGS = (
    (r"\$(\w+)", r":\1"),
    (r"\bvarchar\b", "string"),
    (r"\btimestamptz\b", "timestamp"),
    (r"\bepoch_us\(", "unix_micros("),
    (r"\bmake_timestamptz\(", "timestamp_micros("),
    (r"\btimezone\(:tz, cast\(day as timestamp\)\)", "of_local(:tz, day)"),
    (r"\btimezone\(", "to_local("),
    (r"\bto_microseconds\(", "of_microseconds("),
    (r"\bunnest\(range\((\w+), (\w+)\)\)", r"explode(case when \1 < \2 then sequence(\1, \2 - 1) end)"),
    (
        r"\bcast\(unnest\(generate_series\((\S+), (\S+), interval 1 day\)\) as date\)",
        r"explode(case when \1 <= \2 then sequence(\1, \2, interval 1 day) end)",
    ),
    (r"\bunnest\(", "explode("),
    (r"\barray_to_string\(", "array_join("),
    (r"\bglob\b", "rlike"),
    (r"\bfrom stream\b", "from `stream`"),
)
FUNCTIONS = (
    "to_local(zone string, at timestamp) returns timestamp "
    "return cast(convert_timezone('UTC', zone, cast(at as timestamp_ntz)) as timestamp)",
    "of_local(zone string, day date) returns timestamp "
    "return cast(convert_timezone(zone, 'UTC', cast(day as timestamp_ntz)) as timestamp)",
    "of_microseconds(us bigint) returns interval day to second return us * interval '0.000001' second",
)
"""What takes more than another name: a local time is a timestamp, because the time zone of the session is UTC."""
_TOKEN = re.compile(r"(\bglob\s+)?('(?:[^']|'')*')|--[^\n]*")
_GLOBBED = re.compile(r"\bglob (?:\$|\w+\.)(\w+)")
_GLOB = re.compile(r"\\(.)|\[(!?)((?<=!).[^]]*|(?<=\[)[^!][^]]*)\]|(.)", re.DOTALL)
_RANGE = re.compile(r"(.)(?:-(.))?", re.DOTALL)
_NOTHING = "(?!)"
_WITH = re.compile(r"(?:\A|(?<=\())\s*with\s+(?=\w+ as \()")
_NAMED = re.compile(r"\s*(\w+) as \(")
_PARENTHESIS = re.compile(r"[()]")


class Step(NamedTuple):
    """A part of a query that has a name."""

    name: str
    text: str
    is_needed_again: bool
    """Whether more than one other part is about it."""


def spelled(sql: str, taken: Collection[str] = ()) -> tuple[list[Step], str]:
    """A query as Spark writes it: what is in its `with`, in order, and the rest, in which these are names.

    Spark puts each of them in wherever it is named, and then takes longer to plan a query than to answer it. What
    somebody else wrote, so that it cannot be taken apart or has names that are `taken`, stays whole.
    """
    quoted: list[str] = []

    def aside(found: re.Match[str]) -> str:
        if found[2] is None:
            return ""
        text = found[2]
        if found[1]:
            text = "'" + pattern(text[1:-1].replace("''", "'")).replace("'", "''") + "'"
        quoted.append(text.replace("\\", "\\\\"))
        return f"{found[1] or ''}'{len(quoted) - 1}'"

    def back(text: str) -> str:
        return re.sub(r"'(\d+)'", lambda found: quoted[int(found[1])], text)

    text = _TOKEN.sub(aside, sql)
    for theirs, ours in _SPELLINGS:
        text = re.sub(theirs, ours, text)
    steps, rest = _apart(text)
    if not {step.name for step in steps}.isdisjoint(taken):
        steps, rest = [], text
    return [step._replace(text=back(step.text)) for step in steps], back(rest)


def _apart(text: str) -> tuple[list[Step], str]:
    found = _WITH.search(text)
    if found is None:
        return [], text
    position, steps, is_more = found.end(), [], True
    while is_more:
        named = _NAMED.match(text, position)
        end = _closing(text, named.end()) if named else None
        if named is None or end is None:
            return [], text
        steps.append(Step(named[1], text[named.end() : end], _times(named[1], text[end:]) > 1))
        is_more = text[end + 1 : end + 2] == ","
        position = end + 2 if is_more else end + 1
    return steps, text[: found.start()] + text[position:]


def _times(name: str, text: str) -> int:
    """How often something is named as what a query is about."""
    return len(re.findall(rf"(?:from|join|,)\s+`?{name}\b", text))


def _closing(text: str, position: int) -> int | None:
    """Where the parenthesis ends within which a position is."""
    depth = 1
    for found in _PARENTHESIS.finditer(text, position):
        depth += 1 if found[0] == "(" else -1
        if depth == 0:
            return found.start()
    return None


def globbed(sql: str) -> set[str]:
    """The names of the parameters, and of the columns of tables, that are globs in a query."""
    return set(_GLOBBED.findall(sql))


def pattern(glob: str) -> str:
    """The regular expression that matches what a glob does on DuckDB."""
    return "(?s)\\A" + "".join(_matched(*found.groups()) for found in _GLOB.finditer(glob)) + "\\z"


def _matched(escaped: str | None, negated: str | None, inside: str | None, other: str | None) -> str:
    if inside is not None:
        return _one_of(inside, negated == "!")
    if escaped is not None:
        return re.escape(escaped)
    if other in ("[", "\\"):
        return _NOTHING  # without its end
    return {"*": ".*", "?": "."}.get(other or "", re.escape(other or ""))


def _one_of(inside: str, is_not: bool) -> str:
    ranges = [(first, last or first) for first, last in _RANGE.findall(inside)]
    text = "".join(f"\\x{{{ord(first):x}}}-\\x{{{ord(last):x}}}" for first, last in ranges if first <= last)
    if not text:
        return "." if is_not else _NOTHING
    return f"[{'^' if is_not else ''}{text}]"
