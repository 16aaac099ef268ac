"""The same company, grown: as many events as are wanted, in the same half-year, to feel how it is with many of them.

One process plays the registry, day by day, while another seals what was told of the day before, and does the upkeep of
each month that is over. So neither memory nor disk grows with what is thrown away later, and whenever it is
interrupted, there is a store.
"""

import signal
from collections.abc import Generator, Iterator
from concurrent.futures import ProcessPoolExecutor
from datetime import datetime, timedelta
from multiprocessing import get_context

import msgspec

from regstats.compact import compact, sweep
from regstats.config import Retention
from regstats.events import Delivery
from regstats.journal import Journal
from regstats.sample import days
from regstats.sample.company import BEGIN, CONTAINERD, DOCKER, NOW, Company, Service
from regstats.sample.registry import Client, Registry, Told
from regstats.sealing import seal
from regstats.store import Store

EVENTS = 10_000_000
HALF_A_YEAR = (NOW - BEGIN).days
_SEED = 7
_EVENTS_OF_A_SERVICE = 245
"""A day, on average."""
_TEAM = ("api", "web", "worker", "jobs")
_NODES = 12
_TOGETHER = 25
"""Events in a delivery: a registry sends one, other senders more; few large bodies are sooner written than many."""
_KEPT = Retention(deliveries="30d")


def write(store: Store, events: int = EVENTS, length: int = HALF_A_YEAR) -> Generator[int, None, None]:
    """Fills a store with about so many events of so many days; yields how many there are, after each day."""
    registry, firm = Registry(_SEED, BEGIN), _firm(max(1, round(events / length / _EVENTS_OF_A_SERVICE)))
    days.stock(registry, firm)
    stored = 0
    with ProcessPoolExecutor(1, get_context("spawn"), _ignore_interrupt) as other:
        sealing = other.submit(int)
        for number in range(length):
            day = BEGIN + timedelta(days=number)
            days.plan(registry, firm, day.date())
            received = list(_deliveries(day, registry.live(day + timedelta(days=1))))
            stored += sealing.result()
            yield stored
            sealing = other.submit(_store, store, day, received)
        stored += sealing.result()
        other.submit(_settle, store, NOW).result()
    yield stored


def _ignore_interrupt() -> None:
    """Ctrl-C is for the one who was asked; what is being sealed will be."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _store(store: Store, day: datetime, received: list[Delivery]) -> int:
    """Takes a day's deliveries in, as a collector does; how many events are new."""
    journal = Journal(store.journal)
    journal.append(received)
    journal.rotate()
    events = seal(store).events
    if day.day == 1:
        _settle(store, day)
    return events


def _settle(store: Store, now: datetime) -> None:
    """Upkeep; what was replaced goes at once, since nobody reads it yet."""
    compact(store, now, _KEPT)
    sweep(store, grace=timedelta(0))


def _firm(services: int) -> Company:
    made = tuple(_service(number) for number in range(services))
    runners = tuple(Client("ci", f"10.20.{number}.1", DOCKER, keeps=number % 2 == 0) for number in range(40))
    return Company(made, runners)


def _service(number: int) -> Service:
    """One of four of a team, with releases of its own rhythm, on nodes that are not equally quick."""
    team, name = divmod(number, len(_TEAM))
    people = tuple(Client(f"dev-{team:02}-{one}", f"10.10.{team}.{one}", DOCKER) for one in range(1, 7))
    nodes = tuple(
        (Client(f"cluster-{number % 5}", f"10.30.{number % 200}.{node}", CONTAINERD), timedelta(hours=node**2 / 3))
        for node in range(1, _NODES + 1)
    )
    first_train = (BEGIN + timedelta(days=1 + number % 4 + 7 * (number % 2))).date()
    return Service(f"team-{team:02}/{_TEAM[name]}", people, nodes, first_train, number % 9, builds=10, fresh_nodes=20)


def _deliveries(day: datetime, told: list[Told]) -> Iterator[Delivery]:
    for start in range(0, len(told), _TOGETHER):
        some = told[start : start + _TOGETHER]
        yield Delivery(
            received_at=some[-1][0] + timedelta(milliseconds=2),
            delivery_id=f"{day:%Y%m%d}-{start:x}",
            source="default",
            remote_address="10.0.0.5",
            headers={"Content-Type": "application/vnd.docker.distribution.events.v2+json"},
            body=msgspec.json.encode({"events": [event for _, event in some]}),
        )
