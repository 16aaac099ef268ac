"""Many images at once: what is to be pushed, pulled, copied, and tagged."""

from collections.abc import Sequence
from typing import Literal

from msgspec import structs

from regstats.engines import Engine, target_of
from regstats.errors import ParameterError
from regstats.inventory import Attached, Tagged, each, tags_of
from regstats.names import Name, parse
from regstats.plans import ALREADY, Kept, Plan, Step
from regstats.workshop import Registries, Workshop


def plan_push(registries: Registries, engine: Engine, images: Sequence[str], jobs: int) -> Plan:
    """Local images to the registry, under their own names. What the registry has already is left out."""
    targets: dict[Name, tuple[str, str]] = {}
    for image in images:
        own, to = engine.id_of(image), parse(target_of(image, registries.default), registries.default)
        if own is None:
            raise ParameterError(f"There is no local image {image!r}.")
        if targets.setdefault(to, (image, own))[1] != own:
            raise _both(targets[to][0], image, to)

    def step(to: Name) -> Step:
        image, own = targets[to]
        return Step(action="push", image=image, to=str(to), digest=own, before=registries.digest(to))

    return _without_done(each(step, targets, jobs), Workshop(registries, engine), jobs)


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


def plan_copy(registries: Registries, tagged: Sequence[Tagged], to: str, jobs: int, *, attached: bool = False) -> Plan:
    """Images to another registry, or under a prefix, `registry.example/mirror`, with all their platforms.

    `attached`: and with signatures and whatever else is attached to them.
    """
    registry, slash, prefix = to.removesuffix("/").partition("/")
    before = f"{prefix}/" if slash else ""
    targets = []
    for one in with_attached(registries, tagged, jobs) if attached else tagged:
        target = Name(registry, f"{before}{one.name.repository}", one.name.tag, None if one.name.tag else one.digest)
        targets.append((one, parse(str(target), registry)))
    return _plan_copies("copy", registries, targets, jobs)


def with_attached(registries: Registries, tagged: Sequence[Tagged], jobs: int) -> list[Tagged]:
    """Tags, and all that is attached to what they point to, or to what that lists."""
    attached: dict[Name, Attached] = {}
    found = {(one.name, one.digest): one for one in tagged}
    queue = list(tagged)
    for one in queue:
        place, client = structs.replace(one.name, tag=None, digest=None), registries.client(one.name.registry)
        if place not in attached:
            attached[place] = Attached(client, place.repository, tags_of(client, place.repository, jobs))
        manifest = client.manifest(place.repository, one.digest)
        children = [child.digest for child in manifest.children] if manifest and manifest.is_index else []
        others = [other for digest in [one.digest, *children] for other in attached[place].to(digest)]
        new = {(other.name, other.digest): other for other in others if (other.name, other.digest) not in found}
        found |= new
        queue += new.values()
    return list(found.values())


def plan_restore(registries: Registries, wanted: Sequence[Name], jobs: int) -> Plan:
    """Tags that point again to what a list says.

    Raises ParameterError where it says no tag or no digest, or that is not there any more.
    """
    for name in wanted:
        if name.digest is None or name.tag is None:
            raise ParameterError(f"{name} says no tag or no digest; `regstats images export` writes both.")
    by_digest = [structs.replace(name, tag=None) for name in wanted]
    found = each(registries.digest, by_digest, jobs)
    if lost := [str(name) for name, digest in zip(wanted, found, strict=True) if digest is None]:
        raise ParameterError(f"What these pointed to is not there any more: {', '.join(lost)}.")
    pairs = [
        (Tagged(name, name.digest or "", ""), structs.replace(to, digest=None))
        for name, to in zip(by_digest, wanted, strict=True)
    ]
    return _plan_copies("tag", registries, pairs, jobs)


def _plan_copies(
    action: Literal["copy", "tag"], registries: Registries, pairs: Sequence[tuple[Tagged, Name]], jobs: int
) -> Plan:
    sources: dict[Name, Tagged] = {}
    for one, to in pairs:
        if sources.setdefault(to, one).digest != one.digest:
            raise _both(sources[to].name, one.name, to)

    def step(to: Name) -> Step:
        one = sources[to]
        return Step(action=action, image=str(one.name), to=str(to), digest=one.digest, before=registries.digest(to))

    return _without_done(each(step, sources, jobs), Workshop(registries), jobs)


def _without_done(steps: Sequence[Step], workshop: Workshop, jobs: int) -> Plan:
    """A plan of what is left to do."""
    judged = list(zip(steps, each(workshop.is_done, steps, jobs), strict=True))
    kept = [Kept(step.to or step.image, step.digest, ALREADY) for step, is_done in judged if is_done]
    return Plan(steps=[step for step, is_done in judged if not is_done], kept=kept)


def _both(first: object, second: object, to: Name) -> ParameterError:
    return ParameterError(f"Both {first} and {second} would be {to}; name one of them.")
