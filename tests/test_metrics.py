"""Metrics against numbers that were worked out by hand, and what they do at the edges."""

import random
import re
from datetime import UTC, datetime, timedelta

import pandas as pd
import pytest
from makers import BLOB, INDEX, NOW, days, envelope, journalled, make_event, make_push

from regstats.config import Exclude
from regstats.errors import ParameterError
from regstats.metrics import METRICS
from regstats.series import LARGEST
from regstats.stats import Stats

A, B, C, D = (f"sha256:{letter * 64}" for letter in "abcd")


def rows(frame):
    """A frame as tuples; missing values as None."""
    return [tuple(None if pd.isna(v) else v for v in row) for row in frame.itertuples(index=False)]


def at(day, hour=12, minute=0):
    return datetime(2026, 11, day, hour, minute, tzinfo=UTC)


def make_delete(**changes):
    return make_event(**{"action": "delete", "method": "DELETE", "media_type": None, "size": None} | changes)


def delete_of_tag(tag, **changes):
    return make_delete(**{"tag": tag, "digest": None} | changes)


def delete_of_manifest(digest, *, tags=(), **changes):
    """As a registry of version 2 reports it, and one of version 3 with the tags that went."""
    changes = {"request_id": f"delete-{digest}"} | changes
    return [make_delete(tag=None, digest=digest, **changes), *(delete_of_tag(tag, **changes) for tag in tags)]


def listing(*digests):
    return [{"digest": digest} for digest in digests]


# History: what a tag pointed to, when, and who moved it.


def test_history(stats_of):
    """A row for each stretch of time, in order; a push of what is there already moves nothing."""
    stats = stats_of(
        make_push(tag="latest", digest=A, at=at(1), actor="ci", addr="192.0.2.1:1"),
        make_push(tag="latest", digest=A, at=at(2), actor="bob"),
        make_push(tag="latest", digest=B, at=at(3), actor="alice"),
        make_push(tag="1.0", digest=B, at=at(3, 13), actor=None, addr=None),
    )
    frame = stats.history()
    assert ["repository", "tag", "digest", "since", "until", "actor", "client_address"] == list(frame.columns)
    assert [
        ("team/app", "1.0", B, at(3, 13), None, None, None),
        ("team/app", "latest", A, at(1), at(3), "ci", "192.0.2.1"),
        ("team/app", "latest", B, at(3), None, "alice", "192.0.2.7"),
    ] == rows(frame)


def test_history_of_a_tag_that_is_deleted_and_made_again(stats_of):
    """Its absence is a stretch of time, too, and who deleted it is named; to delete it twice changes nothing."""
    stats = stats_of(
        make_push(digest=A, at=at(1)),
        delete_of_tag("1.0", at=at(3), actor="bob"),
        delete_of_tag("1.0", at=at(4), actor="carol"),
        make_push(digest=A, at=at(5)),
    )
    assert [(A, at(1), at(3), "alice"), (None, at(3), at(5), "bob"), (A, at(5), None, "alice")] == rows(
        stats.history()[["digest", "since", "until", "actor"]]
    )


@pytest.mark.parametrize("named", [(), ("1.0", "latest")])
def test_history_when_a_manifest_is_deleted_by_its_digest(stats_of, named):
    """All tags that pointed to it then end, whether the registry names them (version 3) or not (version 2)."""
    stats = stats_of(
        make_push(tag="1.0", digest=A, at=at(1)),
        make_push(tag="latest", digest=A, at=at(1)),
        make_push(tag="moved", digest=A, at=at(1)),
        make_push(tag="moved", digest=B, at=at(2)),
        make_push(tag="later", digest=A, at=at(4)),
        *delete_of_manifest(A, tags=named, at=at(3), actor="bob"),
    )
    assert [
        ("1.0", A, at(1), at(3), "alice"),
        ("1.0", None, at(3), None, "bob"),
        ("later", A, at(4), None, "alice"),
        ("latest", A, at(1), at(3), "alice"),
        ("latest", None, at(3), None, "bob"),
        ("moved", A, at(1), at(2), "alice"),
        ("moved", B, at(2), None, "alice"),
    ] == rows(stats.history()[["tag", "digest", "since", "until", "actor"]])


def test_a_tag_that_is_made_again_after_its_manifest_was_deleted_is_an_update(stats_of):
    """Although it has the same digest as before."""
    stats = stats_of(make_push(digest=A, at=at(1)), *delete_of_manifest(A, at=at(2)), make_push(digest=A, at=at(3)))
    assert [(2, 2, 1)] == rows(stats.pushes(interval="total"))


def test_a_manifest_that_is_deleted_twice_is_gone_once(stats_of):
    """Who came second moved nothing."""
    deletes = (delete_of_manifest(A, at=at(day), actor=actor) for day, actor in ((2, "bob"), (3, "carol")))
    stats = stats_of(make_push(digest=A, at=at(1)), *(event for several in deletes for event in several))
    assert [(A, at(2), "alice"), (None, None, "bob")] == rows(stats.history()[["digest", "until", "actor"]])


@pytest.mark.parametrize("ids", [("1", "2"), ("2", "1")])
def test_a_push_and_a_delete_at_the_same_moment(stats_of, ids):
    """Their order is that of their ids, everywhere: whatever it is, it is one."""
    push, delete = ids
    stats = stats_of(
        make_push(digest=A, at=at(1), id=push), make_delete(tag=None, digest=A, at=at(1), id=delete, request_id="r")
    )
    is_there = push > delete
    assert ([A] if is_there else [A, None]) == [digest for (digest,) in rows(stats.history()[["digest"]])]
    assert int(is_there) == len(stats.history(at=at(1)))
    assert int(is_there) == len(stats.unused(days=0))


@pytest.mark.parametrize(
    ("moment", "expected"),
    [
        (at(1, 11), []),
        (at(1), [("1.0", A)]),
        (at(2), [("1.0", A), ("latest", A)]),
        (at(3), [("1.0", A), ("latest", B)]),
        (at(4), [("1.0", A)]),
        ("1d", [("1.0", A)]),
        ("2026-11-03T13:00", [("1.0", A), ("latest", B)]),
    ],
)
def test_what_tags_pointed_to_at_a_moment(stats_of, moment, expected):
    """One row for each tag that was there; a stretch of time includes its start, not its end."""
    stats = stats_of(
        make_push(tag="1.0", digest=A, at=at(1)),
        make_push(tag="latest", digest=A, at=at(2)),
        make_push(tag="latest", digest=B, at=at(3)),
        delete_of_tag("latest", at=at(4)),
    )
    assert expected == rows(stats.history(at=moment)[["tag", "digest"]])


def test_history_in_a_window(stats_of):
    """What was so at any time of it, with the times at which that really began and ended, as far as is known then."""
    stats = stats_of(*(make_push(digest=digest, at=at(day)) for digest, day in ((A, 1), (B, 5), (C, 9), (D, 20))))
    frame = stats.history(since=at(5), until=at(15))[["digest", "since", "until"]]
    assert [(B, at(5), at(9)), (C, at(9), None)] == rows(frame)
    frame = stats.history(since=at(4), until=at(9))[["digest", "since", "until"]]
    assert [(A, at(1), at(5)), (B, at(5), None)] == rows(frame)


def test_history_of_somebody(stats_of):
    """Who moved it, with what; between two of one's own moves somebody else's counts."""
    stats = stats_of(
        make_push(digest=A, at=at(1), actor="alice"),
        make_push(digest=B, at=at(2), actor="bob"),
        make_push(digest=C, at=at(3), actor="alice"),
    )
    assert [(A, at(2)), (C, None)] == rows(stats.history(actor="alice")[["digest", "until"]])


def test_history_excludes_nobody(store):
    """Who is not counted still moves tags."""
    journalled(store, envelope(make_push(actor="ci")), envelope(*delete_of_manifest("sha256:" + "a" * 64, actor="ci")))
    assert [("ci",), ("ci",)] == rows(Stats(store.root, now=NOW, exclude=Exclude(actors=["ci"])).history()[["actor"]])


# Unused: what nobody has pulled for a while.


def test_unused(stats_of):
    """The longest unused first; what was never pulled counts from its push."""
    stats = stats_of(
        make_push(tag="never", digest=A, at=NOW - days(100)),
        make_push(tag="old", digest=B, at=NOW - days(300)),
        make_event(tag="old", digest=B, at=NOW - days(200)),
        make_push(tag="used", digest=C, at=NOW - days(300)),
        make_event(tag="used", digest=C, at=NOW - days(10)),
        make_push(tag="new", digest=D, at=NOW - days(5)),
    )
    frame = stats.unused()
    assert ["repository", "tag", "digest", "last_pull", "last_push", "idle_days", "size"] == list(frame.columns)
    assert [
        ("team/app", "old", B, NOW - days(200), NOW - days(300), 200, None),
        ("team/app", "never", A, None, NOW - days(100), 100, None),
    ] == rows(frame)
    assert ["old"] == list(stats.unused(days=101)["tag"])
    assert ["old", "never"] == list(stats.unused(days=100)["tag"])
    assert ["old", "never", "used", "new"] == list(stats.unused(days=0)["tag"])


def test_the_size_of_what_is_unused(stats_of):
    """Of configuration and layers, wherever they were pushed; an index is as large as its platforms.

    What is shared within an image counts once, and what was never seen to be pushed not at all.
    """
    blobs = {letter: "sha256:" + letter * 64 for letter in "1234"}
    long_ago, gone = NOW - days(200), {"at": NOW - days(200), "media_type": BLOB, "tag": None}
    stats = stats_of(
        *(make_push(digest=blobs[letter], size=10 ** int(letter), **gone) for letter in "123"),
        make_push(digest=blobs["1"], size=10, repository="other", **gone),
        make_push(tag=None, digest=A, at=long_ago, references=listing(blobs["1"], blobs["2"], blobs["2"])),
        make_push(tag=None, digest=B, at=long_ago, references=listing(blobs["1"], blobs["3"], blobs["4"])),
        make_push(tag="both", digest=C, at=long_ago, media_type=INDEX, references=listing(A, B)),
        make_push(tag="one", digest=B, at=long_ago, references=listing(blobs["1"], blobs["3"], blobs["4"])),
        make_push(tag="unknown", digest=D, at=long_ago),
    )
    assert [("both", 1110), ("one", 1010), ("unknown", None)] == rows(stats.unused()[["tag", "size"]])


def test_what_only_the_catalog_knows(stats_of):
    """A registry may have tags that no event ever told of: unused since the first event of all."""
    stats = stats_of(
        make_push(tag="known", digest=A, at=NOW - days(200)), make_event(tag="pulled", digest=B, at=NOW - days(9))
    )
    catalog = pd.DataFrame(
        {"repository": "team/app", "tag": ["known", "never", "again"], "digest": [A, C, A], "size": [1, 5, None]}
    )
    assert [("again", A, 200, None), ("known", A, 200, None), ("never", C, 200, 5)] == rows(
        stats.unused(catalog=catalog)[["tag", "digest", "idle_days", "size"]]
    )
    assert [] == rows(stats.unused(catalog=catalog, repository="other"))
    with pytest.raises(ParameterError, match="The catalog has no column 'digest'"):
        stats.unused(catalog=catalog.drop(columns="digest"))


@pytest.mark.parametrize("seconds", [0, 1])
def test_so_many_days_are_whole_ones(stats_of, seconds):
    """A second less is a day less."""
    stats = stats_of(make_push(at=NOW - days(90) + timedelta(seconds=seconds)))
    assert ([90] if seconds == 0 else []) == list(stats.unused()["idle_days"])
    assert [90 if seconds == 0 else 89] == list(stats.unused(days=1)["idle_days"])


def test_tags_that_share_a_manifest_are_in_use_together(stats_of):
    """Under whatever name it is pulled, and by its digest, too."""
    pushes = [make_push(tag=tag, digest=digest, at=NOW - days(200)) for tag, digest in (("1", A), ("1.0", A), ("2", B))]
    assert ["1", "1.0"] == list(stats_of(*pushes, make_event(tag=None, digest=B, at=NOW - days(9))).unused()["tag"])
    assert [] == list(stats_of(make_event(tag="1.0", digest=A, at=NOW - days(9))).unused()["tag"])


def index_of_two():
    """An index with a tag, its children without one."""
    return [
        *(make_push(tag=None, digest=digest, at=NOW - days(200)) for digest in (A, B)),
        make_push(
            tag="1", digest=C, at=NOW - days(200), media_type=INDEX, references=[{"digest": A}, {"digest": B}]
        ),
    ]  # fmt: skip


def test_children_of_an_index_are_not_without_a_tag(stats_of):
    """They are there because of it; one row for the index."""
    assert [("1", C)] == rows(stats_of(*index_of_two()).unused()[["tag", "digest"]])


def test_a_pull_of_a_child_is_a_use_of_its_index(stats_of):
    """Who has the index from elsewhere asks for the child only."""
    assert [] == rows(stats_of(*index_of_two(), make_event(tag=None, digest=B, at=NOW - days(3))).unused())


def test_manifests_without_a_tag(stats_of):
    """What a tag pointed to before it was moved is still in the registry; children, too, if the index is not."""
    stats = stats_of(
        *index_of_two(),
        make_push(tag="latest", digest=D, at=NOW - days(400)),
        make_push(tag="latest", digest="sha256:e", at=NOW - days(1)),
        *delete_of_manifest(C, at=NOW - days(2)),
    )
    assert [(None, D, 400), (None, A, 200), (None, B, 200)] == rows(stats.unused()[["tag", "digest", "idle_days"]])


@pytest.mark.parametrize("named", [(), ("1.0",)])
def test_what_was_deleted_is_not_unused(stats_of, named):
    """Neither the manifest nor its tags; a tag that is deleted alone leaves the manifest."""
    push = make_push(digest=A, at=NOW - days(200))
    gone = stats_of(push, *delete_of_manifest(A, tags=named, at=NOW - days(100)))
    assert [] == rows(gone.unused())


def test_a_tag_that_is_deleted_leaves_its_manifest(stats_of):
    """Which no tag points to then."""
    stats = stats_of(make_push(digest=A, at=NOW - days(200)), delete_of_tag("1.0", at=NOW - days(1)))
    assert [(None, A, 200)] == rows(stats.unused()[["tag", "digest", "idle_days"]])


def test_a_tag_that_is_known_from_pulls_alone(stats_of):
    """It was pushed before anything was recorded, and points to what it gave last; unless that was deleted since."""
    stats = stats_of(
        make_event(tag="old", digest=A, at=NOW - days(300)),
        make_event(tag="old", digest=B, at=NOW - days(200)),
        make_event(tag="gone", digest=C, at=NOW - days(200)),
        *delete_of_manifest(C, at=NOW - days(150)),
    )
    assert [("team/app", "old", B, NOW - days(200), None, 200, None)] == rows(stats.unused())


def test_a_version_check_is_a_use_and_a_lookup_is_none(stats_of):
    """Who asks whether there is something new has what is there; who pushes looks first."""
    stats = stats_of(
        make_push(tag="checked", digest=A, at=NOW - days(200)),
        make_event(tag="checked", digest=A, method="HEAD", at=NOW - days(10)),
        make_push(tag="looked-up", digest=B, at=NOW - days(200)),
        make_event(tag="looked-up", digest=B, method="HEAD", at=NOW - days(100)),
        make_push(tag="looked-up", digest=B, at=NOW - days(100) + timedelta(seconds=1)),
    )
    assert [("looked-up", None, 99)] == rows(stats.unused()[["tag", "last_pull", "idle_days"]])
    assert [("checked", None, 10)] == rows(stats.unused(tag="checked", days=1)[["tag", "last_pull", "idle_days"]])


def test_who_is_excluded_does_not_use_anything(store):
    """A mirror that pulls everything every night keeps nothing in use; its pushes are there all the same."""
    push = make_push(digest=A, at=NOW - days(200), user_agent="Go-http-client/1.1")
    pull = make_event(digest=A, at=NOW - days(1), user_agent="Go-http-client/1.1")
    journalled(store, envelope(push), envelope(pull))
    assert [(A, 200)] == rows(Stats(store.root, now=NOW).unused()[["digest", "idle_days"]])
    assert [] == rows(Stats(store.root, now=NOW, exclude=Exclude(clients=[])).unused())


def test_unused_by_somebody(stats_of):
    """With `actor` or `client`, what they have not used."""
    stats = stats_of(make_push(digest=A, at=NOW - days(200)), make_event(digest=A, at=NOW - days(1), actor="alice"))
    assert [] == rows(stats.unused(actor="alice"))
    assert [200] == list(stats.unused(actor="bob")["idle_days"])


def test_signatures_go_with_their_image(stats_of):
    """Nobody pulls them by hand."""
    signature = "sha256-" + "a" * 64
    tags = [signature, signature + ".sig", signature + ".att", signature + ".sbom", signature + ".other"]
    stats = stats_of(*(make_push(tag=tag, digest=f"sha256:{tag}", at=NOW - days(200)) for tag in tags))
    assert [signature + ".other"] == list(stats.unused()["tag"])


def test_what_was_unused_then(stats_of):
    """Seen from `until`; what came later is not known."""
    stats = stats_of(make_push(digest=A, at=NOW - days(200)), make_event(digest=A, at=NOW - days(50)))
    assert [100] == list(stats.unused(until="100d")["idle_days"])


# Cadence: how well it is maintained.


def releases(*times, tag="latest", **changes):
    """A push of a new manifest at each of some times."""
    return [make_push(tag=tag, digest=f"sha256:{tag}-{n}", at=time, **changes) for n, time in enumerate(times)]


CADENCE = ["tag", "kind", "updates", "median_interval", "p90_interval", "age", "overdue", "grade"]


def test_cadence_of_a_repository_and_its_tags(stats_of):
    """A row for its releases, and one for each tag; intervals are between updates, age is until now."""
    frame = stats_of(*releases(at(1), at(2), at(4), at(8), at(18)), *releases(at(20), tag="once")).cadence()
    assert [
        "repository", "tag", "kind", "updates", "first_update", "last_update", "median_interval", "p90_interval", "age",
        "overdue", "grade",
    ] == list(frame.columns)  # fmt: skip
    assert [
        ("team/app", None, "repository", 6, at(1), at(20), days(2), days(10), days(4), 2.0, "A"),
        ("team/app", "latest", "moving", 5, at(1), at(18), days(2), days(10), days(6), 3.0, "A"),
        ("team/app", "once", "moving", 1, at(20), at(20), None, None, days(4), None, "A"),
    ] == rows(frame)


def test_a_release_is_what_is_pushed_for_the_first_time_less_than_an_hour_apart(stats_of):
    """1.2.3, 1.2 and latest are one release; so are tags per platform; a rollback is none."""
    first, second = at(1), at(10)
    stats = stats_of(
        *(make_push(tag=tag, digest=A, at=first) for tag in ("1.2.3", "1.2", "latest")),
        make_push(tag="1.2.3-arm", digest=B, at=first + timedelta(minutes=59)),
        make_push(tag="1.2.3-s390x", digest=C, at=first + timedelta(minutes=118)),
        make_push(tag="latest", digest=D, at=second),
        make_push(tag="latest", digest=A, at=at(11)),
    )
    (row,) = rows(stats.cadence().query("kind == 'repository'")[["updates", "first_update", "last_update", "age"]])
    assert (2, first, second, days(14)) == row


@pytest.mark.parametrize(("minutes", "expected"), [(59, 1), (60, 2)])
def test_an_hour_apart_is_two_releases(stats_of, minutes, expected):
    """Less than an hour is one."""
    stats = stats_of(*releases(at(1), at(1) + timedelta(minutes=minutes)))
    assert [expected, 2] == list(stats.cadence()["updates"])


def test_what_was_released_before_the_window_is_no_release_in_it(stats_of):
    """A manifest is new once."""
    stats = stats_of(make_push(tag="a", digest=A, at=at(1)), make_push(tag="b", digest=A, at=at(10)))
    assert [("b", "moving", 1)] == rows(stats.cadence(since=at(5))[["tag", "kind", "updates"]])


IMMUTABLE = (
    "1.2.3 v1.2.3 1.2.3-rc.1 v1.2.3-alpine3.20 1.2.3.4 2026-11-24 20261124 nightly-20261124 nightly-2026-11-24 "
    "2026-11-24T1200 3f43b61 main-3f43b61 sha-3f43b61 sha3f43b61 v1.2-5-g3f43b61"
).split()
MOVING = (
    "latest 1 1.2 v1 v1.2 main stable-alpine 1.2-alpine 2026 2026-11 edge facade release 3.20 jdk-21 12345678 deadbeef "
    "bookworm-20269999 1.2.x"
).split()


@pytest.mark.parametrize(
    ("tag", "kind"), [*((tag, "immutable") for tag in IMMUTABLE), *((tag, "moving") for tag in MOVING)]
)
def test_kinds_of_tags(stats_of, tag, kind):
    """Named after one build, or not."""
    stats = stats_of(*releases(at(1), at(2), tag=tag))
    (row,) = rows(stats.cadence(tag=tag).query("kind != 'repository'")[["kind", "grade", "overdue"]])
    assert kind == row[0]
    assert (kind == "immutable") == (row[1] is None) == (row[2] is None)


@pytest.mark.parametrize(
    ("ages", "grade"),
    [
        # The days before now at which it was updated. Expected is the p90 interval, 10 days here …
        ([30, 20, 10], "A"), ([31, 21, 11], "B"), ([40, 30, 20], "B"), ([41, 31, 21], "C"), ([60, 50, 40], "C"),
        ([61, 51, 41], "D"), ([100, 90, 80], "D"), ([101, 91, 81], "E"), ([180, 170, 160], "E"), ([181, 171, 161], "F"),
        # … at least a week …
        ([9, 8, 7], "A"), ([10, 9, 8], "B"),
        # … at most 90 days …
        ([490, 290, 90], "A"), ([491, 291, 91], "B"),
        # … and 90 days after less than three updates.
        ([91, 90], "A"), ([92, 91], "B"), ([90], "A"), ([720], "D"), ([1000], "E"), ([1441], "F"),
    ],
)  # fmt: skip
def test_grades(stats_of, ages, grade):
    """How long ago the last update was, compared with the interval that is expected."""
    stats = stats_of(*releases(*(NOW - days(age) for age in ages)))
    assert [grade, grade] == list(stats.cadence()["grade"])


def test_cadence_leaves_signatures_out(stats_of):
    """And what is pushed without a tag."""
    signature = "sha256-" + "a" * 64
    stats = stats_of(*(make_push(tag=tag, digest=A) for tag in (signature, signature + ".sig", None)))
    assert [] == rows(stats.cadence())


# Tags: the same, tag by tag.


def test_tags(stats_of):
    """One row for each, the most pulled first; what it points to; pulls by digest have no tag."""
    stats = stats_of(
        make_push(tag="latest", digest=A, at=at(1), actor="ci"),
        make_push(tag="latest", digest=B, at=at(2), actor="ci"),
        make_push(tag="1.0", digest=B, at=at(2), actor="ci"),
        make_push(tag="1.0", digest=B, at=at(3), actor="bob"),
        make_event(tag="latest", digest=B, at=at(4)),
        make_event(tag="latest", digest=B, at=at(5)),
        make_event(tag="latest", digest=B, at=at(5), addr="192.0.2.8:1"),
        *(make_event(tag=None, digest=digest, media_type=BLOB, at=at(5)) for digest in (C, D)),
        make_event(tag="latest", digest=B, at=at(6), actor="carol", method="HEAD"),
        make_event(tag=None, digest=B, at=at(6)),
    )
    frame = stats.tags()
    assert [
        "repository", "tag", "digest", "pulls", "downloads", "version_checks", "pushes", "updates", "actors", "pullers",
        "first_pull", "last_pull", "first_push", "last_push",
    ] == list(frame.columns)  # fmt: skip
    assert [
        ("team/app", "latest", B, 3, 1, 1, 2, 2, 3, 2, at(4), at(5), at(1), at(2)),
        ("team/app", None, None, 1, 0, 0, 0, 0, 1, 1, at(6), at(6), None, None),
        ("team/app", "1.0", B, 0, 0, 0, 2, 1, 2, 0, None, None, at(2), at(3)),
    ] == rows(frame)


def test_what_a_tag_points_to_at_the_end_of_the_window(stats_of):
    """Whoever moved it; nothing if it was deleted, and where no push is known what it gave last."""
    stats = stats_of(
        make_push(tag="moved", digest=A, at=at(1)),
        make_event(tag="moved", digest=A, at=at(2)),
        make_push(tag="moved", digest=B, at=at(5), actor="ci"),
        make_push(tag="gone", digest=C, at=at(1)),
        *delete_of_manifest(C, at=at(3)),
        make_event(tag="unknown", digest=A, at=at(1)),
        make_event(tag="unknown", digest=D, at=at(2)),
    )
    assert {"moved": B, "gone": None, "unknown": D} == dict(rows(stats.tags()[["tag", "digest"]]))
    assert {"moved": A, "gone": C, "unknown": D} == dict(rows(stats.tags(until=at(3))[["tag", "digest"]]))
    assert {"moved": B, "gone": None, "unknown": D} == dict(rows(stats.tags(actor="alice")[["tag", "digest"]]))


def test_what_a_tag_points_to_at_each_source(store):
    """Two registries may have a repository of one name."""
    journalled(store, envelope(make_push(digest=A, at=at(1))), source="one")
    journalled(store, envelope(make_push(digest=B, at=at(2))), source="two")
    frame = Stats(store.root, now=NOW).tags(by="source")
    assert {"one": A, "two": B} == dict(rows(frame[["source", "digest"]]))


# Top: a leaderboard.


def test_top(stats_of):
    """Equal measures have equal ranks; share is of all, and change compares with as long a time before."""
    pulls = {("a", 20): 4, ("a", 10): 2, ("b", 20): 1, ("b", 10): 4, ("c", 21): 1, ("d", 10): 3}
    stats = stats_of(
        *(make_event(repository=name, at=at(day, 12, n)) for (name, day), times in pulls.items() for n in range(times))
    )
    frame = stats.top(since=at(15), until=at(22))
    assert ["rank", "repository", "pulls", "share", "before", "change"] == list(frame.columns)
    assert [("a", 6, 0.4), ("b", 5, 5 / 15), ("d", 3, 0.2), ("c", 1, 1 / 15)] == rows(
        stats.top()[["repository", "pulls", "share"]]
    )
    assert [(1, "a", 4, 4 / 6, 2.0, 1.0), (2, "b", 1, 1 / 6, 4.0, -0.75), (2, "c", 1, 1 / 6, 0.0, None)] == rows(frame)
    assert [(1, None, None)] == rows(stats.top(limit=1)[["rank", "before", "change"]])


def test_the_window_before_is_half_open_too(stats_of):
    """As long as the one that is asked for, and up to its start."""
    stats = stats_of(*(make_event(at=time) for time in (at(10), at(11, 11, 59), at(12), at(13, 23), at(14))))
    assert [(2, 2)] == rows(stats.top(since=at(12), until=at(14))[["pulls", "before"]])


@pytest.mark.parametrize(
    ("measure", "expected"),
    [
        ("pulls", {"alice": 2}),
        ("downloads", {"alice": 1}),
        ("version_checks", {"bob": 1}),
        ("requests", {"alice": 3, "bob": 1}),
        ("pushes", {"bob": 2, "ci": 1}),
        ("updates", {"ci": 1}),
        ("deletes", {"bob": 1}),
    ],
)
def test_top_by_each_measure(stats_of, measure, expected):
    """Who has none of it is not in it."""
    stats = stats_of(
        make_push(at=at(1), actor="ci"),
        make_push(at=at(2), actor="bob"),
        make_push(at=at(2), actor="bob"),
        make_event(at=at(3), method="HEAD"),
        make_event(at=at(3), tag=None),
        *(make_event(at=at(3), tag=None, digest=digest, media_type=BLOB) for digest in (C, D)),
        make_event(at=at(4)),
        make_event(at=at(4), method="HEAD", actor="bob"),
        *delete_of_manifest(A, tags=["1.0", "2.0"], at=at(5), actor="bob"),
    )
    frame = stats.top(measure=measure, by="actor")
    assert expected == dict(rows(frame[["actor", measure]]))
    assert sorted(expected.values(), reverse=True) == list(frame[measure])


def test_deletes_count_alike_everywhere(stats_of):
    """One for a request, also where only one of several tags that went with it is asked for."""
    stats = stats_of(
        *(make_push(tag=tag, at=at(1)) for tag in ("1.0", "2.0")), *delete_of_manifest(A, tags=["1.0", "2.0"], at=at(5))
    )
    for tag in ("1.0", "2.0", "*"):
        assert [1] == list(stats.top(measure="deletes", tag=tag)["deletes"])
        assert [1] == list(stats.pushes(interval="total", tag=tag)["deletes"])
    assert [1, 1] == list(stats.top(measure="deletes", by="tag")["deletes"])


def test_everybody_without_a_name_is_one(stats_of):
    """And first among equals."""
    stats = stats_of(make_event(actor=None), make_event(actor=None), make_event(actor="alice"), make_event(actor="bob"))
    assert [(1, None, 2), (2, "alice", 1), (2, "bob", 1)] == rows(stats.top(by="actor")[["rank", "actor", "pulls"]])


# Usage, clients: who pulls, and with what.


def test_usage(stats_of):
    """One row per actor and repository, the most pulled first; a version check and a push are no usage."""
    stats = stats_of(
        make_event(repository="a", at=at(1)),
        make_event(repository="a", at=at(2)),
        *(make_event(repository="a", at=at(2), tag=None, digest=d, media_type=BLOB) for d in (C, D)),
        make_event(repository="b", at=at(3), actor=None),
        make_event(repository="b", at=at(3), actor="bob", method="HEAD"),
        make_push(repository="b", at=at(3), actor="carol"),
    )
    frame = stats.usage()
    assert ["actor", "repository", "pulls", "downloads", "last_pull"] == list(frame.columns)
    assert [("alice", "a", 2, 1, at(2)), (None, "b", 1, 0, at(3))] == rows(frame)


def test_clients(stats_of):
    """One row per program and version, the most used first; what is not known is missing."""
    stats = stats_of(
        make_event(at=at(1), user_agent="docker/27.1 go/1"),
        make_event(at=at(2), user_agent="docker/27.1 go/2", actor="bob"),
        make_event(at=at(3), user_agent="docker/27.1 go/2", actor="bob", addr="192.0.2.8:1", method="HEAD"),
        make_event(at=at(4), user_agent="docker/28"),
        make_event(at=at(5), user_agent=None, actor=None, method="HEAD"),
        make_push(at=at(6), user_agent="buildkit/0.9"),
    )
    frame = stats.clients()
    assert [
        "client", "client_version", "pulls", "downloads", "version_checks", "actors", "pullers", "last_seen"
    ] == list(frame.columns)  # fmt: skip
    assert [
        ("docker", "27.1", 2, 0, 1, 2, 3, at(3)),
        ("docker", "28", 1, 0, 0, 1, 1, at(4)),
        (None, None, 0, 0, 1, 0, 1, at(5)),
    ] == rows(frame)


# Adoption: how fast clients move to a new digest, and who still pulls the old one.


def pulled(puller, digest, time, *, tag="latest", **changes):
    """By somebody at an address of its own."""
    return make_event(tag=tag, digest=digest, at=time, actor=puller, addr=f"192.0.2.{ord(puller[0])}:1", **changes)


def update(digest, time, *, tag="latest", **changes):
    return make_push(tag=tag, digest=digest, at=time, actor="ci", **changes)


ADOPTED = ["digest", "pullers", "share", "time_to_50", "time_to_90", "last_old_pull"]


def test_adoption(stats_of):
    """One row per update: its pullers, and when so many of them had pulled what is new."""
    stats = stats_of(
        update(A, at(1)),
        *(pulled(who, A, at(2)) for who in ("a", "b", "c", "d")),
        update(B, at(10)),
        pulled("a", B, at(10, 13)),
        pulled("b", B, at(12)),
        pulled("b", B, at(13)),
        pulled("c", A, at(14), tag=None),
        pulled("c", B, at(15)),
        pulled("e", B, at(16)),
    )
    frame = stats.adoption()
    assert [
        "repository", "tag", "digest", "pushed_at", "pullers", "share", "time_to_50", "time_to_90", "last_old_pull"
    ] == list(frame.columns)  # fmt: skip
    hours = timedelta(hours=1)
    assert [
        ("team/app", "latest", A, at(1), 4, 1.0, 24 * hours, 24 * hours, None),
        ("team/app", "latest", B, at(10), 5, 0.8, days(5), None, at(14)),
    ] == rows(frame)


def test_half_and_nine_in_ten(stats_of):
    """Reached with the first of them that makes it so many."""
    pullers = "abcdefghij"
    stats = stats_of(
        update(A, at(1)), *(pulled(who, A, at(1) + timedelta(hours=n)) for n, who in enumerate(pullers, start=1))
    )
    assert [(10, 1.0, timedelta(hours=5), timedelta(hours=9))] == rows(
        stats.adoption()[["pullers", "share", "time_to_50", "time_to_90"]]
    )


@pytest.mark.parametrize(("age", "expected"), [(days(30), 2), (days(30) + timedelta(seconds=1), 1)])
def test_who_has_not_been_seen_for_30_days_is_no_puller_any_more(stats_of, age, expected):
    """Of a tag that was pulled before that alone."""
    stats = stats_of(
        update(A, at(10) - days(60)), pulled("a", A, at(10) - age), update(B, at(10)), pulled("b", B, at(11))
    )
    assert expected == rows(stats.adoption(since=at(10))[["pullers"]])[0][0]


def test_who_checks_is_a_puller_who_has_not_moved(stats_of):
    """Who asks for the tag is one, by pull or check; only a pull moves."""
    stats = stats_of(update(A, at(1)), pulled("a", A, at(2), method="HEAD"), pulled("b", A, at(3)))
    assert [(A, 2, 0.5, days(2), None, None)] == rows(stats.adoption()[ADOPTED])


def test_a_tag_that_was_pulled_before_anything_is_known_of_it(stats_of):
    """Its pullers are known all the same."""
    stats = stats_of(pulled("a", A, at(1)), pulled("b", A, at(1)), update(B, at(5)), pulled("a", B, at(6)))
    assert [(B, 2, 0.5, days(1), None, None)] == rows(stats.adoption()[ADOPTED])


def test_who_still_pulls_the_old_one(stats_of):
    """By actor and address a share of 0 is who has not moved."""
    stats = stats_of(
        update(A, at(1)),
        *(pulled(who, A, at(2)) for who in ("a", "b")),
        update(B, at(10)),
        pulled("a", B, at(11)),
        pulled("b", A, at(20), tag=None),
    )
    frame = stats.adoption(since=at(9), by=["actor", "client_address"])
    assert ["repository", "tag", "digest", "pushed_at", "actor", "client_address", "pullers"] == list(frame.columns[:7])
    assert [("a", "192.0.2.97", 1, 1.0, days(1), None), ("b", "192.0.2.98", 1, 0.0, None, at(20))] == rows(
        frame[["actor", "client_address", "pullers", "share", "time_to_50", "last_old_pull"]]
    )


def test_everybody_without_a_name_comes_first(stats_of):
    """As in every metric."""
    stats = stats_of(update(A, at(1)), make_event(tag="latest", digest=A, actor=None, at=at(2)), pulled("a", A, at(2)))
    assert [(None,), ("a",)] == rows(stats.adoption(by="actor")[["actor"]])


def test_adoption_over_time(stats_of):
    """With an interval, a row for each period in which somebody moved: the share at its end."""
    stats = stats_of(
        update(A, at(1)),
        *(pulled(who, A, at(2)) for who in ("a", "b", "c", "d")),
        update(B, at(10)),
        *(pulled(who, B, time) for who, time in (("a", at(10, 13)), ("b", at(10, 14)), ("c", at(12)), ("d", at(15)))),
    )
    frame = stats.adoption(interval="day", since=at(9))
    assert "period" == frame.columns[0]
    assert [(10, 4, 0.5), (12, 4, 0.75), (15, 4, 1.0)] == rows(
        frame.assign(period=frame["period"].dt.day)[["period", "pullers", "share"]]
    )
    assert [timedelta(hours=2)] * 3 == list(frame["time_to_50"])
    assert [pd.Timestamp(2026, 11, 9)] == list(stats.adoption(interval="week", since=at(9), limit=1)["period"])


def test_a_rollback_is_an_update(stats_of):
    """Who pulls the old digest again has moved to it; its time in between counts as its own."""
    stats = stats_of(
        update(A, at(1)),
        pulled("a", A, at(2)),
        update(B, at(3)),
        pulled("a", B, at(4)),
        update(A, at(5)),
        pulled("a", A, at(7)),
        pulled("b", B, at(8), tag=None),
    )
    assert [
        (A, 1, 1.0, days(1), days(1), None),
        (B, 1, 1.0, days(1), days(1), None),
        (A, 1, 1.0, days(2), days(2), at(8)),
    ] == rows(stats.adoption()[ADOPTED])


def test_after_a_rollback_the_old_one_is_what_was_there_between(stats_of):
    """What the tag points to again is not old."""
    stats = stats_of(update(A, at(1)), pulled("a", A, at(2)), update(B, at(3)), update(A, at(5)), pulled("a", A, at(7)))
    assert [(A, None), (B, None), (A, None)] == rows(stats.adoption()[["digest", "last_old_pull"]])


def test_what_does_not_move_has_no_adoption(stats_of):
    """Immutable tags, signatures, repeated pushes, and what nobody asked for."""
    stats = stats_of(
        *(update(A, at(1), tag=tag) for tag in ("1.2.3", "sha256-" + "a" * 64, "latest", "latest", "unasked")),
        *(pulled("a", A, at(2), tag=tag) for tag in ("1.2.3", "sha256-" + "a" * 64, "latest")),
    )
    assert [("latest", A)] == rows(stats.adoption()[["tag", "digest"]])


def test_adoption_of_a_tag_that_was_deleted(stats_of):
    """It ends there; made again, it is an update."""
    pulls = [pulled("a", A, at(2)), pulled("a", B, at(6))]
    stats = stats_of(update(A, at(1)), delete_of_tag("latest", at=at(3)), update(B, at(5)), *pulls)
    assert [(A, 1.0), (B, 1.0)] == rows(stats.adoption()[["digest", "share"]])


def test_a_push_does_not_adopt(stats_of):
    """Who pushes looks first; that is no pull, and neither is who is excluded a puller."""
    stats = stats_of(
        make_event(tag="latest", digest=A, method="HEAD", at=at(1), actor="ci"),
        make_push(tag="latest", digest=A, at=at(1) + timedelta(seconds=1), actor="ci"),
        pulled("p", A, at(2), user_agent="Go-http-client/1.1"),
        pulled("a", A, at(3)),
    )
    assert [1] == list(stats.adoption()["pullers"])


# Anomalies: what is out of the ordinary.

TODAY = NOW.replace(hour=0)


def traffic(pulls, *, end=TODAY, repository="team/app", people=("alice", "bob", "carol", "dave"), first="", **changes):
    """So many pulls on each day up to `end`, in turn by some people, in one delivery."""
    for ago, several in enumerate(reversed(list(pulls)), start=1):
        for number in range(several):
            yield make_event(
                repository=repository, actor=people[number % len(people)], at=end - days(ago) + number * GAP, **changes
            )  # fmt: skip


GAP = timedelta(seconds=100)
WEEK = [30, 32, 29, 31, 30, 4, 2]


def surprises(store, *events, now=NOW, **asked):
    journalled(store, envelope(*events), received_at=now)
    return Stats(store.root, now=now).anomalies(**asked)


ANOMALIES = ["kind", "repository", "actor", "at", "observed", "expected", "reason"]


def test_a_spike(store):
    """A day far above the same weekday in the weeks before; the next day of it is not told again."""
    frame = surprises(store, *traffic([*WEEK * 8, 130, 140, 29, 31]))
    assert ANOMALIES == list(frame.columns)
    reason = "130 pulls on a day; on this weekday it was 30 in the median of 8 weeks"
    assert [("spike", "team/app", None, TODAY - days(4), 130.0, 30.0, reason)] == rows(frame)


def test_a_spike_shows_on_the_same_day(store):
    """It is one already, although the day is not over."""
    frame = surprises(store, *traffic(WEEK * 8), *traffic([130], end=TODAY + days(1)))
    assert [("spike", TODAY)] == rows(frame[["kind", "at"]])


def test_a_drop(store):
    """A day far below; one that is not over is none yet."""
    week = [2 * pulls for pulls in WEEK]
    frame = surprises(store, *traffic([*week * 8, 60, 3, 59]), *traffic([1], end=TODAY + days(1)))
    reason = "3 pulls on a day; on this weekday it was 64 in the median of 8 weeks"
    assert [("drop", "team/app", None, TODAY - days(2), 3.0, 64.0, reason)] == rows(frame)


@pytest.mark.parametrize(("known", "expected"), [(27, 0), (28, 1)])
def test_four_weeks_must_be_known(store, known, expected):
    """With less nothing is compared."""
    assert expected == len(surprises(store, *traffic([*[10] * known, 100])))


HOW_FAR = {
    (0, 19): [], (0, 20): ["spike"], (25, 64): [], (25, 65): ["spike"], (400, 799): [], (400, 800): ["spike"],
    (19, 0): [], (20, 0): ["drop"], (30, 6): [], (30, 5): ["drop"], (400, 201): [], (400, 200): ["drop"],
}  # fmt: skip


@pytest.mark.parametrize(("usual", "today"), HOW_FAR)
def test_how_far_is_far(store, usual, today):
    """Six times what chance makes it, 20 pulls, and the double or half of it."""
    frame = surprises(store, *traffic([1, *[usual] * 30, today]), *traffic([1], repository="x"))
    assert HOW_FAR[usual, today] == [kind for kind in frame["kind"] if kind in ("spike", "drop")]


def test_what_varies_much_must_vary_more(store):
    """Usual is what it has been: six times the median distance from the median."""
    weeks = [20, 60, 100, 140, 180, 20, 60, 100]  # the median is 60, and 40 the median distance from it
    pulls = [weeks[day // 7] if day % 7 == 0 else 5 for day in range(56)]
    assert [] == rows(surprises(store, *traffic([*pulls, 415])))
    assert ["spike"] == list(surprises(store, *traffic([*pulls, 416], repository="b"), repository="b")["kind"])


def test_silence(store):
    """No pulls for four times as long as ever before; since the last pull, and however it ended."""
    pulls = [5, 5, 5, 5, 5, 0, 0] * 5
    frame = surprises(store, *traffic([*pulls[:-2], *[0] * 9]))
    last = TODAY - days(10) + 4 * GAP
    reason = "9 days without a pull; the longest pause was 2 days"
    assert [("silence", "team/app", None, last, 9.0, 2.0, reason)] == rows(frame)
    ended = surprises(store, *traffic([*pulls[:-2], *[0] * 9, 5, 5], repository="b"), repository="b")
    assert [("silence", 9.0)] == rows(ended[["kind", "observed"]])


@pytest.mark.parametrize(
    ("pulls", "expected"),
    [
        ([1] * 29 + [0] * 3, 0),
        ([1] * 29 + [0] * 4, 1),
        ([1] * 28 + [0] * 4, 0),
        ([1, 0, 0] * 10 + [1] + [0] * 8, 0),
        ([1, 0, 0] * 10 + [1] + [0] * 9, 1),
        ([1, 0, 0] * 9 + [0, 1] + [0] * 20, 0),
    ],
)
def test_how_long_is_silence(store, pulls, expected):
    """More than three days, more than four times the longest pause, and after ten days with pulls in four weeks."""
    assert expected == len(surprises(store, *traffic(pulls)))


def test_a_new_actor(store):
    """A name that nobody has seen; who was away for eight weeks is new again."""
    known = traffic([3] * 80)
    frame = surprises(
        store,
        *known,
        make_event(actor="mallory", at=at(20)),
        make_event(actor="mallory", at=at(20, 13), method="HEAD"),
        make_event(actor="mallory", at=at(21)),
        make_event(actor="eve", at=TODAY - days(60)),
        make_push(actor="eve", at=at(22)),
        make_event(actor=None, at=at(22)),
        since="30d",
    )
    reason = "not seen in the eight weeks before; {} actions on the first day"
    assert [
        ("new_actor", None, "eve", at(22), 1.0, 0.0, reason.format(1)),
        ("new_actor", None, "mallory", at(20), 2.0, 0.0, reason.format(2)),
    ] == rows(frame)


@pytest.mark.parametrize(("known", "expected"), [(13, 0), (14, 1)])
def test_two_weeks_must_be_known_before_a_name_is_new(store, known, expected):
    """At first everybody is."""
    newcomer = make_event(actor="mallory", at=TODAY + timedelta(hours=1))
    assert expected == len(surprises(store, *traffic([3] * known), newcomer))


def test_a_name_that_pushed_before_anybody_pulled_is_not_new(store):
    """A registry may be filled before it is used."""
    early = [make_push(actor=who, at=TODAY - days(ago)) for who, ago in (("ci", 50), ("alice", 50), ("bob", 50))]
    events = [*early, *traffic([3] * 30, people=("alice",)), make_push(actor="ci", at=TODAY - days(3))]
    assert [] == rows(surprises(store, *events))


def test_a_new_pusher(store):
    """Somebody who is known pushes where others do; to a repository of one's own is nothing."""
    frame = surprises(
        store,
        *traffic([4] * 30),
        make_push(actor="ci", at=at(1), digest=A),
        make_push(actor="alice", at=at(20), digest=B),
        make_push(actor="alice", at=at(20, 13), digest=C),
        make_push(actor="alice", at=at(21), digest=D),
        make_push(actor="bob", at=at(21), repository="team/own"),
        since="10d",
    )
    reason = "pushes to a repository that others pushed to in the eight weeks before; 2 pushes on the first day"
    assert [("new_actor", "team/app", "alice", at(20), 2.0, 0.0, reason)] == rows(frame)


def test_a_pull_loop(store):
    """One client that asks for one manifest again and again, far more than others do."""
    frame = surprises(
        store,
        *traffic([60], people=("alice",), user_agent="docker/27"),
        *traffic([6], people=("bob", "carol"), tag="2.0"),
        *traffic([50], people=("dave",), repository="alone", user_agent="odd agent", addr=None),
    )
    reason = "60 pulls of one manifest on a day by docker at 192.0.2.7; the median of 2 others is 3"
    alone = "50 pulls of one manifest on a day by other at an unknown address"
    assert [
        ("pull_loop", "alone", "dave", TODAY - days(1), 50.0, 1.0, alone),
        ("pull_loop", "team/app", "alice", TODAY - days(1), 60.0, 3.0, reason),
    ] == rows(frame)


def test_a_loop_that_goes_on_is_told_once(store):
    """Of days in a row the first one, of whatever manifest; after a day without, it is another."""
    days_ = surprises(store, *traffic([60, 70, 80, 0, 90], people=("alice",)))
    assert [(90.0, 1), (60.0, 5)] == [(row.observed, (TODAY - row.at).days) for row in days_.itertuples()]


@pytest.mark.parametrize(("pulls", "others", "expected"), [(49, 1, 0), (50, 1, 1), (50, 5, 1), (50, 6, 0), (59, 6, 0)])
def test_how_often_is_a_loop(store, pulls, others, expected):
    """Fifty times, and ten times as often as others."""
    events = [*traffic([pulls], people=("alice",)), *traffic([others], people=("bob",), tag="x")]
    assert expected == len(surprises(store, *events))


def test_anomalies_in_a_window(store):
    """What happened in it, compared with what was before it."""
    events = list(traffic([*[30] * 56, 130, *[30] * 6, 120, 30]))
    journalled(store, envelope(*events), received_at=NOW)
    stats = Stats(store.root, now=NOW)
    assert [TODAY - days(2), TODAY - days(9)] == list(stats.anomalies(repository="team/*")["at"])
    assert [TODAY - days(2)] == list(stats.anomalies(since="5d")["at"])
    assert [TODAY - days(9)] == list(stats.anomalies(until="4d")["at"])
    assert [] == list(stats.anomalies(repository="other")["at"])


def poisson(dice, mean):
    """How many times something happens that happens so often on average."""
    count, product = 0, dice.random()
    while product > 2.718281828459045**-mean:
        count, product = count + 1, product * dice.random()
    return count


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(6))
def test_steady_traffic_is_not_out_of_the_ordinary(store, seed):
    """Four months of work days and weekends, with the noise of chance, of repositories busy and hardly used."""
    dice, events = random.Random(seed), []
    for repository, mean in {"busy": 40.0, "usual": 12.0, "small": 3.0, "rare": 0.7}.items():
        pulls = [poisson(dice, mean / 5 if (TODAY - days(120 - day)).weekday() > 4 else mean) for day in range(120)]
        events += traffic(pulls, repository=repository, people=[f"user-{n}" for n in range(10)])
        events += (make_push(repository=repository, actor="ci", at=TODAY - days(ago)) for ago in range(1, 120, 7))
    assert [] == rows(surprises(store, *events))


# All metrics: what they do at the edges.

EVERY = [metric for metric in METRICS if metric != "health"]
COLUMNS = {
    "pulls": "period pulls downloads version_checks requests",
    "pushes": "period pushes updates deletes",
    "repositories": "repository pulls downloads version_checks pushes updates tags actors pullers first_pull last_pull "
    "first_push last_push",
    "tags": "repository tag digest pulls downloads version_checks pushes updates actors pullers first_pull last_pull "
    "first_push last_push",
    "top": "rank repository pulls share before change",
    "cadence": "repository tag kind updates first_update last_update median_interval p90_interval age overdue grade",
    "activity": "actor first_seen last_seen active_days pulls pushes deletes repositories addresses clients",
    "usage": "actor repository pulls downloads last_pull",
    "history": "repository tag digest since until actor client_address",
    "adoption": "repository tag digest pushed_at pullers share time_to_50 time_to_90 last_old_pull",
    "unused": "repository tag digest last_pull last_push idle_days size",
    "clients": "client client_version pulls downloads version_checks actors pullers last_seen",
    "anomalies": "kind repository actor at observed expected reason",
}
TIMES = "since until at pushed_at last_old_pull".split()
TEXTS = "repository tag digest actor kind grade client client_version client_address reason".split()
FRACTIONS = "share before change overdue observed expected".split()
DURATIONS = "median_interval p90_interval age time_to_50 time_to_90".split()


def type_of(column):
    """As it is promised."""
    if column == "period":
        return "datetime64[us]"
    if column in TIMES or column.startswith(("first_", "last_")):
        return "datetime64[us, UTC]"
    if column in DURATIONS:
        return "timedelta64[us]"
    if column == "size":
        return "Int64"
    return "str" if column in TEXTS else "float64" if column in FRACTIONS else "int64"


def types_of(frame):
    return {column: str(dtype) for column, dtype in frame.dtypes.items()}


def ask(stats, metric, **asked):
    """Whatever can be asked of it."""
    return getattr(stats, metric)(**{k: v for k, v in asked.items() if k in METRICS[metric].parameters})


@pytest.mark.parametrize("metric", EVERY)
def test_columns_and_types(store, stats_of, metric):
    """The same of an empty store, one event, an unknown repository, and when everybody is excluded."""
    expected = {column: type_of(column) for column in COLUMNS[metric].split()}
    assert expected == types_of(ask(Stats(store.root, now=NOW), metric, days=0))
    stats = stats_of(make_event())
    assert expected == types_of(ask(stats, metric, days=0))
    assert expected == types_of(ask(stats, metric, repository="nosuch", days=0))
    stats = stats_of(make_push(tag="latest"), make_event(tag="latest"), *traffic([60], people=("eve",)))
    assert expected == types_of(ask(stats, metric, days=0))
    assert len(ask(stats, metric, days=0)) > 0
    nobody = Stats(store.root, now=NOW, exclude=Exclude(clients=["*"]))
    assert expected == types_of(ask(nobody, metric, days=0))
    counted = len(ask(nobody, metric, days=0))
    assert (metric in ("history", "unused")) == (counted > 0)


@pytest.mark.parametrize("metric", [metric for metric in EVERY if "by" in METRICS[metric].parameters])
def test_columns_and_types_when_it_is_split(store, stats_of, metric):
    """By every column, and by period where it has one; empty or not."""
    by = list(METRICS[metric].dimensions)
    asked = {"by": by, "interval": "hour", "tz": "Europe/Berlin"}
    empty = ask(Stats(store.root, now=NOW), metric, **asked)
    full = ask(stats_of(make_push(tag="latest"), make_event(tag="latest")), metric, **asked)
    assert len(full) > 0
    assert types_of(full) == types_of(empty)
    assert len(full.columns) == len(set(full.columns))
    assert set(by) <= set(full.columns)
    if "interval" in METRICS[metric].parameters:
        assert ("period", "datetime64[us, Europe/Berlin]") == next(iter(types_of(full).items()))


ONE = {
    "pulls": [(pd.Timestamp(2026, 11, 24), 1, 0, 0, 1)],
    "pushes": [],
    "repositories": [("team/app", 1, 0, 0, 0, 0, 1, 1, 1, NOW, NOW, None, None)],
    "tags": [("team/app", "1.0", A, 1, 0, 0, 0, 0, 1, 1, NOW, NOW, None, None)],
    "top": [(1, "team/app", 1, 1.0, None, None)],
    "cadence": [],
    "activity": [("alice", NOW, NOW, 1, 1, 0, 0, 1, 1, 1)],
    "usage": [("alice", "team/app", 1, 0, NOW)],
    "history": [],
    "adoption": [],
    "unused": [("team/app", "1.0", A, NOW, None, 0, None)],
    "clients": [("podman", "5.23.1", 1, 0, 0, 1, 1, NOW)],
    "anomalies": [],
}


@pytest.mark.parametrize("metric", EVERY)
def test_one_pull(stats_of, metric):
    """All there is of it."""
    assert ONE[metric] == rows(ask(stats_of(make_event(digest=A)), metric, days=0))


ODD = "a'b\"; drop table events; -- $tz {where} %s \\ \x00 \N{SNOWMAN}"


@pytest.mark.parametrize("metric", EVERY)
def test_any_text_is_text(store, stats_of, metric):
    """Quotes, comments, and what stands for something in SQL, in every text parameter and in what is stored."""
    odd = ODD.replace("\x00", "")
    mine = {"repository": odd, "actor": odd, "user_agent": odd}
    stats = stats_of(
        make_push(tag=odd, at=at(20), **mine), make_event(tag=odd, at=at(21), **mine), make_event(tag="latest")
    )
    for name in ("repository", "tag", "actor", "client", "source"):
        # What nobody has used is there all the same.
        others = {odd, "team/app"} if metric == "unused" and name in ("actor", "client", "source") else {odd}
        assert set(ask(stats, metric, **{name: odd, "days": 0}).get("repository", [])) <= others
        frame = ask(stats, metric, **{name: [ODD, "' or 1=1 --", "%", "team/%"], "days": 0})
        assert [] == rows(frame) or (metric, name) in (("unused", "actor"), ("unused", "client"))
    for name in ("by", "measure", "tz", "at", "since", "until", "interval"):
        if name in METRICS[metric].parameters:
            with pytest.raises(ParameterError, match=f"^{name}=") as raised:
                ask(stats, metric, **{name: odd})
            assert len(str(raised.value)) < 400


@pytest.mark.parametrize("metric", METRICS)
def test_a_wrong_parameter_names_the_right_ones(store, metric):
    """Those of this metric, and no others."""
    with pytest.raises(ParameterError) as raised:
        getattr(Stats(store.root, now=NOW), metric)(colour="blue")
    assert f"Unknown parameter 'colour'. There are: {', '.join(METRICS[metric].parameters)}." == str(raised.value)


@pytest.mark.parametrize(
    ("metric", "asked", "message"),
    [
        ("top", {"measure": "stars"}, "measure='stars' is not one of: pulls, downloads, version_checks, requests"),
        ("tags", {"by": "digest"}, "by='digest' is not one of: source, repository, tag, media_type, actor"),
        ("adoption", {"by": "repository"}, "by='repository' is not one of: actor, client, client_version"),
        ("unused", {"days": -1}, "days=-1 is not a number of days; it must be 0 or more."),
        ("unused", {"days": "x"}, "days='x' is not a number of days"),
        ("unused", {"days": True}, "days=True is not a number of days"),
        ("unused", {"since": "30d"}, "Unknown parameter 'since'"),
        ("history", {"at": "soon"}, "at='soon' is not a time"),
        ("history", {"days": 5}, "Unknown parameter 'days'"),
        ("cadence", {"interval": "day"}, "Unknown parameter 'interval'"),
        ("pulls", {"limit": True}, "limit=True is not a number of rows"),
        ("pulls", {"interval": "year"}, "interval='year' is not one of: hour, day, week, month, total"),
    ],
)
def test_a_wrong_value_is_said(store, metric, asked, message):
    """What is wrong, and what would be right."""
    with pytest.raises(ParameterError, match=re.escape(message)):
        getattr(Stats(store.root, now=NOW), metric)(**asked)


@pytest.mark.parametrize("metric", EVERY)
def test_a_window_that_is_empty_or_turned_around(stats_of, metric):
    """Is one in which nothing happened."""
    stats = stats_of(make_push(tag="latest", at=at(10)), make_event(tag="latest", at=at(20)))
    for since, until in ((at(15), at(15)), (at(18), at(12)), ("2999-01-01", None), ("2999-01-01", "3000-01-01")):
        frame = ask(stats, metric, since=since, until=until, days=90)
        assert {column: type_of(column) for column in COLUMNS[metric].split()} == types_of(frame)
        assert metric == "history" or [] == rows(frame)


@pytest.mark.parametrize(
    ("moment", "tz", "day", "week", "month"),
    [
        ("2026-10-24T22:30", "Europe/Berlin", "2026-10-25", "2026-10-19", "2026-10-01"),  # the day has 25 hours
        ("2026-10-25T22:59:59", "Europe/Berlin", "2026-10-25", "2026-10-19", "2026-10-01"),
        ("2026-10-25T23:00", "Europe/Berlin", "2026-10-26", "2026-10-26", "2026-10-01"),
        ("2026-03-29T21:59:59", "Europe/Berlin", "2026-03-29", "2026-03-23", "2026-03-01"),  # 23 hours
        ("2026-03-29T22:00", "Europe/Berlin", "2026-03-30", "2026-03-30", "2026-03-01"),
        ("2024-02-29T12:00", "UTC", "2024-02-29", "2024-02-26", "2024-02-01"),
        ("2024-02-29T23:30", "Europe/Berlin", "2024-03-01", "2024-02-26", "2024-03-01"),
        ("2024-12-31T23:30", "Europe/Berlin", "2025-01-01", "2024-12-30", "2025-01-01"),
        ("2025-12-31T23:59:59.999999", "UTC", "2025-12-31", "2025-12-29", "2025-12-01"),
        ("2026-01-01T00:00", "UTC", "2026-01-01", "2025-12-29", "2026-01-01"),
        ("2026-09-06T03:30", "America/Santiago", "2026-09-05", "2026-08-31", "2026-09-01"),
        ("2026-09-06T04:30", "America/Santiago", "2026-09-06", "2026-08-31", "2026-09-01"),  # it begins at one o'clock
    ],
)
def test_periods(store, moment, tz, day, week, month):
    """Days of 23 and 25 hours, leap days, the turn of the year; of every metric that has periods."""
    when = datetime.fromisoformat(moment).replace(tzinfo=UTC)
    journalled(
        store,
        envelope(make_push(tag="latest", at=when), make_event(tag="latest", at=when)),
        received_at=when,
    )
    stats = Stats(store.root, now=when)
    for metric in EVERY:
        if "interval" in METRICS[metric].parameters:
            for interval, expected in (("day", day), ("week", week), ("month", month)):
                frame = ask(stats, metric, interval=interval, tz=tz)
                assert {pd.Timestamp(expected)} == set(frame["period"]), metric


# Series: a row for every period.


def test_gaps_are_filled_with_zeros(stats_of):
    """From the start of the window to its end, or now; for every group that occurs in it, and no other."""
    stats = stats_of(
        make_event(at=at(20), actor="alice"), make_event(at=at(22), actor=None), make_event(at=at(10), actor="carol")
    )
    frame = stats.pulls(since=at(19, 23), by="actor")
    assert [(day, who) for day in range(19, 25) for who in (None, "alice")] == [
        (period.day, who) for period, who in rows(frame[["period", "actor"]])
    ]
    pulled_ = {(row[0].day, row[1]): row[2] for row in rows(frame) if row[2]}
    assert {(20, "alice"): 1, (22, None): 1} == pulled_
    assert "int64" == str(frame["pulls"].dtype)
    assert [10, 20, 22] == list(stats.pulls().query("pulls > 0")["period"].dt.day)
    assert list(range(10, 25)) == list(stats.pulls()["period"].dt.day)
    assert list(range(18, 22)) == list(stats.pulls(since=at(18), until=at(22, 0))["period"].dt.day)
    assert list(range(10, 13)) == list(stats.pulls(until=at(12, 1)).head(3)["period"].dt.day)
    assert [10, 11] == list(stats.pulls(limit=2)["period"].dt.day)
    assert [(3,)] == rows(stats.pulls(interval="total")[["pulls"]])


def test_gaps_in_pushes(stats_of):
    """As in pulls; deletes have periods, too."""
    stats = stats_of(make_push(at=at(20)), delete_of_tag("1.0", at=at(22)), now=at(23))
    assert [(20, 1, 1, 0), (21, 0, 0, 0), (22, 0, 0, 1)] == rows(
        stats.pushes(until=at(23, 0)).assign(period=lambda frame: frame["period"].dt.day)
    )


@pytest.mark.parametrize(
    ("interval", "since", "until", "tz", "count"),
    [
        ("hour", "2026-10-25", "2026-10-26", "Europe/Berlin", 25),
        ("hour", "2026-03-29", "2026-03-30", "Europe/Berlin", 23),
        ("hour", "2026-04-05", "2026-04-06", "Australia/Lord_Howe", 25),
        ("day", "2026-01-01", "2027-01-01", "Europe/Berlin", 365),
        ("day", "2024-01-01", "2025-01-01", "America/Santiago", 366),
        ("day", "2026-09-01", "2026-10-01", "America/Santiago", 30),
        ("week", "2026-01-01", "2027-01-01", "UTC", 53),
        ("month", "2024-01-31", "2025-02-01", "UTC", 13),
        ("month", "2026-02-28T23:59:59", "2026-03-01T00:00:01", "UTC", 2),
    ],
)
def test_how_many_periods_a_window_has(store, interval, since, until, tz, count):
    """Hours that repeat or are left out, weeks that reach over the turn of the year."""
    middle = datetime.fromisoformat(since).replace(tzinfo=UTC) + timedelta(hours=10)
    if interval == "month" and count == 2:
        middle = datetime(2026, 3, 1, tzinfo=UTC)
    now = datetime(2030, 1, 1, tzinfo=UTC)
    journalled(store, envelope(make_event(at=middle)), received_at=now)
    frame = Stats(store.root, now=now).pulls(interval=interval, since=since, until=until, tz=tz)
    assert (count, 1) == (len(frame), frame["pulls"].sum())
    assert frame["period"].is_unique
    assert frame["period"].is_monotonic_increasing


def test_a_series_ends_now(stats_of):
    """What is still to come has no rows."""
    assert [20, 21, 22, 23, 24] == list(stats_of(make_event(at=at(20))).pulls(until="2027-01-01")["period"].dt.day)


def test_a_series_of_too_many_rows(stats_of, monkeypatch):
    """Is refused before it fills the memory, with what would be less."""
    stats = stats_of(*(make_event(actor=f"user-{n}") for n in range(5)))
    assert 5_000_000 == LARGEST
    monkeypatch.setattr("regstats.series.LARGEST", 5 * 24 * 10 - 1)
    with pytest.raises(ParameterError, match=r"1,200 rows: 5 of actor in 240 periods. Choose a longer interval"):
        stats.pulls(by="actor", interval="hour", since=NOW - days(10) + timedelta(hours=1))
    assert 240 == len(stats.pulls(interval="hour", since=NOW - days(10) + timedelta(hours=1)))
