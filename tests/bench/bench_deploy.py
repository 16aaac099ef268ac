"""From a delivery to the running command: regstats beside Debian's `webhook`, which runs one and keeps nothing.

The same payload is sent to both in turn, one after the other; the command writes down when it began.
"""

import argparse
import http.client
import json
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import reports
from makers import envelope, make_push
from servers import HOST, free_port, listens, stop, wait_until

RULE = """
[[deploy]]
name = "app"
match = {{ repository = "team/app", tag = "1*", actor = "alice"{changed} }}
settle = "0s"
target = "{{event_id}}"
command = ["{command}", "{folder}", "{{event_id}}"]
"""
COMMAND = """#!/bin/sh
date +%s%N > "$1/$2.new"
mv "$1/$2.new" "$1/$2"
"""
TYPE = {"Content-Type": "application/vnd.docker.distribution.events.v1+json"}


class Subject:
    """A server that runs the command when it is told of a push."""

    path = "/events"

    def __init__(self, folder):
        self.folder, self.port = folder, free_port()
        folder.mkdir()
        self.command = folder / "command"
        self.command.write_text(COMMAND)
        self.command.chmod(0o755)
        self.process = None

    def start(self, *command):
        with (self.folder / "log").open("wb") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)
        wait_until(lambda: listens(self.port), "the server")

    def deploy(self, number):
        """Milliseconds from just before the delivery is sent to the first thing that the command does."""
        name = f"event-{number}"
        tag, digest = f"1.{number}", f"sha256:{number:064x}"
        body = envelope(make_push(id=name, at=datetime.now(UTC), tag=tag, digest=digest))
        began = time.time_ns()
        connection = http.client.HTTPConnection(HOST, self.port, timeout=60)
        connection.request("POST", self.path, body, TYPE)
        assert connection.getresponse().status in (200, 204)
        connection.close()
        wait_until((self.folder / name).exists, "the command")
        return (int((self.folder / name).read_text()) - began) / 1e6


class Regstats(Subject):
    def __init__(self, folder, store, changed):
        super().__init__(folder)
        settings = folder / "regstats.toml"
        changed = ", changed = true" if changed else ""
        settings.write_text(RULE.format(changed=changed, command=self.command, folder=folder))
        options = ["--data", str(store), "--port", str(self.port), "--config", str(settings)]
        self.start(sys.executable, "-m", "regstats", "serve", *options)


class Webhook(Subject):
    path = "/hooks/events"

    def __init__(self, folder):
        super().__init__(folder)
        match = [("events.0.target.repository", "team/app"), ("events.0.actor.name", "alice")]
        rules = [{"match": {"type": "value", "value": value, "parameter": {"source": "payload", "name": name}}}
                 for name, value in match]  # fmt: skip
        hook = {
            "id": "events",
            "execute-command": str(self.command),
            "incoming-payload-content-type": "application/json",
            "pass-arguments-to-command": [
                {"source": "string", "name": str(folder)},
                {"source": "payload", "name": "events.0.id"},
            ],
            "trigger-rule": {"and": rules},
        }
        (folder / "hooks.json").write_text(json.dumps([hook]))
        self.start("webhook", "-hooks", str(folder / "hooks.json"), "-ip", HOST, "-port", str(self.port))


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--events", type=int, default=1_000_000, help="Of the large store.")
    parser.add_argument("--days", type=int, default=365)
    parser.add_argument("--store", type=Path, help="The large store, if there is one already.")
    parser.add_argument("--output", type=Path)
    options = parser.parse_args(argv)
    where = reports.machine("duckdb", "granian", programs=[("webhook", "-version")])
    with tempfile.TemporaryDirectory() as folder:
        told = measured(options, Path(folder))
    reports.tell(REPORT.format(where=where, **told), options.output)


def measured(options, folder):
    store = reports.store_of(options, folder)
    subjects = {
        "`webhook`": Webhook(folder / "webhook"),
        "regstats": Regstats(folder / "empty", folder / "new", changed=False),
        "regstats, `changed`": Regstats(folder / "changed", folder / "new-too", changed=True),
        f"regstats, `changed`, {reports.facts(store)['events']:,} events": Regstats(
            folder / "large", store.root, changed=True
        ),
    }
    times = {name: [] for name in subjects}
    try:
        for number in range(options.rounds + 3):
            for name in reports.turned(list(subjects), number):
                times[name].append(subjects[name].deploy(number + int(time.time()) * 1000))
    finally:
        for subject in subjects.values():
            stop(subject.process)
    kept = {name: sorted(some[3:]) for name, some in times.items()}
    rows = [(name, reports.spread(some), f"{some[int(len(some) * 0.95)]:,.0f}") for name, some in kept.items()]
    return {"table": reports.table(["", "ms, median (range)", "95 of 100 within"], rows), "rounds": options.rounds}


REPORT = """\
# From a delivery to the running command

Measured by `tests/bench/bench_deploy.py`: milliseconds from just before a delivery is sent to the first thing that the
command does, {rounds} times, each of the servers in turn, one push at a time, `settle = "0s"`. regstats has the
delivery, and what it decided, on disk before it runs anything; `webhook` keeps nothing.

{table}

    {where}
"""


if __name__ == "__main__":
    main()
