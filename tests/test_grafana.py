"""The dashboard for Grafana: what it asks for is there."""

import json
import re

import pytest
from click.testing import CliRunner
from makers import NOW, envelope, journalled, make_event
from prometheus_client.parser import text_string_to_metric_families

from regstats import monitoring
from regstats.app import create_app
from regstats.cli import main
from regstats.config import Settings
from regstats.journal import Journal
from regstats.upkeep import Upkeep

DASHBOARD = json.loads(CliRunner().invoke(main, ["config", "grafana"]).stdout)
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
OF_TARGETS = {"job", "instance"}
"""Labels that Prometheus adds."""


def expressions():
    """All that is asked of Prometheus."""
    yield from (variable["query"]["query"] for variable in variables() if variable["type"] == "query")
    yield from (target["expr"] for panel in PANELS for target in panel["targets"])


def variables():
    return DASHBOARD["templating"]["list"]


@pytest.fixture
def exported(store, monkeypatch, tmp_path):
    """The labels of each metric that a collector exports."""
    monkeypatch.setattr(monitoring, "_directory", lambda: str(tmp_path))
    monkeypatch.setattr(monitoring, "numbers", lambda: monitoring.REGISTRY)
    settings = Settings(data=str(store.root), max_body=10_000)
    client = create_app(settings, Journal(store.journal), lambda: NOW).test_client()
    client.post("/events", data=envelope(make_event()))
    client.post("/events", data=bytes(10_001))
    journalled(store, envelope(make_event()))
    monitoring.add_up()
    Upkeep(store, settings).report()
    families = text_string_to_metric_families(client.get("/metrics").text)
    return {sample.name: {*sample.labels} for family in families for sample in family.samples}


@pytest.mark.parametrize("asked", sorted(set(expressions())))
def test_what_is_asked_for_is_exported(exported, asked):
    """Each metric under its name, with the labels that it is chosen and grouped by."""
    metrics = re.findall(r"(regstats_\w+)(?:{([^}]*)})?", asked)
    assert metrics
    grouped = {label for labels in re.findall(r"(?:by|on) \(([\w, ]+)\)", asked) for label in labels.split(", ")}
    for name, matchers in metrics:
        assert name in exported
        assert {*re.findall(r"(\w+)=", matchers), *grouped} <= exported[name] | OF_TARGETS


@pytest.mark.parametrize("asked", sorted({target["expr"] for panel in PANELS for target in panel["targets"]}))
def test_of_counters_it_is_asked_how_they_grow(asked):
    """They start anew with their collector. Of everything else it is asked how it is."""
    for function, name, window in re.findall(r"(\w*)\(?(regstats_\w+){[^}]*}(\[.*?\])?", asked):
        grows = name.endswith(("_total", "_bucket"))
        assert (grows, grows) == (function in ("rate", "increase"), window in ("[$__range]", "[$__rate_interval]"))


def test_all_variables_are_there():
    """Those that are in use, and Grafana's own."""
    used = {*re.findall(r"\$\{?(\w+)", json.dumps([PANELS, variables()]))}
    assert {variable["name"] for variable in variables()} == used - {"__all", "__range", "__rate_interval"}


def test_every_panel_says_what_it_shows():
    """Under a title and number of its own, in a unit, from the data source that was chosen."""
    assert len(DASHBOARD["panels"]) == len({panel["id"] for panel in DASHBOARD["panels"]})
    assert len(DASHBOARD["panels"]) == len({panel["title"] for panel in DASHBOARD["panels"]})
    for panel in PANELS:
        assert panel["description"].endswith(".")
        assert panel["fieldConfig"]["defaults"]["unit"]
        assert {"${datasource}"} == {asked["datasource"]["uid"] for asked in (panel, *panel["targets"])}


def test_panels_have_their_places():
    """None is on another or over the edge, and no place is left empty."""
    taken = [place for panel in DASHBOARD["panels"] for place in places(**panel["gridPos"])]
    assert len(taken) == len({*taken})
    height = 1 + max(y for _, y in taken)
    assert {(x, y) for x in range(24) for y in range(height)} == {*taken}


def places(x, y, w, h):
    return [(x + right, y + down) for right in range(w) for down in range(h)]
