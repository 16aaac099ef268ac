"""How quickly does `regstats serve` show its numbers, and what does the collector beside it notice of that?

    python tests/bench/bench_web.py [--rounds 3] [--events 1000000] [--days 365] [--requests 4000] [--questions 50]
        [--store DIRECTORY] [--folder DIRECTORY] [--output tests/bench/results/web.md]

Makes a store with `traffic.py`, or takes one that is there, and serves copies of it: what was just answered is asked
again by `ab`, other questions by readers of our own, each another one; deliveries come in alone, beside both, and with
the web part in a process of its own; and the overview is loaded as a program and in Chromium. Needs ab, Chromium and
chromedriver.
"""

import argparse
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from statistics import median, quantiles
from urllib.parse import urlencode

import reports
import traffic
from load import HOST, ab, ab_get
from selenium import webdriver
from selenium.webdriver.support.ui import WebDriverWait
from subjects import PATIENCE, free_port, listens, memory, process, wait_until, worker

CONNECTIONS = 16
READERS = 4
CACHED, FRESH, DRAWN = 1000, 50, 1.0
MIX = ["pulls", "top", "repositories"]
ALL = [
    *MIX, "tags", "cadence", "pushes", "activity", "usage", "clients", "history", "adoption", "unused", "anomalies",
    "health",
]  # fmt: skip
UNTIL = {"cadence", "unused"}  # of which the end is changed; of all others the start
LAYOUTS = {"one process": (None,), "web apart": ("collector", "web")}
SAME_PACED, OTHERS_PACED = f"the same question, {CACHED:,} a second", f"other questions, {FRESH} a second"
LOADS = ["nothing", SAME_PACED, OTHERS_PACED, "the same question", "other questions"]
KNOWN = "/api/v1/top?limit=20"
FLAGS = [
    "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--window-size=1400,7000",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
]  # fmt: skip
WATCH = """
const watch = new MutationObserver(() => {
  const all = document.querySelectorAll("[data-chart]").length;
  if (all && all === document.querySelectorAll("[data-drawn]").length) window.drawnAt ??= performance.now();
});
watch.observe(document, {subtree: true, childList: true, attributes: true, attributeFilter: ["data-drawn"]});
"""
NOTES = """\
{events:,} events on {dates} dates, served from a copy of the store by `regstats serve` with one worker, without a
limit on questions (`[read] rate = 0`) and otherwise as it is by itself; its present is {now:%Y-%m-%d %H:%M}. Medians of
{rounds} rounds; in parentheses the lowest and highest. Server, readers and Chromium share the machine.

The same question is `GET {known}`, asked {requests:,} times by `ab` over {connections} connections; it is made anew
every five seconds. Other questions have a window of their own each, about 30 days long, so that nothing was answered
before: {questions} of each kind by {readers} readers, who do nothing else. A mix is `{mix}` in turn.
Answers are JSON, of 1,000 rows at most. Every request comes over a connection of its own."""
BESIDE_NOTES = """\
{requests:,} deliveries over {connections} connections, as in `collector.md`, while others ask: so often as the targets
say (`ab` with 100 requests over 4 connections, again and again; {readers} readers with pauses), or as fast as they are
answered (`ab` over {connections} connections; the readers without pauses). Apart, `serve --only collector` and
`serve --only web` have a process and a port each. Ratios are those of the medians."""
PAGE_NOTES = """\
HTML is the page alone. Drawn is from the start of the navigation to when the last of its charts is there, in headless
Chromium; the first time with nothing in its cache. Before the first request the server has not loaded DuckDB, pandas
and plotly. A new window is one that nobody has asked for."""
MEMORY_NOTES = "Of the worker, which takes deliveries and answers questions."


class Served:
    """`regstats serve` on a copy of a store: processes and ports of the collector and of what shows the numbers."""

    def __init__(self, folder, processes, ports):
        self.folder, self.processes, self.ports = folder, processes, ports

    @property
    def collector(self):
        return self.ports[0]

    @property
    def web(self):
        return f"http://{HOST}:{self.ports[-1]}"

    def resident(self):
        """Of the worker that answers questions, in MB."""
        return memory(worker(self.processes[-1].pid))[0]


@contextmanager
def served(store, parent, parts=LAYOUTS["one process"]):
    """From when it listens until the end of the block."""
    with tempfile.TemporaryDirectory(dir=parent) as made, ExitStack() as stack:
        folder, ports = Path(made), [free_port() for _ in parts]
        shutil.copytree(store, folder / "store")
        (folder / "regstats.toml").write_text("[read]\nrate = 0\n")
        environment = {key: value for key, value in os.environ.items() if not key.startswith("REGSTATS_")}
        environment |= {"REGSTATS_CONFIG": str(folder / "regstats.toml"), "REGSTATS_NOW": traffic.NOW.isoformat()}
        processes = []
        for part, port in zip(parts, ports, strict=True):
            command = [sys.executable, "-m", "regstats", "serve", "--data", str(folder / "store"), "--port", str(port)]
            command += ["--only", part] if part else []
            processes.append(stack.enter_context(process(command, folder / "log", env=environment)))
            wait_until(lambda port=port, one=processes[-1]: listens(port) or one.poll() is not None, "regstats serve")
            if processes[-1].poll() is not None:
                raise RuntimeError(f"It does not run:\n{(folder / 'log').read_text()}")
        yield Served(folder, processes, ports)


_numbers = count()


def question(metric):
    """The address of a question that nobody has asked."""
    name, end = ("until", traffic.NOW) if metric in UNTIL else ("since", traffic.NOW - timedelta(days=30))
    return f"/api/v1/{metric}?{urlencode({name: (end - timedelta(seconds=next(_numbers))).isoformat()})}"


def get(port, path):
    """Seconds until all of an answer is there. Raises RuntimeError where it is not 200."""
    head = f"GET {path} HTTP/1.1\r\nHost: {HOST}:{port}\r\nConnection: close\r\n\r\n"
    started = time.perf_counter()
    with socket.create_connection((HOST, port), timeout=120) as connection:
        connection.sendall(head.encode())
        answer = b"".join(iter(lambda: connection.recv(1 << 18), b""))
    seconds = time.perf_counter() - started
    if not answer.startswith(b"HTTP/1.1 200 "):
        raise RuntimeError(f"{path} was not answered 200.\n{answer[:1000]}")
    return seconds


def fresh(port, metrics, questions):
    """Different questions by all readers together: answers a second, and latencies in ms."""
    paths = [question(metrics[number % len(metrics)]) for number in range(questions)]
    started = time.perf_counter()
    with ThreadPoolExecutor(READERS) as readers:
        seconds = list(readers.map(lambda path: get(port, path), paths))
    return _result(seconds, time.perf_counter() - started)


def _result(seconds, whole):
    percentiles = quantiles(seconds, n=100, method="inclusive") if len(seconds) > 1 else seconds * 99
    return {"rate": len(seconds) / whole, "p50": 1000 * percentiles[49], "p99": 1000 * percentiles[98]}


# What runs beside the deliveries


@contextmanager
def asking(load, server):
    """Somebody asks, until the end of the block; then the list has how many answers there were a second."""
    askers = {
        "nothing": _nobody,
        SAME_PACED: _with_ab_paced,
        OTHERS_PACED: lambda server: _with_readers(server, FRESH / READERS),
        "the same question": _with_ab,
        "other questions": _with_readers,
    }
    with askers[load](server) as rates:
        yield rates


@contextmanager
def _nobody(_):
    yield [0.0]


@contextmanager
def _with_ab(server):
    rates = []
    command = ["ab", "-l", "-q", "-n", "10000000", "-c", str(CONNECTIONS), f"{server.web}{KNOWN}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as running:
        yield rates
        running.send_signal(signal.SIGINT)  # it then says what it has measured
        said = running.communicate(timeout=PATIENCE)[0]
    rates.append(float(re.search(r"^Requests per second: +([\d.]+)", said, re.MULTILINE)[1]))
    if re.search(r"^Non-2xx", said, re.MULTILINE):
        raise RuntimeError(f"Not everything was answered 2xx.\n{said}")


@contextmanager
def _with_ab_paced(server, some=100):
    rates, stop = [], threading.Event()
    command = ["ab", "-l", "-q", "-n", str(some), "-c", str(READERS), f"{server.web}{KNOWN}"]

    def ask():
        started = time.perf_counter()
        for times in count():
            if stop.wait(max(started + times * some / CACHED - time.perf_counter(), 0)):
                return times * some / (time.perf_counter() - started)
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return None

    with ThreadPoolExecutor(1) as thread:
        asked = thread.submit(ask)
        try:
            yield rates
        finally:
            stop.set()
        rates.append(asked.result())


@contextmanager
def _with_readers(server, a_second=0):
    """`a_second` is how often each of them asks; 0: as often as it is answered."""
    rates, stop, started = [], threading.Event(), time.perf_counter()

    def read(first):
        for number in count(first):
            due = started + (number - first) / a_second - time.perf_counter() if a_second else 0
            if stop.wait(max(due, 0)):
                return number - first
            get(server.ports[-1], question(MIX[number % len(MIX)]))
        return None

    with ThreadPoolExecutor(READERS) as readers:
        answered = [readers.submit(read, first) for first in range(READERS)]
        try:
            yield rates
        finally:
            stop.set()
        number = sum(future.result() for future in answered)
    rates.append(number / (time.perf_counter() - started))


# One round of everything


def answers(store, folder, options):
    """Of a server of its own: the first page, what is known, what is not, later pages, and memory between them."""
    with served(store, folder) as server:
        port, sizes = server.ports[-1], [server.resident()]
        pages = {"first": [get(port, "/")]}
        sizes.append(server.resident())
        pages["new window"] = [get(port, _page()) for _ in range(options.loads)]
        pages["again"] = [get(port, "/") for _ in range(options.loads + 1)][1:]
        get(port, KNOWN)
        known = ab_get(server.folder, f"{server.web}{KNOWN}", options.requests, CONNECTIONS)
        sizes.append(server.resident())
        asked = {"mix": fresh(port, MIX, options.questions * len(MIX))}
        asked |= {metric: fresh(port, [metric], options.questions) for metric in options.metrics}
        sizes.append(server.resident())
    return {"known": known, "asked": asked, "pages": pages, "memory": sizes}


def _page():
    return f"/?{urlencode({'since': (traffic.NOW - timedelta(days=30, seconds=next(_numbers))).isoformat()})}"


def deliveries(store, folder, options, layout, loads):
    """Of a server of its own: deliveries beside each load, and how much was answered meanwhile."""
    found = {}
    with served(store, folder, LAYOUTS[layout]) as server:
        ab(server.folder, server.collector, max(CONNECTIONS, options.requests // 4), CONNECTIONS)
        for load in loads:
            get(server.ports[-1], KNOWN)
            with asking(load, server) as rates:
                time.sleep(0.5)
                taken = ab(server.folder, server.collector, options.requests, CONNECTIONS)
            found[load] = taken | {"answers": rates[0]}
    return found


def drawn(store, folder, options):
    """Seconds until all charts of the overview are drawn: the first time, of a new window, and again."""
    with served(store, folder) as server, browser(server.folder) as driver:
        return {
            "first": [_load(driver, f"{server.web}/")],
            "new window": [_load(driver, f"{server.web}{_page()}") for _ in range(options.loads)],
            "again": [_load(driver, f"{server.web}/") for _ in range(options.loads + 1)][1:],
        }


def _load(driver, url):
    driver.get(url)
    WebDriverWait(driver, PATIENCE, poll_frequency=0.05).until(lambda _: driver.execute_script("return window.drawnAt"))
    return driver.execute_script("return window.drawnAt") / 1000


@contextmanager
def browser(folder):
    """Chromium, driven; it reaches nothing but loopback, and notes when all charts are drawn."""
    os.environ["SE_OFFLINE"] = "true"
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    for flag in [*FLAGS, f"--user-data-dir={folder}/browser"]:
        options.add_argument(flag)
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))
    try:
        driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": WATCH})
        yield driver
    finally:
        driver.quit()


def measure(store, folder, options):
    """All rounds: what was answered, taken by layout and load, and drawn."""
    answered, taken, charts = [], {(layout, load): [] for layout in LAYOUTS for load in LOADS}, []
    for number in range(options.rounds):
        answered.append(answers(store, folder, options))
        for layout in reports.turned(list(LAYOUTS), number):
            for load, result in deliveries(store, folder, options, layout, reports.turned(LOADS, number)).items():
                taken[layout, load].append(result)
        if options.browser:
            charts.append(drawn(store, folder, options))
        print(number, answered[-1]["known"], answered[-1]["asked"]["mix"], charts[-1:], file=sys.stderr)
    return answered, taken, charts


# The report


def targets(answered, charts):
    """Each target: what, which, the values of the rounds, and whether it is met."""
    known = [one["known"]["rate"] for one in answered]
    mix = [one["asked"]["mix"]["rate"] for one in answered]
    yield "the same question, answers a second", f">= {CACHED:,}", reports.spread(known, 0), median(known) >= CACHED
    yield "other questions, answers a second", f">= {FRESH}", reports.spread(mix, 0), median(mix) >= FRESH
    for when in ("new window", "again") if charts else ():
        seconds = [value for one in charts for value in one[when]]
        yield f"overview drawn, {when}, s", f"< {DRAWN:g}", reports.spread(seconds, 2), median(seconds) < DRAWN


def report(options, facts, machine, answered, taken, charts):
    """All of it, as Markdown."""
    told = vars(options) | facts | {"connections": CONNECTIONS, "readers": READERS, "mix": "`, `".join(MIX)}
    told |= {"known": KNOWN, "now": traffic.NOW}
    parts = [f"# The web part\n\n{datetime.now(UTC):%Y-%m-%d}. {NOTES.format_map(told)}", machine]
    rows = [[*row, reports.met(is_met)] for *row, is_met in targets(answered, charts)]
    parts.append("## Targets\n\n" + reports.table(["what", "target", "measured", "result"], rows))
    parts.append("## Answers\n\n" + _answer_table(answered))
    parts.append(f"## The collector beside it\n\n{BESIDE_NOTES.format_map(told)}\n\n" + _beside_table(taken))
    parts.append(f"## The overview, ms\n\n{PAGE_NOTES}\n\n" + _page_table(answered, charts))
    parts.append(f"## Memory, MB resident\n\n{MEMORY_NOTES}\n\n" + _memory_table(answered))
    return "\n\n".join(parts) + "\n"


def _answer_table(answered):
    rows = [("the same question", [one["known"] for one in answered])]
    rows += [(kind, [one["asked"][kind] for one in answered]) for kind in answered[0]["asked"]]
    header = ["question", "answers a second", "p50, ms", "p99, ms"]
    fields = (("rate", 0), ("p50", 1), ("p99", 1))
    return reports.table(
        header,
        [[kind, *(reports.spread([one[name] for one in of], digits) for name, digits in fields)] for kind, of in rows],
    )


def _beside_table(taken):
    header = ["layout", "beside it", "deliveries a second", "to those alone", "p50, ms", "p99, ms", "answers a second"]
    rows = []
    for (layout, load), results in taken.items():
        alone = median(result["rate"] for result in taken[layout, "nothing"])
        ratio = median(result["rate"] for result in results) / alone
        each = [
            reports.spread([result[name] for result in results], digits)
            for name, digits in (("rate", 0), ("p50", 1), ("p99", 1), ("answers", 0))
        ]
        rows.append([layout, load, each[0], f"{ratio:.2f} x", *each[1:]])
    return reports.table(header, rows)


def _page_table(answered, charts):
    rows = []
    for when in ("first", "new window", "again"):
        html = [1000 * value for one in answered for value in one["pages"][when]]
        charted = [1000 * value for one in charts for value in one[when]]
        rows.append([when, reports.spread(html, 1), reports.spread(charted, 0) if charted else ""])
    return reports.table(["request", "HTML", "drawn"], rows)


def _memory_table(answered):
    header = ["before the first question", "after the overview", "after the same question", "after all the others"]
    moments = zip(*(one["memory"] for one in answered), strict=True)
    return reports.table(header, [[reports.spread(sizes, 0) for sizes in moments]])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--days", type=int, default=365)
    parser.add_argument("--requests", type=int, default=4000, help="of the same question, and deliveries")
    parser.add_argument("--questions", type=int, default=50, help="of each kind")
    parser.add_argument("--metrics", nargs="+", choices=ALL, default=ALL, metavar="METRIC", help="asked by themselves")
    parser.add_argument("--loads", type=int, default=5, help="of the overview")
    parser.add_argument("--no-browser", dest="browser", action="store_false")
    parser.add_argument("--store", type=Path, help="one that traffic.py has made; else one is made")
    parser.add_argument("--folder", type=Path, help="where everything else is made: on the disk that is measured")
    parser.add_argument("--output", type=Path, help="the report goes there, too")
    options = parser.parse_args()
    packages = ("flask", "granian", "duckdb", "pandas", "pyarrow", "plotly")
    machine = reports.machine(*packages, programs=[("ab", "-V"), ("chromium", "--version")])
    with tempfile.TemporaryDirectory(dir=options.folder) as made:
        folder = Path(made)
        store = reports.store_of(options, folder)
        facts = reports.facts(store)
        text = report(options, facts, machine, *measure(store.root, folder, options))
    reports.tell(text, options.output)


if __name__ == "__main__":
    main()
