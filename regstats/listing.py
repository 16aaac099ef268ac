"""Frames of what is in a registry, and of what is to be done there."""

from collections.abc import Iterable, Mapping, Sequence

import pandas as pd

from regstats.inventory import Content, Tagged
from regstats.plans import Plan, Result

_STEPS = ["action", "image", "to", "digest", "before", "status", "why"]


def of_tags(tagged: Sequence[Tagged], contents: Mapping[tuple[str, str], Content | None] | None = None) -> pd.DataFrame:
    """Tags as rows: repository, tag, digest, media_type, and if contents are known size, platforms, created."""
    rows = pd.DataFrame(
        {
            "repository": [one.name.repository for one in tagged],
            "tag": [one.name.tag for one in tagged],
            "digest": [one.digest for one in tagged],
            "media_type": [one.media_type for one in tagged],
        },
        dtype="str",
    )
    if contents is None:
        return rows
    known = [contents.get((one.name.repository, one.digest)) for one in tagged]
    return rows.assign(
        size=pd.array([one.size if one else None for one in known], dtype="Int64"),
        platforms=pd.array([", ".join(one.platforms) if one else None for one in known], dtype="str"),
        created=pd.array([one.created if one else None for one in known], dtype="datetime64[us, UTC]"),
    )


def of_steps(results: Iterable[Result]) -> pd.DataFrame:
    """Steps and what came of them, one row each."""
    rows = [
        (step.action, step.image, step.to, step.digest, step.before, result.status, result.why or step.why)
        for result in results
        for step in [result.step]
    ]
    return pd.DataFrame(rows, columns=_STEPS, dtype="str")


def of_kept(plan: Plan) -> pd.DataFrame:
    """What a plan leaves as it is, and why, in the same columns."""
    rows = [(one.image, one.digest, "kept", one.why) for one in plan.kept]
    return pd.DataFrame(rows, columns=["image", "digest", "status", "why"], dtype="str").reindex(columns=_STEPS)
