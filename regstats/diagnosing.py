"""The command that looks for where events get lost."""

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click
import msgspec

from regstats import config, credentials, options
from regstats.errors import ParameterError
from regstats.requesting import is_address
from regstats.terminal import answer

_PROBED = "regstats-doctor/probe"


@click.command(cls=options.Command)
@options.place("The registry as clients reach it, HOST:PORT or its URL.")
@click.option(
    "--registry-config",
    metavar="FILE",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Its config.yml.",
)
@click.option("--collector", metavar="URL", help="The collector.  [default: as the registry's or our settings say]")
@click.option("--source", metavar="NAME", help="As which source the registry sends.")
@click.option("--token", help="What the collector wants to be shown.  [default: as the settings say]")
@click.option("--debug", metavar="URL", help="The registry's http.debug.addr, to see what it has not delivered.")
@click.option(
    "--probe",
    metavar="[REPOSITORY]",
    is_flag=False,
    flag_value=_PROBED,
    help=f"Push something tiny, read it, delete it, and see what of that is told.  [without a name: {_PROBED}]",
)
@click.option("--wait", type=click.FloatRange(0, 3600), default=15.0, show_default=True, help="For so many seconds.")
@click.option("--data", metavar="DIR", help="The store.  [default: as the settings say]")
@click.option("--config", "file", type=click.Path(path_type=Path), help=options.IN_CONFIG)
@options.destination()
def doctor(place: options.Place | None, file: Path | None, to: options.Destination, **given: Any) -> None:
    """Why does nothing arrive? Checks all from the registry's configuration to the store, and says what to write where.

    What is given is checked: of --registry-config what it says, of --registry whether it can be asked, of --debug what
    it has not delivered; the collector and the store always. Exit status 1 if there is a problem.

    Nothing is changed at the registry without --probe. What that pushes is in a repository of its own, as the client
    regstats, which the settings exclude: it is not counted, and `regstats history` has it. It is deleted again where
    the registry deletes. It also asks with a forged X-Forwarded-For, to see whether addresses can be believed.

    \b
    Examples: regstats doctor --registry-config /etc/docker/registry/config.yml
              regstats doctor --registry registry.example:5000 --username alice --password-stdin --probe
    """
    from regstats.doctor import Asked, Doctor

    there = place._asdict() if place is not None else {}
    for name, text in {"registry": there.get("registry"), **given}.items():
        _check_address(name, text)
    if place is not None:
        there["login"] = place.login or credentials.find(place.registry.rpartition("://")[2].rstrip("/"))
    settings = config.load(file)
    given |= {"config": given.pop("registry_config"), "debug": _url(given["debug"])}
    asked = Asked(settings=settings, has_settings=config.in_force(file) is not None, **there, **given)
    if _write(Doctor(asked).examine(), to):
        sys.exit(1)


def _check_address(name: str, text: Any) -> None:
    """A login does not belong into an address, which processes and shells show to others."""
    if name not in ("registry", "collector", "debug") or text is None:
        return
    if "@" in text:
        raise ParameterError(f"--{name} is an address without a login; see --username and --token.")
    if name == "collector" and not is_address(text):
        raise ParameterError(f"--collector {text!r} does not begin with https:// or http://.")


def _url(address: str | None) -> str | None:
    return address if address is None or is_address(address) else f"http://{address}"


def _told(finding: Any, before: list[Any]) -> str:
    """For people: what to do is told once."""
    is_known = "\n" in finding.remedy and finding.remedy in [other.remedy for other in before]
    text: str = (msgspec.structs.replace(finding, remedy="As above.") if is_known else finding).text
    return text


def _frame(found: list[Any]) -> Any:
    import pandas as pd

    return pd.DataFrame([msgspec.to_builtins(finding) for finding in found], columns=list(found[0].__struct_fields__))


def _write(findings: Iterable[Any], to: options.Destination) -> bool:
    """Writes what is found, for people as it is found; whether there is a problem."""
    from regstats.formats import encode

    found: list[Any] = []
    with answer(to.output) as out:
        for finding in findings:
            if to.form == "table":
                out.write(f"{_told(finding, found)}\n".encode())
                out.flush()
            found.append(finding)
        if to.form != "table":
            out.write(encode(_frame(found), to.form))
    return any(finding.status == "problem" for finding in found)
