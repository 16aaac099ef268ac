"""Registries of the real kind that tests start, with whatever configuration, and what they have logged."""

import json
import os
import re
import subprocess
from contextlib import contextmanager

from servers import HOST, free_port, listens, stop, wait_until

CONFIG = """
version: 0.1
log: {{level: info, formatter: json, accesslog: {{disabled: false}}}}
storage:
  filesystem: {{rootdirectory: {folder}/data}}
  delete: {{enabled: true}}
  maintenance: {{uploadpurging: {{enabled: false}}}}
http: {{addr: "{address}", secret: test}}
"""
_REQUEST = re.compile(r'"(GET|HEAD|PUT|POST|PATCH|DELETE) (\S+) HTTP[^"]*" (\d+)')


class PlainRegistry:
    """A docker-registry for everybody, unless `more` of its configuration says something else."""

    def __init__(self, folder, more="", environment=(), port=None):
        self.port = port or free_port()
        self.address = f"{HOST}:{self.port}"
        self._folder, self._environment = folder, dict(environment)
        self.storage = folder / "data"
        folder.mkdir(parents=True)
        self.config = folder / "config.yml"
        self.config.write_text(CONFIG.format(folder=folder, address=self.address) + more.format(folder=folder))
        self.process = None

    def start(self):
        environment = {key: value for key, value in os.environ.items() if not key.startswith("REGISTRY_")}
        with (self._folder / "log").open("ab") as log:
            command = ["docker-registry", "serve", str(self.config)]
            self.process = subprocess.Popen(command, env=environment | self._environment, stdout=log, stderr=log)
        wait_until(lambda: listens(self.port), "the registry")
        return self

    def restart(self):
        """As it is configured now."""
        stop(self.process)
        return self.start()

    def requests(self):
        """What it was asked since it began: method, path, status."""
        lines = (self._folder / "log").read_text(errors="replace")
        return [(method, path, int(status)) for method, path, status in _REQUEST.findall(lines)]

    def written(self):
        """What changed something."""
        return [request for request in self.requests() if request[0] not in ("GET", "HEAD")]

    def manifests_written(self):
        """The manifests that were written, by the names that they were given, each as often as it was."""
        return sorted(
            f"{found[1]}:{found[2]}"
            for method, path, status in self.written()
            if method == "PUT" and status == 201 and (found := re.fullmatch(r"/v2/(.*)/manifests/(.*)", path))
        )


@contextmanager
def running(folder, more="", port=None, **environment):
    """A registry until the end of the block."""
    registry = PlainRegistry(folder, more, environment, port)
    try:
        yield registry.start()
    finally:
        stop(registry.process)


def errors(text):
    """What a registry says of an error."""
    return json.dumps({"errors": [{"code": "X", "message": text}]}).encode()
