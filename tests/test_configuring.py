"""What `regstats config` prints for registries, nginx and mirrors: it is what it says, whatever is chosen."""

import json
import re
import tomllib
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from regstats.cli import main

README = (Path(__file__).parents[1] / "README.md").read_text()
NGINX = ("nginx", "--allow-push", "10.0.0.0/8")
NASTY = ['a"b', "a\\", "a\\n", "a: b", "a #b", "{{ 7 * 7 }}", "{% raw %}", "- a", "'", "é", "😀", "$A `id`", "a" * 9999]
"""Text that means something in YAML, TOML, JSON, nginx, Jinja or a shell."""
UNSEEN = ["a\nb: c", "a\r", "a\tb", "\x1b[2J", "\x00", "a\u2028", "a\u202eb", "\ufeffa", "a\x7f", "a\x85", "", "\udcff"]


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch, tmp_path):
    """No settings but those of the test."""
    monkeypatch.delenv("REGSTATS_TOKEN", raising=False)
    monkeypatch.delenv("REGSTATS_CONFIG", raising=False)
    monkeypatch.chdir(tmp_path)


def asked(*options):
    return CliRunner().invoke(main, ["config", *options])


def printed(*options):
    done = asked(*options)
    assert 0 == done.exit_code, done.output
    return done.stdout


def parsed(*options):
    return yaml.safe_load(printed(*options))


def endpoint(*options):
    (one,) = parsed(*options)["notifications"]["endpoints"]
    return one


def test_the_readme_shows_the_same_endpoint():
    """What people copy from there, and what is printed, cannot part."""
    (block,) = re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)
    assert yaml.safe_load(block)["notifications"] == parsed("registry")["notifications"]


def test_the_registry_without_options():
    """It listens on loopback, asks for passwords, deletes, and does not write the token to its log."""
    text = parsed("registry")
    assert {"addr": "127.0.0.1:5000", "headers": {"X-Content-Type-Options": ["nosniff"]}} == {
        key: value for key, value in text["http"].items() if key != "secret"
    }
    assert {"htpasswd": {"realm": "registry", "path": "/etc/docker/registry/htpasswd"}} == text["auth"]
    assert {"enabled": True} == text["storage"]["delete"]
    assert {"level": "warn"} == text["log"]


def test_every_registry_has_a_secret_of_its_own():
    """Nobody can know it from another one."""
    first, second = parsed("registry")["http"]["secret"], parsed("registry")["http"]["secret"]
    assert first != second
    assert re.fullmatch(r"[0-9a-f]{64}", first)


def test_settings_say_where_the_collector_is(tmp_path):
    """Address and token are those that `regstats serve` takes; options come before them."""
    (tmp_path / "regstats.toml").write_text('host = "::1"\nport = 9000\ntoken = "common"\n[sources.lab]\ntoken = "own"')
    assert ("http://[::1]:9000/events", "Bearer common") == address_and_header("registry")
    assert ("http://[::1]:9000/events/lab", "Bearer own") == address_and_header("registry", "--source", "lab")
    assert ("http://[::1]:9000/events/mirror", "Bearer common") == address_and_header("mirror")
    options = ("--url", "https://c.example", "--token", "given", "--source", "lab")
    assert ("https://c.example/events/lab", "Bearer given") == address_and_header("registry", *options)


def address_and_header(*options):
    one = endpoint(*options)
    (header,) = one["headers"]["Authorization"]
    return one["url"], header


@pytest.mark.parametrize(
    ("url", "source", "expected"),
    [
        ("http://c:1", "default", "http://c:1/events"),
        ("http://c/", "default", "http://c/events"),
        ("http://c/events", "default", "http://c/events"),
        ("http://c/events/", "lab", "http://c/events/lab"),
        ("http://c/events/lab", "lab", "http://c/events/lab"),
        ("https://c/under/events", "lab", "https://c/under/events/lab"),
        ("http://c", "events", "http://c/events/events"),
        ("http://c", "a b%ü", "http://c/events/a%20b%25%C3%BC"),
    ],
)
def test_the_address_of_a_source(url, source, expected):
    """With or without the collector's path, and the name as it stands in an address."""
    assert expected == endpoint("registry", "--url", url, "--source", source)["url"]


def test_a_collector_that_listens_everywhere_is_reached_on_loopback(tmp_path):
    """0.0.0.0 is no address to send anything to."""
    (tmp_path / "regstats.toml").write_text('host = "0.0.0.0"\ntoken = "t"')
    assert "http://127.0.0.1:8080/events" == endpoint("registry")["url"]
    (tmp_path / "regstats.toml").write_text('host = "::"\ntoken = "t"')
    assert "http://[::1]:8080/events" == endpoint("registry")["url"]


def test_without_a_token_it_is_said_where_it_belongs():
    """On stderr: the rest may go to a file."""
    done = asked("registry")
    assert "write the collector's where YOUR-TOKEN stands" in done.stderr
    assert "YOUR-TOKEN" in done.stdout
    assert "" == asked("registry", "--token", "t").stderr


def test_a_source_that_signs_is_none_for_a_registry(tmp_path):
    """It could not do that, and would be refused for ever."""
    for text in ('signing_secret = "s"', 'signing_secret = "s"\ntoken = "t"'):
        (tmp_path / "regstats.toml").write_text(f"[sources.forge]\n{text}")
        assert "a registry cannot sign" in refused("registry", "--source", "forge")
        assert "a registry cannot sign" in refused("registry", "--source", "forge", "--token", "t")


def test_a_token_that_cannot_be_sent(tmp_path):
    """A line break in a header is none."""
    (tmp_path / "regstats.toml").write_text('token = "a\\nb"')
    assert "The token of the source 'default' is not one line" in refused("registry")


def test_the_piece_for_the_settings(tmp_path):
    """What is shown in the comment makes the collector know the source, by that token."""
    for source, token in [("mirror", "t"), ('a"b.c', 'x"\\ü')]:
        text = printed("mirror", "--source", source, "--token", token)
        lines = re.findall(r"^#   ((?:\[sources|token).*)", text, re.MULTILINE)
        assert {"sources": {source: {"token": token}}} == tomllib.loads("\n".join(lines))
    assert "[sources" not in printed("registry", "--token", "t")


def refused(*options):
    done = asked(*options)
    assert 2 == done.exit_code, done.output
    assert "" == done.stdout
    return done.stderr


@pytest.mark.parametrize("text", NASTY)
def test_text_is_text_in_yaml(text):
    """Whatever it is, it says nothing else."""
    plain = parsed("registry", "--token", "t")
    options = ("--token", text, "--storage", text, "--htpasswd", text, "--source", text)
    made = parsed("registry", *options)
    assert text == made["storage"]["filesystem"].pop("rootdirectory")
    assert text == made["auth"]["htpasswd"].pop("path")
    (one,) = made["notifications"]["endpoints"]
    assert {"Authorization": [f"Bearer {text}"]} == one["headers"]
    del plain["storage"]["filesystem"]["rootdirectory"], plain["auth"]["htpasswd"]["path"]
    assert without_addresses(plain) == without_addresses(made)
    assert text == parsed("mirror", "--storage", text)["storage"]["filesystem"]["rootdirectory"]


def without_addresses(text):
    """The same but for what differs by itself or was chosen."""
    del text["http"]["secret"], text["notifications"]["endpoints"][0]["url"]
    del text["notifications"]["endpoints"][0]["headers"]
    return text


@pytest.mark.parametrize("text", NASTY)
def test_text_that_hides_behind_a_comment_stays_in_it(text):
    """What is off is shown with what was chosen, and is still off."""
    assert "auth" not in parsed("registry", "--open", "--htpasswd", text)
    assert parsed("mirror", "--token", text).keys() == parsed("mirror").keys()


@pytest.mark.parametrize("text", UNSEEN)
@pytest.mark.parametrize("option", [("registry", "--token"), ("registry", "--storage"), ("registry", "--htpasswd"),
                                    ("registry", "--source"), ("registry", "--url"), ("registry", "--addr"),
                                    ("registry", "--debug"), ("mirror", "--storage"), ("mirror", "--token"),
                                    ("mirror", "--source"), ("mirror", "--upstream"), ("mirror", "--registry"),
                                    ("mirror", "--mirror-url"), ("mirror", "--addr"), (*NGINX, "--certificate"),
                                    (*NGINX, "--key"), (*NGINX, "--server-name"), (*NGINX, "--listen"),
                                    (*NGINX, "--upstream"), (*NGINX, "--trusted-proxy"), NGINX[:-1]])  # fmt: skip
def test_what_cannot_be_seen_is_refused(option, text):
    """A line break would begin another line of the configuration; and it is not shown to a terminal."""
    said = refused(*option, text)
    assert option[-1] in said
    assert not set("\x1b\u202e\u2028\x7f\x85") & set(said)


@pytest.mark.parametrize(
    "address", [
        "10.0.0.0/33", "10.0.0.1/8", "10.0.0", "300.1.1.1", "example.com", "all", "10.0.0.0/8; allow all",
        "::/129", "fe80::1%eth0", "1:2", "10.0.0.0/8 10.1.0.0/16", "unix:", "-1", "10.0.0.0/255.0.255.0",
    ],
)  # fmt: skip
def test_networks_that_are_none(address):
    """The wrong one is named, and what would be one."""
    for option in ("--allow-push", "--trusted-proxy"):
        said = refused(*NGINX, option, address)
        assert option in said
        assert address in said
    assert "Missing option '--allow-push'" in refused("nginx")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("10.0.0.0/8", "10.0.0.0/8"),
        ("192.0.2.7", "192.0.2.7"),
        ("192.0.2.7/32", "192.0.2.7"),
        ("2001:DB8::/32", "2001:db8::/32"),
        ("::1", "::1"),
        ("10.0.0.0/255.0.0.0", "10.0.0.0/8"),
        ("0.0.0.0/0", "0.0.0.0/0"),
    ],
)
def test_networks(given, expected):
    """IPv4 and IPv6, as nginx reads them."""
    text = printed("nginx", "--allow-push", given, "--trusted-proxy", given)
    assert [expected] == re.findall(r"^ *allow (.*);", text, re.MULTILINE)
    assert [expected] == re.findall(r"^ *set_real_ip_from (.*);", text, re.MULTILINE)


@pytest.mark.parametrize(
    "place", [
        "5000", ":5000", "127.0.0.1", "127.0.0.1:", "127.0.0.1:0", "127.0.0.1:65536", "127.0.0:80",
        "::1:80", "[::1]", "[::g]:80", "[127.0.0.1]:80", "a b:80", "a;b:80", "a/b:80", "[]:80",
        "127.0.0.1:80 ssl", "unix:/x", "a:٨٠", "a:80\n",
    ],
)  # fmt: skip
def test_places_that_are_none(place):
    """They would be something else in nginx or YAML."""
    for option in (("registry", "--addr"), ("registry", "--debug"), (*NGINX, "--listen"), (*NGINX, "--upstream")):
        assert "is not an address and a port" in refused(*option, place)


def test_places():
    """Names, IPv4, and IPv6, which is a list in YAML if it is not quoted."""
    for place in ("0.0.0.0:443", "[::1]:5000", "registry:5000", "registry.example:1"):
        assert place == parsed("registry", "--addr", place)["http"]["addr"]
        assert f"listen {place};" in printed(*NGINX, "--listen", place)
        assert f"server {place};" in printed(*NGINX, "--upstream", place)
    both = printed(*NGINX, "--listen", "0.0.0.0:80", "--listen", "[::]:80")
    assert ["0.0.0.0:80", "[::]:80"] == re.findall("^ *listen (.*);", both, re.MULTILINE)


@pytest.mark.parametrize(
    "url", [
        "c.example", "ftp://c", "http://", "http://u:p@c", "http://c?x=1", "http://c#x", 'http://c/"',
        "http://c/ x", "http://c:0", "http://c:99999", "http://[::g]", "http://1.2.3", "http://c/\\",
        "file:///etc/passwd",
    ],
)  # fmt: skip
def test_addresses_that_are_none(url):
    """Passwords in them would be shown to everybody who asks for them."""
    for option in (("registry", "--url"), ("mirror", "--upstream"), ("mirror", "--mirror-url")):
        assert "is not an address such as" in refused(*option, url)


@pytest.mark.parametrize("name", ["docker io", "a/b", "a;b", "[::1", "a:0", "a:b", "*", '"', "a]"])
def test_names_of_registries_that_are_none(name):
    """They are parts of paths, and stand in TOML."""
    assert "is not the name of a registry" in refused("mirror", "--client", "containerd", "--registry", name)


def test_debug_is_for_loopback():
    """Because it shows the token."""
    for place in ("0.0.0.0:5101", "[::]:5101", "192.0.2.1:5101", "registry.example:5101"):
        assert "shows the token" in refused("registry", "--debug", place)
    for place in ("127.0.0.1:5101", "[::1]:5101", "localhost:5101"):
        assert {"addr": place} == parsed("registry", "--debug", place)["http"]["debug"]


def test_the_log_is_in_the_format_of_the_readme():
    """What people copy from there, and what is printed, cannot part; without a file there is no log of its own."""
    (block,) = re.findall(r"```nginx\nlog_format registry (.*?)```", README, re.DOTALL)
    text = printed(*NGINX, "--access-log", '/a "b"', "--upstream", "127.0.0.1:5000")
    assert [block] == re.findall(r"^log_format registry-127-0-0-1-5000 (.*?;\n)", text, re.DOTALL | re.MULTILINE)
    assert 'access_log "/a \\"b\\"" registry-127-0-0-1-5000;' in text
    assert "log" not in re.sub(r"#.*", "", printed(*NGINX))
    assert "has a $ in it" in refused(*NGINX, "--access-log", "/a$b")


def test_a_certificate_has_a_key():
    """Neither is of use alone; their paths are whatever they are, but nginx would take $ for a variable."""
    assert "only of use together" in refused(*NGINX, "--certificate", "/c")
    assert "only of use together" in refused(*NGINX, "--key", "/k")
    assert "has a $ in it" in refused(*NGINX, "--certificate", "/c$uri", "--key", "/k")
    text = printed(*NGINX, "--certificate", '/a "b";\\', "--key", "/k")
    assert r'ssl_certificate "/a \"b\";\\";' in text
    assert "listen 127.0.0.1:8081 ssl;" in text


@pytest.mark.parametrize("name", ["a b", "a;b", "~^x", "a$b", "_", '"a"', "*", "a.*"])
def test_names_of_hosts_that_are_none(name):
    """Nginx knows patterns, and none is wanted here."""
    assert "is not the name of a host" in refused(*NGINX, "--server-name", name)
    assert "server_name *.example;" in printed(*NGINX, "--server-name", "*.example")


def test_what_clients_send_is_not_passed_on():
    """All that the registry believes is overwritten, and nothing is appended."""
    text = printed(*NGINX)
    said = dict(re.findall(r"^ *proxy_set_header (\S+) (\S+);", text, re.MULTILINE))
    assert {
        "Connection": '""',
        "Host": "$http_host",
        "X-Forwarded-For": "$remote_addr",
        "X-Real-IP": "$remote_addr",
        "X-Forwarded-Proto": "$scheme",
        "X-Forwarded-Host": '""',
        "Forwarded": '""',
    } == said


def test_docker_hub_is_what_is_mirrored_if_nobody_says():
    """Under its real address; others under their names."""
    assert {"remoteurl": "https://registry-1.docker.io"} == parsed("mirror")["proxy"]
    assert {"remoteurl": "https://quay.io"} == parsed("mirror", "--registry", "quay.io")["proxy"]
    assert {"remoteurl": "http://r:5000"} == parsed("mirror", "--upstream", "http://r:5000/")["proxy"]
    assert "cache" not in parsed("mirror")["storage"]


def test_a_registry_and_its_mirror_on_one_machine():
    """Nothing of theirs is the same: a mirror deletes after a week what it got, and would from the registry as well."""
    registry, mirror = parsed("registry"), parsed("mirror")
    assert registry["storage"]["filesystem"] != mirror["storage"]["filesystem"]
    assert registry["http"]["addr"] != mirror["http"]["addr"]
    assert endpoint("registry")["url"] != endpoint("mirror")["url"]


def test_dockerd():
    """JSON has no comments, so what is to be said is on stderr."""
    done = asked("mirror", "--client", "dockerd", "--addr", "[::1]:5001")
    assert {"registry-mirrors": ["http://[::1]:5001"]} == json.loads(done.stdout)
    assert "/etc/docker/daemon.json" in done.stderr
    assert "dockerd asks mirrors for images of docker.io only" in refused(
        "mirror", "--client", "dockerd", "--registry", "quay.io"
    )


def test_podman():
    """With a certificate nothing is insecure."""
    options = ("mirror", "--client", "podman")
    plain = {"location": "127.0.0.1:5001", "insecure": True}
    expected = {"prefix": "docker.io", "location": "docker.io", "mirror": [plain]}
    assert {"registry": [expected]} == tomllib.loads(printed(*options))
    made = tomllib.loads(printed(*options, "--registry", "r.example:5000", "--mirror-url", "https://m.example/cache"))
    expected = {"prefix": "r.example:5000", "location": "r.example:5000", "mirror": [{"location": "m.example/cache"}]}
    assert {"registry": [expected]} == made


def test_containerd():
    """And where the file belongs."""
    text = printed("mirror", "--client", "containerd", "--registry", "quay.io", "--mirror-url", "https://m.example")
    host = {"https://m.example": {"capabilities": ["pull", "resolve"]}}
    assert {"server": "https://quay.io", "host": host} == tomllib.loads(text)
    assert "/etc/containerd/certs.d/quay.io/hosts.toml" in text


def test_clients_need_no_token():
    """So nothing is said of it."""
    for client in ("podman", "containerd"):
        assert "" == asked("mirror", "--client", client).stderr
