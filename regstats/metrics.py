"""What can be asked: every metric, once. Its method, SQL file, command, chart and README heading have its name."""

from typing import NamedTuple

from regstats.parameters import DIMENSIONS, FILTERS, PEOPLE, Interval

_WINDOW = ("since", "until")
_ALWAYS = (*FILTERS, *_WINDOW, "tz", "limit")
_SPLIT = (*FILTERS, *_WINDOW, "interval", "by", "tz", "limit")


class Metric(NamedTuple):
    """One question."""

    question: str
    rows: str
    """What a row is."""
    parameters: tuple[str, ...] = _ALWAYS
    keys: tuple[str, ...] = ()
    """The columns that its rows are split by anyway, where `interval` and `by` split them further."""
    interval: Interval = "total"
    """That it has if none is asked for."""
    example: str = "--repository 'team/*' --since 30d"
    dimensions: tuple[str, ...] = DIMENSIONS
    """What `by` may name."""


METRICS: dict[str, Metric] = {
    "pulls": Metric("How often is it pulled, over time?", "One row per period.", _SPLIT, interval="day"),
    "pushes": Metric("How often is it pushed, over time?", "One row per period.", _SPLIT, interval="day"),
    "repositories": Metric("What is there?", "One row per repository.", _SPLIT, ("repository",)),
    "tags": Metric(
        "What is there, tag by tag?",
        "One row per repository and tag.",
        _SPLIT,
        ("repository", "tag"),
        dimensions=tuple(column for column in DIMENSIONS if column != "digest"),
    ),
    "top": Metric(
        "What is used most?",
        "One row per repository, or whatever it is split by.",
        (*FILTERS, *_WINDOW, "measure", "by", "tz", "limit"),
        example="--since 30d --measure downloads --by actor --limit 10",
    ),
    "cadence": Metric("How well is it maintained?", "One row per repository, and one per tag."),
    "activity": Metric("Who does what?", "One row per actor.", _SPLIT, ("actor",)),
    "usage": Metric("Who uses which repository?", "One row per actor and repository.", _SPLIT, ("actor", "repository")),
    "history": Metric(
        "What did a tag point to, when, and who moved it?",
        "One row per tag and manifest that it pointed to.",
        (*_ALWAYS, "at"),
        example="--repository team/api --tag latest --at 2026-10-01",
    ),
    "adoption": Metric(
        "How fast do clients move to a new digest, and who still pulls the old one?",
        "One row per update of a moving tag.",
        _SPLIT,
        example="--tag latest --since 30d --by actor",
        dimensions=PEOPLE,
    ),
    "unused": Metric(
        "What has nobody pulled for a long time?",
        "One row per tag, and one per manifest without a tag.",
        (*FILTERS, "until", "days", "tz", "limit"),
        example="--repository 'team/*' --days 180",
    ),
    "clients": Metric(
        "With what do they pull?", "One row per client and version.", _SPLIT, ("client", "client_version")
    ),
    "anomalies": Metric("What is out of the ordinary?", "One row per surprise.", example="--since 7d"),
    "health": Metric(
        "Can I trust these numbers?", "One row per source.", ("source", *_WINDOW, "tz", "limit"), example="--since 7d"
    ),
}
