"""The charts as a real browser draws them."""

import html
import re

import plotly.offline
import pytest
from frames import EVIL, FRAMES, LOOKS_LIKE_VALUES, called

from regstats import charts

OWN = "<img src=x onerror=\"document.title='owned'\">" + EVIL


@pytest.mark.parametrize("dark", [False, True])
def test_every_chart_is_drawn(tmp_path, chromium, dark):
    """With names of all kinds, which stay what they are, and without a word on the console."""
    names = [OWN, *LOOKS_LIKE_VALUES, *called(30)]
    drawn = [getattr(charts, which.split()[0])(make(names), dark=dark) for which, make in FRAMES.items()]
    parts = [figure.to_html(full_html=False, include_plotlyjs=False) for figure in drawn]
    page = f"<!doctype html><meta charset=utf-8><title>fine</title><script>{plotly.offline.get_plotlyjs()}</script>"
    (tmp_path / "charts.html").write_text(page + "".join(parts), encoding="utf-8")
    seen, console = chromium(tmp_path / "charts.html")
    assert [] == console
    assert "<title>fine</title>" in seen
    assert len(FRAMES) == len(re.findall(r'class="plotly-graph-div js-plotly-plot"', seen))
    labels = [html.unescape(label) for label in re.findall(r'<g class="ytick"><text[^>]*>([^<]*)', seen)]
    assert {"1.2", "1e5", "0", "true", "2026-01-01:latest"} <= set(labels)
    assert any(label.startswith("<img src=x onerro") for label in labels)
