"""What regstats knows of the tags of a registry: who used them, and when; and those that a condition in SQL chooses."""

from datetime import datetime, timedelta
from typing import Any

import duckdb
import pandas as pd
import pyarrow as pa

from regstats.errors import ParameterError
from regstats.stats import Stats

KEYS = ["repository", "tag", "digest"]
KNOWN = ["pulls", "downloads", "last_pull", "last_push", "idle_days"]
_TIMES = ["last_pull", "last_push"]
_TYPES: Any = {name: "datetime64[us, UTC]" if name in _TIMES else "Int64" for name in KNOWN}


def unknown(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows of tags without a store: nothing is known."""
    nothing = pd.DataFrame(index=rows.index, columns=KNOWN).astype(_TYPES)
    return pd.concat([rows, nothing], axis="columns")


def known(rows: pd.DataFrame, stats: Stats, source: str | None = None) -> pd.DataFrame:
    """How often, and when last, was used what tags point to?

    Adds pulls, downloads, last_pull, last_push, idle_days (since the last use or push) to rows with repository, tag and
    digest; they are of the manifest, under whatever name it was used, and end with the last event of the source: what
    came after it is not known. Where a tag points to something else than regstats saw, they are missing.

    Raises ParameterError: there are several sources, and none is named.
    """
    source = _source(stats, source)
    until = _seen_until(stats, source)
    if until is None or rows.empty:
        return unknown(rows)
    of_registry: dict[str, Any] = {"source": source, "until": until}
    catalog = rows[KEYS].drop_duplicates().assign(source=source)
    idle = stats.unused(catalog=catalog, days=0, **of_registry)[[*KEYS, "last_pull", "last_push", "idle_days"]]
    pulls = stats.pulls(by=["repository", "digest"], interval="total", **of_registry)
    counts = pulls.groupby(["repository", "digest"], as_index=False)[["pulls", "downloads"]].sum()
    whole = rows.merge(idle, how="left", on=KEYS, validate="many_to_one")
    whole = whole.merge(counts, how="left", on=["repository", "digest"], validate="many_to_one")
    is_known = whole["idle_days"].notna()
    for name in ("pulls", "downloads"):
        whole[name] = whole[name].astype("Int64").fillna(0).where(is_known)
    return whole.astype(_TYPES)[[*rows.columns, *KNOWN]]


def untagged(stats: Stats, source: str | None = None) -> pd.DataFrame:
    """Which manifests were pushed, and no tag points to them any more? As far as events told.

    Columns: repository, digest, last_push, idle_days (since the last use or push). What an index lists is left out if
    the registry tells what indexes list (`includereferences`).
    """
    source = _source(stats, source)
    idle = stats.unused(days=0, source=source, until=_seen_until(stats, source))
    return idle[idle["tag"].isna()][["repository", "digest", "last_push", "idle_days"]].reset_index(drop=True)


def _source(stats: Stats, source: str | None) -> str | None:
    """Whose events are about the registry."""
    names = [row[0] for row in stats.sql("select distinct source from events order by source").fetchall()]
    if source is None and len(names) > 1:
        raise ParameterError(f"Events come from {', '.join(names)}; say with --source which of them is this registry.")
    if source is not None and source not in names:
        raise ParameterError(f"There is no event of the source {source!r}; there are: {', '.join(names) or 'none'}.")
    return source or (names[0] if names else None)


def _seen_until(stats: Stats, source: str | None) -> datetime | None:
    """The end of what is known: a moment after the last event."""
    rows = stats.sql("select max(timestamp) from events where source = $source", source=source or "").fetchall()
    last: datetime | None = rows[0][0]
    return min(last + timedelta(seconds=1), stats.present) if last else None


def where(rows: pd.DataFrame, condition: str) -> pd.DataFrame:
    """The rows for which a condition in SQL holds: `pulls = 0 and idle_days > 90`. Raises ParameterError."""
    table = pa.Table.from_pandas(rows.assign(_row=range(len(rows))), preserve_index=False)
    with duckdb.connect(config={"enable_external_access": "false"}) as connection:
        connection.register("images", table)
        try:
            query = f"select _row from images where (\n{condition}\n) order by _row"  # noqa: S608 - it is the user's own
            found = connection.execute(query).fetchall()
        except duckdb.Error as error:
            names = ", ".join(rows.columns)
            raise ParameterError(f"--where is not understood: {error}\nThere are: {names}.") from None
    return rows.iloc[[row[0] for row in found]]
