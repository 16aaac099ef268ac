"""`regstats export`: all rows, in every format, however many."""

import io
import json
import subprocess
import sys

import duckdb
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from makers import NOW, days, envelope, journalled, make_event, make_push
from readers import FORMULA, cells_of, in_csv, rows_of
from test_formats import EVIL

from regstats import accounting, exports, parts
from regstats.cli import main
from regstats.config import NOBODY
from regstats.options import EXPORTED, FOR_PEOPLE, VIEWS
from regstats.sealing import seal
from regstats.stats import Stats

TEXTS = [form for form in EXPORTED if form not in (*FOR_PEOPLE, "parquet")]
KINDS = r"""
    select timestamptz '2026-11-24 10:00:00.5+01' as instant, timestamp '2026-11-24 10:00:00' as local,
      date '2026-11-24' as day, 12 as count, 1::hugeint as sum, 1.5 as amount, 0.1::double as fraction,
      'nan'::double as no_number, true as flag, [1, 2] as list, {'a': 'x,"y"'} as struct,
      interval 90 minutes as duration, blob 'x' as utf8, '\xFF'::blob as bytes, null as nothing,
      'a,"b"' as "a ""text"", too"
"""


@pytest.fixture
def export(store, tmp_path, monkeypatch):
    """What the command writes to stdout."""
    monkeypatch.setenv("REGSTATS_DATA", str(store.root))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("regstats.exports.utc_now", lambda: NOW)

    def call(*arguments):
        result = CliRunner().invoke(main, ["export", *arguments])
        assert (0, "") == (result.exit_code, result.stderr), result.output
        return result.stdout_bytes

    return call


@pytest.fixture
def filled(store):
    """A store with something in every view."""
    journalled(
        store,
        *(envelope(make_event(repository=name, at=NOW - days(day))) for name in "ab" for day in (1, 9)),
        envelope(make_push(repository="a", tag="2.0")),
        envelope(make_push(repository="a", action="delete", method="DELETE", digest=None, tag="2.0")),
    )
    return store


@pytest.mark.parametrize("view", VIEWS)
def test_every_view(export, filled, view):
    """All columns that are documented, and all rows; sealed or not, they are the same."""
    expected = Stats(filled.root).sql(f"select count(*) from {view}").fetchall()[0][0]
    rows = rows_of("jsonl", export(view, "--format", "jsonl"))
    assert (True, expected) == (expected > 0, len(rows))
    known = {
        "events": parts.EVENTS.names,
        "deliveries": parts.DELIVERIES.names,
        **{derived.table: [c for c in derived.columns if c != "date"] for derived in accounting.DERIVED},
    }
    assert known.get(view, list(rows[0])) == list(rows[0])
    assert not {"us", "date"} & set(rows[0])
    seal(filled)
    again = rows_of("jsonl", export(view, "--format", "jsonl"))
    assert sorted(map(json.dumps, rows)) == sorted(map(json.dumps, again))


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ([], 4),
        (["--repository", "a"], 2),
        (["--repository", "a,b", "--since", "2d"], 2),
        (["--until", "2d", "--repository", "b"], 1),
        (["--actor", "nobody"], 0),
        (["--limit", "3"], 3),
        (["--since", "2026-11-23T13:00", "--tz", "Europe/Berlin"], 2),
    ],
)
def test_filters(export, filled, options, expected):
    """As for metrics."""
    assert expected == len(rows_of("csv", export("pulls", *options)))


def test_deliveries_by_receipt(export, store):
    """They have no other time."""
    for day in (1, 5):
        journalled(store, b"garbage", received_at=NOW - days(day), source=f"source-{day}")
    assert ["source-1"] == [row["source"] for row in rows_of("csv", export("deliveries", "--since", "2d"))]
    assert ["source-5"] == [row["source"] for row in rows_of("csv", export("deliveries", "--source", "*5"))]


def test_who_is_excluded_is_in_events_only(export, store, tmp_path):
    """As in SQL."""
    (tmp_path / "regstats.toml").write_text('exclude.actors = ["ci"]\n')
    journalled(store, envelope(make_event(actor="ci")))
    assert [1, 0] == [len(rows_of("csv", export(view))) for view in ("events", "pulls")]


def test_values_in_text_formats(export):
    """Those of the metrics' formats."""
    (row,) = rows_of("json", export("--sql", KINDS, "--format", "json"))
    assert {
        "instant": "2026-11-24T09:00:00.500000Z",
        "local": "2026-11-24T10:00:00.000000",
        "day": "2026-11-24",
        "count": 12,
        "sum": 1,
        "amount": 1.5,
        "fraction": 0.1,
        "no_number": None,
        "flag": True,
        "list": [1, 2],
        "struct": {"a": 'x,"y"'},
        "duration": 5400.0,
        "utf8": "x",
        "bytes": "\\xFF",
        "nothing": None,
        'a "text", too': 'a,"b"',
    } == row
    texts = {name: value if isinstance(value, str) else value and json.dumps(value) for name, value in row.items()}
    texts |= {"flag": "true", "list": "[1,2]", "struct": '{"a":"x,\\"y\\""}'}
    for form in ("csv", "tsv"):
        assert [texts] == rows_of(form, export("--sql", KINDS, "--format", form))


def test_types_in_parquet(export):
    """Such as every engine reads; a sum is an integer."""
    table = pq.read_table(io.BytesIO(export("--sql", KINDS, "--format", "parquet")))
    types = {field.name: str(field.type) for field in table.schema}
    expected = {"instant": "timestamp[us, tz=UTC]", "local": "timestamp[us]", "sum": "int64", "duration": "int64"}
    assert expected == {name: types[name] for name in expected}
    assert (1, 5_400_000_000, b"\xff") == tuple(table[name][0].as_py() for name in ("sum", "duration", "bytes"))


@pytest.mark.parametrize("form", FOR_PEOPLE)
def test_a_query_for_people(export, filled, form):
    """Counts are counts, also where one is missing; whatever else there is has a text."""
    query = "select repository, count(*) as n, nullif(count(*), 2) as none from pulls group by all order by all"
    answer = export("--sql", query, "--format", form)
    assert [["repository", "n", "none"], ["a", "2", "–"], ["b", "2", "–"]] == cells_of(form, answer)  # noqa: RUF001
    export("--sql", KINDS, "--format", form)


@pytest.mark.parametrize("form", TEXTS)
def test_names_are_exact(export, store, form):
    """Whatever anybody called themselves; in CSV, behind an apostrophe if need be."""
    journalled(store, *(envelope(make_event(actor=name)) for name in EVIL))
    expected = [in_csv(name) if form == "csv" else name for name in EVIL]
    assert sorted(expected) == sorted(row["actor"] for row in rows_of(form, export("events", "--format", form)))
    rows = rows_of(form, export("--sql", "select actor from events union all select null", "--format", form))
    assert [None] == [row["actor"] for row in rows if row["actor"] not in expected]


@given(st.lists(st.text(st.characters(codec="utf-8")) | st.builds(str.__add__, st.sampled_from(FORMULA), st.text())))
def test_no_text_in_csv_is_a_formula(names):
    """It is exact, or an apostrophe is before it; whatever type has it."""
    file = io.BytesIO()
    with duckdb.connect() as connection:
        query = "select 0 as n, name, encode(name) as bytes, name::variant as any from (select unnest($1) as name)"
        exports.write(connection.sql(query, params=[names]), "csv", file)
    expected = [in_csv(name) or None for name in names]
    rows = rows_of("csv", file.getvalue())
    assert [(name, name, name) for name in expected] == [(row["name"], row["bytes"], row["any"]) for row in rows]


def test_no_name_of_a_column_in_csv_is_a_formula(export):
    """A query may take it from a repository."""
    names = [f"{begin}1" for begin in FORMULA]
    columns = ", ".join(f'1 as "{name}"' for name in names)
    assert [dict.fromkeys(map(in_csv, names), "1")] == rows_of("csv", export("--sql", f"select {columns}"))


def test_a_number_or_a_time_in_csv_is_no_formula(export):
    """Whatever its type; years before Christ are negative."""
    query = """
        select -1 as i, -1::hugeint as h, -1::bignum as n, -1.5 as d, -1.5::double as f, interval (-90) seconds as s,
          timestamp '0044-03-15 (BC) 12:00:00' as t
    """
    assert b"i,h,n,d,f,s,t\n-1,-1,-1,-1.5,-1.5,-90.0,-43-03-15T12:00:00.000000\n" == export("--sql", query)


@pytest.mark.parametrize(("form", "expected"), [("csv", b"n\n"), ("tsv", b"n\n"), ("json", b"[]\n"), ("jsonl", b"")])
def test_no_rows(export, form, expected):
    """Are an answer."""
    assert expected == export("--sql", "select 1 as n where false", "--format", form)
    assert 0 == pq.read_table(io.BytesIO(export("events", "--format", "parquet"))).num_rows


def test_the_name_of_the_file_says_the_format(export, filled, tmp_path):
    """CSV if it says nothing."""
    for name, begin in (("x.parquet", b"PAR1"), ("x.ndjson", b'{"'), ("x.json", b'[{"'), ("x", b"event_id,source")):
        assert b"" == export("events", "-o", name)
        assert (tmp_path / name).read_bytes().startswith(begin)


def test_deliveries_can_be_imported_elsewhere(export, filled, tmp_path):
    """With the times of their receipt: the numbers are the same."""
    export("deliveries", "--output", "deliveries.jsonl")
    assert 0 == CliRunner().invoke(main, ["import", "deliveries.jsonl", "--data", "other"]).exit_code
    ours, theirs = (Stats(root, now=NOW, exclude=NOBODY) for root in (filled.root, tmp_path / "other"))
    assert ours.pulls().equals(theirs.pulls())
    columns = ["deliveries", "events", "duplicates", "quarantined", "first_received", "last_received"]
    assert ours.health()[columns].equals(theirs.health()[columns])


def test_rows_are_counted(filled):
    """For those who wait."""
    counted = []
    stats = Stats(filled.root)
    for form in ("csv", "parquet"):
        exports.write(exports.of_sql(stats, "from range(300000)"), form, io.BytesIO(), counted.append)
    assert (600_000, True) == (sum(counted), max(counted) < 200_000)


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
def test_memory_does_not_follow_the_rows(store, form):
    """A million long rows are 900 MB."""
    query = "select range, repeat('x', 900) || range as text from range(1000000)"
    code = "import resource, sys; resource.setrlimit(resource.RLIMIT_DATA, (2**30, 2**30)); "
    code += "from regstats.cli import main; main(sys.argv[1:])"
    command = [sys.executable, "-c", code, "export", "--data", str(store.root), "--sql", query, "--format", form]
    done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    assert (0, b"") == (done.returncode, done.stderr)
