"""Printing where something is missing or does not work. `real/test_printing.py` prints."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from click.testing import CliRunner
from makers import NOW, make_event
from servers import wait_until

from regstats import printing, report
from regstats.cli import main
from regstats.errors import PrintError
from regstats.stats import Stats

PRINTED = ["pdf", "png"]


@pytest.fixture
def chromium(tmp_path, monkeypatch):
    """Makes a script the Chromium, which writes down its process id; gives where."""
    pytest.importorskip("kaleido")
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()

    def make(script):
        program = tmp_path / "chromium"
        program.write_text(f"#!/bin/sh\necho $$ > {tmp_path}/pid\n{script}\n")
        program.chmod(0o755)
        monkeypatch.setenv("BROWSER_PATH", str(program))
        return tmp_path / "pid"

    return make


def is_gone(pid):
    """Also if nobody has asked what became of it."""
    state = Path(f"/proc/{pid}/stat")
    return not state.exists() or state.read_text().rpartition(")")[2].split()[0] == "Z"


def test_printing_is_an_extra():
    """The report needs none of it until it is printed."""
    told = "import sys, regstats.report; print({'kaleido', 'choreographer'} & set(sys.modules))"
    assert "set()\n" == subprocess.check_output([sys.executable, "-c", told], text=True)


@pytest.mark.parametrize("form", PRINTED)
def test_without_the_extra(stats_of, tmp_path, monkeypatch, form):
    """What to install is said, in one line, and nothing is written."""
    stats_of(make_event())
    for module in ("kaleido", "choreographer"):
        monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(main, ["report", "--data", "store", "--format", form])
    assert (1, "") == (result.exit_code, result.stdout)
    assert f"{sys.executable} -m pip install 'regstats[print]'\n" == result.stderr.partition("Install it with: ")[2]
    assert 1 == result.stderr.count("\n")
    assert ["store"] == [path.name for path in tmp_path.iterdir()]


@pytest.mark.parametrize("form", PRINTED)
def test_without_a_chromium(stats_of, tmp_path, monkeypatch, form):
    """Where one can come from is said, and nothing is written."""
    pytest.importorskip("kaleido")
    monkeypatch.setenv("BROWSER_PATH", str(tmp_path / "nosuch"))
    with pytest.raises(PrintError, match=r"nosuch, which is no file: to print, install chromium.*\$BROWSER_PATH"):
        report.write(stats_of(make_event()), tmp_path / "report", form=form)
    assert ["store"] == [path.name for path in tmp_path.iterdir()]


@pytest.mark.parametrize("form", PRINTED)
def test_a_chromium_that_fails(stats_of, chromium, form):
    """Is named, with what tells why; it leaves nothing."""
    pid = chromium("exit 3")
    with pytest.raises(PrintError, match=r"^Chromium did not start, or failed\. .*/chromium --headless .*--dump-dom"):
        report.render(stats_of(make_event()), form=form)
    assert pid.exists()
    assert [] == list((pid.parent / "tmp").iterdir())


def test_a_chromium_that_hangs(chromium, monkeypatch):
    """Is not waited for for ever; and it is gone afterwards, with what it started."""
    monkeypatch.setattr(printing, "_PATIENCE", 1)
    pid = chromium("trap '' TERM; sleep 600 & echo $! >> $0.child; sleep 600")
    with pytest.raises(PrintError, match=r"^Chromium was not done after 1 seconds\."):
        printing.pdf("")
    for file in (pid, pid.with_name("chromium.child")):
        wait_until(lambda file=file: is_gone(int(file.read_text())), "it to be gone")
    assert [] == list((pid.parent / "tmp").iterdir())


def test_nothing_to_draw(store, tmp_path):
    """There is no ZIP without pictures: who asked for some is told that there are none."""
    with pytest.raises(PrintError, match="nothing to draw in this window"):
        report.write(Stats(store.root, now=NOW), tmp_path / "charts.zip", form="png")
    assert not (tmp_path / "charts.zip").exists()


@pytest.mark.parametrize("arguments", [["-o", "charts.png"], ["-o", "charts.PNG", "--format", "png"]])
def test_several_pictures_are_no_picture(stats_of, tmp_path, monkeypatch, arguments):
    """So their file has another name."""
    stats_of(make_event())
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(main, ["report", "--data", "store", *arguments])
    assert 2 == result.exit_code
    assert "name a .zip, and say --format png" in result.stderr


def test_a_zip_is_of_tables(stats_of, tmp_path, monkeypatch):
    """Unless --format says something else; and what ends in .pdf is a PDF."""
    stats_of(make_event())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(printing, "pdf", lambda page: b"printed: " + page[:15].encode())
    monkeypatch.setattr(printing, "png", lambda charts: dict.fromkeys(charts, b""))
    for arguments in (["report.zip"], ["charts.zip", "--format", "png"], ["report.pdf"]):
        assert 0 == CliRunner().invoke(main, ["report", "--data", "store", "-o", *arguments]).exit_code
    assert "facts.csv" in zipfile.ZipFile("report.zip").namelist()
    assert ["use.png"] == zipfile.ZipFile("charts.zip").namelist()[:1]
    assert b"printed: <!doctype html>" == Path("report.pdf").read_bytes()
