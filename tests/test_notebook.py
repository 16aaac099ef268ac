"""What a notebook shows of frames, and the picker."""

import json
import re
import sys
from datetime import date

import nbclient
import nbformat
import pandas as pd
import pytest
from frames import EVIL, FRAMES, called
from makers import NOW, days, envelope, journalled, make_event, make_push

from regstats import NOBODY, notebook, notebook_report
from regstats.errors import MissingExtraError
from regstats.stats import Stats

OWN = "<img src=x onerror=alert(1)>" + EVIL


@pytest.fixture
def stats(store):
    """A store with a pull and two pushes of something with a bad name, and one pull of team/api."""
    for age in (0, 3):
        journalled(store, envelope(make_push(at=NOW - days(age), repository=OWN, actor=OWN, digest=f"sha256:{age}")))
    journalled(store, envelope(make_event(repository=OWN), make_event(id="b", repository="team/api")))
    return Stats(store.root, now=NOW, exclude=NOBODY)


def test_a_store_says_what_is_in_it(stats, store):
    """As HTML, with who is not counted."""
    assert "<th>events</th><td>4</td>" in stats._repr_html_()
    assert "<th>not counted</th><td>nobody</td>" in stats._repr_html_()
    assert "2026-11-21 to 2026-11-24" in stats._repr_html_()


def test_an_empty_store_says_so(tmp_path):
    """Kindly."""
    assert "nothing has happened yet" in Stats(tmp_path)._repr_html_()


def test_a_frame_is_shown_as_people_read_it(stats):
    """With its question and window; durations in two units, numbers to the right."""
    shown = notebook.show(stats.cadence(since="30d"))
    assert "How well is it maintained? · since 2026-10-25 12:00 UTC · not counted: nobody" in shown
    assert '<td style="text-align: right">3d</td>' in shown


@pytest.mark.parametrize("show", [notebook.show, lambda frame: notebook.table(frame).data])
@pytest.mark.parametrize("which", FRAMES)
def test_names_are_text(show, which, capsys):
    """Whatever a client wrote."""
    shown = show(FRAMES[which]([OWN]))
    assert "<img" not in shown
    assert "\u202e" not in shown


def test_a_long_frame_is_cut(stats):
    """And says so."""
    shown = notebook.show(FRAMES["repositories"](called(30)))
    assert 1 + notebook.ROWS == shown.count("<tr>")
    assert "more rows" in shown
    assert "more rows" not in notebook.show(FRAMES["repositories"](called(notebook.ROWS)))


def test_other_frames_are_those_of_pandas():
    """They are not ours to change."""
    frame = pd.DataFrame({"a": [1]})
    assert frame._repr_html_() == notebook.show(frame)


def cells_of(shown):
    """What a table that sorts has in its cells."""
    return json.loads(json.loads(re.search(r'"data_json": ("(?:[^"\\]|\\.)*")', shown)[1]))


def test_a_table_has_all_rows(capsys):
    """Durations are numbers of one unit: so they sort."""
    frame = FRAMES["cadence"](called(200))
    shown = notebook.table(frame).data
    assert len(frame) == len(cells_of(shown))
    assert "median_interval, days" in shown
    place = list(frame.columns).index("age")
    cells = [row[place] for row in cells_of(shown)]
    ages = [float(cell[-1]) if isinstance(cell, list) else cell for cell in cells]
    assert [round(age / pd.Timedelta(days=1), 2) for age in frame["age"]] == ages


def test_a_table_of_what_sql_found(stats, capsys):
    """It need not be a frame."""
    shown = notebook.table(stats.sql("select repository, count(*) as pulls from pulls group by all order by all")).data
    assert ["team/api"] == [row[0] for row in cells_of(shown) if "img" not in row[0]]


def test_what_was_picked(stats):
    """Pulls, pushes and tags of it."""
    pulls, pushes, tags = notebook._picked(stats, "team/*", date(2026, 11, 24), date(2026, 11, 24), "day")
    assert [1] == list(pulls.data[0].y)
    assert "Nothing in this window." == pushes.layout.annotations[0].text
    assert ["team/api"] == list(tags["repository"])
    (wrong,) = notebook._picked(stats, "", date(1, 1, 2), None, "hour")
    assert "is not within the years 1900 to 8999" in str(wrong)


@pytest.mark.parametrize(("name", "what"), [("itables", "table"), ("ipywidgets", "explore")])
def test_without_the_extra(stats, monkeypatch, name, what):
    """A message that says what to install."""
    monkeypatch.setitem(sys.modules, name, None)
    given = stats.pulls() if what == "table" else stats
    with pytest.raises(MissingExtraError, match=rf"needs {name}, .*regstats\[lab\]"):
        getattr(notebook, what)(given)


@pytest.mark.slow
def test_in_a_notebook(stats, store):
    """A picker draws anew when something is picked; relations and frames are tables."""
    cells = [
        "import regstats\nfrom regstats import notebook",
        f"stats = regstats.open({str(store.root)!r}, now={NOW.isoformat()!r})",
        "picker = notebook.explore(stats)\npicker",
        "picker.children[0].children[0].value = 'team/*'",
        "stats.sql('select 42 as answer')",
        "stats.repositories()",
    ]
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    client = nbclient.NotebookClient(book, timeout=60, kernel_manager_class=notebook_report.KernelManager)
    client.execute()
    outputs = [[output.data for output in cell.outputs] for cell in book.cells]
    assert "application/vnd.jupyter.widget-view+json" in outputs[2][-1]
    (drawn,) = (state for state in client.widget_state.values() if state["_model_name"] == "OutputModel")
    kinds = [kind for output in drawn["outputs"] for kind in output["data"] if "text/plain" != kind]
    assert ["application/vnd.plotly.v1+json"] * 2 + ["text/html"] == kinds
    assert OWN[:4] not in drawn["outputs"][2]["data"]["text/html"]
    assert "&lt;img" not in drawn["outputs"][2]["data"]["text/html"]
    assert '<td style="text-align: right">42</td>' in outputs[4][0]["text/html"]
    assert "What is there?" in outputs[5][0]["text/html"]
