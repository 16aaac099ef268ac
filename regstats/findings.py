"""What `regstats doctor` finds: all is well, or what is wrong, and what to write where."""

from typing import Literal
from urllib.parse import SplitResult, urlsplit

from msgspec import Struct

from regstats.terminal import visible

Status = Literal["ok", "hint", "warning", "problem", "skipped"]


class Finding(Struct, frozen=True):
    """What one check found."""

    check: str
    """About what: configuration, collector, registry, queue, store, probe."""
    status: Status
    """A problem loses events, or all of them; a warning makes numbers wrong or may; a hint only says what is missed."""
    what: str
    remedy: str = ""
    """What to write where, or what is needed for a check that was skipped; several lines, if need be."""

    @property
    def text(self) -> str:
        """For a terminal: a line, and below it what to do."""
        lines = [f"{_SIGNS[self.status]} {self.check:13} {visible(self.what)}"]
        return "\n".join([*lines, *(f"{'':18}{visible(line)}" for line in self.remedy.splitlines())])


_SIGNS: dict[Status, str] = {
    "ok": "\N{CHECK MARK}",
    "hint": "\N{MIDDLE DOT}",
    "warning": "!",
    "problem": "\N{MULTIPLICATION X}",
    "skipped": "\N{EN DASH}",
}

CONFIG = "the registry's config.yml"
BEARER = f"""\
Write at the endpoint in {CONFIG}, and restart it:
  headers: {{Authorization: [Bearer TOKEN]}}
TOKEN being `token` of the collector's regstats.toml."""  # no token is ever shown
NTP = "Let both keep time: timedatectl set-ntp true"
FORWARD = f"""\
Let a proxy before the registry say for whom it asks, and nobody else. In nginx, and not $proxy_add_x_forwarded_for:
  proxy_set_header X-Forwarded-For $remote_addr;
and so that nobody goes round it, where both are on one machine, in {CONFIG}:
  http: {{addr: 127.0.0.1:5000}}"""


def split(url: str) -> SplitResult:
    """The parts of an address; none where it is no address."""
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 - it is only read then
    except ValueError:
        return urlsplit("")
    return parts


def masked(url: str) -> str:
    """An address without the login that may be in it, or a key in its query."""
    parts = split(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()


def refused(status: int, source: str, url: str) -> tuple[str, str]:
    """Why a delivery is not taken that is answered so, and what to do."""
    table = f"[sources.{visible(source)}]"
    known = {
        400: ("it is cut off on its way", "Look at what is in between: a proxy shortens it, or gives up."),
        401: (f"the token is not that of the source `{source}`", BEARER),
        403: (
            f"whoever asks is no address from which `{source}` may send",
            f"Write the registry's address into `allow` in regstats.toml, or in {table} there; and into "
            "`trusted_proxies` that of a proxy in between.",
        ),
        404: (
            f"there is no source `{source}`, or nothing at all under this path",
            f"Write {table} in regstats.toml, and restart the collector; or the right address in {CONFIG}:\n"
            "  url: …/events",
        ),
        405: (
            "what was posted came as something else: a redirect made a GET of it",
            f"Write in {CONFIG} the address to which it leads, https:// most likely, and restart it:\n  url: …/events",
        ),
        413: (
            "it is too large",
            "Raise `max_body` in regstats.toml, or of a proxy in between `client_max_body_size`.",
        ),
        503: (
            "the collector cannot store it: its disk is full, or read-only",
            "Make room; the registry keeps its events until then, if it is not restarted.",
        ),
    }
    if status in known:
        return known[status]
    if 300 <= status < 400:
        why = "it is redirected: a registry follows without what it has to say, and takes the answer for success"
        return why, f"Write in {CONFIG} where that leads, and restart it. This says it:\n  curl -I {visible(url)}"
    if status in (502, 504):
        return "the proxy in between does not reach the collector", "Look at its `proxy_pass`, and into its log."
    return (
        f"{status} is nothing that a collector says: another server is there",
        f"Look what listens at {visible(url)}.",
    )
