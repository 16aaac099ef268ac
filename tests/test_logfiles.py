"""Files of lines, block by block."""

import io

import pytest

from regstats import logfiles
from regstats.logfiles import LONGEST, blocks

TEXT = (
    b"".join(b"x" * length + b"\n" for length in (0, 1, 11, 12, 13, 0, 0, 400, 3))
    + "é€😀 und mehr als zwölf\n".encode()
)


def lines(block):
    read = logfiles.lines(block)
    read.validate(full=True)
    return read.to_pylist()


def test_lines_are_those_of_the_block_however_long():
    assert TEXT.decode().split("\n")[:-1] == lines(TEXT)
    assert [""] == lines(b"\n")
    assert ["a"] == lines(b"a\n")
    assert [] == lines(b"")


def test_line_ends_of_windows_are_no_part_of_lines():
    assert ["a", "b" * 20, "c\rd"] == lines(b"a\r\n" + b"b" * 20 + b"\r\nc\rd\n")


def test_what_is_no_utf_8_is_replaced_and_its_neighbours_stay():
    assert ["first line of several", "\ufffd\ufffd and so on", "last"] == lines(
        b"first line of several\n\xff\xfe and so on\nlast\n"
    )


@pytest.mark.parametrize("size", [1, 2, 7, 100, 1000, 10_000])
@pytest.mark.parametrize("end", [b"", b"without an end"])
def test_blocks_end_with_lines_and_are_all_of_the_file(size, end):
    read = list(blocks(io.BufferedReader(io.BytesIO(TEXT + end)), size))
    assert all(block.endswith(b"\n") for block in read)
    assert TEXT + (end + b"\n" if end else b"") == b"".join(read)


@pytest.mark.parametrize("end", [b"\n", b""])
def test_of_a_line_that_is_too_long_the_beginning_is_kept(end):
    long = b"y" * (3 * LONGEST + 5)
    read = b"".join(blocks(io.BufferedReader(io.BytesIO(b"first\n" + long + end)), 10))
    first, second = read.splitlines()
    assert b"first" == first
    assert LONGEST <= len(second) <= LONGEST + 10
    after = list(blocks(io.BufferedReader(io.BytesIO(long + b"\nlast\n")), 10))
    assert [b"last\n"] == after[1:]
