"""How quickly are questions about two years answered, and how quickly by what one would use instead?

    python tests/bench/bench_queries.py [--events 50000000] [--days 730] [--rounds 5] [--limit 120] [--memory 20]
        [--questions METRIC ...] [--warm] [--store DIRECTORY] [--folder DIRECTORY]
        [--output tests/bench/results/queries.md]

Makes a store with `traffic.py`, or takes one that is there, and asks every question about all of it and about its last
30 days: regstats, the same SQL over tables of DuckDB's own, pandas, polars, and SQLite (`peers.py`). Each is asked in a
process of its own, first with nothing in the page cache, then again and again. Where they count the same they must come
to the same numbers, or the benchmark fails.
"""

import argparse
import json
import math
import re
import resource
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median

import pandas as pd
import peers
import reports

from regstats.parts import by_date
from regstats.stats import Stats
from regstats.store import Store

OURS, PEERS = ["regstats", "DuckDB"], ["pandas", "polars", "SQLite"]
ASKED = {
    "regstats": peers.Regstats, "DuckDB": peers.DuckDB, "pandas": peers.Pandas, "polars": peers.Polars,
    "SQLite": peers.SQLite,
}  # fmt: skip
WINDOWS = {"all": None, "30 days": peers.NOW - timedelta(days=30)}
WITHIN = {"all": 2.0, "30 days": 0.3}
OPEN_WITHIN, DUCKDB_WITHIN = 0.1, 1.3

# Question: what must be the same in sum, whoever is asked; `rows` is how many there are.
_USED = ["rows", "pulls", "downloads", "version_checks", "pushes", "updates", "pullers"]
QUESTIONS = {
    "pulls": ["pulls", "downloads", "version_checks", "requests"],
    "pushes": ["pushes", "updates", "deletes"],
    "repositories": _USED,
    "tags": _USED,
    "top": ["rows", "pulls"],
    "cadence": ["rows", "updates", "median_interval"],
    "activity": ["rows", "active_days", "pulls", "pushes", "deletes", "repositories", "addresses", "clients"],
    "usage": ["rows", "pulls", "downloads"],
    "history": ["rows"],
    "adoption": [],
    "unused": [],
    "clients": ["rows", "pulls", "downloads", "version_checks", "pullers"],
    "anomalies": [],
    "health": [],
}
NOT_ASKED = {("unused", "30 days")}  # it has no start
NOT_COMPARED = {("history", "30 days")}  # the peers leave out what began before and lasts

NOTES = """\
Seconds; {events:,} events on {dates} dates, {pulls:,} pulls and version checks. The
last 30 days are `since="30d"`. Each is asked each question in a process of its own:
*first* with {cold}, *again* is the median of up to {rounds} more times.

- **regstats** starts from its store of Parquet files, in which the pulls are accounted for.
- **DuckDB** is the same SQL over a `.duckdb` file that has the same rows as tables, and the same frames.
- **pandas** and **polars** start from the pulls that are accounted for, in the same Parquet files, and from pushes and
  deletes in a file each, where it is known already what was an update. pandas reads the columns that it needs, and has
  them in memory when it is asked *again*; polars scans the files each time, with its streaming engine.
- **SQLite** has the same three tables, indexed, in memory as far as 1 GB of cache and `mmap` go.

So for `pushes`, `cadence` and `history` most of the work was done for the peers beforehand. And they answer with less:
counts, first and last times, without actors, tags and digests beside them, without what was before the window, and
nobody is excluded. Whatever they and regstats both count is the same, or there would be no report; `unused` they answer
more simply, so it is not compared, and `adoption`, `anomalies` and `health` not at all. What took longer than {limit} s
was given up; a process may have {memory} GB."""


class Answer:
    """What a process said; or why it did not."""

    def __init__(self, said: dict | None, reason: str = "") -> None:
        self.said, self.reason = said, reason

    def seconds(self, when: str) -> float:
        """For ever, if there was no answer."""
        return median(self.said[when]) if self.said else math.inf


def answer(options: argparse.Namespace) -> dict:
    """In a process of its own: asks once, and again; seconds, memory, and sums."""
    who, question, _ = options.ask
    limit = options.memory * 1024**3
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    signal.alarm(options.limit)
    opened, asked = _opened(options)
    first, frame = _timed(asked, question)
    signal.alarm(0)
    again = []
    while len(again) < options.rounds and (not again or sum(again) < options.limit / 10):
        again.append(_timed(asked, question)[0])
    reopened = _opened(options)[0] if who == "regstats" else 0
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return {
        "open": [opened], "reopen": [reopened], "first": [first], "again": again,
        "megabytes": int(status["VmHWM"].split()[0]) // 1024,
        "sums": sums(frame, question), "hash": _hash(frame) if who in OURS else None,
    }  # fmt: skip


def _opened(options: argparse.Namespace) -> tuple[float, object]:
    who, _, window = options.ask
    start = time.perf_counter()
    asked = ASKED[who](peers.Data(options.store, options.folder), WINDOWS[window])
    return time.perf_counter() - start, asked


def _timed(asked, question: str) -> tuple[float, object]:
    start = time.perf_counter()
    frame = asked.ask(question)
    return time.perf_counter() - start, frame


def sums(frame, question: str) -> dict[str, int]:
    """What must be the same, whoever is asked."""
    frame = frame if isinstance(frame, pd.DataFrame) else frame.to_pandas()
    if question == "cadence":  # regstats has rows for repositories, too
        frame = frame.dropna(subset=["tag"])
    return {column: len(frame) if column == "rows" else _sum(frame[column]) for column in QUESTIONS[question]}


def _sum(column: pd.Series) -> int:
    if column.dtype.kind == "m":  # microseconds, as the peers have them
        return int(column.fillna(pd.Timedelta(0)).dt.as_unit("us").astype("int64").sum())
    return int(column.fillna(0).astype("int64").sum())


def _hash(frame: pd.DataFrame) -> int:
    """Of all rows, in whatever order."""
    return int(pd.util.hash_pandas_object(frame, index=False).sum())


def there(window: str) -> list[str]:
    """The questions that regstats answers, of a window."""
    return [question for question in QUESTIONS if hasattr(Stats, question) and (question, window) not in NOT_ASKED]


def compared(window: str) -> list[str]:
    """Those of them whose answers must be the same."""
    return [question for question in there(window) if QUESTIONS[question] and (question, window) not in NOT_COMPARED]


def ask(options: argparse.Namespace, data: peers.Data, who: str, question: str, window: str) -> Answer:
    """The answer of a process of its own."""
    command = [sys.executable, __file__, "--ask", who, question, window, "--store", str(data.store)]
    command += ["--folder", str(data.folder), "--rounds", str(options.rounds), "--limit", str(options.limit)]
    if not options.warm:
        drop_caches()
    done = subprocess.run([*command, "--memory", str(options.memory)], capture_output=True, text=True)
    if done.returncode == 0:
        return Answer(json.loads(done.stdout))
    if done.returncode == -signal.SIGALRM:
        return Answer(None, f"> {options.limit} s")
    if re.search("alloc|memory", done.stderr, re.IGNORECASE):
        return Answer(None, "out of memory")
    raise RuntimeError(f"{who}, {question}, {window}: {done.returncode}\n{done.stderr}")


def drop_caches() -> bool:
    """Empties the page cache, and says whether it could."""
    try:
        Path("/proc/sys/vm/drop_caches").write_text("1")
    except OSError:
        return False
    return True


def compare(answers: dict[str, Answer], question: str, window: str) -> None:
    """Raises RuntimeError where two answers are not the same."""
    given = {who: answer.said for who, answer in answers.items() if answer.said}
    for kind in ["hash", "sums"] if question in compared(window) else ["hash"]:
        found = {who: said[kind] for who, said in given.items() if said[kind] is not None}
        if any(value != found["regstats"] for value in found.values()):
            raise RuntimeError(f"{question}, {window}: not the same.\n{json.dumps(found, indent=1)}")


def measure(options: argparse.Namespace, data: peers.Data) -> dict[tuple[str, str], dict[str, Answer]]:
    """Answers by question and window, and by who was asked."""
    answers = {}
    for window in WINDOWS:
        for question in [question for question in there(window) if question in options.questions]:
            able = [who for who in ASKED if who in OURS or hasattr(ASKED[who], question)]
            answers[question, window] = {who: ask(options, data, who, question, window) for who in able}
            compare(answers[question, window], question, window)
            print(
                question, window, {w: a.seconds("again") for w, a in answers[question, window].items()}, file=sys.stderr
            )
    return answers


def describe(options: argparse.Namespace, data: peers.Data) -> dict[str, int | str]:
    """What the report says about the store, and about the page cache."""
    parts = Store(data.store).manifest().parts
    rows = {table: sum(part.rows for part in parts if part.table == table) for table in ("events", "pulls")}
    cold = "nothing in the page cache" if not options.warm and drop_caches() else "the page cache as it happened to be"
    return rows | {"dates": len(by_date(parts, "events")), "cold": cold}


def prepare(data: peers.Data) -> list[list[str]]:
    """What the peers are given: what it is, how long it took to make, and how large it is."""
    rows = []
    for what, make, files in (
        ("Parquet files of pushes and deletes", peers.write_parquet, ["pushes.parquet", "deletes.parquet"]),
        ("tables of DuckDB", peers.write_duckdb, ["duckdb"]),
        ("tables and indexes of SQLite", peers.write_sqlite, ["sqlite"]),
    ):
        start = time.monotonic()
        make(data)
        size = sum((data.folder / file).stat().st_size for file in files)
        rows.append([what, f"{time.monotonic() - start:,.0f}", f"{size / 1e6:,.0f}"])
    return rows


def targets(answers: dict[tuple[str, str], dict[str, Answer]]) -> list[list[str]]:
    """Rows: what, target, measured, whether it is met and by what not."""
    rows = []
    for when, what in (("open", "first"), ("reopen", "again")):
        opened = {"": median(given["regstats"].seconds(when) for given in answers.values())}
        rows.append(_target(f"open, {what}", f"< {OPEN_WITHIN:g} s", opened, OPEN_WITHIN))
    for window, within in WITHIN.items():
        asked = {question: given for (question, asked), given in answers.items() if asked == window}
        for when in ("again", "first"):
            seconds = {question: given["regstats"].seconds(when) for question, given in asked.items()}
            rows.append(_target(f"{window}, {when}", f"< {within:g} s", seconds, within))
        for rival in [who for who in ASKED if who != "regstats"]:
            most = DUCKDB_WITHIN if rival == "DuckDB" else 1.0
            ratios = {question: _ratio(given, rival) for question, given in asked.items() if rival in given}
            rows.append(_target(f"{window}, again, against {rival}", f"<= {most:g} x", ratios, most))
    return rows


def _target(what: str, target: str, measured: dict[str, float], most: float) -> list[str]:
    """A row of questions of which all have to be below a limit."""
    values, unit = sorted(measured.values()), target[-1]
    span = f"{values[-1]:.3f} {unit}" if len(values) == 1 else f"{values[0]:.3f} to {values[-1]:.3f} {unit}"
    missed = [f"`{question}`" for question, value in measured.items() if value > most and question]
    return [what, target, span, "met" if values[-1] <= most else " ".join(["**not met**", ", ".join(missed)]).rstrip()]


def _ratio(given: dict[str, Answer], rival: str, when: str = "again") -> float:
    """How long regstats takes, in times of the rival's; 0 where that gave no answer."""
    return given["regstats"].seconds(when) / given[rival].seconds(when)


def report(options: argparse.Namespace, machine: str, facts: dict, prepared: list[list[str]], answers: dict) -> str:
    """All of it, as Markdown."""
    sections = [f"# Questions\n\n{datetime.now(UTC):%Y-%m-%d}. {NOTES.format_map(vars(options) | facts)}", machine]
    sections.append("## Targets\n\n" + reports.table(["what", "target", "measured", "result"], targets(answers)))
    for window in WITHIN:
        for when in ("again", "first"):
            rows = [
                [question, *(_cell(given.get(who), when) for who in ASKED), *_ratios(given, when)]
                for (question, asked), given in answers.items()
                if asked == window
            ]
            header = ["question", *ASKED, "to DuckDB", "to the best peer"]
            sections.append(f"## {window}, {when}\n\n" + reports.table(header, rows))
    sections.append(
        "## Memory\n\nThe most that a process took, MB.\n\n" + reports.table(list(ASKED), [_memory(answers)])
    )
    sections.append("## Made beforehand\n\n" + reports.table(["what", "seconds", "MB"], prepared))
    return "\n\n".join(sections) + "\n"


def _cell(given: Answer | None, when: str) -> str:
    if given is None:
        return ""
    return f"{given.seconds(when):.3f}" if given.said else given.reason


def _ratios(given: dict[str, Answer], when: str) -> list[str]:
    return [_times([_ratio(given, who, when) for who in some if who in given]) for some in (["DuckDB"], PEERS)]


def _times(ratios: list[float]) -> str:
    return f"{max(ratios):.2f} x" if ratios else ""


def _memory(answers: dict[tuple[str, str], dict[str, Answer]]) -> list[str]:
    said = {who: [given[who].said for given in answers.values() if who in given and given[who].said] for who in ASKED}
    return [f"{max((some['megabytes'] for some in said[who]), default=0):,}" for who in ASKED]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--events", type=int, default=50_000_000)
    parser.add_argument("--days", type=int, default=730)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--limit", type=int, default=120, metavar="SECONDS", help="for one answer")
    parser.add_argument("--memory", type=int, default=20, metavar="GB", help="for one process")
    parser.add_argument("--questions", nargs="+", choices=QUESTIONS, default=list(QUESTIONS), metavar="METRIC")
    parser.add_argument("--warm", action="store_true", help="the page cache is not emptied")
    parser.add_argument("--store", type=Path, help="one that traffic.py has made; else one is made")
    parser.add_argument("--folder", type=Path, help="where everything else is made: on the disk that is measured")
    parser.add_argument("--output", type=Path, help="the report goes there, too")
    parser.add_argument("--ask", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.ask:
        print(json.dumps(answer(options)))
        return
    sqlite = f"SQLite {sqlite3.sqlite_version}"
    machine = reports.machine("duckdb", "pandas", "polars", "pyarrow", more=[sqlite])
    with tempfile.TemporaryDirectory(dir=options.folder) as made:
        folder = Path(made)
        store = reports.store_of(options, folder)
        data = peers.Data(store.root, folder)
        facts, prepared = describe(options, data), prepare(data)
        answers = measure(options, data)
    reports.tell(report(options, machine, facts, prepared, answers), options.output)


if __name__ == "__main__":
    main()
