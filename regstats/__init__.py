"""regstats: a container registry's webhook notifications, turned into answers.

>>> import regstats
>>> stats = regstats.open("data/sample")  # doctest: +SKIP
>>> stats.pulls(interval="hour")          # doctest: +SKIP
"""

import importlib
import logging
import os
import sys
from typing import TYPE_CHECKING, Any

from regstats.config import NOBODY, Exclude
from regstats.errors import RegstatsError

if TYPE_CHECKING:
    from regstats import charts, notebook
    from regstats.parameters import Moment
    from regstats.stats import Stats

__all__ = ["NOBODY", "Exclude", "RegstatsError", "charts", "notebook", "open"]
__version__ = "0.1.0"

logging.getLogger(__name__).addHandler(logging.NullHandler())  # a library says nothing where nobody listens


def open(  # noqa: A001
    data: str | os.PathLike[str] | None = None,
    *,
    now: "Moment | None" = None,
    exclude: Exclude | None = None,
    engine: Any = "duckdb",
) -> "Stats":
    """The numbers of the store at `data` (default: `$REGSTATS_DATA`, else `./data`), as of `now`.

    `now` is a time or a text, as `since` is: `"2026-11-24"`, `"7d"`; by default `$REGSTATS_NOW`, else the clock.

    `exclude` says who is not counted: `Exclude(actors=["ci-*"])`, `NOBODY`; by default what `regstats.toml` says, and
    else the requests of proxies and replication.

    `engine` is who computes: `"duckdb"`, in this process; Apache Spark, with the extra `spark`: `"spark"`, on this
    machine, the address of a Spark Connect server, `"sc://host:15002"`, or a SparkSession, whose settings stay as they
    are. The numbers are the same.
    Raises StoreNotFoundError where there is no such directory.
    """
    from regstats.stats import Stats

    if "ipykernel" in sys.modules:
        importlib.import_module("regstats.notebook").install()
    return Stats(data, now=now, exclude=exclude, engine=engine)


def __getattr__(name: str) -> Any:
    if name in ("charts", "notebook"):
        return importlib.import_module(f"regstats.{name}")
    raise AttributeError(f"module 'regstats' has no attribute {name!r}")
