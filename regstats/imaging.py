"""The commands around images: each plans, shows what it would do, and does it with --yes."""

import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from regstats import options
from regstats.agenda import span_of
from regstats.errors import InputError, ParameterError, StoreNotFoundError
from regstats.names import fits, is_glob, parse, split
from regstats.terminal import answer, work

if TYPE_CHECKING:
    from pandas import DataFrame

    from regstats.inventory import Tagged
    from regstats.plans import Plan, Result
    from regstats.workshop import Registries

_DONE = {
    "push": "pushed",
    "pull": "pulled",
    "copy": "copied",
    "tag": "tagged",
    "untag": "untagged",
    "delete": "deleted",
}
_OF_ENGINE = "Docker's or podman's address.  [default: $DOCKER_HOST, else the socket that is there]"


@click.group(cls=options.Group)
def images() -> None:
    """Many images at once: push, pull, copy, tag, delete, prune.

    Names are host:port/repository:tag, or repository:tag at --registry; * and ? stand for several. Each command shows
    what it would do, and does it with --yes.
    """


class At(NamedTuple):
    """Where, and how many at a time."""

    registries: "Registries"
    jobs: int


def _at(function: Callable[..., Any]) -> Callable[..., Any]:
    """The options that say which registry, who we are there, and how many at a time, as the argument `at`."""

    @wraps(function)
    def called(*, place: options.Place, jobs: int, **others: Any) -> Any:
        from regstats.workshop import Registries

        registries = Registries(place.registry, place.login, insecure=place.insecure, ca=place.ca, jobs=jobs)
        return function(at=At(registries, jobs), **others)

    jobs = click.option("--jobs", type=click.IntRange(1, 64), default=4, show_default=True, help="How many at a time.")
    return options.place("Where names without one are.", default="127.0.0.1:5000")(jobs(called))


class Choice(NamedTuple):
    """Which images, beside those that are named, and what is known of them."""

    data: str
    file: Path | None
    source: str | None
    where: str | None = None
    listed: Path | None = None


def _choosing(*, lists: bool = True) -> Callable[..., Any]:
    """The options that choose images, as the argument `choice`."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def called(**given: Any) -> Any:
            choice = Choice(**{name: given.pop(name) for name in Choice._fields if name in given})
            return function(choice=choice, **given)

        return options.together([
            click.option("--where", metavar="SQL", help="Only those of which this holds: pulls = 0 and size > 1e9."),
            *([_from] if lists else []),
            options.data,
            options.config,
            click.option("--source", help="Whose events are about this registry.  [default: the only source]"),
        ])(called)  # fmt: skip

    return decorate


_from = click.option(
    "--from", "listed", metavar="FILE", type=click.Path(path_type=Path, dir_okay=False, allow_dash=True),
    help="More names, one a line, as export writes them.",
)  # fmt: skip
_engine = click.option("--engine", metavar="ADDRESS", help=_OF_ENGINE)


def _planning(function: Callable[..., Any]) -> Callable[..., Any]:
    """The options of a command that makes a plan, which is then shown, written, or done."""

    @wraps(function)
    def called(*, yes: bool, plan: Path | None, kept: bool, to: options.Destination, at: At, **others: Any) -> None:
        from regstats import plans

        made, workshop = work("Looking", lambda _: function(at=at, **others))
        if plan is not None:
            plans.write(made, plan)
        if yes:
            _apply(made, workshop, at.jobs, to)
            return
        _show(plans.planned(made), made if kept else None, to)
        hint = "Nothing to do." if not made.steps else f"--yes does it{f', or apply {plan}' if plan else ''}."
        click.echo(f"{_planned(made)} {hint}", err=True)

    return options.together([
        click.option("--yes", "-y", is_flag=True, help="Do it."),
        click.option(
            "--plan", metavar="FILE", type=click.Path(path_type=Path, dir_okay=False), help="Write the plan, for apply."
        ),
        click.option("--kept", is_flag=True, help="Also list what stays, and why."),
        options.destination(),
    ])(_at(called))  # fmt: skip


# What there is


@images.command("ls")
@click.argument("names", nargs=-1, metavar="[GLOB]...")
@click.option("--brief", is_flag=True, help="Only repository, tag and digest, which is quicker.")
@_choosing(lists=False)
@_at
@options.destination()
def images_ls(names: tuple[str, ...], *, brief: bool, choice: Choice, at: At, to: options.Destination) -> None:
    """What is in the registry, and is it used?

    Columns: repository, tag, digest, media_type, size (bytes of configurations and layers, of all platforms),
    platforms, created (as the image says), and from the store pulls, downloads, last_pull, last_push, idle_days (since
    the last use or push). They are of what the tag points to, whatever it was pulled by, until the last event.

    \b
    Example: regstats images ls 'team/*' --where "pulls = 0 and size > 1e9"
    """
    from regstats.formats import encode

    def found() -> "DataFrame":
        tagged = at.registries.select(names, at.jobs)
        if brief and not choice.where:
            from regstats import listing

            return listing.of_tags(tagged).drop(columns="media_type")
        return _rows(at, tagged, choice)

    with answer(to.output) as out:
        rows = work("Looking", lambda _: found())
        out.write(encode(_for_people(rows) if to.form in options.FOR_PEOPLE else rows, to.form, ""))


@images.command("export")
@click.argument("names", nargs=-1, metavar="[GLOB]...")
@click.option("--output", "-o", metavar="FILE", type=click.Path(path_type=Path), help="Where to, instead of stdout.")
@_at
def images_export(names: tuple[str, ...], output: Path | None, at: At) -> None:
    """Writes a list of what tags point to: repository:tag@digest, one a line.

    `import` brings tags back to it, and pull, copy, delete and push read it with --from.
    """
    with answer(output) as out:
        for one in work("Looking", lambda _: at.registries.select(names, at.jobs)):
            out.write(f"{one.name.short}{'' if one.name.digest else f'@{one.digest}'}\n".encode())


@images.command("import")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False, allow_dash=True))
@_planning
def images_import(file: Path, at: At) -> Any:
    """Lets tags point again to what a list says, as `export` wrote it.

    Nothing is sent: what they pointed to must still be at the registry.
    """
    from regstats import images
    from regstats.workshop import Workshop

    wanted = [parse(text, at.registries.default) for text in _lines(file)]
    return images.plan_restore(at.registries, wanted, at.jobs), Workshop(at.registries)


# Engines


@images.command("push")
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--all", "everything", is_flag=True, help="Everything that has a name.")
@_from
@_engine
@_planning
def images_push(names: tuple[str, ...], *, everything: bool, listed: Path | None, engine: str | None, at: At) -> Any:
    """Pushes local images to the registry, under their own names.

    Each gets a name at the registry meanwhile, and loses it again, whatever happens. What it had before it keeps.

    \b
    Example: regstats images push team/app:1.0 'tools/*' --yes
    """
    from regstats import images
    from regstats.engines import Engine
    from regstats.workshop import Workshop

    here = Engine(engine, at.jobs)
    wanted = here.names() if everything else [*names, *(_lines(listed) if listed else [])]
    found = list(dict.fromkeys(name for text in wanted for name in _local(text, here)))
    if not found and not everything:
        raise click.UsageError("Name images, or --all.")
    return images.plan_push(at.registries, here, found, at.jobs), Workshop(at.registries, here)


def _local(text: str, engine: Any) -> Iterator[str]:
    """The local images that are meant, by the names that the engine has or people use."""
    from regstats.names import familiar

    if not is_glob(text):
        yield text.partition("@")[0] if ":" in split(text.partition("@")[0])[1] else text
        return
    found = [name for name in engine.names() if _fits(text, name) or _fits(text, familiar(name))]
    if not found:
        raise ParameterError(f"No local image fits {text!r}.")
    yield from found


def _fits(glob: str, name: str) -> bool:
    repository, _, tag = name.rpartition(":")
    return fits(glob, repository, tag)


@images.command("pull")
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--all-tags", is_flag=True, help="All tags of the repositories that are named.")
@_engine
@_choosing()
@_planning
def images_pull(names: tuple[str, ...], *, all_tags: bool, engine: str | None, choice: Choice, at: At) -> Any:
    """Pulls images from the registry to this machine.

    \b
    Examples: regstats images pull team/app --all-tags --yes
              regstats images pull --from list.txt --jobs 8 --yes
    """
    from regstats import images
    from regstats.engines import Engine
    from regstats.workshop import Workshop

    tagged = _chosen(at, [f"{name}:*" for name in names] if all_tags else names, choice)
    here = Engine(engine, at.jobs)
    return images.plan_pull(at.registries, here, tagged, at.jobs), Workshop(at.registries, here)


# At registries


@images.command("tag")
@click.argument("name", metavar="SOURCE")
@click.argument("new", nargs=-1, required=True, metavar="NEW...")
@_planning
def images_tag(name: str, new: tuple[str, ...], at: At) -> Any:
    """Gives what a tag points to more tags, at the registry: the same bytes, so the same digest, of all platforms.

    NEW is a tag of the same repository, or repository:tag.

    \b
    Examples: regstats images tag team/app:1.3.0 1.3 stable --yes
              regstats images tag 'team/*:1.3.0' stable --yes
    """
    from regstats import images
    from regstats.workshop import Workshop

    sources = at.registries.select([_plain(name)], at.jobs)
    return images.plan_tag(at.registries, sources, new, at.jobs), Workshop(at.registries)


@images.command("copy")
@click.argument("names", nargs=-1, metavar="SOURCE...")
@click.option("--to", "target", required=True, metavar="REGISTRY[/PREFIX]", help="Where to.")
@click.option("--attached", is_flag=True, help="Also what is attached to them: signatures, lists of parts.")
@_choosing()
@_planning
def images_copy(names: tuple[str, ...], *, target: str, attached: bool, choice: Choice, at: At) -> Any:
    """Copies images to another registry, or under a prefix at the same one: all platforms, digests unchanged.

    Blobs that the target has are not sent, and at the same registry none are. --username is for --registry; for another
    one the login is as docker login or podman login left it.

    \b
    Example: regstats images copy 'team/*:1.*' --to registry.example:5000/archive --yes
    """
    from regstats import images
    from regstats.workshop import Workshop

    tagged = _chosen(at, names, choice)
    return images.plan_copy(at.registries, tagged, target, at.jobs, attached=attached), Workshop(at.registries)


@images.command("delete")
@click.argument("names", nargs=-1, metavar="NAME...")
@_choosing()
@_planning
def images_delete(names: tuple[str, ...], *, choice: Choice, at: At) -> Any:
    """Deletes tags with what they point to, and with what belongs to that, as far as nothing else needs it.

    That are the platforms of an index, signatures, and whatever else is attached. A manifest that has other tags stays;
    the tag alone is deleted then, which some registries cannot do (Distribution before 3.0). The registry frees the
    space when it collects garbage.

    \b
    Example: regstats images delete 'team/app:pr-*' --yes
    """
    from regstats import pruning
    from regstats.workshop import Workshop

    tagged = _chosen(at, names, choice)
    return pruning.plan_delete(at.registries, tagged, at.jobs, alone=True), Workshop(at.registries)


@images.command("prune")
@click.argument("names", nargs=-1, metavar="[GLOB]...")
@click.option("--keep-last", type=click.IntRange(min=1), metavar="N", help="Keep so many of each stream (see below).")
@click.option("--older-than", metavar="SPAN", help="Keep what is younger: 90d, 12w.")
@click.option("--unpulled-for", metavar="SPAN", help="Keep what was used or pushed in this time, as regstats saw it.")
@click.option("--keep", multiple=True, metavar="GLOB", help="Keep these: latest, 'team/app:1.*'. May be repeated.")
@click.option("--untagged", is_flag=True, help="Also manifests that no tag points to any more, as regstats saw it.")
@_choosing(lists=False)
@_planning
def images_prune(
    names: tuple[str, ...], *, keep_last: int | None, older_than: str | None, unpulled_for: str | None,
    keep: tuple[str, ...], untagged: bool, choice: Choice, at: At,
) -> Any:  # fmt: skip
    """Deletes what no rule keeps.

    A stream are the tags of a repository that differ only in numbers and hashes: 1.2.3 and 1.10.0, main-3f9a2c1 and
    main-77b01de; latest is one by itself. The age of a tag is that of its last push, or else what the image says.
    Keeping is stronger: what any rule keeps, stays, and so do all tags that point to the same, and what it lists.
    Of what nobody knows when it was pushed or used, nothing is deleted.

    \b
    Examples: regstats images prune 'team/*' --keep-last 3 --unpulled-for 90d --keep latest
              regstats images prune --where "pulls = 0 and idle_days > 180" --plan plan.json
    """
    from regstats import pruning, usage
    from regstats.store import utc_now
    from regstats.workshop import Workshop

    policy = pruning.Policy(keep_last, _span(older_than), _span(unpulled_for), list(keep))
    if not policy.says_something and choice.where is None:
        raise click.UsageError("Say what stays: --keep-last, --older-than or --unpulled-for; or what goes: --where.")
    if untagged and older_than is None and unpulled_for is None:
        raise click.UsageError("--untagged needs --older-than or --unpulled-for: they may be pulled by digest.")
    tagged = at.registries.select(names, at.jobs)
    rows = _rows(at, tagged, choice, needs_store=unpulled_for is not None)
    chosen = pruning.candidates(tagged, rows)
    if untagged:
        known = usage.untagged(options.stats(choice.data, choice.file), choice.source)
        chosen |= pruning.orphans(at.registries, known, names, at.jobs)
    plan = pruning.plan_prune(at.registries, chosen, policy, utc_now(), at.jobs)
    return plan, Workshop(at.registries)


@images.command("apply")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@_engine
@_at
@options.destination()
def images_apply(file: Path, engine: str | None, at: At, to: options.Destination) -> None:
    """Does what a plan says, as --plan wrote it, unless anything has changed since.

    What it did already, when it was interrupted, is left out.
    """
    from regstats import plans
    from regstats.engines import Engine
    from regstats.workshop import Workshop

    plan = plans.read(file)
    needs_engine = any(step.action in ("push", "pull") for step in plan.steps)
    workshop = Workshop(at.registries, Engine(engine, at.jobs) if needs_engine else None)
    work("Looking", lambda _: plans.refuse_changes(plan, workshop, at.jobs))
    _apply(plan, workshop, at.jobs, to)


# What is meant


def _plain(name: str) -> str:
    """A name without a tag is `latest`, as docker has it."""
    return name if is_glob(name) or ":" in split(name)[1] or "@" in name else f"{name}:latest"


def _lines(file: Path) -> list[str]:
    """The names in a file; nothing after `#` counts."""
    try:
        text = sys.stdin.read() if str(file) == "-" else file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"Cannot read {file}: {getattr(error, 'strerror', None) or error}.") from None
    return [name for line in text.splitlines() if (name := line.partition("#")[0].strip())]


def _chosen(at: At, names: Sequence[str], choice: Choice) -> "list[Tagged]":
    """What is named, as far as the condition holds; all, if there is only a condition."""
    meant = [*names, *(_lines(choice.listed) if choice.listed else [])]
    if not meant and choice.where is None:
        raise click.UsageError("Name images, or say which with --where.")
    tagged = at.registries.select([_plain(name) for name in meant], at.jobs)
    return tagged if choice.where is None else [tagged[number] for number in _rows(at, tagged, choice).index]


def _rows(at: At, tagged: "list[Tagged]", choice: Choice, *, needs_store: bool = False) -> "DataFrame":
    """What tags point to, with what regstats knows of it; the index are their numbers."""
    from regstats import inventory, listing, usage

    rows = listing.of_tags(tagged, inventory.contents(at.registries.client, tagged, at.jobs))
    try:
        known = usage.known(rows, options.stats(choice.data, choice.file), choice.source)
    except StoreNotFoundError as error:
        if needs_store:
            raise
        click.echo(f"{error} So pulls and idle_days are not known.", err=True)
        known = usage.unknown(rows)
    elsewhere = [one.name.registry != at.registries.default for one in tagged]
    known.loc[elsewhere, usage.KNOWN] = None  # events are of one registry
    return known if choice.where is None else usage.where(known, choice.where)


def _span(text: str | None) -> timedelta | None:
    try:
        return None if text is None else span_of(text)
    except ValueError as error:
        raise ParameterError(f"{error}.") from None


# What is shown, and done


def _planned(plan: "Plan") -> str:
    """What a plan comes to: `12 to push, 3 there already`."""
    from regstats.plans import ALREADY

    already = sum(kept.why == ALREADY for kept in plan.kept)
    counts = Counter(step.action for step in plan.steps)
    parts = [f"{number:,} to {action}" for action, number in counts.items()]
    parts += [f"{already:,} {ALREADY}"] if already else []
    parts += [f"{len(plan.kept) - already:,} stay"] if len(plan.kept) > already else []
    return f"{', '.join(parts) or 'Nothing is chosen'}."


def _for_people(rows: "DataFrame") -> "DataFrame":
    """With digests as short as people know them."""
    is_planned = "status" in rows.columns and set(rows["status"]) == {"planned"}
    left_out = ("before", "media_type", "downloads", *(["status"] if is_planned else []))
    shown = rows.drop(columns=[name for name in left_out if name in rows.columns])
    for name in {"digest", "image"}.intersection(shown.columns):
        shown[name] = shown[name].str.replace(r"(sha256:[0-9a-f]{12})[0-9a-f]{52}", r"\1", regex=True)
    return shown.dropna(axis="columns", how="all") if len(shown) else shown


def _show(results: "Sequence[Result]", kept_of: "Plan | None", to: options.Destination) -> None:
    """Steps, and what became of them. For people, nothing if there are none."""
    is_for_people = to.form in options.FOR_PEOPLE
    if is_for_people and not results and (kept_of is None or not kept_of.kept):
        return
    import pandas as pd

    from regstats import listing
    from regstats.formats import encode

    rows = listing.of_steps(results)
    if kept_of is not None:
        rows = pd.concat([rows, listing.of_kept(kept_of)])
    with answer(to.output) as out:
        out.write(encode(_for_people(rows) if is_for_people else rows, to.form, ""))


def _apply(plan: "Plan", workshop: Any, jobs: int, to: options.Destination) -> None:
    """Does a plan, and says what came of it; exit status 1 if anything failed."""
    from regstats import plans

    done: list[Result] = []
    try:
        with _terminated(workshop.close), _progress(len(plan.steps)) as advance:

            def tell(result: "Result") -> None:
                done.append(result)
                advance(1)

            results = plans.apply(plan, workshop, jobs, tell)
    except KeyboardInterrupt:
        click.echo(f"\nInterrupted: {_summary(plan, done)} The same command goes on.", err=True)
        raise
    failed = [result for result in results if result.status == "failed"]
    _show(failed if to.form in options.FOR_PEOPLE else results, None, to)
    click.echo(_summary(plan, results), err=True)
    if failed:
        sys.exit(1)


def _summary(plan: "Plan", results: "Sequence[Result]") -> str:
    """What came of it: `48 pushed, 2 failed`."""
    from regstats.plans import ALREADY

    done = Counter(result.step.action for result in results if result.status == "done")
    failed = sum(result.status == "failed" for result in results)
    already = sum(result.status == "already" for result in results) + sum(kept.why == ALREADY for kept in plan.kept)
    parts = [f"{number:,} {_DONE[action]}" for action, number in done.items()]
    parts += [f"{already:,} done already"] if already else []
    parts += [f"{failed:,} failed"] if failed else []
    left = len(plan.steps) - len(results)
    parts += [f"{left:,} not begun or not finished"] if left else []
    return f"{', '.join(parts) or 'Nothing to do'}."


@contextmanager
def _terminated(tidy_up: Callable[[], None]) -> Iterator[None]:
    """Who is asked to end ends as after Ctrl-C, and in any case tidies up before, which nobody interrupts."""

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    signals = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        for number in signals:
            signal.signal(number, signal.SIG_IGN)
        tidy_up()
        for number, before in signals.items():
            signal.signal(number, before)


@contextmanager
def _progress(total: int) -> Iterator[Callable[[int], None]]:
    """How far it is, for a person who looks on."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeElapsedColumn

    with Progress(BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), console=Console(stderr=True)) as progress:
        task = progress.add_task("", total=total)
        yield lambda number: progress.advance(task, number)
