"""Which program is behind a User-Agent: the client families of real registries' events.

User agents are text that anybody can choose, so nothing here fails on odd ones, and no pattern backtracks.
"""

import re
from functools import lru_cache

# The product token at the start of the header → the name that people use for the client. In this order: dockerd says
# "docker/…", the docker command line, where it speaks to a registry itself, "Docker-Client/…"; podman, CRI-O and
# whatever else is built on containers/image without a name of its own say "containers/…".
_CLIENTS = {
    "docker": "docker",
    "docker-client": "docker-cli",
    "containerd": "containerd",
    "containers": "podman",
    "skopeo": "skopeo",
    "buildah": "buildah",
    "buildkit": "buildkit",
    "crane": "crane",
    "go-containerregistry": "go-containerregistry",
    "oras": "oras",
    "kaniko": "kaniko",
    "helm": "helm",
    "cosign": "cosign",
    "trivy": "trivy",
    "harbor-registry-client": "harbor",
    "regstats": "regstats",
    "regstats-images": "regstats",
    "azurecontainerregistry": "acr",
    "go-http-client": "go-http-client",
    "curl": "curl",
    "wget": "wget",
    "python-requests": "python-requests",
}
_PRODUCT = re.compile(r"([A-Za-z][A-Za-z0-9._-]{0,63})(?:/([^\s,;()]{1,64}))?")


@lru_cache(maxsize=4096)
def client_of(user_agent: str | None) -> tuple[str | None, str | None]:
    """Which client, in which version? `(None, None)` without a user agent; `("other", None)` for an unknown one.

    >>> client_of("containerd/1.7.24~ds1")
    ('containerd', '1.7.24~ds1')
    """
    if not user_agent:
        return None, None
    product = _PRODUCT.match(user_agent)
    name = _CLIENTS.get(product[1].lower()) if product else None
    if product is None or name is None:
        return "other", None
    return name, product[2]
