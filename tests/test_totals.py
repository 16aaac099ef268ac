"""How often each repository was used since the collector started."""

from hypothesis import given
from hypothesis import strategies as st

from regstats.totals import MOST, Totals, Use

NOTHING = Use()


def after(*looks):
    """What is told after some looks at the store."""
    totals = Totals(looks[0])
    for look in looks[1:]:
        totals.add(look)
    return totals.most_used()


def test_what_was_there_at_the_start_is_not_counted():
    """It may have been counted by the collector before this one."""
    assert {"a": NOTHING} == after({"a": Use(7, 6, 5, 4)})
    assert {"a": Use(1, 0, 2, 1)} == after({"a": Use(7, 6, 5, 4)}, {"a": Use(8, 6, 7, 5)})


def test_a_new_repository_is_at_0_first():
    """Prometheus sees how much something grew only if it saw where that began."""
    assert {"a": NOTHING} == after({}, {"a": Use(3)})
    assert {"a": Use(4)} == after({}, {"a": Use(3)}, {"a": Use(4)})


def test_what_is_dropped_stays_counted():
    """When there is less in the store, or nothing any more, what comes then is added all the same."""
    assert {"a": Use(5)} == after({"a": Use(100)}, {"a": Use(103)}, {"a": Use(10)}, {"a": Use(12)})
    assert {"a": Use(3)} == after({"a": Use(100)}, {"a": Use(101)}, {}, {"a": Use(2)})


def test_only_the_most_used_are_told_of():
    """By what the store has of them: who is new does not drive out those that are used."""
    many = {f"repository-{number}": Use(pulls=1 + number // 2, pushes=number - number // 2) for number in range(MOST)}
    some = {"idle": NOTHING, "busy": Use(1000)}
    assert {*many, "busy"} - {"repository-0"} == after(many | some).keys()
    made_up = {f"made-up-{number}": NOTHING for number in range(1000)}
    assert many.keys() == after(many, many | made_up).keys()


def test_what_drops_out_is_counted_on():
    """A counter that was away and comes back is not lower than it was, and lacks nothing."""
    many = {f"repository-{number}": Use(10) for number in range(MOST)}
    totals = Totals(many | {"a": Use(11)})
    totals.add(many | {"a": Use(12)})
    assert Use(1) == totals.most_used()["a"]
    totals.add({name: Use(20) for name in many} | {"a": Use(13)})
    assert "a" not in totals.most_used()
    totals.add({name: Use(20) for name in many} | {"a": Use(30)})
    assert Use(19) == totals.most_used()["a"]


numbers = st.integers(0, 9)
looks = st.lists(
    st.dictionaries(st.sampled_from("abc"), st.builds(Use, numbers, numbers, numbers, numbers)), min_size=2
)


@given(looks)
def test_nothing_ever_goes_down(looks):
    """Nor goes away, while there are few."""
    for number in range(1, len(looks)):
        before, now = after(*looks[:number]), after(*looks[: number + 1])
        assert all(b <= n for name in before for b, n in zip(before[name], now[name], strict=True))
