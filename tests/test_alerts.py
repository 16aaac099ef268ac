"""Alerts: what holds, what is told of it, and when it is told again."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from makers import NOW, envelope, journalled, make_event, make_push

from regstats.agenda import Alert
from regstats.alerts import Facts, Told, holding, rehearse, step
from regstats.stats import Stats

DAY, HOUR = timedelta(days=1), timedelta(hours=1)
HOSTILE = "it`s|<b>\u202eevil"


def alert(when="silence", **changes):
    return Alert(name="test", when=when, to=["x"], **changes)


def pulls(day, count, repository="team/app", actor="alice", **changes):
    """So many pulls at noon of a day, counted from today, by different machines."""
    at = NOW + day * DAY
    return [
        make_event(at=at, repository=repository, actor=actor, addr=f"192.0.2.{number}:1", **changes)
        for number in range(count)
    ]


@pytest.fixture
def holds(store):
    """What an alert of some kind has to tell of at a moment."""

    def ask(one, *events, now=NOW):
        if events:
            journalled(store, envelope(*events), received_at=NOW)
        return holding(one, Facts(Stats(store.root, now=now), store.root, one.repository))

    return ask


# What holds


@pytest.mark.parametrize(
    "kind", ["stale", "silence", "spike", "drop", "new_actor", "pull_loop", "silent_source", "quarantine"]
)
def test_of_an_empty_store_there_is_nothing_to_tell(holds, kind):
    """Of no kind."""
    assert {} == holds(alert(kind))


def test_what_is_used_and_stale(holds):
    """And nothing that is maintained, or not used; only of those repositories that are asked for."""
    old = [make_push(repository=name, at=NOW - 400 * DAY) for name in ("team/old", "lab/old", "team/unused")]
    new = [make_push(repository="team/new", at=NOW - DAY)]
    used = [event for name in ("team/old", "lab/old", "team/new") for event in pulls(-1, 3, name)]
    told = holds(alert("stale"), *old, *new, *used)
    assert {"team/old", "lab/old"} == told.keys()
    assert "`team/old` is pulled (in four weeks: 3), and its last update is 400d old: grade D" == told["team/old"]
    assert ["lab/old"] == list(holds(alert("stale", repository=["lab/*"])))


def test_a_repository_that_is_not_pulled_any_more(holds):
    """Until somebody pulls it again."""
    events = [event for day in range(-50, -9) for event in pulls(day, 2)]
    told = holds(alert("silence"), *events)
    assert ["team/app"] == list(told)
    assert told["team/app"].startswith("`team/app`: 9 days without a pull")
    assert {} == holds(alert("silence"), *pulls(0, 1))


@pytest.mark.parametrize(("kind", "count"), [("spike", 200), ("drop", 1)])
def test_a_day_out_of_the_ordinary(holds, kind, count):
    """And not one of last week; nor of the other kind."""
    usual = [event for day in range(-37, -1) for event in pulls(day, 40)]
    told = holds(alert(kind), *usual, *pulls(-1, count))
    assert ["team/app"] == list(told)
    assert told["team/app"].startswith("`team/app`: ")
    assert {} == holds(alert("drop" if kind == "spike" else "spike"))
    assert {} == holds(alert(kind), now=NOW + 5 * DAY)


def test_a_new_name(holds):
    """With what it did where; its name may be anything."""
    usual = [event for day in range(-30, 0) for event in pulls(day, 1)]
    told = holds(alert("new_actor"), *usual, *pulls(-1, 1, actor=HOSTILE))
    assert [HOSTILE] == [key.split("\n")[-1] for key in told]
    (text,) = told.values()
    assert (True, False) == ("it\\u0060s\\u007c<b>\\u202eevil" in text, "\u202e" in text)


def test_a_loop(holds):
    """One client that pulls again and again."""
    loop = [
        make_event(at=NOW - HOUR + n * timedelta(seconds=30), actor="robot", user_agent="@channel") for n in range(100)
    ]
    told = holds(alert("pull_loop"), *loop)
    assert ["team/app\nrobot"] == list(told)
    assert told["team/app\nrobot"].startswith("`team/app` `robot`: `100 pulls of one manifest on a day by other at")


def test_a_source_from_which_nothing_comes(store, holds):
    """For as long as is said; each source alone."""
    journalled(store, envelope(make_event()), source="lab", received_at=NOW - 30 * HOUR)
    journalled(store, envelope(make_event()), source="prod", received_at=NOW - HOUR)
    told = holds(alert("silent_source"))
    assert {"lab": "Nothing has come from the source `lab` for 1d 6h"} == told
    assert {} == holds(alert("silent_source", silent_for="31h"))
    assert {} == holds(alert("silent_source", source=["prod"]))
    assert {"lab", "prod"} == holds(alert("silent_source", silent_for="30m")).keys()


def test_what_was_not_understood(store, holds):
    """Each source alone, until it is taken up or gone."""
    journalled(store, b"garbage", b"rubbish", source="lab")
    journalled(store, b"trash", source="prod")
    told = holds(alert("quarantine"))
    assert "2 deliveries of the source `lab` were not understood; `regstats quarantine` lists them" == told["lab"]
    assert ["prod"] == list(holds(alert("quarantine", source=["prod"])))


def test_a_disk_that_is_nearly_full(holds):
    """By the limit that is said."""
    assert ["disk"] == list(holds(alert("disk_low", below=99.99999)))
    assert {} == holds(alert("disk_low", below=1e-9))


# When it is told


def test_it_is_told_once_and_when_it_is_over():
    """However long it lasts."""
    one, entries, told = alert(), {}, []
    for hour in range(100):
        said, entries = step(one, NOW + hour * HOUR, {"a": f"a since {hour}"} if 10 <= hour < 90 else {}, entries)
        told += [(hour, said)] if any(said) else []
    assert [(10, Told(["a since 10"], [], [])), (90, Told([], [], ["a since 10"]))] == told
    assert {} == entries


def test_it_is_not_told_that_it_is_over():
    """If nobody wants to know; nor of what just happens."""
    for one in (alert(resolved=False), alert("new_actor"), alert("pull_loop")):
        _, entries = step(one, NOW, {"a": "a"}, {})
        said, _ = step(one, NOW + 30 * DAY, {}, entries)
        assert Told([], [], []) == said


def test_what_comes_and_goes_is_told_once_in_a_while():
    """It is told again after the cooldown, also if it has come back before."""
    one, entries, told = alert(cooldown="6h"), {}, []
    for hour in range(12):
        said, entries = step(one, NOW + hour * HOUR, {"a": "a"} if hour in (0, 2, 4, 5, 6, 7, 8, 9) else {}, entries)
        told += [(hour, *map(len, said))] if any(said) else []
    assert [(0, 1, 0, 0), (1, 0, 0, 1), (6, 1, 0, 0), (10, 0, 0, 1)] == told


def test_reminders():
    """Only if they are asked for."""
    one, entries, told = alert(remind="8h"), {}, []
    for hour in range(20):
        said, entries = step(one, NOW + hour * HOUR, {"a": f"{hour}"}, entries)
        told += [(hour, said)] if any(said) else []
    assert [(0, Told(["0"], [], [])), (8, Told([], ["8"], [])), (16, Told([], ["16"], []))] == told


@given(st.lists(st.frozensets(st.sampled_from("abc")), max_size=40), st.sampled_from(["1h", "5h", "24h"]))
def test_nothing_is_told_twice_within_the_cooldown(days, cooldown):
    """Whatever comes and goes; and what is said to be over had been told."""
    one, entries, known, told_at = alert(cooldown=cooldown), {}, set(), {}
    for hour, holds in enumerate(days):
        said, entries = step(one, NOW + hour * HOUR, {key: key for key in holds}, entries)
        assert set(said.new) <= holds - known
        assert set(said.resolved) == known - holds
        assert all(hour - told_at[key] >= int(cooldown[:-1]) for key in said.new if key in told_at)
        known = (known | set(said.new)) & holds
        told_at |= dict.fromkeys(said.new, hour)
        assert holds - known <= {key for key, at in told_at.items() if hour - at < int(cooldown[:-1])}


# Rehearsing


def test_when_it_would_have_told(store):
    """The past, as it was then known."""
    journalled(store, envelope(*(event for day in [*range(-50, -20), -2, 0] for event in pulls(day, 2))))
    stats = Stats(store.root)

    def facts_at(at):
        stats.now = at
        return Facts(stats, None, [])

    found = list(rehearse(alert(every="12h"), facts_at, NOW - 25 * DAY, NOW))
    assert [(1, 0), (0, 1)] == [(len(moment.told.new), len(moment.told.resolved)) for moment in found]
    assert [-16, -2] == [round((moment.at - NOW) / DAY) for moment in found]
    assert [] == list(rehearse(alert("disk_low", below=99.99), facts_at, NOW - DAY, NOW))


def test_a_rehearsal_is_of_now_too(store):
    """With nothing before it."""
    looked = []
    list(rehearse(alert("disk_low"), lambda at: looked.append(at) or Facts(None, None, []), NOW, NOW))
    list(rehearse(alert("disk_low"), lambda at: looked.append(at) or Facts(None, None, []), NOW - 365 * DAY, NOW))
    assert (NOW, NOW, True) == (looked[0], looked[-1], 100 < len(looked) <= 171)
