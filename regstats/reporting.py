"""The commands around reports: write one, send those that are scheduled, try alerts, and see what waits to be sent."""

import shlex
import shutil
import sys
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from regstats import agenda, config, options
from regstats.errors import ConfigError, ParameterError
from regstats.terminal import answer, visible, work


@click.command(cls=options.Command)
@options.data
@options.config
@options.of_parameter("since")
@options.of_parameter("until")
@click.option(
    "--output",
    "-o",
    "--out",
    "output",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Where to write it; - is stdout.  [default: report.html, or .md, .json, .zip, .pdf as --format says; of a "
    "team report-NAME.html]",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(options.REPORTED),
    help="How to write it; csv is a ZIP of tables, png one of charts.  [default: what --output ends in, else html]",
)
@click.option("--team", metavar="NAME", help="The report of one team of the settings, [teams.NAME].")
@click.option("--each-team", is_flag=True, help="One report for each team; --output is the directory.  [default: .]")
@click.option("--run", "scheduled", metavar="NAME", help="Send this [[report.schedule]] for the last time it was due.")
@click.option("--install-cron", "host", flag_value="cron", help="Print lines of a crontab that send what is due.")
@click.option("--systemd", "host", flag_value="systemd", help="Print timers of systemd that do.")
@click.option("--notebook", metavar="NAME", help="What this notebook shows instead: one of ours, or your .ipynb file.")
@click.option("--parameter", "-p", "assigned", multiple=True, metavar="NAME=VALUE", help="A parameter of the notebook.")
def report(
    data: str,
    file: Path | None,
    *,
    output: Path | None,
    form: str | None,
    team: str | None,
    each_team: bool,
    scheduled: str | None,
    host: str | None,
    notebook: str | None,
    assigned: tuple[str, ...],
    **window: str | None,
) -> None:
    """Writes what has happened as one HTML file that needs nothing else, or in another format.

    pdf and png need the extra `print`, and a Chromium on this machine.

    With --notebook it is what a notebook shows, without its code; --since and --until are parameters of it then.
    Values of parameters are JSON or Python literals, and text where they are neither.

    What [[report.schedule]] names is sent by `regstats serve`, or by the host's scheduler (--install-cron, --systemd):
    --run sends it, and does nothing where it was sent already.

    \b
    Examples: regstats report --since 30d --output report.html
              regstats report --since 7d --format md --output -
              regstats report --since 4w --each-team --output reports
              regstats report --notebook overview -p since=7d -p interval=day --out overview.html
    """
    if host is not None:
        click.echo(_for_host(host, data, file), nl=False)
        return
    if scheduled is not None:
        _send(scheduled, data, file)
        return
    if assigned and notebook is None:
        raise click.UsageError("--parameter is for notebooks; name one with --notebook.")
    form = form or options.form_of_report(output)
    if notebook and form != "html":
        raise click.UsageError("What a notebook shows is HTML.")
    if notebook and (team is not None or each_team):
        raise click.UsageError("A notebook is not about a team: leave out --team and --each-team.")
    if team is not None and each_team:
        raise click.UsageError("--team is one, --each-team all of them.")
    if form == "png" and output and output.suffix.lower() == ".png":
        raise click.UsageError("The charts are several pictures: name a .zip, and say --format png.")
    teams, stats = config.load(file).teams, options.stats(data, file)
    page = partial(_page, stats, since=window["since"], until=window["until"], form=form, teams=teams)
    if each_team:
        for name, path in _each(teams, output or Path(), form):
            _write_report(path, partial(page, team=name))
        return
    only = None if output == Path("-") else output or options.file_of_report(form, team)
    _write_report(only, _notebook(notebook, assigned, window, data, file) if notebook else partial(page, team=team))


def _each(teams: Iterable[str], folder: Path, form: str) -> list[tuple[str, Path]]:
    """Every team, and the file of its report."""
    if not folder.is_dir():
        raise click.UsageError(f"--each-team writes several files: {folder} is not a directory.")
    files = [(name, folder / options.file_of_report(form, name)) for name in teams]
    if not files:
        raise ConfigError("There are no teams: the settings name none, [teams.NAME].")
    return files


def _write_report(path: Path | None, render: Callable[[], bytes]) -> None:
    with answer(path) as out:
        out.write(work("Writing the report", lambda _: render()))
    if path is not None:
        click.echo(f"Wrote {path.resolve()}")


def _settings(data: str, file: Path | None) -> config.Settings:
    """The settings, of which --data overrides where the store is."""
    is_given = click.get_current_context().get_parameter_source("data") is not ParameterSource.DEFAULT
    return config.load(file, data=data if is_given else None)


def _scheduled(settings: config.Settings) -> dict[str, agenda.Schedule]:
    found = {one.name: one for one in settings.report.schedule}
    if not found:
        raise ConfigError('The settings have no [[report.schedule]]; README, "Reports", shows one.')
    return found


def _for_host(host: str, data: str, file: Path | None) -> str:
    """The lines that make the host's scheduler send what is scheduled."""
    from regstats import schedule
    from regstats.store import address_of

    folder, path, settings = Path.cwd(), config.in_force(file), _settings(data, file)
    places = ["--data", address_of(settings.data), *(["--config", str(path.resolve())] if path else [])]
    program = shutil.which("regstats") or f"{sys.executable} -m regstats"
    texts = []
    for name, one in _scheduled(settings).items():
        command = f"{program} {shlex.join(['report', '--run', name, *places])}"
        in_cron = f"cd {shlex.quote(str(folder))} && {command}".replace("%", r"\%")
        texts.append(schedule.crontab(one, in_cron) if host == "cron" else schedule.systemd(one, command, str(folder)))
    return "\n".join(texts)


def _send(name: str, data: str, file: Path | None) -> None:
    settings = _settings(data, file)
    known = _scheduled(settings)
    if name not in known:
        raise ParameterError(f"There is no [[report.schedule]] {name!r}. There are: {', '.join(known)}.")
    from regstats.dispatch import Dispatch
    from regstats.store import Store

    slot, failed = Dispatch(Store(settings.data), settings).run(name)
    click.echo(f"Sent {name} of {slot:%Y-%m-%d %H:%M} UTC." if slot else f"{name} was sent already.")
    for message in failed:
        click.echo(f"{message.to} has not got it yet: {message.error}", err=True)
    if failed:
        sys.exit(1)


def _page(stats: Any, **asked: Any) -> bytes:
    from regstats.report import render

    return render(stats, **asked)


def _notebook(
    name: str, assigned: tuple[str, ...], window: dict[str, str | None], data: str, file: Path | None
) -> Callable[[], bytes]:
    from regstats import notebooks

    notebooks.need_jupyter()
    from regstats.notebook_report import Surroundings, parsed, render

    parameters = {key: value for key, value in window.items() if value is not None} | parsed(assigned)
    surroundings = Surroundings(data, config.in_force(file), str(config.load(file).exclude))
    return lambda: render(name, parameters, surroundings).encode()


@click.group(cls=options.Group)
def alert() -> None:
    """What [[alert]] tells of."""


@alert.command("test")
@click.argument("name", required=False)
@options.data
@options.config
@click.option("--since", help="When they would have told what, from then on: an ISO time, or 7d before now.")
def alert_test(name: str | None, data: str, file: Path | None, since: str | None) -> None:
    """Says what alerts would tell now, or would have told since some time, and sends nothing.

    NAME is one of them; all without it. The past is looked at 168 times at most, and how full the disk was then nobody
    knows.

    \b
    Examples: regstats alert test
              regstats alert test spikes --since 30d
    """
    settings = _settings(data, file)
    known = {one.name: one for one in settings.alert}
    if name not in {None, *known}:
        raise ParameterError(f"There is no [[alert]] {name!r}. There are: {', '.join(known) or 'none'}.")
    for one in [known[name]] if name else known.values():
        told = work(f"Looking at {one.name}", partial(_rehearsed, one, settings, since))
        click.echo("".join(f"{line}\n" for line in told or [f"{one.name}: nothing to tell."]), nl=False)


def _rehearsed(one: agenda.Alert, settings: config.Settings, since: str | None, _: object) -> list[str]:
    from regstats import alerts
    from regstats.parameters import moment
    from regstats.stats import Stats
    from regstats.store import local_directory

    stats = Stats(settings.data, exclude=settings.exclude)
    now = stats.present

    def facts_at(at: Any) -> alerts.Facts:
        stats.now = at
        return alerts.Facts(stats, None if since else local_directory(settings.data), one.repository)

    begin = moment("since", since, now=now) or now
    return [
        visible(f"{at:%Y-%m-%d %H:%M} {one.name} {what}: {text}")
        for at, told in alerts.rehearse(one, facts_at, begin, now)
        for what, texts in told._asdict().items()
        for text in texts
    ]


@click.group(cls=options.Group, invoke_without_command=True)
@options.data
@options.config
@click.option("--last", type=click.IntRange(min=0), default=20, show_default=True, help="How many lines of its log.")
@click.pass_context
def outbox(context: click.Context, data: str, file: Path | None, last: int) -> None:
    """Lists what waits to be sent, and what was sent last."""
    if context.invoked_subcommand is not None:
        return
    from regstats.outbox import Outbox
    from regstats.store import Store

    box = Outbox(Store(_settings(data, file).data).root)
    for message in box.waiting():
        due = f"{message.due:%Y-%m-%d %H:%M}" if message.due else "now"
        why = message.error or "not tried yet"
        click.echo(visible(f"waits until {due}: {message.subject}, to {message.to}: {why}"))
    for line in box.log(last):
        why = f": {line['error']}" if "error" in line else ""
        when = line["time"][:16].replace("T", " ")
        click.echo(visible(f"{when} {line['what']}: {line['subject']}, to {line['to']}{why}"))


@outbox.command("test")
@click.argument("destination")
@options.config
def outbox_test(destination: str, file: Path | None) -> None:
    """Sends a test message to a destination, at once."""
    from regstats.delivery import deliver
    from regstats.outbox import Message
    from regstats.store import utc_now

    settings, now = config.load(file), utc_now()
    if destination not in settings.destinations:
        known = ", ".join(settings.destinations) or "none"
        raise ParameterError(f"There is no [destinations.{destination}]. There are: {known}.")
    text = "This is a test of regstats. If you can read it, it works.\n"
    message = Message(
        id=f"test-{destination}-{now:%Y%m%dT%H%M%SZ}", to=destination, kind="test", name="test",
        subject="Test of regstats", text=text, at=now, made_at=now,
    )  # fmt: skip
    deliver(message, settings)
    click.echo(f"Sent a test message to {destination}.")
