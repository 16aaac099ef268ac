"""Plans: written and read, refused where something has changed, and done."""

import threading

import pytest
from makers import NOW

from regstats.errors import ActionError, InputError
from regstats.listing import of_kept, of_steps
from regstats.plans import Kept, Plan, Step, apply, planned, read, refuse_changes, write


def copy(number):
    return Step(action="copy", image=f"a/app:{number}", to=f"b/app:{number}", digest=f"sha256:{number}")


def delete(number, after=(), repository="a/app"):
    after = [f"sha256:{one}" for one in after]
    return Step(
        action="delete", image=f"{repository}@{number}", digest=f"sha256:{number}", repository=repository, after=after
    )


def plan_of(*steps, tags=None):
    return Plan(made_at=NOW, steps=list(steps), tags=tags or {})


class Doer:
    """Does what it is told, and remembers it; fails where it is to fail."""

    def __init__(self, done=(), fails=(), changed=()):
        self.before, self.fails, self.changed, self.did = set(done), set(fails), set(changed), []

    def is_done(self, step):
        if step.image in self.changed:
            raise ActionError(f"{step.image} is another.")
        return step.image in self.before

    def do(self, step):
        if step.image in self.fails:
            raise ActionError("no")
        self.did.append(step.image)

    def changes(self, plan, repository):
        return [f"{repository} is another."] if repository in self.changed else []


def test_a_plan_is_read_as_it_was_written(tmp_path):
    plan = Plan(
        made_at=NOW, steps=[copy(1), delete(2, [1])], kept=[Kept("a/app:3", "x", "why")], tags={"a/app": {"1": "x"}}
    )
    write(plan, tmp_path / "plan.json")
    assert plan == read(tmp_path / "plan.json")


@pytest.mark.parametrize(
    "text", ["", "[]", '{"steps": [1]}', '{"made_at": "2026-11-24T12:00:00Z", "steps": [{"action": "burn"}]}']
)
def test_what_is_no_plan(tmp_path, text):
    path = tmp_path / "plan.json"
    path.write_text(text)
    with pytest.raises(InputError, match="is not a plan as --plan writes it"):
        read(path)


def test_a_plan_of_another_version(tmp_path):
    path = tmp_path / "plan.json"
    path.write_text('{"made_at": "2026-11-24T12:00:00Z", "steps": [], "format": 2}')
    with pytest.raises(InputError, match="of another version"):
        read(path)
    with pytest.raises(InputError, match="Cannot read"):
        read(tmp_path / "none.json")


@pytest.mark.parametrize("jobs", [1, 8])
def test_each_step_is_done_once(jobs):
    """Whatever fails; what is done already is left out; results are in the order of the plan."""
    steps = [copy(number) for number in range(20)]
    doer = Doer(done=["a/app:3"], fails=["a/app:5"], changed=["a/app:7"])
    told = []
    results = apply(plan_of(*steps), doer, jobs, told.append)
    assert steps == [result.step for result in results]
    statuses = {3: "already", 5: "failed", 7: "failed"}
    assert [statuses.get(number, "done") for number in range(20)] == [result.status for result in results]
    assert sorted(step.image for number, step in enumerate(steps) if number not in statuses) == sorted(doer.did)
    assert sorted(map(id, results)) == sorted(map(id, told))
    assert ("no", "a/app:7 is another.") == (results[5].why, results[7].why)


def test_what_an_index_lists_stays_if_the_index_does():
    """And everything else of the repository goes all the same, one after the other."""
    steps = [delete(1), delete(2, [1]), delete(3), delete(4, [3, 1])]
    doer = Doer(fails=["a/app@1"])
    results = apply(plan_of(*steps, tags={"a/app": {}}), doer, 8, lambda _: None)
    assert ["failed", "failed", "done", "failed"] == [result.status for result in results]
    assert "what lists it could not be deleted" == results[1].why
    assert ["a/app@3"] == doer.did


def test_a_repository_that_has_changed_is_left_alone():
    """In the last moment, too; others are not concerned."""
    plan = plan_of(delete(1), delete(2), delete(3, repository="b/app"), tags={"a/app": {}, "b/app": {}})
    doer = Doer(changed=["a/app"])
    assert ["failed", "failed", "done"] == [result.status for result in apply(plan, doer, 2, lambda _: None)]
    assert ["b/app@3"] == doer.did


def test_a_plan_is_refused_as_a_whole():
    """With everything that has changed."""
    plan = plan_of(copy(1), copy(2), copy(3), delete(4), tags={"a/app": {}})
    refuse_changes(plan, Doer(done=["a/app:1"]), 2)
    with pytest.raises(ActionError, match=r"(?s)Nothing was done.*a/app:2 is another\..*a/app is another\."):
        refuse_changes(plan, Doer(changed=["a/app:2", "a/app"]), 2)


def test_an_error_that_nobody_expects_is_not_hidden():
    class Broken(Doer):
        def is_done(self, step):
            raise ZeroDivisionError

    for do in (lambda plan: refuse_changes(plan, Broken(), 1), lambda plan: apply(plan, Broken(), 1, print)):
        with pytest.raises(ZeroDivisionError):
            do(plan_of(copy(1)))


def test_who_is_interrupted_begins_nothing_more():
    """What runs ends by itself."""
    begun, go_on = threading.Semaphore(0), threading.Event()

    class Slow(Doer):
        def do(self, step):
            begun.release()
            go_on.wait(60)
            super().do(step)

    def interrupt(_):
        raise KeyboardInterrupt

    doer = Slow(done=["a/app:0"])
    with pytest.raises(KeyboardInterrupt):
        apply(plan_of(*(copy(number) for number in range(9))), doer, 2, interrupt)
    go_on.set()
    begun.acquire(timeout=60)
    assert len(doer.did) <= 2


def test_steps_as_rows():
    """With all columns, even where there are none."""
    columns = ["action", "image", "to", "digest", "before", "status", "why"]
    assert columns == list(of_steps([]).columns) == list(of_kept(plan_of()).columns)
    rows = of_steps(planned(plan_of(copy(1))))
    assert [["copy", "a/app:1", "b/app:1", "sha256:1"]] == rows.iloc[:, :4].to_numpy().tolist()
