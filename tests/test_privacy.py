"""People, made unrecognisable: nothing of them is on disk, or in what is exported."""

import io
import json
import re

import foreign
import msgspec
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from foreign import MAKERS
from makers import NOW, A, days, envelope, fill, journalled, make_delivery, make_event, make_push
from readers import rows_of
from test_dialects import FIXTURES, delivered

from regstats.app import create_app
from regstats.cli import main
from regstats.config import Settings, load
from regstats.errors import ConfigError
from regstats.journal import Journal
from regstats.payloads import parse
from regstats.privacy import OPEN, Privacy, redacted

SALT = "0123456789abcdef"
HASHED = Privacy(actors="hash", addresses="truncate", salt=SALT)
DROPPED = Privacy(actors="drop", addresses="drop")
SWITCHES = ("--hash-actors", "--truncate-addresses")
PEOPLE = ("alice", "bob", "robot$ci", "192.0.2.7", "2001:db8::7")


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("192.0.2.77", "192.0.2.0"),
        ("192.0.2.77:5000", "192.0.2.0"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1::"),
        ("[2001:db8::6]:443", "2001:db8::"),
        ("::ffff:192.0.2.77", "192.0.2.0"),
        ("host.of.alice", None),
        ("", ""),
        (None, None),
    ],
)
def test_addresses(address, expected):
    """Of an address its network remains, of what is none nothing."""
    assert expected == HASHED.address(address)
    assert address == OPEN.address(address)
    assert DROPPED.address(address) in (None, "")


def test_pseudonyms():
    """The same for the same name and salt, whoever is asked; another with another salt."""
    assert "anon-c6f6ca6e8a1c6d1f"[:5] == HASHED.actor("alice")[:5]
    assert re.fullmatch("anon-[0-9a-f]{16}", HASHED.actor("alice"))
    assert HASHED.actor("alice") == Privacy(actors="hash", salt=SALT).actor("alice")
    assert 3 == len({HASHED.actor("alice"), HASHED.actor("bob"), Privacy(actors="hash", salt=SALT * 2).actor("alice")})
    assert None is HASHED.actor(None)
    assert None is DROPPED.actor("alice")


@pytest.mark.parametrize("fixture", [param.values[1] for param in FIXTURES])
@pytest.mark.parametrize("privacy", [HASHED, DROPPED])
def test_nobody_is_left_in_any_dialect(fixture, privacy):
    """In nothing that is kept of a delivery; and all else is understood as before."""
    before = delivered(fixture)
    after = redacted(before, privacy)
    assert not [name for name in PEOPLE if name.encode() in after.body]
    theirs, ours = parse(before), parse(after)
    assert (theirs.dialect, theirs.error) == (ours.dialect, ours.error)
    for was, kept in zip(theirs.events, ours.events, strict=True):
        changed = {"actor": kept.actor, "client_address": privacy.address(was.client_address)}
        assert kept == msgspec.structs.replace(was, **changed)
        is_nobody = was.actor in (None, "harbor#proxy-cache-service")
        assert kept.actor == was.actor if is_nobody else (kept.actor is None) == (privacy is DROPPED)


def test_the_same_person_in_different_registries():
    """Has the same pseudonym."""
    names = set()
    for dialect in ("distribution", "gitlab", "dockerhub"):
        headers, body = foreign.push(dialect, "team/app", "1.0", A, 1, NOW)
        delivery = msgspec.structs.replace(make_delivery(body), headers=headers)
        (event,) = parse(redacted(delivery, HASHED)).events
        names.add(event.actor)
    assert {HASHED.actor("alice")} == names


def test_what_nobody_knows_has_no_people_either():
    """Wherever any dialect has some."""
    body = json.dumps(
        {"what": 1, "sender": {"login": "alice", "email": "alice@example.com"}, "operator": "bob"}
    ).encode()
    kept = redacted(make_delivery(body), DROPPED)
    assert {"what": 1, "sender": {"login": None}, "operator": None} == json.loads(kept.body)
    assert b"no JSON of alice" == redacted(make_delivery(b"no JSON of alice"), DROPPED).body


@pytest.mark.parametrize(
    "body", [b'{"actor": 1e400}', b"[[[1]]]", b"1", b'{"events": 5}', b'{"events": [{"actor": [1]}]}', b"\xff"]
)
def test_nothing_odd_is_refused(body):
    """What cannot be understood is kept all the same."""
    assert redacted(make_delivery(body), HASHED).body


def test_without_it_nothing_is_touched():
    """Every byte is as it came."""
    delivery = make_delivery(b'{ "events" : [ ] }')
    assert delivery is redacted(delivery, OPEN)


def test_nothing_of_them_reaches_the_disk(tmp_path):
    """From the moment of receipt."""
    client = create_app(Settings(privacy=HASHED), Journal(tmp_path / "journal"), lambda: NOW).test_client()
    for number, dialect in enumerate(MAKERS):
        headers, body = foreign.push(dialect, "team/app", "1.0", A, number, NOW)
        assert 204 == client.post("/events", data=body, headers=headers).status_code
    written = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert written.count(b"team") >= len(MAKERS)
    assert not [name for name in PEOPLE if name.encode() in written]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('actors = "hash"', "needs a `salt`"),
        ('actors = "hash"\nsalt = "short"', "length"),
        ('actor = "hash"', "Did you mean `actors`"),
        ('addresses = "hash"', "addresses"),
    ],
)
def test_settings_that_are_wrong(tmp_path, text, expected):
    """Say what, and what to do."""
    file = tmp_path / "regstats.toml"
    file.write_text(f"[privacy]\n{text}\n")
    with pytest.raises(ConfigError, match=expected):
        load(file, {})


@pytest.fixture
def export(store, tmp_path, monkeypatch):
    fill(store)
    journalled(store, envelope(make_event(actor=None, addr="[2001:db8::7]:1", at=NOW - days(1))))
    monkeypatch.setenv("REGSTATS_DATA", str(store.root))
    monkeypatch.setenv("REGSTATS_NOW", NOW.isoformat())
    monkeypatch.chdir(tmp_path)

    def call(*arguments):
        result = CliRunner().invoke(main, ["export", *arguments])
        assert 0 == result.exit_code, result.output
        return result.stdout_bytes

    return call


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
@pytest.mark.parametrize("what", ["events", "pulls", "changes", "moves", "activity", "usage", "history", "anomalies"])
def test_an_export_without_people(export, tmp_path, form, what):
    """Rows, columns and all else are the same; so is who is the same."""
    (tmp_path / "regstats.toml").write_text(f'[privacy]\nsalt = "{SALT}"\n')
    masks = {"actor": HASHED.actor, "client_address": HASHED.address}
    plain, masked = (
        pq.read_table(io.BytesIO(answer)).to_pylist() if form == "parquet" else rows_of(form, answer)
        for answer in (
            export(what, "--format", form, *more) for more in ((), ("--hash-actors", "--truncate-addresses"))
        )
    )
    key = lambda row: json.dumps(row, sort_keys=True, default=str)  # noqa: E731
    expected = [
        {name: masks[name](value) if name in masks else value for name, value in row.items() if name != "reason"}
        for row in plain
    ]
    assert sorted(map(key, expected)) == sorted(map(key, masked))
    assert "alice" not in str(masked)


def test_pseudonyms_of_one_export_only(export):
    """Without a salt nobody can put two exports together."""
    first, second = (export("usage", "--hash-actors", "--format", "csv") for _ in range(2))
    assert first.count(b"anon-") == second.count(b"anon-") > 0
    assert first != second


def test_a_metric_as_lines(export):
    """Pulls and pushes are metrics where they are counted."""
    rows = [
        json.loads(line)
        for line in export("pulls", "--by", "actor", "--interval", "total", "--format", "jsonl").splitlines()
    ]
    assert {"actor", "pulls", "downloads", "version_checks", "requests"} == set(rows[0])
    assert b"rank" in export("top", "--since", "30d", "--format", "csv")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["deliveries", "--hash-actors"], "Export events instead"),
        (["--sql", "from pulls", "--hash-actors"], "--hash-actors is for views and metrics"),
        (["--sql", "from pulls", "--truncate-addresses"], "--truncate-addresses is for"),
        (["events", "--days", "3"], "days"),
        (["nonsense"], "is not one of"),
    ],
)
def test_what_cannot_be_exported_so(store, arguments, expected):
    """Says why."""
    result = CliRunner().invoke(main, ["export", *arguments, "--data", str(store.root)])
    assert 2 == result.exit_code
    assert expected in result.output


def test_people_who_are_excluded_are_known_by_their_names(store, tmp_path):
    """An export changes names only after all else is done."""
    journalled(store, envelope(make_event(actor="ci")), envelope(make_push()), envelope(make_event(actor="alice")))
    (tmp_path / "regstats.toml").write_text(f'[privacy]\nsalt = "{SALT}"\n[exclude]\nactors = ["ci"]\n')
    asked = ["pulls", "--hash-actors", "--format", "jsonl", "--actor", "alice"]
    result = CliRunner().invoke(
        main, ["export", *asked, "--data", str(store.root), "--config", str(tmp_path / "regstats.toml")]
    )
    assert [HASHED.actor("alice")] == [json.loads(line)["actor"] for line in result.stdout.splitlines()]
