"""Kubernetes: a container of a Deployment gets another image, and the rollout is waited for.

As `kubectl set image` and `kubectl rollout status` do it.
"""

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from typing import Any

from regstats import extras
from regstats.errors import ActionError
from regstats.requesting import is_passing
from regstats.rules import Kubernetes
from regstats.terminal import visible

_GLANCE = 1.0  # seconds between two looks at the Deployment
_LONGEST = 60.0  # seconds for one request
_RESTARTED = "kubectl.kubernetes.io/restartedAt"
_CONFLICT = 409  # somebody else has changed it meanwhile

_extra = partial(extras.module, extra="kubernetes")


def deploy(target: Kubernetes, deadline: float, say: Callable[[str], None]) -> None:
    """Gives the container the image, and waits until all replicas have it; within so many seconds, or it has failed.

    Raises ActionError, and MissingExtraError without kubernetes.
    """
    client = _extra("kubernetes.client")
    ends = time.monotonic() + deadline
    with _understood(client), _connected(client, target) as connection:
        deployment = _Deployment(client.AppsV1Api(connection), target, min(deadline, _LONGEST))
        _set_image(deployment, target, say)
        state = ""
        while left := _unfinished(found := deployment.read()):
            if left != state:
                say(f"{target.deployment}: {left}")
            state = left
            if time.monotonic() > ends:
                why = "; ".join(filter(None, (state, _why(found))))
                raise ActionError(f"{target.deployment} was not done after {deadline:g} seconds: {why}")
            time.sleep(_GLANCE)
        say(f"{target.deployment} runs {target.image} in {found.get('status', {}).get('replicas', 0)} replicas")


def _connected(client: Any, target: Kubernetes) -> Any:
    """As the kubeconfig says; inside a cluster, where nobody has named one, as its service account may."""
    config = _extra("kubernetes.config")
    own = client.Configuration()
    file = target.kubeconfig or os.environ.get("KUBECONFIG")
    if "KUBERNETES_SERVICE_HOST" in os.environ and not (file or target.context):
        config.load_incluster_config(own)
    else:
        config.load_kube_config(file, target.context, own, persist_config=False)
    own.retries = False  # whoever calls tries again
    return client.ApiClient(own)


@contextmanager
def _understood(client: Any) -> Iterator[None]:
    """Whatever the client raises is an ActionError."""
    unreachable = _extra("urllib3.exceptions").HTTPError
    unusable = _extra("kubernetes.config").ConfigException, _extra("yaml").YAMLError, OSError
    try:
        yield
    except client.ApiException as error:
        again = not error.status or error.status == _CONFLICT or is_passing(error.status)
        raise ActionError(f"Kubernetes says: {_said(error)}", again=again) from None
    except unreachable as error:
        raise ActionError(f"Kubernetes cannot be reached: {visible(str(error))}") from None
    except unusable as error:
        raise ActionError(f"The kubeconfig cannot be used: {visible(str(error))}", again=False) from None


def _said(error: Any) -> str:
    """What the server says, and only that: what it was asked has a token in it."""
    try:
        message = json.loads(error.body)["message"]
    except (TypeError, ValueError, KeyError):
        message = error.reason
    return visible(f"{error.status} {message}")


class _Deployment:
    """One of a cluster, as JSON: of what it is made we need little, and newer clusters have more than the client."""

    def __init__(self, apps: Any, target: Kubernetes, timeout: float) -> None:
        self._apps, self._where = apps, (target.deployment, target.namespace)
        self._options = {"_preload_content": False, "_request_timeout": timeout}

    def read(self) -> dict[str, Any]:
        return _json(self._apps.read_namespaced_deployment(*self._where, **self._options))

    def patch(self, template: dict[str, Any]) -> None:
        """A strategic merge, as the client makes one of every table: of lists, too, what is not named stays."""
        body = {"spec": {"template": template}}
        _json(self._apps.patch_namespaced_deployment(*self._where, body, **self._options))


def _json(answer: Any) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(answer.data)
    except ValueError:
        raise ActionError("What answers is not Kubernetes: that is no JSON") from None
    return found


def _set_image(deployment: _Deployment, target: Kubernetes, say: Callable[[str], None]) -> None:
    """Says which image the container is to have; where a tag alone is what it has already, pods are started anew."""
    containers = deployment.read()["spec"]["template"]["spec"]["containers"]
    container = _container(target, containers)
    template: dict[str, Any] = {"spec": {"containers": [{"name": container["name"], "image": target.image}]}}
    say(f"{target.deployment} gets {target.image}, and had {container['image']}")
    if container["image"] == target.image and "@" not in target.image:
        say("Nobody knows whether that tag points to something else now, so pods are started anew")
        template["metadata"] = {"annotations": {_RESTARTED: datetime.now(UTC).isoformat(timespec="seconds")}}
    deployment.patch(template)


def _container(target: Kubernetes, containers: list[dict[str, Any]]) -> dict[str, Any]:
    fitting = [one for one in containers if target.container in (None, one["name"])]
    if len(fitting) != 1:
        names = ", ".join(one["name"] for one in containers)
        asked = f"no container {target.container!r}" if target.container else "more than one container"
        raise ActionError(f"{target.deployment} has {asked}: name one of {names}", again=False)
    return fitting[0]


def _unfinished(found: dict[str, Any]) -> str:
    """What is still to come of a rollout, in words; nothing if it is over. Raises ActionError where it has failed."""
    spec, status = found["spec"], found.get("status", {})
    if status.get("observedGeneration", 0) < found["metadata"]["generation"]:
        return "the change was not seen yet"
    if spec.get("paused"):
        raise ActionError(f"{found['metadata']['name']} is paused: pods get the image when somebody resumes it")
    if any(one.get("reason") == "ProgressDeadlineExceeded" for one in _conditions(found)):
        raise ActionError(f"{found['metadata']['name']} did not get on: {_why(found)}")
    wanted = spec.get("replicas", 1)
    there, updated, available = (status.get(key, 0) for key in ("replicas", "updatedReplicas", "availableReplicas"))
    if updated < wanted:
        return f"{updated} of {wanted} replicas are new"
    if there > updated:
        return f"{there - updated} old replicas are still there"
    return f"{available} of {updated} new replicas are available" if available < updated else ""


def _conditions(found: dict[str, Any]) -> list[dict[str, str]]:
    conditions: list[dict[str, str]] = found.get("status", {}).get("conditions", [])
    return conditions


def _why(found: dict[str, Any]) -> str:
    """What Kubernetes says of what is not as it should be."""
    good = {"Progressing": "True", "Available": "True", "ReplicaFailure": "False"}
    bad = (one for one in _conditions(found) if good.get(one["type"], one["status"]) != one["status"])
    return visible("; ".join(one.get("message", one["type"]) for one in bad))
