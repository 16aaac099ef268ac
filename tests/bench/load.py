"""Load: deliveries as a registry sends them, each over a TCP connection of its own."""

import gzip
import json
import re
import socket
import subprocess
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

HOST, TOKEN = "127.0.0.1", "bench-token"
TYPE = "application/vnd.docker.distribution.events.v1+json"
RECORDINGS = Path(__file__).parents[1] / "recordings/deliveries.jsonl.gz"
TYPICAL = 1050  # bytes; half of the recorded deliveries have less


def recorded():
    """An envelope that a registry sent, of typical size."""
    with gzip.open(RECORDINGS) as lines:
        bodies = [json.loads(line)["body"] for line in lines]
    return min(bodies, key=lambda body: abs(len(body) - TYPICAL))


class Envelopes:
    """As the recorded one, but each with an event, a request and a time of its own."""

    def __init__(self):
        self._parts = re.split(r'(?<="id": ")[^"]+|(?<="timestamp": ")[^"]+', recorded())

    def make(self):
        start, after_id, after_time, end = self._parts
        now = datetime.now(UTC).isoformat().replace("+00:00", "123Z")
        return f"{start}{uuid.uuid4()}{after_id}{now}{after_time}{uuid.uuid4()}{end}".encode()


def ab(folder, port, requests, connections):
    """Sends the same envelope so many times with `ab`, which is C: deliveries a second, and latencies in ms.

    Raises RuntimeError where one was not answered 2xx.
    """
    body = folder / "body.json"
    body.write_text(recorded())
    headers = ["-T", TYPE, "-H", f"Authorization: Bearer {TOKEN}", "-H", "User-Agent: Go-http-client/1.1"]
    return _run(folder, [*headers, "-p", str(body), f"http://{HOST}:{port}/events"], requests, connections)


def ab_get(folder, url, requests, connections):
    """The same for a page, or an answer, that is asked for again and again."""
    return _run(folder, [url], requests, connections)


def _run(folder, what, requests, connections):
    times = folder / "times.csv"
    command = ["ab", "-l", "-q", "-n", str(requests), "-c", str(connections), "-s", "120", "-e", str(times), *what]
    done = subprocess.run(command, capture_output=True, text=True)
    said = dict(re.findall(r"^([A-Z][\w -]+): +([\d.]+)", done.stdout, re.MULTILINE))
    complete = (str(requests), "0", "0") == (
        said.get("Complete requests"),
        said.get("Failed requests"),
        said.get("Non-2xx responses", "0"),
    )
    if done.returncode or not complete:
        raise RuntimeError(f"Not everything was answered 2xx.\n{done.stdout}\n{done.stderr}")
    percentiles = dict(line.split(",") for line in times.read_text().splitlines())
    return {
        "rate": float(said["Requests per second"]),
        "p50": float(percentiles["50"]),
        "p99": float(percentiles["99"]),
    }


def send(port, deliveries, connections=16):
    """Sends so many different envelopes. Slower than `ab`, which can only repeat one."""
    made = Envelopes()

    def some(count):
        for _ in range(count):
            status = deliver(port, made.make())
            if status != 204:
                raise RuntimeError(f"A delivery was answered {status}.")

    with ThreadPoolExecutor(connections) as threads:
        counts = [len(range(number, deliveries, connections)) for number in range(connections)]
        list(threads.map(some, counts))


def deliver(port, body):
    """The status of the answer; what a registry's client does, in one write and one read."""
    head = (
        f"POST /events HTTP/1.1\r\nHost: {HOST}:{port}\r\nUser-Agent: Go-http-client/1.1\r\n"
        f"Content-Length: {len(body)}\r\nAuthorization: Bearer {TOKEN}\r\nContent-Type: {TYPE}\r\n"
        "Accept-Encoding: gzip\r\n\r\n"
    )
    with socket.create_connection((HOST, port), timeout=60) as connection:
        connection.sendall(head.encode() + body)
        return int(connection.recv(4096).split()[1])
