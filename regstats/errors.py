"""Every exception that regstats raises on purpose: one tree, so that `except RegstatsError` catches them all."""


class RegstatsError(Exception):
    """The root. Its message says what is wrong, with which thing, and what to do about it."""


class ConfigError(RegstatsError):
    """A setting is unknown, of the wrong type, or unsafe."""


class MissingExtraError(RegstatsError):
    """Something was asked for that needs a package of an extra, `regstats[lab]`, which is not installed."""


class ParameterError(RegstatsError, ValueError):
    """A metric was asked with a parameter it does not have, or with a value that is not one."""


class PrintError(RegstatsError):
    """A report could not be printed: there is no Chromium, it failed or took too long, or there is nothing to draw."""


class SlowQueryError(RegstatsError):
    """An answer took longer than whoever asked would wait."""


class PayloadError(RegstatsError):
    """A payload, or one event in it, cannot be understood. The reason is what the quarantine shows."""


class InputError(RegstatsError):
    """A file given to `regstats import` cannot be read."""


class DeliveryError(RegstatsError):
    """Something did not arrive where it was sent."""


class ActionError(RegstatsError):
    """What a rule of deployment was to do was not done, or nobody knows."""

    def __init__(self, message: str, *, again: bool = True) -> None:
        super().__init__(message)
        self.again = again
        """Whether it may go better another time."""


class StoreError(RegstatsError):
    """The store on disk is not what it should be."""


class StoreNotFoundError(StoreError):
    """There is no store where one was asked for."""


class JournalError(StoreError):
    """A delivery could not be made durable, so it must not be acknowledged."""
