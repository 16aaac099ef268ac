"""Series without gaps: the periods in which nothing happened are there, with zeros."""

from collections.abc import Iterable
from datetime import datetime

import pandas as pd

from regstats.errors import ParameterError

LARGEST = 5_000_000
"""Rows that a series may have."""


def periods(first: datetime, last: datetime, interval: str, tz: str) -> pd.DatetimeIndex:
    """All periods from the one of the first moment to that of the last.

    Hours are instants, and those of `tz`: where clocks are set back an hour is there twice, and some zones are half an
    hour off. Days, and the first days of weeks and months, are plain dates.
    """
    start, end = (pd.Timestamp(moment).tz_convert(tz) for moment in (first, last))
    if interval == "hour":
        ticks = pd.date_range(start, end, freq="15min").union([end])  # no zone's hours begin anywhere else
        wall = ticks.tz_localize(None)
        return (ticks - (wall - wall.floor("h"))).unique().as_unit("us")
    day, until = start.tz_localize(None).normalize(), end.tz_localize(None).normalize()
    if interval == "week":
        day -= pd.Timedelta(days=day.weekday())
    if interval == "month":
        day = day.replace(day=1)
    step = {"day": "D", "week": "7D", "month": "MS"}[interval]
    return pd.date_range(day, until, freq=step).as_unit("us")


def filled(frame: pd.DataFrame, all_periods: pd.DatetimeIndex, by: Iterable[str]) -> pd.DataFrame:
    """The series with a row for every period, and every combination of values of `by` that is in it.

    What is missing in all rows of a combination is missing in all periods: nobody tells of it. Else it is 0.

    Raises ParameterError where that would be too many rows.
    """
    columns = list(by)
    every = pd.DataFrame({"period": all_periods})
    if columns:
        groups = frame[columns].drop_duplicates().sort_values(columns, na_position="first")
        _refuse_too_many(len(groups), len(every), columns)
        every = every.merge(groups, how="cross")
    whole = every.merge(frame, how="left", on=["period", *columns])
    counts = list(frame.columns.difference(["period", *columns]))
    if frame[counts].isna().any(axis=None):
        whole[counts] = whole[counts].astype("Int64").fillna(0).where(_is_told(whole[counts], whole[columns]))
    else:
        whole = whole.fillna(dict.fromkeys(counts, 0))
    return whole if whole[counts].isna().any(axis=None) else whole.astype(dict.fromkeys(counts, "int64"))


def _is_told(counts: pd.DataFrame, keys: pd.DataFrame) -> pd.DataFrame:
    """Whether a count is there in any row of its combination."""
    by = [keys[name] for name in keys] or [pd.Series(0, index=keys.index)]
    return counts.notna().groupby(by, dropna=False).transform("any")


def _refuse_too_many(groups: int, all_periods: int, columns: list[str]) -> None:
    if groups * all_periods > LARGEST:
        raise ParameterError(
            f"That would be {groups * all_periods:,} rows: {groups:,} of {', '.join(columns)} in {all_periods:,} "
            "periods. Choose a longer interval, a later `since`, or fewer with `repository`."
        )
