"""The commands that print configuration for other programs: Grafana, registries, nginx, clients of mirrors.

What is chosen is put into the texts quoted, or has been checked so that it can stand there as it is.
"""

import json
import re
import secrets
from functools import wraps
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote, urlsplit

import click

from regstats import config, kinds, options
from regstats.config import DEFAULT_SOURCE, Settings, Source
from regstats.errors import ConfigError, ParameterError
from regstats.kinds import Checked

_PLACEHOLDER = "YOUR-TOKEN"
_DOCKER_HUB, _ITS_REGISTRY = "docker.io", "https://registry-1.docker.io"
_CLIENTS = {"dockerd": "daemon.json", "podman": "registries.conf", "containerd": "hosts.toml"}
"""Who pulls through a mirror, and the template of what makes them do it."""


def _quoted(value: object) -> object:
    """What a template puts in: text as YAML, TOML, JSON and nginx all read it, and what was checked as it is."""
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else value


def print_template(template: str, **values: Any) -> None:
    """Prints a text of `templates/config` with what is chosen."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("regstats", "templates/config"),
        autoescape=False,  # noqa: S701 - none of it is HTML
        undefined=jinja2.StrictUndefined,
        finalize=_quoted,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    click.echo(environment.get_template(template).render(values), nl=False)


@click.group("config", cls=options.Group)
def configuration() -> None:
    """Prints configuration for other programs."""


@configuration.command("grafana")
def config_grafana() -> None:
    """Prints a dashboard for Grafana 11 and later, to be imported there, of what /metrics tells Prometheus.

    \b
    Example: regstats config grafana > dashboard.json
    """
    click.echo((resources.files("regstats") / "grafana.json").read_text(encoding="utf-8"), nl=False)


class _Endpoint(NamedTuple):
    """The collector, as a registry sees it, and what else is in the configuration of every registry."""

    url: str | None
    token: str | None
    source: str
    file: Path | None
    debug: Checked | None

    def values(self) -> dict[str, Any]:
        """For the templates. Says on stderr what is missing."""
        settings = config.load(self.file)
        token = _token(settings.source(self.source), self)
        if token is None:
            click.echo(f"The settings have no token: write the collector's where {_PLACEHOLDER} stands.", err=True)
        return {
            "url": _address(self.url or _served(settings), self.source),
            "token": token or _PLACEHOLDER,
            "authorization": f"Bearer {token or _PLACEHOLDER}",
            "source": self.source,
            "is_named": self.source != DEFAULT_SOURCE,
            "secret": secrets.token_hex(32),
            "debug": _on_loopback(self.debug),
        }


def _token(source: Source, asked: _Endpoint) -> str | None:
    """The one that is given, or else that of the settings."""
    if source.signing_secret:
        raise ConfigError(
            f"The source {asked.source!r} has a signing_secret, but a registry cannot sign. Name another."
        )
    try:
        return asked.token or (source.token and kinds.text(source.token))
    except ValueError as error:
        raise ConfigError(f"The token of the source {asked.source!r} {error}.") from None


def _served(settings: Settings) -> str:
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)  # noqa: S104 - seen from here
    return f"http://[{host}]:{settings.port}" if ":" in host else f"http://{host}:{settings.port}"


def _address(collector: str, source: str) -> str:
    """Where a source posts, if the collector's address is said with or without its path."""
    url = collector if urlsplit(collector).path else f"{collector}/events"
    own = "" if source == DEFAULT_SOURCE else f"/{quote(source, safe='')}"
    return url if own and url.endswith(f"/events{own}") else f"{url}{own}"


def _on_loopback(debug: Checked | None) -> Checked | None:
    """Refuses an address that others can reach: what listens there shows the token."""
    if debug and not config.is_loopback(str(debug).rpartition(":")[0].strip("[]")):
        raise ParameterError(f"--debug {debug} can be reached from other machines, and shows the token. Name loopback.")
    return debug


def _of_registries(source: str, storage: str) -> options.Decorator:
    """The options of all registries, most of them as the argument `endpoint`."""
    asked = [
        click.option(
            "--url",
            type=kinds.URL,
            help="Where the collector takes notifications.  [default: http://HOST:PORT/events of the settings]",
        ),
        click.option("--token", type=kinds.TEXT, help="What it wants to be shown.  [default: that of the settings]"),
        click.option(
            "--source", type=kinds.SOURCE, default=source, show_default=True, help="As whom the collector knows it."
        ),
        click.option(
            "--config", "file", type=click.Path(path_type=Path), help=f"Settings of the collector.  {options.IN_CONFIG}"
        ),
        click.option("--debug", type=kinds.PLACE, help="On loopback: where /debug/vars says what waits to be sent."),
        click.option(
            "--storage",
            type=kinds.FOLDER,
            default=storage,
            show_default=True,
            help="Where images are.",
        ),
    ]

    def decorate(function: options.Function) -> options.Function:
        @wraps(function)
        def called(**given: Any) -> Any:
            endpoint = _Endpoint(**{name: given.pop(name) for name in _Endpoint._fields})
            return function(endpoint=endpoint, **given)

        return options.together(asked)(called)

    return decorate


@configuration.command("registry")
@click.option("--addr", type=kinds.PLACE, default="127.0.0.1:5000", show_default=True, help="Where it listens.")
@_of_registries(DEFAULT_SOURCE, "/var/lib/registry")
@click.option(
    "--htpasswd",
    type=kinds.FILE,
    default="/etc/docker/registry/htpasswd",
    show_default=True,
    help="The file of those who may log in.",
)
@click.option("--open", "is_open", is_flag=True, help="Without passwords: whoever reaches it may do everything.")
def config_registry(endpoint: _Endpoint, **values: Any) -> None:
    """Prints the configuration of a registry (Distribution 2.x and 3.x) that tells the collector what happens to it.

    \b
    Example: (umask 077; regstats config registry --storage /srv/registry > config.yml)
    """
    print_template("registry.yml", **endpoint.values(), **values)


@configuration.command("nginx")
@click.option(
    "--allow-push",
    type=kinds.NETWORK,
    multiple=True,
    required=True,
    help="From where one may push and delete. May be given several times.",
)
@click.option(
    "--listen",
    type=kinds.PLACE,
    multiple=True,
    default=["127.0.0.1:8081"],
    show_default=True,
    help="Where nginx listens. May be given several times.",
)
@click.option(
    "--upstream", type=kinds.PLACE, default="127.0.0.1:5000", show_default=True, help="Where the registry is."
)
@click.option("--server-name", type=kinds.SERVER_NAME, help="What clients call it, if nginx serves others there, too.")
@click.option("--certificate", type=kinds.FILE_OF_NGINX, help="For TLS, with those that vouch for it.")
@click.option("--key", type=kinds.FILE_OF_NGINX, help="That of the certificate.")
@click.option("--access-log", type=kinds.FILE_OF_NGINX, help="Where it writes each request, for `regstats import`.")
@click.option(
    "--trusted-proxy",
    "trusted_proxies",
    type=kinds.NETWORK,
    multiple=True,
    help="A proxy before nginx, which says in whose name it asks. May be given several times.",
)
def config_nginx(upstream: Checked, certificate: str | None, key: str | None, **values: Any) -> None:
    """Prints the configuration of nginx before a registry: all may pull, and only some addresses push and delete.

    \b
    Example: regstats config nginx --allow-push 10.0.0.0/8 --listen 0.0.0.0:443 \\
               --certificate /etc/ssl/registry.pem --key /etc/ssl/registry.key > /etc/nginx/conf.d/registry.conf
    """
    if bool(certificate) != bool(key):
        raise ParameterError("--certificate and --key are only of use together.")
    name = Checked(re.sub(r"\W+", "-", f"registry-{upstream}").strip("-"))  # of several each has its own
    print_template("nginx.conf", certificate=certificate, key=key, upstream=upstream, name=name, **values)


@configuration.command("mirror")
@click.option(
    "--client",
    type=click.Choice(["registry", *_CLIENTS]),
    default="registry",
    show_default=True,
    help="Whose configuration: of the registry that is the mirror, or of those who pull through it.",
)
@click.option(
    "--registry",
    type=kinds.REGISTRY,
    default=_DOCKER_HUB,
    show_default=True,
    help="What is mirrored, as it stands in the names of images.",
)
@click.option("--upstream", type=kinds.URL, help="Its address.  [default: https://REGISTRY]")
@click.option("--addr", type=kinds.PLACE, default="127.0.0.1:5001", show_default=True, help="Where the mirror listens.")
@click.option("--mirror-url", type=kinds.URL, help="What clients call the mirror.  [default: http://ADDR]")
@_of_registries("mirror", "/var/lib/registry-mirror")
def config_mirror(
    *,
    client: str,
    registry: Checked,
    upstream: str | None,
    addr: Checked,
    mirror_url: str | None,
    endpoint: _Endpoint,
    storage: str,
) -> None:
    """Prints the configuration of a mirror, which gets from another registry what it is asked for, and of its clients.

    A mirror is a source of its own, so that its pulls and those of the other registry are told apart.

    \b
    Examples: (umask 077; regstats config mirror --source mirror > config.yml)
              regstats config mirror --client podman --mirror-url https://mirror.example > 50-mirror.conf
    """
    upstream = upstream or (_ITS_REGISTRY if registry == _DOCKER_HUB else f"https://{registry}")
    if client == "registry":
        print_template("mirror.yml", **endpoint.values(), upstream=upstream, addr=addr, storage=storage)
        return
    if client == "dockerd":
        if registry != _DOCKER_HUB:
            raise ParameterError(f"dockerd asks mirrors for images of {_DOCKER_HUB} only, not of {registry}.")
        click.echo((resources.files("regstats") / "templates/config/daemon.txt").read_text(encoding="utf-8"), err=True)
    mirror = mirror_url or f"http://{addr}"
    print_template(
        _CLIENTS[client], mirror=mirror, place=mirror.partition("//")[2], registry=registry, upstream=upstream
    )
