"""Logs: one line of JSON per noteworthy thing, none per delivery; text where a person looks on."""

import logging
import sys
from datetime import UTC, datetime
from typing import Any

import msgspec


class JsonLines(logging.Formatter):
    """Each record as one line of JSON: time, level, message, and what was given as `extra={"fields": …}`.

    Control characters of whatever senders chose come out escaped.
    """

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC),
            "level": record.levelname.lower(),
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return msgspec.json.encode(line, enc_hook=repr).decode()


class Text(logging.Formatter):
    """The same for people."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, and what was given beside it."""
        when = datetime.fromtimestamp(record.created, UTC).isoformat(" ", "seconds").removesuffix("+00:00")
        fields = (f"{name}={value!r}" for name, value in getattr(record, "fields", {}).items())
        return " ".join([when, record.levelname, super().format(record), *fields])


def configure() -> None:
    """Logs of this process go to stderr."""
    handler = logging.StreamHandler()
    handler.setFormatter(Text() if sys.stderr.isatty() else JsonLines())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)


GRANIAN: dict[str, Any] = {
    "handlers": {},
    "loggers": {"_granian": {"handlers": [], "propagate": True}, "granian.access": {"handlers": []}},
}
"""Its log lines become ours."""
