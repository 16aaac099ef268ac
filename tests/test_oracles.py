"""Every metric against its oracle: whatever happens, in whatever order it arrives, wherever it lies."""

import os
from datetime import UTC

import oracles
import pandas as pd
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from lives import ZONES, lived, lives, questions, traffics

from regstats.parameters import DIMENSIONS, MEASURES, PEOPLE
from regstats.stats import Stats

PHASES = [phase for phase in Phase if phase is not Phase.explain]  # which takes longer than all others
HOW = st.sampled_from(["journalled"] * 5 + ["sealed", "half", "half", "kept"])
INTERVALS = st.sampled_from(["total", "hour", "day", "day", "week", "month"])
SPLIT = {"interval": INTERVALS, "tz": st.sampled_from(ZONES)}


def by(*columns):
    """Up to two of some columns."""
    return {"by": st.lists(st.sampled_from(columns), max_size=2).map(tuple)}


def value(of):
    """As an oracle has it."""
    if pd.isna(of):
        return None
    if isinstance(of, pd.Timestamp):
        return (of.tz_convert(UTC) if of.tz else of).to_pydatetime()
    return of.to_pytimedelta() if isinstance(of, pd.Timedelta) else of


def answered(frame):
    """The rows of a frame as an oracle has them."""
    return [tuple(map(value, row)) for row in frame.itertuples(index=False)]


# Metric → what may be asked of it, beside filters and the window.
METRICS = {
    "pulls": SPLIT | by(*DIMENSIONS),
    "pushes": SPLIT | by(*DIMENSIONS),
    "repositories": SPLIT | by(*DIMENSIONS),
    "tags": SPLIT | by(*(column for column in DIMENSIONS if column != "digest")),
    "top": {"measure": st.sampled_from(MEASURES)} | by(*DIMENSIONS),
    "cadence": {},
    "activity": SPLIT | by(*DIMENSIONS),
    "usage": SPLIT | by(*DIMENSIONS),
    "clients": SPLIT | by(*DIMENSIONS),
    "history": {},
    "unused": {"days": st.sampled_from([0, 1, 7, 90])},
    "adoption": SPLIT | by(*PEOPLE),
    "anomalies": {"tz": st.sampled_from(ZONES)},
}
LIVES = {"anomalies": traffics()}


def parameters_of(metric, asked):
    """What is asked, as keyword arguments: none that it has not."""
    names = {"repository", "tag", "actor", "client", "source", "since", "until", *METRICS[metric]}
    names -= {"since"} if metric == "unused" else set()
    given_ = {name: getattr(asked, name) for name in names}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in given_.items()}


IS_LONG = bool(os.environ.get("STRESS"))
EXAMPLES = 120 if IS_LONG else 6


@pytest.mark.slow
@pytest.mark.usefixtures("one_database")
@pytest.mark.parametrize("metric", METRICS)
def test_a_metric_is_that_of_its_oracle(tmp_path_factory, metric):
    """Row by row, and in the same order."""
    oracle = getattr(oracles, metric)

    @settings(
        max_examples=EXAMPLES, phases=PHASES, derandomize=not IS_LONG
    )  # the long version finds, the short one keeps
    @given(data=st.data())
    def compare(data):
        life = data.draw(LIVES.get(metric, lives()))
        store = lived(tmp_path_factory.mktemp(metric), life, data.draw(HOW))
        for _ in range(3):
            asked = data.draw(questions(life, **METRICS[metric]))
            stats = Stats(store.root, now=asked.now, exclude=asked.exclude)
            assert oracle(life.events, asked) == answered(getattr(stats, metric)(**parameters_of(metric, asked)))

    compare()
