"""Pushes as each of the registries sends them: payloads and headers, made anew, each of which happened once."""

import base64
import json

from makers import MANIFEST

from regstats.payloads import DIALECTS

UNTOLD = ("quay", "dockerhub", "gitea", "nexus")
"""Those that do not tell the digest of what is pushed with a tag."""


def push(dialect, repository, tag, digest, number, at):
    """Headers and body of a push; `number` makes an id, where there is one."""
    headers, payload = MAKERS[dialect](repository, tag, digest, f"{dialect}-{number}", at)
    return headers, json.dumps(payload).encode()


def envelope(repository, tag, digest, name, at, action="push", method="PUT", **actor):
    target = {"mediaType": MANIFEST, "digest": digest, "size": 7, "repository": repository, "tag": tag}
    request = {"id": name, "addr": "192.0.2.7", "method": method, "useragent": "docker/27.0"}
    event = {"id": name, "timestamp": at.isoformat(), "action": action, "target": target, "request": request}
    return {}, {"events": [event | {"actor": {"name": "alice"} | actor}]}


def gitlab(*args, **more):
    return envelope(*args, **more, user_type="build")


def harbor(repository, tag, digest, name, at, kind="harbor.artifact.pushed"):
    data = {"resources": [{"digest": digest, "tag": tag}], "repository": {"repo_full_name": repository}}
    return {}, {"specversion": "1.0", "id": name, "type": kind, "time": at.isoformat(), "data": data, "operator": "bob"}


def zot(repository, tag, digest, name, at):
    headers = {"Ce-Id": name, "Ce-Type": "zotregistry.image.updated", "Ce-Time": at.isoformat()}
    return headers, {"name": repository, "reference": tag, "digest": digest, "mediaType": MANIFEST}


def quay(repository, tag, *_):
    return {}, {"repository": repository, "docker_url": f"quay.example/{repository}", "updated_tags": [tag]}


def acr(repository, tag, digest, name, at):
    target = {"mediaType": MANIFEST, "digest": digest, "repository": repository, "tag": tag}
    return {}, {"id": name, "timestamp": at.isoformat(), "action": "push", "target": target}


def dockerhub(repository, tag, _digest, _name, at):
    pushed = {"tag": tag, "pusher": "alice", "pushed_at": at.timestamp()}
    return {}, {"push_data": pushed, "repository": {"repo_name": repository}}


def aliyun(repository, tag, digest, _name, at):
    pushed = {"tag": tag, "digest": digest, "pushed_at": f"{at:%Y-%m-%d %H:%M:%S}"}
    return {}, {"push_data": pushed, "repository": {"repo_full_name": repository, "region": "cn-beijing"}}


def github(repository, tag, digest, name, at):
    owner, _, package = repository.partition("/")
    version = {"container_metadata": {"tag": {"name": tag, "digest": digest}}, "updated_at": at.isoformat()}
    said = {"name": package, "namespace": owner, "package_type": "CONTAINER", "package_version": version}
    return {"X-GitHub-Delivery": name}, {"action": "published", "registry_package": said}


def gitea(repository, tag, _digest, name, at):
    owner, _, package = repository.partition("/")
    said = {"type": "container", "name": package, "version": tag, "owner": {"login": owner}}
    return {"X-Gitea-Delivery": name}, {"action": "created", "package": said | {"created_at": at.isoformat()}}


def artifactory(repository, tag, digest, *_):
    key, _, image = repository.partition("/")
    said = {"repo_key": key, "image_name": image, "tag": tag, "sha256": digest.removeprefix("sha256:")}
    return {}, {"domain": "docker", "event_type": "pushed", "data": said, "source": "jfrog/alice"}


def nexus(repository, tag, _digest, name, at):
    said = {"format": "docker", "name": repository, "version": tag}
    payload = {"timestamp": at.isoformat(), "repositoryName": "docker", "action": "UPDATED", "component": said}
    return {"X-Nexus-Webhook-Delivery": name}, payload


def ecr(repository, tag, digest, name, at):
    detail = {"repository-name": repository, "image-tag": tag, "image-digest": digest, "action-type": "PUSH"}
    about = {"id": name, "detail-type": "ECR Image Action", "source": "aws.ecr", "time": at.isoformat()}
    return {}, about | {"detail": detail | {"result": "SUCCESS"}}


def gar(repository, tag, digest, name, at):
    where = f"europe-docker.pkg.dev/{repository}"
    said = {"action": "INSERT", "digest": f"{where}@{digest}", "tag": f"{where}:{tag}"}
    data = base64.b64encode(json.dumps(said).encode()).decode()
    return {}, {"message": {"data": data, "messageId": name, "publishTime": at.isoformat()}}


MAKERS = {
    "distribution": envelope, "gitlab": gitlab, "harbor": harbor, "zot": zot, "quay": quay, "acr": acr,
    "dockerhub": dockerhub, "aliyun": aliyun, "github": github, "gitea": gitea, "artifactory": artifactory,
    "nexus": nexus, "ecr": ecr, "gar": gar,
}  # fmt: skip
EXPORTS = {"harbor_audit", "dockerhub_csv"}
"""Dialects of what is downloaded, and not sent."""
assert set(DIALECTS) - EXPORTS == set(MAKERS), "a dialect of which no push can be made"
RETRIED = set(MAKERS) - {"quay", "dockerhub", "aliyun", "artifactory"}
"""Those whose sender says when it sends the same again."""
