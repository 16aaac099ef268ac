"""What is only installed with an extra, `regstats[lab]` or `regstats[print]`."""

import importlib
import sys
from typing import Any

from regstats.errors import MissingExtraError


def module(name: str, extra: str, needed: str | None = None) -> Any:
    """A module of an extra; `needed` is what people know it as. Raises MissingExtraError where it is not installed."""
    try:
        return importlib.import_module(name)
    except ImportError:
        raise missing(needed or name.partition(".")[0], extra) from None


def missing(what: str, extra: str) -> MissingExtraError:
    """Says what to install."""
    return MissingExtraError(
        f"This needs {what}, which is not installed. Install it with: {sys.executable} -m pip install "
        f"'regstats[{extra}]'"
    )
