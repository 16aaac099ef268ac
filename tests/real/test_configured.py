"""What `regstats config` prints, as it is printed: real registries, nginx and clients are started with it."""

import base64
import http.client
import itertools
import json
import re
import subprocess
import sys
import tomllib
from contextlib import contextmanager

import pytest
import trustme
from conftest import PASSWORDS, Registry, Skopeo, docker_with, podman_with
from engines import NGINX_TEMPORARY, daemon, needs, run
from makers import MANIFEST
from servers import HOST, PATIENCE, free_port, stop, wait_until

OTHER, OUTSIDE, PROXY = "127.0.0.2", "127.0.0.3", "127.0.0.9"
FORGED = {"X-Forwarded-For": "10.9.9.9", "X-Real-IP": "10.9.9.9", "X-Forwarded-Host": "evil.example",
          "Forwarded": "for=10.9.9.9;host=evil.example;proto=gopher"}  # fmt: skip
NASTY = 'a "b" #é: {{ x }} \\n'
"""A folder of this name has to be found."""


def printed(*options):
    return run(sys.executable, "-m", "regstats", "config", *map(str, options))


class Configured(Registry):
    """A registry with the configuration that is printed."""

    def __init__(self, folder, collector, kind, *options):
        self._options = (kind, *options)
        super().__init__(folder, collector)

    def configured(self, collector):
        return printed(*self._options, "--addr", self.address, "--storage", self._folder / NASTY)

    def kept(self):
        """The digests of what it has on its disk, whole."""
        return {f"sha256:{path.parent.name}" for path in (self._folder / NASTY).glob("**/blobs/sha256/*/*/data")}


@contextmanager
def running(registry):
    registry.start()
    try:
        yield registry
    finally:
        stop(registry.process)


@pytest.fixture
def settings(tmp_path, collector):
    """The collector's regstats.toml, with which it is started, and which says where it is."""
    file = tmp_path / "regstats.toml"
    file.write_text(f'port = {collector.port}\ntoken = "{collector.token}"\n')
    return file


@pytest.fixture
def registry(tmp_path, collector, settings):
    needs("docker-registry", "htpasswd")
    folder = tmp_path / f"registry {NASTY}"
    options = ("--config", settings, "--htpasswd", folder / "htpasswd", "--debug", f"{HOST}:{free_port()}")
    with running(Configured(folder, collector, "registry", *options)) as made:
        yield made


def events(collector, columns, where="true"):
    """Some columns of all events, in the order in which they happened."""
    query = f"select {columns} from events where {where} order by timestamp"
    command = ("export", "--sql", query, "--data", str(collector.data), "--format", "json")
    return json.loads(run(sys.executable, "-m", "regstats", *command))


def test_a_registry_tells_the_collector(collector, settings, registry, skopeo, make_image, patiently):
    """Who pushed, pulled and deleted; and a wrong password gets nowhere."""
    collector.start("--config", str(settings))
    image = make_image("one")
    skopeo.push(image, "team/api:1.0")
    skopeo.pull("team/api:1.0", actor="bob")
    skopeo.delete("team/api:1.0")
    names = ("--interval", "total", "--by", "source,repository,actor,client_address")
    who = {"source": "default", "repository": "team/api", "client_address": HOST}
    pulled = who | {"actor": "bob", "pulls": 1, "downloads": 1, "version_checks": 0, "requests": 1}
    patiently(
        [who | {"actor": "alice", "pushes": 1, "updates": 1, "deletes": 1}], lambda: collector.ask("pushes", *names)
    )
    patiently([pulled], lambda: collector.ask("pulls", *names, "--actor", "bob"))
    before = len(events(collector, "event_id"))
    for login in ("alice:wrong", "mallory:alice-password"):
        target = f"docker://{registry.address}/team/api:2.0"
        command = [
            "skopeo",
            "copy",
            "--dest-tls-verify=false",
            "--dest-creds",
            login,
            f"oci:{image.folder}:latest",
            target,
        ]
        refused = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
        assert refused.returncode != 0
        assert "authentication required" in refused.stderr
    skopeo.push(image, "team/api:3.0")
    patiently(2, lambda: collector.total("pushes", "pushes"))
    assert {"alice"} == {row["actor"] for row in events(collector, "actor")[before:]}


def test_what_waits_is_told_on_loopback_and_the_token_not_in_the_log(
    collector, settings, registry, skopeo, make_image, patiently
):
    """Because it is printed for a log that says less; /debug/vars shows both, as its comment says."""
    skopeo.push(make_image("one"), "team/api:1.0")
    debug = registry.configured(collector).partition("http://")[2].partition("/debug/vars")[0]

    def metrics():
        (told,) = json.loads(asked(debug, "GET", "/debug/vars")[1])["registry"]["notifications"]["endpoints"]
        assert [f"Bearer {collector.token}"] == told["Headers"]["Authorization"]
        return told["Metrics"]["Pending"], told["Metrics"]["Successes"]

    patiently((4, 0), metrics)
    collector.start("--config", str(settings))
    patiently((0, 4), metrics)
    assert collector.token not in registry.log


def asked(place, method, path, body=None, source=HOST, **headers):
    """A request from one of the addresses of loopback; its status, and what is answered."""
    host, _, port = place.rpartition(":")
    own = (source, 0) if source != HOST else None
    connection = http.client.HTTPConnection(host.strip("[]"), int(port), timeout=PATIENCE, source_address=own)
    try:
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        return answer.status, answer.read().decode(errors="replace"), answer.headers
    finally:
        connection.close()


def login(actor="alice"):
    return {"Authorization": f"Basic {base64.b64encode(f'{actor}:{PASSWORDS[actor]}'.encode()).decode()}"}


class Nginx:
    """nginx with what is printed, and nothing else than what it needs to run here."""

    def __init__(self, folder, registry, *options, host=HOST):
        self.port = free_port()
        self.address = f"{host}:{self.port}"
        self._folder = folder
        folder.mkdir()
        text = printed("nginx", "--listen", self.address, "--upstream", registry.address, *options)
        (folder / "registry.conf").write_text(text)
        temporary = "".join(f"{name}_temp_path {folder}/{name};\n" for name in NGINX_TEMPORARY)
        (folder / "nginx.conf").write_text(
            f"daemon off; pid {folder}/pid; error_log {folder}/error.log;\nevents {{}}\n"
            f"http {{\naccess_log off;\n{temporary}include {folder}/*registry.conf;\n}}\n"
        )

    @contextmanager
    def running(self):
        with daemon(
            self._folder / "log", "nginx", "-e", f"{self._folder}/error.log", "-c", f"{self._folder}/nginx.conf"
        ):
            wait_until(self._answers, "nginx")
            yield self

    def _answers(self):
        try:
            return asked(self.address, "GET", "/")
        except (OSError, http.client.HTTPException):
            return False

    def is_well(self):
        """Whether nginx itself finds nothing to say about it."""
        command = ["nginx", "-t", "-q", "-e", f"{self._folder}/error.log", "-c", f"{self._folder}/nginx.conf"]
        done = subprocess.run(command, capture_output=True, text=True)
        return (done.returncode, done.stderr) == (0, "")


@pytest.fixture
def nginx(tmp_path, registry):
    """Before the registry; only two addresses of loopback may push."""
    needs("nginx")
    log = ("--access-log", tmp_path / NASTY)
    made = Nginx(tmp_path / "nginx", registry, "--allow-push", HOST, "--allow-push", OTHER, *log)
    with made.running():
        yield made


def pushed(place, image, name, tag, source=HOST, **headers):
    """Puts a manifest that is there under another tag; the status."""
    body = (image.folder / "blobs/sha256" / image.digest.partition(":")[2]).read_bytes()
    kind = {"Content-Type": MANIFEST} | login()
    return asked(place, "PUT", f"/v2/{name}/manifests/{tag}", body, source, **kind, **headers)[0]


def test_only_some_addresses_push_through_nginx(collector, settings, nginx, tmp_path, skopeo, make_image, patiently):
    """All pull. What is refused is refused before it reaches the registry, so it tells of nothing."""
    collector.start("--config", str(settings))
    image = make_image("one")
    through = Skopeo(nginx, tmp_path)
    through.push(image, "team/api:1.0")
    through.pull("team/api:1.0")
    path = f"/v2/team/api/manifests/{image.digest}"
    assert 201 == pushed(nginx.address, image, "team/api", "2.0", OTHER)
    assert 403 == pushed(nginx.address, image, "team/api", "3.0", OUTSIDE)
    for method, of in [("DELETE", path), ("POST", "/v2/team/api/blobs/uploads/"), ("PATCH", path), ("PUT", path),
                       ("OPTIONS", path), ("BREW", path)]:  # fmt: skip
        status, body, headers = asked(nginx.address, method, of, source=OUTSIDE, **login())
        assert (403, "application/json") == (status, headers["Content-Type"]), method
        assert "DENIED" == json.loads(body)["errors"][0]["code"]
    for source, method in itertools.product((OTHER, OUTSIDE), ("HEAD", "GET")):
        assert 200 == asked(nginx.address, method, path, source=source, Accept=MANIFEST, **login())[0]
    assert 401 == asked(nginx.address, "GET", path, source=OTHER)[0]
    assert 404 == asked(nginx.address, "GET", "/debug/vars")[0]
    assert 202 == asked(nginx.address, "DELETE", path, **login())[0]
    patiently([(HOST, 1, 1), (OTHER, 1, 0)], lambda: pushes(collector))
    assert [(HOST, 1), (OTHER, 1), (OUTSIDE, 1)] == pulls(collector)
    told = run(sys.executable, "-m", "regstats", "import", "--data", str(collector.data), str(tmp_path / NASTY))
    assert " 0 new events, " in told  # the log says the same, and all of it is understood
    assert " 0 not understood" in told


def pushes(collector):
    rows = collector.ask("pushes", "--interval", "total", "--by", "client_address")
    return sorted((row["client_address"], row["pushes"], row["deletes"]) for row in rows)


def pulls(collector):
    rows = collector.ask("pulls", "--interval", "total", "--by", "client_address")
    return sorted((row["client_address"], row["pulls"]) for row in rows)


def test_nobody_chooses_the_address_that_stands_in_the_events(
    collector, settings, nginx, registry, skopeo, make_image, patiently
):
    """Behind nginx, whatever is sent; who gets past it may choose, which is why the registry is on loopback."""
    collector.start("--config", str(settings))
    image = make_image("one")
    skopeo.push(image, "team/api:1.0")
    path = "/v2/team/api/manifests/1.0"
    assert 201 == pushed(nginx.address, image, "team/api", "2.0", OTHER, **FORGED)
    assert 403 == pushed(nginx.address, image, "team/api", "3.0", OUTSIDE, **FORGED | {"X-Forwarded-For": OTHER})
    for name, value in FORGED.items():
        status, *_ = asked(nginx.address, "GET", path, source=OUTSIDE, Accept=MANIFEST, **login(), **{name: value})
        assert 200 == status
    assert 200 == asked(registry.address, "GET", path, source=OUTSIDE, Accept=MANIFEST, **login(), **FORGED)[0]
    patiently([("10.9.9.9", 1), (OUTSIDE, len(FORGED))], lambda: pulls(collector))
    assert [(HOST, 1, 0), (OTHER, 1, 0)] == pushes(collector)
    bodies = [row["body"] for row in deliveries(collector)]
    assert [True] == [registry.address in body for body in bodies if "evil.example" in body]  # the last one
    sent = asked(nginx.address, "POST", "/v2/team/api/blobs/uploads/", source=OTHER, **login(), **FORGED)[2]
    assert sent["Location"].startswith(f"http://{nginx.address}/v2/team/api/blobs/uploads/")


def deliveries(collector):
    command = ("export", "deliveries", "--data", str(collector.data), "--format", "json")
    return json.loads(run(sys.executable, "-m", "regstats", *command))


def test_nginx_behind_another_proxy(collector, settings, registry, tmp_path, skopeo, make_image, patiently):
    """That one is believed, and one before it, as far as they wrote the header themselves; nobody else is."""
    needs("nginx")
    collector.start("--config", str(settings))
    image, client = make_image("one"), "203.0.113.5"
    skopeo.push(image, "team/api:1.0")
    options = ("--allow-push", "203.0.113.0/24", "--trusted-proxy", PROXY, "--trusted-proxy", "198.51.100.0/24")
    with Nginx(tmp_path / "nginx", registry, *options).running() as nginx:

        def push(source, said):
            return pushed(nginx.address, image, "team/api", "2.0", source, **{"X-Forwarded-For": said})

        assert 201 == push(PROXY, f"192.0.2.9, {client}, 198.51.100.7")
        assert 403 == push(PROXY, f"{client}, 192.0.2.9, 198.51.100.7")
        assert 403 == push(OUTSIDE, client)
    patiently([(HOST, 1, 0), (client, 1, 0)], lambda: pushes(collector))


def test_a_client_is_told_why_it_may_not_push(registry, tmp_path, skopeo, make_image):
    """In the words of a registry, as skopeo shows them."""
    needs("nginx")
    with Nginx(tmp_path / "nginx", registry, "--allow-push", OTHER).running() as nginx:
        client, image = Skopeo(nginx, tmp_path), make_image("one")
        with pytest.raises(AssertionError, match="denied: nobody may push or delete from this address"):
            client.push(image, "team/api:1.0")


def test_nginx_with_a_certificate(collector, settings, registry, tmp_path, skopeo, make_image, patiently):
    """A push goes on where it began, with TLS, and the events say so."""
    needs("nginx")
    collector.start("--config", str(settings))
    folder = tmp_path / NASTY
    folder.mkdir()
    authority, certificate = trustme.CA(), folder / "c;#.pem"
    issued = authority.issue_cert("registry.example", HOST)
    issued.private_key_pem.write_to_path(folder / "k.pem")
    certificate.write_bytes(b"".join(pem.bytes() for pem in issued.cert_chain_pems))
    authority.cert_pem.write_to_path(tmp_path / "ca.crt")
    options = (
        "--allow-push",
        HOST,
        "--server-name",
        "registry.example",
        "--certificate",
        certificate,
        "--key",
        folder / "k.pem",
    )
    with Nginx(tmp_path / "nginx", registry, *options).running() as nginx:
        source, target = f"oci:{make_image('one').folder}:latest", f"docker://{nginx.address}/team/api:1.0"
        command = ("--dest-cert-dir", str(tmp_path), "--dest-creds", f"alice:{PASSWORDS['alice']}")
        run("skopeo", "copy", *command, source, target)
        patiently(1, lambda: collector.total("pushes", "pushes"))
    urls = {event["target"]["url"] for row in deliveries(collector) for event in json.loads(row["body"])["events"]}
    assert {True} == {url.startswith(f"https://{nginx.address}/v2/team/api/") for url in urls}


def test_nginx_and_ipv6(collector, settings, registry, tmp_path, skopeo, make_image, patiently):
    """Its addresses are allowed and refused like others."""
    needs("nginx")
    collector.start("--config", str(settings))
    image = make_image("one")
    skopeo.push(image, "team/api:1.0")
    for allowed, status in [("::/127", 201), ("2001:db8::/32", 403)]:
        made = Nginx(tmp_path / f"nginx-{status}", registry, "--allow-push", allowed, host="[::1]")
        with made.running():
            assert status == pushed(made.address, image, "team/api", "2.0")
    patiently([(HOST, 1, 0), ("::1", 1, 0)], lambda: pushes(collector))


def test_two_registries_behind_one_nginx(registry, tmp_path):
    """Each in a file of its own; and nginx has no warnings."""
    needs("nginx")
    made = Nginx(tmp_path / "nginx", registry, "--allow-push", "10.0.0.0/8", "--allow-push", "2001:db8::/32")
    another = printed("nginx", "--allow-push", OTHER, "--upstream", "[::1]:5001", "--listen", f"[::1]:{free_port()}")
    (tmp_path / "nginx/another-registry.conf").write_text(another)
    assert made.is_well()
    (tmp_path / "nginx/another-registry.conf").write_text(another.replace("deny all", "deny"))
    assert not made.is_well()


# Mirrors


@pytest.fixture
def upstream(tmp_path, collector, settings):
    """The registry that is mirrored: a mirror of Docker Hub gets its images without a password."""
    needs("docker-registry", "htpasswd")
    with running(Configured(tmp_path / "upstream", collector, "registry", "--open", "--config", settings)) as made:
        yield made


@pytest.fixture
def mirror(tmp_path, collector, settings, upstream):
    """A mirror, and the collector, which knows it by the lines that are printed."""
    options = ("--upstream", f"http://{upstream.address}", "--config", settings, "--token", 'the "mirror" token')
    made = Configured(tmp_path / "mirror", collector, "mirror", *options)
    lines = re.findall(r"^#   ((?:\[sources|token).*)", made.configured(collector), re.MULTILINE)
    settings.write_text(settings.read_text() + "\n".join(lines))
    collector.start("--config", str(settings))
    with running(made):
        yield made


def of_client(mirror, client, *options):
    return printed("mirror", "--client", client, "--addr", mirror.address, *options)


@pytest.fixture
def pull_by_skopeo(mirror, tmp_path):
    """It is told of another registry than Docker Hub, and its mirror is behind nginx."""
    needs("skopeo", "nginx")
    file, count = tmp_path / "mirror.conf", itertools.count()
    command = ("skopeo", "--registries-conf", str(file), "copy", "docker://registry.example:5000/library/base:1")
    with Nginx(tmp_path / "nginx", mirror, "--allow-push", OTHER).running() as nginx:
        options = ("--registry", "registry.example:5000", "--mirror-url", f"http://{nginx.address}")
        file.write_text(of_client(mirror, "podman", *options))
        yield lambda: run(*command, f"dir:{tmp_path}/{next(count)}")


@pytest.fixture
def pull_by_podman(mirror, tmp_path):
    podman = podman_with(tmp_path, of_client(mirror, "podman"))

    def pull():
        podman("pull", "docker.io/library/base:1", login=False)
        podman("rmi", "--all", "--force", login=False)

    return pull


@pytest.fixture
def pull_by_docker(mirror, short_path):
    with docker_with(short_path, {}, **json.loads(of_client(mirror, "dockerd"))) as docker:

        def pull():
            docker("pull", "base:1")
            docker("image", "rm", "--force", "base:1")
            wait_until(docker.has_forgotten, "dockerd to forget the manifests of the image")

        yield pull


@pytest.fixture
def pull_by_containerd(mirror, tmp_path, ctr):
    folder, name = tmp_path / "certs.d", "docker.io/library/base:1"
    (folder / "docker.io").mkdir(parents=True)
    (folder / "docker.io/hosts.toml").write_text(of_client(mirror, "containerd"))

    def pull():
        ctr("images", "pull", "--snapshotter", "native", "--hosts-dir", str(folder), name)
        ctr("images", "rm", "--sync", name)

    return pull


@pytest.mark.slow
@pytest.mark.parametrize("client", ["skopeo", "podman", "docker", "containerd"])
def test_what_a_client_pulls_comes_from_the_mirror(
    request, client, collector, upstream, mirror, tmp_path, make_image, patiently
):
    """It gets it once from the other registry, then it has it, though that one is gone. Each pull counts once."""
    pull, image = request.getfixturevalue(f"pull_by_{client}"), make_image("base")
    Skopeo(upstream, tmp_path).push(image, "library/base:1")
    pull()
    blobs = {f"sha256:{path.name}" for path in (image.folder / "blobs/sha256").iterdir()}
    wait_until(lambda: blobs <= mirror.kept(), "the mirror to keep what it got")
    mark(collector, upstream, image, "first")
    got = events(collector, "method, kind", f"{BY_MIRROR} and action = 'pull'")
    assert {("GET", "manifest"), ("GET", "blob")} <= {(row["method"], row["kind"]) for row in got}
    pull()
    mark(collector, upstream, image, "second")
    since = "timestamp > (select timestamp from events where user_agent = 'first')"
    assert {"HEAD"} == {row["method"] for row in events(collector, "method", f"{BY_MIRROR} and {since}")}
    stop(upstream.process)
    pull()
    expected = [("default", "other", 2), ("mirror", client, 3)]  # those of `mark`, and the client's own
    patiently(expected, lambda: pulls_of_sources(collector))


BY_MIRROR = "source = 'default' and user_agent like 'Go-http-client/%'"


def pulls_of_sources(collector):
    """Without those who are excluded if nobody says anything."""
    rows = collector.ask("pulls", "--interval", "total", "--by", "source,client")
    return sorted((row["source"], row["client"], row["pulls"]) for row in rows)


def mark(collector, registry, image, agent):
    """Asks the registry for something, and waits until it has told of that: and so of all before."""
    path = f"/v2/library/base/manifests/{image.digest}"
    assert 200 == asked(registry.address, "GET", path, Accept=MANIFEST, **{"User-Agent": agent})[0]
    wait_until(lambda: events(collector, "event_id", f"user_agent = '{agent}'"), f"what {agent} asked for")


def test_nobody_pushes_to_a_mirror(mirror, tmp_path, make_image):
    """Where it is told so."""
    with pytest.raises(AssertionError, match=r"405|unsupported"):
        Skopeo(mirror, tmp_path).push(make_image("one"), "library/base:1")


def test_containerd_takes_the_setting_that_the_comment_names(short_path):
    """The first one: containerd 1.x is what there is here."""
    needs("containerd")
    text = printed("mirror", "--client", "containerd")
    piece, _ = re.findall(r"^#   version = .*\n(?:#   .*\n)+", text, re.MULTILINE)
    (short_path / "config.toml").write_text(re.sub("^#   ", "", piece, flags=re.MULTILINE))
    told = tomllib.loads(run("containerd", "--config", f"{short_path}/config.toml", "config", "dump"))
    assert "/etc/containerd/certs.d" == told["plugins"]["io.containerd.grpc.v1.cri"]["registry"]["config_path"]
