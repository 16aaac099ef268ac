"""What happened once in that half-year, for those who look for it with the metrics. Times are UTC.

Forgotten      `cadence`, `top`      tools/lint is pulled by every build; carol, who cared for it, left in June
Unused         `unused`              data/notebook, the legacy portal and old feature branches take space for nobody
Stays behind   `adoption`            the branch office (edge) has the team/api of October, while all others moved on
Loop           `anomalies`           a broken pipeline pulls tools/lint over and over, 15 and 16 September
Crowd          `anomalies`           a workshop pulls team/web on 15 October
Token          `anomalies`           somebody unknown looks around in the night of 4 November, with a forgotten token
Silence        `anomalies`           nobody notices that data/reports is not pulled any more since 9 November
New colleague  `anomalies`           frank comes in September, and pushes to team/worker two weeks later
Incident       `history`             team/api: a broken hotfix is stable on 7 October from 14:05 to 14:48
Made again     `history`             team/web: a version is deleted and pushed anew, 14 October
Restart, gap   `health`              17 November: nothing arrived from 10:12 on; at 13:01 the registry was restarted
Twice, odd     `health`              three deliveries came twice; one came from a chat bot
"""

from datetime import UTC, datetime, timedelta

import regstats.sample.company as our
from regstats.sample.clients import delete, pull, pull_digest, push, retag, untag
from regstats.sample.company import BEGIN, LINT, NOW, REPORTS, SMALL
from regstats.sample.days import MEGA, base, push_main, service_image
from regstats.sample.registry import Client, Registry

LOST = (datetime(2026, 11, 17, 10, 12, tzinfo=UTC), datetime(2026, 11, 17, 13, 1, tzinfo=UTC))
"""The collector could not be reached; the registry kept what it had to tell, until it was restarted."""
LATE = (datetime(2026, 11, 20, 12, 0, tzinfo=UTC), datetime(2026, 11, 20, 12, 11, tzinfo=UTC))
"""The same, but the registry had the patience to deliver it afterwards."""
TWICE = [datetime(2026, 11, day, 9, 30, tzinfo=UTC) for day in (3, 12, 19)]
"""The next delivery was answered too late, so the registry sent it again."""
ODD = (datetime(2026, 11, 10, 8, 0, tzinfo=UTC), b'{"text": "hello from the chat bot"}')
"""No notification at all."""


def plan(registry: Registry) -> None:
    """Notes all of it."""
    for tell in (_forgotten, _unused, _feature_branches, _stays_behind, _loop, _crowd, _token, _silence, _colleague):
        tell(registry)
    registry.at(_at(8, 12, 7, 30), _fix_base)
    registry.at(_at(10, 7, 14, 5), _incident)
    registry.at(_at(10, 14, 9, 20), _made_again)
    registry.at(LOST[1], Registry.restart)


def _at(month: int, day: int, hour: int = 10, minute: int = 0) -> datetime:
    return datetime(2026, month, day, hour, minute, tzinfo=UTC)


def _days(first: datetime, last: datetime, every: int = 1) -> list[datetime]:
    return [first + timedelta(days=number) for number in range(0, (last - first).days + 1, every)]


def _new(registry: Registry, client: Client, repository: str, tag: str, sizes: tuple[int, ...]) -> None:
    """A new image with layers of about these sizes, in megabytes."""
    stack = (registry.layer(size * MEGA * 9 // 10, size * MEGA * 11 // 10) for size in sizes)
    push(registry, client, repository, tag, registry.image(*stack))


def _forgotten(registry: Registry) -> None:
    for number, day in enumerate(_days(_at(5, 26, 9), _at(6, 9, 9), 7)):
        registry.at(day, _new, our.CAROL, *LINT, (44, 7 + number))
    for day in _days(_at(5, 27, 8), _at(6, 10, 8), 7):
        registry.at(day, pull, our.CAROL, "team/web", "main")


def _unused(registry: Registry) -> None:
    registry.at(_at(5, 27, 15), _new, our.ERIN, "data/notebook", "1.0", (310, 1240, 85))
    registry.at(_at(6, 3, 15), _new, our.ERIN, "data/notebook", "gpu", (310, 4650, 85))
    registry.at(_at(6, 4, 7), pull, our.ERIN, "data/notebook", "gpu")
    for number, day in enumerate((_at(5, 28), _at(6, 11), _at(6, 30))):
        registry.at(day, _new, our.BOB, "team/legacy-portal", f"1.{number}.0", (95, 240, 38))
    for day in _days(_at(6, 1, 6), _at(7, 13, 6), 7):
        registry.at(day, pull, our.LEGACY, "team/legacy-portal", "1.0.0")
    for number, day in enumerate((_at(7, 1, 11), _at(7, 28, 11), _at(10, 6, 11))):
        registry.at(day, _new, our.BOB, "infra/backup", f"1.{3 + number}.0", (22, 9))
        registry.at(day + timedelta(hours=1), pull, our.STAGING, "infra/backup", f"1.{3 + number}.0")
    registry.at(_at(10, 20, 15, 30), delete, our.ADMIN_SKOPEO, "infra/backup", "1.3.0")


def _feature_branches(registry: Registry) -> None:
    """Pushed to be looked at once; of them one is removed, half a year later."""
    for day, name in ((15, "login"), (16, "cart"), (18, "search"), (23, "dark-mode")):
        registry.at(_at(6, day, 13), _feature, f"feature-{name}")
    registry.at(_at(11, 19, 15, 10), untag, our.ADMIN, "team/web", "feature-login")


def _feature(registry: Registry, tag: str) -> None:
    push(registry, our.CI, "team/web", tag, service_image(registry))
    registry.later(20, pull, our.STAGING, "team/web", tag)


def _stays_behind(registry: Registry) -> None:
    for day in _days(our.EDGE_STAYS + timedelta(hours=6), NOW - timedelta(hours=6), 3):
        registry.at(day, pull_digest, our.EDGE, "team/api")


def _loop(registry: Registry) -> None:
    """A step that fails at once, and is tried again every ten minutes, until somebody looks."""
    for begin, end in ((_at(9, 15, 11), _at(9, 16, 0)), (_at(9, 16, 0), _at(9, 16, 9))):
        for number in range(int((end - begin).total_seconds()) // 600):
            at = begin + timedelta(minutes=10 * number, seconds=registry.random.randint(0, 30))
            registry.at(at, pull, our.CI_PODMAN, *LINT)


def _crowd(registry: Registry) -> None:
    for number in range(34):
        guest = Client("workshop", f"10.50.0.{number + 20}", our.DOCKER)
        at = _at(10, 15, 13) + timedelta(seconds=registry.random.randint(0, 900))
        registry.at(at, _pull_newest, guest)


def _pull_newest(registry: Registry, client: Client) -> None:
    pull(registry, client, "team/web", _version_of(registry, "team/web", "stable"))


def _token(registry: Registry) -> None:
    registry.at(_at(11, 4, 2, 13), _look_around)


def _look_around(registry: Registry) -> None:
    seen = (our.BASE, our.NIGHTLY, *((service.repository, "main") for service in SMALL.services))
    for number, (repository, tag) in enumerate(sorted(seen)):
        registry.later(3 * number, pull, our.STRANGER, repository, tag)


def _silence(registry: Registry) -> None:
    for day in _days(BEGIN + timedelta(hours=6, minutes=20), _at(11, 9, 7)):
        if day.weekday() < 5:
            registry.at(day, pull, our.REPORTING, *REPORTS)
    for month in (6, 7, 9, 10, 11):
        registry.at(_at(month, 2, 12), _new, our.ERIN, *REPORTS, (61, 3))


def _colleague(registry: Registry) -> None:
    for day in _days(_at(9, 1, 8), _at(11, 23, 8)):
        if our.is_working(day.date()) and registry.random.random() < 0.6:
            at = day + timedelta(minutes=registry.random.randint(0, 480))
            registry.at(at, pull, our.FRANK, "team/worker", "main")
    for at in (_at(9, 15, 15, 40), _at(10, 13, 15, 40), _at(11, 10, 15, 40)):
        registry.at(at, push_main, SMALL.services[2], our.FRANK)


def _fix_base(registry: Registry) -> None:
    """A hole in a library: a new base out of turn, and everything built on it anew."""
    push(registry, our.CI_BUILDAH, *our.BASE, base(registry))
    for number, service in enumerate(SMALL.services):
        registry.later(40 + 9 * number, push_main, service, our.CI)


def _incident(registry: Registry) -> None:
    """A hotfix goes to stable without a look at staging; two nodes have it before dave takes it back."""
    before = _version_of(registry, "team/api", "stable")
    hotfix = before.removesuffix("0") + "1"
    push(registry, our.CI, "team/api", hotfix, service_image(registry, registry.tags["team/api", "main"]))
    retag(registry, our.CI, "team/api", hotfix, "stable")
    first, second, third, _ = our.NODES
    for minutes, node in ((2, first), (6, second), (46, first), (47, second), (50, third)):
        registry.later(minutes, pull, node, "team/api", "stable")
    registry.later(43, retag, our.DAVE, "team/api", before, "stable")
    registry.later(150, delete, our.ADMIN_SKOPEO, "team/api", hotfix)


def _version_of(registry: Registry, repository: str, tag: str) -> str:
    """The other name of what a tag points to."""
    wanted = registry.tags[repository, tag]
    names = (name for (owner, name), image in registry.tags.items() if owner == repository and image is wanted)
    return next(name for name in names if name[0].isdigit())


def _made_again(registry: Registry) -> None:
    """The version of the day before was built from the wrong commit: it is deleted, and made again under its name."""
    version = _version_of(registry, "team/web", "stable")
    push_main(registry, SMALL.services[1], our.CI)
    delete(registry, our.ADMIN_SKOPEO, "team/web", version)
    registry.later(95, _release_again, version)


def _release_again(registry: Registry, version: str) -> None:
    for tag in (version, "stable"):
        retag(registry, our.DAVE, "team/web", "main", tag)
    for number, node in enumerate(our.NODES):
        registry.later(10 + 5 * number, pull, node, "team/web", "stable")
