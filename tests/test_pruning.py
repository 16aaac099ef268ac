"""What can go: which tags a policy keeps, and what goes with what."""

import doctest
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from makers import INDEX, MANIFEST, NOW, days

from regstats import pruning
from regstats.inventory import Tagged, attached_to
from regstats.names import Name
from regstats.plans import Plan
from regstats.pruning import Image, Policy, judge, plan_delete, stream
from regstats.registry import Descriptor

PLACE = "registry.example/team/app"


@pytest.mark.parametrize(
    ("tag", "expected"),
    [
        ("1.2.3", "#.#.#"),
        ("v10.0.1-rc2", "v#.#.#-rc#"),
        ("main-3f9a2c1", "main-#"),
        ("main-77b01de", "main-#"),
        ("v1.2.3-4-g3f9a2c1", "v#.#.#-#-#"),
        ("20261124", "#"),
        ("pr-17", "pr-#"),
        ("sha-" + "a" * 40, "sha-#"),
        ("latest", "latest"),
        ("alpine", "alpine"),
        ("deadbeef", "#"),
        ("", ""),
    ],
)
def test_streams(tag, expected):
    """What differs only in numbers and hashes is one."""
    assert expected == stream(tag)


def test_the_examples():
    assert 0 == doctest.testmod(pruning).failed


def image(tag, age=None, idle=None, repository="team/app"):
    return Image(repository, tag, f"digest of {tag}", None if age is None else NOW - days(age), idle)


def goes(images, **policy):
    return [one.tag for one, why in judge(images, Policy(**policy), NOW).items() if why is None]


def test_the_last_of_each_stream_stay():
    """By time, and of the same moment by number; what has no time may be the last."""
    images = [image("1.9", 3), image("1.10", 3), image("1.8", 9), image("main-3f9a2c1", 5), image("main-77b01de", 4)]
    assert ["1.9", "1.8", "main-3f9a2c1"] == goes(images, keep_last=1)
    assert ["1.8"] == goes(images, keep_last=2)
    assert ["1.10", "1.9"] == goes([image("1.10", 3), image("1.9", 3), image("1.2")], keep_last=1)
    other = image("1.1", 900, repository="team/web")
    assert ["1.9", "1.8", "main-3f9a2c1"] == goes([*images, other], keep_last=1)


def test_what_is_young_or_used_stays():
    """And so does what nobody knows."""
    images = [image("old", 90, 100), image("young", 89.9, 100), image("ageless", None, 100), image("unknown", 90)]
    assert ["old", "unknown"] == goes(images, older_than=timedelta(days=90))
    assert ["old", "young", "ageless"] == goes(images, unpulled_for=timedelta(days=90))
    assert ["old"] == goes(images, unpulled_for=timedelta(days=90), older_than=timedelta(days=90))
    assert [] == goes(images, unpulled_for=timedelta(days=100, hours=1))


@pytest.mark.parametrize("glob", ["latest", "l*", "team/app:latest", "team/*:l*", "*:latest"])
def test_a_tag_that_is_named_stays(glob):
    """By itself, or with its repository."""
    assert ["1.0"] == goes([image("latest", 99), image("1.0", 99)], older_than=days(9), keep=[glob])


@pytest.mark.parametrize("glob", ["team/*", "team/app", "*"])
def test_a_repository_that_is_named_stays(glob):
    assert [] == goes([image("latest", 99), image("1.0", 99)], older_than=days(9), keep=[glob])


some_tags = st.sampled_from(["1.0", "1.1", "2.0", "latest", "main-3f9a2c1"])
ages = st.none() | st.integers(0, 200).map(lambda age: NOW - days(age))
some_images = st.builds(Image, st.sampled_from("ab"), some_tags, st.just("d"), ages, st.none() | st.integers(0, 200))
spans = st.none() | st.integers(1, 200).map(days)


@given(
    st.lists(some_images, unique_by=lambda image: image[:2]),
    st.none() | st.integers(1, 3),
    spans,
    spans,
    st.lists(st.sampled_from(["latest", "a", "b:1.*"])),
)
def test_keeping_is_stronger(images, keep_last, older_than, unpulled_for, keep):
    """What any rule keeps by itself stays whatever else is said, and more rules keep more."""
    rules = {"keep_last": keep_last, "older_than": older_than, "unpulled_for": unpulled_for, "keep": keep}
    gone = {one for one, why in judge(images, Policy(**rules), NOW).items() if why is None}
    for name, value in rules.items():
        if value:
            alone = judge(images, Policy(**{name: value}), NOW)
            assert gone.isdisjoint(one for one, why in alone.items() if why is not None)


# What goes with what


class Fake:
    """A repository: what tags point to, what indexes list, what refers to what."""

    registry = "registry.example"

    def __init__(self, tags, children=None, referrers=None):
        self.pointed, self.listed, self.referring = dict(tags), children or {}, referrers or {}

    def client(self, _registry):
        return self

    def tags(self, _repository):
        return list(self.pointed)

    def head(self, _repository, tag):
        digest = self.pointed.get(tag)
        return digest and Descriptor(digest, INDEX if digest in self.listed else MANIFEST)

    def manifest(self, _repository, digest):
        return type("M", (), {"children": [Descriptor(child) for child in self.listed.get(digest, [])]})

    def referrers(self, _repository, digest):
        return [Descriptor(one) for one in self.referring.get(digest, [])]

    def plan(self, *names, alone=True) -> Plan:
        tagged = [
            Tagged(Name(self.registry, "team/app", None, name), name, MANIFEST) if ":" in name
            else Tagged(Name(self.registry, "team/app", name), self.pointed[name], MANIFEST)
            for name in names
        ]  # fmt: skip
        return plan_delete(self, tagged, 1, alone=alone)


def digest(letter):
    return f"sha256:{letter * 64}"


A, B, C, D, E, F = map(digest, "abcdef")


def attached(to, suffix=""):
    return f"sha256-{to[7:]}{suffix}"


def deleted(plan):
    return [step.digest for step in plan.steps if step.action == "delete"]


def test_a_manifest_with_other_tags_stays():
    """Its tag goes alone, or stays too."""
    fake = Fake({"1.0": A, "latest": A, "2.0": B})
    (step,) = fake.plan("1.0").steps
    assert ("untag", f"{PLACE}:1.0", "the same manifest as latest") == (step.action, step.image, step.why)
    plan = fake.plan("1.0", alone=False)
    assert ([], [(f"{PLACE}:1.0", "the same manifest as latest")]) == (
        plan.steps,
        [(k.image, k.why) for k in plan.kept],
    )
    (step,) = fake.plan("1.0", "latest").steps
    assert ("delete", f"{PLACE}@{A}", "1.0, latest") == (step.action, step.image, step.why)


def test_all_that_an_index_lists_goes_with_it():
    """Unless another index lists it, or a tag points to it; indexes go first."""
    fake = Fake({"1.0": A, "2.0": B, "amd64": D}, {A: [C, D, E], B: [C, F]})
    plan = fake.plan("1.0")
    assert [A, E] == deleted(plan)
    assert [[], [A]] == [step.after for step in plan.steps]
    assert [A, B, C, E, F] == [*deleted(fake.plan("1.0", "2.0"))[:2], *sorted(deleted(fake.plan("1.0", "2.0"))[2:])]


def test_what_an_index_lists_stays_with_it():
    """Whoever names it: by its tag, or by its digest."""
    fake = Fake({"1.0": A, "amd64": B}, {A: [B, C]})
    assert ["untag"] == [step.action for step in fake.plan("amd64").steps]
    plan = fake.plan(C)
    assert ([], ["an index that stays lists it"]) == (plan.steps, [kept.why for kept in plan.kept])


def test_attachments_go_with_what_they_are_attached_to():
    """By the tags of cosign, those of the specification, and as the registry says; with attachments of their own."""
    tags = {"1.0": A, "2.0": B, attached(A, ".sig"): C, attached(B, ".sig"): D}
    fake = Fake(tags, referrers={A: [E], E: [F]})
    assert [A, C, E, F] == sorted(deleted(fake.plan("1.0")))
    assert [C, E, F] == sorted(step.digest for step in fake.plan("1.0").steps if "attached to" in step.why)


def test_a_tag_that_has_gone_in_the_meantime_is_no_reason():
    """The plan has all tags as they were, to see later whether anything is different."""
    fake = Fake({"1.0": A, "2.0": B})
    assert {PLACE: {"1.0": A, "2.0": B}} == fake.plan("1.0").tags


names = st.sampled_from([A, B, C, D, E, F])
graphs = st.fixed_dictionaries({}, optional={
    A: st.lists(st.sampled_from([B, C, D]), unique=True), B: st.lists(st.sampled_from([C, D, E]), unique=True),
    C: st.lists(st.sampled_from([D, E, F]), unique=True),
})  # fmt: skip
some_pointers = st.dictionaries(
    st.sampled_from(["1", "2", "3", "4", *(attached(to, suffix) for to in (A, B, D) for suffix in ("", ".sig"))]), names
)


some_referrers = st.fixed_dictionaries({}, optional={
    **{one: st.lists(st.sampled_from([E, F]), max_size=1) for one in (A, B, C, D)}, E: st.just([F]),
})  # fmt: skip


@given(some_pointers, graphs, some_referrers, st.data())
def test_what_is_needed_stays(tags, children, referrers, data):
    """Whatever is chosen: no tag that was not chosen loses anything, and what goes is nobody's."""
    fake = Fake(tags, children, referrers)
    chosen = data.draw(st.lists(st.sampled_from([*tags, A, D]), unique=True))
    plan = fake.plan(*chosen)
    gone = deleted(plan)
    assert len(gone) == len(set(gone))
    for tag, pointed in tags.items():
        if tag not in chosen and pointed not in chosen and not attached_to(tag):
            assert needed(pointed, children).isdisjoint(gone)
        if tag not in chosen and pointed in gone and pointed not in chosen:
            assert attached_to(tag) in gone
    for step in (step for step in plan.steps if step.action == "delete"):
        chosen_itself = step.digest in chosen or step.digest in {tags[tag] for tag in chosen if tag in tags}
        assert chosen_itself or set(step.after) & set(gone)
        for child in children.get(step.digest, []):
            assert child not in gone or gone.index(step.digest) < gone.index(child)


def needed(digest, children):
    return {digest, *(inner for child in children.get(digest, []) for inner in needed(child, children))}
