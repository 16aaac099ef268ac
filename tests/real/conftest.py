"""Real servers and clients on loopback. What is not installed is skipped; `tests/run` installs it where it may."""

import base64
import gzip
import hashlib
import http.client
import io
import json
import os
import random
import re
import shutil
import subprocess
import tarfile
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
from engines import daemon, dockerd, needs, of_podman, run, short_folder, without_tls
from makers import INDEX, MANIFEST
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait
from servers import HOST, PATIENCE, Collector, free_port, listens, stop, wait_until

PASSWORDS = {"alice": "alice-password", "bob": "bob-password"}


def pytest_collection_modifyitems(items):
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.real)


@pytest.fixture
def patiently():
    """Asserts that something becomes what it must be: events arrive a moment after the client is gone."""

    def check(expected, actual):
        deadline = time.monotonic() + PATIENCE
        while (seen := actual()) != expected and time.monotonic() < deadline:
            time.sleep(0.1)
        assert expected == seen

    return check


@pytest.fixture
def collector(tmp_path):
    made = Collector(tmp_path / "store", tmp_path / "collector.log", seal_interval=0.5)
    yield made
    if made.process is not None:
        stop(made.process)


class Registry:
    """A real docker-registry with passwords, deletion, and a notifications endpoint."""

    def __init__(self, folder, collector):
        self.port = free_port()
        self.address = f"{HOST}:{self.port}"
        self._folder = folder
        folder.mkdir()
        lines = [subprocess.run(["htpasswd", "-nbB", *login], capture_output=True, check=True, text=True).stdout
                 for login in PASSWORDS.items()]  # fmt: skip
        (folder / "htpasswd").write_text("".join(lines))
        self._config = folder / "config.yml"
        self._config.write_text(self.configured(collector))
        self.process = None

    def configured(self, collector):
        """Its config.yml."""
        return CONFIG.format(folder=self._folder, address=self.address) + notifications(collector)

    @property
    def log(self):
        return (self._folder / "log").read_text()

    def start(self):
        # Every REGISTRY_… variable overrides its configuration, REGISTRY_AUTH_FILE of podman too.
        environment = {key: value for key, value in os.environ.items() if not key.startswith("REGISTRY_")}
        with (self._folder / "log").open("ab") as log:
            command = ["docker-registry", "serve", str(self._config)]
            self.process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        wait_until(lambda: listens(self.port), "the registry")
        return self

    @property
    def config(self):
        """The file of its configuration."""
        return self._config

    def configure(self, *replacements):
        """Starts it again with some text of its configuration replaced."""
        text = self._config.read_text()
        for old, new in replacements:
            assert old in text
            text = text.replace(old, new)
        stop(self.process)
        self._config.write_text(text)
        return self.start()

    def request(self, method, path, actor="alice", **headers):
        """A request of no particular client; its status."""
        login = base64.b64encode(f"{actor}:{PASSWORDS[actor]}".encode()).decode()
        connection = http.client.HTTPConnection(HOST, self.port, timeout=PATIENCE)
        connection.request(method, path, headers={"Authorization": f"Basic {login}", **headers})
        answer = connection.getresponse()
        answer.read()
        connection.close()
        return answer.status


CONFIG = """
version: 0.1
log: {{level: error, accesslog: {{disabled: true}}}}
storage:
  filesystem: {{rootdirectory: {folder}/data}}
  delete: {{enabled: true}}
  maintenance: {{uploadpurging: {{enabled: false}}}}
http: {{addr: "{address}", secret: test}}
auth:
  htpasswd: {{realm: test, path: {folder}/htpasswd}}
"""


def notifications(collector):
    """The block that the README tells people to use, with this collector's port and token."""
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    (block,) = re.findall(r"```yaml\n(.*?)```", readme, re.DOTALL)
    assert "127.0.0.1:8080" in block
    assert "YOUR-TOKEN" in block
    return block.replace("127.0.0.1:8080", f"127.0.0.1:{collector.port}").replace("YOUR-TOKEN", collector.token)


@pytest.fixture
def registry(tmp_path, collector):
    needs("docker-registry", "htpasswd")
    made = Registry(tmp_path / "registry", collector)
    made.start()
    yield made
    stop(made.process)


class Layout:
    """An image of two layers as an OCI layout on disk, made of a seed; an index where there are several platforms."""

    def __init__(self, folder, seed, platforms=("amd64",)):
        self.folder = folder
        (folder / "blobs/sha256").mkdir(parents=True)
        manifests = [self._manifest(f"{seed}-{platform}", platform) for platform in platforms]
        if len(manifests) == 1:
            (top,) = manifests
        else:
            index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests}
            top = self._blob(INDEX, json.dumps(index).encode())
        self.digest = top["digest"]
        named = top | {"annotations": {"org.opencontainers.image.ref.name": "latest"}}
        index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": [named]}
        (folder / "index.json").write_text(json.dumps(index))
        (folder / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')

    def _manifest(self, seed, platform):
        layers = [self._layer(f"{seed}-{number}") for number in range(2)]
        config = {
            "architecture": platform,
            "os": "linux",
            "rootfs": {"type": "layers", "diff_ids": [diff_id for diff_id, _ in layers]},
            "history": [{"created": "2026-11-24T00:00:00Z", "created_by": "test"}] * 2,
        }
        manifest = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": self._blob("application/vnd.oci.image.config.v1+json", json.dumps(config).encode()),
            "layers": [layer for _, layer in layers],
        }
        made = self._blob(MANIFEST, json.dumps(manifest).encode())
        return made | {"platform": {"architecture": platform, "os": "linux"}}

    def _layer(self, seed):
        content, data = io.BytesIO(), random.Random(seed).randbytes(20_000)
        with tarfile.open(fileobj=content, mode="w") as archive:
            entry = tarfile.TarInfo(seed)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
        diff_id = "sha256:" + hashlib.sha256(content.getvalue()).hexdigest()
        compressed = gzip.compress(content.getvalue(), mtime=0)
        return diff_id, self._blob("application/vnd.oci.image.layer.v1.tar+gzip", compressed)

    def _blob(self, media_type, data):
        digest = hashlib.sha256(data).hexdigest()
        (self.folder / "blobs/sha256" / digest).write_bytes(data)
        return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(data)}


@pytest.fixture
def make_image(tmp_path, request):
    """Images whose blobs no other test has: clients remember where they saw a blob."""

    def make(name, platforms=("amd64",)):
        return Layout(tmp_path / f"image-{name}", f"{name}-{time.time_ns()}-{request.node.nodeid[-9:]}", platforms)

    return make


class Skopeo:
    """What skopeo does, as somebody."""

    def __init__(self, registry, folder):
        self._registry, self._folder, self._count = registry, folder, 0

    def push(self, image, name, actor="alice"):
        login = f"{actor}:{PASSWORDS[actor]}"
        source, target = f"oci:{image.folder}:latest", f"docker://{self._registry.address}/{name}"
        run("skopeo", "copy", "--all", "--dest-tls-verify=false", "--dest-creds", login, source, target)

    def pull(self, name, actor="alice"):
        self._count += 1
        login = f"{actor}:{PASSWORDS[actor]}"
        source, target = f"docker://{self._registry.address}/{name}", f"dir:{self._folder}/pulled-{self._count}"
        run("skopeo", "copy", "--src-tls-verify=false", "--src-creds", login, source, target)

    def delete(self, name, actor="alice"):
        login = f"{actor}:{PASSWORDS[actor]}"
        run("skopeo", "delete", "--tls-verify=false", "--creds", login, f"docker://{self._registry.address}/{name}")


@pytest.fixture
def skopeo(registry, tmp_path):
    needs("skopeo")
    return Skopeo(registry, tmp_path)


@pytest.fixture
def podman(registry, tmp_path):
    """Runs podman, which is to know that the registry has no certificate."""
    return podman_with(tmp_path, without_tls(registry.address))


def podman_with(tmp_path, registries):
    """Runs podman with a storage of its own, and such a registries.conf."""
    needs("podman")
    environment = of_podman(tmp_path, registries)

    def call(*arguments, actor="bob", login=True):
        return run(
            "podman",
            *arguments,
            *(["--tls-verify=false", f"--creds={actor}:{PASSWORDS[actor]}"] if login else []),
            **environment,
        )

    return call


@pytest.fixture
def short_path():
    """The same, for one test."""
    with short_folder() as folder:
        yield folder


@contextmanager
def docker_with(folder, logins, **settings):
    """A real dockerd with such settings, too, and the command for it."""
    (folder / "config.json").write_text(json.dumps(logins))

    def has_forgotten():
        """Manifests of removed images go a moment later; until then dockerd does not ask for them again."""
        kept = folder / "data/containerd/daemon/io.containerd.content.v1.content/blobs/sha256"
        return not list(kept.iterdir())

    with dockerd(folder, **settings) as host:

        def call(*arguments):
            return run("docker", *arguments, DOCKER_HOST=host, DOCKER_CONFIG=str(folder))

        call.has_forgotten = has_forgotten
        yield call


@pytest.fixture
def docker(registry, short_path):
    """A real dockerd, and the command for it, as alice."""
    login = base64.b64encode(f"alice:{PASSWORDS['alice']}".encode()).decode()
    with docker_with(short_path, {"auths": {registry.address: {"auth": login}}}) as call:
        yield call


@pytest.fixture
def ctr(short_path):
    """A real containerd, and its command."""
    needs("containerd", "ctr")
    folder, address = short_path, f"{short_path}/c.sock"
    (folder / "config.toml").write_text(
        f'version = 2\nroot = "{folder}/root"\nstate = "{folder}/state"\n'
        f'disabled_plugins = ["io.containerd.grpc.v1.cri"]\n[grpc]\naddress = "{address}"\n'
    )

    def call(*arguments):
        return run("ctr", "--address", address, *arguments)

    with daemon(folder / "log", "containerd", "--config", str(folder / "config.toml")):
        wait_until(Path(address).exists, "containerd")
        yield call


@pytest.fixture(params=["skopeo", "podman", "docker", "ctr"])
def cold_pull(request, registry):
    """Pulls with each client as if it had never seen the image: for skopeo, podman, docker and containerd."""
    client = request.getfixturevalue(request.param)

    def pull(name):
        full = f"{registry.address}/{name}"
        if request.param == "skopeo":
            client.pull(name)
        elif request.param == "podman":
            client("pull", full)
            client("rmi", "--all", "--force", login=False)
        elif request.param == "docker":
            client("pull", full)
            client("image", "rm", "--force", full)
            wait_until(client.has_forgotten, "dockerd to forget the manifests of the image")
        else:
            login = ["--plain-http", "--user", f"alice:{PASSWORDS['alice']}"]
            client("images", "pull", "--snapshotter", "native", *login, full)
            client("images", "rm", "--sync", full)

    pull.client = {"ctr": "containerd"}.get(request.param, request.param)
    return pull


@pytest.fixture
def chromium(tmp_path):
    """Opens a file in a real browser without network: its DOM after scripts ran, and what the console said."""
    needs("chromium")

    def look(path, picture=None):
        command = [
            "chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
            "--disable-background-networking", "--disable-component-update", "--disable-sync",
            "--host-resolver-rules=MAP * ~NOTFOUND", f"--user-data-dir={tmp_path}/browser", "--window-size=1250,2600",
            "--virtual-time-budget=10000", "--enable-logging=stderr", path.as_uri(),
        ]  # fmt: skip
        what = ["--dump-dom"] if picture is None else [f"--screenshot={picture}"]
        done = subprocess.run([*command, *what], capture_output=True, text=True, timeout=PATIENCE, check=True)
        return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]

    return look


_FLAGS = [
    "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--window-size=1400,7000",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    # It has a mouse, which plotly.js asks for.
    "--blink-settings=primaryHoverType=2,availableHoverTypes=2,primaryPointerType=4,availablePointerTypes=4",
]  # fmt: skip


class Browser:
    """Chromium, driven: it reaches nothing but loopback, and tells what its console said and what it asked for."""

    def __init__(self, driver):
        self.driver = driver
        driver.set_page_load_timeout(PATIENCE)
        driver.set_script_timeout(PATIENCE)

    def open(self, url):
        self.driver.get(url)

    def forget(self):
        """Leaves the page, and what was said and asked for until now."""
        self.open("about:blank")
        self.console(), self.requests()

    def find(self, selector):
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def until(self, condition):
        """Waits until a condition holds; what it gave."""
        return WebDriverWait(self.driver, PATIENCE, poll_frequency=0.1).until(lambda _: condition())

    def run(self, script, *arguments):
        return self.driver.execute_script(script, *arguments)

    def tell(self, command, **parameters):
        """A command to the browser itself, of its DevTools protocol."""
        return self.driver.execute_cdp_cmd(command, parameters)

    def save(self, path):
        """A picture for people: where $ARTEFACTS says, too."""
        for folder in filter(None, [os.environ.get("ARTEFACTS"), path.parent]):
            self.driver.save_screenshot(str(Path(folder) / path.name))

    def console(self):
        """What the console said since it was asked last."""
        return [entry["message"] for entry in self.driver.get_log("browser")]

    def requests(self):
        """What was asked for over whatever protocol, since this was called last."""
        messages = [json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")]
        sent = [message["params"] for message in messages if message["method"] == "Network.requestWillBeSent"]
        return [request["request"]["url"] for request in sent]


@contextmanager
def _browsing(folder):
    programs = [shutil.which(program) for program in ("chromedriver", "chromium")]
    if None in programs:
        pytest.skip("chromedriver and chromium not installed")
    options = webdriver.ChromeOptions()
    options.binary_location = programs[1]
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    for flag in [*_FLAGS, f"--user-data-dir={folder}"]:
        options.add_argument(flag)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SE_OFFLINE", "true")
        driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(programs[0]))
    try:
        made = Browser(driver)
        made.forget()  # the browser's own first page
        yield made
    finally:
        driver.quit()


@pytest.fixture
def browser(tmp_path):
    """A browser that nobody has used before."""
    with _browsing(tmp_path / "browser") as made:
        yield made


@pytest.fixture(scope="module")
def shared_browser(tmp_path_factory):
    """One for all tests of a module: it takes seconds to start."""
    with _browsing(tmp_path_factory.mktemp("browser")) as made:
        yield made
