"""The options that commands share, and the commands that are made from `METRICS`.

Nothing here imports pandas or DuckDB: `--help` and completion are quick.
"""

import ast
import re
import sys
from collections.abc import Callable, Sequence
from functools import cache, wraps
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

import click
from click import Choice, Context, IntRange, Parameter
from click.shell_completion import get_completion_class

from regstats import config as config_file
from regstats.metrics import METRICS, Metric
from regstats.parameters import DIMENSIONS, FILTERS, HELP, INTERVALS, MEASURES
from regstats.terminal import in_file_name

Function = Callable[..., Any]
Decorator = Callable[[Function], Function]

# The formats are named here, too, because `formats` imports pandas.
FOR_PEOPLE = ("table", "md", "html")
FORMATS = ("table", "json", "jsonl", "csv", "tsv", "md", "html", "parquet")
EXPORTED = ("csv", "tsv", "json", "jsonl", "parquet", "table", "md", "html")
REPORTED = {"html": "html", "md": "md", "json": "json", "csv": "zip", "pdf": "pdf", "png": "zip"}
"""How a report is written, and what the names of such files end in; a .zip that nobody says more of is the first."""
VIEWS = ("events", "pulls", "pushes", "deletes", "deliveries", "changes", "moves")
SHELLS = ("bash", "zsh", "fish")

_SUFFIXES = {f".{form}": form for form in EXPORTED} | {".txt": "table", ".ndjson": "jsonl", ".htm": "html"}
_REPEATABLE = (*FILTERS, "by")
IN_DATA = "  [default: $REGSTATS_DATA, else ./data]"
IN_CONFIG = "[default: $REGSTATS_CONFIG, else ./regstats.toml if it is there]"


class _Named(click.Command):
    """Says which options there are when it is given another."""

    def parse_args(self, ctx: Context, args: list[str]) -> list[str]:
        """As click does it."""
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            names = [name for parameter in self.get_params(ctx) for name in parameter.opts if name.startswith("--")]
            message = f"{error.format_message()} There are: {', '.join(names)}."
            raise click.NoSuchOption(error.option_name, message, ctx=ctx) from None


class Command(_Named):
    """Any command."""


class Group(_Named, click.Group):
    """A group of commands; metrics are listed apart."""

    command_class = Command

    def format_commands(self, ctx: Context, formatter: click.HelpFormatter) -> None:
        """As click does it, in two lists."""
        everything = self.commands
        try:
            self.commands = {name: command for name, command in everything.items() if name not in METRICS}
            super().format_commands(ctx, formatter)
        finally:
            self.commands = everything
        metrics = [(name, METRICS[name].question) for name in everything if name in METRICS]
        if metrics:
            with formatter.section("Metrics"):
                formatter.write_dl(metrics)


class MetricCommand(Command):
    """A command whose help is that of the metric's method: what it answers, and its columns."""

    def format_help_text(self, ctx: Context, formatter: click.HelpFormatter) -> None:
        """Only now: it takes a moment."""
        name = str(self.name)
        self.help = f"{_explained(name, METRICS[name])}\n\n\b\nExample: regstats {name} {METRICS[name].example}"
        super().format_help_text(ctx, formatter)


data: Decorator = click.option(
    "--data",
    metavar="DIR",
    envvar="REGSTATS_DATA",
    default="data",
    help=f"The store.{IN_DATA}",
)
config: Decorator = click.option(
    "--config",
    "file",
    type=click.Path(path_type=Path),
    help=f"Settings, for what is excluded.  {IN_CONFIG}",
)


engine: Decorator = click.option(
    "--engine",
    metavar="ENGINE",
    default="duckdb",
    show_default=True,
    help="Who computes: duckdb; spark, on this machine; or a Spark Connect server, sc://HOST:PORT.",
)


def stats(data: str, file: Path | None, engine: str = "duckdb") -> Any:
    """The numbers of a store, without those who are excluded by the settings."""
    from regstats.stats import Stats

    return Stats(data, exclude=config_file.load(file).exclude, engine=engine)


class Destination(NamedTuple):
    """How an answer is written, and to which file; stdout if to none."""

    form: str
    output: Path | None


def destination(choices: Sequence[str] = FORMATS, default: str = "table") -> Decorator:
    """The options --format and --output, as the argument `to`. Refuses to write binary data to a terminal."""
    form = click.option(
        "--format", "form", type=Choice(choices),
        help=f"How to write it.  [default: what --output ends in, else {default}]",
    )  # fmt: skip
    output = click.option(
        "--output", "-o", metavar="FILE", type=click.Path(path_type=Path), help="Where to write it, instead of stdout."
    )

    def decorate(function: Function) -> Function:
        @wraps(function)
        def called(*args: Any, form: str | None, output: Path | None, **others: Any) -> Any:
            named = _SUFFIXES.get(output.suffix.lower(), "") if output else ""
            to = Destination(form or (named if named in choices else default), output)
            if to.form == "parquet" and output is None and sys.stdout.isatty():
                raise click.UsageError("Parquet is nothing for a terminal; name a file with --output.")
            return function(*args, to=to, **others)

        return form(output(called))

    return decorate


class Place(NamedTuple):
    """A registry, and who asks there."""

    registry: str
    login: Any
    """None: as `docker login` or `podman login` left it."""
    insecure: bool | None
    ca: str | None


def place(what: str, default: str | None = None) -> Decorator:
    """The options that say which registry, and who we are there, as the argument `place`; None if none is named."""

    def decorate(function: Function) -> Function:
        @wraps(function)
        def called(
            *, registry: str | None, username: str | None, password_stdin: bool, ca: str | None, insecure: bool | None,
            **others: Any,
        ) -> Any:  # fmt: skip
            from regstats.credentials import Login

            if password_stdin != (username is not None):
                raise click.UsageError("--username and --password-stdin belong together.")
            login = Login(username, sys.stdin.read().rstrip("\r\n")) if username is not None else None
            return function(place=Place(registry, login, insecure, ca) if registry else None, **others)

        return together([
            click.option("--registry", default=default, show_default=default is not None, help=what),
            click.option("--username", help="Who asks there.  [default: as docker login or podman login left it]"),
            click.option("--password-stdin", is_flag=True, help="The password is what stdin says."),
            click.option(
                "--ca", metavar="FILE", type=click.Path(exists=True, dir_okay=False), help="Who vouches for TLS."
            ),
            click.option(
                "--insecure/--secure", default=None, help="Without TLS, or any certificate.  [default: on loopback]"
            ),
        ])(called)  # fmt: skip

    return decorate


def form_of_report(output: Path | None) -> str:
    """How a report is written if only the file says."""
    suffix = output.suffix.lower().lstrip(".") if output is not None else ""
    return next((form for form, ending in REPORTED.items() if suffix in (form, ending)), "html")


def file_of_report(form: str, team: str | None = None) -> Path:
    """What a report is called if nobody says: report.html, report-NAME.html. No two teams have the same file."""
    name = "" if team is None else f"-{in_file_name(team)}"
    return Path(f"report{name}.{REPORTED[form]}")


def of_parameter(name: str, dimensions: Sequence[str] = DIMENSIONS, interval: str = "day") -> Decorator:
    """The option for a parameter of `Stats`' methods."""
    text = HELP[name].replace(", ".join(DIMENSIONS), ", ".join(dimensions))
    default = {"interval": f"  [default: {interval}]", "measure": f"  [default: {MEASURES[0]}]"}.get(name, "")
    special: dict[str, dict[str, Any]] = {
        "limit": {"type": IntRange(min=1)},
        "days": {"type": IntRange(min=0)},
        "interval": {"type": Choice(INTERVALS)},
        "measure": {"type": Choice(MEASURES)},
        "by": {"shell_complete": lambda _context, _parameter, begun: _after_comma(begun, dimensions)},
    }
    named = special.get(name, {"shell_complete": _names} if name in FILTERS else {})
    return click.option(f"--{name}", multiple=name in _REPEATABLE, help=text + default, **named)


def of_metric(metric: Metric) -> Decorator:
    """All options of a metric's command, in the order of its help."""
    names = [parameter for parameter in HELP if parameter in metric.parameters]
    parameters = [of_parameter(parameter, metric.dimensions, metric.interval) for parameter in names]
    return together([*parameters, data, config, destination()])


def script(command: click.Command, shell: str) -> str:
    """What a shell has to read once, to complete a command."""
    kind = get_completion_class(shell)
    return kind(command, {}, "regstats", "_REGSTATS_COMPLETE").source() if kind else ""


def together(options: Sequence[Decorator]) -> Decorator:
    """Several options, in this order."""

    def decorate(function: Function) -> Function:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


def given(parameters: dict[str, Any]) -> dict[str, Any]:
    """What was given to options: several texts, comma-separated or not, as a list; nothing as None."""
    return {name: _listed(value) for name, value in parameters.items()}


def _listed(value: Any) -> Any:
    if isinstance(value, tuple):
        return [text for some in value for text in some.split(",")] or None
    return value


def _names(context: Context, parameter: Parameter, begun: str) -> list[str]:
    """Names in the store that may be meant. Silently none, whatever goes wrong: it is in the middle of a line."""
    try:
        from regstats import completion

        column, filters = str(parameter.name), [name for name in FILTERS if name != parameter.name]
        others = given({name: context.params.get(name) or None for name in filters})
        last = begun.rpartition(",")[2]
        return _after_comma(begun, completion.names(context.params["data"], column, last, others))
    except Exception:  # noqa: BLE001 - a shell asks, in the middle of a line
        return []


def _after_comma(begun: str, choices: Sequence[str]) -> list[str]:
    """How a list may go on of which the last text is begun."""
    before, comma, last = begun.rpartition(",")
    return [f"{before}{comma}{choice}" for choice in choices if choice.startswith(last)]


def _explained(name: str, metric: Metric) -> str:
    """What a metric answers, and then what its method says, in the words of the command line."""
    _, *paragraphs = _docstrings()[name].split("\n\n")
    said = "\n\n".join(paragraph for paragraph in paragraphs if paragraph != metric.rows)
    said = re.sub(rf"`({'|'.join(metric.parameters)})`", r"--\1", said)
    return f"{metric.question} {metric.rows}\n\n" + re.sub(r"\bNa[NT]\b", "missing", said)


@cache
def _docstrings() -> dict[str, str]:
    """What the methods of `Stats` say of themselves, without importing all that they need."""
    text = (resources.files("regstats") / "stats.py").read_text(encoding="utf-8")
    (stats,) = (node for node in ast.parse(text).body if isinstance(node, ast.ClassDef) and node.name == "Stats")
    return {node.name: ast.get_docstring(node) or "" for node in stats.body if isinstance(node, ast.FunctionDef)}
