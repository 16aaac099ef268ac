"""`regstats lab` as a user meets it: JupyterLab in a real browser, from the command to the charts."""

import http.client
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from selenium.webdriver.common.by import By
from servers import HOST, PATIENCE, free_port, stop, wait_until

from regstats import sample
from regstats.stats import Stats

CHART = ".jp-OutputArea-output.jp-RenderedPlotly"
WRONG = '.jp-OutputArea-output[data-mime-type$="stderr"], .jp-OutputArea-output[data-mime-type$="error"]'
LOADED = '.jp-NotebookPanel .jp-Notebook-ExecutionIndicator[data-status="idle"]'
KERNELS = """
const request = new XMLHttpRequest();
request.open("GET", "/api/kernels", false);
request.send();
return JSON.parse(request.responseText);
"""
SETTINGS = "settings/JUPYTERLAB_SETTINGS_DIR/@jupyterlab/apputils-extension"
NEWS, THEME = (f"{SETTINGS}/{name}.jupyterlab-settings" for name in ("notification", "themes"))


class Lab:
    """`regstats lab` in a folder, with settings of its own, in which nobody wants any news."""

    def __init__(self, folder):
        self.folder, self.port = folder, free_port()
        self.notebook = folder / "regstats-notebooks" / "01-overview.ipynb"
        self._log = folder / "lab.log"
        jupyter = [f"JUPYTER_{kind}_DIR" for kind in ("CONFIG", "DATA", "RUNTIME")]
        places = [*jupyter, "JUPYTERLAB_SETTINGS_DIR", "JUPYTERLAB_WORKSPACES_DIR", "IPYTHONDIR"]
        self._environment = {key: value for key, value in os.environ.items() if not key.startswith("REGSTATS_")}
        self._environment |= {place: str(folder / "settings" / place) for place in places}
        (folder / NEWS).parent.mkdir(parents=True)
        (folder / NEWS).write_text('{"fetchNews": "false", "checkForUpdates": false}')
        self.process = None

    def start(self, *options):
        command = [sys.executable, "-m", "regstats", "lab", "--no-browser", "--port", str(self.port), *options]
        with self._log.open("w") as log:
            self.process = subprocess.Popen(command, cwd=self.folder, env=self._environment, stderr=log)
        wait_until(lambda: answers(self.port) or self.process.poll() is not None, "JupyterLab")
        assert self.process.poll() is None, self.log
        return self

    def stop(self, how=signal.SIGTERM):
        return stop(self.process, how)

    @property
    def log(self):
        return self._log.read_text()

    @property
    def url(self):
        return wait_until(lambda: re.search(r"http://127\.0\.0\.1:\S+token=\w+", self.log), "the address")[0]

    def processes(self):
        """What runs in its name: itself, and kernels. A kernel's environment tells whose it is."""
        mark, found = f"JUPYTER_RUNTIME_DIR={self.folder}".encode(), []
        for place in Path("/proc").glob("[0-9]*/environ"):
            try:
                found += [place.parent.name] if mark in place.read_bytes() else []
            except OSError:  # it ended meanwhile
                continue
        return found


def answers(port):
    """Not only listens: a signal that comes while it begins to, is one that it does not survive, and does not obey."""
    connection = http.client.HTTPConnection(HOST, port, timeout=PATIENCE)
    try:
        connection.request("GET", "/")
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


@pytest.fixture
def lab(tmp_path):
    made = Lab(tmp_path)
    yield made
    if made.process is not None:
        made.stop()


def run_all(browser):
    """From the menu, as a person does it; returns when every cell of code has its number."""
    browser.until(lambda: browser.find(LOADED))
    # It looks idle before it has a kernel, and asks for one if it has to run anything then.
    browser.until(lambda: any(kernel["connections"] for kernel in browser.run(KERNELS)))
    browser.until(lambda: browser.find(LOADED))
    (run,) = (item for item in browser.find(".lm-MenuBar-item") if item.text == "Run")
    run.click()
    browser.until(lambda: browser.find('.lm-Menu-item[data-command="runmenu:run-all"]'))[0].click()
    numbers = ".jp-NotebookPanel .jp-CodeCell .jp-InputArea-prompt"

    def is_done():
        prompts = browser.find(numbers)
        return prompts and all(re.fullmatch(r"\[\d+\]:", prompt.text) for prompt in prompts)

    browser.until(is_done)
    browser.until(lambda: browser.find(LOADED))


def code_of(notebook):
    return [cell for cell in json.loads(notebook.read_text())["cells"] if cell["cell_type"] == "code"]


@pytest.mark.slow
def test_the_overview_has_the_answers(lab, browser, tmp_path):
    """On the sample, where there is no store: all cells run, every chart is drawn, and nothing is complained about."""
    lab.start()
    assert "There is no store in ./data, so the notebooks show the sample" in lab.log
    browser.open(lab.url)
    run_all(browser)
    code = code_of(lab.notebook)
    charts = sum(len(re.findall(r"^charts\.", "".join(cell["source"]), re.MULTILINE)) for cell in code)
    browser.until(lambda: len(browser.find(CHART)) >= charts)
    browser.until(lambda: all(chart.find_elements(By.CSS_SELECTOR, "svg.main-svg") for chart in browser.find(CHART)))
    browser.save(tmp_path / "lab.png")
    assert len(code) == len(browser.find(".jp-NotebookPanel .jp-CodeCell"))
    assert charts >= 3
    assert [] == [output.text for output in browser.find(WRONG)]
    ((events,),) = Stats(sample.path()).sql("select count(*) from events").fetchall()
    assert f"{events:,}" in browser.find(".jp-NotebookPanel")[0].text
    browser.until(lambda: browser.find(".jp-NotebookPanel table.dataTable"))  # sorts and filters
    browser.until(lambda: browser.find(".jupyter-widgets input[placeholder^='all']"))  # the picker
    browser.driver.set_window_size(1280, 900)
    browser.run("arguments[0].scrollIntoView()", browser.find(".jp-NotebookPanel h2")[0])
    browser.until(lambda: browser.find(CHART))
    browser.save(tmp_path / "notebook.png")
    assert len(lab.processes()) >= 2  # the server and the kernel
    assert 0 == lab.stop()
    wait_until(lambda: not lab.processes(), "the kernel to end")


@pytest.mark.slow
def test_a_dark_theme(lab, browser):
    """Tables take it up, and charts let it show through."""
    (lab.folder / THEME).write_text('{"theme": "JupyterLab Dark"}')
    lab.start()
    browser.open(lab.url)
    run_all(browser)
    browser.until(lambda: browser.find(".jp-NotebookPanel table.dataTable"))
    browser.until(lambda: browser.find("html.dark body[data-jp-theme-light=false]"))
    papers = {paper.get_attribute("style") for paper in browser.find(f"{CHART} .main-svg[style*=background]")}
    assert papers
    assert all("rgba(0, 0, 0, 0)" in paper for paper in papers)


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_what_a_user_changed_stays(lab, how):
    """At the second start it is as they left it, and they are told how to get ours. It stops when it is asked once."""
    lab.start()
    assert 0 == lab.stop(how)
    assert [] == lab.processes()
    changed = lab.notebook.read_text().replace("Overview", "My overview")
    lab.notebook.write_text(changed)
    lab.start("--fresh")
    assert changed == lab.notebook.read_text()
    assert "Left as you changed them: 01-overview.ipynb. --fresh puts ours beside them." in lab.log
    assert "# Overview" in lab.notebook.with_stem("01-overview-fresh").read_text()
    assert 0 == lab.stop(how)


@pytest.mark.slow
def test_nobody_else_can_reach_it(lab):
    """It listens on loopback alone, and asks for its token."""
    lab.start()
    hexadecimal = f":{lab.port:04X}"
    rows = Path("/proc/net/tcp").read_text().splitlines() + Path("/proc/net/tcp6").read_text().splitlines()
    listening = [row.split()[1] for row in rows if row.split()[3] == "0A" and row.split()[1].endswith(hexadecimal)]
    assert [f"0100007F{hexadecimal}"] == listening
    assert "token=" in lab.url
