"""One name in every place: each metric as method, SQL, command, route, chart and heading, with the same parameters."""

import re
from importlib import resources
from pathlib import Path

import pytest
from asking import reader
from click.testing import CliRunner

from regstats import charts
from regstats.cli import main
from regstats.metrics import METRICS
from regstats.parameters import HELP, Parameters
from regstats.stats import Stats

README = (Path(__file__).parents[1] / "README.md").read_text()
NOT_METRICS = {"arrived", "deployments", "tagged", "tips"}
NOT_METRICS |= {"quarantine", "span", "completion", "recent", "latest", "place", "chargeback"}
"""Questions about the store, or about more than the registry."""


@pytest.mark.parametrize("metric", METRICS)
def test_a_method_with_its_question(metric):
    """The first line of its docstring."""
    assert METRICS[metric].question == getattr(Stats, metric).__doc__.partition("?")[0] + "?"


@pytest.mark.parametrize("metric", METRICS)
def test_a_command_with_its_parameters(metric):
    """All of them, and no other but where the store is and how to print it."""
    options = {parameter.name for parameter in main.commands[metric].params}
    assert {*METRICS[metric].parameters} == options & Parameters.__annotations__.keys()
    assert METRICS[metric].question in CliRunner().invoke(main, [metric, "--help"]).output


@pytest.fixture
def client(store):
    return reader(store)


@pytest.mark.parametrize("metric", METRICS)
def test_a_route_with_its_parameters(client, metric):
    """All of them, and no other but which rows and how to write them: in the document, and when it is asked."""
    described = client.get("/api/v1/openapi.json").json["paths"][f"/api/v1/{metric}"]["get"]
    named = {parameter["name"] for parameter in described["parameters"]}
    assert {*METRICS[metric].parameters, "offset", "format"} == named
    assert (metric, METRICS[metric].question) == (described["operationId"], described["summary"])
    known = {name for name in [*HELP, "offset", "format"] if "Unknown" not in _detail(client, metric, name)}
    assert named == known


def _detail(client, metric, name):
    """What is said of a parameter without a value that it can have."""
    return client.get(f"/api/v1/{metric}?{name}=").json.get("detail", "")


@pytest.mark.parametrize("metric", METRICS)
def test_a_chart(metric):
    """That takes its frame."""
    assert getattr(charts, metric).__doc__


def test_a_file_of_sql_that_begins_with_its_question():
    """And the grain, and the time zone; there is no other file."""
    files = {path.name.removesuffix(".sql"): path for path in resources.files("regstats").joinpath("sql").iterdir()}
    assert METRICS.keys() | NOT_METRICS | {"views"} == files.keys()
    for metric, asked in METRICS.items():
        text = files[metric].read_text()
        assert text.startswith(f"-- {asked.question}\n-- Grain: "), metric
        assert "Time zone: " in text.partition("\n\n")[0], metric


def test_a_heading_in_the_readme():
    """In the order of the table of metrics, which has their questions."""
    section = README.partition("\n## Metrics\n")[2].partition("\n## ")[0]
    assert list(METRICS) == re.findall(r"^### (\w+)$", section, re.MULTILINE)
    rows = re.findall(r"^\| `(\w+)` \| ([^|]*\?) \|", section, re.MULTILINE)
    assert [(metric, asked.question) for metric, asked in METRICS.items()] == rows


def test_every_parameter_is_of_some_metric():
    """And explained."""
    assert Parameters.__annotations__.keys() == {name for asked in METRICS.values() for name in asked.parameters}
    assert Parameters.__annotations__.keys() == HELP.keys()
