"""The commands that print how regstats itself is run: by systemd, as an image of a container, in Kubernetes."""

import secrets
import sys
import textwrap
from pathlib import Path

import click

from regstats import config, kinds
from regstats.configuring import print_template
from regstats.errors import ParameterError
from regstats.kinds import Checked

_STATE = "/var/lib/"
"""What lies in it systemd makes by itself."""


@click.command("systemd")
@click.option(
    "--data", type=kinds.PATH, default=f"{_STATE}regstats", show_default=True, help="Where the store is, or will be."
)
@click.option(
    "--config",
    "file",
    type=kinds.PATH,
    default="/etc/regstats/regstats.toml",
    show_default=True,
    help="The settings. Only root needs to be able to read them.",
)
@click.option("--user", type=kinds.USER, default="regstats", show_default=True, help="As whom it runs.")
@click.option("--program", type=kinds.PATH, help="The installed command.  [default: this one]")
def config_systemd(*, data: Checked, file: Checked, user: Checked, program: Checked | None) -> None:
    """Prints a unit of systemd (250 or later) that runs the collector, with no more rights than it needs.

    \b
    Example: regstats config systemd > /etc/systemd/system/regstats.service
    """
    state = data.removeprefix(_STATE) if data.startswith(_STATE) else None
    program = program or Checked(str(Path(sys.executable).with_name("regstats")))
    print_template("regstats.service", data=data, file=file, user=user, program=program, state=state)


@click.command("container")
@click.option(
    "--base",
    type=kinds.IMAGE,
    default="docker.io/library/python:3.13-slim",
    show_default=True,
    help="An image with Python, pip and a shell.",
)
@click.option(
    "--extra",
    "extras",
    type=click.Choice(["docker", "doctor", "images", "kubernetes", "lab", "print", "s3", "spark"]),
    multiple=True,
    help="What else is installed. May be given several times.",
)
def config_container(*, base: Checked, extras: tuple[str, ...]) -> None:
    """Prints a Containerfile, which makes an image of a clone of regstats. Nothing in it runs as root.

    \b
    Example: regstats config container | podman build --tag regstats --file - .
    """
    chosen = f"[{','.join(sorted(set(extras)))}]" if extras else ""
    print_template("Containerfile", base=base, extras=Checked(chosen))


@click.command("kubernetes")
@click.option("--name", type=kinds.LABEL, default="regstats", show_default=True, help="What all of it is called.")
@click.option("--image", type=kinds.IMAGE, default="regstats:latest", show_default=True, help="The image to run.")
@click.option("--size", type=kinds.SIZE, default="20Gi", show_default=True, help="Of the volume with the store.")
@click.option("--storage-class", type=kinds.LABEL, help="Of the volume.  [default: the cluster's]")
@click.option(
    "--config",
    "file",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Settings to run with.  [default: a token that is made for it]",
)
def config_kubernetes(*, file: Path | None, **values: Checked | None) -> None:
    """Prints what makes Kubernetes run the collector: its settings, a volume with the store, a pod, and a service.

    \b
    Example: (umask 077; regstats config kubernetes --image registry.example/regstats:1 > regstats.yaml)
             kubectl apply --file regstats.yaml
    """
    if file is not None:
        # Or the pod would be the first to find a mistake. It does not know what is set here.
        config.check_exposure(config.load(file, {}, host="0.0.0.0"))  # noqa: S104 - in the pod
    settings = file.read_text(encoding="utf-8") if file else f'token = "{secrets.token_hex(24)}"\n'
    print_template("kubernetes.yaml", settings=_block(settings), **values)


def _block(text: str) -> Checked:
    """Lines as they stand in a block of YAML, four columns in."""
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.replace("\t", "").isprintable():
            raise ParameterError(f"Line {number} of the settings has something in it that cannot be seen.")
    return Checked(textwrap.indent(text, "    ").rstrip("\n"))


COMMANDS = (config_systemd, config_container, config_kubernetes)
"""Of `regstats config`."""
