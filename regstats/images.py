"""Many images at once: what is to be pushed, pulled, copied, tagged and deleted, and the doing of it."""

import threading
from collections import defaultdict
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

from regstats import credentials, inventory
from regstats.credentials import Login
from regstats.engines import Engine, target_of
from regstats.errors import ActionError, ParameterError
from regstats.inventory import Tagged
from regstats.names import Name, is_glob, parse, split
from regstats.plans import Kept, Plan, Step
from regstats.registry import KNOWN, Blob, Client, Descriptor, Manifest
from regstats.session import Session
from regstats.store import utc_now

ALREADY = "there already"


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


def one_each(pairs: Iterable[tuple[str, str]]) -> None:
    """Refuses to write two things to one place. Raises ParameterError."""
    seen: dict[str, str] = {}
    for image, to in pairs:
        if seen.setdefault(to, image) != image:
            raise ParameterError(f"Both {seen[to]} and {image} would be {to}; name one of them.")


# Plans


def plan_push(registries: Registries, engine: Engine, images: Sequence[str], jobs: int) -> Plan:
    """Local images to the registry, under their own names. What the registry has already is left out."""
    named = {image: parse(target_of(image, registries.default), registries.default) for image in images}
    one_each((image, str(to)) for image, to in named.items())

    def step(image: str) -> Step:
        own, to = engine.id_of(image), named[image]
        if own is None:
            raise ParameterError(f"There is no local image {image!r}.")
        return Step(action="push", image=image, to=str(to), digest=own, before=registries.digest(to))

    return _without_done(inventory.each(step, named, jobs), Workshop(registries, engine), jobs)


def plan_pull(registries: Registries, engine: Engine, tagged: Sequence[Tagged], jobs: int) -> Plan:
    """Images of a registry to this machine. What is here already is left out."""
    steps = [Step(action="pull", image=str(one.name), to=str(one.name), digest=one.digest) for one in tagged]
    return _without_done(steps, Workshop(registries, engine), jobs)


def plan_tag(registries: Registries, sources: Sequence[Tagged], new: Sequence[str], jobs: int) -> Plan:
    """More tags for what tags point to: `1.3`, in the same repository, or `team/web:1.3`, at the same registry."""
    pairs = [(source, _renamed(source.name, text)) for source in sources for text in new]
    return _plan_copies("tag", registries, pairs, jobs)


def _renamed(name: Name, text: str) -> Name:
    full = text if "/" in text or ":" in text else f"{name.repository}:{text}"
    to = parse(full, name.registry)
    if to.registry != name.registry or to.digest:
        raise ParameterError(f"{to} is no tag at {name.registry}; to other registries `regstats images copy` copies.")
    return to


def plan_copy(registries: Registries, tagged: Sequence[Tagged], to: str, jobs: int) -> Plan:
    """Images to another registry, or under a prefix, `registry.example/mirror`, with all their platforms."""
    registry, slash, prefix = to.removesuffix("/").partition("/")
    before = f"{prefix}/" if slash else ""
    targets = []
    for one in tagged:
        target = Name(registry, f"{before}{one.name.repository}", one.name.tag, None if one.name.tag else one.digest)
        targets.append((one, parse(str(target), registry)))
    return _plan_copies("copy", registries, targets, jobs)


def _plan_copies(action: Any, registries: Registries, pairs: Sequence[tuple[Tagged, Name]], jobs: int) -> Plan:
    one_each((str(one.name), str(to)) for one, to in pairs)

    def step(pair: tuple[Tagged, Name]) -> Step:
        one, to = pair
        return Step(action=action, image=str(one.name), to=str(to), digest=one.digest, before=registries.digest(to))

    return _without_done(inventory.each(step, pairs, jobs), Workshop(registries), jobs)


def plan_restore(registries: Registries, wanted: Sequence[Name], jobs: int) -> Plan:
    """Tags that point to what a list says again. Raises ParameterError where the list says no digest."""
    for name in wanted:
        if name.digest is None or name.tag is None:
            raise ParameterError(f"{name} says no tag or no digest; `regstats images export` writes both.")
    pairs = [
        (
            Tagged(Name(name.registry, name.repository, None, name.digest), name.digest or "", ""),
            Name(name.registry, name.repository, name.tag),
        )
        for name in wanted
    ]
    return _plan_copies("tag", registries, pairs, jobs)


def _without_done(steps: Sequence[Step], workshop: "Workshop", jobs: int) -> Plan:
    """A plan of what is left to do."""
    done = inventory.each(workshop.is_done, steps, jobs)
    return Plan(
        made_at=utc_now(),
        steps=[step for step, is_done in zip(steps, done, strict=True) if not is_done],
        kept=[
            Kept(step.to or step.image, step.digest, ALREADY)
            for step, is_done in zip(steps, done, strict=True)
            if is_done
        ],
    )


# Doing it


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
        if step.action == "delete":
            return self._registries.digest(self._name(step.image)) is None
        if step.action == "untag":
            return self._pointed_to(step.image, step.digest, gone=True)
        if step.action == "push":
            return self._is_pushed(step)
        if step.action == "pull":
            self._pointed_to(step.image, step.digest)
            return self._the_engine.has(self._name(step.image), step.digest)
        return self._is_copied(step)

    def do(self, step: Step) -> None:
        """Does it. Raises ActionError."""
        {"push": self._push, "pull": self._pull, "delete": self._delete, "untag": self._untag}.get(
            step.action, self._copy
        )(step)

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

    def _pointed_to(self, text: str, digest: str, *, gone: bool = False) -> bool:
        """Whether it is not there any more. Raises ActionError where it is another, or may not be gone."""
        found = self._registries.digest(self._name(text))
        if found not in (digest, None if gone else digest):
            raise _moved(text, found, digest)
        return found is None

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
        raise ActionError(
            f"{to} points to {found.digest if found else 'nothing'}, and pointed to {step.before or 'nothing'}.",
            again=False,
        )

    def _is_copied(self, step: Step) -> bool:
        to = self._name(step.to or "")
        now = self._registries.digest(to)
        if now == step.digest:
            return True
        if now != step.before:
            raise ActionError(
                f"{to} points to {now or 'nothing'}, and pointed to {step.before or 'nothing'}.", again=False
            )
        self._pointed_to(step.image, step.digest)
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


def repositories_of(texts: Sequence[str]) -> list[str]:
    """Names for `--all-tags`: repositories, without tags. Raises ParameterError."""
    for text in texts:
        if ":" in split(text)[1] and not is_glob(text):
            raise ParameterError(f"{text!r} names a tag; with --all-tags name repositories.")
    return list(texts)


def _moved(what: object, now: str | None, before: str | None) -> ActionError:
    return ActionError(f"{what} points to {now or 'nothing'}, and pointed to {before or 'nothing'}.", again=False)
