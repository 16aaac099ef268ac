"""What happens on an ordinary day: builds and people in office hours, releases, and machines around the clock."""

from datetime import UTC, date, datetime, time, timedelta

import regstats.sample.company as our
from regstats.sample.clients import check, pull, push, push_chart, retag, sign
from regstats.sample.company import BASE, LINT, NIGHTLY, REPORTS, Company, Service, is_lull, is_train, is_working
from regstats.sample.registry import OCI_CONFIG, OCI_LAYER, Client, Image, Registry, Thing

MEGA = 1_000_000


def stock(registry: Registry, firm: Company) -> None:
    """What the registry held before anything was recorded: without events of its own."""
    registry.tags[BASE] = base(registry)
    registry.tags[LINT] = registry.image(registry.layer(30 * MEGA, 60 * MEGA), registry.layer(2 * MEGA, 9 * MEGA))
    for tag in (NIGHTLY, REPORTS):
        registry.tags[tag] = registry.image(*layers(registry, 3))
    for service in firm.services:
        registry.tags[service.repository, "main"] = service_image(registry)
        registry.tags[service.repository, "stable"] = service_image(registry)
    for (repository, _), image in registry.tags.items():
        for blob in image.blobs + tuple(blob for child in image.children for blob in child.blobs):
            registry.homes.setdefault(blob.digest, set()).add(repository)


def layers(registry: Registry, number: int) -> tuple[Thing, ...]:
    """New ones of any size."""
    return tuple(registry.layer(MEGA, 40 * MEGA) for _ in range(number))


def base(registry: Registry) -> Image:
    """For two platforms, as buildah pushes it."""
    children = (registry.image(registry.layer(28 * MEGA, 34 * MEGA, OCI_LAYER), config=OCI_CONFIG) for _ in range(2))
    return registry.index(*children)


def service_image(registry: Registry, before: Image | None = None) -> Image:
    """The base, what a service depends on, and what is built: new each time; of the rest mostly only that."""
    below = registry.tags[BASE].layers
    is_kept = registry.random.random() < 0.8
    depends = before.layers[-2] if before and is_kept else registry.layer(20 * MEGA, 90 * MEGA)
    return registry.image(*below, depends, registry.layer(MEGA // 5, 5 * MEGA))


def plan(registry: Registry, firm: Company, day: date) -> None:
    """Notes all that is to happen on a day."""
    midnight = datetime.combine(day, time(), UTC)
    _around_the_clock(registry, firm, midnight)
    for service in firm.services:
        for number in range(service.fresh_nodes):
            node = Client("autoscaler", f"10.64.{number % 250}.{day.day}", our.CONTAINERD, keeps=False)
            registry.at(_moment(registry, midnight, 0, 24), pull, node, service.repository, "stable")
        if is_working(day):
            _office_hours(registry, firm, service, midnight)


def _around_the_clock(registry: Registry, firm: Company, midnight: datetime) -> None:
    """A poller that asks for news, a nightly job, once a week a scanner."""
    is_new = midnight >= our.HOURLY
    for hour in range(0, 24, 1 if is_new else 2) if is_new or is_working(midnight.date()) else ():
        at = midnight + timedelta(hours=hour, minutes=3, seconds=registry.random.randint(0, 40))
        registry.at(at, check, our.POLLER, *registry.random.choice(firm.polled))
    if not is_working(midnight.date()):
        return
    registry.at(midnight + timedelta(hours=2, minutes=10), _nightly)
    if midnight.weekday() == 0:
        registry.at(midnight + timedelta(hours=5, minutes=30), _monthly)
    if midnight.weekday() == 2:
        registry.at(midnight + timedelta(hours=4), _scan, firm)


def _office_hours(registry: Registry, firm: Company, service: Service, midnight: datetime) -> None:
    quiet = is_lull(midnight.date())
    for _ in range(int(service.builds * (0.45 if quiet else 1) + registry.random.random())):
        registry.at(_moment(registry, midnight, 7, 16), _build, firm, service)
    for person in service.developers:
        if registry.random.random() < (0.2 if quiet else 0.9):
            registry.at(_moment(registry, midnight, 6.5, 16.5), pull, person, service.repository, "main")
    if is_train(service, midnight.date()):
        registry.at(midnight + timedelta(hours=9, minutes=registry.random.randint(0, 50)), release, service)


def _moment(registry: Registry, midnight: datetime, least: float, most: float) -> datetime:
    return midnight + timedelta(hours=registry.random.uniform(least, most))


def _build(registry: Registry, firm: Company, service: Service) -> None:
    """A merge to main: CI checks it, builds it on the base, and pushes; staging takes it."""
    runner = registry.random.choice(firm.runners)
    pull(registry, runner, *LINT)
    registry.later(2, pull, runner, *BASE)
    registry.later(5 + registry.random.random(), push_main, service, runner)
    registry.later(8, pull, our.STAGING, service.repository, "main")


def push_main(registry: Registry, service: Service, client: Client) -> None:
    """A new image on main."""
    image = service_image(registry, registry.tags[service.repository, "main"])
    push(registry, client, service.repository, "main", image)


def release(registry: Registry, service: Service) -> None:
    """What is on main gets a version and becomes stable, signed and with a chart; then node by node takes it."""
    version = next_version(registry, service)
    for tag in (version, "stable"):
        retag(registry, our.DAVE, service.repository, "main", tag)
    sign(registry, our.CI_COSIGN, service.repository, version)
    chart = f"charts/{service.name}"
    push_chart(registry, our.CI_HELM, chart, version)
    registry.later(3, pull, our.ARGO, chart, version)
    for node, lag in service.nodes:
        registry.later(lag.total_seconds() / 60, take, node, service)


def take(registry: Registry, node: Client, service: Service) -> None:
    """A node moves on to what is stable."""
    if not (node is our.EDGE and registry.now >= our.EDGE_STAYS):
        pull(registry, node, service.repository, "stable")


def next_version(registry: Registry, service: Service) -> str:
    """`2.4.0`, then `2.5.0`."""
    return f"2.{service.first_version + released(registry, service)}.0"


def released(registry: Registry, service: Service) -> int:
    """How many releases there were."""
    return sum(repository == service.repository and tag.endswith(".0") for repository, tag in registry.tags)


def _nightly(registry: Registry) -> None:
    """The job's image is built anew in two of three nights, and run."""
    if registry.now.day % 3:
        below = registry.tags[NIGHTLY].layers[:-1]
        push(registry, our.CI_BUILDAH, *NIGHTLY, registry.image(*below, registry.layer(MEGA, 3 * MEGA)))
        registry.later(4, pull, our.ETL, *NIGHTLY)


def _monthly(registry: Registry) -> None:
    """On the first Monday of a month the base is built anew."""
    if registry.now.day <= 7:
        push(registry, our.CI_BUILDAH, *BASE, base(registry))


def _scan(registry: Registry, firm: Company) -> None:
    """A scanner looks at what is newest."""
    for tag in (BASE, LINT, NIGHTLY, *((service.repository, "main") for service in firm.services)):
        pull(registry, our.SCANNER, *tag)
