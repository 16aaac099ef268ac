"""Where an answer goes, what a person sees while it is made, and what a terminal may be shown."""

import os
import re
import sys
import threading
import unicodedata
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import BinaryIO, TypeVar
from urllib.parse import quote

from regstats.errors import InputError

Result = TypeVar("Result")
Advance = Callable[[int], None]
"""Is told how many rows, or bytes, more are done."""


_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""Kinds of characters: controls, marks that reverse the direction of writing, separators of lines."""


def visible(text: str) -> str:
    """Text that does nothing to a terminal, and stays on its line: names are whatever a client wrote."""
    if text.isprintable():  # nearly every name; of spaces there are more that can be shown than are printable
        return text
    return "".join(c if unicodedata.category(c) not in _UNSEEN else f"\\u{ord(c):04x}" for c in text)


def in_file_name(text: str) -> str:
    """Text as a part of a file's name: no other directory, and nothing that a shell or a terminal would take amiss.

    No two texts are the same then.
    """
    return re.sub(r"[^\w.-]", lambda found: quote(found[0], safe=""), text)


@contextmanager
def answer(path: Path | None) -> Iterator[BinaryIO]:
    """Standard output, or a file, which appears under its name when it is whole, or not at all.

    Raises InputError where the file cannot be written. A device or a pipe is written as it is.
    """
    if path is None:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    is_file = path.is_file() or not path.exists()
    target = path.resolve() if is_file else path  # of a link: what it points to
    unseen = target.with_name(f".{target.name}.{os.getpid()}.tmp") if is_file else target
    try:
        with unseen.open("wb") as file:
            yield file
        unseen.rename(target)
    except OSError as error:
        if error.filename not in (None, str(unseen)):
            raise
        raise InputError(f"Cannot write {path}: {error.strerror or error}.") from None
    finally:
        if is_file:
            unseen.unlink(missing_ok=True)


def work(what: str, do: Callable[[Advance], Result], *, shown: bool = True, total: int | None = None) -> Result:
    """Does what takes long: shown to a person on stderr, if that is a terminal, and ended by Ctrl-C at any moment.

    `total`: of how many bytes. Without it what advances are rows, and nobody knows how many there are.

    It is done in another thread: DuckDB does not notice Ctrl-C while it makes an Arrow table.
    """
    with _shown(what, total) if shown and sys.stderr.isatty() else nullcontext(lambda _: None) as advance:
        done: Future[Result] = Future()
        threading.Thread(target=_do, args=(do, advance, done), daemon=True).start()
        return done.result()


def _do(do: Callable[[Advance], Result], advance: Advance, done: Future[Result]) -> None:
    try:
        done.set_result(do(advance))
    except BaseException as error:  # noqa: BLE001 - it is raised where somebody waits
        done.set_exception(error)


@contextmanager
def _shown(what: str, total: int | None) -> Iterator[Advance]:
    """What is being done, for how long, and how far; it goes when that is done."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = SpinnerColumn(), TextColumn("{task.description}", markup=False)
    bar = (BarColumn(), DownloadColumn()) if total else ()
    console = Console(stderr=True)
    # What is redirected would come out on stderr, and stdout is for the answer.
    with Progress(
        *columns, *bar, TimeElapsedColumn(),
        console=console, transient=True, redirect_stdout=False, redirect_stderr=False,
    ) as progress:  # fmt: skip
        task = progress.add_task(what, total=total)

        def advance(more: int) -> None:
            progress.advance(task, more)
            if not total:
                progress.update(task, description=f"{what}: {progress.tasks[0].completed:,.0f} rows")

        yield advance
