"""Docker Swarm: a service gets another image, keeps whatever else it has, and is waited for until that image runs.

As `docker service update --with-registry-auth` does it: the image is the one that its tag has at that moment, by its
digest, and Docker's own credentials for the registry go with it.
"""

import math
import os
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from typing import Any, NamedTuple

from regstats import extras
from regstats.errors import ActionError
from regstats.requesting import is_passing
from regstats.rules import DockerService
from regstats.terminal import visible

_GLANCE = 0.5  # seconds between two looks at the service
_STEADY = 5.0
"""Seconds that the tasks have to run where Docker does not watch an update, as the `docker` command has it."""
_LONGEST = 60.0  # seconds for one request
_FAILED = ("failed", "rejected")
_CONFLICT = 409  # somebody else has changed it meanwhile
_PAUSED = ("paused", "rollback_paused")
_MOVING = ("updating", "rollback_started")
"""Docker itself decides what becomes of tasks that fail."""

_docker = partial(extras.module, "docker", "docker")


def deploy(service: DockerService, deadline: float, say: Callable[[str], None]) -> None:
    """Creates the service, or gives it the image, and waits until that runs; within so many seconds, or it has failed.

    Raises ActionError, and MissingExtraError without docker.
    """
    docker = _docker()
    ends = time.monotonic() + deadline
    with _understood(docker), closing(_client(docker, service, min(deadline, _LONGEST))) as api:
        rollout = _Rollout(api, service, say)
        rollout.begin()
        while not rollout.is_done():
            if time.monotonic() > ends:
                raise ActionError(f"{service.name} was not done after {deadline:g} seconds: {rollout.state}")
            time.sleep(_GLANCE)
        say(f"{service.name} runs {rollout.image}")


def _client(docker: Any, service: DockerService, timeout: float) -> Any:
    """Docker's own variables say how to get there, its configuration has the credentials of registries."""
    own = {"DOCKER_HOST": service.host} if service.host else {}
    return docker.from_env(environment=os.environ | own, timeout=timeout).api


@contextmanager
def _understood(docker: Any) -> Iterator[None]:
    """Whatever the client raises is an ActionError."""
    try:
        yield
    except docker.errors.APIError as error:
        why = visible(str(error.explanation or error))
        again = error.status_code == _CONFLICT or is_passing(error.status_code or 500)
        raise ActionError(f"Docker says: {why}", again=again and "not a swarm manager" not in why) from None
    except docker.errors.DockerException as error:
        # What it meets when it asks for the version is wrapped; anything else is wrong in the settings.
        raise ActionError(f"Docker: {visible(str(error))}", again=isinstance(error.__cause__, OSError)) from None
    except OSError as error:
        raise ActionError(f"Docker cannot be reached: {visible(str(error))}") from None


class _Wanted(NamedTuple):
    """What tells the tasks of one rollout from those before it."""

    image: str
    started_anew: int
    """How often tasks were started anew with the same image."""


def _wanted(template: dict[str, Any]) -> _Wanted:
    return _Wanted(template.get("ContainerSpec", {}).get("Image", ""), template.get("ForceUpdate", 0))


class _Rollout:
    """A service on its way to an image."""

    def __init__(self, api: Any, service: DockerService, say: Callable[[str], None]) -> None:
        self._api, self._service, self._say = api, service, say
        self._platforms: list[dict[str, str]] = []
        self._wanted = _Wanted(service.image, 0)
        self._before: set[str] = set()
        self._since = math.inf
        self.state = "nothing was seen of it"
        """In words."""

    @property
    def image(self) -> str:
        """What is to run."""
        return self._wanted.image

    # The beginning

    def begin(self) -> None:
        """Creates the service, or gives it the image, or nothing if it has that already."""
        found = self._found()
        is_pinned = self._pin()
        if found is None:
            self._create()
            return
        self._before = {task["ID"] for task in self._tasks()}
        has = _wanted(found["Spec"]["TaskTemplate"])
        is_new = has.image != self.image
        self._wanted = _Wanted(self.image, has.started_anew + (not is_new and not is_pinned))
        if self._wanted == has and _update_of(found)[0] not in _PAUSED:
            self._say(f"{self._service.name} has {self.image} already")
        else:
            self._say(f"{self._service.name} gets {self.image}, and had {has.image}")
            self._update(found)

    def _found(self) -> dict[str, Any] | None:
        """The service of exactly that name: Docker would take the beginning of another's id for one, too."""
        services = self._api.services(filters={"name": self._service.name})
        return next((one for one in services if one["Spec"]["Name"] == self._service.name), None)

    def _tasks(self) -> list[dict[str, Any]]:
        """The newest first."""
        tasks = self._api.tasks(filters={"service": self._service.name})
        return sorted(tasks, key=lambda task: task["Version"]["Index"], reverse=True)

    def _pin(self) -> bool:
        """Finds out which digest the image has at the registry, and whether there is one."""
        has_digest = "@" in self.image
        try:
            told = self._api.inspect_distribution(self.image)
        except _docker().errors.APIError as error:
            if not has_digest:
                why = visible(str(error.explanation))
                self._say(f"Which digest {self.image} has is not known, so tasks are started anew in any case: {why}")
            return has_digest
        platforms = [(one.get("os", ""), one.get("architecture", "")) for one in told.get("Platforms") or []]
        # Of arm there are variants, which nodes do not tell.
        self._platforms = [{"OS": system, "Architecture": "" if arch == "arm" else arch} for system, arch in platforms]
        if not has_digest:
            self._wanted = _Wanted(f"{self.image}@{told['Descriptor']['digest']}", 0)
        return True

    def _create(self) -> None:
        service = self._service
        if not service.create:
            raise ActionError(f"There is no service {service.name!r}.", again=False)
        self._say(f"{service.name} is created with {self.image}")
        template = {
            "ContainerSpec": {"Image": self.image, "Env": service.env},
            "Placement": {"Constraints": service.constraints, "Platforms": self._platforms},
            "Networks": [{"Target": network} for network in service.networks],
        }
        mode = {"Replicated": {"Replicas": service.replicas}}
        ports = {"Ports": [_port(text) for text in service.ports]}
        self._api.create_service(template, service.name, mode=mode, endpoint_spec=ports)

    def _update(self, found: dict[str, Any]) -> None:
        """Says all of the specification again, as it is: what is left out would be removed."""
        spec = found["Spec"]
        template = dict(spec["TaskTemplate"])
        template["ContainerSpec"] = template.get("ContainerSpec", {}) | {"Image": self.image}
        template["ForceUpdate"] = self._wanted.started_anew
        if self._platforms:
            template["Placement"] = template.get("Placement", {}) | {"Platforms": self._platforms}
        self._api.update_service(
            found["ID"], found["Version"]["Index"], template, spec["Name"], spec.get("Labels"), spec.get("Mode"),
            update_config=spec.get("UpdateConfig"), rollback_config=spec.get("RollbackConfig"),
            endpoint_spec=spec.get("EndpointSpec"), networks=template.get("Networks") or spec.get("Networks"),
        )  # fmt: skip

    # The end

    def is_done(self) -> bool:
        """Whether the image runs. Raises ActionError where Docker has given up."""
        found = self._found()
        if found is None:
            raise ActionError(f"The service {self._service.name!r} is gone.")
        tasks = self._tasks()
        mine = [task for task in tasks if _wanted(task["Spec"]) == self._wanted]
        news = [task["Status"] for task in mine if task["ID"] not in self._before]
        running, needed = sum(_is_up(task) for task in mine), _needed(found, tasks)
        step, message = _update_of(found)
        worries = (status["Err"] for status in news if status.get("Err"))
        self._tell(f"{running} of {needed} tasks run it", step, message, next(worries, None))
        is_over = step != "rollback_started" and _wanted(found["Spec"]["TaskTemplate"]) != self._wanted
        has_failed = step not in _MOVING and any(status["State"] in _FAILED for status in news)
        if is_over or step in _PAUSED or (has_failed and running < needed):
            raise ActionError(f"{self._service.name}: {self.state}")
        return step not in _MOVING and self._is_steady(running >= needed, 0 if step else _STEADY)

    def _tell(self, *parts: str | None) -> None:
        """Says how it stands, if that is new."""
        state = visible(", ".join(filter(None, parts)))
        if state != self.state:
            self.state = state
            self._say(f"{self._service.name}: {state}")

    def _is_steady(self, all_run: bool, seconds: float) -> bool:
        """Whether all tasks have run for so long."""
        now = time.monotonic()
        self._since = min(self._since, now) if all_run else math.inf
        return now - self._since >= seconds


def _is_up(task: dict[str, Any]) -> bool:
    return (task["Status"]["State"], task["DesiredState"]) == ("running", "running")


def _needed(found: dict[str, Any], tasks: list[dict[str, Any]]) -> int:
    """As many as are wanted; for a global service, as many as Docker has put on nodes."""
    replicated = found["Spec"]["Mode"].get("Replicated")
    return int(replicated["Replicas"]) if replicated else sum(task["DesiredState"] == "running" for task in tasks)


def _update_of(found: dict[str, Any]) -> tuple[str | None, str | None]:
    """What Docker says of the last update: its state, and why. Nothing until it has begun with it."""
    status = found.get("UpdateStatus") or {}
    return status.get("State"), status.get("Message")


def _port(text: str) -> dict[str, Any]:
    numbers, _, protocol = text.partition("/")
    outside, inside = numbers.split(":")
    return {"PublishedPort": int(outside), "TargetPort": int(inside), "Protocol": protocol or "tcp"}
