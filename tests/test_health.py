"""`health`: can these numbers be trusted?"""

from datetime import timedelta

import pandas as pd
import pytest
from makers import NOW, days, envelope, journalled, make_event

from regstats.compact import expire
from regstats.config import Exclude, Retention
from regstats.sealing import seal
from regstats.stats import Stats


def received(store, *moments, **changes):
    """One event per moment, delivered a second after it happened."""
    for moment in moments:
        journalled(store, envelope(make_event(at=moment - timedelta(seconds=1), **changes)), received_at=moment)


def health(store, **parameters):
    return Stats(store.root, now=NOW).health(**parameters)


def row(store, **parameters):
    (only,) = health(store, **parameters).to_dict("records")
    return only


@pytest.mark.parametrize("sealed", [True, False])
def test_what_was_received(store, sealed):
    """Repetitions and what was not understood are counted, wherever the deliveries are."""
    event = make_event(at=NOW - days(1))
    half = b'{"events": [%s, 1]}' % envelope(make_event(at=NOW - days(1)))[len(b'{\n   "events": [') : -len(b"]\n}")]
    for body in (envelope(event), envelope(event, event), half, b"garbage"):
        journalled(store, body, received_at=NOW - days(1))
    if sealed:
        seal(store)
    expected = {"source": "default", "deliveries": 4, "events": 2, "duplicates": 2, "quarantined": 2}
    assert expected == {name: value for name, value in row(store).items() if name in expected}


def test_lag_is_between_the_registrys_clock_and_receipt(store):
    """Median and longest; events without a time of their own have none."""
    for seconds in (1, 2, 600):
        journalled(store, envelope(make_event(at=NOW - timedelta(seconds=seconds))))
    journalled(store, envelope(make_event(at="")))
    found = row(store)
    assert (timedelta(seconds=2), timedelta(seconds=600)) == (found["lag"], found["max_lag"])


def test_silence_is_since_the_last_delivery(store):
    """Also when it was long ago."""
    received(store, NOW - days(3), NOW - days(2))
    found = row(store)
    assert (timedelta(days=2), timedelta(days=1)) == (found["silence"], found["longest_gap"])


def test_a_gap_is_a_silence_that_is_longer_than_usual(store):
    """Nights are not; a day without anything is, where there is something every day."""
    hours = [NOW.replace(hour=hour) - days(age) for age in range(30, 0, -1) if age != 10 for hour in (8, 12, 16)]
    received(store, *hours)
    found = row(store)
    assert (1, timedelta(hours=40)) == (found["gaps"], found["longest_gap"])


def test_a_few_minutes_are_no_gap(store):
    """Less than an hour is nothing, however busy it was before."""
    received(store, *(NOW - timedelta(minutes=90) + timedelta(seconds=number) for number in range(60)), NOW)
    assert 0 == row(store)["gaps"]


def test_restarts_are_seen_by_the_instance(store):
    """One after the other is a restart; replicas side by side are none."""
    for number, instance in enumerate(["a", "b", "a", "b", "c", "c", "d"]):
        event = make_event(at=NOW - timedelta(minutes=60 - number))
        event["source"]["instanceID"] = instance
        journalled(store, envelope(event))
    found = row(store)
    assert (4, 2) == (found["instances"], found["restarts"])


def test_each_source_has_a_row(store):
    """And torn lines of the journal have one of their own; `source` chooses."""
    received(store, NOW)
    journalled(store, envelope(make_event()), source="lab")
    (segment, *_) = sorted(store.journal.iterdir())
    with segment.open("ab") as file:
        file.write(b"{torn")
    seal(store)
    stats = Stats(store.root)  # torn lines are received now
    assert ["default", "journal", "lab"] == list(stats.health()["source"])
    assert ["lab"] == list(stats.health(source="l*")["source"])


def test_the_window_is_of_receipt(store):
    """Late events count where they came."""
    journalled(store, envelope(make_event(at=NOW - days(20))), received_at=NOW - timedelta(hours=1))
    received(store, NOW - days(3))
    assert 1 == row(store, since="1d")["events"]
    assert 1 == row(store, until="1d")["events"]
    assert 2 == row(store)["events"]


def test_an_empty_store_has_no_rows(store):
    """And the right columns and types."""
    frame = health(store)
    assert 0 == len(frame)
    assert ["source", "deliveries", "events", "duplicates", "quarantined"] == list(frame.columns[:5])
    assert pd.api.types.is_timedelta64_dtype(frame["silence"])


def test_nobody_is_excluded(store):
    """What was received was received."""
    received(store, NOW, user_agent="trivy/0.5")
    everybody = Stats(store.root, now=NOW, exclude=Exclude(clients=["*"]))
    assert [1] == list(everybody.health()["events"])


def test_a_wrong_parameter_is_named(store):
    """Like everywhere."""
    with pytest.raises(ValueError, match="since='yesterday' is not a time"):
        health(store, since="yesterday")


def test_events_outlive_their_deliveries(store):
    """Of deliveries that are not kept nobody knows any more which of their events came twice."""
    received(store, NOW - days(40))
    for _ in range(2):
        journalled(store, envelope(make_event(at=NOW - days(1), id="again")), received_at=NOW - days(1))
    seal(store)
    expire(store, NOW, Retention(deliveries="30d"))
    expected = {"deliveries": 2, "events": 2, "duplicates": 1}
    assert expected == {name: value for name, value in row(store).items() if name in expected}
