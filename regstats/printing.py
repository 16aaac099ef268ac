"""Print: a page as a PDF, and charts as pictures, by a Chromium that reaches nothing and is gone afterwards."""

import asyncio
import base64
import logging
import os
import re
import signal
import subprocess
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import plotly.graph_objects as go

from regstats import extras
from regstats.errors import PrintError

Result = TypeVar("Result")

_PATIENCE = 120.0
"""Seconds for all that Chromium does, from its start. It takes five."""
_NOWHERE = "127.0.0.1:9"
"""The proxy for whatever a page, or Chromium for itself, would fetch. There is none, so nothing leaves this machine."""
_PICTURE = {"format": "png", "width": 1000, "scale": 2}
_FITTED = """
new Promise(done => document.readyState === 'complete' ? done() : addEventListener('load', done)).then(
  () => Promise.all([...document.querySelectorAll('.js-plotly-plot')].map(chart => Plotly.Plots.resize(chart))))"""
"""JavaScript that is done when each chart has been drawn in the width that it has on paper."""
_PAPER = {"width": 703, "height": 1000, "deviceScaleFactor": 1, "mobile": False}
"""In CSS pixels: A4 less the margins that the style sheet has."""
_DATES = re.compile(rb"(?<=Date \(D:)\d{14}")
"""When it was made and changed: the same report is the same bytes, as in a ZIP."""

_extra = partial(extras.module, extra="print", needed="kaleido")

logging.getLogger("choreographer").addHandler(logging.NullHandler())  # what it warns of is in our errors


def pdf(page: str) -> bytes:
    """An HTML page on paper, as its style sheet says; its charts are vectors.

    Raises MissingExtraError without kaleido, and PrintError where Chromium is missing, fails, or takes too long.
    """
    return _driven(_extra("choreographer").Browser, lambda browser: _printed(browser, page))


def png(charts: Mapping[str, go.Figure]) -> dict[str, bytes]:
    """A picture of each chart, under its name: on white, 2,000 pixels wide. Raises what `pdf` does."""
    kaleido = partial(_extra("kaleido").Kaleido, mathjax=False)  # it would be fetched
    return _driven(kaleido, lambda browser: _drawn(browser, charts))


async def _printed(browser: Any, page: str) -> bytes:
    # A Chromium from a snap has a /tmp of its own; choreographer knows where it can read.
    folder = _extra("choreographer.utils").TmpDirectory(sneak=browser.is_isolated())
    try:
        file = folder.path / "page.html"
        file.write_text(page, encoding="utf-8")
        tab = await browser.create_tab()
        await _tell(tab, "Emulation.setEmulatedMedia", media="print")
        await _tell(tab, "Emulation.setDeviceMetricsOverride", **_PAPER)
        await _tell(tab, "Page.navigate", url=file.as_uri())
        await _tell(tab, "Runtime.evaluate", expression=_FITTED, awaitPromise=True)
        printed = await _tell(tab, "Page.printToPDF", preferCSSPageSize=True, printBackground=True)
        return _DATES.sub(b"19800101000000", base64.b64decode(printed["data"]), count=2)
    finally:
        folder.clean()


async def _tell(tab: Any, command: str, **parameters: Any) -> dict[str, Any]:
    """What Chromium answers to a command of its DevTools protocol."""
    answer = await tab.send_command(command, params=parameters)
    result: dict[str, Any] = answer.get("result", {})
    if "error" in answer or "errorText" in result or "exceptionDetails" in result:
        raise RuntimeError(f"{command}: {answer}")
    return result


async def _drawn(kaleido: Any, charts: Mapping[str, go.Figure]) -> dict[str, bytes]:
    on_white = {name: go.Figure(chart).update_layout(paper_bgcolor="#ffffff") for name, chart in charts.items()}
    return {name: await kaleido.calc_fig(chart, _PICTURE) for name, chart in on_white.items()}


def _driven(make: Callable[..., Any], do: Callable[[Any], Awaitable[Result]]) -> Result:
    """What is done with a Chromium; in a thread, because a notebook has a loop of its own in this one."""
    path = _chromium()
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(lambda: asyncio.run(_within_limits(make, path, do))).result()


def _chromium() -> str:
    path = _extra("choreographer.browsers.chromium").Chromium.find_browser(skip_local=False)
    if path and Path(path).is_file():
        return str(path)
    named = f"$BROWSER_PATH is {path}, which is no file" if path else "There is no Chromium"
    raise PrintError(
        f"{named}: to print, install chromium, chromium-browser or google-chrome so that it is on the PATH, or name "
        "one in $BROWSER_PATH."
    )


async def _within_limits(make: Callable[..., Any], path: str, do: Callable[[Any], Awaitable[Result]]) -> Result:
    is_root = os.geteuid() == 0  # for root Chromium has no sandbox
    browser = make(path=path, enable_sandbox=not is_root, enable_extensions=False, proxy_server=_NOWHERE)
    limit = asyncio.timeout(_PATIENCE)
    try:
        async with limit:
            await browser.open()
            done = await do(browser)
            await browser.close()
            return done
    except (Exception, asyncio.CancelledError) as error:  # what still waits for an answer is cancelled when it ends
        test = f"{path} --headless {'--no-sandbox ' * is_root}--dump-dom about:blank"
        await _end(browser)
        what = f"was not done after {_PATIENCE:g} seconds" if limit.expired() else "did not start, or failed"
        raise PrintError(f"Chromium {what}. See whether it works at all: {test}") from error


async def _end(browser: Any) -> None:
    """Ends what is left of Chromium and of all that it started, whatever it is doing, and removes what it wrote."""
    if hasattr(browser, "subprocess"):
        for sent in (signal.SIGTERM, signal.SIGKILL):  # asked first, it removes more
            with suppress(ProcessLookupError, subprocess.TimeoutExpired):
                os.killpg(browser.subprocess.pid, sent)
                browser.subprocess.wait(timeout=1)
    await browser.close()
