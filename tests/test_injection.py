"""SQL in what readers ask: it is text. No parameter of any metric comes into a query as anything else."""

import hashlib
from urllib.parse import quote, urlencode

import pytest
from asking import filled, reader
from makers import NOW, envelope, journalled, make_event

from regstats.config import Read
from regstats.metrics import METRICS
from regstats.parameters import FILTERS

PAYLOADS = [
    "' or 1=1 --",
    "' or '1'='1",
    "x' or true or repository glob '*",
    "'; drop table unsealed_events; --",
    "'; copy (select 1) to '/tmp/regstats-injected'; --",
    "1; attach '/tmp/regstats-injected' as x",
    '") union select 1, 2, 3 --',
    "' union select body from deliveries --",
    "(select read_text('/etc/passwd'))",
    "read_csv('/etc/passwd')",
    "1) or (1=1",
    "$since",
    "$repository_0",
    "{period}",
    "{where} or true",
    "{keys}",
    "/* */ true --",
    "a--b",
    "\\' or 1=1 --",
    "\\",
    "$$ or true $$",
    "\0",
    "a\0' or 1=1 --",
    "pulls desc; --",
    "actor, (select 1)",
    "%27 or 1=1 --",
    "\u2019 or 1=1 --",
]
LITERAL = [payload for payload in PAYLOADS if not {"*", "\\", "\0"} & {*payload}]
"""Those that mean themselves as globs."""


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A store in which nothing is named like that."""
    return filled(tmp_path_factory.mktemp("injection"))


@pytest.fixture(scope="module")
def client(data):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REGSTATS_NOW", NOW.isoformat())
        yield reader(data, read=Read(rate=0, cache=0))


def files(store):
    """What is on disk."""
    found = [path for path in store.root.rglob("*") if path.is_file()]
    return {path: hashlib.sha256(path.read_bytes()).digest() for path in found}


@pytest.fixture(scope="module")
def before(data, client):
    """What is on disk, and what every metric says."""
    return files(data), {metric: client.get(f"/api/v1/{metric}").json["data"] for metric in METRICS}


@pytest.mark.slow
@pytest.mark.parametrize("metric", METRICS)
def test_a_payload_is_wrong_or_nobody_s_name(data, client, before, metric):
    """In every parameter that there is; afterwards the store and its numbers are as before."""
    filters = [name for name in METRICS[metric].parameters if name in FILTERS]
    for position, name in enumerate(filters):
        nobody = client.get(f"/api/v1/{metric}?{name}=nosuch").json["data"]
        alone = ([payload] for payload in PAYLOADS[position :: len(FILTERS)])
        for payloads in (PAYLOADS, *alone):
            answer = client.get(f"/api/v1/{metric}?{urlencode({name: payloads}, doseq=True)}")
            assert (200, nobody) == (answer.status_code, answer.json["data"]), (name, payloads)
    for name in {*METRICS[metric].parameters, "offset", "format", "nosuch"} - {*filters}:
        for payload in PAYLOADS:
            assert 400 == client.get(f"/api/v1/{metric}?{urlencode({name: payload})}").status_code, (name, payload)
    for payload in PAYLOADS:
        answer = client.get(f"/api/v1/{metric}?{urlencode({payload: 1})}")
        assert (400, True) == (answer.status_code, "Unknown parameter" in answer.json["detail"])
    assert before[0] == files(data)
    for known in (metric, "pulls", "pushes"):
        assert before[1][known] == client.get(f"/api/v1/{known}").json["data"]


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/badge.json?repository=", {"0"}),
        ("/badge.json?repository=team/app&source=", {"0"}),
        ("/badge.json?repository=team/app&metric=updated&tag=", {"never"}),
        ("/badge.json?repository=team/app&metric=", {400}),
        ("/badge.json?repository=team/app&since=", {400}),
        ("/charts/", {404}),
        ("/recent?actor=", {"[]"}),
        ("/actors?name=", {"page"}),
        ("/repositories?name=", {"page"}),
        ("/explore/pulls?actor=", {"page"}),
    ],
)
def test_pages_and_badges_take_it_for_text_too(data, client, before, path, expected):
    """None fails, and none says more than of what is not there."""
    assert expected == {_said(client.get(path + quote(payload, safe=""))) for payload in PAYLOADS[::3]}
    assert before[0] == files(data)


def _said(answer):
    """The number of a badge, the rows of a list, that it is a page, or the status of an error."""
    if answer.status_code != 200:
        return answer.status_code
    if answer.mimetype == "text/html":
        return "page"
    return answer.json["message"] if isinstance(answer.json, dict) else str(answer.json)


def test_what_is_really_called_like_that_is_found(store):
    """As text: it, and nothing else."""
    journalled(store, envelope(*(make_event(repository=name, actor=name, tag=name) for name in LITERAL)))
    client = reader(store)
    for position, name in enumerate(LITERAL):
        column = ("repository", "actor", "tag")[position % 3]
        answer = client.get(f"/api/v1/pulls?interval=total&{urlencode({'by': column, column: name})}").json
        assert [(name, 1)] == [(row[column], row["pulls"]) for row in answer["data"]]
