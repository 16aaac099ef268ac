"""Object storage on loopback: moto's S3, in an environment of its own, or whatever `$TEST_S3` names.

    TEST_S3=http://127.0.0.1:7480 TEST_S3_PID=4711 tests/run tests/real/test_objects.py tests/stress/test_shared.py

Its key is `testing`, and so is its secret; the process is stopped for a while. moto answers one request after the other
here: as it is, two that depend on what they replace could both be told that they did.
"""

import os
import secrets
import subprocess
import urllib.request
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest
from servers import HOST, free_port, listens, stop, wait_until

_PYTHON = Path(__file__).parents[1] / ".venv" / "moto" / "bin" / "python"
_SERVE = """
import sys
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import run_simple
run_simple(sys.argv[1], int(sys.argv[2]), DomainDispatcherApplication(create_backend_app), threaded=False)
"""


class _Running(NamedTuple):
    """A process that somebody else has started."""

    pid: int

    def send_signal(self, how):
        os.kill(self.pid, how)


class Bucket:
    """Where stores can be put."""

    def __init__(self, endpoint, process):
        self.endpoint, self.process = endpoint, process

    @property
    def environment(self):
        return {
            "AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing", "AWS_REGION": "us-east-1",
            "AWS_ENDPOINT": self.endpoint,
        }  # fmt: skip

    def place(self):
        """Of a store that is not there yet."""
        return f"s3://bucket/stores/{secrets.token_hex(8)}"


@contextmanager
def running(log):
    """One that runs until the end of the block."""
    if os.environ.get("TEST_S3"):
        yield Bucket(os.environ["TEST_S3"], _Running(int(os.environ["TEST_S3_PID"])))
        return
    if not _PYTHON.exists():
        pytest.skip("moto is not installed; tests/run does it")
    port = free_port()
    with log.open("wb") as file:
        process = subprocess.Popen([_PYTHON, "-c", _SERVE, HOST, str(port)], stdout=file, stderr=file)
    try:
        wait_until(lambda: listens(port), "moto")
        endpoint = f"http://{HOST}:{port}"
        with urllib.request.urlopen(urllib.request.Request(f"{endpoint}/bucket", method="PUT")):
            yield Bucket(endpoint, process)
    finally:
        stop(process)
