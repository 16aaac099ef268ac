"""What clients do: which requests, in which order, with which method, and which of them name the tag.

Measured of docker, containerd, podman, skopeo, buildah and crane at a real registry. Helm, cosign and trivy do what
their documentation and the libraries under them say: Helm resolves a tag first, as containerd does; the other two are
built on go-containerregistry, as crane is.
"""

from regstats.sample.registry import (
    HELM_CHART,
    HELM_CONFIG,
    OCI_CONFIG,
    SIGNATURE,
    Client,
    Image,
    Registry,
    Thing,
)

_ASK_FIRST = ("docker/", "containerd/", "Helm/")
"""They ask HEAD by tag, then GET by digest, without the tag; and only HEAD if they have it. Others GET by tag."""


def pull(registry: Registry, client: Client, repository: str, tag: str) -> None:
    """Takes what the tag points to, and of its layers those that are not there from the last pull."""
    image = registry.tags.get((repository, tag))
    if image is None:
        return  # 404, and no event
    had = registry.had.get((client.address, repository))
    asks_first = client.user_agent.startswith(_ASK_FIRST)
    registry.request(client, "HEAD" if asks_first else "GET", repository, image.manifest, tag=tag)
    if asks_first and had is image:
        return
    if asks_first:
        registry.request(client, "GET", repository, image.manifest)
    _fetch(registry, client, repository, image, had)


def pull_digest(registry: Registry, client: Client, repository: str) -> None:
    """What podman does where a digest is configured: asks for the manifest that it has, again and again."""
    had = registry.had[client.address, repository]
    registry.request(client, "GET", repository, had.manifest)
    _fetch(registry, client, repository, had, had)


def _fetch(registry: Registry, client: Client, repository: str, image: Image, had: Image | None) -> None:
    """The child of an index, the configuration always, new layers."""
    there = set(had.layers) if had else set()
    if image.children:
        registry.request(client, "GET", repository, image.for_platform.manifest)
    for blob in image.for_platform.blobs:
        if blob not in there:
            registry.request(client, "GET", repository, blob)
    if client.keeps:
        registry.had[client.address, repository] = image


def check(registry: Registry, client: Client, repository: str, tag: str) -> None:
    """What a poller does, and `crane digest`."""
    if image := registry.tags.get((repository, tag)):
        registry.request(client, "HEAD", repository, image.manifest, tag=tag)


def push(registry: Registry, client: Client, repository: str, tag: str, image: Image) -> None:
    """Blobs first, then the manifests of platforms, without a tag, last the manifest that the tag will point to."""
    for one in image.children or (image,):
        for blob in (*one.blobs[1:], one.blobs[0]):
            _push_blob(registry, client, repository, blob)
        if one is not image:
            registry.request(client, "PUT", repository, one.manifest)
    registry.request(client, "PUT", repository, image.manifest, tag=tag)
    registry.tags[repository, tag] = image


def _push_blob(registry: Registry, client: Client, repository: str, blob: Thing) -> None:
    """One that is there is asked for with HEAD, one of another repository mounted; dockerd looks at new ones again."""
    homes = registry.homes.setdefault(blob.digest, set())
    is_docker = client.user_agent.startswith("docker/")
    if repository in homes:
        registry.request(client, "HEAD", repository, blob)
        return
    if homes and is_docker:
        registry.request(client, "POST", repository, blob, fromRepository=min(homes))
    else:
        registry.request(client, "PUT", repository, blob)
    if is_docker:
        registry.request(client, "HEAD", repository, blob)
    homes.add(repository)


def retag(registry: Registry, client: Client, repository: str, tag: str, new_tag: str) -> None:
    """`crane tag`: the same manifest under another name, one GET and one PUT."""
    image = registry.tags[repository, tag]
    registry.request(client, "GET", repository, image.manifest, tag=tag)
    registry.request(client, "PUT", repository, image.manifest, tag=new_tag)
    registry.tags[repository, new_tag] = image


def push_chart(registry: Registry, client: Client, repository: str, version: str) -> None:
    """`helm push`: a chart is an image whose configuration has a type of its own."""
    chart = registry.image(registry.layer(4_000, 9_000, HELM_CHART), config=HELM_CONFIG)
    push(registry, client, repository, version, chart)


def sign(registry: Registry, client: Client, repository: str, tag: str) -> None:
    """`cosign sign`: a signature is an image, too, under a tag that is made of the digest."""
    signed = registry.tags[repository, tag]
    registry.request(client, "GET", repository, signed.manifest, tag=tag)
    signature = registry.image(registry.layer(240, 260, SIGNATURE), config=OCI_CONFIG)
    push(registry, client, repository, f"{signed.manifest.digest.replace(':', '-')}.sig", signature)


def delete(registry: Registry, client: Client, repository: str, tag: str) -> None:
    """`skopeo delete`: it asks what the tag points to, and deletes that, with all its tags."""
    image = registry.tags[repository, tag]
    registry.request(client, "GET", repository, image.manifest, tag=tag)
    registry.delete(client, repository, image)


def untag(registry: Registry, client: Client, repository: str, tag: str) -> None:
    """A DELETE by tag, which registries know since version 3."""
    registry.delete_tag(client, repository, tag)
