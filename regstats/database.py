"""DuckDB, and files as SQL."""

import re
from collections.abc import Iterable
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import duckdb

# No network: DuckDB would fetch extensions by itself.
_CONFIG: dict[str, Any] = {"autoinstall_known_extensions": False, "autoload_known_extensions": False}


def connect() -> "duckdb.DuckDBPyConnection":
    """A database in memory, whose times are UTC."""
    import duckdb

    connection = duckdb.connect(config=_CONFIG)
    connection.execute("set timezone = 'UTC'")
    return connection


def connect_for_upkeep(root: Path, memory: str = "2GB") -> "duckdb.DuckDBPyConnection":
    """A database for upkeep: it leaves memory and cores to the collector, and goes to the store's disk for more."""
    connection = connect()
    connection.execute(f"set temp_directory = {literal(str(root / 'tmp'))}")
    connection.execute(f"set memory_limit = {literal(memory)}")
    connection.execute("set threads = 1")
    return connection


def sql_text(name: str) -> str:
    """The text of a `.sql` file of this package."""
    return (resources.files("regstats") / "sql" / f"{name}.sql").read_text(encoding="utf-8")


def read_parquet(files: Iterable[str], columns: Iterable[str]) -> str:
    """The rows of some Parquet files as a query: these columns, and `date` from the name of the directory if not."""
    # Columns by name: hive partitioning would make one of every `key=value` directory above the store, too.
    columns, listed = list(columns), ", ".join(map(_file, files))
    if "date" in columns:
        return f"select {', '.join(columns)} from read_parquet([{listed}], hive_partitioning = false)"
    options = "hive_partitioning = true, hive_types = {date: date}"
    return f"select {', '.join(columns)}, date from read_parquet([{listed}], {options})"


def literal(text: str) -> str:
    """Any text as SQL."""
    return "'" + text.replace("'", "''") + "'"


def _file(path: str) -> str:
    """A path as SQL text that means this file: DuckDB reads file names as globs."""
    return literal(re.sub(r"[*?\[]", r"[\g<0>]", path))
