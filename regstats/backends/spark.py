"""Apache Spark, for a store that does not fit one machine: the same text, and the same answers."""

import hashlib
import os
import re
import shutil
import threading
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession

from regstats.backends.patience import in_time
from regstats.backends.protocol import NONE
from regstats.backends.sparksql import FUNCTIONS, globbed, pattern, spelled
from regstats.errors import MissingExtraError, ParameterError
from regstats.parts import Part
from regstats.storage import is_url
from regstats.store import Store

_LOGGING = Path(__file__).with_name("log4j2.properties")
_OWN = {
    "spark.driver.host": "127.0.0.1",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.sql.shuffle.partitions": str(os.cpu_count() or 1),
    "spark.driver.extraJavaOptions": f"-Dlog4j2.configurationFile={_LOGGING.as_uri()}",
}
"""Of a session on this machine: nobody else reaches it, and it says nothing."""
_KNOWN = 1000
"""Views that stay: of parts, because to find a file takes longer than to open it, and of the answers of a server."""


class Spark:
    """A `Backend`. One question at a time is planned, several are answered.

    `where` is a SparkSession, whose settings stay as they are; the address of a Spark Connect server; or `spark`: a
    session on this machine. Executors have to see the store under the same path.
    """

    def __init__(self, where: Any, store: Store, patience: float | None) -> None:
        self._session = _session(where)
        self._is_remote = _is_remote(self._session)
        self._store = store
        self._patience = patience
        self._lock = threading.Lock()
        self._defined: set[str] = set()
        self._known: list[str] = []

    def rows(self, parts: Iterable[Part], columns: Iterable[str]) -> str:
        """The rows of some parts, whose date is in their path where it is no column."""
        parts, columns = list(parts), list(columns)
        name = f"parts_{hashlib.sha256(f'{parts}{columns}'.encode()).hexdigest()[:16]}"
        with self._lock:
            if name not in self._known:
                self._remember(name, self._read(parts, columns))
        return f"select * from {name}"

    def _read(self, parts: list[Part], columns: list[str]) -> DataFrame:
        reader = self._session.read
        if "date" not in columns:
            reader = reader.option("basePath", f"{self._place}/{parts[0].table}")
            columns = [*columns, "date"]
        return reader.parquet(*(_literally(f"{self._place}/{part.path}") for part in parts)).select(*columns)

    def view(self, name: str, sql: str) -> None:
        """Makes a view, or makes it anew."""
        self._define(name, self._frame(sql))

    def table(self, name: str, sql: str, tables: Mapping[str, pa.Table] = NONE) -> None:
        """Has the rows of a query now, and leaves them with the executors."""
        self._define(name, self._frame(sql, tables=tables).localCheckpoint())

    def _define(self, name: str, frame: DataFrame) -> None:
        frame.createOrReplaceTempView(name)
        self._defined.add(name)

    def exchange(self, table: str, gone: str, sql: str) -> None:
        """Makes a table anew without some of its rows, and with others."""
        self.table(table, f"select * from {table} where not ({gone}) union all {sql}")

    def fetch(self, sql: str) -> list[tuple[Any, ...]]:
        """The rows of a small query."""
        return [tuple(row) for row in self._frame(sql).collect()]

    def relation(self, sql: str, values: dict[str, Any], tables: Mapping[str, pa.Table]) -> DataFrame:
        """A query as a Spark DataFrame."""
        return self._frame(sql, values, tables)

    def query(self, sql: str, values: dict[str, Any], tables: Mapping[str, pa.Table]) -> pa.Table:
        """The rows of a query, of the types that DuckDB gives. Raises SlowQueryError after `patience` seconds."""
        with self._interruptible() as stop, in_time(self._patience, stop):
            return _as_duckdb(self._frame(sql, values, tables).toArrow())

    @contextmanager
    def _interruptible(self) -> Iterator[Callable[[], object]]:
        """How another thread ends what is computed within the block."""
        tag, session = f"regstats-{uuid.uuid4()}", self._session
        if self._is_remote:
            add, remove, stop = session.addTag, session.removeTag, session.interruptTag
        else:  # the tags of a session on this machine are known to the thread alone that gave them
            context: Any = session.sparkContext
            add, remove, stop = context.addJobTag, context.removeJobTag, context.cancelJobsWithTag
        add(tag)
        try:
            yield partial(stop, tag)
        finally:
            remove(tag)

    def _frame(self, sql: str, values: Mapping[str, Any] = NONE, tables: Mapping[str, pa.Table] = NONE) -> DataFrame:
        """A query, of which everything that it needs more than once has been made."""
        globs, (steps, rest) = globbed(sql), spelled(sql, self._defined)
        args = {name: pattern(value) if name in globs and value else value for name, value in values.items()}
        names = [*tables, *(step.name for step in steps)]
        if taken := self._defined.intersection(tables):
            raise ParameterError(f"tables: {min(taken)!r} is a view already. Give it another name.")
        with self._lock:
            try:
                for name, table in tables.items():
                    self._show(name, _with_patterns(table, globs))
                for step in steps:
                    frame = self._session.sql(step.text, args=args)
                    (frame.localCheckpoint() if step.is_needed_again else frame).createOrReplaceTempView(step.name)
                return self._looked_up(self._session.sql(rest, args=args))
            finally:
                for name in names:
                    self._session.catalog.dropTempView(name)

    def _looked_up(self, frame: DataFrame) -> DataFrame:
        """A query that has what it names. A server looks for it only when it answers: then it may have gone."""
        if not self._is_remote:
            return frame
        name = f"answer_{uuid.uuid4().hex}"
        self._remember(name, frame)
        return self._session.table(name)

    def _show(self, name: str, table: pa.Table) -> None:
        if table.num_rows:
            frame = self._session.createDataFrame(table)
        else:  # PySpark does not take what is empty
            nothing = pa.table({field.name: pa.nulls(1, field.type) for field in table.schema})
            frame = self._session.createDataFrame(nothing).where("false")
        frame.createOrReplaceTempView(name)

    def _remember(self, name: str, frame: DataFrame) -> None:
        frame.createOrReplaceTempView(name)
        self._known.append(name)
        if len(self._known) > _KNOWN:
            self._session.catalog.dropTempView(self._known.pop(0))

    @property
    def _place(self) -> str:
        """Where the store is, as Hadoop calls it."""
        place = self._store.address
        return re.sub(r"^s3://", "s3a://", place.rstrip("/")) if is_url(place) else f"file:{place}"


def _with_patterns(table: pa.Table, globs: set[str]) -> pa.Table:
    for position, name in enumerate(table.column_names):
        if name in globs:
            patterns = [None if glob is None else pattern(glob) for glob in table[name].to_pylist()]
            table = table.set_column(position, name, pa.array(patterns, pa.string()))
    return table


def _as_duckdb(table: pa.Table) -> pa.Table:
    """The types that DuckDB gives: Spark counts some things in 32 bits, and adds up decimals."""
    return table.cast(pa.schema([field.with_type(_wide(field.type)) for field in table.schema]))


def _wide(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_integer(kind):
        return pa.int64()
    return pa.float64() if pa.types.is_decimal(kind) else kind


def _literally(path: str) -> str:
    """A path that means this file: Hadoop reads file names as globs."""
    return re.sub(r"[*?\[\]{}\\]", r"\\\g<0>", path)


def _is_remote(session: Any) -> bool:
    return ".connect." in type(session).__module__


def _session(where: Any) -> SparkSession:
    """A session of our own, whose times are UTC."""
    if not isinstance(where, str):
        if _is_remote(where):  # PySpark 4.3 finds no checkpoint in another session of the same client
            raise ParameterError(
                "engine: this is a session of Spark Connect. Give the server's address, sc://HOST:PORT."
            )
        session: SparkSession = where.newSession()
    elif where == "spark":
        session = _started().newSession()
    else:
        session = SparkSession.builder.remote(where).create()
    session.conf.set("spark.sql.session.timeZone", "UTC")
    session.conf.set("spark.sql.ansi.enabled", "true")
    for function in FUNCTIONS:
        session.sql(f"create or replace temporary function {function}")
    return session


def _started() -> SparkSession:
    """The session of this process, or one that nobody outside this machine reaches."""
    if session := SparkSession.getActiveSession():
        return session
    java = Path(os.environ["JAVA_HOME"], "bin", "java") if os.environ.get("JAVA_HOME") else "java"
    if shutil.which(java) is None:
        raise MissingExtraError(f"Spark needs Java 17 or newer, and there is no {java}. Install it, or set JAVA_HOME.")
    os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
    builder = SparkSession.builder.master("local[*]").appName("regstats")
    for name, value in _OWN.items():
        builder = builder.config(name, value)
    return builder.getOrCreate()
