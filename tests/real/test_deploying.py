"""A real registry, a real collector, and real commands: what is pushed is deployed, whatever ends the process."""

import json
import os
import signal
import stat
import subprocess
import sys

import pytest
from servers import stop, wait_until

RECORDING = """#!/bin/sh
echo "$@" >> {folder}/begun
[ ! -e {folder}/hold ] || until [ -e {folder}/go ]; do sleep 0.05; done
echo "$@" >> {folder}/done
[ -e {folder}/killed ] || [ ! -e {folder}/kill ] || { touch {folder}/killed; kill -9 $PPID; sleep 600; }
"""
RULE = """
[[deploy]]
name = "app"
match = { repository = "team/app", tag = "1*", actor = "alice", networks = "127.0.0.0/8", changed = true }
settle = "2s"
command = ["{folder}/deploy", "{repository}", "{tag}", "{digest}"]

[[deploy]]
name = "elsewhere"
match = { repository = "*", networks = "10.0.0.0/8" }
trust_addresses = true
settle = "0s"
command = ["{folder}/deploy", "elsewhere"]

[[deploy]]
name = "last"
match = { repository = "team/last" }
settle = "0s"
command = ["{folder}/deploy", "last"]
"""


class Deployments:
    """A collector with rules, and what its command did."""

    def __init__(self, collector, folder):
        self.collector, self.folder = collector, folder
        self.settings = folder / "regstats.toml"
        self.settings.write_text(RULE.replace("{folder}", str(folder)))
        command = folder / "deploy"
        command.write_text(RECORDING.replace("{folder}", str(folder)))
        command.chmod(command.stat().st_mode | stat.S_IXUSR)

    def start(self):
        self.collector.start("--config", str(self.settings))

    def said(self, what="done"):
        file = self.folder / what
        return file.read_text().splitlines() if file.exists() else []

    def flag(self, name):
        (self.folder / name).touch()

    def log(self):
        """The ledger, the oldest first."""
        return json.loads(self.call("log", "--format", "json"))[::-1]

    def call(self, *arguments):
        command = [sys.executable, "-m", "regstats", "deploy", *arguments, "--data", str(self.collector.data)]
        return subprocess.run(command, capture_output=True, check=True, text=True).stdout


@pytest.fixture
def deployments(collector, tmp_path):
    folder = tmp_path / "deploying"
    folder.mkdir()
    return Deployments(collector, folder)


def wait_for(deployments, what, count=1):
    wait_until(lambda: len(deployments.said(what)) >= count, f"the command to have {what}")


def test_what_is_pushed_is_deployed_once(deployments, registry, skopeo, make_image):
    deployments.start()
    first, second = make_image("first"), make_image("second")
    skopeo.push(first, "team/app:1.3")
    wait_for(deployments, "done")
    assert [f"team/app 1.3 {first.digest}"] == deployments.said()
    skopeo.push(first, "team/app:1.3")  # the same digest again
    skopeo.push(second, "team/app:1.3", actor="bob")  # somebody else
    skopeo.push(first, "team/app:latest")  # another tag
    for tag in ("1", "1.4", "1.4.0"):  # those of one build
        skopeo.push(second, f"team/app:{tag}")
    wait_for(deployments, "done", 2)
    skopeo.push(first, "team/last:1")
    wait_for(deployments, "done", 3)
    assert [f"team/app 1.4.0 {second.digest}", "last"] == deployments.said()[1:]
    wait_until(lambda: deployments.log()[-1]["status"] == "succeeded", "the ledger")
    assert [
        ("app", "1.3", "succeeded", 1),
        ("app", "1", "superseded", 0),
        ("app", "1.4", "superseded", 0),
        ("app", "1.4.0", "succeeded", 1),
        ("last", "1", "succeeded", 1),
    ] == [(row["rule"], row["tag"], row["status"], row["attempts"]) for row in deployments.log()]


def test_killed_between_acknowledgement_and_the_command(deployments, registry, skopeo, make_image):
    deployments.start()
    skopeo.push(make_image("first"), "team/app:1.3")
    wait_until(lambda: list(deployments.collector.data.glob("ledger/*.json")), "the push")
    deployments.collector.kill()
    assert [] == deployments.said("begun")
    deployments.start()
    wait_for(deployments, "done")
    wait_until(lambda: deployments.log()[0]["status"] == "succeeded", "the ledger")
    ((attempts, interruptions),) = [(row["attempts"], row["interruptions"]) for row in deployments.log()]
    assert (1, 0, 1) == (attempts, interruptions, len(deployments.said()))


def test_killed_while_the_command_runs(deployments, registry, skopeo, make_image):
    """The command goes on; whoever comes next waits for it, and then does it again, because nobody knows."""
    deployments.flag("hold")
    deployments.start()
    skopeo.push(make_image("first"), "team/app:1.3")
    wait_for(deployments, "begun")
    deployments.collector.kill()
    deployments.start()
    wait_until(lambda: deployments.log()[0]["status"] == "running", "the ledger")
    assert 1 == len(deployments.said("begun"))
    deployments.flag("go")
    wait_for(deployments, "done", 2)
    wait_until(lambda: deployments.log()[0]["status"] == "succeeded", "the ledger")
    (row,) = deployments.log()
    assert (2, 1) == (row["attempts"], row["interruptions"])
    assert any("whether it was done is not known" in line for line in row["history"].splitlines())


def test_killed_after_the_command_and_before_the_ledger(deployments, registry, skopeo, make_image):
    deployments.flag("kill")
    deployments.start()
    skopeo.push(make_image("first"), "team/app:1.3")
    wait_until((deployments.folder / "killed").exists, "the end of the collector")
    deployments.collector.kill()
    (orphan,) = orphans(deployments.folder)
    os.killpg(orphan, signal.SIGKILL)
    deployments.start()
    wait_for(deployments, "done", 2)
    wait_until(lambda: deployments.log()[0]["status"] == "succeeded", "the ledger")
    (row,) = deployments.log()
    assert (2, 1) == (row["attempts"], row["interruptions"])


def orphans(folder):
    """The process groups of commands that still run."""
    found = subprocess.run(["pgrep", "-f", f"{folder}/deploy"], capture_output=True, text=True).stdout.split()
    return {os.getpgid(int(pid)) for pid in found}


def test_stopped_while_the_command_runs(deployments, registry, skopeo, make_image):
    """It is given time to end."""
    deployments.flag("hold")
    deployments.start()
    skopeo.push(make_image("first"), "team/app:1.3")
    wait_for(deployments, "begun")
    deployments.collector.process.send_signal(signal.SIGTERM)
    deployments.flag("go")
    assert 0 == stop(deployments.collector.process)
    (row,) = deployments.log()
    assert ("succeeded", 1, 0) == (row["status"], row["attempts"], row["interruptions"])


def test_a_click_lets_it_be_deployed(deployments, registry, skopeo, make_image, browser):
    text = deployments.settings.read_text()
    text += '\n[[deploy]]\nname = "asked"\nmatch = { repository = "team/asked" }\nsettle = "0s"\napprove = true\n'
    text += 'approvers = ["alice"]\ncommand = ["echo", "--", "{tag}"]\n[read.users]\nalice = "wonderland"\n'
    deployments.settings.write_text(text)
    deployments.start()
    skopeo.push(make_image("first"), "team/asked:1")
    wait_until(lambda: [row["status"] for row in deployments.log()] == ["unapproved"], "the ledger")
    browser.open(deployments.collector.url.replace("//", "//alice:wonderland@") + "/deployments")
    browser.find("tbody a[href^='/deployments/']")[0].click()
    browser.until(lambda: browser.find(".asked"))
    browser.find(".asked form[action$=approve] button")[0].click()
    wait_until(lambda: [row["status"] for row in deployments.log()] == ["succeeded"], "the ledger")
    (row,) = deployments.log()
    assert ("alice", "-- 1\n") == (row["approved_by"], row["output"])
    assert [] == browser.console()


def test_once_more_by_command(deployments, registry, skopeo, make_image):
    """Where a collector acts it does it, and where none does the command itself."""
    deployments.start()
    skopeo.push(make_image("first"), "team/last:1")
    wait_for(deployments, "done")
    wait_until(lambda: [row["status"] for row in deployments.log()] == ["succeeded"], "the ledger")
    (first,) = deployments.log()
    settings = ["--config", str(deployments.settings), "--by", "bob"]
    assert "again_of" in deployments.call("run", first["deployment_id"][:9], *settings)
    assert ["last", "last"] == deployments.said()
    deployments.collector.stop()
    assert "succeeded" in deployments.call("run", first["deployment_id"][:9], *settings)
    assert ["last", "last", "last"] == deployments.said()
    assert [None, "bob", "bob"] == [row["approved_by"] for row in deployments.log()]
