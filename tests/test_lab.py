"""`regstats lab` up to the moment at which it becomes JupyterLab; and the notebooks that it copies."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from click.testing import CliRunner

from regstats import lab, notebooks, sample
from regstats.cli import main
from regstats.errors import ParameterError, StoreNotFoundError

ROOT = Path(__file__).parents[1]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A user's folder, and two notebooks of ours in the place of the real ones."""
    ours = tmp_path / "ours"
    ours.mkdir()
    for name in ("01-overview", "02-more"):
        (ours / f"{name}.ipynb").write_text(notebook(f"# {name}"))
    monkeypatch.setattr(notebooks, "path", lambda: ours)
    return tmp_path / "mine"


def notebook(*sources, outputs=()):
    cells = [{"cell_type": "code", "source": [source], "outputs": list(outputs)} for source in sources]
    return json.dumps({"cells": cells, "nbformat": 4, "nbformat_minor": 5, "metadata": {}})


def update(name, text):
    """A new version of ours."""
    (notebooks.path() / f"{name}.ipynb").write_text(text)


def test_the_first_time_all_are_copied(folder):
    """And the second time nothing is left to do."""
    assert (["01-overview.ipynb", "02-more.ipynb"], [], []) == notebooks.copy(folder)
    assert ([], [], []) == notebooks.copy(folder)
    assert notebook("# 02-more") == (folder / "02-more.ipynb").read_text()


def test_a_copy_that_is_as_we_left_it_is_renewed(folder):
    """With a new version of ours."""
    notebooks.copy(folder)
    update("02-more", notebook("# better"))
    assert ([], ["02-more.ipynb"], []) == notebooks.copy(folder)
    assert notebook("# better") == (folder / "02-more.ipynb").read_text()


@pytest.mark.parametrize("ours", ["# 01-overview", "# better"])
def test_a_copy_that_was_changed_stays(folder, ours):
    """Whether ours is new or not; and however often it is started."""
    notebooks.copy(folder)
    mine = folder / "01-overview.ipynb"
    mine.write_text(notebook("# mine"))
    update("01-overview", notebook(ours))
    for _ in range(2):
        assert ([], [], ["01-overview.ipynb"]) == notebooks.copy(folder)
        assert notebook("# mine") == mine.read_text()


def test_ours_is_put_beside_it_if_asked_for(folder):
    """Once; and not over what has that name already."""
    notebooks.copy(folder)
    (folder / "01-overview.ipynb").write_text(notebook("# mine"))
    (folder / "01-overview-fresh.ipynb").write_text("also mine")
    assert ["01-overview-fresh-2.ipynb"] == notebooks.copy(folder, fresh=True).new
    assert [] == notebooks.copy(folder, fresh=True).new
    assert "also mine" == (folder / "01-overview-fresh.ipynb").read_text()
    assert notebook("# 01-overview") == (folder / "01-overview-fresh-2.ipynb").read_text()


def test_a_file_of_that_name_that_we_did_not_copy_stays(folder):
    """Also where what we know of our copies is damaged."""
    notebooks.copy(folder)
    update("01-overview", notebook("# better"))
    (folder / notebooks.PRIVATE / "copied.json").write_text("[")
    assert ["01-overview.ipynb"] == notebooks.copy(folder).left
    assert notebook("# 01-overview") == (folder / "01-overview.ipynb").read_text()


def test_a_notebook_that_was_only_run_is_not_told_of(folder):
    """It was saved with outputs, which stay; there is nothing new to be had."""
    notebooks.copy(folder)
    (folder / "01-overview.ipynb").write_text(notebook("# 01-overview", outputs=[{"output_type": "stream"}]))
    assert ([], [], []) == notebooks.copy(folder)
    assert "stream" in (folder / "01-overview.ipynb").read_text()


def test_one_that_was_removed_comes_back(folder):
    """Somebody may want it again."""
    notebooks.copy(folder)
    (folder / "02-more.ipynb").unlink()
    assert ["02-more.ipynb"] == notebooks.copy(folder).new


@pytest.mark.parametrize("name", ["overview", "01-overview", "01-overview.ipynb"])
def test_notebooks_have_names(name):
    """With or without number and extension."""
    assert ROOT / "notebooks" / "01-overview.ipynb" == notebooks.find(name)


def test_a_notebook_of_ones_own_comes_first(tmp_path, monkeypatch):
    """If it is there under the name as it was typed."""
    monkeypatch.chdir(tmp_path)
    Path("01-overview.ipynb").touch()
    assert tmp_path / "01-overview.ipynb" == notebooks.find("01-overview.ipynb")
    assert notebooks.path() / "01-overview.ipynb" == notebooks.find("01-overview")


def test_a_wrong_name_lists_the_right_ones():
    """And says that it may be a file."""
    with pytest.raises(ParameterError, match=r"no notebook 'overvew'. There are: 01-overview.*\.ipynb file"):
        notebooks.find("overvew")


def test_the_store_that_is_shown(tmp_path, monkeypatch, store):
    """The one that is named, or in the environment, or ./data; and the sample where none of them is."""
    monkeypatch.chdir(tmp_path)
    assert str(sample.path().resolve()) == lab.choose(None, {}).address
    assert "There is no store in ./data" in lab.choose(None, {}).note
    assert (str(store.root), "") == lab.choose("store", {})
    assert (str(store.root), "") == lab.choose(None, {"REGSTATS_DATA": "store"})
    with pytest.raises(StoreNotFoundError):
        lab.choose("nosuch", {})
    (tmp_path / "data" / "sample").mkdir(parents=True)  # as in a clone
    assert str(sample.path().resolve()) == lab.choose(None, {}).address
    (tmp_path / "data" / "journal").mkdir()
    assert (str(tmp_path / "data"), "") == lab.choose(None, {})


def test_what_the_notebooks_are_told(tmp_path, monkeypatch):
    """Store and settings as absolute paths, because notebooks run in their own folder; the sample has a present."""
    monkeypatch.chdir(tmp_path)
    told = lab.surroundings(str(tmp_path), None, Path("mine"), {"HOME": "/home", "JUPYTER_PATH": "/theirs"})
    assert {
        "HOME": "/home", "REGSTATS_DATA": str(tmp_path), "JUPYTER_PATH": f"{tmp_path}/mine/.regstats:/theirs",
    } == told  # fmt: skip
    Path("regstats.toml").write_text("[exclude]\nactors = ['ci-*']")
    told = lab.surroundings(str(sample.path().resolve()), None, Path("mine"), {})
    assert str(tmp_path / "regstats.toml") == told["REGSTATS_CONFIG"]
    assert "2026-11-24T00:00:00+00:00" == told["REGSTATS_NOW"]
    assert (
        "30d"
        == lab.surroundings(str(sample.path().resolve()), None, Path("mine"), {"REGSTATS_NOW": "30d"})["REGSTATS_NOW"]
    )


def test_what_jupyterlab_is_told(tmp_path):
    """To listen on this machine only, the overview first; and then what the user adds."""
    told = lab.arguments(tmp_path, ["--no-browser", "--debug"], 8899)
    assert {"--ServerApp.ip=127.0.0.1", "--LabApp.default_url=/lab/tree/01-overview.ipynb"} < set(told)
    assert ["--ServerApp.port=8899", "--no-browser", "--debug"] == told[-3:]
    assert not [option for option in lab.arguments(tmp_path, [], None) if "port" in option]


@pytest.mark.parametrize("command", [["lab"], ["report", "--notebook", "overview"]])
def test_without_jupyterlab_it_says_what_to_install(command, tmp_path, monkeypatch):
    """And does nothing."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("REGSTATS_DATA", str(sample.path()))
    monkeypatch.setattr(notebooks, "_NEEDED", ("jupyterlab", "a_module_that_nobody_has"))
    done = CliRunner().invoke(main, command)
    assert 1 == done.exit_code
    assert f"Install it with: {sys.executable} -m pip install 'regstats[lab]'" in done.stderr
    assert [] == list(tmp_path.iterdir())


@pytest.mark.slow
def test_what_is_not_code_is_in_the_wheel(tmp_path):
    """Notebooks stand in notebooks/ once, and where the package is installed they are found inside it."""
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "installed")
    package = tmp_path / "installed" / "regstats"
    ours = {path.name: path.read_bytes() for path in (ROOT / "notebooks").iterdir() if path.is_file()}
    assert ours == {path.name: path.read_bytes() for path in (package / "_notebooks").iterdir()}
    assert (ROOT / "regstats" / "grafana.json").read_bytes() == (package / "grafana.json").read_bytes()
    for folder in ("templates", "static", "sql"):
        files = {path.name for path in (ROOT / "regstats" / folder).iterdir()}
        assert files == {path.name for path in (package / folder).iterdir()}
    asked = "from regstats import notebooks, sample; print(notebooks.find('overview'), sample.path())"
    environment = os.environ | {"PYTHONPATH": str(tmp_path / "installed")}
    command = [sys.executable, "-c", asked]
    done = subprocess.run(command, cwd=tmp_path, env=environment, check=True, capture_output=True, text=True)
    assert f"{package}/_notebooks/01-overview.ipynb {package}/_sample\n" == done.stdout
