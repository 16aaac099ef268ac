import pytest

from regstats.useragents import client_of

DOCKERD = (
    "docker/20.10.24+dfsg1 go/go1.19.8 git-commit/5d6db84 kernel/6.1.0 os/linux arch/amd64 "
    r"UpstreamClient(Docker-Client/20.10.24+dfsg1 \(linux\))"
)


@pytest.mark.parametrize(
    ("user_agent", "expected"),
    [
        (DOCKERD, ("docker", "20.10.24+dfsg1")),
        ("Docker-Client/20.10.24 (linux)", ("docker-cli", "20.10.24")),
        ("containerd/1.7.24~ds1", ("containerd", "1.7.24~ds1")),
        ("containers/5.23.1 (github.com/containers/image)", ("podman", "5.23.1")),
        ("skopeo/1.9.3", ("skopeo", "1.9.3")),
        ("Buildah/1.28.2", ("buildah", "1.28.2")),
        ("crane/(devel) go-containerregistry/(devel)", ("crane", None)),
        ("oras/1.2.0", ("oras", "1.2.0")),
        ("kaniko/v1.23.2,upstream", ("kaniko", "v1.23.2")),
        ("Go-http-client/1.1", ("go-http-client", "1.1")),
        ("harbor-registry-client", ("harbor", None)),
        ("curl/7.88.1", ("curl", "7.88.1")),
        ("regstats/0.1.0", ("regstats", "0.1.0")),
        ("regstats-images/0.1.0", ("regstats", "0.1.0")),
        ("docker", ("docker", None)),
        ("somebody/1.0", ("other", None)),
        ("<script>alert(1)</script>", ("other", None)),
        ("dockerish/1", ("other", None)),
        ("/" * 10_000, ("other", None)),
        ("", (None, None)),
        (None, (None, None)),
    ],
)
def test_client_and_version(user_agent, expected):
    """The user agents of real clients, and whatever else somebody writes there."""
    assert expected == client_of(user_agent)
