"""regstats: a container registry's webhook notifications, turned into answers.

>>> import regstats
>>> stats = regstats.open("data/sample")  # doctest: +SKIP
>>> stats.pulls(interval="hour")          # doctest: +SKIP
"""

import importlib
import os
from typing import TYPE_CHECKING, Any

from regstats.errors import RegstatsError

if TYPE_CHECKING:
    from regstats import charts
    from regstats.parameters import Moment
    from regstats.stats import Stats

__all__ = ["RegstatsError", "charts", "open"]
__version__ = "0.1.0"


def open(data: str | os.PathLike[str] | None = None, *, now: "Moment | None" = None) -> "Stats":  # noqa: A001
    """The numbers of the store at `data` (default: `$REGSTATS_DATA`, else `./data`), as of `now` (default: the clock).

    Raises StoreNotFoundError where there is no such directory.
    """
    from regstats.stats import Stats

    return Stats(data, now=now)


def __getattr__(name: str) -> Any:
    if name == "charts":
        return importlib.import_module("regstats.charts")
    raise AttributeError(f"module 'regstats' has no attribute {name!r}")
