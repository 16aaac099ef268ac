"""The ledger: what rules of deployment did and are doing. A file for each deployment that is not in a part yet.

DATA/ledger/<deployment>.json       as it is now; replaced whole
DATA/ledger/<deployment>.out        what its command says; locked for as long as the command runs
DATA/ledger/asked/<what>-<deployment>.json    what somebody asks for: approve, reject, run
DATA/ledger/state                   which rules hold since when, and what was looked at
DATA/ledger/lock                    held by the process that acts
"""

import os
from collections.abc import Iterator
from datetime import datetime
from logging import getLogger
from pathlib import Path
from typing import Literal, NamedTuple, get_args

import msgspec
from msgspec import Struct

from regstats.events import ENDED, Deployment
from regstats.journal import lock
from regstats.parts import appearing

_log = getLogger(__name__)

Wish = Literal["approve", "reject", "run"]


class Since(Struct, frozen=True):
    """From when on a rule holds; with another `match` it begins anew."""

    at: datetime
    match: str


class State(Struct):
    """What is remembered beside the deployments."""

    rules: dict[str, Since] = {}
    looked_at: datetime | None = None
    """What was received before has been looked at."""


class Asked(Struct, frozen=True):
    """Who asks for something, and when."""

    by: str
    at: datetime


class Request(NamedTuple):
    """What somebody asks for."""

    path: Path
    deployment_id: str
    wish: Wish
    asked: Asked


class Ledger:
    """The deployments of a store that are not in parts. Anybody may read it and ask for something; one process acts."""

    def __init__(self, root: Path) -> None:
        self.folder = root / "ledger"
        self._state = self.folder / "state"

    def files(self) -> list[Path]:
        """One for each deployment."""
        return sorted(self.folder.glob("*.json"))

    def read(self) -> list[Deployment]:
        """All of them. Raises FileNotFoundError where one has just become part of a part."""
        return [deployment for path in self.files() if (deployment := _read(path))]

    def open(self) -> list[Deployment]:
        """Those of which more will come. Nobody but the one who acts removes any of them."""
        return [deployment for deployment in self._there() if deployment.status not in ENDED]

    def ended(self) -> list[Deployment]:
        """Those that can become part of a part."""
        return [deployment for deployment in self._there() if deployment.status in ENDED]

    def _there(self) -> list[Deployment]:
        found = []
        for path in self.files():
            try:
                found.append(_read(path))
            except FileNotFoundError:
                continue
        return [deployment for deployment in found if deployment]

    def put(self, deployment: Deployment) -> None:
        """Durable from here on."""
        with appearing(self.folder / f"{deployment.deployment_id}.json") as unseen:
            unseen.write_bytes(msgspec.json.encode(deployment))

    def remove(self, deployment: Deployment) -> None:
        """It is in a part now."""
        (self.folder / f"{deployment.deployment_id}.json").unlink(missing_ok=True)

    def output(self, deployment_id: str) -> Path:
        """Where its command writes to."""
        return self.folder / f"{deployment_id}.out"

    def is_running(self, deployment_id: str) -> bool:
        """Whether a command of it runs, even if the collector that started it is gone."""
        try:
            file = os.open(self.output(deployment_id), os.O_RDONLY)
        except FileNotFoundError:
            return False
        try:
            return not lock(file)
        finally:
            os.close(file)

    def act(self) -> int | None:
        """The right to act, for as long as this file is open; None if somebody else has it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        file = os.open(self.folder / "lock", os.O_WRONLY | os.O_CREAT, 0o640)
        if lock(file):
            return file
        os.close(file)
        return None

    # What people ask for

    def ask(self, deployment_id: str, wish: Wish, asked: Asked) -> Path:
        """Lets whoever acts know. The file goes when it is done."""
        path = self.folder / "asked" / f"{wish}-{deployment_id}.json"
        with appearing(path) as unseen:
            unseen.write_bytes(msgspec.json.encode(asked))
        return path

    def requests(self) -> Iterator[Request]:
        """What was asked for, and is not done yet."""
        for wish in get_args(Wish):
            for path in sorted((self.folder / "asked").glob(f"{wish}-*.json")):
                name = path.stem.removeprefix(f"{wish}-")
                try:
                    yield Request(path, name, wish, msgspec.json.decode(path.read_bytes(), type=Asked))
                except (msgspec.DecodeError, UnicodeDecodeError):
                    _log.error("Nobody can read what was asked for.", extra={"fields": {"file": path.name}})
                    path.unlink()

    # What is remembered

    def state(self) -> State:
        """What was remembered last."""
        try:
            return msgspec.json.decode(self._state.read_bytes(), type=State)
        except FileNotFoundError:
            return State()
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            fields = {"file": str(self._state), "error": str(error)}
            _log.error("Rules of deployment begin anew: nobody can read what was remembered.", extra={"fields": fields})
            return State()

    def remember(self, state: State) -> None:
        """Durable from here on."""
        with appearing(self._state) as unseen:
            unseen.write_bytes(msgspec.json.encode(state))


def _read(path: Path) -> Deployment | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Deployment)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        fields = {"file": str(path), "error": str(error)}
        _log.error("A deployment is not counted, because nobody can read its file.", extra={"fields": fields})
        return None
