"""Answers to many readers at once: what was asked a moment ago is known, and few things are worked out at a time."""

import threading
import time
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from contextlib import suppress
from datetime import datetime
from typing import Any, Generic, TypeVar

import pandas as pd
from cachetools import TTLCache
from werkzeug.exceptions import ServiceUnavailable

from regstats.config import Settings
from regstats.database import sql_text
from regstats.parameters import FILTERS
from regstats.stats import Stats

Value = TypeVar("Value")

_AT_ONCE = 2
"""Questions that are worked out at a time. DuckDB takes all cores for one; more at once only take more memory."""
_PATIENCE = 15.0
"""Seconds that a question waits for its turn."""
_ROWS = 2_000_000
"""Of all frames together that are kept."""
_RECENT = 1.0
"""Seconds that what has just happened may be old."""
_LAG = 1.0
"""Seconds between two looks at what has come: one takes as long as several questions."""


class Kept(Generic[Value]):
    """Values that are made when they are asked for, and kept for some seconds. However many ask, one makes it."""

    def __init__(
        self,
        seconds: float,
        room: float,
        size_of: Callable[[Value], float],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._known: TTLCache[Hashable, Value] = TTLCache(room, seconds, timer=clock, getsizeof=size_of)
        self._making: dict[Hashable, Future[Value]] = {}
        self._lock = threading.Lock()

    def find(self, key: Hashable) -> Value | None:
        """The value, if it is known."""
        with self._lock:
            return self._known.get(key)

    def keep(self, key: Hashable, value: Value) -> None:
        """Keeps a value, if there is room for it."""
        with self._lock, suppress(ValueError):
            self._known[key] = value

    def get(self, key: Hashable, make: Callable[[], Value]) -> Value:
        """The value, made if it is not known. What `make` raises, all get who wait for it, and the next may try."""
        with self._lock:
            known, future = self._known.get(key), self._making.get(key)
            if known is not None:
                return known
            if future is None:
                made = self._making[key] = Future()
        if future is None:
            future = made
            self._make(key, make, made)
        return future.result()

    def _make(self, key: Hashable, make: Callable[[], Value], future: Future[Value]) -> None:
        try:
            value = make()
        except BaseException as error:  # noqa: BLE001 - it is raised where somebody waits
            future.set_exception(error)
        else:
            self.keep(key, value)
            future.set_result(value)
        finally:
            with self._lock:
                del self._making[key]


class Answers:
    """The metrics of a store. Frames belong to all who ask: nobody may change one."""

    def __init__(self, settings: Settings) -> None:
        # After that time the connection is cut, and nobody waits for the answer.
        patience, age = settings.request_timeout, settings.read.cache / 2
        self._stats = Stats(settings.data, exclude=settings.exclude, lag=min(_LAG, age), patience=patience)
        self._frames: Kept[pd.DataFrame] = Kept(age, _ROWS, lambda frame: len(frame) + 1000)
        self._recent: Kept[pd.DataFrame] = Kept(min(_RECENT, age), _ROWS, len)
        self._turns = threading.Semaphore(_AT_ONCE)

    @property
    def now(self) -> datetime:
        """The present, as the numbers see it."""
        return self._stats.present

    @property
    def excluded(self) -> str:
        """Who is not counted."""
        return str(self._stats.exclude)

    def frame(self, metric: str, **parameters: Any) -> pd.DataFrame:
        """What a metric answers; `frame.attrs["as_of"]` is when. Raises ParameterError where the question is wrong."""
        return self._answered(self._frames, metric, parameters)

    def fresh(self, metric: str, **parameters: Any) -> pd.DataFrame:
        """The same, at most two seconds old."""
        return self._answered(self._recent, metric, parameters)

    def _answered(self, kept: Kept[pd.DataFrame], metric: str, parameters: dict[str, Any]) -> pd.DataFrame:
        key = (metric, *sorted((name, _hashable(name, value)) for name, value in parameters.items()))
        return kept.get(key, lambda: self._ask(lambda: getattr(self._stats, metric)(**parameters)))

    def rows(self, name: str, *, fresh: bool = False, **values: Any) -> pd.DataFrame:
        """The rows of another of the `.sql` files; at most two seconds old, if they are to be fresh."""
        kept = self._recent if fresh else self._frames
        key = (name, *sorted(values.items()))
        return kept.get(key, lambda: self._ask(lambda: self._sql(name, values)))

    def _sql(self, name: str, values: dict[str, Any]) -> pd.DataFrame:
        table = self._stats.sql(sql_text(name), **values).to_arrow_table()
        return pd.DataFrame(table.to_pandas(date_as_object=False))

    def _ask(self, ask: Callable[[], pd.DataFrame]) -> pd.DataFrame:
        if not self._turns.acquire(timeout=_PATIENCE):
            raise ServiceUnavailable("Others ask too much at the moment. Try again.", retry_after=int(_PATIENCE))
        try:
            as_of, frame = self.now, ask()
        finally:
            self._turns.release()
        frame.attrs["as_of"] = as_of
        return frame


def _hashable(name: str, value: Any) -> Hashable:
    """A parameter as part of a key: one glob is the same as a list of one."""
    several = [value] if name in (*FILTERS, "rule") and isinstance(value, str) else value
    return tuple(several) if isinstance(several, list) else several
