"""Those who do the steps of plans: all registries that a command is about, and the engine of this machine."""

import threading
from collections import defaultdict
from collections.abc import Sequence
from contextlib import AbstractContextManager
from functools import partial

from regstats import credentials, inventory
from regstats.credentials import Login
from regstats.engines import Engine
from regstats.errors import ActionError, ParameterError
from regstats.inventory import Tagged
from regstats.names import Name, parse
from regstats.plans import Plan, Step
from regstats.registry import KNOWN, Blob, Client, Descriptor, Manifest
from regstats.session import Session


class Registries:
    """The clients of all registries that a command is about."""

    def __init__(
        self,
        registry: str,
        login: Login | None = None,
        *,
        insecure: bool | None = None,
        ca: str | None = None,
        jobs: int = 1,
    ) -> None:
        """`login` is for `registry`; elsewhere, and without it, it is what `docker login` has left."""
        self._address, self._login = registry, login
        self.default = Session(registry).registry
        self._make = partial(Session, insecure=insecure, ca=ca, jobs=jobs)
        self._clients: dict[str, Client] = {}
        self._lock = threading.Lock()

    def login(self, registry: str, repository: str = "") -> Login | None:
        """Who we are there."""
        is_default = registry == self.default
        return (self._login if is_default else None) or credentials.find(registry, repository)

    def client(self, registry: str) -> Client:
        """Asks a registry. Raises ActionError the first time, if it cannot be asked, or does not know us."""
        with self._lock:
            if registry not in self._clients:
                address = self._address if registry == self.default else registry
                client = Client(self._make(address, self.login(registry)))
                client.check()
                self._clients[registry] = client
            return self._clients[registry]

    def digest(self, name: Name) -> str | None:
        """What a name points to."""
        return self.client(name.registry).digest(name.repository, name.reference)

    def select(self, texts: Sequence[str], jobs: int) -> list[Tagged]:
        """The tags that are meant, `inventory.select`."""
        return inventory.select(self.client, texts, self.default, jobs)


class Workshop:
    """Does the steps of plans, at registries, and with an engine where one is needed."""

    def __init__(self, registries: Registries, engine: Engine | None = None) -> None:
        self._registries, self._engine = registries, engine
        self._blobs: dict[tuple[str, str], str] = {}
        """In which repository a registry is known to have a blob."""
        self._locks: defaultdict[tuple[str, str], threading.Lock] = defaultdict(threading.Lock)
        """The same thing is sent to a registry once at a time: Distribution may deny a blob while it comes again."""

    def close(self) -> None:
        """Tidies up, whatever has happened: nothing that the engine had only meanwhile is left."""
        if self._engine is not None:
            self._engine.close()

    def is_done(self, step: Step) -> bool:
        """Whether there is nothing left to do. Raises ActionError where things are not as they were planned."""
        match step.action:
            case "push":
                return self._is_pushed(step)
            case "pull":
                return self._is_pulled(step)
            case "delete" | "untag":
                return self._is_gone(step)
            case "copy" | "tag":
                return self._is_copied(step)

    def do(self, step: Step) -> None:
        """Does it. Raises ActionError."""
        match step.action:
            case "push":
                self._push(step)
            case "pull":
                self._pull(step)
            case "delete":
                self._delete(step)
            case "untag":
                self._untag(step)
            case "copy" | "tag":
                self._copy(step)

    def changes(self, plan: Plan, repository: str) -> list[str]:
        """What has changed in a repository since it was planned to delete something there."""
        registry, _, path = repository.partition("/")
        now = {one.name.tag or "": one.digest for one in inventory.tags_of(self._registries.client(registry), path)}
        before = plan.tags[repository]
        mine = [step for step in plan.steps if step.repository == repository]
        gone = {step.digest for step in mine if step.action == "delete"}
        untagged = {step.image for step in mine if step.action == "untag"}
        may_be_gone = {tag for tag, digest in before.items() if digest in gone or f"{repository}:{tag}" in untagged}
        return [
            str(_moved(f"{repository}:{tag}", now.get(tag), before.get(tag)))
            for tag in sorted(before.keys() | now.keys())
            if now.get(tag) != before.get(tag) and not (tag not in now and tag in may_be_gone)
        ]

    # Whether it is done

    def _name(self, text: str) -> Name:
        return parse(text, self._registries.default)

    def _check_source(self, step: Step) -> None:
        """Raises ActionError where it is another now."""
        found = self._registries.digest(self._name(step.image))
        if found != step.digest:
            raise _moved(step.image, found, step.digest)

    def _is_gone(self, step: Step) -> bool:
        found = self._registries.digest(self._name(step.image))
        if found not in (step.digest, None):
            raise _moved(step.image, found, step.digest)
        return found is None

    def _is_pulled(self, step: Step) -> bool:
        self._check_source(step)
        return self._the_engine.has(self._name(step.image), step.digest)

    def _is_pushed(self, step: Step) -> bool:
        """Whether the registry has what the engine has: the same manifest, or one of the same configuration."""
        if self._the_engine.id_of(step.image) != step.digest:
            raise ActionError(f"The local image {step.image} is another now.", again=False)
        to = self._name(step.to or "")
        found = self._registries.client(to.registry).manifest(to.repository, to.reference)
        if found is None and step.before is None:
            return False
        if found is not None:
            ids = {found.digest, found.config.digest if found.config else None}
            if step.digest in ids or self._the_engine.has(to, found.digest):
                return True
            if found.digest == step.before:
                return False
        raise _moved(to, found.digest if found else None, step.before)

    def _is_copied(self, step: Step) -> bool:
        to = self._name(step.to or "")
        now = self._registries.digest(to)
        if now == step.digest:
            return True
        if now != step.before:
            raise _moved(to, now, step.before)
        self._check_source(step)
        return False

    # Steps

    @property
    def _the_engine(self) -> Engine:
        if self._engine is None:
            raise ParameterError("This plan needs an engine.")
        return self._engine

    def _push(self, step: Step) -> None:
        to = self._name(step.to or "")
        self._the_engine.push(step.image, to, self._registries.login(to.registry, to.repository))
        if self._registries.digest(to) is None:
            raise ActionError(f"The engine says that it has pushed {to}, and the registry does not have it.")

    def _pull(self, step: Step) -> None:
        name = self._name(step.image)
        self._the_engine.pull(name, self._registries.login(name.registry, name.repository))
        if not self._the_engine.has(name, step.digest):
            raise ActionError(f"{name} was pulled, and is not {step.digest}: the tag has moved meanwhile.", again=False)

    def _delete(self, step: Step) -> None:
        name = self._name(step.image)
        self._registries.client(name.registry).delete(name.repository, step.digest)

    def _untag(self, step: Step) -> None:
        name = self._name(step.image)
        try:
            self._registries.client(name.registry).delete(name.repository, name.reference)
        except ActionError as error:
            why = "cannot be deleted alone, and its manifest is needed" if not error.again else "was not deleted"
            raise ActionError(f"{step.image} {why} ({step.why}): {error}", again=error.again) from None

    def _copy(self, step: Step) -> None:
        """All that the target does not have, from the inside out, and the tag last."""
        source, to = self._name(step.image), self._name(step.to or "")
        manifest = self._manifest(source, step.digest)
        with self._locks[to.registry, manifest.digest]:
            self._complete(source, to, manifest)
            self._registries.client(to.registry).put(to.repository, to.tag or manifest.digest, manifest)

    def _manifest(self, source: Name, digest: str) -> Manifest:
        found = self._registries.client(source.registry).manifest(source.repository, digest)
        if found is None:
            raise ActionError(f"{source.registry}/{source.repository} does not have {digest}.", again=False)
        if found.media_type not in KNOWN:
            raise ActionError(f"{source} is of a kind that is not known here: {found.media_type}.", again=False)
        return found

    def _complete(self, source: Name, to: Name, manifest: Manifest) -> None:
        """What a manifest needs to be written: other manifests, and blobs."""
        if (source.registry, source.repository) == (to.registry, to.repository):
            return
        target = self._registries.client(to.registry)
        for child in manifest.children:
            with self._locks[to.registry, child.digest]:
                if target.digest(to.repository, child.digest) is None:
                    inner = self._manifest(source, child.digest)
                    self._complete(source, to, inner)
                    target.put(to.repository, child.digest, inner)
        for part in {part.digest: part for part in manifest.parts}.values():
            with self._locks[to.registry, part.digest]:
                self._add(source, to, part)

    def _add(self, source: Name, to: Name, part: Descriptor) -> None:
        """A blob: mounted from where the target has it, else sent."""
        origin, target = self._registries.client(source.registry), self._registries.client(to.registry)
        if target.has_blob(to.repository, part.digest):
            return
        if part.urls and not origin.has_blob(source.repository, part.digest):
            return  # it must not be handed on, and is had elsewhere
        is_same = source.registry == to.registry
        other = source.repository if is_same else self._blobs.get((to.registry, part.digest))

        def read() -> AbstractContextManager[Blob]:
            return origin.blob(source.repository, part)

        target.add(to.repository, part, read, other)
        self._blobs[to.registry, part.digest] = to.repository


def _moved(what: object, now: str | None, before: str | None) -> ActionError:
    return ActionError(f"{what} points to {now or 'nothing'}, and pointed to {before or 'nothing'}.", again=False)
