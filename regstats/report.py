"""The report: what a briefing says, as one HTML file that needs nothing else, or in one of the other `FORMATS`."""

import io
import zipfile
from collections.abc import Callable, Mapping
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

import jinja2
import msgspec
import pandas as pd
import plotly.graph_objects as go
import plotly.offline

from regstats import figures, formats, printing
from regstats.briefing import NO_TEAMS, Briefing, Fact, Name, Section, Sentence, brief
from regstats.config import Team
from regstats.errors import PrintError
from regstats.parameters import Moment
from regstats.stats import Stats
from regstats.terminal import answer, visible

CHART_CONFIG = {"displaylogo": False, "responsive": True}
_ROWS = 15
"""Rows of a table in HTML, at most; all of them are in JSON and CSV."""
_FEW = 10
"""… and in Markdown, which goes into a chat."""
_LEFT_OUT = ["first_pull", "first_push", "first_seen", "first_update"]
"""So a table fits the page."""
_DATE = (1980, 1, 1, 0, 0, 0)  # of files in a ZIP: the same report is the same bytes


def write(
    stats: Stats,
    out: Path,
    *,
    since: Moment | None = None,
    until: Moment | None = None,
    form: str = "html",
    teams: Mapping[str, Team] = NO_TEAMS,
    team: str | None = None,
) -> None:
    """Writes the report of a window, of all or of a team, to a file, which appears when it is whole.

    Raises InputError where the file cannot be written, ParameterError where there is no such team.
    """
    with answer(out) as file:
        file.write(render(stats, since=since, until=until, form=form, teams=teams, team=team))


def render(
    stats: Stats,
    *,
    since: Moment | None = None,
    until: Moment | None = None,
    form: str = "html",
    teams: Mapping[str, Team] = NO_TEAMS,
    team: str | None = None,
) -> bytes:
    """The report of a window, of all or of a team, in one of `FORMATS`.

    The same for the same store, window, teams and `now`. `teams` are those of the settings, `config.load().teams`.
    """
    return FORMATS[form](brief(stats, since=since, until=until, teams=teams, team=team))


# HTML


class _Shown(NamedTuple):
    """A section as the page has it."""

    title: str
    question: str
    chart: str
    columns: list[str]
    numeric: list[bool]
    rows: list[list[tuple[str, float | None]]]
    """Texts, and what they are sorted by where that is something else."""
    left_out: int


def as_html(briefing: Briefing) -> str:
    """A page for somebody who has three minutes; its tables sort."""
    template = environment().get_template("report.html")
    return template.render(
        facts=[(fact.name, formats.said(fact.value), _change(fact)) for fact in briefing.facts],
        sentences=[[(text, isinstance(text, Name)) for text in sentence] for sentence in briefing.sentences],
        team=briefing.team,
        belongs=briefing.belongs,
        window=window(briefing),
        excluded=briefing.excluded,
        sections=[_shown(section) for section in briefing.sections],
        plotly=plotly.offline.get_plotlyjs(),
        sort=(resources.files("regstats") / "static" / "sort.js").read_text(encoding="utf-8"),
    )


def as_mail(briefing: Briefing) -> str:
    """The summary as HTML for a mail: no script, no style sheet, nothing from anywhere."""
    return (
        environment()
        .get_template("mail.html")
        .render(
            title="Registry report" if briefing.team is None else f"Registry report: {visible(briefing.team)}",
            facts=[(fact.name, formats.said(fact.value), _change(fact)) for fact in briefing.facts],
            sentences=[[(text, isinstance(text, Name)) for text in sentence] for sentence in briefing.sentences],
            window=window(briefing),
        )
    )


def window(briefing: Briefing) -> str:
    """Of which time it is."""
    if briefing.first is None or briefing.last is None:
        return "Nothing happened in this window."
    asked = figures.window({"since": briefing.since, "until": briefing.until})
    happened = f"events from {briefing.first:%Y-%m-%d %H:%M} to {briefing.last:%Y-%m-%d %H:%M} UTC"
    return " · ".join([*asked, happened])


def _change(fact: Fact) -> str:
    return "" if fact.change is None else f"{fact.change:+,.0%}"


def _shown(section: Section) -> _Shown:
    frame = section.frame.drop(columns=_LEFT_OUT, errors="ignore")
    head, chart = frame.head(_ROWS), _chart(section)
    columns = [head[name] for name in head.columns]
    cells = [list(zip(formats.short_cells(c), formats.sorted_by(c), strict=True)) for c in columns]
    return _Shown(
        section.title,
        section.question,
        _drawn(section.name, chart) if chart else "",
        [figures.words(str(name)) for name in head.columns],
        [formats.is_numeric(head[name]) for name in head.columns],
        [list(row) for row in zip(*cells, strict=True)],
        len(frame) - len(head),
    )


def _chart(section: Section) -> go.Figure | None:
    return section.draw() if section.draw and len(section.frame) else None


def _drawn(name: str, figure: go.Figure) -> str:
    options: dict[str, Any] = {"full_html": False, "include_plotlyjs": False, "config": CHART_CONFIG}
    return str(figure.to_html(div_id=f"chart-{name}", **options))


def environment() -> jinja2.Environment:
    """The templates of pages; what is put into them is escaped."""
    made = jinja2.Environment(
        loader=jinja2.PackageLoader("regstats"), autoescape=True, undefined=jinja2.StrictUndefined
    )
    made.filters["visible"] = visible
    return made


# Text


def as_markdown(briefing: Briefing) -> str:
    """For a chat or a pull request: the totals, the sentences, and the first rows of each table."""
    lines = _head(briefing)
    for section in briefing.sections:
        if len(section.frame):
            lines += [f"## {section.title}", section.question, _rows(section.frame)]
    return "\n\n".join([*lines, f"Not counted: {formats.code(briefing.excluded)}"]) + "\n"


def _told(fact: Fact) -> str:
    if fact.value is None:
        return f"{fact.name} {formats.said(fact.value)}"
    return f"{formats.said(fact.value)} {fact.name} {_change(fact)}".rstrip()


def as_summary(briefing: Briefing) -> str:
    """The same without tables: what stands in a mail, or in a chat that has none."""
    return "\n\n".join(_head(briefing)) + "\n"


def _head(briefing: Briefing) -> list[str]:
    facts = ", ".join(map(_told, briefing.facts))
    sentences = "\n".join(f"- {_marked(sentence)}" for sentence in briefing.sentences)
    return [*_headed(briefing), facts, sentences]


def _headed(briefing: Briefing) -> list[str]:
    """Of whom it is, and of which time."""
    if briefing.team is None:
        return ["# Registry report", window(briefing)]
    name, belongs = formats.code(briefing.team), formats.code(briefing.belongs)
    return [f"# Registry report: {name}", f"Team {name}: {belongs} · {window(briefing)}"]


def _marked(sentence: Sentence) -> str:
    return "".join(formats.code(text) if isinstance(text, Name) else text for text in sentence)


def _rows(frame: pd.DataFrame) -> str:
    head = formats.as_markdown(frame.drop(columns=_LEFT_OUT, errors="ignore").head(_FEW)).rstrip("\n")
    more = len(frame) - _FEW
    return f"{head}\n\nand {more:,} more" if more > 0 else head


def as_json(briefing: Briefing) -> str:
    """An object: window, facts, sentences, and all rows of each table."""
    said: dict[str, Any] = {} if briefing.team is None else {"team": briefing.team}
    said |= {
        "since": briefing.since,
        "until": briefing.until,
        "excluded": briefing.excluded,
        "facts": {fact.name: {"value": fact.value, "before": fact.before} for fact in briefing.facts},
        "sentences": ["".join(sentence) for sentence in briefing.sentences],
        "tables": {section.name: formats.rows(section.frame) for section in briefing.sections},
    }
    return msgspec.json.format(msgspec.json.encode(said), indent=1).decode() + "\n"


def as_zip(briefing: Briefing) -> bytes:
    """A CSV file for each table, and one of the totals."""
    totals = pd.DataFrame(
        {
            "name": [fact.name for fact in briefing.facts],
            "value": pd.array([fact.value for fact in briefing.facts], dtype="Int64"),
            "before": pd.array([fact.before for fact in briefing.facts], dtype="Int64"),
        }
    )
    tables = {"facts": totals} | {section.name: section.frame for section in briefing.sections}
    return _zip({f"{name}.csv": formats.as_csv(frame) for name, frame in tables.items()})


def _zip(files: Mapping[str, str | bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name, _DATE), content, zipfile.ZIP_DEFLATED)
    return file.getvalue()


# Print


def as_png(briefing: Briefing) -> bytes:
    """A picture of each chart, in a ZIP. Raises PrintError where there is nothing to draw."""
    charts = {section.name: chart for section in briefing.sections if (chart := _chart(section))}
    if not charts:
        raise PrintError(
            "There is nothing to draw in this window, so there is no picture. Other formats say so in words."
        )
    return _zip({f"{name}.png": picture for name, picture in printing.png(charts).items()})


FORMATS: dict[str, Callable[[Briefing], bytes]] = {
    "html": lambda briefing: as_html(briefing).encode(),
    "md": lambda briefing: as_markdown(briefing).encode(),
    "json": lambda briefing: as_json(briefing).encode(),
    "csv": as_zip,
    "pdf": lambda briefing: printing.pdf(as_html(briefing)),
    "png": as_png,
}
"""What `regstats report --format` can be."""
