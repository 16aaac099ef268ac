"""Fixtures of all tests."""

import itertools
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from makers import NOW, envelope, journalled

from regstats import database
from regstats.stats import Stats
from regstats.store import Store

# How fast this machine is today says nothing about what is right.
settings.register_profile("regstats", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("regstats")


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store", create=True)


@pytest.fixture
def stats_of(store):
    """The numbers of some events, one delivery each: acknowledged, and not sealed, which is quicker."""

    def make(*events, now=NOW):
        journalled(store, *(envelope(event) for event in events))
        return Stats(store.root, now=now)

    return make


@pytest.fixture(scope="module")
def one_database():
    """One DuckDB for all upkeep, in which each connection has a schema of its own, so that it begins with nothing.

    To start one takes longer than what is asked of it here: this is for tests that do upkeep again and again.
    """
    numbers = itertools.count()

    def connect():
        connection, schema = running.cursor(), f"of_{next(numbers)}"
        connection.execute(f"create schema {schema}; use {schema}; set timezone = 'UTC'")
        return connection

    with database.connect() as running, pytest.MonkeyPatch.context() as patch:
        patch.setattr(database, "connect", connect)
        yield


@pytest.fixture
def shared():
    """Real recordings and samples that lie beside the checkout; they are others' work, so they are not in it."""
    folder = Path(__file__).parents[2] / "shared"
    if not folder.is_dir():
        pytest.skip("the recordings beside the checkout are not here")
    return folder
