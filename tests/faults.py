"""Work on a store that is killed, or whose disk is full, at each of its steps in turn."""

import errno
import io
import os
import random
from contextlib import contextmanager

import pytest

from regstats import parts
from regstats.errors import StoreError

# What changes something on disk, or is about to. The work stops before the operation.
STEPS = [(os, "fsync"), (os, "rename"), (os, "unlink"), (os, "mkdir"), (os, "open"), (io, "open"), (parts, "writer")]


class Killed(BaseException):
    """Like SIGKILL, nothing but `finally` runs: the kernel closes files and frees locks, too."""


def disk_full():
    return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@contextmanager
def stopped_before(step, reason):
    """Raises the reason before the step-th operation on a file in this block."""
    count = 0

    def counting(original):
        def operation(*arguments, **options):
            nonlocal count
            count += 1
            if count == step:
                raise reason()
            return original(*arguments, **options)

        return operation

    with pytest.MonkeyPatch.context() as patch:
        for owner, name in STEPS:
            patch.setattr(owner, name, counting(getattr(owner, name)))
        yield


def at_every_step(make, work, reason=Killed, stride=1):
    """Makes something, works on it, and is stopped: before the first step, then before the second, until it finishes.

    With a stride only each so manieth step is tried, at random; `STRESS=1` tries all of them.

    Yields what was made each time, after the work was stopped.
    """
    step, is_finished = 0, False
    while not is_finished:
        step += 1 if os.environ.get("STRESS") else random.randint(1, 2 * stride - 1)
        assert step < 1000, "it never comes to an end"
        made = make(step)
        try:
            with stopped_before(step, reason):
                work(made)
            is_finished = True
        except (Killed, OSError, StoreError):
            pass
        yield made
    assert step > 5, "hardly anything was done"
