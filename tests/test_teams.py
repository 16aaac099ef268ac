"""Teams: what is charged to whom, against an oracle that reads like the rule; and reports about one of them."""

import io
import json
import random
import re
import zipfile
from datetime import timedelta
from fnmatch import fnmatchcase

import oracle
import pandas as pd
import pytest
from click.testing import CliRunner
from makers import BLOB, NOW, days, envelope, journalled, make_delivery, make_event, make_push
from oracles import Asked, all_pushes
from test_report import EVIL, without_library

from regstats import formats, report, sample
from regstats.briefing import brief
from regstats.cli import main
from regstats.config import NOBODY, Exclude, Team
from regstats.errors import ParameterError
from regstats.options import file_of_report
from regstats.payloads import understand
from regstats.sealing import seal
from regstats.stats import Stats

TEAMS = {
    "payments": Team(repositories=["payments/*"], actors=["alice", "ci-pay-*"]),
    "search": Team(repositories=["search/*", "payments/shared"], actors=["bob", "alice"]),
    "people": Team(actors=["carol"]),
    "it's": Team(repositories=["Payments/*", "[", "odd/[ab]?i"]),
    "unheard of": Team(repositories=["nosuch/*"]),
}
COLUMNS = ["team", "pulls", "downloads", "bytes", "pushes", "pushed"]
A, B = (f"sha256:{letter * 64}" for letter in "ab")


# The rule, slow and obvious


def first_of(teams, name, globs_of):
    """The first team to which something belongs that has a name; None if it belongs to none."""
    for team in teams:
        if name is not None and any(fnmatchcase(name, glob) for glob in globs_of(teams[team])):
            return team
    return None


def place_of(teams, repository):
    return first_of(teams, repository, lambda team: team.repositories)


def payer_of(teams, pull):
    return first_of(teams, pull.actor, lambda team: team.actors) or place_of(teams, pull.repository)


def charged(events, teams, asked):
    """The rows of `chargeback`."""
    rows = {team: [0, 0, 0, 0, 0] for team in (*teams, None)}
    counts = [event for event in events if asked.counts(event) and asked.is_in_window(event)]
    ids = {event.event_id: event for event in counts}
    for pull in oracle.account(events):
        if pull.event_id in ids and pull.kind.startswith("pull_"):
            row = rows[payer_of(teams, ids[pull.event_id])]
            row[:3] = row[0] + 1, row[1] + (pull.blobs > 1), row[2] + pull.bytes
    for push in all_pushes(events):
        if asked.counts(push) and asked.is_in_window(push):
            rows[place_of(teams, push.repository)][3] += 1
    sized = [e for e in counts if e.action == "push" and e.kind in ("blob", "manifest", "index") and e.size is not None]
    for what in {(event.source, event.digest) for event in sized}:
        same = [event for event in sized if (event.source, event.digest) == what]
        places = {place_of(teams, event.repository) for event in same}
        rows[next((team for team in teams if team in places), None)][4] += max(event.size for event in same)
    return [(team, *row[:4], row[4] if sized else None) for team, row in rows.items()]


def answered(frame):
    """The rows of a frame as the rule has them."""
    return [tuple(None if pd.isna(value) else value for value in row) for row in frame.itertuples(index=False)]


def traffic(seed):
    """Some days of two registries: who pulls and pushes what, of shared blobs, with and without names and sizes."""
    chance = random.Random(seed)
    repositories = ["payments/api", "payments/shared", "search/web", "Payments/API", "odd/api", "odd/[ab]?i", "other"]
    actors = ["alice", "bob", "carol", "ci-pay-1", "CI-PAY-1", "dave", None]
    for number in range(chance.randint(20, 80)):
        who = {"actor": chance.choice(actors), "addr": f"192.0.2.{number % 200}:1"}
        who["user_agent"] = chance.choice(["docker/27", "docker/27", "Go-http-client/1.1"])
        where = {"repository": chance.choice(repositories), "id": f"{seed}-{number}"}
        at = NOW - timedelta(seconds=chance.randint(-3600, 6 * 86400))
        digest = f"sha256:{chance.randint(0, 9)}"
        blob = {"tag": None, "digest": digest, "media_type": BLOB, "size": chance.choice([None, 10, 500])}
        kind, source = chance.choice(["pull", "pull", "push", "blob", "mount"]), chance.choice(["default", "lab"])
        if kind == "pull":
            yield source, make_event(**where, **who, at=at, method=chance.choice(["GET", "GET", "HEAD"]))
            for part in range(chance.randint(0, 3)):
                about = blob | {"id": f"{seed}-{number}-{part}", "repository": where["repository"]}
                yield source, make_event(**about, **who, at=at + timedelta(seconds=1))
        elif kind == "push":
            digest = f"sha256:m{chance.randint(0, 9)}"
            tag, size = chance.choice(["1.0", None]), chance.choice([None, 7])
            yield source, make_push(**where, **who, at=at, digest=digest, tag=tag, size=size)
        else:
            yield source, make_push(**where, **who, **blob, at=at, **({"action": "mount"} if kind == "mount" else {}))


def received(store, told):
    """What is understood of it; half of it is sealed."""
    told = list(told)
    for half in (told[::2], told[1::2]):
        seal(store)
        for source in ("default", "lab"):
            journalled(store, envelope(*(event for of, event in half if of == source)), source=source)
    _, events = understand(make_delivery(envelope(event), source=source) for source, event in told)
    return events


@pytest.mark.parametrize("seed", range(6))
def test_chargeback_is_that_of_its_oracle(store, seed):
    """Whatever happens: in any window, with anybody excluded, whatever teams there are."""
    events, chance = received(store, traffic(seed)), random.Random(seed)
    for exclude in (Exclude(), NOBODY, Exclude(clients=[], actors=["ci-*"], networks=["192.0.2.0/25"])):
        stats = Stats(store.root, now=NOW, exclude=exclude)
        for since, until in ((None, None), (NOW - days(3), None), (NOW - days(4), NOW - days(2))):
            names = chance.sample(list(TEAMS), chance.randint(0, len(TEAMS)))
            teams = {name: TEAMS[name] for name in names}
            asked = Asked(now=NOW, since=since, until=until, exclude=exclude)
            frame = stats.chargeback(teams, since=since, until=until)
            assert charged(events, teams, asked) == answered(frame)
            assert [(COLUMNS, "Int64")] == [(list(frame.columns), str(frame["pushed"].dtype))]
            of_all = {"since": since, "until": until, "interval": "total"}
            assert stats.pulls(**of_all)[["pulls", "downloads"]].sum().equals(frame[["pulls", "downloads"]].sum())
            assert stats.pushes(**of_all)["pushes"].sum() == frame["pushes"].sum()


def test_a_pull_is_charged_once(stats_of):
    """To the first team that its actor belongs to, else to that of its repository, else to nobody."""
    stats = stats_of(
        make_event(actor="alice", repository="search/web"),  # alice is of two teams
        make_event(actor="bob", repository="payments/api"),  # who pulls pays
        make_event(actor=None, repository="payments/shared"),  # which two teams have
        make_event(actor="dave", repository="search/web"),
        make_event(actor="Alice", repository="other"),  # somebody else
        make_event(actor="dave", repository="PAYMENTS/api"),
    )
    pulls = stats.chargeback(TEAMS).set_index("team")["pulls"]
    assert [2, 2, 0, 0, 0, 2] == list(pulls)
    assert [*TEAMS] == list(pulls.index[:-1])
    assert pd.isna(pulls.index[-1])
    assert [0, 0, 0, 4, 0, 2] == list(stats.chargeback(dict(reversed(TEAMS.items())))["pulls"])


def test_what_was_uploaded_is_charged_once(stats_of):
    """However often, by whom and to however many repositories: to the first team that has one of them."""
    blob = {"digest": A, "media_type": BLOB, "tag": None}
    stats = stats_of(
        make_push(repository="search/web", size=1000, at=NOW - days(2), **blob),
        make_push(repository="payments/api", size=1000, at=NOW - days(1), **blob),
        make_push(repository="other", size=1000, **blob),
        make_push(repository="search/web", size=10, digest=B, actor="alice"),
        make_push(repository="search/web", size=5000, action="mount", **{**blob, "digest": B}),
    )
    rows = [("payments", 0, 1000), ("search", 1, 10), (None, 0, 0)]
    teams = {name: TEAMS[name] for name in ("payments", "search")}
    frame = stats.chargeback(teams)[["team", "pushes", "pushed"]]
    assert rows == answered(frame)
    assert [None, None, None] == [row[5] for row in answered(stats.chargeback(teams, since=NOW + days(1)))]


def test_sizes_that_are_not_known(stats_of):
    """Are not zero."""
    stats = stats_of(make_push(size=None), make_event())
    assert [("people", 0, 0, 0, 0, None), (None, 1, 0, 0, 1, None)] == answered(
        stats.chargeback({"people": TEAMS["people"]})
    )


def test_sizes_that_nobody_has(stats_of):
    """Anybody can claim any; the sums are as large as they can be."""
    most = 2**63 - 1
    pull = {"tag": None, "media_type": BLOB, "size": most, "at": NOW + timedelta(seconds=1)}
    pushed = {"tag": None, "media_type": BLOB, "size": most}
    stats = stats_of(
        *(make_event(repository=name) for name in "ab"),
        *(make_event(repository=name, digest=digest, **pull) for name in "ab" for digest in (A, B)),
        *(make_push(digest=digest, repository="c", **pushed) for digest in (A, B)),
    )
    assert [("all", 2, 2, most, 0, most), (None, 0, 0, 0, 0, 0)] == answered(
        Stats(stats._engine._store.root, now=NOW + days(1)).chargeback({"all": Team(repositories=["*"])})
    )


def test_a_wrong_window_is_named(stats_of):
    """As everywhere; and days begin where one is."""
    stats = stats_of(make_event(at=NOW.replace(hour=23, minute=30)), now=NOW + days(2))
    with pytest.raises(ParameterError, match="since='soon' is not a time"):
        stats.chargeback({}, since="soon")
    with pytest.raises(ParameterError, match="tz='Nowhere' is not a time zone"):
        stats.chargeback({}, tz="Nowhere")
    assert [0, 1] == [stats.chargeback({}, since="2026-11-25", tz=tz)["pulls"].sum() for tz in ("UTC", "Europe/Berlin")]


# Reports


def stories(stats_of):
    """Three teams that have all that a report can tell of: uses, pushes, what is stale, unused, or strange."""
    told = []
    for place, actor in (("payments/api", "ci-pay-1"), ("search/web", "bob"), ("other/thing", "dave")):
        about = {"repository": place, "actor": actor}
        told += [
            make_push(**about, at=NOW - days(500)),
            make_push(**about, at=NOW - days(400), tag="unused", digest=B),
            *(make_event(**about, at=NOW - days(day), addr=f"192.0.2.{day}:1") for day in (1, 2, 9)),
            *(make_event(**about, at=NOW - days(3) + timedelta(minutes=2 * n)) for n in range(60)),
        ]
    told.append(make_event(repository="search/web", actor="alice", at=NOW - days(1)))
    return stats_of(*told)


@pytest.fixture
def stats(stats_of):
    return stories(stats_of)


def tables(stats, **asked):
    return {section.name: section.frame for section in brief(stats, **asked).sections}


ABOUT_IT = {"use", "rising", "activity", "stale", "maintenance", "unused", "anomalies"}


def test_the_report_of_a_team_is_about_its_repositories(stats):
    """Every table, sentence and total; only what its people pull may be anybody's, and health is that of all."""
    made = json.loads(report.render(stats, since="7d", form="json", teams=TEAMS, team="payments"))
    members, health = made["tables"].pop("members"), made["tables"].pop("health")
    assert "payments" == made["team"]
    assert ABOUT_IT | {"chargeback"} == made["tables"].keys()
    assert all(made["tables"].values())
    assert "payments/api" in json.dumps(made)
    assert [] == re.findall("search|other|bob|dave", json.dumps(made))
    assert [("alice", "search/web"), ("ci-pay-1", "payments/api")] == sorted(
        (row["actor"], row["repository"]) for row in members
    )
    assert len(health) == 1
    assert [("payments", 63)] == [(row["team"], row["pulls"]) for row in made["tables"]["chargeback"]]
    assert {"value": 62, "before": 1} == made["facts"]["pulls"]


@pytest.mark.parametrize("form", [form for form in report.FORMATS if form not in ("pdf", "png")])  # HTML, printed
def test_no_form_has_anything_of_other_teams(stats, form):
    """Not in the data of its charts either."""
    teams = {"api": Team(repositories=["payments/*"])}
    made = report.render(stats, since="7d", form=form, teams=teams, team="api")
    if form == "csv":
        archive = zipfile.ZipFile(io.BytesIO(made))
        made = b"".join(map(archive.read, archive.namelist()))
    text = without_library(made.decode())
    assert "payments/api" in text
    assert [] == re.findall("search/web|other/thing|bob|dave", text)


def test_the_tables_of_a_team_are_answers(stats):
    """To the same questions, of its repositories."""
    its, team = {"repository": TEAMS["search"].repositories}, tables(stats, since="7d", teams=TEAMS, team="search")
    for name, frame in (
        ("use", stats.top(since="7d", **its)),
        ("activity", stats.activity(since="7d", **its)),
        ("unused", stats.unused(**its)),
        ("anomalies", stats.anomalies(since="7d", **its)),
        ("members", stats.usage(since="7d", actor=TEAMS["search"].actors)),
        ("health", stats.health(since="7d")),
    ):
        assert len(frame), name
        pd.testing.assert_frame_equal(frame, team[name])


def test_a_team_without_repositories(stats):
    """Is about what its people do, and about the repositories that they do it in."""
    teams = {"it": Team(actors=["bob"]), "none": Team(actors=["nobody"])}
    team = tables(stats, since="7d", teams=teams, team="it")
    assert ["bob"] == list(team["activity"]["actor"])
    assert [62] == list(team["use"]["pulls"])  # without alice's
    for name in ("use", "rising", "stale", "maintenance", "unused"):
        assert {"search/web"} == set(team[name]["repository"]), name
    empty = tables(stats, since="7d", teams=teams, team="none")
    assert {"health", "chargeback"} == {name for name, frame in empty.items() if len(frame)}


def test_members_are_of_teams_that_have_people(stats):
    """And there is nothing of teams in a report where there are none."""
    one = {"it's": TEAMS["it's"]}
    assert "members" not in tables(stats, teams=one, team="it's")
    assert {"members", "chargeback"} & tables(stats).keys() == set()
    assert report.render(stats, form="json") == report.render(stats, form="json", teams={})


def test_the_report_of_all_says_who_uses_what(stats):
    """In every form; for people, bytes are sizes."""
    frame = tables(stats, since="7d", teams=TEAMS)["chargeback"]
    pd.testing.assert_frame_equal(stats.chargeback(TEAMS, since="7d"), frame)
    made = {form: report.render(stats, since="7d", form=form, teams=TEAMS) for form in report.FORMATS}
    assert formats.rows(frame) == json.loads(made["json"])["tables"]["chargeback"]
    assert formats.as_csv(frame) == zipfile.ZipFile(io.BytesIO(made["csv"])).read("chargeback.csv").decode()
    assert formats.as_markdown(frame) in made["md"].decode()
    assert "Who uses what, and what does it take?" in made["html"].decode()
    assert "team" not in json.loads(made["json"])
    assert "<h1>Registry report</h1>" in made["html"].decode()


def test_bytes_are_sizes_on_a_page():
    """The tables sort by how many they are."""
    column = pd.Series([12_345_678, None], dtype="Int64", name="pushed")
    assert ["11.8 MiB", formats.MISSING] == formats.short_cells(column)
    assert [12_345_678.0, None] == formats.sorted_by(column)
    assert formats.is_numeric(column)


@pytest.mark.parametrize("name", [EVIL, "a|b`c\nd", "{{ 7 * 7 }}", "\u202eevil", "$x$", "../../etc/passwd"])
def test_the_name_of_a_team_is_text(stats, name):
    """In the title and the heading of every form."""
    teams = {name: Team(repositories=["payments/*"], actors=[f"{EVIL}*"])}
    made = {form: report.render(stats, form=form, teams=teams, team=name).decode() for form in ("html", "md", "json")}
    page = without_library(made["html"])
    assert "<script>alert" not in page
    assert "<img src=x" not in page
    assert "\u202e" not in page + made["md"]
    assert re.search(r"<title>Registry report: .+</title>", page)
    heading, _, line = made["md"].splitlines()[:3]
    assert f"# Registry report: {formats.code(name)}" == heading
    assert line.startswith(f"Team {formats.code(name)}: `repositories payments/*; actors ")
    assert name == json.loads(made["json"])["team"]


def test_a_team_that_is_not_there(stats):
    """Those that are there are named."""
    with pytest.raises(
        ParameterError, match=r"no team 'pay'\. There are: payments, search, people, it's, unheard of\."
    ):
        brief(stats, teams=TEAMS, team="pay")
    with pytest.raises(ParameterError, match=r"no team 'pay'\. The settings name none: \[teams\.NAME\]\."):
        report.render(stats, team="pay")


def test_the_report_of_a_team_of_the_sample():
    """The same bytes each time, and all charts are drawn."""
    teams = {"platform": Team(repositories=["platform/*", "tools/*"], actors=["ci"])}
    stats = Stats(sample.path(), now=sample.NOW)
    once, again = (report.render(stats, since="30d", teams=teams, team="platform") for _ in range(2))
    assert once == again
    assert all(f"chart-{name}" in once.decode() for name in ("use", "activity", "members", "maintenance"))


# The command


@pytest.fixture
def run(stats, monkeypatch, tmp_path):
    """Runs `report` on the store, in a directory with settings."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("REGSTATS_DATA", str(stats._engine._store.root))
    monkeypatch.setenv("REGSTATS_NOW", NOW.isoformat())

    def call(*arguments, settings='[teams.payments]\nrepositories = ["payments/*"]\n[teams."a/b"]\nactors = ["bob"]'):
        (folder / "regstats.toml").write_text(settings)
        return CliRunner().invoke(main, ["report", "--since", "7d", *arguments])

    return call


def test_the_report_of_one_team(run, tmp_path):
    """Goes to a file of its name, or where it was told to."""
    assert f"Wrote {tmp_path / 'here' / 'report-payments.html'}\n" == run("--team", "payments").output
    assert ["regstats.toml", "report-payments.html"] == sorted(path.name for path in (tmp_path / "here").iterdir())
    told = json.loads(run("--team", "a/b", "--format", "json", "-o", "-").output)
    assert ("a/b", ["bob"]) == (told["team"], [row["actor"] for row in told["tables"]["activity"]])


def test_the_report_of_all_with_teams(run):
    """Says what is charged to each."""
    told = json.loads(run("--format", "json", "-o", "-").output)
    assert ["payments", "a/b", None] == [row["team"] for row in told["tables"]["chargeback"]]


def test_a_report_for_each_team(run, tmp_path):
    """In the directory that is named, or in this one."""
    (tmp_path / "out").mkdir()
    result = run("--each-team", "--format", "md", "--output", str(tmp_path / "out"))
    files = ["report-payments.md", "report-a%2Fb.md"]
    assert [f"Wrote {tmp_path / 'out' / name}" for name in files] == result.output.splitlines()
    assert sorted(files) == sorted(path.name for path in (tmp_path / "out").iterdir())
    assert (tmp_path / "out" / files[1]).read_text().startswith("# Registry report: `a/b`\n")
    assert 0 == run("--each-team").exit_code
    assert (tmp_path / "here" / "report-payments.html").exists()


def test_a_file_of_its_own_for_every_name():
    """In the same directory, whatever a team is called, and never that of another."""
    names = ["a", "A", "a/b", "a_b", "a%2Fb", "..", "../x", ".", "a b", "a\nb", "-rf", "\u202ea", "Zürich", "$(x)", "~"]
    files = [str(file_of_report("html", name)) for name in names]
    assert len({*names}) == len({*files})
    assert all(re.fullmatch(r"report-[\w.%~-]+\.html", file) for file in files)
    assert ["report-Zürich.html", "report-a%2Fb.html", "report.zip"] == [
        *(str(file_of_report("html", name)) for name in ("Zürich", "a/b")),
        str(file_of_report("csv")),
    ]


@pytest.mark.parametrize(
    ("arguments", "settings", "message"),
    [
        (["--team", "pay"], {}, "regstats: There is no team 'pay'. There are: payments, a/b.\n"),
        (
            ["--team", "pay"],
            {"settings": ""},
            "regstats: There is no team 'pay'. The settings name none: [teams.NAME].",
        ),
        (["--each-team"], {"settings": ""}, "regstats: There are no teams: the settings name none, [teams.NAME]."),
        (["--each-team", "--team", "payments"], {}, "--team is one, --each-team all of them."),
        (["--each-team", "--output", "nosuch"], {}, "--each-team writes several files: nosuch is not a directory."),
        (["--each-team", "--output", "-"], {}, "--each-team writes several files: - is not a directory."),
        (["--each-team", "--output", "regstats.toml"], {}, "regstats.toml is not a directory."),
        (["--team", "payments", "--notebook", "overview"], {}, "A notebook is not about a team"),
        (["--each-team", "--notebook", "overview"], {}, "A notebook is not about a team"),
        ([], {"settings": "[teams.x]"}, "a team has neither repositories nor actors"),
    ],
)
def test_what_goes_wrong_is_said(run, tmp_path, arguments, settings, message):
    """Status 2, and nothing is written."""
    result = run(*arguments, **settings)
    assert (2, "") == (result.exit_code, result.stdout)
    assert message in result.stderr
    assert ["regstats.toml"] == [path.name for path in (tmp_path / "here").iterdir()]
