"""Many images at once, at real registries and with real engines."""

import base64
import json
import os
import signal
import subprocess
import sys
from contextlib import closing

import pytest
import trustme
from contents import Contents
from distribution import running
from engines import archive, dockerd, needs, podman_service, run, short_folder
from makers import MANIFEST, NOW, days, envelope, journalled, make_event, make_push
from servers import HOST, PATIENCE, free_port, stop, wait_until
from tokens import AUTH, REFRESH, USERS, token_service

from regstats.credentials import Login
from regstats.store import Store

docker = pytest.importorskip("docker")

MANY = 50
NAMES = [f"team/app-{number}:1" for number in range(MANY)]
SOME, FEW = ["--all"], NAMES  # so many that they are not all through before anybody can interrupt


def images(*arguments, status=0, **options):
    """What `regstats images` says; it must end with a status."""
    done = subprocess.run(command(*arguments), capture_output=True, text=True, timeout=PATIENCE * 5, **options)
    assert status == done.returncode, done.stdout + done.stderr
    return done.stdout + done.stderr


def command(*arguments):
    return [sys.executable, "-m", "regstats", "images", *map(str, arguments)]


@pytest.fixture(autouse=True)
def nobody(monkeypatch, tmp_path):
    """No login of whoever runs the tests."""
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "home"))
    monkeypatch.delenv("REGISTRY_AUTH_FILE", raising=False)
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)


@pytest.fixture
def place(request, tmp_path):
    """A registry for everybody; if there is an engine, where that may ask without TLS."""
    needs("docker-registry")
    engine = request.getfixturevalue("engine") if "engine" in request.fixturenames else None
    with running(tmp_path / "registry", port=engine and engine.port) as registry:
        yield registry


@pytest.fixture
def other(tmp_path):
    needs("docker-registry")
    with running(tmp_path / "other") as registry:
        yield registry


@pytest.fixture(scope="module", params=["dockerd", "podman"])
def running_engine(request):
    """An engine; what it has is told by its SDK."""
    port = free_port()
    with (
        short_folder() as folder,
        dockerd(folder) if request.param == "dockerd" else podman_service(folder, f"{HOST}:{port}") as host,
        closing(docker.DockerClient(base_url=host, timeout=PATIENCE)) as client,
    ):
        client.host, client.kind, client.port = host, request.param, port
        yield client


@pytest.fixture
def engine(running_engine):
    """The same with fifty small images, and no other."""
    for name in set(local(running_engine)) - set(NAMES) - {f"localhost/{name}" for name in NAMES}:
        running_engine.images.remove(name)
    list(running_engine.api.load_image(archive(NAMES)))
    return running_engine


def local(engine):
    """All names of local images."""
    return sorted(tag for image in engine.images.list() for tag in image.tags)


def at(registry):
    """What a registry has: tags with digests."""
    with closing(Contents(registry.address).client) as client:
        names = [(repository, tag) for repository in client.repositories() for tag in client.tags(repository)]
        return {f"{repository}:{tag}": client.digest(repository, tag) for repository, tag in sorted(names)}


@pytest.mark.slow
def test_fifty_images_of_an_engine(engine, place):
    """Each in one command, eight at a time; the second time nothing is done."""
    before = local(engine)
    assert MANY == len(before)
    common = ["--registry", place.address, "--jobs", "8", "--engine", engine.host]
    assert f"{MANY} to push. --yes does it." in images("push", "--all", *common)
    assert [] == place.written()
    assert before == local(engine)
    assert f"{MANY} pushed." in images("push", "--all", *common, "--yes")
    assert before == local(engine)
    assert sorted(NAMES) == place.manifests_written()
    assert f"{MANY} done already." in images("push", "--all", *common, "--yes")
    assert sorted(NAMES) == place.manifests_written()
    assert sorted(NAMES) == sorted(at(place))

    for name in before:
        engine.images.remove(name)
    assert [] == local(engine)
    repositories = [f"team/app-{number}" for number in range(MANY)]
    assert f"{MANY} pulled." in images("pull", *repositories, "--all-tags", *common, "--yes")
    here = [f"{place.address}/{name}" for name in NAMES]
    assert sorted(here) == local(engine)
    blobs = sum("/blobs/" in path for method, path, _ in place.requests() if method == "GET")
    assert f"{MANY} done already." in images("pull", *repositories, "--all-tags", *common, "--yes")
    assert blobs == sum("/blobs/" in path for method, path, _ in place.requests() if method == "GET")


@pytest.mark.slow
def test_fifty_images_at_registries(place, other):
    """Each in one command, eight at a time."""
    put = Contents(place.address)
    for name in NAMES:
        put.image(*name.split(":"), name)
    assert f"{MANY} tagged." in images("tag", "team/*:1", "stable", "--registry", place.address, "--jobs", "8", "--yes")
    tagged = at(place)
    assert all(tagged[name] == tagged[f"{name[:-1]}stable"] for name in NAMES)
    copied = images(
        "copy", "team/*", "--to", f"{other.address}/archive", "--registry", place.address, "--jobs", "8", "--yes"
    )
    assert f"{2 * MANY} copied." in copied
    assert {f"archive/{name}": digest for name, digest in tagged.items()} == at(other)
    assert f"{MANY} deleted." in images("delete", "team/*", "--registry", place.address, "--jobs", "8", "--yes")
    assert {} == at(place)


def interrupted(engine, place, how):
    """Pushes some, and is interrupted when the first are there; its exit status, and what it said."""
    arguments = ["push", *SOME, "--registry", place.address, "--jobs", "4", "--engine", engine.host, "--yes"]
    process = subprocess.Popen(command(*arguments), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    wait_until(lambda: len(place.manifests_written()) >= 5, "the first images")
    how(process)
    said, _ = process.communicate(timeout=PATIENCE * 5)  # dockerd itself tries again for more than a minute
    return process.returncode, said


def finished(engine, place):
    """Pushes the rest, and nothing twice."""
    there = at(place)
    assert 5 <= len(there) < len(FEW)
    images("push", *SOME, "--registry", place.address, "--engine", engine.host, "--yes")
    assert sorted(FEW) == sorted(at(place))
    written = [place.manifests_written().count(name) for name in there]
    # A registry that is killed may have written its last manifest, and not said so in its log any more.
    assert 1 == max(written)
    assert sum(written) >= len(there) - 1


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_who_is_interrupted_leaves_nothing_behind(engine, place, number):
    """No name that an image had only meanwhile; and what is done already is not done again."""
    if engine.kind == "podman" and number == signal.SIGTERM and not os.environ.get("STRESS"):
        pytest.skip("the same as with dockerd")
    before = local(engine)
    status, said = interrupted(engine, place, lambda process: process.send_signal(number))
    assert 130 == status, said
    assert "Interrupted: " in said
    assert before == local(engine)
    finished(engine, place)


@pytest.mark.slow
def test_a_registry_that_dies_in_the_middle(engine, place):
    """What was not pushed is named, with the reason; no name is left; the second time the rest is pushed."""
    if engine.kind == "podman" and not os.environ.get("STRESS"):
        pytest.skip("the same as with dockerd")
    before = local(engine)
    status, said = interrupted(engine, place, lambda _: stop(place.process, signal.SIGKILL))
    assert 1 == status, said
    assert "cannot be reached" in said or "refused" in said
    assert before == local(engine)
    place.start()
    finished(engine, place)
    assert before == local(engine)


def test_a_name_that_was_there_before_stays(engine, place):
    """It is the user's; and where it is that of another image, nothing is done to it."""
    first, second = NAMES[:2]
    own = f"{place.address}/{first}"
    engine.images.get(first).tag(own.rpartition(":")[0], tag="1")
    engine.images.get(NAMES[2]).tag(f"{place.address}/{second}".rpartition(":")[0], tag="1")
    before = local(engine)
    said = images("push", first, second, "--registry", place.address, "--engine", engine.host, "--yes", status=1)
    assert "is another image" in said
    assert "1 pushed, 1 failed." in said
    assert [first] == list(at(place))
    assert before == local(engine)


def test_what_is_not_there(engine, place):
    """A name that the engine does not have, or the registry."""
    said = images("push", "team/none:1", "--registry", place.address, "--engine", engine.host, status=2)
    assert "There is no local image 'team/none:1'." in said
    said = images("pull", "team/none:1", "--registry", place.address, "--engine", engine.host, status=2)
    assert f"There is no 'team/none:1' at {place.address}." in said


# What can go


class Shelf:
    """A repository in which much hangs together."""

    def __init__(self, registry):
        put = Contents(registry.address)
        self.single = {n: put.image("team/app", f"1.{n}", f"app-{n}") for n in range(4)}
        put.put("team/app", "stable", MANIFEST, read(put.client, "team/app", self.single[0]["digest"]))
        shared, *others = [put.image("team/web", None, f"web-{n}", architecture=f"a{n}") for n in range(4)]
        self.shared, self.old_child, self.new_child, tagged = shared, *others
        self.tagged_child = put.put("team/web", "side", MANIFEST, read(put.client, "team/web", tagged["digest"]))
        self.old = put.index("team/web", "1.0", [shared, self.old_child, self.tagged_child])
        self.new = put.index("team/web", "2.0", [shared, self.new_child])
        self.signature = put.image("team/web", f"sha256-{self.old['digest'][7:]}.sig", "signature of old")
        self.kept_signature = put.image("team/web", f"sha256-{self.new['digest'][7:]}.sig", "signature of new")
        self.sbom = put.image("team/web", None, "sbom", subject=self.old_child)
        self.referrers = put.index("team/web", f"sha256-{self.old_child['digest'][7:]}", [self.sbom])

    @property
    def goes(self):
        web = [self.old, self.old_child, self.signature, self.sbom, self.referrers]
        return {f"team/web@{one['digest']}" for one in web}


def read(client, repository, digest):
    return json.loads(client.manifest(repository, digest).body)


def all_manifests(registry):
    """Every manifest that a registry's storage has, by repository."""
    root = registry.storage / "docker/registry/v2/repositories"
    links = root.glob("*/*/_manifests/revisions/sha256/*/link")
    return {f"{'/'.join(link.relative_to(root).parts[:2])}@{link.read_text()}" for link in links}


def test_prune_deletes_the_plan_and_nothing_else(place, tmp_path):
    """With manifests that several tags share, indexes that share children, signatures, referrers, and kept tags."""
    shelf = Shelf(place)
    before, plan = all_manifests(place), tmp_path / "plan.json"
    written = len(place.written())
    arguments = ["--registry", place.address, "--keep-last", 2, "--keep", "1.1", "--kept"]
    said = images("prune", *arguments, "team/app", "--plan", tmp_path / "none.json")
    assert "5 stay. Nothing to do." in said
    assert "the same manifest as stable" in said
    shown = images("prune", "--registry", place.address, "--keep-last", 1, "team/*", "--plan", plan, "--format", "json")
    assert written == len(place.written()), "a plan only looks"
    rows = json.loads(shown[: shown.rindex("]") + 1])
    planned = {row["image"].removeprefix(f"{place.address}/") for row in rows}
    expected = {*shelf.goes, *(f"team/app@{shelf.single[n]['digest']}" for n in (1, 2))}
    assert expected == planned
    assert "7 deleted." in images("apply", plan, "--registry", place.address)
    assert before - all_manifests(place) == expected
    deleted = [path for method, path, _ in place.written()[written:]]
    assert sorted(deleted) == sorted(f"/v2/{one.replace('@', '/manifests/')}" for one in expected)
    for kept in (
        "app:1.0",
        "app:1.3",
        "app:stable",
        "web:2.0",
        "web:side",
        f"web:sha256-{shelf.new['digest'][7:]}.sig",
    ):
        pulled = tmp_path / kept.replace(":", "-")
        run(
            "skopeo",
            "copy",
            "--all",
            "--src-tls-verify=false",
            f"docker://{place.address}/team/{kept}",
            f"dir:{pulled}",
        )
    assert "7 done already." in images("apply", plan, "--registry", place.address)


def test_what_nobody_pulls_is_pruned(place, tmp_path):
    """By what regstats saw of real clients; with SQL, the same. Of what it never saw, since it watches."""
    put = Contents(place.address)
    made = {tag: put.image("team/app", tag, tag)["digest"] for tag in ("old", "used", "checked", "scanned", "fresh")}
    put.image("team/app", "unseen", "unseen", created="1970-01-01T00:00:00Z")
    store = Store(tmp_path / "store", create=True)
    pushes = [make_push(tag=tag, digest=digest, at=NOW - days(200)) for tag, digest in made.items() if tag != "fresh"]
    journalled(store, *map(envelope, [
        *pushes, make_push(tag="fresh", digest=made["fresh"], at=NOW - days(3)),
        make_event(tag="used", digest=made["used"], at=NOW - days(20)),
        make_event(tag="checked", digest=made["checked"], at=NOW - days(20), method="HEAD"),
        make_event(tag="scanned", digest=made["scanned"], at=NOW - days(20), user_agent="regstats/0.1.0"),
    ]))  # fmt: skip
    common = ["--registry", place.address, "--data", store.root]
    said = images("prune", "--unpulled-for", "90d", *common, "--kept")
    gone = [line for line in said.splitlines() if line.startswith(" delete")]
    assert ["old", "scanned", "unseen"] == sorted(line.split()[-1] for line in gone)
    assert "used or pushed 17 days ago" in said
    elsewhere = f"localhost:{place.port}/team/app"
    rows = json.loads(images("ls", "team/app", elsewhere, *common, "--format", "json"))
    assert [False] * 6 + [True] * 6 == [row["idle_days"] is None for row in rows], "events are of one registry"
    rows = json.loads(images("ls", "--where", "pulls = 0 and idle_days > 90", *common, "--format", "json"))
    assert ["old", "scanned", "unseen"] == sorted(row["tag"] for row in rows)
    assert "3 deleted." in images("delete", "--where", "pulls = 0 and idle_days > 90", *common, "--yes")
    assert {"checked", "fresh", "used"} == {name.partition(":")[2] for name in at(place)}


def test_what_no_tag_points_to_any_more(place, tmp_path):
    """As regstats saw it: but not what a used one lists, what is attached, or what somebody pulls by its digest."""
    put = Contents(place.address)
    children = [put.image("team/app", None, f"child-{n}") for n in range(3)]
    used, unused = put.index("team/app", "used", children[:2]), put.index("team/app", "unused", children[1:])
    pinned, lost = put.image("team/app", "latest", "pinned"), put.image("team/app", "latest", "lost")
    now = put.image("team/app", "latest", "now")
    sbom = put.image("team/app", None, "sbom", subject=now)
    for tag in ("used", "unused"):
        put.put("team/app", tag, MANIFEST, read(put.client, "team/app", now["digest"]))
    store = Store(tmp_path / "store", create=True)
    old, pushed = NOW - days(200), [("used", used), ("unused", unused), ("latest", pinned), ("latest", lost)]
    untagged = [*children, sbom]
    journalled(store, *map(envelope, [
        *(make_push(tag=None, digest=one["digest"], at=old) for one in untagged),
        *(make_push(tag=tag, digest=one["digest"], at=old + days(n)) for n, (tag, one) in enumerate(pushed)),
        *(make_push(tag=tag, digest=now["digest"], at=old + days(9)) for tag in ("used", "unused", "latest")),
        make_event(tag=None, digest=pinned["digest"], at=NOW - days(2)),
        make_event(tag=None, digest=used["digest"], at=NOW - days(2)),
    ]))  # fmt: skip
    common = ["--registry", place.address, "--data", store.root, "--keep", "latest"]
    assert "--untagged needs" in images("prune", "--untagged", "--keep-last", 1, *common, status=2)
    before = all_manifests(place)
    assert "3 deleted." in images("prune", "--untagged", "--unpulled-for", "90d", *common, "--yes")
    gone = {f"team/app@{one['digest']}" for one in (unused, lost, children[2])}
    assert gone == before - all_manifests(place)


def test_without_a_store(place, tmp_path):
    """Nothing is known, so nothing goes."""
    Contents(place.address).image("team/app", "1.0", "one")
    common = ["--registry", place.address, "--data", tmp_path / "none"]
    assert "no store" in images("prune", "--unpulled-for", "90d", *common, status=1)
    assert "are not known" in images("delete", "--where", "pulls = 0", *common)
    assert ["team/app:1.0"] == list(at(place))
    assert "There are: repository, tag" in images("ls", "--where", "pull = 0", *common, status=2)


def test_what_has_changed_since_is_refused(place, tmp_path):
    """As a whole, before anything is done: a tag that moved, one that is new, a target that is taken."""
    put, plan = Contents(place.address), tmp_path / "plan.json"
    for tag in ("1.0", "1.1", "2.0"):
        put.image("team/app", tag, tag)
    common = ["--registry", place.address]
    images("delete", "team/app:1.*", *common, "--plan", plan)
    put.put("team/app", "rescue", MANIFEST, read(put.client, "team/app", "1.0"))
    before = at(place)
    said = images("apply", plan, *common, status=1)
    assert "Nothing was done, because it is not as it was planned:" in said
    assert f"{place.address}/team/app:rescue points to {before['team/app:1.0']}, and pointed to nothing." in said
    assert before == at(place)
    images("delete", "team/app:1.1", *common, "--plan", plan)
    put.image("team/app", "2.0", "moved")
    assert "app:2.0 points to" in images("apply", plan, *common, status=1)
    images("tag", "team/app:1.0", "1", *common, "--plan", plan)
    put.image("team/app", "1", "another")
    before = at(place)
    assert "app:1 points to" in images("apply", plan, *common, status=1)
    assert before == at(place)
    plan.write_text('{"steps": 1}')
    assert "is not a plan" in images("apply", plan, *common, status=1)


def test_copies_have_all_platforms_and_the_same_bytes(place, other):
    """To another registry, and at the same one without a byte being sent; what is there is not sent again."""
    put = Contents(place.address)
    children = [put.image("team/app", None, f"one-{n}", architecture=f"a{n}") for n in range(3)]
    index = put.index("team/app", "1.0", children)
    sent = len(place.written())
    common = ["--registry", place.address, "--yes"]
    assert "1 copied." in images("copy", "team/app:1.0", "--to", f"{place.address}/again", *common)
    mounts = [path for method, path, status in place.written()[sent:] if method == "POST"]
    assert len(mounts) == len([path for path in mounts if "mount=" in path]) == 6
    assert [] == [path for method, path, _ in place.requests() if method == "GET" and "/blobs/" in path]
    assert {"again/team/app:1.0": index["digest"], "team/app:1.0": index["digest"]} == at(place)
    arguments = ["copy", "team/app:1.0", "--to", other.address, *common]
    assert "1 copied." in images(*arguments)
    assert put.client.manifest("team/app", "1.0") == Contents(other.address).client.manifest("team/app", "1.0")
    for child in children:
        assert Contents(other.address).client.manifest("team/app", child["digest"])
    sent = len(other.written())
    assert "1 done already." in images(*arguments)
    assert sent == len(other.written())


def test_what_is_attached_is_copied_too(place, other):
    """If that is asked for: by tags of its own, to platforms as well, and what refers to it."""
    shelf = Shelf(place)
    arguments = ["copy", "team/web:1.0", "--to", other.address, "--registry", place.address, "--yes"]
    assert "1 copied." in images(*arguments)
    assert {f"team/web@{one['digest']}" for one in (shelf.old, shelf.shared, shelf.old_child, shelf.tagged_child)} == (
        all_manifests(other)
    )
    assert "3 copied, 1 done already." in images(*arguments, "--attached")
    assert shelf.goes - all_manifests(other) == set()


def test_a_list_brings_tags_back(place, tmp_path):
    """To what they pointed to, as long as it is there."""
    put, listed = Contents(place.address), tmp_path / "list.txt"
    for tag in ("1.0", "latest"):
        put.image("team/app", tag, tag)
    before = at(place)
    images("export", "--registry", place.address, "--output", listed)
    assert [f"{name}@{digest}" for name, digest in sorted(before.items())] == listed.read_text().splitlines()
    put.image("team/app", "latest", "broken")
    assert "1 tagged, 1 done already." in images("import", listed, "--registry", place.address, "--yes")
    assert before == at(place)
    listed.write_text(f"team/app:latest@sha256:{'0' * 64}\n")
    assert "is not there any more" in images("import", listed, "--registry", place.address, status=2)


def test_a_tag_alone(place):
    """The registry cannot delete one and leave its manifest; it says so, and nothing is deleted."""
    put = Contents(place.address)
    for tag in ("1.0", "latest"):
        put.image("team/app", tag, "same")
    said = images("delete", "team/app:1.0", "--registry", place.address, "--yes", status=1)
    assert "cannot be deleted alone, and its manifest is needed (the same manifest as latest)" in said
    assert ["team/app:1.0", "team/app:latest"] == list(at(place))


# Who asks


@pytest.fixture
def with_tokens(tmp_path):
    """A registry that wants tokens, and who gives them."""
    needs("docker-registry")
    folder = tmp_path / "guarded"
    folder.mkdir()
    with token_service() as service:
        (folder / "root.pem").write_bytes(service.root)
        with running(folder / "registry", (AUTH % service.port).replace("{folder}", str(folder))) as registry:
            registry.service = service
            yield registry


def test_a_registry_with_tokens(with_tokens, tmp_path):
    """Everything that changes something gets a token for just that; who may not is told so in a line."""
    put = Contents(with_tokens.address, Login("alice", USERS["alice"]))
    image = put.image("team/app", "1.0", "one")
    alice = ["--registry", with_tokens.address, "--username", "alice", "--password-stdin"]
    assert "1.0" in images("ls", *alice, "--brief", input=USERS["alice"])
    assert "1 tagged." in images("tag", "team/app:1.0", "latest", *alice, "--yes", input=USERS["alice"])
    assert "1 copied." in images(
        "copy", "team/app:1.0", "--to", f"{with_tokens.address}/again", *alice, "--yes", input=USERS["alice"]
    )
    # In which order a registry names several rights is chance.
    asked = [
        sorted(scope.replace("push,pull", "pull,push") for scope in scopes)
        for user, scopes in with_tokens.service.asked
        if user == "alice"
    ]
    assert ["repository:again/team/app:pull,push", "repository:team/app:pull"] in asked
    wrong = images("ls", *alice, "--brief", status=1, input="wrong")
    assert [
        f"regstats: The token service of {with_tokens.address} refuses alice: wrong user or password."
    ] == wrong.splitlines()
    assert "wants a login" in images("ls", "--registry", with_tokens.address, status=1)
    reader = ["--registry", with_tokens.address, "--username", "reader", "--password-stdin"]
    said = images("tag", "team/app:1.0", "2", *reader, "--yes", status=1, input=USERS["reader"])
    assert "1 failed." in said
    assert "refuses reader" in said or "does not allow reader" in said
    assert put.client.digest("team/app", "2") is None
    login = json.dumps({"auths": {with_tokens.address: {"identitytoken": REFRESH}}})
    (tmp_path / "home" / "config.json").write_text(login)
    assert image["digest"] in images("export", "team/app:1.0", "--registry", with_tokens.address)


@pytest.mark.parametrize("where", ["docker", "podman", "helper"])
def test_a_registry_with_passwords(registry, collector, tmp_path, monkeypatch, where):
    """As `docker login` or `podman login` left it, or as a helper says it; a wrong one is a line."""
    auth = {"auth": base64.b64encode(b"alice:alice-password").decode()}
    helper = tmp_path / "bin" / "docker-credential-test"
    helper.parent.mkdir()
    helper.write_text(
        '#!/bin/sh\nread server\necho "{\\"Username\\": \\"alice\\", \\"Secret\\": \\"alice-password\\"}"\n'
    )
    helper.chmod(0o755)
    monkeypatch.setenv("PATH", f"{helper.parent}:{os.environ['PATH']}")
    said = {"credHelpers": {registry.address: "test"}} if where == "helper" else {"auths": {registry.address: auth}}
    file = tmp_path / ("auth.json" if where == "podman" else "home/config.json")
    file.write_text(json.dumps(said))
    if where == "podman":
        monkeypatch.setenv("REGISTRY_AUTH_FILE", str(file))
    Contents(registry.address, Login("alice", "alice-password")).image("team/app", "1.0", "one")
    assert "team/app" in images("ls", "--brief", "--registry", registry.address)
    wrong = images(
        "ls", "--registry", registry.address, "--username", "bob", "--password-stdin", status=1, input="wrong"
    )
    assert wrong.startswith(f"regstats: {registry.address} refuses bob: wrong user or password")
    assert 1 == len(wrong.splitlines())


def test_tls_with_a_certificate_of_ones_own(tmp_path, monkeypatch):
    """Known by the file of who vouches for it, or as this machine trusts it; else refused, unless it may be anybody."""
    needs("docker-registry")
    ca = trustme.CA()
    ca.cert_pem.write_to_path(tmp_path / "ca.pem")
    own = ca.issue_cert("127.0.0.1", "localhost")
    own.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    own.private_key_pem.write_to_path(tmp_path / "key.pem")
    names = {"REGISTRY_HTTP_TLS_CERTIFICATE": "cert", "REGISTRY_HTTP_TLS_KEY": "key"}
    environment = {name: str(tmp_path / f"{file}.pem") for name, file in names.items()}
    with running(tmp_path / "registry", **environment) as registry:
        assert "certificate" in images("ls", "--registry", registry.address, "--secure", status=1)
        for trust in (["--ca", tmp_path / "ca.pem", "--secure"], ["--insecure"], []):
            assert "[]" in images("ls", "--brief", "--registry", registry.address, *trust, "--format", "json")
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
        assert "[]" in images(
            "ls", "--brief", "--registry", f"https://{registry.address}", "--secure", "--format", "json"
        )


def test_what_is_looked_at_is_not_counted(collector, registry, patiently):
    """Neither as a pull nor as a use; what is pushed is, as anybody's."""
    collector.start()
    put = Contents(registry.address, Login("alice", "alice-password"))
    put.image("team/app", "1.0", "one")
    alice = ["--registry", registry.address, "--username", "alice", "--password-stdin"]
    images("ls", *alice, input="alice-password")
    images("tag", "team/app:1.0", "latest", *alice, "--yes", input="alice-password")
    client = ("--by", "tag,client", "--interval", "total")
    pushed = [{"tag": tag, "client": "regstats", "pushes": 1, "updates": 1, "deletes": 0} for tag in ("1.0", "latest")]
    patiently(pushed, lambda: sorted(collector.ask("pushes", *client), key=lambda row: row["tag"]))
    assert [] == collector.ask("pulls", *client)
    everybody = "select count(*) as looked from events where action = 'pull' and client = 'regstats'"
    rows = exported(collector, everybody)
    assert 0 < rows[0]["looked"], "they are in the store all the same"


def exported(collector, query):
    """The rows of a query."""
    command = [sys.executable, "-m", "regstats", "export", "--data", str(collector.data), "--sql", query]
    return json.loads(subprocess.run([*command, "--format", "json"], capture_output=True, check=True).stdout)
