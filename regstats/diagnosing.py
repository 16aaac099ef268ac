"""The command `regstats doctor`."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from regstats import config, options
from regstats.terminal import answer, visible

if TYPE_CHECKING:
    from collections.abc import Iterator

    from regstats.registry_config import Finding

_SIGNS = {"ok": "\N{CHECK MARK}", "warning": "!", "problem": "\N{MULTIPLICATION SIGN}", "skipped": "\N{EN DASH}"}
_COLORS = {"ok": "green", "warning": "yellow", "problem": "red", "skipped": None}


@click.command("doctor")
@click.option("--registry-config", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="Its config.yml.")
@click.option("--collector", metavar="URL", help="Where the registry sends to.  [default: where the settings say]")
@click.option("--source", default=config.DEFAULT_SOURCE, show_default=True, help="As which source it sends.")
@click.option("--token", help="What senders must show.  [default: as the settings say]")
@click.option("--debug", metavar="URL", help="The registry's /debug/vars.  [default: as its config.yml says]")
@click.option("--probe", is_flag=True, help="Push a tiny artifact, delete it, and see whether that arrives.")
@click.option("--wait", type=click.FloatRange(min=0.1), default=15.0, show_default=True, help="Seconds for that.")
@options.place("The registry, HOST:PORT.")
@click.option("--data", metavar="DIR", help=f"The store.{options.IN_DATA}")
@options.config
@options.destination()
def doctor(
    *, place: options.Place | None, data: str | None, file: Path | None, token: str | None, to: options.Destination,
    **asked: Any,
) -> None:  # fmt: skip
    """Says why nothing arrives: looks at everything from the registry's configuration to the store.

    What is given is looked at. Each line says what is well or wrong, and what to write where. Exit status 1 if
    something has to be done. Registries are only asked, unless there is --probe: it pushes to regstats-doctor, a
    repository of its own, which then has a push in the statistics.

    \b
    Example: regstats doctor --registry-config /etc/docker/registry/config.yml --registry 127.0.0.1:5000 --probe
    """
    from regstats import credentials
    from regstats.doctor import Asked, diagnose
    from regstats.session import Session

    settings = config.load(file, data=data, token=token)
    session = None
    if place is not None:
        login = place.login or credentials.find(Session(place.registry).registry)
        session = Session(place.registry, login, insecure=place.insecure, ca=place.ca, tries=1)
    findings = diagnose(Asked(registry=session, **asked), settings)
    shown = list(_told(findings)) if to.form == "table" and to.output is None else list(findings)
    if not (to.form == "table" and to.output is None):
        _write(shown, to)
    sys.exit(1 if any(finding.status == "problem" for finding in shown) else 0)


def _told(findings: "Iterator[Finding]") -> "Iterator[Finding]":
    """Each as soon as it is known."""
    for finding in findings:
        text = f"{_SIGNS[finding.status]} {finding.check}: {visible(finding.what)}"
        click.secho(text, fg=_COLORS[finding.status])
        if finding.remedy:
            click.echo(f"    {visible(finding.remedy)}")
        yield finding


def _write(findings: "list[Finding]", to: options.Destination) -> None:
    import pandas as pd

    from regstats.formats import encode

    rows = [(finding.check, finding.status, finding.what, finding.remedy) for finding in findings]
    with answer(to.output) as out:
        out.write(encode(pd.DataFrame(rows, columns=["check", "status", "what", "remedy"], dtype="str"), to.form, ""))
