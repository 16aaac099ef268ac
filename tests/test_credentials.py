"""Who we are at a registry."""

import base64
import json
import stat

import pytest

from regstats import credentials
from regstats.credentials import Login, find, for_engine
from regstats.errors import ConfigError

HERE = "registry.example:5000"


def encoded(user, password):
    return {"auth": base64.b64encode(f"{user}:{password}".encode()).decode()}


@pytest.fixture
def home(tmp_path):
    """Variables as they would be for somebody whose files are here, and the files."""

    def write(path, said):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(said if isinstance(said, str) else json.dumps(said))
        return write

    write.environ = {"HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path / "run")}
    write.find = lambda registry=HERE, repository="": find(registry, repository, write.environ)
    return write


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        (encoded("alice", "a:b"), Login("alice", "a:b")),
        ({"username": "alice", "password": "x"}, Login("alice", "x")),
        ({"identitytoken": "t"} | encoded("<token>", ""), Login(identity_token="t")),
        ({}, None),
    ],
)
def test_what_docker_login_leaves(home, entry, expected):
    """In its file, in each way that it may be there."""
    home(".docker/config.json", {"auths": {HERE: entry}})
    assert expected == home.find()
    assert home.find("other.example") is None


@pytest.mark.parametrize("key", ["https://index.docker.io/v1/", "index.docker.io", "docker.io"])
def test_docker_hub_has_many_names(home, key):
    home(".docker/config.json", {"auths": {key: encoded("alice", "x")}})
    assert Login("alice", "x") == home.find("docker.io") == home.find("registry-1.docker.io")


def test_podman_may_have_one_for_a_part(home):
    """The longest name counts; nothing is found for what only begins alike."""
    home("run/containers/auth.json", {"auths": {HERE: encoded("all", "x"), f"{HERE}/team": encoded("team", "y")}})
    assert Login("team", "y") == home.find(HERE, "team/app")
    assert Login("all", "x") == home.find(HERE, "teams/app") == home.find()


def test_the_first_file_that_has_something_counts(home, tmp_path):
    """$REGISTRY_AUTH_FILE, Docker's, podman's."""
    home(".config/containers/auth.json", {"auths": {HERE: encoded("fourth", "x")}})
    assert "fourth" == home.find().user
    home("run/containers/auth.json", {"auths": {HERE: encoded("third", "x")}})
    assert "third" == home.find().user
    home("docker/config.json", {"auths": {HERE: encoded("second", "x")}})
    home.environ["DOCKER_CONFIG"] = str(tmp_path / "docker")
    assert "second" == home.find().user
    home("own.json", {"auths": {}})
    home.environ["REGISTRY_AUTH_FILE"] = str(tmp_path / "own.json")
    assert "second" == home.find().user
    home("own.json", {"auths": {HERE: encoded("first", "x")}})
    assert "first" == home.find().user


@pytest.mark.parametrize(
    "said",
    ["{", [], {"auths": [1]}, {"auths": {HERE: {"auth": "?"}}}, {"auths": {HERE: 1}}, {"auths": {HERE: {"auth": 1}}}],
)
def test_a_file_that_is_none(home, said):
    home(".docker/config.json", said)
    with pytest.raises(ConfigError, match=r"config\.json, where logins are"):
        home.find()


@pytest.fixture
def helper(tmp_path, monkeypatch):
    """A program that keeps logins."""

    def make(script):
        path = tmp_path / "bin" / "docker-credential-test"
        path.parent.mkdir()
        path.write_text(f"#!/bin/sh\nread server\n{script}\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setenv("PATH", f"{path.parent}:/usr/bin:/bin")

    return make


SAYS = """[ "$1" = get ] && echo "{\\"Username\\": \\"%s\\", \\"Secret\\": \\"of $server\\"}" """


@pytest.mark.parametrize("config", [{"credsStore": "test"}, {"credHelpers": {HERE: "test"}, "auths": {HERE: {}}}])
def test_a_helper(home, helper, config):
    """For everything, or for one registry; it may know a token instead of a password."""
    helper(SAYS % "alice")
    home(".docker/config.json", config)
    assert Login("alice", f"of {HERE}") == home.find()


def test_a_helper_with_a_token(home, helper):
    helper(SAYS % "<token>")
    home(".docker/config.json", {"credsStore": "test", "auths": {f"https://{HERE}": {}}})
    assert Login(identity_token=f"of https://{HERE}") == home.find()


def test_a_helper_that_knows_nothing(home, helper):
    helper("echo credentials not found in native keychain; exit 1")
    home(".docker/config.json", {"credsStore": "test"})
    assert home.find() is None


@pytest.mark.parametrize(("script", "why"), [("echo locked; exit 1", "says: locked"), ("echo {}", "is not as docker")])
def test_a_helper_that_fails(home, helper, script, why):
    helper(script)
    home(".docker/config.json", {"credsStore": "test"})
    with pytest.raises(ConfigError, match=why):
        home.find()


def test_a_helper_that_is_not_there(home, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    home(".docker/config.json", {"credsStore": "nowhere"})
    with pytest.raises(ConfigError, match="docker-credential-nowhere, which keeps the login"):
        home.find()


def test_for_engines():
    """Nobody is said to be nobody, or they would look for themselves."""
    assert {} == for_engine(None)
    assert {"username": "alice", "password": "x"} == for_engine(Login("alice", "x"))
    assert {"identitytoken": "t"} == for_engine(Login(identity_token="t"))


def test_a_password_is_not_shown():
    assert "secret" not in repr(Login("alice", "secret", "secret"))
    assert credentials.Login("a") != Login("b")
