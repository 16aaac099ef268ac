"""What is only found by trying often: each test has a short version, and with `STRESS=1` one that takes minutes."""

import os
import random
import secrets
from pathlib import Path

import pytest
from servers import Collector, stop


def pytest_collection_modifyitems(items):
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.real)
            item.add_marker(pytest.mark.slow)


@pytest.fixture
def rng():
    """Chance. A test that failed says with which `STRESS_SEED` it is done again."""
    seed = int(os.environ.get("STRESS_SEED") or secrets.randbits(32))
    print(f"STRESS_SEED={seed}")
    return random.Random(seed)


@pytest.fixture
def often():
    """How often something is tried: the one number, or with `STRESS=1` the other."""
    return lambda short, long: long if os.environ.get("STRESS") else short


@pytest.fixture
def make_collector(tmp_path, monkeypatch):
    """Collectors that are stopped after the test. One that is killed leaves its temporary directory behind."""
    made = []
    (tmp_path / "temporary").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))

    def make(data, **settings):
        made.append(Collector(data, tmp_path / "collector.log", **settings))
        return made[-1]

    yield make
    for collector in made:
        if collector.process is not None:
            stop(collector.process)
