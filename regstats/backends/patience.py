"""How long whoever asks will wait."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from regstats.errors import SlowQueryError


@contextmanager
def in_time(patience: float | None, stop: Callable[[], object]) -> Iterator[None]:
    """Has `stop` called when what is done within the block takes longer. Raises SlowQueryError if it did."""
    if patience is None:
        yield
        return
    is_late = threading.Event()

    def give_up() -> None:
        is_late.set()
        stop()

    timer = threading.Timer(patience, give_up)
    timer.start()
    try:
        yield
    except Exception:
        if not is_late.is_set():
            raise
        raise SlowQueryError(
            f"This takes more than {patience:g} seconds. Ask for a shorter window, or for fewer repositories."
        ) from None
    finally:
        timer.cancel()
