"""The command line: `regstats <command>`."""

import os
import sys
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click

from regstats import config, configuring, deploying, diagnosing, hosting, imaging, options, reporting
from regstats.errors import ConfigError, ParameterError, RegstatsError
from regstats.metrics import METRICS, Metric
from regstats.parameters import HELP
from regstats.terminal import Advance, answer, visible, work

_INTERRUPTED = 130  # what a shell says of a program that Ctrl-C ended
_COMPACTING = "Merging and accounting"
_IMPORTED = ("auto", "payloads", "combined", "json", "haproxy", "registry")
"""What files may be: found out, what a registry posts, or one of `logformats.FORMATS`."""
_NOBODY_EXCLUDED = ("history", "health")
"""Metrics that are about everybody."""


class _Commands(options.Group):
    """What goes wrong is one line on stderr, and an exit status: 2 where the question was wrong, else 1."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except RegstatsError as error:
            _say(error)
            ctx.exit(2 if isinstance(error, ConfigError | ParameterError) else 1)
        except KeyboardInterrupt:
            click.echo(err=True)  # it stands beside ^C
            if threading.active_count() > 1:
                os._exit(_INTERRUPTED)  # not even the interpreter can end what DuckDB does
            ctx.exit(_INTERRUPTED)
        except BrokenPipeError:
            raise  # nobody reads on; click ends quietly, with 1
        except Exception as error:
            if not isinstance(error, (OSError, *_of_engines())):
                raise
            _say(error)
            ctx.exit(1)


def _say(error: Exception) -> None:
    click.echo("regstats: " + "\n".join(map(visible, str(error).splitlines())), err=True)


def _of_engines() -> tuple[type[Exception], ...]:
    """What is raised where a part is damaged, or memory does not suffice. Nothing is imported for that."""
    bases = (("duckdb", "Error"), ("pyarrow", "ArrowException"))
    return tuple(getattr(sys.modules[module], name) for module, name in bases if module in sys.modules)


def _answer(to: options.Destination, ask: Callable[[], Any], note: str = "") -> None:
    """Writes a frame. That it cannot be written is known before anybody waits for it."""
    from regstats.formats import encode

    with answer(to.output) as out:
        frame = work("Counting", lambda _: ask())
        out.write(encode(frame, to.form, note))


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="regstats", prog_name="regstats")
def main() -> None:
    """Turns a container registry's webhook notifications into answers."""


@main.command()
@click.option("--data", metavar="DIR", help=f"The store.{options.IN_DATA}")
@click.option("--host", help="The address to listen on.  [default: 127.0.0.1]")
@click.option("--port", type=int, help="[default: 8080]")
@click.option("--token", help="What senders must show; needed unless --host is a loopback address.")
@click.option("--workers", type=int, help="Processes that take deliveries.  [default: 1]")
@click.option("--only", type=click.Choice(["collector", "web"]), help="Only take deliveries, or only show the numbers.")
@click.option("--config", "file", type=click.Path(path_type=Path), help=options.IN_CONFIG)
def serve(file: Path | None, **given: Any) -> None:
    """Takes a registry's notifications at POST /events, keeps every one, and shows the numbers in a browser.

    \b
    Example: regstats serve --host 0.0.0.0 --token "$(openssl rand -hex 24)"
    """
    settings = config.load(file, **given)
    with TemporaryDirectory(prefix="regstats-") as shared:
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = shared  # before prometheus_client is imported, see `monitoring`
        try:
            from regstats import server

            server.serve(settings)
        finally:
            del os.environ["PROMETHEUS_MULTIPROC_DIR"]


@main.command("import")
@options.data
@options.config
@click.option(
    "--source", help=f"The sender to book all of it on.  [default: {config.DEFAULT_SOURCE}; of stores their own]"
)
@click.option(
    "--format",
    "form",
    type=click.Choice(_IMPORTED),
    default="auto",
    show_default=True,
    help="Instead of finding it out.",
)
@click.option("--tz", default="UTC", show_default=True, help="Of times in logs that do not say theirs, as HAProxy's.")
@click.argument("files", nargs=-1, required=True, metavar="FILE...", type=click.Path(path_type=Path))
def import_(
    *, data: str, file: Path | None, source: str | None, form: str, tz: str, files: tuple[Path, ...]
) -> None:  # fmt: skip
    """Takes in what happened before, or elsewhere: access logs, payloads, audit logs, other stores; compressed or not.

    Access logs are of a registry or of a proxy before it; rotated ones are put in order; - is standard input. Payloads
    are JSON, one a line, or one in all, or a list, or rows of CSV: what a registry posts, what was recorded of that,
    Harbor's audit log, Docker Hub's raw data. A store is named by its directory.

    What is in the store already is not counted again, so a log may reach into the time of the collector, and an import
    that was interrupted is done again.

    \b
    Examples: regstats import /var/log/nginx/access.log*
              regstats import notifications.jsonl.gz
              regstats import audit-logs.json --source harbor
              regstats import /mnt/other-machine/regstats
    """
    from regstats import compact as upkeep
    from regstats import history
    from regstats.store import Store, utc_now

    store = Store(data, create=True)
    asked = history.Asked(source, form, tz, utc_now(), config.load(file))
    for line in history.taken_in(files, store, asked):
        click.echo(visible(line))
    work(_COMPACTING, lambda _: upkeep.compact(store, utc_now()))


@main.command()
@options.data
@options.config
def compact(data: str, file: Path | None) -> None:
    """Puts the store in order, as a running collector does by itself.

    Merges the parts of each date, accounts for the pulls of closed dates, gathers them by month, drops
    what is older than [retention] allows, and removes what a crash left behind. Parts that were replaced are kept for
    ten minutes, for readers.
    """
    from regstats import compact as upkeep
    from regstats.store import Store, utc_now

    store, retention = Store(data), config.load(file).retention
    done = work(_COMPACTING, lambda _: upkeep.compact(store, utc_now(), retention))
    click.echo(
        f"Merged away {done.merged:,} parts, accounted for the pulls of {done.accounted:,} dates, "
        f"gathered {done.gathered:,} parts by month, dropped "
        f"{done.expired:,} parts that are older than retention allows, removed {done.removed:,} files of no use."
    )


@main.command()
@options.data
@click.option("--repair", is_flag=True, help="Put right what can be put right.")
@click.option("--deep", is_flag=True, help="Also read every delivery again, and account for all pulls again.")
def check(data: str, repair: bool, deep: bool) -> None:
    """Is everything in the store as it was promised? Exit status 0 if it is, or was put right; else 1.

    \b
    Example: regstats check --deep
    """
    from regstats import check as checks
    from regstats.store import Store, utc_now

    store = Store(data)
    findings = work("Checking", lambda _: checks.check(store, utc_now(), repair=repair, deep=deep))
    for finding in findings:
        kind = "repaired" if finding.is_repaired else "problem" if finding.is_problem else "untidy"
        verb = "Done" if finding.is_repaired else "--repair would"
        click.echo(visible(f"{kind}: {finding.where}: {finding.what} {verb}: {finding.repair}."))
    broken = sum(finding.is_problem and not finding.is_repaired for finding in findings)
    click.echo(f"{broken:,} problems." if findings else "All is well.")
    click.get_current_context().exit(1 if broken else 0)


@main.command()
@options.data
@options.config
def rebuild(data: str, file: Path | None) -> None:
    """Makes all that is derived anew from the deliveries: events, quarantine, pulls.

    After an upgrade that understands more, or when parts were damaged. Readers see the old numbers until it is done.
    """
    from regstats import rebuild as anew
    from regstats.compact import account
    from regstats.store import Store, utc_now

    store, dialects = Store(data), config.load(file).dialects
    _report_contents(work("Making the events anew", lambda _: anew.rebuild(store, utc_now(), dialects)))
    work("Accounting", lambda _: account(store, utc_now()))


def _report_contents(contents: Any) -> None:
    deliveries, events, quarantined = contents
    click.echo(f"{deliveries:,} deliveries, {events:,} events; {quarantined:,} deliveries are in quarantine.")


@main.group(cls=options.Group, invoke_without_command=True)
@options.together([options.of_parameter("limit"), options.data, options.destination()])
@click.pass_context
def quarantine(context: click.Context, data: str, limit: int | None, to: options.Destination) -> None:
    """Which deliveries were not understood, and why? The newest first; their payloads are kept.

    For programs the payloads are among the columns, for people they are not.
    """
    context.obj = data
    if context.invoked_subcommand is None:
        left_out = ["body"] if to.form in options.FOR_PEOPLE else []
        stats = options.stats(data, None)
        _answer(to, lambda: stats.quarantine(limit=limit).drop(columns=left_out))


# The group has --data, too, and people write it at either place.
_own_data = click.option("--data", metavar="DIR", help=f"The store.{options.IN_DATA}")


@quarantine.command("show")
@_own_data
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
@_own_data
@options.config
@click.pass_obj
def quarantine_replay(group_data: str, data: str | None, file: Path | None) -> None:
    """Takes up what is understood by now, after an upgrade or a change of settings."""
    from regstats.rebuild import replay
    from regstats.store import Store

    store, dialects = Store(data or group_data), config.load(file).dialects
    _report_contents(work("Reading what is in quarantine", lambda _: replay(store, dialects)))


@main.command()
@click.option("--data", metavar="DIR", help="The store.  [default: $REGSTATS_DATA, else ./data, else the sample]")
@options.config
@click.option(
    "--folder",
    metavar="DIR",
    default="regstats-notebooks",
    show_default=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="Where your copies of the notebooks are.",
)
@click.option("--fresh", is_flag=True, help="Put ours beside those that you changed, under another name.")
@click.option("--port", type=click.IntRange(1, 65535), help="[default: 8888, or the next that is free]")
@click.option("--no-browser", is_flag=True, help="Only say where it is.")
@click.argument("jupyter", nargs=-1, metavar="[-- JUPYTERLAB-OPTIONS...]")
def lab(
    data: str | None, file: Path | None, folder: Path, jupyter: tuple[str, ...], no_browser: bool, **given: Any
) -> None:
    """Opens JupyterLab on the ready-made notebooks, which have the answers.

    They are copied to a folder of yours. A copy that you changed is never overwritten. Only this machine can reach it.
    Without a store the notebooks show the sample.

    \b
    Example: regstats lab --data /var/lib/regstats --no-browser --port 8899
    """
    from regstats.lab import start

    start(folder, data, file, [*(["--no-browser"] if no_browser else []), *jupyter], **given)


@main.command()
@click.option(
    "--data",
    metavar="DIR",
    help="Where to put the demo's store.  [default: $REGSTATS_DATA/demo, else ./data/demo; demo-large if it is large]",
)
@click.option("--once", is_flag=True, help="Stop when all is shown, instead of serving on.")
@click.option(
    "--size",
    type=click.Choice(["small", "large"]),
    default="small",
    show_default=True,
    help="large: nothing but a store of ten million events; it takes two cores eight minutes, and 800 MB.",
)
def demo(data: str | None, once: bool, size: str) -> None:
    """Shows the whole job, with nothing else needed: half a year of a small company's registry, sent to a collector."""
    from regstats import demo

    root = Path(data) if data else None
    if size == "large":
        demo.grow(root)
    else:
        demo.run(root, keep_serving=not once)


@main.command()
@click.argument("what", required=False, metavar="[WHAT]", type=click.Choice([*options.VIEWS, *METRICS]))
@click.option("--sql", metavar="QUERY", help="The rows of a query instead.")
@options.together([options.of_parameter(name, interval="that of the metric") for name in HELP])
@click.option("--hash-actors", is_flag=True, help="A pseudonym for each name, with the salt of [privacy].")
@click.option("--truncate-addresses", is_flag=True, help="Of addresses only the network: /24, of IPv6 /48.")
@options.together([options.data, options.config, options.destination(options.EXPORTED, "csv")])
def export(
    *, what: str | None, sql: str | None, hash_actors: bool, truncate_addresses: bool, data: str, file: Path | None,
    to: options.Destination, **parameters: Any,
) -> None:  # fmt: skip
    """Writes rows, however many: those of a view, of a metric, or of any query over the views.

    Views: events and deliveries are all there is; changes are the events that change what a registry holds; moves is
    when a tag came to point to something else. pulls, pushes and deletes are without those who are excluded. Rows are
    in no particular order, unless the query says so. Metrics: all of them; pulls and pushes with --interval or --by.

    csv, tsv, json, jsonl (one row a line) and parquet are written while rows are read; table, md and html are for
    people, and made in memory.

    Without a salt in [privacy] pseudonyms are others in each export.

    \b
    Examples: regstats export events --since 30d --output events.parquet
              regstats export deliveries --format jsonl | gzip > deliveries.jsonl.gz
              regstats export pulls --hash-actors --truncate-addresses --output for-others.parquet
              regstats export top --since 30d --by actor --hash-actors --format jsonl
              regstats export --sql "select client, count(*) as pulls from pulls group by all" --format table
    """
    asked = {name: value for name, value in options.given(parameters).items() if value is not None}
    if (what is None) == (sql is None):
        raise click.UsageError(f"Name one of {', '.join(options.VIEWS)}, or a metric, or give a query with --sql.")
    if sql is not None and (asked or hash_actors or truncate_addresses):
        named = next(iter(asked), "hash-actors" if hash_actors else "truncate-addresses")
        raise click.UsageError(f"--{named} is for views and metrics; a query says itself what it wants.")
    from regstats import exports
    from regstats.privacy import exported

    stats, kept = options.stats(data, file), config.load(file).privacy
    privacy = exported(kept, hash_actors=hash_actors, truncate_addresses=truncate_addresses)
    is_shown = to.output is not None or not sys.stdout.isatty()  # else it would stand among the rows
    with answer(to.output) as out:

        def do(advance: Advance) -> None:
            if what is not None and _is_metric(what, asked):
                exports.write_frame(exports.of_metric(stats, what, asked, privacy), to.form, out)
                return
            rows = exports.of_view(stats, what, asked, privacy) if what else exports.of_sql(stats, sql or "")
            exports.write(rows, to.form, out, advance)

        work("Exporting", do, shown=is_shown)


def _is_metric(what: str, asked: dict[str, Any]) -> bool:
    """Pulls and pushes are views, too: they are metrics where they are to be counted."""
    return what not in options.VIEWS or (what in METRICS and bool({"interval", "by"} & asked.keys()))


@main.command()
@click.argument("shell", type=click.Choice(options.SHELLS))
def completion(shell: str) -> None:
    """Prints what a shell has to read to complete commands, options, and names in the store.

    \b
    Examples: source <(regstats completion bash)      in ~/.bashrc
              source <(regstats completion zsh)       in ~/.zshrc
              regstats completion fish | source       in ~/.config/fish/config.fish
    """
    click.echo(options.script(main, shell))


def _metric_command(name: str, metric: Metric) -> None:
    @main.command(name, cls=options.MetricCommand, short_help=metric.question)
    @options.of_metric(metric)
    @options.engine
    def command(data: str, file: Path | None, to: options.Destination, engine: str, **parameters: Any) -> None:
        stats = options.stats(data, file, engine)
        note = "" if name in _NOBODY_EXCLUDED else f"Not counted: {stats.exclude}"
        _answer(to, partial(getattr(stats, name), **options.given(parameters)), note)


for _name, _metric in METRICS.items():
    _metric_command(_name, _metric)
for _command in hosting.COMMANDS:
    configuring.configuration.add_command(_command)
_GROUPS = (deploying.deploy, imaging.images, configuring.configuration)
for _command in (reporting.report, reporting.alert, reporting.outbox, diagnosing.doctor, *_GROUPS):
    main.add_command(_command)
