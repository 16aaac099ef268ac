"""Small registries' lives, for hypothesis: what people do with a few repositories, as a registry reports it."""

from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from hypothesis import strategies as st
from makers import BLOB, INDEX, MANIFEST, envelope, journalled, make_delivery, make_event
from oracles import IMMUTABLE, SIGNATURES, Asked

from regstats.compact import account
from regstats.config import NOBODY, Exclude
from regstats.payloads import understand
from regstats.sealing import seal
from regstats.store import Store

REPOSITORIES = ("team/app", "team/app", "team/app", "team/web", "it's")
TAGS = ("latest", "latest", "1.2", *sorted(IMMUTABLE), *sorted(SIGNATURES), 'odd"tag')
IMAGES = [f"sha256:{letter * 64}" for letter in "abcde"]
INDEXES = {f"sha256:{letter * 64}": children for letter, children in {"1": IMAGES[:2], "2": IMAGES[1:3]}.items()}
DIGESTS = (*IMAGES, *INDEXES)
PEOPLE = (
    {"actor": "alice", "addr": "192.0.2.1:1", "user_agent": "docker/27.1"},
    {"actor": "alice", "addr": "192.0.2.2:1", "user_agent": "containerd/1.7"},
    {"actor": "bob", "addr": "192.0.2.1:2", "user_agent": "docker/27.1"},
    {"actor": "ci-1", "addr": "10.0.0.1:1", "user_agent": "buildkit/0.9"},
    {"actor": None, "addr": "192.0.2.3:1", "user_agent": "containers/5.23"},
    {"actor": None, "addr": None, "user_agent": None},
    {"actor": "proxy", "addr": "192.0.2.9:1", "user_agent": "Go-http-client/1.1"},
)
# Near the ends of summer time, of a month, of the year, of February in a leap year, and of the week.
STARTS = [
    datetime(*start, tzinfo=UTC)
    for start in (
        (2026, 10, 24, 21, 50),
        (2026, 3, 28, 23, 59),
        (2027, 12, 31, 22),
        (2028, 2, 28, 23),
        (2026, 11, 22, 23),
    )
]
GAPS = [
    timedelta(seconds=seconds)
    for seconds in (0, 0, 0, 0.000001, 1, 1, 30, 60, 61, 600, 3000, 3599, 3600, 3601, 20_000, 43_200, 86_400, 100_000)
] + [timedelta(days=days) for days in (2, 7, 30, 31, 91)]  # fmt: skip
OPERATIONS = (
    "push", "push", "push", "push index", "push child", "check", "get", "docker", "docker", "download", "index",
    "by digest", "by digest", "lookup", "delete tag", "delete manifest", "delete all", "delete blob",
    "delete repository",
)  # fmt: skip
ZONES = ("UTC", "UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "America/Santiago")


class Life(NamedTuple):
    """What was received, by source, and what is understood of it."""

    received: list
    """(source, body)."""
    received_at: datetime
    now: datetime
    events: list


class _Registry:
    """Reports what is done to it. Knows what each tag points to, so that what is pulled is mostly what was pushed."""

    def __init__(self, start, steps):
        self.at, self.number, self.events, self.tags = start, 0, [], {}
        for operation, *where, who, gap, variant in steps:
            self.at += gap
            self.source = "lab" if variant == 7 else "default"
            self.repository, self.tag, self.digest = where
            self.who, self.variant = who, variant
            getattr(self, "_" + operation.replace(" ", "_"))()

    def _say(self, action, method, *, tag=None, digest=None, media_type=None, seconds=0.0, **more):
        self.number += 1
        event = make_event(
            id=f"{(self.number * 7) % 10}-{self.number}", at=self.at + timedelta(seconds=seconds),
            action=action, method=method, repository=self.repository, tag=tag, digest=digest, media_type=media_type,
            size=None if action == "delete" else 500, **more, **self.who,
        )  # fmt: skip
        self.events.append((self.source, event))

    def _manifest(self, method, digest, tag=None, seconds=0.0):
        references = None
        if digest in INDEXES and self.variant % 2:
            references = [{"digest": child} for child in INDEXES[digest]]
        action, kind = ("push" if method == "PUT" else "pull"), INDEX if digest in INDEXES else MANIFEST
        self._say(action, method, tag=tag, digest=digest, media_type=kind, references=references, seconds=seconds)

    @property
    def _place(self):
        return self.source, self.repository, self.tag

    @property
    def _current(self):
        return self.tags.get(self._place) or self.digest

    def _push(self):
        self._manifest("PUT", self.digest, self.tag)
        self.tags[self._place] = self.digest

    def _push_index(self):
        self.digest = list(INDEXES)[self.variant % 2]
        for child in INDEXES[self.digest]:
            self._manifest("PUT", child)
        self.variant |= 1
        self._push()

    def _push_child(self):
        self._manifest("PUT", self.digest)

    def _check(self):
        self._manifest("HEAD", self._current, self.tag)

    def _get(self):
        self._manifest("GET", self._current, self.tag)

    def _docker(self):
        self._manifest("HEAD", self._current, self.tag)
        self._manifest("GET", self._current, seconds=self.variant % 3)

    def _download(self):
        self._docker()
        for number in range(self.variant % 4):
            self._say("pull", "GET", digest=f"sha256:{number}", media_type=BLOB, seconds=2)

    def _index(self):
        self._manifest("GET", list(INDEXES)[self.variant % 2], self.tag)
        self._manifest("GET", IMAGES[self.variant % 3], seconds=1)

    def _by_digest(self):
        self._manifest("GET", self.digest)

    def _lookup(self):
        self._manifest("GET", self._current, self.tag)
        self._manifest("PUT", self._current, self.tag if self.variant % 2 else None, seconds=1)

    def _delete_tag(self):
        self._say("delete", "DELETE", tag=self.tag)
        self.tags.pop(self._place, None)

    def _delete_manifest(self):
        """As registries of version 2 report it."""
        self._say("delete", "DELETE", digest=self._current, request_id=f"request-{self.at}-{self.number}")
        self._forget(self._current)

    def _delete_all(self):
        """As those of version 3: with the tags that pointed to it."""
        digest, request_id = self._current, f"request-{self.at}-{self.number}"
        gone = self._forget(digest)
        self._say("delete", "DELETE", digest=digest, request_id=request_id)
        for tag in gone:
            self._say("delete", "DELETE", tag=tag, request_id=request_id, seconds=self.variant % 2 / 1000)

    def _forget(self, digest):
        gone = [key for key, value in self.tags.items() if (*key[:2], value) == (self.source, self.repository, digest)]
        for key in gone:
            del self.tags[key]
        return [tag for *_, tag in gone]

    def _delete_blob(self):
        self._say("delete", "DELETE", digest="sha256:0")

    def _delete_repository(self):
        self._say("delete", "DELETE")


def _steps(repositories, tags, gaps):
    return st.tuples(
        st.sampled_from(OPERATIONS), st.sampled_from(repositories), st.sampled_from(tags), st.sampled_from(DIGESTS),
        st.sampled_from(PEOPLE), st.sampled_from(gaps), st.integers(0, 7),
    )  # fmt: skip


# All kinds of things, or nearly all at once, or all about one tag.
_STORIES = (
    _steps(REPOSITORIES, TAGS, GAPS),
    _steps(REPOSITORIES[:1], TAGS[:3], GAPS[:4]),
    _steps(REPOSITORIES[:1], TAGS[:3], GAPS[10:]),
)


@st.composite
def lives(draw, min_size=12, max_size=45):
    """What happened at one registry, or two, in whatever order it arrives."""
    steps = draw(st.sampled_from(_STORIES))
    registry = _Registry(draw(st.sampled_from(STARTS)), draw(st.lists(steps, min_size=min_size, max_size=max_size)))
    received_at = registry.at + timedelta(hours=1)
    order = draw(st.randoms(use_true_random=False)).sample(registry.events, len(registry.events))
    received = [(source, envelope(event)) for source, event in order]
    _, events = understand(make_delivery(body, received_at=received_at, source=source) for source, body in received)
    later = draw(st.sampled_from([timedelta(0), timedelta(hours=5), timedelta(days=10), timedelta(days=200)]))
    return Life(received, received_at, registry.at + later, events)


EXCLUSIONS = (Exclude(), NOBODY, Exclude(clients=[], actors=["ci-*"], networks=["192.0.2.2/31"]))


@st.composite
def questions(draw, life, **more):
    """What is asked of a life; times are often those at which something happened."""
    times = [event.timestamp for event in life.events]
    moments = st.one_of(st.none(), st.none(), st.sampled_from(times), st.sampled_from(times).map(_midnight))
    some = {
        name: draw(st.sampled_from([()] * 15 + choices))
        for name, choices in {
            "repository": [("team/*",), ("team/app",), ("it's", "team/w?b")],
            "tag": [("latest",), ("1.*", "v*"), ("[!l]*",), ('odd"*',)],
            "actor": [("alice",), ("ci-*", "bob"), ("*",)],
            "client": [("docker",), ("c*", "podman")],
            "source": [("default",), ("l?b",)],
        }.items()
    }
    return Asked(
        now=draw(st.sampled_from([life.now] * 4 + [draw(st.sampled_from(times))])),
        since=draw(moments),
        until=draw(moments),
        exclude=draw(st.sampled_from(EXCLUSIONS)),
        **some,
        **{name: draw(strategy) for name, strategy in more.items()},
    )  # fmt: skip


def _midnight(moment):
    return moment.replace(hour=0, minute=0, second=0, microsecond=0)


def lived(folder, life, how):
    """A store of a life: `journalled`, `sealed`, half of it each, or with what is derived from closed dates `kept`."""
    store = Store(folder, create=True)
    sealed = {"journalled": 0, "half": len(life.received) // 2}.get(how, len(life.received))
    _receive(store, life.received[:sealed], life.received_at)
    seal(store)
    if how == "kept":
        account(store, life.now)
    _receive(store, life.received[sealed:], life.received_at)
    return store


def _receive(store, received, received_at):
    for source in sorted({source for source, _ in received}):
        journalled(store, *(body for of, body in received if of == source), received_at=received_at, source=source)


@st.composite
def traffics(draw):
    """Months of a few repositories: so many pulls a day for some days, then so many more, or none; a few pushes."""
    start, told = draw(st.sampled_from(STARTS)).replace(minute=0), []
    length = draw(st.integers(20, 75))
    for repository in draw(st.lists(st.sampled_from(REPOSITORIES), min_size=1, max_size=2, unique=True)):
        day = draw(st.integers(0, 5))
        while day < length:
            pulls, stops = draw(st.sampled_from([0, 1, 3, 10, 25, 25, 45, 60])), draw(st.booleans())
            who = draw(st.lists(st.sampled_from(PEOPLE), min_size=1, max_size=3))
            for _ in range(draw(st.sampled_from([1, 1, 2, 4, 7, 12, 30]))):
                at = start + timedelta(days=day)
                if day < length and not (stops and at.weekday() > 4):
                    told += _a_day(at, repository, pulls, who, is_pushed=day % 9 == 0)
                day += 1
    body, end = envelope(*told), start + timedelta(days=length)
    _, events = understand([make_delivery(body, received_at=end)])
    now = end + draw(st.sampled_from([timedelta(0), timedelta(hours=9), timedelta(days=4), timedelta(days=9)]))
    return Life([("default", body)] if told else [], end, now, events)


def _a_day(at, repository, pulls, people, *, is_pushed):
    """Pulls that are each on their own, by each of some people in turn; the last of them pushes."""
    digest = IMAGES[at.day % 2]
    for number in range(pulls):
        yield make_event(
            at=at + timedelta(seconds=61 * number), repository=repository, digest=digest, tag="latest",
            id=f"{repository}-{at}-{number}", **people[number % len(people)],
        )  # fmt: skip
    if is_pushed:
        yield make_event(
            at=at + timedelta(hours=2), repository=repository, digest=digest, tag="latest", action="push", method="PUT",
            id=f"{repository}-{at}-push", **people[-1],
        )  # fmt: skip
