"""How fast does the queue of a real registry drain? Its endpoint is down while it gathers events, then comes up."""

import http.client
import json
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from hashlib import sha256

import subjects
from load import HOST, TOKEN
from subjects import BARE, LOGGED, SERVE, free_port, process, wait_until

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = """
version: 0.1
log: {{level: error, accesslog: {{disabled: true}}}}
storage: {{filesystem: {{rootdirectory: {folder}/data}}, maintenance: {{uploadpurging: {{enabled: false}}}}}}
http: {{addr: "{host}:{port}", secret: bench, debug: {{addr: "{host}:{debug}"}}}}
notifications:
  events: {{includereferences: true}}
  endpoints:
    - {{name: bench, url: "http://{host}:{endpoint}/events", headers: {{Authorization: [Bearer {token}]}},
       timeout: 3s, threshold: 5, backoff: 5s}}
"""


def rate(folder, subject, events):
    """Deliveries a second, from the first to the last of a queue of so many events."""
    folder.mkdir()
    endpoint = free_port()
    with registry(folder, endpoint) as (port, debug):
        push(port)
        hold(port, events)
        queued = metrics(debug)
        with subject.running(folder, endpoint):
            wait_until(lambda: metrics(debug)["Pending"] == 0, "the queue to drain")
    times = subject.arrivals(folder)
    if len(times) != queued["Pending"] or len(times) < events:
        raise RuntimeError(f"{subject.name}: {len(times)} arrived of {events} and a push; queued were {queued}.")
    return (len(times) - 1) / (times[-1] - times[0])


@contextmanager
def registry(folder, endpoint):
    """A docker-registry; its port, and that of its metrics."""
    port, debug = free_port(), free_port()
    config = folder / "registry.yml"
    config.write_text(CONFIG.format(folder=folder, host=HOST, port=port, debug=debug, endpoint=endpoint, token=TOKEN))
    with process(["docker-registry", "serve", str(config)], folder / "registry.log"):
        wait_until(lambda: subjects.listens(port) and subjects.listens(debug), "the registry")
        yield port, debug


def metrics(debug):
    """What the registry counts for its endpoint, as Pending and Successes."""
    with urllib.request.urlopen(f"http://{HOST}:{debug}/debug/vars") as answer:
        return json.load(answer)["registry"]["notifications"]["endpoints"][0]["Metrics"]


def push(port):
    """The smallest image: a config and a manifest."""
    content = b"{}"
    digest = f"sha256:{sha256(content).hexdigest()}"
    config = {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": digest, "size": len(content)}
    manifest = {"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": []}
    connection = http.client.HTTPConnection(HOST, port)
    upload = ask(connection, "POST", "/v2/team/app/blobs/uploads/").getheader("Location")
    ask(connection, "PUT", f"{upload}&digest={digest}", content)
    ask(connection, "PUT", "/v2/team/app/manifests/1.0", json.dumps(manifest), {"Content-Type": MANIFEST})
    connection.close()


def hold(port, events, clients=8):
    """Asks for the manifest so many times: an event each."""

    def some(count):
        connection = http.client.HTTPConnection(HOST, port)
        for _ in range(count):
            ask(connection, "HEAD", "/v2/team/app/manifests/1.0", headers={"Accept": MANIFEST})
        connection.close()

    with ThreadPoolExecutor(clients) as threads:
        list(threads.map(some, [len(range(number, events, clients)) for number in range(clients)]))
    time.sleep(1)  # an event is queued a moment after the answer


def ask(connection, method, path, body=None, headers=None):
    connection.request(method, path, body, headers or {})
    answer = connection.getresponse()
    answer.read()
    if answer.status >= 300:
        raise RuntimeError(f"The registry answers {answer.status} to {method} {path}.")
    return answer


def rounds(folder, events, count):
    """Rates of as many rounds, one endpoint after the other in each."""
    endpoints = (SERVE, BARE, LOGGED)
    rates = {subject.name: [] for subject in endpoints}
    for number in range(count):
        for subject in endpoints:
            rates[subject.name].append(rate(folder / f"{number}-{len(subject.name)}", subject, events))
    return rates
