import pytest
from werkzeug.security import generate_password_hash

from regstats.config import Read, Settings, Source, age_of, check_exposure, is_loopback, load
from regstats.errors import ConfigError


@pytest.fixture
def toml(tmp_path):
    def write(text):
        path = tmp_path / "regstats.toml"
        path.write_text(text)
        return path

    return write


def test_defaults_without_a_file(tmp_path, monkeypatch):
    """Nothing needs to be configured."""
    monkeypatch.chdir(tmp_path)
    assert Settings() == load(environ={})


def test_options_override_the_environment_and_that_the_file(toml):
    """The nearest to the person who typed it wins."""
    file = toml('port = 1111\nhost = "127.0.0.2"\ndata = "from-file"')
    settings = load(file, {"REGSTATS_PORT": "2222", "REGSTATS_DATA": "from-env"}, data="from-option", host=None)
    assert (2222, "127.0.0.2", "from-option") == (settings.port, settings.host, settings.data)


def test_the_settings_file_in_the_environment(toml):
    """Is taken unless another is named; and the present in the environment is no setting."""
    named = {"REGSTATS_CONFIG": str(toml("port = 1111")), "REGSTATS_NOW": "2026-11-24"}
    assert 1111 == load(environ=named).port
    with pytest.raises(ConfigError, match="Cannot read the settings file"):
        load(environ={"REGSTATS_CONFIG": "nosuch.toml"})


def test_lists_in_the_environment(toml):
    """Separated by commas."""
    settings = load(toml(""), {"REGSTATS_ALLOW": "10.0.0.0/8,192.0.2.7"})
    assert ["10.0.0.0/8", "192.0.2.7"] == settings.allow


def test_a_source_has_its_own_token_or_the_common_one(toml):
    """`[sources.NAME]` may say nothing more than that it exists."""
    settings = load(toml('token = "common"\n[sources.lab]\ntoken = "own"\n[sources.shop]'), {})
    assert ["common", "own", "common"] == [settings.source(name).token for name in ("default", "lab", "shop")]


@pytest.mark.parametrize(
    ("text", "environ", "message"),
    [
        ("prot = 1", {}, "unknown key `prot`. Did you mean `port`?"),
        ("[sources.lab]\ntokn = 1", {}, "[sources.lab]: unknown key `tokn`. Did you mean `token`?"),
        ("", {"REGSTATS_TOKN": "x"}, "unknown key `tokn`. Did you mean `token`?"),
        ('port = "many"', {}, "port"),
        ("port = 99999", {}, "port"),
        ('token = ""', {}, "token"),
        ("sources = 1", {}, "sources"),
        ("port = ", {}, "not valid TOML"),
        ('allow = ["10.0.0.0/33"]', {}, "`10.0.0.0/33` in allow is not a network"),
        ('trusted_proxies = ["proxy"]', {}, "`proxy` in trusted_proxies is not a network"),
        ('[sources.lab]\nallow = ["x"]', {}, "`x` in allow is not a network"),
        ("[sources.journal]", {}, "cannot be named `journal`"),
        ('[retention]\nevents = "5 years"', {}, "`5 years` in retention is not a time span such as 90d"),
        ('[retention]\nevents = "\u0665y"', {}, "is not a time span"),
        ('[read]\ntokn = "t"', {}, "[read]: unknown key `tokn`. Did you mean `token`?"),
        ("[read]\nuser = {}", {}, "[read]: unknown key `user`. Did you mean `users`?"),
        ('[read]\npublic = ["badges"]', {}, "read.public"),
        ('[read]\nregistry = "a b"', {}, "read.registry"),
        ("[read]\ncache = -1", {}, "read.cache"),
        ("[read]\nrate = -1", {}, "read.rate"),
        ("read = 1", {}, "read"),
        ('[read.users]\nalice = ""', {}, "read.users"),
        ('[read.users]\nalice = "scrypt:no$hash"', {}, "the password of `alice` in read.users begins like a hash"),
        ('only = "reader"', {}, "only"),
        ('[retention]\nevent = "5y"', {}, "[retention]: unknown key `event`. Did you mean `events`?"),
        ('[teams.pay]\nrepository = ["p"]', {}, "[teams.pay]: unknown key `repository`. Did you mean `repositories`?"),
        ('[teams.pay]\nactor = ["a"]', {}, "[teams.pay]: unknown key `actor`. Did you mean `actors`?"),
        ("[teams.pay]", {}, "a team has neither repositories nor actors"),
        ("[teams.pay]\nrepositories = []\nactors = []", {}, "a team has neither repositories nor actors"),
        ('[teams.""]\nactors = ["a"]', {}, "a team has no name; write [teams.NAME]"),
        ('[teams.pay]\nactors = "alice"', {}, "teams"),
        ('[team.pay]\nactors = ["alice"]', {}, "unknown key `team`. Did you mean `teams`?"),
        ("teams = 1", {}, "teams"),
        ("[teams]\npay = 1", {}, "teams"),
        ("", {"REGSTATS_TEAMS": "pay"}, "unknown key `teams`"),
    ],
)
def test_wrong_settings_are_named(toml, text, environ, message):
    """What is wrong, where, and what would be right."""
    with pytest.raises(ConfigError) as error:
        load(toml(text), environ)
    assert message in str(error.value)


def test_teams_are_in_the_order_of_the_file(toml):
    """Because of several that something belongs to, the first one counts; and a name may be anything."""
    settings = load(toml('[teams.zeta]\nrepositories = ["z/*"]\n[teams."a/b"]\nactors = ["alice", "ci-*"]'), {})
    assert [("zeta", "repositories z/*"), ("a/b", "actors alice, ci-*")] == [
        (name, str(team)) for name, team in settings.teams.items()
    ]


def test_a_file_that_was_named_must_be_there(tmp_path):
    """Only the default one may be missing."""
    with pytest.raises(ConfigError, match=r"Cannot read the settings file .*nosuch\.toml: No such file"):
        load(tmp_path / "nosuch.toml", {})


@pytest.mark.parametrize(("host", "expected"), [("127.0.0.1", True), ("127.8.9.1", True), ("::1", True),
                                                ("localhost", True), ("0.0.0.0", False), ("::", False),
                                                ("192.0.2.1", False), ("registry.example", False)])  # fmt: skip
def test_loopback(host, expected):
    """What only this machine can reach."""
    assert expected is is_loopback(host)


@pytest.mark.parametrize(
    "settings",
    [
        Settings(),
        Settings(host="0.0.0.0", token="t"),
        Settings(host="0.0.0.0", token="t", sources={"forge": Source(signing_secret="s")}),
        Settings(host="0.0.0.0", only="web", read=Read(token="t")),
        Settings(host="0.0.0.0", only="web", read=Read(users={"alice": "p"})),
        Settings(host="0.0.0.0", only="web", token="t"),
        Settings(host="0.0.0.0", only="collector", token="t"),
        Settings(host="127.0.0.2", only="web"),
    ],
)
def test_safe_addresses(settings):
    """Loopback may be open; any other address with a token is fine."""
    check_exposure(settings)


@pytest.mark.parametrize(("text", "days"), [("90d", 90), ("2w", 14), ("4y", 1461), ("0d", 0)])
def test_time_spans(text, days):
    """A year has 365 and a quarter days."""
    assert days == age_of(text).days


@pytest.mark.parametrize(
    "settings",
    [
        Settings(host="0.0.0.0"),
        Settings(host="0.0.0.0", read=Read(token="t")),
        Settings(host="0.0.0.0", read=Read(users={"alice": "p"})),
        Settings(host="0.0.0.0", only="collector", read=Read(token="t")),
        Settings(host="0.0.0.0", only="web"),
        Settings(host="0.0.0.0", only="web", read=Read(public=["badge", "api", "page"])),
        Settings(host="0.0.0.0", only="web", sources={"lab": Source(token="t")}),
    ],
)
def test_what_is_open_to_others_is_refused(settings):
    """Anybody could write the numbers, or read them."""
    with pytest.raises(ConfigError, match="a token is needed"):
        check_exposure(settings)


def test_a_hash_instead_of_a_password():
    """All that werkzeug makes are taken."""
    for method in ("scrypt", "pbkdf2", "pbkdf2:sha512:1"):
        hashed = generate_password_hash("secret", method)
        assert {"alice": hashed} == Read(users={"alice": hashed}).users
