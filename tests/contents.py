"""What tests put into a registry, through our own client: images, indexes of them, and what is attached to others."""

import json

from makers import INDEX, MANIFEST

from regstats.registry import Client, Descriptor, Manifest, digest_as, once
from regstats.session import Session

CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"


class Contents:
    """Puts things into a registry."""

    def __init__(self, address, login=None):
        self.client = Client(Session(address, login))

    def blob(self, repository, data, media_type=LAYER):
        part = Descriptor(digest_as("", data), media_type, len(data))

        self.client.add(repository, part, once(data, part), None)
        return described(part)

    def image(self, repository, tag, seed, *, created="2026-11-24T00:00:00Z", architecture="amd64", subject=None):
        """An image of one layer; without a tag by its digest alone."""
        config = {"architecture": architecture, "os": "linux", "created": created, "seed": seed}
        content = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": self.blob(repository, json.dumps(config).encode(), CONFIG),
            "layers": [self.blob(repository, f"layer of {seed}".encode())],
        } | ({"subject": subject} if subject else {})
        return self.put(repository, tag, MANIFEST, content)

    def index(self, repository, tag, children):
        """An index of manifests."""
        content = {"schemaVersion": 2, "mediaType": INDEX, "manifests": children}
        return self.put(repository, tag, INDEX, content)

    def put(self, repository, tag, media_type, content):
        body = json.dumps(content).encode()
        manifest = Manifest(digest_as("", body), media_type, body)
        self.client.put(repository, tag or manifest.digest, manifest)
        return {"mediaType": media_type, "digest": manifest.digest, "size": len(body)}


def described(part):
    return {"mediaType": part.media_type, "digest": part.digest, "size": part.size}
