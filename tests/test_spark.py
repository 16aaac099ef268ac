"""Apache Spark as the engine, as far as that can be told without it: its text, and what is said where it is missing."""

import re
import sys
from pathlib import Path

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

import regstats
from regstats.backends.sparksql import pattern, spelled
from regstats.engine import _NAMES
from regstats.errors import MissingExtraError, ParameterError
from regstats.store import Store

SQL = Path(regstats.__file__).parent / "sql"


@pytest.fixture
def place(tmp_path):
    return Store(tmp_path, create=True).root


def test_without_pyspark_it_is_said_what_to_install(place, monkeypatch):
    monkeypatch.delitem(sys.modules, "regstats.backends.spark", raising=False)
    monkeypatch.setitem(sys.modules, "pyspark.sql", None)
    with pytest.raises(MissingExtraError, match=r"This needs PySpark.*'regstats\[spark\]'"):
        regstats.open(place, engine="spark")


def test_without_java_it_is_said_what_to_install(place, monkeypatch, tmp_path):
    pytest.importorskip("pyspark")
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "nowhere"))
    with pytest.raises(MissingExtraError, match=r"Spark needs Java 17 or newer, and there is no .*nowhere/bin/java"):
        regstats.open(place, engine="spark")


@pytest.mark.parametrize("engine", ["sqlite", "", "Spark", "spark://host"])
def test_an_engine_that_there_is_not(place, engine):
    with pytest.raises(ParameterError, match=f"engine: '{engine}' is none of duckdb, spark, sc://HOST:PORT"):
        regstats.open(place, engine=engine)


def test_text_in_quotes_stays_what_it_is():
    assert ([], "select ':x varchar $x', cast(:x as string)") == spelled("select ':x varchar $x', cast($x as varchar)")
    assert ([], "select '1', 'it''s', '\\\\d' ") == spelled("select '1', 'it''s', '\\d' -- don't")


def test_a_glob_in_quotes_is_a_pattern():
    assert ([], r"select a rlike '(?s)\\Ait''s.*\\z'") == spelled("select a glob 'it''s*'")


def test_what_has_a_name_is_a_step():
    """Those that are named twice are to be made once, and what is around the whole stays around the rest."""
    named = "a as (select (1) as n), b as (select n from a where n in (1, ')'))"
    steps, rest = spelled(f"select n from (with {named} select n from b, a) as p")
    assert [("a", "select (1) as n", True), ("b", "select n from a where n in (1, ')')", False)] == steps
    assert "select n from ( select n from b, a) as p" == rest


def test_a_name_is_not_a_part_of_another():
    steps, _ = spelled("with a as (select 1), ab as (select 2 from a) select * from ab join ab as c")
    assert [("a", False), ("ab", True)] == [(step.name, step.is_needed_again) for step in steps]


@pytest.mark.parametrize(
    "text",
    [
        "with a as (select 1), b(x) as (select 2) select * from a, b",
        "with a as (select 1",
        "WITH a AS (select 1) select * from a",
        "with pulls as (select * from pulls) select * from pulls",
    ],
)
def test_what_cannot_be_taken_apart_stays_whole(text):
    """Or has the name of a view, in whose place it would be."""
    assert ([], text) == spelled(text, {"pulls"})


def test_no_step_has_the_name_of_a_view():
    """On Spark both are views, and a step would be in the place of the view."""
    texts = [path.read_text() for path in (*SQL.glob("*.sql"), *SQL.glob("views/*.sql"))]
    steps = {name for text in texts for name in re.findall(r"(?:^with|^)\s*(\w+) as \($", text, flags=re.MULTILINE)}
    assert {"accountable", "stream"} <= steps
    assert set() == steps & (_NAMES | {"events", "deliveries", "earlier", "later", "rules", "catalog"})


LETTERS = st.text("**?[[]]!-^\\ab.cé\n", max_size=6)


@given(LETTERS, LETTERS)
def test_a_pattern_matches_what_the_glob_does(glob, text):
    expected = duckdb.execute("select $text glob $glob", {"text": text, "glob": glob}).fetchone()[0]
    assert expected == bool(re.search(as_python(pattern(glob)), text))


def as_python(java):
    """Python has other words for the end of a text, and for a letter by its number."""
    letters = re.sub(r"\\x\{(\w+)\}", lambda found: re.escape(chr(int(found[1], 16))), java)
    return letters.removesuffix(r"\z") + r"\Z"
