"""The dashboard as people meet it: `regstats serve`, in a real browser."""

import base64
import shutil

import pytest
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys
from servers import Collector, stop

from regstats import sample
from regstats.metrics import METRICS
from regstats.stats import Stats

NOW = "2026-11-24"
LIGHT, DARK = "rgb(255, 255, 255)", "rgb(20, 25, 31)"
PHONE = 390

PAGES = {
    "/": 4,
    "/repositories": 0,
    "/actors": 0,
    "/repositories?repository=team%2Fapi": 6,
    "/actors?actor=ci": 2,
    **{f"/explore/{metric}": 1 for metric in METRICS},
}
"""How many charts each has."""

# Scripts that see what is on a page.
ARE_DRAWN = """
return document.readyState === 'complete' && !window.left && [...document.querySelectorAll('[data-chart]')]
  .every(place => 'drawn' in place.dataset || place.textContent.includes('could not be drawn'))"""
CHARTS = """
return [...document.querySelectorAll('[data-chart]')].map(place => {
  const svg = place.querySelector('svg.main-svg'), box = svg?.getBoundingClientRect();
  return {drawn: 'drawn' in place.dataset, seen:
    Boolean(svg?.checkVisibility()) && box.width > 200 && box.height > 100};
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

    def resize(self, width):
        metrics = {"width": width, "height": 7000, "deviceScaleFactor": 1, "mobile": False}
        self.browser.tell("Emulation.setDeviceMetricsOverride", **metrics)
        self.browser.until(lambda: width == self.browser.run("return innerWidth"))

    def wait_for_paper(self, colour):
        self.browser.until(lambda: self.browser.run(PAPERS) in ([colour], []))

    def shown(self):
        """The numbers, and what the charts are drawn from."""
        return self.browser.run(NUMBERS), self.browser.run(SERIES)

    def foreign(self):
        """Requests that went elsewhere."""
        here = (f"{self.server.url}/", "data:", f"blob:{self.server.url}/")
        return [url for url in self.browser.requests() if not url.startswith(here)]

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
    for _ in range(15):
        press(dashboard, Keys.TAB)
        stops.append(dashboard.browser.run(FOCUSED))
    assert all(stop["seen"] for stop in stops)
    assert [
        "Skip to the numbers", "regstats", "Overview", "Repositories", "Actors", "Explore",
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
