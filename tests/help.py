"""The help of every command as the README shows it. `python tests/help.py` writes it there."""

import re
from pathlib import Path

import click

from regstats.cli import main
from regstats.metrics import METRICS

README = Path(__file__).parents[1] / "README.md"
BLOCK = re.compile(r"(?<=<!-- python tests/help.py -->\n).*(?=\n<!-- -->)", re.DOTALL)
WIDTH = 118


def blocks():
    """What stands between the marks: the metrics, whose options are alike, and all other commands."""
    others = [command(name) for name in sorted(main.commands) if name not in METRICS]
    return "\n\n".join(f"```text\n{text}\n```" for text in (metrics(), "\n\n".join(others)))


def metrics():
    """Which metrics have which options, and each of these once."""
    alike = {}
    for name in METRICS:
        alike.setdefault(named(options(main.commands[name])), []).append(name)
    lists = (f"regstats {', '.join(names)}\n{wrapped(own)}" for own, names in alike.items())
    return "\n".join([*lists, "", definitions(of_metrics())])


def of_metrics():
    """All options of metrics. Where they differ, as `pulls` and `top` have them, and without a default."""
    known = {}
    for name in METRICS:
        for option, text in options(main.commands[name]).items():
            known[option] = text if known.get(option, text) == text else known[option].partition("  [default")[0]
    return known


def command(name, group=main, path="regstats", above=None):
    """The usage of a command, what it does, and its options; by name those of metrics, and those that stand above."""
    above = of_metrics() if above is None else above
    one = group.commands[name]
    usage = one.get_usage(click.Context(one, info_name=f"{path} {name}")).removeprefix("Usage: ")
    lines = [usage, wrapped(one.help.partition("\n\n")[0])]
    shared = {option: text for option, text in options(one).items() if above.get(option) == text}
    own = {option: text for option, text in options(one).items() if option not in shared}
    lines += [definitions(own)] if own else []
    lines += [wrapped(f"{named(shared)}, as above")] if shared else []
    above |= own if group is not main else {}
    within = dict(above)
    return "\n".join(
        [*lines, *(f"\n{command(each, one, f'{path} {name}', within)}" for each in getattr(one, "commands", {}))]
    )


def options(of):
    """The options of a command with their help."""
    parameters = (parameter for parameter in of.params if isinstance(parameter, click.Option))
    return dict(parameter.get_help_record(click.Context(of)) for parameter in parameters)


def named(listed):
    return " ".join(re.search(r"--[\w-]+", option)[0] for option in listed)


def definitions(listed):
    formatter = click.HelpFormatter(width=WIDTH)
    formatter.indent()
    formatter.write_dl(list(listed.items()), col_max=30)
    return formatter.getvalue().rstrip()


def wrapped(text):
    return click.wrap_text(text, WIDTH, "  ", "  ")


if __name__ == "__main__":
    README.write_text(BLOCK.sub(lambda _: blocks(), README.read_text()))
