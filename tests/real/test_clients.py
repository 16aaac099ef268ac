"""Real clients: k pulls are k pulls, whatever requests they took."""

import pytest

K = 3


@pytest.mark.slow
def test_pulls_of_single_and_multi_platform_images_by_tag_and_by_digest(
    collector, registry, skopeo, cold_pull, make_image, patiently
):
    """All in one repository, one after another: each counts once, by its tag or its digest, and is a download."""
    collector.start()
    single, index = make_image("single"), make_image("index", platforms=("amd64", "arm64"))
    skopeo.push(single, "team/app:single")
    skopeo.push(index, "team/app:index")
    for _ in range(K):
        cold_pull("team/app:single")
        cold_pull("team/app:index")
        cold_pull(f"team/app@{single.digest}")
        cold_pull(f"team/app@{index.digest}")
    names = [(single.digest, "single"), (index.digest, "index"), (single.digest, None), (index.digest, None)]
    expected = dict.fromkeys(names, (K, K))
    patiently(expected, lambda: pulls(collector, cold_pull.client))
    assert 0 == collector.total("pulls", "version_checks", "--client", cold_pull.client)
    assert 2 == collector.total("pushes", "pushes")


def pulls(collector, client):
    """(digest, tag) → pulls and downloads of a client."""
    rows = collector.ask("pulls", "--interval", "total", "--by", "digest,tag", "--client", client)
    return {(row["digest"], row["tag"]): (row["pulls"], row["downloads"]) for row in rows}


@pytest.mark.slow
def test_docker_that_has_the_image_checks_and_does_not_pull(collector, registry, skopeo, docker, make_image, patiently):
    """What "Image is up to date" means, is no pull."""
    collector.start()
    image = make_image("one")
    skopeo.push(image, "team/app:1")
    for _ in range(3):
        docker("pull", f"{registry.address}/team/app:1")
    patiently({(image.digest, "1"): (1, 1)}, lambda: pulls(collector, "docker"))
    patiently(2, lambda: collector.total("pulls", "version_checks", "--client", "docker"))


@pytest.mark.slow
def test_what_docker_pushes_is_no_pull(collector, registry, skopeo, docker, make_image, patiently):
    """Though it looks at every layer."""
    collector.start()
    skopeo.push(make_image("one"), "team/app:1")
    docker("pull", f"{registry.address}/team/app:1")
    for tag in ("2", "3"):
        docker("tag", f"{registry.address}/team/app:1", f"{registry.address}/team/app:{tag}")
        docker("push", f"{registry.address}/team/app:{tag}")
    patiently(2, lambda: collector.total("pushes", "pushes", "--client", "docker"))
    assert 1 == collector.total("pulls", "pulls", "--client", "docker")
    assert 1 == collector.total("pulls", "requests", "--client", "docker") - 1


@pytest.mark.slow
def test_looking_something_up_to_delete_it_is_no_pull(collector, registry, skopeo, make_image, patiently):
    """Skopeo GETs the manifest before it deletes it."""
    collector.start()
    skopeo.push(make_image("one"), "team/app:1")
    skopeo.delete("team/app:1")
    patiently(1, lambda: collector.total("pushes", "deletes"))
    assert 0 == collector.total("pulls", "pulls")
    assert 1 == collector.total("pulls", "requests")
