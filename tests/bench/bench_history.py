"""History: `regstats import` of payloads, and of access logs beside goaccess, which counts requests of the same log.

On one core each, in turn. regstats makes events of a log, puts them into a store, and accounts for the pulls; goaccess
makes a report. So that the file is no part of it, it has been read before.
"""

import argparse
import hashlib
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import reports

DOCKER = "docker/27.5.1 go/go1.22.11 git-commit/4c9b3b0 kernel/6.1.0 os/linux UpstreamClient(Docker-Client/27.5.1)"
AGENTS = (DOCKER, "containerd/1.7.24~ds1", "containers/5.23.1 (github.com/containers/image)", "skopeo/1.9.3")
STATE = "7jcFgpT4tk5JmL3RwG_wNDThKfeMydgPwBfiKtfdO7R7Ik5hbWUiOiJ0ZWFtL29uZSIsIlVVSUQiOiJkNTRlNmM1MS0wZDQ1LTRkMTIiOjAsI"
TARGET, PAYLOADS = 100_000, 60_000  # lines of logs, and payloads, a second and core


class Traffic:
    """Requests of a registry: pulls of images of several platforms, looks whether a tag has changed, pushes."""

    def __init__(self):
        self._chance = random.Random(1)
        self._digests = ["sha256:" + hashlib.sha256(str(number).encode()).hexdigest() for number in range(20_000)]

    def write(self, path, lines, form):
        at, written = datetime(2026, 11, 1, tzinfo=UTC), 0
        with path.open("w") as file:
            while written < lines:
                at += timedelta(seconds=self._chance.expovariate(2.5))
                some = [form(at, client, *request) for client, request in self._session()]
                file.writelines(some)
                written += len(some)
        return written

    def _session(self):
        pick = self._chance
        address = f"10.0.{pick.randrange(12)}.{pick.randrange(250)}"
        client = (address, pick.choice(["alice", "bob", "ci", "-"]), pick.choice(AGENTS))
        number = pick.randrange(300)
        name, tag = f"/v2/team-{number % 20}/app-{number}", f"1.{number % 7}"
        digests = [self._digests[(number * 50 + n) % 20_000] for n in range(8)]
        yield client, ("GET", "/v2/", 401, 87)
        kind = pick.random()
        if kind < 0.8:
            yield client, ("HEAD", f"{name}/manifests/{tag}", 200, 0)
        if kind < 0.5:
            for digest in digests[:2]:
                yield client, ("GET", f"{name}/manifests/{digest}", 200, 1200)
            for digest in digests[2:]:
                yield client, ("GET", f"{name}/blobs/{digest}", 200, pick.randrange(10**7))
        if kind >= 0.8:
            for digest in digests[:4]:
                upload = f"{name}/blobs/uploads/d54e6c51-0d45-4d12-b5d4-f7851440bae7?_state={STATE}"
                yield client, ("HEAD", f"{name}/blobs/{digest}", 404, 0)
                yield client, ("POST", f"{name}/blobs/uploads/", 202, 0)
                yield client, ("PATCH", upload, 202, 0)
                yield client, ("PUT", f"{upload}&digest={digest.replace(':', '%3A')}", 201, 0)
            yield client, ("PUT", f"{name}/manifests/{tag}", 201, 0)


def combined(at, client, method, path, status, size):
    address, user, agent = client
    return (f'{address} - {user} [{at:%d/%b/%Y:%H:%M:%S +0000}] "{method} {path} HTTP/1.1" {status} {size} '
            f'"-" "{agent}"\n')  # fmt: skip


def as_json(at, client, method, path, status, size):
    address, user, agent = client
    line = {"time": f"{at:%Y-%m-%dT%H:%M:%S+00:00}", "msec": f"{at.timestamp():.3f}", "request_time": "0.004",
            "remote_addr": address, "remote_user": user, "request_method": method, "request_uri": path,
            "status": str(status), "body_bytes_sent": str(size), "http_user_agent": agent}  # fmt: skip
    return json.dumps(line) + "\n"


def registry(at, client, method, path, status, size):
    """Three lines for a request."""
    address, _, agent = client
    when, number = f"{at:%Y-%m-%dT%H:%M:%S.%f}000Z", hashlib.md5(f"{at}{client}{path}".encode()).hexdigest()
    request = (f'go.version=go1.19.8 http.request.host="registry.example:5000" http.request.id={number} '
               f'http.request.method={method} http.request.remoteaddr={address} http.request.uri="{path}" '
               f'http.request.useragent="{agent}"')  # fmt: skip
    answer = f"http.response.duration=3.57ms http.response.status={status} http.response.written={size}"
    return (f'time="{when}" level=info msg="authorized request" {request}\n'
            f'time="{when}" level=info msg="response completed" {request} {answer}\n'
            f"{combined(at, (address, '-', agent), method, path, status, size)}")  # fmt: skip


FORMS = {"combined": combined, "json": as_json, "registry": registry}
PINNED = ("taskset", "-c", "0")


def timed(*command):
    """Seconds of a command on one core, its seconds of processor, and its largest size in MB."""
    began = time.monotonic()
    process = subprocess.Popen([*PINNED, *map(str, command)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert 0 == process.returncode, command
    return time.monotonic() - began, used.ru_utime + used.ru_stime, used.ru_maxrss / 1000


IMPORT = """
import sys
from pathlib import Path
from regstats.accesslogs import Settings, import_logs, plan
from regstats.store import Store, utc_now
settings = Settings("default", utc_now())
import_logs(plan([Path(sys.argv[1])], settings), Store(sys.argv[2], create=True), settings)
"""


IMPORT_PAYLOADS = """
import sys
from pathlib import Path
from regstats.importer import Intake, import_file
from regstats.store import Store, utc_now
done = import_file(Path(sys.argv[1]), Store(sys.argv[2], create=True), Intake("default", utc_now()))
assert done.deliveries == int(sys.argv[3]), done
"""


def imported(log, folder):
    """Into events."""
    shutil.rmtree(folder / "store", ignore_errors=True)
    return timed(sys.executable, "-c", IMPORT, log, folder / "store")


def taken_in(number):
    """So many payloads: into deliveries and events."""

    def read(file, folder):
        shutil.rmtree(folder / "store", ignore_errors=True)
        return timed(sys.executable, "-c", IMPORT_PAYLOADS, file, folder / "store", number)

    return read


WRITE_PAYLOADS = """
import sys
from pathlib import Path
import bench_store
with Path(sys.argv[1]).open("wb") as file:
    file.writelines(b" ".join(one.body.split()) + b"\\n" for one in bench_store.deliveries(int(sys.argv[2])))
"""


def payloads(path, number):
    """What a registry posts, one a line, each with ids and a time of its own; by a process that is gone afterwards."""
    here = {"PYTHONPATH": os.pathsep.join(map(str, Path(__file__).parents[:2]))}
    subprocess.run([sys.executable, "-c", WRITE_PAYLOADS, path, str(number)], env=os.environ | here, check=True)


def accounted(log, folder):
    """And merged, and the pulls accounted for: the whole command."""
    shutil.rmtree(folder / "store", ignore_errors=True)
    return timed(sys.executable, "-m", "regstats", "import", "--data", folder / "store", log)


def read_by_goaccess(log, folder):
    return timed("goaccess", log, "--log-format=COMBINED", "--no-global-config", "-o", folder / "report.json")


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--requests", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args(argv)
    where = reports.machine("duckdb", "pyarrow", programs=[("goaccess", "--version")])
    with tempfile.TemporaryDirectory() as folder:
        told = measured(options, Path(folder))
    reports.tell(REPORT.format(where=where, requests=options.requests, rounds=options.rounds, **told), options.output)


def measured(options, folder):
    logs = {}
    for name, form in FORMS.items():
        log = folder / f"{name}.log"
        Traffic().write(log, options.requests, form)
        logs[name] = (log, sum(block.count(b"\n") for block in blocks(log)))
    small = folder / "small.log"
    Traffic().write(small, options.requests // 4, combined)
    ways = {f"regstats, {name}": (imported, *log) for name, log in logs.items()}
    ways |= {"regstats, combined, a quarter": (imported, small, options.requests // 4)}
    ways |= {"regstats, combined, and accounted for": (accounted, *logs["combined"])}
    for share, name in ((2, "regstats, payloads"), (8, "regstats, payloads, a quarter")):
        number = options.requests // share
        payloads(folder / f"{share}.jsonl", number)
        ways[name] = (taken_in(number), folder / f"{share}.jsonl", number)
    if shutil.which("goaccess"):
        ways["goaccess, combined"] = (read_by_goaccess, *logs["combined"])
    times = {name: [] for name in ways}
    for number in range(options.rounds):
        for name in reports.turned(list(ways), number):
            read, log, _ = ways[name]
            times[name].append(read(log, folder))
    return {"table": table(ways, times), "targets": targets(ways, times)}


def blocks(path):
    with path.open("rb") as file:
        while block := file.read(1 << 24):
            yield block


def rates(ways, times, name, which=0):
    return [ways[name][2] / one[which] for one in times[name]]


def table(ways, times):
    rows = [
        (name, f"{ways[name][2]:,}", reports.spread([one[0] for one in some], 1),
         reports.spread(rates(ways, times, name)), reports.spread(rates(ways, times, name, 1)),
         reports.spread([one[2] for one in some]))
        for name, some in times.items()
    ]  # fmt: skip
    header = ["way", "lines", "seconds, median (range)", "lines a second", "lines a second of processor", "MB resident"]
    return reports.table(header, rows)


def targets(ways, times):
    rows = []
    for name in FORMS:
        rate = reports.median(rates(ways, times, f"regstats, {name}", 1))
        rows.append((f"{TARGET:,} lines a second of processor, {name}", f"{rate:,.0f}", reports.met(rate >= TARGET)))
    rate = reports.median(rates(ways, times, "regstats, payloads", 1))
    rows.append((f"{PAYLOADS:,} payloads a second of processor", f"{rate:,.0f}", reports.met(rate >= PAYLOADS)))
    for kind in ("combined", "payloads"):
        large, small = (
            reports.median([one[2] for one in times[f"regstats, {kind}{end}"]]) for end in ("", ", a quarter")
        )
        what = f"memory for four times as many lines, 1.25 times at most, {kind}"
        rows.append((what, f"{large / small:.2f}", reports.met(large < 1.25 * small)))
    if "goaccess, combined" in times:
        ours, theirs = (reports.median(rates(ways, times, f"{name}, combined", 1)) for name in ("regstats", "goaccess"))
        rows.append(("beside goaccess, which stores nothing", f"{ours / theirs:.2f} times as fast", "no target"))
    return reports.table(["target", "measured", "result"], rows)


REPORT = """\
# History

Measured by `tests/bench/bench_history.py`: {requests:,} requests in each form of log, {rounds} rounds, each way in
turn, on one core (`taskset -c 0`), with the start of the program. regstats reads the log, concludes what it does not
say, and writes events into a store; goaccess reads it and writes a report. The registry's own log has three lines for a
request. Payloads are what a registry posts, one event each; they become deliveries and events.
Beside other work on this machine the seconds of the processor say more than those on the clock. A size of less
than what the benchmark itself takes is not seen: goaccess takes less than it says here.

## Targets

{targets}

## Ways

{table}

    {where}
"""


if __name__ == "__main__":
    main()
