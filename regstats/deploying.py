"""The commands around deployments: which rules there are, what one would do, and what it would have done."""

from pathlib import Path
from typing import Any

import click

from regstats import config, options
from regstats.errors import ConfigError, ParameterError
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
    """Says what each rule does, if all of them are right."""
    from regstats.rules import explained

    for rule in _rules(file).values():
        click.echo(visible(explained(rule)))


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
    from regstats.rules import filled

    words = rule.command or [rule.http.method, rule.http.url]
    return f"{[filled(word, rule, change) for word in words]}"


def _of_options(given: dict[str, Any], *, delete: bool) -> Any:
    from regstats.rules import Change
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
