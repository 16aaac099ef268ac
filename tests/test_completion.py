"""Completion, in a real shell and beside it."""

import os
import shutil
import subprocess

import duckdb
import pytest
from makers import NOW, days, envelope, journalled, make_event
from test_formats import EVIL

from regstats import completion
from regstats.cli import main
from regstats.options import SHELLS, script
from regstats.sealing import seal


@pytest.fixture
def named(store):
    """A store with names, harmless ones and others, sealed."""
    names = [*EVIL, "alice", "bob", "größe", "--limit", "a b"]
    journalled(
        store,
        *(envelope(make_event(actor=name, repository="team/app", tag="1.0")) for name in names),
        *(envelope(make_event(repository=f"team/{number}", at=NOW - days(number))) for number in range(3)),
    )
    seal(store)
    return store


@pytest.fixture
def bash(named, tmp_path):
    """What a real bash offers after Tab at the end of some words."""
    if shutil.which("bash") is None:
        pytest.skip("there is no bash")

    def offered(*words):
        (tmp_path / "completion").write_text(script(main, "bash"))
        line = '. "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _regstats_completion regstats; '
        command = ["bash", "-c", line + 'printf "%s\\n" "${COMPREPLY[@]}"', "bash", "completion", "regstats", *words]
        environment = os.environ | {"REGSTATS_DATA": str(named.root)}
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
        assert "" == done.stderr
        return done.stdout.split()

    return offered


@pytest.mark.parametrize("shell", SHELLS)
def test_the_script(shell):
    """Is click's own; it asks `regstats`."""
    text = script(main, shell)
    assert f"_REGSTATS_COMPLETE={shell}_complete" in text


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["an"], ["anomalies"]),
        (["pulls", "--int"], ["--interval"]),
        (["pulls", "--interval", "w"], ["week"]),
        (["top", "--measure", "pu"], ["pulls", "pushes"]),
        (["adoption", "--by", "actor,client_"], ["actor,client_version", "actor,client_address"]),
        (["export", "ch"], ["changes"]),
        (["pulls", "--repository", "team/"], ["team/0", "team/1", "team/2", "team/app"]),
        (["pulls", "--repository=team/a"], ["team/app"]),
        (["pulls", "--repository", "team/0,team/a"], ["team/0,team/app"]),
        (["pulls", "--repository", "team/app", "--actor", "b"], ["bob"]),
        (["pulls", "--repository", "team/0", "--actor", "b"], []),
        (["history", "--tag", ""], ["1.0"]),
        (["pulls", "--source", ""], ["default"]),
        (["pulls", "--data", "nosuch", "--actor", "b"], []),
    ],
)
def test_bash_completes(bash, words, expected):
    """Commands, options, choices, and names in the store that match what was said before."""
    assert expected == bash(*words)


def test_no_name_is_code(named):
    """What stands in a line is run when somebody presses Enter, so other names are not offered."""
    names = completion.names(str(named.root), "actor", "", {})
    assert {"alice", "bob"} < {*names}
    assert not any(name.startswith("-") or set(name) & set(" \t\r\n\\\"'`$;|&<>(){}[]*?!#=%^,") for name in names)


def test_the_latest_events_are_looked_at(named, monkeypatch):
    """Those of all times would take too long."""
    monkeypatch.setattr(completion, "_ROWS", 2)
    names = completion.names(str(named.root), "repository", "", {})
    assert ("team/0" in names, "team/2" in names) == (True, False)


def test_nothing_is_there(store):
    """And nothing goes wrong."""
    assert [] == completion.names(str(store.root), "actor", "", {})


def test_it_gives_up(named, monkeypatch):
    """Nobody waits longer."""
    endless = (
        "select 'x' from range(10000000) as a, range(1000000) as b where a.range * b.range % 7 = 3 and $begun = ''"
    )
    monkeypatch.setattr(completion, "sql_text", lambda _: endless)
    monkeypatch.setattr(completion, "_SECONDS", 0.2)
    with pytest.raises(duckdb.InterruptException):
        completion.names(str(named.root), "actor", "", {})
