"""The notebooks: stripped, short, and they run."""

from pathlib import Path

import nbclient
import nbformat
import pytest

from regstats import lab, notebook_report, sample

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))


@pytest.fixture(params=NOTEBOOKS, ids=[path.stem for path in NOTEBOOKS])
def notebook(request):
    """Each notebook as committed."""
    return nbformat.read(request.param, as_version=4)


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def test_there_is_one():
    """Or the tests below would pass for nothing."""
    assert "01-overview" in [path.stem for path in NOTEBOOKS]


def test_a_notebook_is_a_story(notebook):
    """A question at its head, a cell of parameters, at most ten cells of code, and nothing defined in it.

    Store and present are those that `regstats lab` or `regstats report` was started with.
    """
    first, *_ = notebook.cells
    assert first.cell_type == "markdown"
    assert "?" in first.source.splitlines()[0]
    assert ["parameters"] == code_cells(notebook)[0].metadata.tags
    assert ["data = None", "now = None"] == [
        line.partition("  #")[0] for line in code_cells(notebook)[0].source.splitlines()[:2]
    ]
    assert len(code_cells(notebook)) <= 10
    assert not [cell for cell in code_cells(notebook) if "def " in cell.source or "lambda" in cell.source]


def test_a_notebook_is_committed_without_outputs(notebook):
    """So that a change of it can be read."""
    assert not [cell for cell in code_cells(notebook) if cell.outputs or cell.execution_count]


def run(notebook, folder):
    """Runs it where it lies, then again on an empty store; the outputs of its code cells, of both times.

    Every warning is an error. The kernel forgets all names in between: to start another takes longer than the rest.
    """
    start = "import os, warnings; warnings.simplefilter('error')"
    again = f"%reset -f\n{start}; os.environ['REGSTATS_DATA'] = {str(folder)!r}; del os.environ['REGSTATS_NOW']"
    sources = [cell.source for cell in code_cells(notebook)]
    runs = [list(map(nbformat.v4.new_code_cell, [first, *sources])) for first in (start, again)]
    both = nbformat.v4.new_notebook(cells=[cell for cells in runs for cell in cells], metadata=notebook.metadata)
    place = {"metadata": {"path": str(NOTEBOOKS[0].parent)}}
    manager = notebook_report.KernelManager
    nbclient.NotebookClient(both, timeout=120, resources=place, kernel_manager_class=manager).execute()
    return [[cell.outputs for cell in cells[1:]] for cells in runs]


@pytest.mark.slow
def test_a_notebook_runs_on_the_sample_and_on_an_empty_store(notebook, tmp_path, monkeypatch):
    """Every cell after the parameters shows something, and nothing is said on stderr; nothing there is no error."""
    told = lab.surroundings(str(sample.path().resolve()), None, NOTEBOOKS[0].parent, {})
    for name in ("REGSTATS_DATA", "REGSTATS_NOW"):
        monkeypatch.setenv(name, told[name])
    of_sample, of_nothing = run(notebook, tmp_path)
    assert not [output for cell in of_sample for output in cell if output.output_type == "stream"]
    assert all(of_sample[1:])
    kinds = {kind for cell in of_sample for output in cell for kind in output.data}
    assert {"text/html", "application/vnd.plotly.v1+json"} <= kinds
    assert all(of_nothing[1:])
