"""The report as a real Chromium prints it: a PDF with text and vectors, and pictures of its charts."""

import io
import os
import re
import socket
import struct
import subprocess
import tempfile
import threading
import zipfile
import zlib
from pathlib import Path

import pytest
from engines import needs
from makers import NOW
from servers import HOST, wait_until

from regstats import printing, report, sample
from regstats.briefing import brief
from regstats.errors import PrintError
from regstats.stats import Stats

PARTS = [
    ("Pulls over time", "version checks"),
    ("Who does what", "deletes"),
    ("Popular but stale", "days since the last update"),
    ("Age of the last update, against the usual interval", "since the last update"),
    ("What nobody pulls", "days without a pull"),
    ("Out of the ordinary", "time (UTC)"),
]
"""The title of each chart, and something at its lower end."""


@pytest.fixture(autouse=True)
def temporary(tmp_path, monkeypatch):  # pytest makes its own before, elsewhere
    """The folder for what is there only for a while; that it, and Chromium, are gone afterwards is checked."""
    pytest.importorskip("kaleido")
    needs("chromium", "pdftotext")
    with tempfile.TemporaryDirectory() as folder:  # pytest's have names that are too long for Chromium's socket
        monkeypatch.setenv("TMPDIR", folder)
        monkeypatch.setattr("tempfile.tempdir", folder)
        yield Path(folder)
        wait_until(lambda: not running(folder), "Chromium to end")


def running(folder):
    """The processes that were told of a folder."""
    commands = (place for place in Path("/proc").glob("[0-9]*/cmdline"))
    return [place for place in commands if os.fsencode(folder) in read(place)]


def read(place):
    try:
        return place.read_bytes()
    except OSError:  # it has just ended
        return b""


@pytest.fixture
def stats():
    return Stats(sample.path(), now=sample.NOW)


def pages(pdf):
    """The text of each page."""
    done = subprocess.run(["pdftotext", "-layout", "-", "-"], input=pdf, capture_output=True, check=True)
    return done.stdout.decode().split("\f")[:-1]


def told(program, pdf, tmp_path):
    """What another program of poppler says of a PDF."""
    (tmp_path / "file.pdf").write_bytes(pdf)
    return subprocess.check_output([*program, tmp_path / "file.pdf"], text=True)


def test_a_pdf_of_the_sample(stats, tmp_path, temporary):
    """All that the page says, on A4, with charts that are whole and are no pictures."""
    pdf = report.render(stats, form="pdf")
    assert [] == list(temporary.iterdir())
    text = pages(pdf)
    for part in ["Registry report", "1,850", "version checks", "Most of all: team/web", "Trust", "Made by regstats."]:
        assert part in "".join(text)
    assert [True] * len(PARTS) == [any(top in page and end in page for page in text) for top, end in PARTS]
    assert f"{len(text)}/{len(text)}" in text[-1].replace(" ", "")
    assert re.search(r"Page size:.*\(A4\)", told(["pdfinfo"], pdf, tmp_path))
    assert 2 == len(told(["pdfimages", "-list"], pdf, tmp_path).splitlines())  # the head of an empty list
    assert pdf == report.render(stats, form="pdf")


def test_pictures_of_the_sample(stats):
    """One of each chart, on white, twice as large as on a page; what has nothing to draw is left out."""
    made = report.render(stats, form="png")
    archive = zipfile.ZipFile(io.BytesIO(made))
    heights = {f"{section.name}.png": section.draw().layout.height for section in brief(stats).sections if section.draw}
    assert len(PARTS) == len(heights)
    sizes = {name: (2000, 2 * height) for name, height in heights.items()}
    assert sizes == {name: size(archive.read(name)) for name in archive.namelist()}
    for name in archive.namelist():
        drawn = pixels(archive.read(name))
        assert b"\xff\xff\xff" == drawn[1:4]  # after the byte that says how the line is written
        assert len(set(drawn)) > 50
    assert made == report.render(stats, form="png")


def size(png):
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    return struct.unpack(">II", png[16:24])


def pixels(png):
    """The bytes of a picture; a line of one colour is zeros."""
    at, data = 8, b""
    while at < len(png):
        length, kind = struct.unpack(">I4s", png[at : at + 8])
        data += png[at + 8 : at + 8 + length] if kind == b"IDAT" else b""
        at += length + 12
    return zlib.decompress(data)


def test_a_pdf_of_an_empty_store(store):
    """Says that there is nothing."""
    text = "".join(pages(report.render(Stats(store.root, now=NOW), form="pdf")))
    assert "Nothing happened in this window." in text
    assert 8 == text.count("Nothing in this window.")


def test_a_long_table(store):
    """Has its head on every page, and no row on two."""
    page = report.as_html(brief(Stats(store.root, now=NOW)))
    rows = "<tr><td>begun<br>ended</td></tr>" * 200
    table = f"<table data-sortable><thead><tr><th>head</th></tr></thead><tbody>{rows}</tbody></table>"
    text = pages(printing.pdf(page.replace("<header>", f"{table}<header>")))
    counts = [tuple(page.count(word) for word in ("head", "begun", "ended")) for page in text if "begun" in page]
    assert len(counts) > 4
    assert [(1, begun, begun) for _, begun, _ in counts] == counts
    assert 200 == sum(begun for _, begun, _ in counts)


@pytest.fixture
def asked(monkeypatch):
    """The hosts that anything tries to reach, whose proxy this is."""
    hosts = []
    with socket.create_server((HOST, 0)) as server:
        monkeypatch.setattr(printing, "_NOWHERE", f"{HOST}:{server.getsockname()[1]}")
        threading.Thread(target=proxy, args=(server, hosts), daemon=True).start()
        yield hosts
        server.shutdown(socket.SHUT_RDWR)


def proxy(server, hosts):
    while True:
        try:
            connection, _ = server.accept()
        except OSError:
            return
        with connection:
            hosts += re.findall(rb"^(?:GET http://|CONNECT )([^/: ]+)", connection.recv(1000))


def test_nothing_is_fetched(stats, asked):
    """Neither for the page nor for the pictures. What a page does fetch ends there, and so do Chromium's own wishes."""
    printing.pdf("<img src=http://attacker.example/x><img src=https://192.0.2.1/x>")
    assert {b"attacker.example", b"192.0.2.1"} <= set(asked)
    asked.clear()
    for form in ("pdf", "png"):
        report.render(stats, form=form)
    its_own = (b".google.com", b".googleapis.com", b".gvt1.com", b".duckduckgo.com")  # the last: Debian's start page
    assert [] == [host for host in asked if not host.endswith(its_own)]


def test_a_page_that_never_ends(monkeypatch):
    """Is given up; and Chromium is gone, whatever it was doing."""
    monkeypatch.setattr(printing, "_PATIENCE", 5)
    with pytest.raises(PrintError, match="was not done after 5 seconds"):
        printing.pdf("<script>addEventListener('load', () => { while (true); })</script>")
