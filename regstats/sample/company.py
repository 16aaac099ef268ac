"""The company whose registry it is: its calendar, its people and machines, what it builds and where that runs.

Data only. What clients do is in `clients`, what an ordinary day is in `days`, what happened once in `stories`.
"""

from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple

from regstats.sample.registry import Client

BEGIN = datetime(2026, 5, 25, tzinfo=UTC)
NOW = datetime(2026, 11, 24, tzinfo=UTC)
"""The present: the sample ends here. Questions about it are asked as of this moment."""

HOLIDAYS = frozenset({date(2026, 5, 25), date(2026, 6, 4), date(2026, 8, 15), date(2026, 10, 3), date(2026, 11, 1)})
_LULL = (date(2026, 8, 3), date(2026, 8, 21))
"""Nearly everybody is away."""
HOURLY = datetime(2026, 10, 19, tzinfo=UTC)
"""From then on the poller asks every hour; before that it was every two hours on working days."""
EDGE_STAYS = datetime(2026, 11, 1, tzinfo=UTC)
"""From then on the machine in the branch office has its digest written down, and nobody thinks of it."""

DOCKER = (
    "docker/27.5.1 go/go1.22.11 git-commit/4c9b3b0 kernel/6.1.0-28-amd64 os/linux arch/amd64 "
    r"UpstreamClient(Docker-Client/27.5.1 \(linux\))"
)
CONTAINERD = "containerd/1.7.24"
PODMAN = "containers/5.23.1 (github.com/containers/image)"
SKOPEO = "skopeo/1.9.3"
BUILDAH = "Buildah/1.28.2"
CRANE = "crane/(devel) go-containerregistry/(devel)"
HELM = "Helm/3.16.3"
COSIGN = "cosign/v2.4.1 (linux; amd64) go-containerregistry/v0.20.2"
TRIVY = "trivy/0.57.1 go-containerregistry/v0.20.2"
CURL = "curl/7.88.1"

BASE = ("platform/base", "3.20")
LINT = ("tools/lint", "latest")
REPORTS = ("data/reports", "latest")
NIGHTLY = ("data/etl", "nightly")

ALICE = Client("alice", "10.10.0.31", DOCKER)
BOB = Client("bob", "10.10.0.32", PODMAN)
CAROL = Client("carol", "10.10.0.33", DOCKER)
DAVE = Client("dave", "10.10.0.34", CRANE)
ERIN = Client("erin", "10.10.0.35", SKOPEO)
FRANK = Client("frank", "10.10.0.36", DOCKER)
ADMIN = Client("admin", "10.10.0.2", CURL)
ADMIN_SKOPEO = Client("admin", "10.10.0.2", SKOPEO)

CI = Client("ci", "10.20.0.11", DOCKER)
CI_BUILDAH = Client("ci", "10.20.0.13", BUILDAH)
CI_HELM = Client("ci", "10.20.0.11", HELM)
CI_COSIGN = Client("ci", "10.20.0.11", COSIGN)
CI_PODMAN = Client("ci", "10.20.0.12", PODMAN)
ARGO = Client("argo", "10.30.0.5", HELM)
STAGING = Client("staging", "10.30.1.5", PODMAN)
ETL = Client("etl", "10.30.2.5", CONTAINERD)
REPORTING = Client("reporting", "10.30.2.9", PODMAN)
POLLER = Client("updates", "10.30.1.9", CRANE)
SCANNER = Client("scanner", "10.30.1.20", TRIVY)
LEGACY = Client("legacy", "10.40.0.3", PODMAN)
EDGE = Client("edge", "10.40.0.7", PODMAN)
STRANGER = Client("svc-import", "203.0.113.77", SKOPEO)

NODES = [Client("cluster", f"10.30.0.{number}", CONTAINERD) for number in (21, 22, 23, 24)]
_LAGS = [timedelta(minutes=4), timedelta(minutes=50), timedelta(hours=26), timedelta(days=6)]


class Service(NamedTuple):
    """Something that is built, released as a train, and run."""

    repository: str
    developers: tuple[Client, ...]
    nodes: tuple[tuple[Client, timedelta], ...]
    """Where `stable` runs, and how long after a release it is taken there."""
    first_train: date
    """A release every fourteen days from then on."""
    first_version: int
    """The number in the middle of its version."""
    builds: float = 0.7
    """On a working day."""
    fresh_nodes: int = 0
    """Nodes that are started on a day, and have nothing."""

    @property
    def name(self) -> str:
        """That of the repository without the team's."""
        return self.repository.rpartition("/")[2]


class Company(NamedTuple):
    """Who builds what, on which machines."""

    services: tuple[Service, ...]
    runners: tuple[Client, ...] = (CI, CI_PODMAN)
    polled: tuple[tuple[str, str], ...] = (BASE, LINT, NIGHTLY, REPORTS)


_CLUSTER = tuple(zip(NODES, _LAGS, strict=True))
SMALL = Company(
    (
        Service("team/api", (ALICE, BOB), (*_CLUSTER, (EDGE, timedelta(hours=9))), date(2026, 5, 27), 4),
        Service("team/web", (BOB, ERIN), _CLUSTER, date(2026, 5, 26), 11),
        Service("team/worker", (ALICE, DAVE), _CLUSTER[:3], date(2026, 5, 28), 7),
    )
)


def is_working(day: date) -> bool:
    """Whether anybody is there."""
    return day.weekday() < 5 and day not in HOLIDAYS


def is_lull(day: date) -> bool:
    """Whether hardly anybody is."""
    return _LULL[0] <= day <= _LULL[1]


def is_train(service: Service, day: date) -> bool:
    """Whether the service is released on that day; nobody does while the others are away."""
    days = (day - service.first_train).days
    return days >= 0 and days % 14 == 0 and is_working(day) and not is_lull(day)
