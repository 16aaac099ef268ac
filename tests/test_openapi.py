"""The OpenAPI document: valid, made of the metrics, and true: who knows nothing else can ask by it."""

import zoneinfo
from collections import Counter

import pytest
import schemathesis
from asking import reader
from hypothesis import HealthCheck, given, settings
from makers import NOW, fill
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from regstats.config import Read
from regstats.metrics import METRICS
from regstats.sealing import seal
from regstats.store import Store

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
EXAMPLES = 20
ZONES = sorted(zoneinfo.available_timezones())


@pytest.fixture(scope="module")
def app(tmp_path_factory):
    """Over a store in which there is something of everything."""
    store = Store(tmp_path_factory.mktemp("openapi") / "store", create=True)
    fill(store)
    seal(store)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REGSTATS_NOW", NOW.isoformat())
        yield reader(store, read=Read(public=["api"], rate=0)).application


@pytest.fixture(scope="module")
def schema(app):
    return schemathesis.openapi.from_wsgi("/api/v1/openapi.json", app)


def test_the_document_is_valid(schema):
    """By the schema of OpenAPI 3.1."""
    assert "3.1.0" == schema.raw_schema["openapi"]
    schema.validate()


def test_a_document_that_is_not_valid_is_seen(schema):
    """Else the test above would say nothing."""
    wrong = schemathesis.openapi.from_dict(schema.raw_schema | {"paths": {"/x": {"get": {"responses": 5}}}})
    with pytest.raises(Exception, match="5 is not of type"):
        wrong.validate()


def test_the_list_of_metrics_is_as_it_says(schema, app):
    """It has no parameters."""
    case = schema["/api/v1/"]["GET"].Case()
    case.validate_response(case.call(app=app), checks=CHECKS)


def asks(schema, app, metric, mode):
    """Asks a metric many things; the statuses of the answers, each of which is as the document says."""
    statuses = Counter()

    @settings(max_examples=EXAMPLES, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
    @given(schema[f"/api/v1/{metric}"]["GET"].as_strategy(generation_mode=mode))
    def ask(case):
        if mode is GenerationMode.POSITIVE and "tz" in (case.query or {}):
            case.query["tz"] = ZONES[sum(map(ord, case.query["tz"])) % len(ZONES)]
        response = case.call(app=app)
        case.validate_response(response, checks=CHECKS)
        statuses[response.status_code] += 1

    ask()
    return statuses


def test_it_has_every_metric_and_column(schema, app):
    """So that what is told of a row below is of something."""
    for metric in METRICS:
        answer = schema.raw_schema["paths"][f"/api/v1/{metric}"]["get"]["responses"]["200"]["content"]
        assert ["application/json", "text/csv"] == list(answer)
        row = answer["application/json"]["schema"]["properties"]["data"]["items"]["properties"]
        seen = app.test_client().get(f"/api/v1/{metric}").json["data"][0]
        assert seen.keys() <= row.keys() <= seen.keys() | {"period"}, metric
    assert {"/api/v1/", *(f"/api/v1/{name}" for name in [*METRICS, "deployments"])} == schema.raw_schema["paths"].keys()


@pytest.mark.slow
@pytest.mark.parametrize("metric", [*METRICS, "deployments"])
def test_what_the_document_allows_is_answered_as_it_says(schema, app, metric):
    """Its rows, too."""
    statuses = asks(schema, app, metric, GenerationMode.POSITIVE)
    assert EXAMPLES <= statuses.total()
    assert {200} <= statuses.keys() <= {200, 400}


@pytest.mark.slow
@pytest.mark.parametrize("metric", [*METRICS, "deployments"])
def test_what_the_document_does_not_allow_is_refused_as_it_says(schema, app, metric):
    """Whatever it is."""
    statuses = asks(schema, app, metric, GenerationMode.NEGATIVE)
    assert EXAMPLES <= statuses.total()
    assert {400} <= statuses.keys() <= {200, 400}
