"""Who computes: DuckDB in this process, or Apache Spark. Which views there are, and of what, is in `engine`."""

import warnings
from typing import Any

from regstats import extras
from regstats.backends.duck import DuckDB
from regstats.backends.protocol import NONE, Backend
from regstats.errors import ParameterError
from regstats.store import Store

__all__ = ["NONE", "Backend", "backend"]


def backend(engine: Any, store: Store, patience: float | None = None) -> Backend:
    """Who computes: `"duckdb"`; `"spark"`, the address of a Spark Connect server or a SparkSession.

    Raises ParameterError for anything else, MissingExtraError where PySpark is not installed.
    """
    if engine == "duckdb":
        return DuckDB(store, patience)
    if isinstance(engine, str) and engine != "spark" and not engine.startswith("sc://"):
        raise ParameterError(f"engine: {engine!r} is none of duckdb, spark, sc://HOST:PORT, or a SparkSession.")
    with warnings.catch_warnings():  # we never have it make a frame of pandas
        warnings.filterwarnings("ignore", "PySpark does not yet fully support pandas", FutureWarning)
        made: Backend = extras.module("regstats.backends.spark", "spark", "PySpark").Spark(engine, store, patience)
    return made
