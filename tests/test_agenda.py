"""The settings of what is sent, when, and to whom."""

from datetime import timedelta

import pytest

from regstats.agenda import Destination, Mail, revealed, span_of
from regstats.config import load
from regstats.errors import ConfigError

SOUND = """
[mail]
host = "mail.example.org"
sender = "regstats@example.org"

[destinations.archive]
directory = "reports"

[destinations.boss]
mail = ["boss@example.org"]

[[report.schedule]]
name = "weekly"
cron = "0 7 * * mon"
to = ["archive", "boss"]

[[alert]]
name = "odd"
when = "spike"
to = ["boss"]
"""


@pytest.fixture
def loaded(tmp_path):
    def write(text):
        path = tmp_path / "regstats.toml"
        path.write_text(text)
        return load(path, {})

    return write


def test_what_is_said_is_what_holds(loaded):
    """And what is not said has a default."""
    settings = loaded(SOUND)
    (schedule,), (alert,) = settings.report.schedule, settings.alert
    assert ("7d", "html", "UTC") == (schedule.window, schedule.format, schedule.tz)
    assert ("5m", "24h", None, True) == (alert.every, alert.cooldown, alert.remind, alert.resolved)
    assert ("mail.example.org", 587) == settings.mail.where


@pytest.mark.parametrize(
    ("before", "after", "complaint"),
    [
        ("0 7 * * mon", "0 25 * * mon", "`0 25 * * mon` in report.schedule `weekly` is not a cron expression"),
        ("0 7 * * mon", "0 7 * *", "It has five fields"),
        ("0 7 * * mon", "0 0 7 * * mon", "It has five fields"),
        ("0 7 * * mon", "0 7 30 2 *", "not a cron expression"),
        ('to = ["boss"]', 'to = ["boos"]', "`boos` in alert `odd` is not a destination. There are: archive, boss"),
        ('to = ["boss"]', "to = []", "length >= 1"),
        ('"archive", "boss"', '"nobody"', "`nobody` in report.schedule `weekly` is not a destination"),
        ('name = "weekly"', 'name = "weekly"\ntz = "Mars/Olympus"', "`Mars/Olympus` in report.schedule `weekly`"),
        ('name = "weekly"', 'name = "weekly"\nwindow = "7 days"', "`7 days` is not a time span"),
        ('name = "weekly"', 'name = "weekly"\nwindow = "0d"', "`0d` is not a time span"),
        ('name = "weekly"', 'name = "../weekly"', "regex"),
        ('when = "spike"', 'when = "spikes"', "Invalid enum value 'spikes'"),
        ('when = "spike"', 'when = "spike"\ncooldown = "soon"', "`soon` is not a time span"),
        ('when = "spike"', 'when = "disk_low"\nbelow = 100', "< 100"),
        ('directory = "reports"', 'directory = "reports"\nwebhook = "https://x"', "one of: directory, mail, webhook"),
        ('directory = "reports"', "", "one of: directory, mail, webhook"),
        ("[destinations.archive]", '[destinations."a/b"]', "`archive` in report.schedule"),
        ('name = "weekly"', 'name = "weekly"\nteam = "a"', "`weekly` is of a team that is not there. There are: none"),
        ('name = "weekly"', 'name = "weekly"\neach_team = true', "`weekly` is of a team that is not there"),
        ('name = "weekly"', 'name = "weekly"\nteam = "a"\neach_team = true', "of one team or of each, not both"),
        ("[mail]", "[unused]", "unknown key `unused`"),
        ("sender", "sander", "[mail]: unknown key `sander`. Did you mean `sender`?"),
        ("directory", "dirctory", "[destinations.archive]: unknown key `dirctory`. Did you mean `directory`?"),
        ("cron", "corn", "[report.schedule.1]: unknown key `corn`. Did you mean `cron`?"),
        ("when", "wenn", "[alert.1]: unknown key `wenn`. Did you mean `when`?"),
        ("[[report.schedule]]", "[[report.shedule]]", "[report]: unknown key `shedule`. Did you mean `schedule`?"),
    ],
)
def test_what_is_wrong_is_named(loaded, before, after, complaint):
    """With what is right, where that can be told."""
    assert before in SOUND
    with pytest.raises(ConfigError) as caught:
        loaded(SOUND.replace(before, after))
    assert complaint in str(caught.value)


def test_two_of_the_same_name(loaded):
    """What is remembered of one would be remembered of the other."""
    schedule = SOUND[SOUND.index("[[report") : SOUND.index("[[alert")]
    with pytest.raises(ConfigError, match=r"two \[\[report.schedule\]\] named `weekly`"):
        loaded(SOUND + schedule)


def test_mail_needs_a_server(loaded):
    """Else it would only be found out at night."""
    with pytest.raises(ConfigError, match=r"destinations.boss is mail; say with \[mail\]"):
        loaded(SOUND[SOUND.index("[destinations") :])


@pytest.mark.parametrize(
    "given", [{"user": "u"}, {"password": "p"}, {"user": "u", "password": "p", "security": "none"}]
)
def test_a_password_goes_with_a_name_and_not_readable_for_all(given):
    """Not even by mistake."""
    with pytest.raises(ValueError, match=r"mail\.(user|security)"):
        Mail(host="mail.example.org", sender="a@example.org", **given)


@pytest.mark.parametrize(("security", "port"), [("starttls", 587), ("tls", 465), ("none", 25)])
def test_the_usual_port(security, port):
    """Of each kind of connection."""
    assert port == Mail(host="h", sender="a@example.org", security=security).where[1]


def test_spans():
    """Minutes, hours, days and weeks."""
    assert [900, 86400, 604800, 2419200] == [span_of(text).total_seconds() for text in ("15m", "24h", "7d", "4w")]
    assert timedelta(minutes=1) == span_of("1m")


def test_secrets_are_in_the_environment():
    """So that the settings file can be shown to anybody."""
    assert "x" == revealed("env:HOOK", {"HOOK": "x"})
    assert "https://example.org" == revealed("https://example.org", {})
    with pytest.raises(ConfigError, match="the environment variable HOOK is not set"):
        revealed("env:HOOK", {"HOOK": ""})


def test_a_destination_is_one_thing():
    """Nobody has to wonder which of two."""
    assert Destination(directory="x").style == "json"
    with pytest.raises(ValueError, match="one of"):
        Destination(mail=["a@example.org"], directory="x")
