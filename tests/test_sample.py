import pytest

from regstats import sample
from regstats.stats import Stats
from regstats.store import Store


def committed():
    return Stats(sample.path())


@pytest.mark.slow
def test_the_committed_sample_is_what_the_generator_makes(tmp_path):
    """Byte for byte in what was received, and so in every number."""
    sample.write(tmp_path / "again")
    query = "from {} order by all"
    for view in ("deliveries", "events"):
        old, new = (
            stats.sql(query.format(view)).to_arrow_table() for stats in (committed(), Stats(tmp_path / "again"))
        )
        assert old.equals(new), view


def test_the_sample_is_rich_and_small():
    """Enough to see something, and under a megabyte."""
    query = """
        select count(*), count(distinct repository), count(distinct tag), count(distinct actor), count(distinct client),
               count(distinct action), count(distinct kind)
        from events
    """
    events, repositories, tags, actors, clients, actions, kinds = committed().sql(query).fetchall()[0]
    assert events >= 2000
    assert min(repositories, tags, actors) >= 8
    assert clients >= 5
    assert (3, 5) == (actions, kinds)
    assert sum(path.stat().st_size for path in sample.path().rglob("*") if path.is_file()) < 1_000_000


def test_the_sample_shows_what_the_collector_copes_with():
    """Deliveries that came twice, and one that is no notification."""
    deliveries = committed().sql("select count(*) from deliveries").fetchall()[0][0]
    events = committed().sql("select count(*) from events").fetchall()[0][0]
    assert (4, 1) == (deliveries - events, len(committed().quarantine()))


@pytest.mark.slow
def test_another_seed_is_another_day():
    """Nothing is drawn from the clock or the system."""
    assert sample.day() == sample.day()
    assert sample.day(1) != sample.day(2)


def test_the_sample_is_a_whole_store():
    """Nothing left in a journal, and every part there."""
    store = Store(sample.path())
    assert not store.journal.exists()
    assert all(sample.path().joinpath(part.path).is_file() for part in store.manifest().parts)
