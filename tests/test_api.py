"""The API over HTTP: the same answers as the library gives, in pages, and nothing wrong that is not named."""

import re
import threading
from concurrent.futures import Future
from datetime import datetime, timedelta
from functools import partial
from urllib.parse import urlencode

import msgspec
import pandas as pd
import pytest
from asking import filled, reader
from makers import NOW, fill

from regstats import answers, formats, web
from regstats.answers import Answers, Kept
from regstats.api import Page, _answered
from regstats.app import create_app
from regstats.config import Read, Settings
from regstats.errors import ParameterError
from regstats.metrics import METRICS
from regstats.sealing import seal
from regstats.stats import Stats

ENVELOPE = ["metric", "since", "until", "interval", "tz", "as_of", "excluded", "total", "limit", "offset", "data"]
ASKED = {
    "repository": [["team/*"], ["team/old", "team/app"], ["nosuch"]],
    "tag": [["1.?", "lat*"]],
    "actor": [["ci", "[!c]*"]],
    "client": [["docker"]],
    "source": [["default"], ["nosuch", "def*"]],
    "since": ["2026-11-01", "30d", "2026-11-22T12:00:00+02:00"],
    "until": ["2026-11-23", "24h"],
    "interval": ["hour", "day", "week", "month", "total"],
    "by": [["actor"], ["client", "client_version"]],
    "tz": ["Asia/Kathmandu", "America/New_York"],
    "measure": ["requests", "updates"],
    "at": ["2026-11-10", "12d"],
    "days": [0, 30],
}
"""Values of each parameter; all that a metric has are asked for, one at a time and some together."""


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return filled(tmp_path_factory.mktemp("api"))


@pytest.fixture(scope="module", autouse=True)
def present():
    """It is always the same."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REGSTATS_NOW", NOW.isoformat())
        yield


@pytest.fixture(scope="module")
def client(data):
    return reader(data)


@pytest.fixture(scope="module")
def stats(data):
    return Stats(data.root, now=NOW)


def url(metric, **asked):
    return f"/api/v1/{metric}?{urlencode(asked, doseq=True)}"


def questions(metric):
    """What is asked of a metric here."""
    known = [name for name in METRICS[metric].parameters if name in ASKED]
    yield {}
    for name in known:
        yield from ({name: value} for value in ASKED[name])
    yield {name: ASKED[name][0] for name in known if name not in ("by", "interval")}
    if "by" in known:
        yield {"by": "actor", "since": "2026-11-20", "tz": "Asia/Kathmandu"}
        yield {"by": ["actor"], "repository": ["team/app"], "limit": 3}


# The same answers


@pytest.mark.parametrize("metric", METRICS)
def test_it_says_what_the_library_says(client, stats, metric):
    """As JSON and as CSV, whatever is asked."""
    for asked in questions(metric):
        frame = getattr(stats, metric)(**asked)
        answer = client.get(url(metric, **asked, **({} if "limit" in asked else {"limit": 10_000})))
        assert (200, "application/json") == (answer.status_code, answer.mimetype), answer.text
        told = msgspec.json.decode(answer.data)
        assert msgspec.to_builtins(formats.rows(frame)) == told["data"], asked
        csv = client.get(url(metric, **asked, format="csv", **({} if "limit" in asked else {"limit": 10_000})))
        assert formats.as_csv(frame) == csv.text


@pytest.mark.parametrize("metric", METRICS)
def test_around_the_rows_is_what_was_asked(client, metric):
    """Of when, without whom, and how many there are."""
    answer = client.get(url(metric, until="2026-11-23", tz="Asia/Tokyo")).json
    assert ENVELOPE == list(answer)
    assert {
        "metric": metric, "until": "2026-11-22T15:00:00Z", "interval": METRICS[metric].interval, "tz": "Asia/Tokyo",
        "since": None, "as_of": "2026-11-24T12:00:00Z", "total": len(answer["data"]), "limit": 1000, "offset": 0,
        "excluded": {
            "clients": ["Go-http-client/*", "harbor-registry-client", "regstats/*"], "actors": [], "networks": [],
        },
    } == {name: value for name, value in answer.items() if name != "data"}  # fmt: skip


def test_columns_by_commas_or_one_by_one(client):
    """Both are usual."""
    said = [client.get(f"/api/v1/pulls?interval=total&{by}").json for by in ("by=tag,actor", "by=tag&by=actor")]
    assert said[0] == said[1]
    assert ["tag", "actor", "pulls"] == list(said[0]["data"][0])[:3]


def test_an_unknown_repository_is_no_error(client):
    """It has no rows; in CSV there are the columns."""
    answer = client.get(url("repositories", repository="nosuch"))
    assert (200, 0, []) == (answer.status_code, answer.json["total"], answer.json["data"])
    csv = client.get(url("repositories", repository="nosuch", format="csv")).text
    assert csv.startswith("repository,pulls,")
    assert 1 == csv.count("\n")


def test_numbers_times_and_what_is_missing(client):
    """Times are UTC, hours those of the zone, durations seconds, and nothing is null."""
    row = client.get(url("cadence", tag="1.0", repository="team/old")).json["data"][1]
    assert ("2026-05-08T12:00:00Z", None, 200 * 86400.0) == (row["last_update"], row["median_interval"], row["age"])
    window = {"since": "2026-11-22T11:00Z", "until": "2026-11-22T13:00Z", "tz": "Asia/Kathmandu"}
    hours = client.get(url("pulls", interval="hour", **window)).json["data"]
    assert [f"2026-11-22T{hour}:00:00+05:45" for hour in (16, 17, 18)] == [hour["period"] for hour in hours]
    assert ["2026-11-22"] == [day["period"] for day in client.get(url("pulls", **window)).json["data"]]


def test_whole_numbers_are_exact(tmp_path):
    """Also those that are no floating point numbers: sizes of images are sums."""
    exact = 2**53 + 1
    frame = pd.DataFrame({"size": pd.array([exact, None], dtype="Int64"), "pulls": [exact, 2**63 - 1]})
    frame.attrs = {"metric": "unused", "since": None, "until": None, "interval": "total", "tz": "UTC", "as_of": NOW,
                   "excluded": {}}  # fmt: skip
    with create_app(Settings(data=str(tmp_path)), None).test_request_context("/api/v1/unused"):
        text = _answered(frame, Page(10, 0, "json")).get_data(as_text=True)
    expected = '"data":[{"size":9007199254740993,"pulls":9007199254740993},{"size":null,"pulls":9223372036854775807}]}'
    assert text.endswith(expected)


def test_a_download_has_a_name(client):
    """That of its metric."""
    answer = client.get(url("pulls", format="csv"))
    assert ("text/csv", "attachment; filename=pulls.csv") == (answer.mimetype, answer.headers["Content-Disposition"])


def test_the_list_of_metrics(client):
    """With the parameters of each, all of which it takes."""
    metrics = client.get("/api/v1/").json["metrics"]
    assert [(name, METRICS[name].question) for name in METRICS] == [(m["metric"], m["question"]) for m in metrics]
    for metric in metrics:
        assert {*METRICS[metric["metric"]].parameters, "limit", "offset", "format"} == {*metric["parameters"]}
        assert 200 == client.get(metric["url"]).status_code


# Pages


def links(answer):
    """The Link header (RFC 8288) by relation."""
    found = {}
    for target, rel in re.findall(r'<([^>]*)>; rel="(\w+)"', ", ".join(answer.headers.getlist("Link"))):
        assert rel not in found
        found[rel] = target
    return found


def walked(client, start, relation):
    """All pages from one on."""
    while start:
        answer = client.get(start)
        yield answer
        start = links(answer).get(relation)


@pytest.mark.parametrize("limit", [1, 7, 30, 31, 10_000])
@pytest.mark.parametrize("asked", [{}, {"since": "25d"}, {"repository": ["team/*", 'odd "<>&\n;,\\%'], "tz": "Japan"}])
def test_following_the_links_gives_every_row_once(client, asked, limit):
    """In their order; the last page has no next one, and the way back is the same."""
    whole = client.get(url("pulls", **asked)).json["data"]
    pages = list(walked(client, url("pulls", **asked, limit=limit), "next"))
    assert whole == [row for page in pages for row in page.json["data"]]
    assert -(-len(whole) // limit) == len(pages)
    assert {(len(whole), limit)} == {(page.json["total"], page.json["limit"]) for page in pages}
    assert {str(len(whole))} == {page.headers["X-Total-Count"] for page in pages}
    last = url("pulls", **asked, limit=limit, offset=pages[-1].json["offset"])
    back = list(walked(client, last, "prev"))
    assert [page.json["data"] for page in pages] == [page.json["data"] for page in reversed(back)]


def test_pages_of_csv(client):
    """Each with its header."""
    pages = [page.text.splitlines() for page in walked(client, url("pulls", limit=10, format="csv"), "next")]
    whole = client.get(url("pulls", format="csv")).text.splitlines()
    assert 3 == len(pages)
    assert whole == [whole[0]] + [line for head, *lines in pages for line in lines if head == whole[0]]


@pytest.mark.parametrize("offset", [30, 31, 999_999_999])
def test_beyond_the_last_row_there_is_nothing(client, offset):
    """And that is no error."""
    answer = client.get(url("pulls", offset=offset))
    assert (200, 30, [], offset) == (answer.status_code, *(answer.json[key] for key in ("total", "data", "offset")))
    assert {"prev"} == links(answer).keys()


# What is wrong


COMMON = "repository, tag, actor, client, source, since, until, interval, by, tz, limit, offset, format"


@pytest.mark.parametrize(
    ("query", "detail"),
    [
        ("nosuch=1", f"Unknown parameter 'nosuch'. There are: {COMMON}."),
        ("=1", f"Unknown parameter ''. There are: {COMMON}."),
        ("Repository=a", "Unknown parameter 'Repository'."),
        ("measure=pulls", "Unknown parameter 'measure'."),
        ("catalog=x", "Unknown parameter 'catalog'."),
        ("self=x", "Unknown parameter 'self'."),
        ("since=1d&since=2d", "since is there 2 times; it can be there once."),
        ("limit=5&limit=5", "limit is there 2 times; it can be there once."),
        ("format=csv&format=json", "format is there 2 times; it can be there once."),
        ("tz=UTC&tz=UTC", "tz is there 2 times; it can be there once."),
        ("&".join(["tag=a"] * 101), "tag is there 101 times; it can be there 100 times."),
        ("limit=0", "limit=0 is not a number of rows from 1 to 10,000."),
        ("limit=10001", "limit=10001 is not a number of rows from 1 to 10,000."),
        ("limit=99999999999999999999", "limit='99999999999999999999' is not a number of rows"),
        ("limit=-1", "limit='-1' is not a number of rows"),
        ("limit=1.0", "limit='1.0' is not a number of rows"),
        ("limit=", "limit='' is not a number of rows"),
        ("limit=%2B1", "limit='+1' is not a number of rows"),
        ("limit=%D9%A3", "limit='\u0663' is not a number of rows"),
        ("offset=-1", "offset='-1' is not a number of rows 0 or more."),
        ("offset=%D9%A3", "offset='\u0663' is not a number of rows"),
        ("offset=x", "offset='x' is not a number of rows"),
        ("format=xml", "format='xml' is not one of: json, csv."),
        ("format=", "format='' is not one of: json, csv."),
        ("since=", "since='' is not a time; write 2026-11-01, 2026-11-01T12:00, or 30d, 12h, 4w."),
        ("since=%D9%A3d", "since='\u0663d' is not a time"),
        ("until=yesterday", "until='yesterday' is not a time"),
        ("until=2026-11-31", "until='2026-11-31' is not a time"),
        ("interval=year", "interval='year' is not one of: hour, day, week, month, total."),
        ("interval=", "interval='' is not one of"),
        ("by=", "by='' is not one of: source, repository"),
        ("by=actor,", "by='' is not one of"),
        ("by=period", "by='period' is not one of"),
        ("tz=", "tz='' is not a time zone; one is Europe/Berlin."),
        ("tz=utc", "tz='utc' is not a time zone"),
        ("tz=../UTC", "tz='../UTC' is not a time zone"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_with_what_is_right(client, query, detail):
    """As a problem for programs (RFC 9457)."""
    answer = client.get(f"/api/v1/pulls?{query}")
    assert (400, "application/problem+json") == (answer.status_code, answer.mimetype)
    assert {"title": "Bad Request", "status": 400, "detail": answer.json["detail"]} == answer.json
    assert answer.json["detail"].startswith(detail)


@pytest.mark.parametrize(
    ("path", "detail"),
    [
        ("top?measure=x", "measure='x' is not one of: pulls, downloads"),
        ("top?interval=day", "Unknown parameter 'interval'"),
        ("unused?days=-1", "days='-1' is not a number of days"),
        ("unused?days=%D9%A3", "days='\u0663' is not a number of days"),
        ("unused?since=1d", "Unknown parameter 'since'"),
        ("history?at=x", "at='x' is not a time"),
        ("tags?by=digest", "by='digest' is not one of: source, repository, tag, media_type"),
        ("adoption?by=repository", "by='repository' is not one of: actor, client"),
        ("health?repository=x", "Unknown parameter 'repository'. There are: source, since, until, tz, limit, offset"),
    ],
)
def test_each_metric_has_its_own_parameters(client, path, detail):
    """Those of others are unknown to it."""
    answer = client.get(f"/api/v1/{path}")
    assert (400, True) == (answer.status_code, answer.json["detail"].startswith(detail)), answer.json


@pytest.mark.parametrize(
    ("accept", "form"),
    [
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "text/html"),
        ("application/json", "application/problem+json"),
        ("*/*", "application/problem+json"),
        (None, "application/problem+json"),
    ],
)
@pytest.mark.parametrize("path", ["/nosuch", "/explore/nosuch"])
def test_who_asks_for_a_page_that_is_not_there_gets_one(client, path, accept, form):
    """A person in a browser; a program gets a problem."""
    answer = client.get(path, headers={"Accept": accept} if accept else {})
    assert (404, form) == (answer.status_code, answer.mimetype)


@pytest.mark.parametrize(
    "metric", ["nosuch", "sql", "quarantine", "_ask", "__class__", "Pulls", "%00", "%ff", "top%20"]
)
def test_an_unknown_metric_is_not_found(client, metric):
    """The right ones are listed."""
    answer = client.get(f"/api/v1/{metric}")
    assert (404, "application/problem+json") == (answer.status_code, answer.mimetype)
    assert answer.json["detail"].endswith(f"There are: {', '.join(METRICS)}.")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
def test_it_only_answers(data, method):
    """Nothing can be changed; and what is answered otherwise is not what a GET is answered then."""
    client = reader(data)
    answer = client.open("/api/v1/health", method=method)
    assert (405, {"GET", "HEAD"}) == (answer.status_code, set(answer.headers["Allow"].split(", ")))
    assert 1 == client.get("/api/v1/health").json["total"]


def test_head_says_how_long_it_would_be(client):
    """And nothing else; asked before and after it was asked with GET."""
    for path in ("/api/v1/clients", "/api/v1/"):
        heads = [client.head(path)]
        whole = client.get(path)
        heads.append(client.head(path))
        for head in heads:
            assert (200, b"", str(len(whole.data))) == (head.status_code, head.data, head.headers["Content-Length"])
            assert whole.headers["ETag"] == head.headers["ETag"]


# What is kept


class Clock:
    """Goes on when it is told to."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


def test_an_answer_that_has_not_changed_is_not_sent_again(client):
    """304 for who shows its mark; another question has another."""
    first = client.get(url("pulls"))
    again = client.get(url("pulls"), headers={"If-None-Match": first.headers["ETag"]})
    assert (304, b"", first.headers["ETag"]) == (again.status_code, again.data, again.headers["ETag"])
    assert 200 == client.get(url("pushes"), headers={"If-None-Match": first.headers["ETag"]}).status_code
    assert 200 == client.get(url("pulls"), headers={"If-None-Match": '"other"'}).status_code


@pytest.fixture
def clock(monkeypatch):
    """What is kept goes by it, and so does the present."""
    made = Clock()
    for module in (answers, web):
        monkeypatch.setattr(module, "Kept", partial(Kept, clock=made))
    monkeypatch.setattr(Answers, "now", property(lambda _: NOW + timedelta(seconds=made.now)))
    return made


@pytest.fixture
def asked(monkeypatch):
    """What the store is asked about pulls."""
    seen, pulls = [], Stats.pulls

    def counting(self, **parameters):
        seen.append(parameters)
        return pulls(self, **parameters)

    monkeypatch.setattr(Stats, "pulls", counting)
    return seen


def test_what_was_just_asked_is_not_worked_out_again(data, clock, asked):
    """Nor for another page or format of it; and nobody sees anything that is older than is allowed."""
    client = reader(data, read=Read(rate=0, cache=20))
    same = [url("pulls"), url("pulls", limit=1), url("pulls", limit=1, offset=1), url("pulls", format="csv")]
    assert [200] * 8 == [client.get(question).status_code for question in same * 2]
    assert [{}] == asked
    client.get(url("pulls", tag="x"))
    assert [{}, {"tag": ["x"]}] == asked
    ages = []
    while clock.now < 100:
        clock.now += 0.7
        answer = client.get(url("pulls"))
        ages.append(clock.now - (datetime.fromisoformat(answer.json["as_of"]) - NOW).total_seconds())
        assert ages[-1] + answer.cache_control.max_age <= 20
    assert 10 < max(ages)
    assert 100 / 20 <= asked.count({}) <= 100 / 10


def test_nothing_is_kept_if_nothing_may_be(data, asked):
    """`cache = 0`: every answer is new."""
    client = reader(data, read=Read(rate=0, cache=0))
    assert {0} == {client.get(url("pulls")).cache_control.max_age for _ in range(3)}
    assert 3 == len(asked)


def at_once(number, work):
    """The results of doing something in so many threads."""
    results = []

    def run():
        try:
            results.append(work())
        except ParameterError as error:
            results.append(error)

    threads = [threading.Thread(target=run) for _ in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def test_many_who_ask_the_same_at_once_make_one_question(data, clock, asked):
    """One works it out for all."""
    app = reader(data).application
    said = at_once(16, lambda: app.test_client().get(url("pulls", tag="1.*")).data)
    assert (16, 1) == (len(said), len(set(said)))
    assert [{"tag": ["1.*"]}] == asked


@pytest.fixture
def waiting(monkeypatch):
    """Is released by everyone who waits for a value that another makes."""
    count = threading.Semaphore(0)

    class Waited(Future):
        def result(self, timeout=None):
            count.release()
            return super().result(timeout)

    monkeypatch.setattr("regstats.answers.Future", Waited)
    return count


@pytest.mark.parametrize("fails", [False, True])
def test_what_one_makes_all_get_who_wait_for_it(waiting, fails):
    """Also if it is an exception; that is not kept: the next one may try."""
    kept, made = Kept(60, 10, lambda _: 1, Clock()), []

    def make():
        for _ in range(7):
            waiting.acquire()
        made.append("value")
        if fails:
            raise ParameterError("wrong")
        return "value"

    results = at_once(8, lambda: kept.get("key", make))
    assert ["wrong" if fails else "value"] * 8 == list(map(str, results))
    assert ["value"] == made
    assert ("next" if fails else "value") == kept.get("key", lambda: "next")


def test_what_is_too_large_is_not_kept():
    """It is made each time."""
    kept = Kept(60, 10, len, Clock())
    assert ["a" * 11, "b", "b"] == [kept.get("key", lambda made=made: made) for made in ("a" * 11, "b", "c")]


def test_who_waits_too_long_is_told_to_come_again(data, monkeypatch):
    """Rather than that all wait."""
    monkeypatch.setattr("regstats.answers._PATIENCE", 1.0)
    monkeypatch.setattr("regstats.answers._AT_ONCE", 0)
    answer = reader(data).get(url("pulls"))
    assert (503, "application/problem+json") == (answer.status_code, answer.mimetype)
    assert "1" == answer.headers["Retry-After"]
    assert "Others ask too much" in answer.json["detail"]


# What can go wrong


def damaged_manifest(store):
    (store.root / "manifest.json").write_text("{damaged")


def damaged_part(store):
    for path in store.root.glob("events/*/*.parquet"):
        path.write_bytes(b"PAR1 damaged")


def missing_part(store):
    for path in store.root.glob("events/*/*.parquet"):
        path.unlink()


@pytest.mark.parametrize("damage", [damaged_manifest, damaged_part, missing_part])
@pytest.mark.parametrize("path", ["/api/v1/pulls", "/api/v1/openapi.json", "/badge.json?repository=team/app", "/"])
def test_a_damaged_store_is_said_to_be(store, caplog, damage, path):
    """With no more than that; the log has the reason. When it is whole again it is answered again."""
    fill(store)
    seal(store)
    files = {path: path.read_bytes() for path in store.root.rglob("*") if path.is_file()}
    client = reader(store)
    damage(store)
    answer = client.get(path)
    assert (503, "application/problem+json", "5") == (
        answer.status_code, answer.mimetype, answer.headers["Retry-After"]
    )  # fmt: skip
    assert "The store cannot be read at the moment; the log says why." == answer.json["detail"]
    assert [True] == [record.exc_info is not None for record in caplog.records if record.name == "regstats.web"]
    for file, content in files.items():
        file.write_bytes(content)
    assert 200 == client.get(path).status_code


def test_an_error_of_ours_says_nothing_but_that(data, monkeypatch, caplog):
    """What it was is in the log."""
    monkeypatch.setattr(Stats, "pulls", lambda *_, **__: {}["secret of the code"])
    answer = reader(data).get(url("pulls"))
    assert (500, "application/problem+json") == (answer.status_code, answer.mimetype)
    assert "This is an error of regstats; the log has it." == answer.json["detail"]
    assert "secret of the code" in caplog.text
