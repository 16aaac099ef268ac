"""What is to be done at registries: planned, shown, written to a file, and then done as far as it still fits."""

from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, Protocol

import msgspec
from msgspec import Struct

from regstats.errors import ActionError, InputError, RegstatsError

Action = Literal["push", "pull", "copy", "tag", "untag", "delete"]
Status = Literal["planned", "already", "done", "failed"]
ALREADY = "there already"
"""Why most is kept."""
_FORMAT = 1


class Step(Struct, frozen=True, kw_only=True):
    """One thing to do, with all that makes sure that it is still the same thing when it is done."""

    action: Action
    image: str
    """What is read, or deleted: by its whole name, with the registry, unless it is an engine's own."""
    to: str | None = None
    """What is written."""
    digest: str
    """What `image` points to. Of an engine's own image it is the id."""
    before: str | None = None
    """What `to` points to."""
    repository: str | None = None
    """Of what is deleted: where. It is done in order there."""
    after: list[str] = []
    """Digests that must be gone before: indexes that list this one."""
    why: str = ""


class Kept(Struct, frozen=True):
    """What is left as it is, and why."""

    image: str
    digest: str
    why: str


class Plan(Struct, frozen=True, kw_only=True):
    """Steps, and how everything was when they were planned."""

    steps: list[Step]
    kept: list[Kept] = []
    tags: dict[str, dict[str, str]] = {}
    """Of each repository where something is deleted, all tags with what they pointed to."""
    made_at: datetime = msgspec.field(default_factory=lambda: datetime.now(UTC))
    format: int = _FORMAT


class Result(Struct, frozen=True):
    """What came of a step."""

    step: Step
    status: Status
    why: str = ""


class Doer(Protocol):
    """Who does steps."""

    def is_done(self, step: Step) -> bool:
        """Whether there is nothing left to do. Raises ActionError where things are not as they were."""

    def do(self, step: Step) -> None:
        """Does it. Raises ActionError."""

    def changes(self, plan: Plan, repository: str) -> list[str]:
        """What has changed in a repository since, but for what the plan itself does."""


def write(plan: Plan, path: Path) -> None:
    """Puts a plan into a file, for `read`."""
    try:
        path.write_bytes(msgspec.json.format(msgspec.json.encode(plan), indent=1) + b"\n")
    except OSError as error:
        raise InputError(f"Cannot write {path}: {error.strerror}.") from None


def read(path: Path) -> Plan:
    """A plan from a file. Raises InputError."""
    try:
        plan = msgspec.json.decode(path.read_bytes(), type=Plan)
    except OSError as error:
        raise InputError(f"Cannot read {path}: {error.strerror}.") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not a plan as --plan writes it: {error}") from None
    if plan.format != _FORMAT:
        raise InputError(f"{path} is a plan of another version of regstats ({plan.format}); make it anew.")
    return plan


def planned(plan: Plan) -> list[Result]:
    """The steps before anything is done."""
    return [Result(step, "planned") for step in plan.steps]


def refuse_changes(plan: Plan, doer: Doer, jobs: int) -> None:
    """Refuses a plan where anything is not as it was, before any of it is done. Raises ActionError that says what."""
    singles = [step for step in plan.steps if step.repository is None]
    with ThreadPoolExecutor(jobs) as pool:
        found = [_change(future) for future in [pool.submit(doer.is_done, step) for step in singles]]
        listed = [pool.submit(doer.changes, plan, repository) for repository in plan.tags]
        said = [*filter(None, found), *(change for future in listed for change in future.result())]
    if said:
        raise ActionError("Nothing was done, because it is not as it was planned:\n" + "\n".join(said), again=False)


def _change(checked: Future[bool]) -> str | None:
    error = checked.exception()
    if error is not None and not isinstance(error, ActionError):
        raise error
    return str(error) if error else None


def apply(plan: Plan, doer: Doer, jobs: int, tell: Callable[[Result], Any]) -> list[Result]:
    """Does a plan, `jobs` things at a time. What fails does not keep other things from being done."""
    done: list[Result] = []
    for result in _each(plan, doer, jobs):
        done.append(result)
        tell(result)
    at = {id(step): number for number, step in enumerate(plan.steps)}
    return sorted(done, key=lambda result: at[id(result.step)])


def _each(plan: Plan, doer: Doer, jobs: int) -> Iterator[Result]:
    """The results as they come; whoever stops asking stops what has not begun yet."""
    pool = ThreadPoolExecutor(jobs)
    try:
        running = {pool.submit(_do_all, plan, steps, doer) for steps in _groups(plan)}
        while running:
            finished, running = wait(running, return_when=FIRST_COMPLETED)
            for future in finished:
                yield from future.result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _groups(plan: Plan) -> list[list[Step]]:
    """What is done in order, together; all else by itself."""
    ordered: dict[str, list[Step]] = {}
    groups: list[list[Step]] = []
    for step in plan.steps:
        if step.repository is None:
            groups.append([step])
            continue
        if step.repository not in ordered:
            groups.append(ordered.setdefault(step.repository, []))
        ordered[step.repository].append(step)
    return groups


def _do_all(plan: Plan, steps: list[Step], doer: Doer) -> list[Result]:
    """Steps in order. What an index lists stays if the index does."""
    repository = steps[0].repository
    changed = _asked(doer, plan, repository) if repository else []
    results: list[Result] = []
    for step in steps:
        failed = {result.step.digest for result in results if result.status == "failed"}
        if changed:
            results.append(Result(step, "failed", f"not as it was planned: {'; '.join(changed)}"))
        elif failed.intersection(step.after):
            results.append(Result(step, "failed", "what lists it could not be deleted"))
        else:
            results.append(_done(step, doer))
    return results


def _asked(doer: Doer, plan: Plan, repository: str) -> list[str]:
    try:
        return doer.changes(plan, repository)
    except RegstatsError as error:
        return [str(error)]


def _done(step: Step, doer: Doer) -> Result:
    try:
        if doer.is_done(step):
            return Result(step, "already")
        doer.do(step)
        return Result(step, "done")
    except RegstatsError as error:
        return Result(step, "failed", str(error))
