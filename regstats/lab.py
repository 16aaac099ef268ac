"""`regstats lab`: JupyterLab on the ready-made notebooks."""

import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, NoReturn

import click

from regstats import config, notebooks, sample
from regstats.stats import DEFAULT_DATA
from regstats.store import Store
from regstats.terminal import answer

HOST = "127.0.0.1"


class Data(NamedTuple):
    """The store that the notebooks read, and why, where nobody named it."""

    address: str
    note: str = ""


def start(
    folder: Path, data: str | None, settings: Path | None, options: Sequence[str], *, fresh: bool, port: int | None
) -> NoReturn:
    """Becomes JupyterLab: this process is its server, so that what is sent to it reaches it, and nothing is left."""
    notebooks.need_jupyter()
    chosen = choose(data, os.environ)
    environment = surroundings(chosen.address, settings, folder, os.environ)
    _tell(folder, chosen, notebooks.copy(folder, fresh=fresh))
    _register_kernel(folder)
    sys.stdout.flush()
    command = [sys.executable, "-m", "jupyterlab", *arguments(folder, options, port)]
    os.execve(sys.executable, command, environment)  # noqa: S606 - our own command


def choose(data: str | None, environ: Mapping[str, str]) -> Data:
    """The store that was named, or ./data if it is one, or else the sample. Raises StoreNotFoundError."""
    named = data or environ.get("REGSTATS_DATA")
    if named:
        return Data(Store(named).address)
    if any((Path(DEFAULT_DATA) / part).exists() for part in ("manifest.json", "journal")):
        return Data(Store(DEFAULT_DATA).address)
    why = f"There is no store in ./{DEFAULT_DATA}, so the notebooks show the sample; name yours with --data."
    return Data(Store(sample.path()).address, why)


def surroundings(data: str, settings: Path | None, folder: Path, environ: Mapping[str, str]) -> dict[str, str]:
    """The environment of the notebooks: the store, the settings in force here, and the present of the sample."""
    config.load(settings, environ)  # what is wrong with them is told now, not in a notebook
    file = config.in_force(settings, environ)
    ours = {"REGSTATS_DATA": data} | ({"REGSTATS_CONFIG": str(file.resolve())} if file else {})
    if data == str(sample.path().resolve()) and not environ.get("REGSTATS_NOW"):
        ours["REGSTATS_NOW"] = sample.NOW.isoformat()
    kernels = str(folder.resolve() / notebooks.PRIVATE)
    ours["JUPYTER_PATH"] = os.pathsep.join(filter(None, [kernels, environ.get("JUPYTER_PATH")]))
    return {**environ, **ours}


def arguments(folder: Path, options: Sequence[str], port: int | None) -> list[str]:
    """What JupyterLab is told: to listen on this machine only, to open the overview, and to stop when asked once."""
    ours = [
        f"--ServerApp.root_dir={folder.resolve()}",
        f"--ServerApp.ip={HOST}",
        f"--LabApp.default_url=/lab/tree/{notebooks.FIRST}.ipynb",
        "--ServerApp.answer_yes=True",
    ]
    if os.geteuid() == 0:
        ours.append("--allow-root")  # of somebody who works as root here, as in a container
    return [*ours, *([f"--ServerApp.port={port}"] if port else []), *options]


def _tell(folder: Path, data: Data, copied: notebooks.Copied) -> None:
    """On stderr, where JupyterLab says everything else."""
    lines = [data.note or f"The notebooks show the store in {data.address}.", f"They are in {folder.resolve()}."]
    if copied.renewed:
        lines.append(f"Renewed, as you had not changed them: {', '.join(copied.renewed)}.")
    if copied.left:
        lines.append(f"Left as you changed them: {', '.join(copied.left)}. --fresh puts ours beside them.")
    for line in lines:
        click.echo(f"regstats: {line}", err=True)


def _register_kernel(folder: Path) -> None:
    place = folder / notebooks.PRIVATE / "kernels" / "python3"
    place.mkdir(parents=True, exist_ok=True)
    with answer(place / "kernel.json") as file:
        file.write(json.dumps(notebooks.kernel()).encode())
