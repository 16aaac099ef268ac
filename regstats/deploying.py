"""The commands around deployments: which rules there are, what they would do, did, and are to do now."""

import getpass
import sys
import time
from pathlib import Path
from typing import Any, Literal

import click

from regstats import config, options
from regstats.errors import ConfigError, ParameterError
from regstats.events import STATUSES
from regstats.terminal import visible, work


@click.group(cls=options.Group)
def deploy() -> None:
    """What [[deploy]] does when a tag is pushed."""


def _rules(file: Path | None, name: str | None = None) -> dict[str, Any]:
    found = {rule.name: rule for rule in config.load(file).deploy}
    if not found:
        raise ConfigError('The settings have no [[deploy]]; README, "Deployments", shows one.')
    if name not in {None, *found}:
        raise ParameterError(f"There is no [[deploy]] {name!r}. There are: {', '.join(found)}.")
    return found if name is None else {name: found[name]}


@deploy.command("check")
@options.config
def deploy_check(file: Path | None) -> None:
    """Says what each rule does, if all of them are right; and what they need that is not here."""
    from regstats.actions import lacks
    from regstats.rules import explained

    for rule in _rules(file).values():
        click.echo(visible(explained(rule)))
        if missing := lacks(rule):
            click.echo(visible(f"{rule.name}: {missing}"), err=True)


@deploy.command("test")
@click.argument("event", required=False, type=click.Path(path_type=Path, exists=True, dir_okay=False))
@options.config
@click.option("--repository", help="Instead of EVENT: what is pushed.")
@click.option("--tag", help="… under which tag.")
@click.option("--digest", default=f"sha256:{'0' * 64}", help="What it points to from then on.")
@click.option("--before", help="What it points to until then.")
@click.option("--actor", help="Who pushes.")
@click.option("--address", "client_address", help="From where.")
@click.option("--source", default=config.DEFAULT_SOURCE, show_default=True, help="Which registry tells of it.")
@click.option("--media-type", help="What is pushed.")
@click.option("--delete", is_flag=True, help="The tag is deleted.")
def deploy_test(event: Path | None, file: Path | None, *, delete: bool, **given: Any) -> None:
    """Says what each rule would do, or why it would not; nothing is done.

    EVENT is a file with a notification as a registry sends it.

    \b
    Examples: regstats deploy test --repository team/app --tag 1.3 --actor ci
              regstats deploy test notification.json
    """
    from regstats import rules

    changes = _of_file(event, given["source"]) if event else [_of_options(given, delete=delete)]
    for change in changes:
        click.echo(visible(f"{change.action} of {change.repository}:{change.tag} by {change.actor or 'nobody known'}"))
        for rule in _rules(file).values():
            why = rules.misfits(rule, change)
            said = "; ".join(why) if why else _done(rule, change)
            click.echo(visible(f"  {rule.name}: {'no: ' if why else 'yes: '}{said}"))


def _done(rule: Any, change: Any) -> str:
    from regstats.actions import arguments
    from regstats.rules import does, filled

    if not rule.command:
        return filled(does(rule), rule, change)
    try:
        return f"{arguments(rule, change)}"
    except ConfigError as error:
        return f"but it would fail: {error}"


def _of_options(given: dict[str, Any], *, delete: bool) -> Any:
    from regstats.events import Change
    from regstats.store import utc_now

    if not given["repository"] or not given["tag"]:
        raise click.UsageError("Name a file with an event, or --repository and --tag.")
    changed = {"digest": None, "before": given["before"] or given["digest"]} if delete else {}
    return Change(timestamp=utc_now(), event_id="test", **(given | changed))


def _of_file(event: Path, source: str) -> Any:
    from regstats.events import Delivery
    from regstats.payloads import understand
    from regstats.rules import of_event
    from regstats.store import utc_now

    sent = Delivery(received_at=utc_now(), delivery_id="test", source=source, headers={}, body=event.read_bytes())
    (understood,), events = understand([sent])
    if understood.error:
        raise ParameterError(f"{event} is not understood: {understood.error}")
    changes = [change for one in events if (change := of_event(one))]
    if not changes:
        raise ParameterError(f"In {event} no tag is pushed or deleted.")
    return changes


@deploy.command("backtest")
@click.argument("name", required=False)
@options.data
@options.config
@options.of_parameter("since")
@options.of_parameter("until")
@options.destination()
def deploy_backtest(
    name: str | None, data: str, file: Path | None, *, to: options.Destination, **window: str | None
) -> None:
    """Says what rules would have done with what happened, as if all had gone well; nothing is done.

    NAME is one of them; all without it. Columns: at, rule, target, repository, tag, digest, actor, client_address,
    changes (how many came together).

    \b
    Examples: regstats deploy backtest --since 90d
              regstats deploy backtest app-prod --format csv
    """
    from regstats.deployment import backtest
    from regstats.formats import encode
    from regstats.terminal import answer

    rules = list(_rules(file, name).values())
    with answer(to.output) as out:
        frame = work("Looking back", lambda _: backtest(options.stats(data, file), rules, **window))
        out.write(encode(frame, to.form, ""))


_SHORT = ["deployment_id", "timestamp", "rule", "repository", "tag", "actor"]
_SHORT += ["status", "attempts", "lead_time", "reason"]
_Wish = Literal["approve", "reject", "run"]
_LONG = ["history", "output"]


@deploy.command("log")
@click.argument("deployment_id", metavar="[ID]", required=False)
@options.data
@options.config
@click.option("--repository", help="Of these repositories, a glob.")
@click.option("--rule", help="By these rules, a glob.")
@click.option("--status", type=click.Choice(STATUSES), help="Only what it has become.")
@options.of_parameter("since")
@options.of_parameter("until")
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True, help="So many at most.")
@options.destination()
def deploy_log(
    deployment_id: str | None, data: str, file: Path | None, *, to: options.Destination, **asked: Any
) -> None:
    """Says what was deployed, when, and how it went; the latest first.

    With an ID, or its beginning, everything about one. A table has some of the columns, all other formats have all:
    those of the relation `deployments`, duration (from the first attempt to the end), lead_time (from the push to the
    end).

    \b
    Examples: regstats deploy log --status failed --since 7d
              regstats deploy log 3f9a
    """
    from regstats.formats import encode
    from regstats.terminal import answer

    frame = options.stats(data, file).deployments(deployment_id=deployment_id, **asked)
    if to.form == "table" and deployment_id:
        click.echo(_in_full(_only(frame, deployment_id)), nl=False)
        return
    with answer(to.output) as out:
        out.write(encode(frame[_SHORT] if to.form == "table" else frame, to.form, ""))


def _only(frame: Any, begun: str) -> dict[str, Any]:
    """The one that is meant."""
    from regstats.formats import rows

    found = {row["deployment_id"]: row for row in rows(frame)}
    if len(found) != 1:
        number = f"{len(found)} ids begin" if found else "No id begins"
        raise ParameterError(f"{number} with {begun!r}; `regstats deploy log` lists them.")
    return next(iter(found.values()))


def _in_full(row: dict[str, Any]) -> str:
    shown = {name: value for name, value in row.items() if name not in _LONG and value is not None}
    lines = [f"{name:15} {visible(str(value))}" for name, value in shown.items()]
    for name in _LONG:
        lines += ["", name, *(f"  {visible(line)}" for line in (row[name] or "").splitlines())]
    return "\n".join(lines) + "\n"


def _wish(name: _Wish, text: str) -> None:
    """A command by which somebody asks for something."""

    @deploy.command(name, help=text)
    @click.argument("deployment_id", metavar="ID")
    @options.data
    @options.config
    @click.option("--by", default=getpass.getuser, show_default="who is logged in", help="Who asks, for the ledger.")
    def command(deployment_id: str, data: str, file: Path | None, by: str) -> None:
        row = _only(options.stats(data, file).deployments(deployment_id=deployment_id), deployment_id)
        ended = _asked(row, name, data, file, by)
        click.echo(_in_full(ended), nl=False)
        if ended["status"] == "failed":
            sys.exit(1)


_wish("approve", "Lets a deployment be done that waits for it, and waits for its end.")
_wish("reject", "Lets a deployment not be done that waits for an approval.")
_wish("run", "Does a deployment again that has ended, at once, and waits for its end.")


def _asked(row: dict[str, Any], wish: _Wish, data: str, file: Path | None, by: str) -> Any:
    """Asks, and waits for the end; does it itself where no collector acts."""
    from regstats.deployer import Deployer, id_of
    from regstats.events import ENDED
    from regstats.ledger import Asked
    from regstats.store import Store, utc_now

    name, status = row["deployment_id"], row["status"]
    if (wish == "run") != (status in ENDED) or (wish != "run" and status != "unapproved"):
        raise ParameterError(f"Deployment {name} is {status}; nobody can {wish} it.")
    store, asked = Store(data), Asked(by, utc_now())
    expected = id_of(name, asked.at.isoformat()) if wish == "run" else name
    path = store.ledger.ask(name, wish, asked)
    deployer, stats = Deployer(store, config.load(file, data=data), by_hand=name), options.stats(data, file)
    try:
        while True:
            deployer.tick()
            is_taken = not path.exists()  # and if so, it is in the ledger by now
            found = stats.deployments(deployment_id=expected)
            if len(found) and found["status"].iloc[0] in ENDED:
                return _only(found, expected)
            if is_taken and not len(found):
                raise ParameterError(f"The rule {row['rule']!r} is not in the settings of the collector any more.")
            time.sleep(0.1)
    finally:
        deployer.stop()
