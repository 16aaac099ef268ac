"""The ready-made notebooks: which there are, and copies of them that are their user's."""

import hashlib
import importlib.util
import json
import sys
from pathlib import Path
from typing import Any, NamedTuple

from regstats import extras
from regstats.errors import ParameterError
from regstats.terminal import answer

FIRST = "01-overview"
PRIVATE = ".regstats"
"""Beside a user's copies: what we need to know of them, and how a kernel is started."""

_RECORD = "copied.json"
_NEEDED = ("jupyterlab", "papermill", "nbconvert", "ipykernel")


def path() -> Path:
    """Where they are: in an installed package inside it, in a checkout under notebooks/."""
    package = Path(__file__).parent
    installed = package / "_notebooks"
    return installed if installed.is_dir() else package.parent / "notebooks"


def ready_made() -> list[Path]:
    """All of them, in their order."""
    return sorted(path().glob("*.ipynb"))


def find(name: str) -> Path:
    """The notebook of that name: a file of one's own, or one of ours, with or without number and extension.

    Raises ParameterError, which names those that there are.
    """
    own = Path(name)
    if own.suffix == ".ipynb" and own.is_file():
        return own.resolve()
    for one in ready_made():
        if name.removesuffix(".ipynb") in (one.stem, one.stem.partition("-")[2]):
            return one
    names = ", ".join(one.stem for one in ready_made())
    raise ParameterError(f"There is no notebook {name!r}. There are: {names}; or name an .ipynb file of your own.")


def need_jupyter() -> None:
    """Says what to install where the extra `lab` is not."""
    if not all(importlib.util.find_spec(module) for module in _NEEDED):
        raise extras.missing("JupyterLab with its tools", "lab")


def kernel() -> dict[str, Any]:
    """How a kernel is started: with this interpreter, whatever others are registered as `python3`."""
    return {
        "argv": [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"],
        "display_name": "Python 3 (regstats)",
        "language": "python",
        "metadata": {"debugger": True, "supported_encryption": ["curve"]},
    }


class Copied(NamedTuple):
    """What became of the ready-made notebooks in a user's folder."""

    new: list[str]
    renewed: list[str]
    left: list[str]
    """Their user changed them, so they stay, and differ from ours."""


def copy(folder: Path, *, fresh: bool = False) -> Copied:
    """Puts copies of the notebooks into a folder, and nothing on top of what its user changed.

    A copy that is as we left it is renewed. One that was changed is left; `fresh` puts ours beside it.
    """
    record = folder / PRIVATE / _RECORD
    record.parent.mkdir(parents=True, exist_ok=True)
    known = _read(record)
    done = Copied([], [], [])
    for ours in ready_made():
        content, target = ours.read_bytes(), folder / ours.name
        if not target.exists():
            _write(target, content, done.new)
        elif (there := target.read_bytes()) != content and known.get(ours.name) == _hash(there):
            _write(target, content, done.renewed)
        elif there != content:
            _leave(target, content, there, done, fresh=fresh)
            continue  # what we know of it stays what it was
        known[ours.name] = _hash(content)
    with answer(record) as file:
        file.write(json.dumps(known, indent=1).encode())
    return done


def _leave(target: Path, content: bytes, there: bytes, done: Copied, *, fresh: bool) -> None:
    if _cells(there) == _cells(content):
        return  # only run, and saved with its outputs: there is nothing new to be had
    done.left.append(target.name)
    if fresh:
        beside = _beside(target, content)
        if not beside.exists():
            _write(beside, content, done.new)


def _beside(target: Path, content: bytes) -> Path:
    """A name that is free, or has just this content."""
    number = 1
    while True:
        name = target.with_stem(f"{target.stem}-fresh" + (f"-{number}" if number > 1 else ""))
        if not name.exists() or name.read_bytes() == content:
            return name
        number += 1


def _write(target: Path, content: bytes, done: list[str]) -> None:
    with answer(target) as file:
        file.write(content)
    done.append(target.name)


def _read(record: Path) -> dict[str, str]:
    """The hashes of what we copied. Where they cannot be read, nothing is known to be ours, so nothing is renewed."""
    try:
        known = json.loads(record.read_bytes())
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}


def _cells(content: bytes) -> object:
    """What somebody wrote into a notebook, without what running it left there."""
    try:
        return [(cell["cell_type"], "".join(cell["source"])) for cell in json.loads(content)["cells"]]
    except (ValueError, KeyError, TypeError):
        return content


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
