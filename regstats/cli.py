"""The command line: `regstats <command>`."""

import os
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click

from regstats import config
from regstats.errors import ConfigError, ParameterError, RegstatsError
from regstats.parameters import HELP, INTERVALS

Command = Callable[..., None]

METRICS = {
    "pulls": "How often is it pulled, over time?",
    "pushes": "How often is it pushed, over time?",
    "repositories": "What is there? One row per repository.",
    "cadence": "How well is it maintained? One row per repository and tag.",
    "activity": "Who does what? One row per actor.",
}
_REPEATABLE = frozenset({"repository", "tag", "actor", "client", "source", "by"})

data_option = click.option(
    "--data",
    metavar="DIR",
    envvar="REGSTATS_DATA",
    default="data",
    show_default="$REGSTATS_DATA, else ./data",
    help="The store.",
)
config_option = click.option(
    "--config",
    "file",
    type=click.Path(path_type=Path),
    help="Settings, for what is excluded.  [default: ./regstats.toml if it is there]",
)
format_option = click.option(
    "--format", "form", type=click.Choice(["table", "json", "csv"]), default="table", show_default=True
)


def _parameter_option(name: str) -> Callable[[Command], Command]:
    if name == "limit":
        return click.option("--limit", type=click.IntRange(min=1), help=HELP[name])
    if name == "interval":
        return click.option("--interval", type=click.Choice(INTERVALS), help=HELP[name])
    return click.option(f"--{name}", multiple=name in _REPEATABLE, help=HELP[name])


def _given(value: Any) -> Any:
    """What was given to an option: several texts, comma-separated or not, as a list; nothing as None."""
    if isinstance(value, tuple):
        return [text for some in value for text in some.split(",")] or None
    return value


class _Commands(click.Group):
    """Errors that we raise on purpose become one line on stderr: exit status 2 for what was asked wrongly, else 1."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except RegstatsError as error:
            click.echo(f"regstats: {error}", err=True)
            ctx.exit(2 if isinstance(error, ConfigError | ParameterError) else 1)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="regstats", prog_name="regstats")
def main() -> None:
    """Turns a container registry's webhook notifications into answers."""


@main.command()
@click.option("--data", metavar="DIR", help="The store.  [default: $REGSTATS_DATA, else ./data]")
@click.option("--host", help="The address to listen on.  [default: 127.0.0.1]")
@click.option("--port", type=int, help="[default: 8080]")
@click.option("--token", help="What senders must show; needed unless --host is a loopback address.")
@click.option("--workers", type=int, help="Processes that take deliveries.  [default: 1]")
@click.option("--config", "file", type=click.Path(path_type=Path), help="[default: ./regstats.toml if it is there]")
def serve(file: Path | None, **options: Any) -> None:
    """Takes a registry's notifications at POST /events and keeps every one.

    \b
    Example: regstats serve --host 0.0.0.0 --token "$(openssl rand -hex 24)"
    """
    settings = config.load(file, **options)
    with TemporaryDirectory(prefix="regstats-") as shared:
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = shared  # before prometheus_client is imported, see `monitoring`
        try:
            from regstats import server

            server.serve(settings)
        finally:
            del os.environ["PROMETHEUS_MULTIPROC_DIR"]


@main.command("import")
@data_option
@click.option("--source", default=config.DEFAULT_SOURCE, show_default=True, help="The sender to book them on.")
@click.argument("files", nargs=-1, required=True, metavar="FILE...", type=click.Path(path_type=Path))
def import_(data: str, source: str, files: tuple[Path, ...]) -> None:
    """Takes in recorded payloads: one JSON payload per line, or one in all; .gz or not.

    Events that are in the store already are not counted again.

    \b
    Example: regstats import notifications.jsonl.gz
    """
    from regstats import compact as upkeep
    from regstats.importer import import_file
    from regstats.store import Store, utc_now

    store = Store(data, create=True)
    for file in files:
        done = import_file(file, store, source, utc_now())
        click.echo(
            f"{file}: {done.deliveries:,} deliveries, {done.events:,} new events, {done.duplicates:,} known already, "
            f"{done.quarantined:,} not understood"
        )
    upkeep.compact(store, utc_now())


@main.command()
@data_option
@format_option
@_parameter_option("source")
@_parameter_option("since")
@_parameter_option("until")
def health(data: str, form: str, **parameters: Any) -> None:
    """Can I trust these numbers? What was received from each source, and what may be missing.

    \b
    Example: regstats health --since 7d
    """
    from regstats.formats import FORMATS
    from regstats.stats import Stats

    asked = {name: _given(value) for name, value in parameters.items()}
    click.echo(FORMATS[form](Stats(data).health(**asked)), nl=False)


@main.command()
@data_option
@config_option
def compact(data: str, file: Path | None) -> None:
    """Puts the store in order, as a running collector does by itself.

    Merges the parts of each date, accounts for the pulls of closed dates, drops what is older than [retention] allows,
    and removes what a crash left behind. Parts that were replaced are kept for ten minutes, for readers.
    """
    from regstats import compact as upkeep
    from regstats.store import Store, utc_now

    done = upkeep.compact(Store(data), utc_now(), config.load(file).retention)
    click.echo(
        f"Merged away {done.merged:,} parts, accounted for the pulls of {done.accounted:,} dates, dropped "
        f"{done.expired:,} parts that are older than retention allows, removed {done.removed:,} files of no use."
    )


@main.command()
@data_option
@click.option("--repair", is_flag=True, help="Put right what can be put right.")
@click.option("--deep", is_flag=True, help="Also read every delivery again, and account for all pulls again.")
def check(data: str, repair: bool, deep: bool) -> None:
    """Is everything in the store as it was promised? Exit status 0 if it is, or was put right; else 1.

    \b
    Example: regstats check --deep
    """
    from regstats import check as checks
    from regstats.store import Store, utc_now
    from regstats.terminal import visible

    findings = checks.check(Store(data), utc_now(), repair=repair, deep=deep)
    for finding in findings:
        kind = "repaired" if finding.is_repaired else "problem" if finding.is_problem else "untidy"
        verb = "Done" if finding.is_repaired else "--repair would"
        click.echo(visible(f"{kind}: {finding.where}: {finding.what} {verb}: {finding.repair}."))
    broken = sum(finding.is_problem and not finding.is_repaired for finding in findings)
    click.echo(f"{broken:,} problems." if findings else "All is well.")
    click.get_current_context().exit(1 if broken else 0)


@main.command()
@data_option
def rebuild(data: str) -> None:
    """Makes all that is derived anew from the deliveries: events, quarantine, pulls.

    After an upgrade that understands more, or when parts were damaged. Readers see the old numbers until it is done.
    """
    from regstats import rebuild as anew
    from regstats.compact import account
    from regstats.store import Store, utc_now

    store = Store(data)
    _report_contents(anew.rebuild(store, utc_now()))
    account(store, utc_now())


def _report_contents(contents: Any) -> None:
    deliveries, events, quarantined = contents
    click.echo(f"{deliveries:,} deliveries, {events:,} events; {quarantined:,} deliveries are in quarantine.")


@main.group(invoke_without_command=True)
@data_option
@format_option
@click.option("--limit", type=click.IntRange(min=1), help="At most so many.")
@click.pass_context
def quarantine(context: click.Context, data: str, form: str, limit: int | None) -> None:
    """Which deliveries were not understood, and why? The newest first; their payloads are kept."""
    from regstats.formats import FORMATS
    from regstats.stats import Stats

    context.obj = data
    if context.invoked_subcommand is None:
        frame = Stats(data).quarantine(limit=limit)
        shown = frame.drop(columns="body") if form == "table" else frame
        click.echo(FORMATS[form](shown), nl=False)


# The group has --data, too, and people write it at either place.
own_data_option: Callable[[Command], Command] = click.option(
    "--data", metavar="DIR", show_default="$REGSTATS_DATA, else ./data", help="The store."
)


@quarantine.command("show")
@own_data_option
@click.argument("delivery_id")
@click.pass_obj
def quarantine_show(group_data: str, data: str | None, delivery_id: str) -> None:
    """Prints the payload of one delivery, exactly as it came."""
    from regstats.stats import Stats

    query = "select body from deliveries where delivery_id = $delivery_id"
    rows = Stats(data or group_data).sql(query, delivery_id=delivery_id).fetchall()
    if not rows:
        raise ParameterError(f"There is no delivery {delivery_id!r}; `regstats quarantine` lists those in quarantine.")
    click.echo(rows[0][0], nl=False)


@quarantine.command("replay")
@own_data_option
@click.pass_obj
def quarantine_replay(group_data: str, data: str | None) -> None:
    """Takes up what is understood by now, after an upgrade or a change of settings."""
    from regstats.rebuild import replay
    from regstats.store import Store

    _report_contents(replay(Store(data or group_data)))


@main.command()
@data_option
@config_option
@click.option("--since", help=HELP["since"])
@click.option("--until", help=HELP["until"])
@click.option("--out", default="report.html", show_default=True, type=click.Path(path_type=Path))
def report(data: str, file: Path | None, since: str | None, until: str | None, out: Path) -> None:
    """Writes the numbers as one HTML file that needs nothing else.

    \b
    Example: regstats report --since 30d --out report.html
    """
    from regstats.report import write
    from regstats.stats import Stats

    write(Stats(data, exclude=config.load(file).exclude), out, since=since, until=until)
    click.echo(f"Wrote {out.resolve()}")


@main.command()
@click.option(
    "--data", metavar="DIR", help="Where to put the demo's store.  [default: $REGSTATS_DATA/demo, else ./data/demo]"
)
@click.option("--once", is_flag=True, help="Stop when all is shown, instead of serving on.")
def demo(data: str | None, once: bool) -> None:
    """Shows the whole job, with nothing else needed: a day of a small team's registry, sent to a collector."""
    from regstats.demo import run

    run(Path(data) if data else None, keep_serving=not once)


def _metric_command(metric: str, question: str) -> None:
    def command(data: str, form: str, file: Path | None, **parameters: Any) -> None:
        from regstats.formats import FORMATS
        from regstats.stats import Stats
        from regstats.terminal import visible

        asked = {name: _given(value) for name, value in parameters.items()}
        stats = Stats(data, exclude=config.load(file).exclude)
        click.echo(FORMATS[form](getattr(stats, metric)(**asked)), nl=False)
        if form == "table":
            click.echo(f"Not counted: {visible(str(stats.exclude))}")

    command.__doc__ = f"{question}\n\n\b\nExample: regstats {metric} --repository 'team/*' --since 30d --format json"
    for name in reversed(HELP):
        command = _parameter_option(name)(command)
    main.command(metric)(data_option(config_option(format_option(command))))


for _metric, _question in METRICS.items():
    _metric_command(_metric, _question)
