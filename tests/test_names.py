"""Names of images."""

import pytest

from regstats.errors import ParameterError
from regstats.names import Name, familiar, fits, is_digest, is_valid, parse

A = "sha256:" + "a" * 64
HERE = "127.0.0.1:5000"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("app", Name(HERE, "app", "latest")),
        ("team/app:1.0", Name(HERE, "team/app", "1.0")),
        ("registry.example/app:1", Name("registry.example", "app", "1")),
        ("localhost/team/app", Name("localhost", "team/app", "latest")),
        ("registry:5000/app", Name("registry:5000", "app", "latest")),
        ("[::1]:5000/app:1", Name("[::1]:5000", "app", "1")),
        (f"team/app@{A}", Name(HERE, "team/app", None, A)),
        (f"team/app:1.0@{A}", Name(HERE, "team/app", "1.0", A)),
        ("docker.io/alpine:3", Name("docker.io", "library/alpine", "3")),
        ("docker.io/team/app", Name("docker.io", "team/app", "latest")),
        ("a/b/c-d__e.f:V1_2-3", Name(HERE, "a/b/c-d__e.f", "V1_2-3")),
    ],
)
def test_names(text, expected):
    """As docker reads them; and written, they are read the same again."""
    assert expected == parse(text, HERE)
    assert expected == parse(str(expected), "elsewhere:1")


@pytest.mark.parametrize("text", [
    "", "Team/app", "team//app", "../app", "team/app:-1", "team/app:a b", "team/app@sha256:12", "-app",
    f"app:{'t' * 129}", "team/app:1\n", "team/\u202eapp", "http://registry/app", "registry:port/app", "team/app:1/2",
])  # fmt: skip
def test_what_is_no_name(text):
    """It is said which part is wrong, and nothing is asked of anybody."""
    with pytest.raises(ParameterError, match="is not the name of an image"):
        parse(text, HERE)


def test_by_what_a_registry_is_asked():
    """By the digest, if there is one: a tag may be another by now."""
    assert A == parse(f"app:1@{A}", HERE).reference
    assert "1" == parse("app:1", HERE).reference


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("docker.io/library/alpine:3", "alpine:3"),
        ("docker.io/team/app:1", "team/app:1"),
        ("localhost/team/app:1", "team/app:1"),
        ("127.0.0.1:5000/team/app:1", "team/app:1"),
        ("registry.example/library/app:1", "library/app:1"),
        ("team/app:1", "team/app:1"),
    ],
)
def test_as_people_write_it(text, expected):
    """Without where it came from; Docker Hub's library is nobody's."""
    assert expected == familiar(text)


@pytest.mark.parametrize(
    ("glob", "expected"),
    [
        ("team/*", True), ("*", True), ("team/app", True), ("team/app:1.*", True), ("*:1.0", True),
        ("team/*:[12].0", True), ("team", False), ("app", False), ("team/app:1", False), ("team/*:2*", False),
        ("TEAM/*", False),
    ],
)  # fmt: skip
def test_globs(glob, expected):
    """They fit all of a name."""
    assert expected == fits(glob, "team/app", "1.0")


def test_what_a_registry_may_say():
    """Anything; what can be no name is none."""
    assert is_valid("team/app", "1.0")
    assert not any((is_valid("../etc", "1"), is_valid("a", "../x"), is_valid("a", ""), is_valid("a\n", "1")))
    assert is_digest(A)
    assert not any(map(is_digest, ("sha256:", "sha256", f"{A}\n", f"../{A}", "latest")))
