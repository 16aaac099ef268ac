"""What a rule does when it is time: a command, or a request. Once, and with what came of it in words.

Names of repositories and tags, and of who pushed, are whatever somebody wrote. In a command they are arguments, never
words of a shell, and never options; in an address they are quoted; in a body they are text in JSON.
"""

import hashlib
import hmac
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from urllib.parse import quote

import msgspec

from regstats import extras, kube, swarm
from regstats.agenda import revealed, span_of
from regstats.errors import ActionError, ConfigError, MissingExtraError
from regstats.events import Change
from regstats.journal import lock
from regstats.registry import digest_of
from regstats.requesting import UnreachableError, ask, basic, bearer, is_address, is_passing
from regstats.rules import Http, Registry, Rule, filled, values

_TAIL = 4000  # bytes of what a command says that are kept
_MUCH = 1_000_000  # bytes of it on disk, before only its end is kept
_GRACE = 5.0  # seconds between asking a command to end, and ending it
_WRITING = 10.0  # seconds that a registry may take to write a tag of which it has told already
_GLANCE = 0.2  # seconds between two looks at a command


class Outcome(NamedTuple):
    """What came of it."""

    ok: bool | None
    """None: it was interrupted, and nobody knows."""
    why: str
    output: str = ""
    """The end of what was said."""
    again: bool = True
    """Whether it may go better another time."""
    skip: bool = False
    """Whether there was nothing to be done any more."""


Settings = TypeVar("Settings", bound=msgspec.Struct)


class Job(msgspec.Struct, frozen=True):
    """Something to be done."""

    rule: Rule
    change: Change
    deployment_id: str
    output: Path
    """Where a command writes to."""
    stop: threading.Event
    """Set when the process is about to end."""
    said: list[str] = []
    """What there is to say of it meanwhile."""


def act(job: Job) -> Outcome:
    """Does what the rule says. Takes as long as it takes, up to the rule's timeout."""
    try:
        settled = _settled(job, job.rule.registry)
        return settled if isinstance(settled, Outcome) else _acted(settled)
    except (ConfigError, MissingExtraError) as error:
        return Outcome(ok=False, why=str(error), again=False)
    except ActionError as error:
        return Outcome(ok=False, why=str(error), output="\n".join(job.said), again=error.again)


_PACKAGES = {"docker_service": "docker", "kubernetes": "kubernetes"}
"""What an action needs, which is also the name of its extra."""


def lacks(rule: Rule) -> str | None:
    """What a rule needs and this machine does not have, in words; None if it has all."""
    if rule.command and shutil.which(rule.command[0]) is None:
        return f"there is no program {rule.command[0]} here"
    try:
        for action in rule.actions.keys() & _PACKAGES.keys():
            extras.module(_PACKAGES[action], _PACKAGES[action])
    except MissingExtraError as error:
        return str(error)
    return None


def _acted(job: Job) -> Outcome:
    """One of `rules.ACTIONS`."""
    rule = job.rule
    if rule.http:
        return _http(job, rule.http)
    if rule.docker_service:
        swarm.deploy(_filled(job, rule.docker_service), _seconds(rule), job.said.append)
    elif rule.kubernetes:
        kube.deploy(_filled(job, rule.kubernetes), _seconds(rule), job.said.append)
    else:
        return _command(job)
    return Outcome(ok=True, why="it runs", output="\n".join(job.said))


def _filled(job: Job, settings: Settings) -> Settings:
    """Settings with all that is to be filled in."""
    return msgspec.convert(_in_all(msgspec.to_builtins(settings), job.rule, job.change), type(settings))


def _seconds(rule: Rule) -> float:
    return span_of(rule.timeout).total_seconds()


def _settled(job: Job, registry: Registry | None) -> Job | Outcome:
    """The job, if the registry says of the tag what the event said, which may take it a moment; else why not.

    Where the event did not tell which digest it is, the registry does.
    """
    if registry is None:
        return job
    change, deadline = job.change, time.monotonic() + min(_seconds(job.rule), _WRITING)
    while (found := digest_of(registry, change.repository, change.tag, _seconds(job.rule))) != change.digest:
        if found is not None and not change.is_told:
            return msgspec.structs.replace(job, change=msgspec.structs.replace(change, digest=found))
        if found not in (None, change.before):
            return Outcome(ok=False, why=f"by now the tag points to {found}", skip=True)
        if time.monotonic() > deadline or job.stop.wait(_GLANCE):
            has = "has no such tag" if found is None else f"says that the tag still points to {found}"
            return Outcome(ok=False, why=f"the registry {has}")
    return job


# Commands


def arguments(rule: Rule, change: Change) -> list[str]:
    """A command with all that is filled in. Raises ConfigError where something would be taken for an option."""
    words = [filled(word, rule, change) for word in rule.command or []]
    for template, word in zip(rule.command or [], words, strict=True):
        if template == "--":
            break
        if word.startswith("-") and not template.startswith("-"):
            raise ConfigError(
                f"{template!r} would be {word!r}, which the program may take for an option. "
                f"Write '--' before it, or --name={template} if the program knows such an option."
            )
    return words


def environment(job: Job) -> dict[str, str]:
    """What a command finds in its environment: that of the collector without its token, and every field."""
    own = {name: value for name, value in os.environ.items() if name != "REGSTATS_TOKEN"}
    fields = values(job.rule, job.change) | {"deployment_id": job.deployment_id}
    return own | {f"REGSTATS_{name.upper()}": value for name, value in fields.items()}


def _command(job: Job) -> Outcome:
    job.output.unlink(missing_ok=True)
    file = os.open(job.output, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o640)
    try:
        lock(file)  # the command inherits it, and holds it for as long as it runs, whatever becomes of us
        return _run(job, file)
    except (OSError, ValueError) as error:  # ValueError: a NUL in an argument
        why = f"{(job.rule.command or [''])[0]} cannot be run: {getattr(error, 'strerror', None) or error}"
        return Outcome(ok=False, why=why, again=isinstance(error, OSError))
    finally:
        os.close(file)
        job.output.unlink(missing_ok=True)


def _run(job: Job, file: int) -> Outcome:
    deadline = time.monotonic() + _seconds(job.rule)
    process = subprocess.Popen(  # noqa: S603 - the operator's own command, without a shell
        arguments(job.rule, job.change), env=environment(job),
        stdin=subprocess.DEVNULL, stdout=file, stderr=file, start_new_session=True,
    )  # fmt: skip
    while (status := _waited(process, _GLANCE)) is None:
        _shorten(file)
        if job.stop.is_set() or time.monotonic() > deadline:
            _end(process)
            why = "it was ended with the collector" if job.stop.is_set() else f"it took more than {job.rule.timeout}"
            return Outcome(ok=None if job.stop.is_set() else False, why=why, output=_end_of(file))
    why = f"exit status {status}" if status >= 0 else f"ended by {signal.Signals(-status).name}"
    return Outcome(status == 0, why, _end_of(file))


def end_of(output: Path) -> str | None:
    """The end of what a command has said that somebody else had started."""
    try:
        with output.open("rb") as file:
            return _end_of(file.fileno()) or None
    except FileNotFoundError:
        return None


def _waited(process: subprocess.Popen[bytes], seconds: float) -> int | None:
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        return None


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ends a command, and what it has started."""
    os.killpg(process.pid, signal.SIGTERM)
    if _waited(process, _GRACE) is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _shorten(file: int) -> None:
    if os.fstat(file).st_size > _MUCH:
        end = _end_of(file).encode()
        os.ftruncate(file, 0)
        os.write(file, end)


def _end_of(file: int) -> str:
    size = os.fstat(file).st_size
    return os.pread(file, _TAIL, max(size - _TAIL, 0)).decode(errors="replace")


# Requests


def _http(job: Job, http: Http) -> Outcome:
    rule, change = job.rule, job.change
    url = _address(http, rule, change)
    body = None if http.body is None else msgspec.json.encode(_in_all(http.body, rule, change))
    headers = {"User-Agent": "regstats", "Idempotency-Key": job.deployment_id}
    headers |= {} if body is None else {"Content-Type": "application/json"}
    headers |= {name: _told(value, rule, change) for name, value in http.headers.items()} | _shown(http, body or b"")
    if any(ord(character) < 32 for value in headers.values() for character in value):
        raise ConfigError("A header would have more than one line; nothing was sent.")
    try:
        answer = ask(url, http.method, body, headers, _seconds(rule))
    except UnreachableError as error:
        return Outcome(ok=False, why=f"it cannot be reached: {error}")
    ok = 200 <= answer.status < 300
    return Outcome(ok, f"it answered {answer.status}", answer.text, is_passing(answer.status))


def _address(http: Http, rule: Rule, change: Change) -> str:
    """Whatever is filled in, it stays a part of a path, or a value in a query."""
    url = _told(http.url, rule, change, lambda text: quote(text, safe=""))
    if not is_address(url):
        raise ConfigError(f"The url of deploy {rule.name!r} does not begin with https:// or http://.")
    return url


def _told(text: str, rule: Rule, change: Change, quoted: Callable[[str], str] = str) -> str:
    """What a variable holds as it is; all other texts with what is to be filled in. Never a variable somebody names."""
    secret = revealed(text)
    return filled(text, rule, change, quoted) if secret is text else secret


def _in_all(value: Any, rule: Rule, change: Change) -> Any:
    """Fills in all texts within lists and tables."""
    if isinstance(value, str):
        return _told(value, rule, change)
    if isinstance(value, dict):
        return {filled(key, rule, change): _in_all(inner, rule, change) for key, inner in value.items()}
    return [_in_all(inner, rule, change) for inner in value] if isinstance(value, list) else value


def _shown(http: Http, body: bytes) -> dict[str, str]:
    """What shows who asks."""
    headers: dict[str, str] = {}
    if http.user is not None:
        headers |= basic(http.user, revealed(http.password or ""))
    if http.token is not None:
        headers |= bearer(revealed(http.token))
    if http.signing_secret is not None:
        signature = hmac.new(revealed(http.signing_secret).encode(), body, hashlib.sha256).hexdigest()
        headers["X-Hub-Signature-256"] = f"sha256={signature}"
    return headers
