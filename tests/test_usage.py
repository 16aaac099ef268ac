"""What regstats knows of the tags of a registry."""

import pandas as pd
import pytest
from makers import NOW, A, B, days, make_event, make_push

from regstats.errors import ParameterError
from regstats.usage import KNOWN, known, unknown, untagged, where

C = "sha256:" + "c" * 64


def rows(*tags):
    return pd.DataFrame(tags, columns=["repository", "tag", "digest"], dtype="str")


def said(frame):
    """Of each tag: pulls, downloads, idle days."""
    return [
        (row.tag, *(None if pd.isna(value) else int(value) for value in (row.pulls, row.downloads, row.idle_days)))
        for row in frame.itertuples()
    ]


def test_what_is_known(stats_of):
    """Of what a tag points to, whatever it was pulled by; of what was never seen, since the first event."""
    stats = stats_of(
        make_push(tag="1.0", digest=A, at=NOW - days(9)),
        make_push(tag="stable", digest=A, at=NOW - days(8)),
        make_event(tag=None, digest=A, at=NOW - days(5)),
        make_event(tag="1.0", digest=A, at=NOW - days(3)),
        make_event(tag="other", digest=B, at=NOW),
    )
    found = known(rows(("team/app", "1.0", A), ("team/app", "stable", A), ("team/app", "new", C)), stats)
    assert [("1.0", 2, 0, 3), ("stable", 2, 0, 3), ("new", 0, 0, 9)] == said(found)
    assert [NOW - days(3)] * 2 == found["last_pull"].tolist()[:2]


def test_a_tag_that_points_to_something_else_than_was_seen(stats_of):
    """Nothing is known of it: an event may be missing."""
    stats = stats_of(make_push(tag="1.0", digest=A, at=NOW - days(9)), make_event(tag="x", digest=B, at=NOW - days(1)))
    assert [("1.0", None, None, None)] == said(known(rows(("team/app", "1.0", B)), stats))


def test_it_ends_with_the_last_event(stats_of):
    """What was not seen since then is not unused: perhaps nothing arrived."""
    stats = stats_of(
        make_push(tag="1.0", digest=A, at=NOW - days(100)), make_event(tag="1", digest=B, at=NOW - days(95))
    )
    assert [("1.0", 0, 0, 5)] == said(known(rows(("team/app", "1.0", A)), stats))


def test_whose_events(stats_of, store):
    """Those of the only source, or of the one that is named."""
    stats = stats_of()
    assert said(unknown(rows(("a", "1", A)))) == said(known(rows(("a", "1", A)), stats)) == [("1", None, None, None)]
    with pytest.raises(ParameterError, match="There is no event of the source 'lab'; there are: none"):
        known(rows(("a", "1", A)), stats, "lab")
    assert list(known(rows(), stats).columns) == ["repository", "tag", "digest", *KNOWN]


def test_what_has_no_tag_any_more(stats_of):
    stats = stats_of(make_push(tag="1.0", digest=A, at=NOW - days(9)), make_push(tag="1.0", digest=B, at=NOW - days(1)))
    found = untagged(stats)
    assert [("team/app", A, 8)] == list(found[["repository", "digest", "idle_days"]].itertuples(index=False, name=None))


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("pulls = 0 and idle_days > 3", ["b"]),
        ("pulls is null", ["c"]),
        ("repository like 'b%' or tag = 'a'", ["a", "b"]),
        ("true -- all", ["a", "b", "c"]),
    ],
)
def test_conditions(condition, expected):
    """In SQL; what is not known fits no comparison."""
    images = pd.DataFrame({
        "repository": ["a", "b", "c"], "tag": ["a", "b", "c"],
        "pulls": pd.array([1, 0, None], "Int64"), "idle_days": pd.array([9, 4, None], "Int64"),
    })  # fmt: skip
    assert expected == where(images, condition)["tag"].tolist()


@pytest.mark.parametrize(
    "condition", ["nothing = 1", "pulls =", "tag in (select content from read_text('/etc/passwd'))"]
)
def test_conditions_that_are_none(condition):
    """What is there is said; and it reads no files."""
    with pytest.raises(ParameterError, match=r"(?s)--where is not understood: .*There are: repository, tag, digest"):
        where(rows(("a", "1", A)), condition)
