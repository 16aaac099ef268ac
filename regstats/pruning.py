"""What can go from a registry: which tags a policy keeps, and what has to go together with what goes.

Keeping is stronger: what any rule keeps, stays, and so does whatever it needs.
"""

import re
from collections import defaultdict
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from graphlib import CycleError, TopologicalSorter
from typing import Any, NamedTuple

import pandas as pd
from msgspec import Struct, structs

from regstats.inventory import Attached, Tagged, attached_to, each, tags_of
from regstats.names import Name, fits
from regstats.plans import Kept, Plan, Step
from regstats.registry import INDEXES, Client
from regstats.workshop import Registries

_HASH = re.compile(r"(?<![0-9A-Za-z])g?[0-9a-f]{7,64}(?![0-9A-Za-z])")
_NUMBER = re.compile(r"[0-9]+")


class Image(NamedTuple):
    """A tag that may go, or a manifest that has none."""

    repository: str
    tag: str
    """Empty if there is none."""
    digest: str
    at: datetime | None = None
    """When it was pushed, or built; None if nobody knows."""
    idle_days: int | None = None
    """Since it was used or pushed; None if nobody knows."""


class Policy(Struct, frozen=True):
    """What stays. What no rule keeps, goes."""

    keep_last: int | None = None
    """So many of each stream."""
    older_than: timedelta | None = None
    """What is younger."""
    unpulled_for: timedelta | None = None
    """What was used or pushed in this time."""
    keep: list[str] = []
    """What fits one of these globs."""

    @property
    def says_something(self) -> bool:
        """Whether anything but globs stays: a policy without would delete all else."""
        return not (self.keep_last is None and self.older_than is None and self.unpulled_for is None)


def stream(tag: str) -> str:
    """The series that a tag is of: tags are of the same one if they differ only in numbers and hashes.

    >>> stream("v1.12.3-alpine"), stream("main-3f9a2c1"), stream("latest")
    ('v#.#.#-alpine', 'main-#', 'latest')
    """
    return _NUMBER.sub("#", _HASH.sub("#", tag))


def judge(images: Iterable[Image], policy: Policy, now: datetime) -> dict[Image, str | None]:
    """Why each image stays; None for what goes."""
    images = list(images)
    last = _last(images, policy.keep_last or 0)
    return {image: _kept(image, policy, now) or (last.get(image) if policy.keep_last else None) for image in images}


def _kept(image: Image, policy: Policy, now: datetime) -> str | None:
    for glob in policy.keep:
        if fits(glob, image.repository, image.tag) or fits(f"*:{glob}", image.repository, image.tag):
            return f"kept by {glob}"
    if policy.older_than is not None:
        if image.at is None:
            return "nobody knows its age"
        if now - image.at < policy.older_than:
            return f"of {image.at:%Y-%m-%d}"
    if policy.unpulled_for is not None:
        if image.idle_days is None:
            return "regstats has not seen it"
        if timedelta(days=image.idle_days) < policy.unpulled_for:
            return f"used or pushed {image.idle_days} days ago"
    return None


def _last(images: Sequence[Image], number: int) -> dict[Image, str]:
    """The last ones of each stream; what has no time may be the last."""
    streams: dict[tuple[str, str], list[Image]] = {}
    for image in images:
        if image.tag:
            streams.setdefault((image.repository, stream(image.tag)), []).append(image)
    return {
        image: f"one of the last {number} of {name}" if number > 1 else f"the last of {name}"
        for (_, name), members in streams.items()
        for image in sorted(members, key=_age, reverse=True)[:number]
    }


def _age(image: Image) -> tuple[bool, float, list[int], str]:
    """Later is larger; of the same moment the one with larger numbers."""
    at = image.at.timestamp() if image.at else 0.0
    return image.at is None, at, [int(number) for number in _NUMBER.findall(image.tag)], image.tag


def candidates(tagged: Sequence[Tagged], rows: pd.DataFrame) -> dict[Image, Tagged]:
    """Tags, by what is known of them: rows are numbered as they are, and may be fewer."""
    at = rows["last_push"].fillna(rows["created"])
    return {
        Image(
            tagged[number].name.repository, tagged[number].name.tag or "", tagged[number].digest,
            _time(time), None if pd.isna(idle) else int(idle),
        ): tagged[number]
        for number, time, idle in zip(rows.index, at, rows["idle_days"], strict=True)
    }  # fmt: skip


def orphans(registries: Registries, rows: pd.DataFrame, globs: Sequence[str], jobs: int) -> dict[Image, Tagged]:
    """Manifests without a tag, as `usage.untagged` lists them, that are at the registry and attached to nothing."""
    client = registries.client(registries.default)

    def found(row: Mapping[Any, Any]) -> tuple[Image, Tagged] | None:
        repository, digest = row["repository"], row["digest"]
        manifest = client.manifest(repository, digest)
        if manifest is None or manifest.subject is not None:
            return None
        image = Image(repository, "", digest, _time(row["last_push"]), int(row["idle_days"]))
        return image, Tagged(Name(client.registry, repository, None, digest), digest, manifest.media_type)

    chosen = [
        row for row in rows.to_dict("records") if not globs or any(fits(glob, row["repository"], "") for glob in globs)
    ]
    return dict(one for one in each(found, chosen, jobs) if one is not None)


def _time(time: Any) -> datetime | None:
    return None if pd.isna(time) else time.to_pydatetime()


def plan_prune(
    registries: Registries, images: Mapping[Image, Tagged], policy: Policy, now: datetime, jobs: int
) -> Plan:
    """What a policy lets go, of what was chosen; signatures and the like go with what they belong to."""
    judged = judge((image for image in images if attached_to(image.tag) is None), policy, now)
    goes = [images[image] for image, why in judged.items() if why is None]
    stays = [images[image] for image, why in judged.items() if why is not None]
    plan = plan_delete(registries, goes, jobs, alone=False, stays=stays)
    kept = [Kept(str(images[image].name), image.digest, why) for image, why in judged.items() if why is not None]
    return structs.replace(plan, kept=[*kept, *plan.kept])


def plan_delete(
    registries: Registries, goes: Sequence[Tagged], jobs: int, *, alone: bool, stays: Sequence[Tagged] = ()
) -> Plan:
    """Deletes manifests with all their tags, and with what belongs to them, as far as nothing else needs it.

    Of a manifest that has other tags, which stay, a tag goes `alone`, which not every registry can do, or stays too.
    `stays`: what stays without a tag; all other tags do anyway.
    """
    of_place: dict[Name, list[Tagged]] = {}
    for one in goes:
        of_place.setdefault(Name(one.name.registry, one.name.repository), []).append(one)

    def of_one(place: Name) -> Plan:
        needed = {one.digest for one in stays if structs.replace(one.name, tag=None, digest=None) == place}
        return _Repository(registries.client(place.registry), place, jobs).plan(of_place[place], needed, alone=alone)

    plans = each(of_one, sorted(of_place), jobs)
    return Plan(
        steps=[step for plan in plans for step in plan.steps],
        kept=[kept for plan in plans for kept in plan.kept],
        tags={repository: tags for plan in plans for repository, tags in plan.tags.items()},
    )


class _Repository:
    """A repository in which something is deleted: what tags point to, what indexes list, what is attached to what."""

    def __init__(self, client: Client, place: Name, jobs: int) -> None:
        self._client, self._path = client, place.repository
        self._place = f"{place.registry}/{place.repository}"
        tagged = tags_of(client, place.repository, jobs)
        self._tags = {one.name.tag or "": one.digest for one in tagged}
        self._names: defaultdict[str, set[str]] = defaultdict(set)
        """Of a digest: the tags that point to it."""
        for tag, digest in self._tags.items():
            self._names[digest].add(tag)
        self._kinds = {one.digest: one.media_type for one in tagged}
        self._attached = Attached(client, place.repository, tagged)
        self._children: dict[str, list[str]] = {}

    def plan(self, goes: Sequence[Tagged], stay: set[str], *, alone: bool) -> Plan:
        """What is deleted, in order: what lists others before these."""
        chosen = {one.name.tag: one.digest for one in goes if one.name.tag}
        named = {one.digest for one in goes if not one.name.tag}
        wanted = named | {digest for digest in chosen.values() if self._names[digest] <= chosen.keys()}
        roots = {digest for tag, digest in self._tags.items() if not attached_to(tag)} - wanted
        gone = self._gone(wanted, self._needed(roots | stay))
        tags = [(f"{self._place}:{tag}", digest) for tag, digest in sorted(chosen.items()) if digest not in gone]
        others = [(f"{self._place}@{digest}", digest) for digest in sorted(named - gone.keys())]
        steps = [self._untag(image, digest) for image, digest in tags if alone]
        steps += [self._delete(digest, gone[digest]) for digest in self._in_order(gone)]
        left = others if alone else tags + others
        kept = [Kept(image, digest, self._needed_by(image, digest)) for image, digest in left]
        return Plan(steps=steps, kept=kept, tags={self._place: self._tags} if steps else {})

    def _needed_by(self, image: str, digest: str) -> str:
        others = sorted(self._names[digest] - {image.removeprefix(f"{self._place}:")})
        return f"the same manifest as {', '.join(others)}" if others else "an index that stays lists it"

    def _untag(self, image: str, digest: str) -> Step:
        why = self._needed_by(image, digest)
        return Step(action="untag", image=image, digest=digest, repository=self._place, why=why)

    def _delete(self, digest: str, owners: dict[str, str]) -> Step:
        image, tags = f"{self._place}@{digest}", ", ".join(sorted(self._names[digest]))
        whys = "; ".join(filter(None, [tags, *list(owners.values())[:1]]))
        return Step(action="delete", image=image, digest=digest, repository=self._place, after=list(owners), why=whys)

    def _gone(self, wanted: set[str], stays: set[str]) -> dict[str, dict[str, str]]:
        """All that goes, and of each what it belongs to that goes as well, and how: what nothing else needs."""
        gone: dict[str, dict[str, str]] = {digest: {} for digest in sorted(wanted - stays)}
        queue = list(gone)
        for digest in queue:
            for inner, how in self._follows(digest):
                if inner in stays or not self._is_free(inner, gone):
                    continue
                if inner not in gone:
                    queue.append(inner)
                gone.setdefault(inner, {}).setdefault(digest, f"{how} {_short(digest)}")
        return gone

    def _in_order(self, gone: Mapping[str, Mapping[str, str]]) -> list[str]:
        """What lists others, or has them attached, before these.

        Tags can say that things are attached in a circle. What indexes list never is one.
        """
        try:
            return list(TopologicalSorter(gone).static_order())
        except CycleError:
            lists = {digest: [one for one in owners if digest in self._listed(one)] for digest, owners in gone.items()}
            return list(TopologicalSorter(lists).static_order())

    def _is_free(self, digest: str, gone: Container[str]) -> bool:
        """Whether all its tags, if it has any, only say to what that goes it is attached."""
        return digest in gone or all((attached_to(tag) or "") in gone for tag in self._names[digest])

    def _needed(self, digests: set[str]) -> set[str]:
        """These, and all that they list."""
        needed = set(digests)
        queue = list(digests)
        for digest in queue:
            new = [child for child in self._listed(digest) if child not in needed]
            needed.update(new)
            queue += new
        return needed

    def _follows(self, digest: str) -> Iterator[tuple[str, str]]:
        """What belongs to a manifest, and how."""
        yield from ((child, "listed by") for child in self._listed(digest))
        yield from ((one.digest, "attached to") for one in self._attached.to(digest))

    def _listed(self, digest: str) -> list[str]:
        """What an index lists; nothing else does."""
        if digest not in self._children:
            is_index = self._kinds.get(digest, INDEXES[0]) in INDEXES
            manifest = self._client.manifest(self._path, digest) if is_index else None
            self._children[digest] = [child.digest for child in manifest.children] if manifest else []
        return self._children[digest]


def _short(digest: str) -> str:
    return digest.partition(":")[2][:12]
