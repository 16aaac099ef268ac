"""The sample: made by its generator, small, and whoever looks for a story in it finds it."""

import shutil
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise

import pandas as pd
import pytest

from regstats import sample
from regstats.check import check
from regstats.sample import grown
from regstats.stats import Stats
from regstats.store import Store


@pytest.fixture(scope="module")
def stats():
    return Stats(sample.path(), now=sample.NOW)


@pytest.mark.slow
@pytest.mark.usefixtures("one_database")
def test_the_committed_sample_is_what_the_generator_makes(tmp_path, stats):
    """Byte for byte in what was received, and so in every number."""
    sample.write(tmp_path / "again")
    again = Stats(tmp_path / "again", now=sample.NOW)
    for view in ("deliveries", "events", "pulls", "moves"):
        old, new = (each.sql(f"from {view} order by all").to_arrow_table() for each in (stats, again))
        assert old.equals(new), view


def test_the_sample_is_rich_and_small(stats):
    """Enough to see something, in less than three megabytes."""
    query = """
        select count(*), count(distinct repository), count(distinct tag), count(distinct actor), count(distinct client),
               count(distinct date_trunc('month', timestamp))
        from events
    """
    events, repositories, tags, actors, clients, months = stats.sql(query).fetchall()[0]
    assert events >= 10_000
    assert repositories >= 12
    assert min(tags, actors) >= 15
    assert (8, 7) <= (clients, months)
    assert sum(path.stat().st_size for path in sample.path().rglob("*") if path.is_file()) < 3_000_000


def test_every_kind_of_event_is_there(stats):
    """And what clients do in each form: heads, mounts, deletes by digest and by tag, charts, signatures."""
    actions = stats.sql("select distinct action, kind from events").fetchall()
    assert {
        ("pull", "blob"), ("pull", "index"), ("pull", "manifest"), ("push", "blob"), ("push", "index"),
        ("push", "manifest"), ("mount", "blob"), ("delete", "tag"), ("delete", "unknown"),
    } == set(actions)  # fmt: skip
    assert {"helm", "cosign", "trivy", "crane", "containerd", "docker", "podman", "skopeo"} <= {
        client for (client,) in stats.sql("select distinct client from events").fetchall()
    }
    assert stats.sql("select 1 from events where tag like 'sha256-%.sig'").fetchall()


def test_the_sample_is_a_whole_store():
    """Every part there, and nothing left: no journal, no lock, nothing that was replaced."""
    store = Store(sample.path())
    assert {} == store.manifest().retired
    paths = {part.path for part in store.manifest().parts}
    files = {str(path.relative_to(store.root)) for path in store.root.rglob("*") if path.is_file()}
    assert paths | {"manifest.json"} == files


@pytest.mark.slow
def test_all_is_well_with_it(tmp_path):
    """As `regstats check --deep` says, which wants to write, so of a copy."""
    copy = shutil.copytree(sample.path(), tmp_path / "copy")
    assert [] == check(Store(copy), sample.NOW, repair=False, deep=True)


def test_deliveries_are_kept_for_thirty_days(stats):
    """Events for all of the half-year."""
    first, last = stats.sql("select min(received_at), max(received_at) from deliveries").fetchall()[0]
    assert (date(2026, 10, 25), date(2026, 11, 23)) == (first.date(), last.date())
    assert date(2026, 5, 25) == stats.sql("select min(timestamp) from events").fetchall()[0][0].date()


def test_the_same_seed_gives_the_same_deliveries():
    """Nothing is drawn from the clock or the system."""
    assert sample.deliveries(1) == sample.deliveries(1)
    assert sample.deliveries(1) != sample.deliveries(2)


def test_a_day_of_it():
    """For whoever needs a few hundred real deliveries."""
    assert {date(2026, 10, 7)} == {delivery.received_at.date() for delivery in sample.day()}


def test_nothing_happens_where_nobody_works(stats):
    """Builds are made on working days, and few while most are away."""
    builds = stats.pushes(tag="main", actor="ci").set_index("period")["pushes"]
    assert 0 == builds[builds.index.day_of_week >= 5].sum()
    assert builds["2026-08-03":"2026-08-21"].mean() < builds["2026-09-07":"2026-09-25"].mean()


def test_the_forgotten_image(stats):
    """Every build pulls it, and nobody cares for it since carol left."""
    (row,) = stats.cadence(repository="tools/lint", tag="latest").query("tag == 'latest'").itertuples()
    assert ("F", timedelta(days=167)) == (row.grade, row.age.floor("D"))
    assert datetime(2026, 6, 12, tzinfo=UTC) > stats.activity(actor="carol")["last_seen"][0]
    assert stats.top(since="30d").query("repository == 'tools/lint'")["pulls"].iloc[0] >= 20


def test_what_is_unused_has_a_size(stats):
    """A notebook of gigabytes, old versions of a portal, branches that nobody removed."""
    frame = stats.unused(days=90)
    tagged = frame[frame["tag"].notna()].set_index(["repository", "tag"])["size"]
    assert tagged["data/notebook", "gpu"] > 5_000_000_000
    assert {"team/legacy-portal", "data/notebook", "team/web"} <= set(tagged.index.get_level_values(0))
    assert "feature-cart" in tagged["team/web"]
    assert "feature-login" not in tagged["team/web"]


def test_who_stays_behind(stats):
    """The branch office has the team/api of October, all others have moved on."""
    frame = stats.adoption(repository="team/api", tag="stable", since="20d", by=["actor", "client_address"])
    assert {"cluster": 1.0, "edge": 0.0} == dict(zip(frame["actor"], frame["share"], strict=True))
    assert frame["time_to_50"].max() - frame["time_to_50"].min() > timedelta(days=5)
    assert datetime(2026, 11, 20, tzinfo=UTC) < frame["last_old_pull"].max()


def surprises(stats):
    return {(row.kind, row.repository, row.actor): row for row in stats.anomalies().fillna("").itertuples()}


def test_what_is_out_of_the_ordinary(stats):
    """A loop, a crowd, a stranger, a service that falls silent, a new colleague; and hardly a false alarm."""
    found = surprises(stats)
    assert {
        ("pull_loop", "tools/lint", "ci"), ("spike", "tools/lint", ""), ("spike", "team/web", ""),
        ("silence", "data/reports", ""), ("new_actor", "", "svc-import"), ("new_actor", "", "workshop"),
        ("new_actor", "", "frank"), ("new_actor", "team/worker", "frank"), ("new_actor", "", "admin"),
    } == found.keys()  # fmt: skip
    assert date(2026, 11, 4) == found["new_actor", "", "svc-import"].at.date()
    assert ["203.0.113.77"] == [
        address
        for (address,) in stats.sql("select distinct client_address from pulls where actor = 'svc-import'").fetchall()
    ]


def test_the_incident(stats):
    """What was stable that afternoon, since when and until when, and who has pulled it."""
    broken, good = (
        stats.history(repository="team/api", tag="stable", at=f"2026-10-07T{at}") for at in ("14:30", "15:00")
    )
    assert timedelta(minutes=43) == (broken["until"][0] - broken["since"][0]).round("min")
    assert broken["digest"][0] != good["digest"][0]
    digests = list(stats.history(repository="team/api", tag="stable")["digest"])
    assert 2 == digests.count(good["digest"][0])
    query = "select distinct client_address from pulls where digest = $digest and actor = 'cluster'"
    assert 2 == len(stats.sql(query, digest=broken["digest"][0]).fetchall())


def test_a_tag_that_was_deleted_and_made_again(stats):
    """For a while it pointed to nothing."""
    digests = list(stats.history(repository="team/web", tag="stable", since="2026-10-01", until="2026-10-20")["digest"])
    (gone,) = (number for number, digest in enumerate(digests) if pd.isna(digest))
    assert 0 < gone < len(digests) - 1
    assert digests[gone - 1] != digests[gone + 1]


def test_releases_are_two_weeks_apart(stats):
    """But for the time when most are away."""
    frame = stats.history(repository="team/worker", tag="stable")
    gaps = [(after - before).round("D").days for before, after in pairwise(frame["since"])]
    assert {14, 42} == set(gaps)


def test_health_tells_of_the_restart(stats):
    """A gap in which deliveries were lost, a late hour, some that came twice, one that is none."""
    (row,) = stats.health().to_dict("records")
    assert {"restarts": 1, "instances": 2, "gaps": 1, "duplicates": 3, "quarantined": 1} == {
        key: row[key] for key in ("restarts", "instances", "gaps", "duplicates", "quarantined")
    }
    assert timedelta(hours=2, minutes=49) <= row["longest_gap"]
    assert timedelta(minutes=5) <= row["max_lag"]


@pytest.mark.slow
@pytest.mark.usefixtures("one_database")
def test_the_grown_company(tmp_path):
    """As many events as wanted, about; in a store that is sealed and accounted for."""
    store = Store(tmp_path, create=True)
    (*_, stored) = grown.write(store, events=15_000, length=9)
    assert stored == Stats(store.root).sql("select count(*) from events").fetchall()[0][0]
    assert 7_500 < stored < 30_000
    assert [] == list(store.journal.iterdir())
    assert {} == store.manifest().retired
    assert 9 == sum(len(part.contents) for part in store.manifest().parts if part.table == "pulls")


def test_the_grown_company_can_be_interrupted(tmp_path):
    """What is there then is a store."""
    days = grown.write(Store(tmp_path, create=True), events=10_000, length=9)
    for _ in range(4):
        next(days)
    days.close()
    assert 3 <= len(Stats(tmp_path).pulls())
