"""Notebooks as reports: parameters, failures, and that the page is whole and needs nothing else, or is not there."""

import asyncio
import json
import re

import nbformat
import pytest
import zmq.asyncio
from click.testing import CliRunner
from jupyter_client.session import Session
from makers import NOW, days, make_event, make_push
from test_report import without_library

from regstats import notebook_report
from regstats.cli import main
from regstats.errors import ParameterError

EVIL = "</script><script>alert(1)</script><img src=x onerror=alert(2)>"
HIDDEN = "secret = 'code is not shown'"


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Writes a notebook of cells of code, with the parameters `data`, `since` and `limit` in the first."""
    monkeypatch.chdir(tmp_path)
    for name in ("REGSTATS_DATA", "REGSTATS_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("REGSTATS_NOW", NOW.isoformat())

    def make(*sources):
        parameters = nbformat.v4.new_code_cell("data = None\nsince = None  # from then on\nlimit = 10")
        parameters.metadata["tags"] = ["parameters"]
        cells = [nbformat.v4.new_markdown_cell("# What *is* it?"), parameters, *map(nbformat.v4.new_code_cell, sources)]
        nbformat.write(nbformat.v4.new_notebook(cells=cells), tmp_path / "own.ipynb")

    return make


@pytest.fixture
def report(store, tmp_path):
    """Runs `regstats report` on the store: its result, and the page without the library; an empty one if none is."""

    def call(*options, notebook="own.ipynb"):
        command = ["report", "--notebook", notebook, "--data", str(store.root), "--out", "page.html"]
        done = CliRunner().invoke(main, [*command, *options])
        page = tmp_path / "page.html"
        assert [] == [path.name for path in tmp_path.iterdir() if "tmp" in path.name]
        return done, without_library(page.read_text()) if page.exists() else ""

    return call


@pytest.mark.slow
def test_a_notebook_with_parameters(write, report, stats_of):
    """What was given is in force, the rest is as in the notebook; its code is not shown, and says nothing."""
    stats_of(make_event(repository="old", at=NOW - days(9)), make_event(repository="new"))
    write(
        f"import regstats; from regstats import charts; {HIDDEN}\nstats = regstats.open(data)",
        "stats.repositories(since=since, limit=limit)",
        "charts.pulls(stats.pulls())",
        "print(repr(since), repr(limit))",
    )
    done, page = report("--since", "7d", "-p", "limit=5")
    assert (0, "") == (done.exit_code, done.stderr)
    assert '<td style="text-align: left">new</td>' in page
    assert "<td>old</td>" not in page
    assert "<pre>'7d' 5" in page
    assert "<h1>What <em>is</em> it?</h1>" in page
    assert "<title>What is it?</title>" in page
    assert "with since = 7d, limit = 5." in page
    assert "Not counted: clients Go-http-client/*" in page
    assert "secret" not in page
    assert 1 == page.count("Plotly.newPlot(")
    assert [] == re.findall(r"""(?:src|href|url)\s*[=(]\s*["']?(?!data:)[a-z]+:""", page)


@pytest.mark.slow
def test_names_in_the_report_are_text(write, report, stats_of):
    """Whatever shows them: frames, relations, charts, printed text."""
    stats_of(make_event(repository=EVIL, actor=EVIL, user_agent=EVIL), make_push(repository=EVIL, tag=EVIL, actor=EVIL))
    write(
        "import regstats; from regstats import charts\nstats = regstats.open(data)",
        "stats.repositories()",
        "charts.repositories(stats.repositories())",
        "stats.sql('select repository, user_agent from events')",
        "print(stats.activity()['actor'])",
    )
    done, page = report()
    assert 0 == done.exit_code
    assert page.count("alert(1)") >= 4
    assert "<script>alert" not in page
    assert "<img src=x" not in page


@pytest.mark.slow
def test_what_controls_show_at_first_is_shown(write, report):
    """In a file nothing moves them."""
    write("from ipywidgets import interact\n@interact(n=[3, 5])\ndef show(n): return 'first of ' + str(n)")
    done, page = report()
    assert (0, "") == (done.exit_code, done.stderr)
    assert "first of 3" in page
    assert "widget" not in page


@pytest.mark.slow
def test_the_same_page_for_the_same_numbers(write, report, stats_of):
    """Byte for byte, so that it can be compared."""
    stats_of(make_event())
    write("import regstats\nregstats.charts.pulls(regstats.open().pulls())")
    first, second = report("-p", "limit=3")[1], report("-p", "limit=3")[1]
    assert "Plotly.newPlot(" in first
    assert first == second


@pytest.mark.slow
def test_a_cell_that_fails(write, report, tmp_path):
    """Is named, with its error; and the page of before stays as it was."""
    write("import regstats", "stats = regstats.open()\nstats.pulls(interval='our')")
    (tmp_path / "page.html").write_text("of before")
    done, page = report()
    assert 1 == done.exit_code
    assert (
        "regstats: The notebook own failed at cell 3 of code, `stats = regstats.open()`. "
        "ParameterError: interval='our' is not one of: hour, day, week, month, total.\n"
    ) == done.stderr
    assert "of before" == page


@pytest.mark.slow
def test_a_kernel_that_dies(write, report):
    """Ends the report."""
    write("import os; os._exit(3)")
    done, page = report()
    assert (1, "") == (done.exit_code, page)
    assert "regstats: The notebook own could not be run to its end: Kernel died" in done.stderr


def test_an_unknown_parameter_names_the_right_ones(write, report):
    """Those of the window, too, where the notebook has not got them."""
    write("1")
    done, page = report("-p", "sinc=7d")
    assert (2, "") == (done.exit_code, page)
    assert "The notebook own has no parameter 'sinc'. There are: data, since, limit." in done.stderr
    assert "no parameter 'until'" in report("--until", "7d")[0].stderr


def test_a_wrong_notebook(write, report, tmp_path):
    """Lists the right ones, or says that it is none."""
    done, page = report(notebook="overvew")
    assert (2, "") == (done.exit_code, page)
    assert "There is no notebook 'overvew'. There are: 01-overview" in done.stderr
    (tmp_path / "own.ipynb").write_text("{}")
    done, page = report()
    assert (1, "") == (done.exit_code, page)
    assert "own.ipynb is not a notebook" in done.stderr


def test_parameters_without_a_notebook():
    """Are a mistake."""
    done = CliRunner().invoke(main, ["report", "-p", "since=7d"])
    assert 2 == done.exit_code
    assert "name one with --notebook" in done.stderr


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("7d", "7d"),
        ("2026-11-01", "2026-11-01"),
        ("5", 5),
        ('"5"', "5"),
        ("null", None),
        ("None", None),
        ("true", True),
        ("['a', 'b']", ["a", "b"]),
        ('["a"]', ["a"]),
        ("team/*", "team/*"),
        ("NaN", "NaN"),
        ("a=b", "a=b"),
        ("", ""),
        ("[" * 9999, "[" * 9999),
    ],
)
def test_values_of_parameters(text, value):
    """As JSON or a Python literal, and else as text."""
    assert {"key": value} == notebook_report.parsed([f"key={text}"])


@pytest.mark.parametrize("text", ["since", "=7d", "since 7d", "a b=1"])
def test_what_is_no_parameter(text):
    """Says how one is written."""
    with pytest.raises(ParameterError, match="is no parameter; write NAME=VALUE"):
        notebook_report.parsed([text])


def test_an_answer_that_comes_while_something_is_sent():
    """Is seen at once. With jupyter_client's own shell it waits for the next one, which may never come."""

    async def answer():
        session = Session()
        with zmq.Context() as context, context.socket(zmq.ROUTER) as kernel:
            port = kernel.bind_to_random_port("tcp://127.0.0.1")
            with zmq.asyncio.Context() as ours, ours.socket(zmq.DEALER) as socket:
                socket.connect(f"tcp://127.0.0.1:{port}")
                shell = notebook_report.Shell(socket, session)
                shell.send(session.msg("execute_request"))
                client, *_ = kernel.recv_multipart()
                waiting = asyncio.ensure_future(shell.get_msg())
                await asyncio.sleep(0.1)
                session.send(kernel, "execute_reply", ident=client)
                assert zmq.Socket.shadow(socket.underlying).poll(60_000)  # it is there; this is what sending does, too
                shell.send(session.msg("comm_msg"))
                return await asyncio.wait_for(waiting, 60)

    assert "execute_reply" == asyncio.run(answer())["msg_type"]


@pytest.mark.slow
def test_whatever_kernel_is_registered(write, report, tmp_path, monkeypatch):
    """Cells are run by this interpreter, where `python3` is another one's; and with a `$` in the path of the store."""
    place = tmp_path / "jupyter" / "kernels" / "python3"
    place.mkdir(parents=True)
    spec = {"argv": ["/nosuch/python", "{connection_file}"], "display_name": "Other", "language": "python"}
    (place / "kernel.json").write_text(json.dumps(spec))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "jupyter"))
    (tmp_path / "a$HOME").mkdir()
    write("import os; os.environ['REGSTATS_DATA'].endswith('a$HOME')")
    done, page = report("--data", "a$HOME")
    assert (0, "") == (done.exit_code, done.stderr)
    assert "<pre>True</pre>" in page
