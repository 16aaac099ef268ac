"""What `regstats config` prints to run regstats itself: units of systemd, images, Kubernetes."""

import configparser
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
import venv
import zipfile
from pathlib import Path

import kubernetes_validate
import pytest
import yaml
from click.testing import CliRunner

from regstats import config
from regstats.cli import main

ROOT = Path(__file__).parents[1]
NASTY = [
    "a b",
    'a"b',
    "a\\",
    "a\nUser=root",
    "$HOME",
    "%h",
    "`id`",
    "a;b",
    "a#b",
    "{{ 7 * 7 }}",
    "",
    "é",
    "a: b",
    "../x",
]
"""Text that means something in a unit, a Containerfile, YAML, Jinja or a shell."""


def asked(*options):
    return CliRunner().invoke(main, ["config", *map(str, options)])


def printed(*options):
    done = asked(*options)
    assert 0 == done.exit_code, done.output
    return done.stdout


class _Repeated(dict):
    """A key may stand several times in a unit."""

    def __setitem__(self, key, value):
        super().__setitem__(key, [*self.get(key, []), *value] if isinstance(value, list) else value)


def unit(*options):
    parser = configparser.ConfigParser(interpolation=None, strict=False, dict_type=_Repeated, delimiters="=")
    parser.optionxform = str
    parser.read_string(printed("systemd", *options))
    return parser["Service"]


def test_the_unit_runs_this_program_with_settings_that_only_root_reads():
    service = unit()
    assert "regstats.toml:/etc/regstats/regstats.toml" == service["LoadCredential"]
    program, *arguments = shlex.split(service["ExecStart"])
    assert str(Path(sys.executable).with_name("regstats")) == program
    assert ["serve", "--config", "${CREDENTIALS_DIRECTORY}/regstats.toml", "--data", "/var/lib/regstats"] == arguments
    assert ("regstats", "regstats", "0750") == tuple(
        service[key] for key in ("User", "StateDirectory", "StateDirectoryMode")
    )


def test_a_store_elsewhere_may_be_written_to():
    service = unit("--data", "/srv/store", "--user", "counter", "--config", "/srv/r.toml", "--program", "/opt/r")
    assert "/srv/store" == service["ReadWritePaths"]
    assert "StateDirectory" not in service
    assert "counter" == service["User"]
    assert service["ExecStart"].startswith("/opt/r serve ")
    assert service["ExecStart"].endswith(" --data /srv/store")


@pytest.mark.parametrize("nasty", NASTY)
@pytest.mark.parametrize(
    "option",
    ["systemd --data", "systemd --config", "systemd --user", "systemd --program", "container --base",
     "kubernetes --name", "kubernetes --image", "kubernetes --size", "kubernetes --storage-class"],
)  # fmt: skip
def test_what_would_have_to_be_quoted_is_refused(option, nasty):
    """Nobody can put another line into what is printed, and a path is never another one than was meant."""
    done = asked(*option.split(), nasty)
    assert 2 == done.exit_code
    assert "Invalid value" in done.output
    assert "is not" in done.output


def documents(*options):
    return list(yaml.safe_load_all(printed("kubernetes", *options)))


@pytest.mark.parametrize("options", [(), ("--storage-class", "yes", "--name", "null", "--size", "1Ti")])
@pytest.mark.parametrize("version", ["1.31", "1.37"])
def test_kubernetes_understands_all_of_it(options, version):
    """By its own schemas, which know every key; a name that YAML takes for something else stays a name."""
    found = documents(*options)
    for document in found:
        assert kubernetes_validate.validate(document, version, strict=True)
    assert ["Secret", "Service", "StatefulSet"] == [document["kind"] for document in found]
    assert {options[3] if options else "regstats"} == {document["metadata"]["name"] for document in found}


def test_a_key_that_there_is_not_is_found():
    """The test before this one can fail."""
    service = documents()[1]
    service["spec"]["portz"] = []
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(service, "1.37", strict=True)


def test_the_pod_reads_the_settings_and_writes_to_the_volume(tmp_path, monkeypatch):
    """What it mounts is where it looks."""
    secret, service, workload = documents("--image", "registry.example:5000/team/regstats:1@sha256:" + "a" * 64)
    (container,) = workload["spec"]["template"]["spec"]["containers"]
    mounted = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    environment = {one["name"]: one["value"] for one in container["env"]}
    assert f"{mounted['settings']}/regstats.toml" == environment.pop("REGSTATS_CONFIG")
    assert mounted["data"] == environment["REGSTATS_DATA"]
    assert "registry.example:5000/team/regstats:1@sha256:" + "a" * 64 == container["image"]
    assert service["spec"]["selector"].items() <= workload["spec"]["template"]["metadata"]["labels"].items()

    (tmp_path / "regstats.toml").write_text(secret["stringData"]["regstats.toml"])
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    settings = config.load(tmp_path / "regstats.toml")
    config.check_exposure(settings)
    assert {port["containerPort"] for port in container["ports"]} == {settings.port}
    assert 48 == len(settings.token)


def test_every_cluster_has_a_token_of_its_own():
    first, second = (documents()[0]["stringData"]["regstats.toml"] for _ in range(2))
    assert first != second


def test_settings_go_there_as_they_are(tmp_path):
    """Whatever they are made of, and only if the collector would take them."""
    text = '# é "quoted": - {{ x }}\ntoken = "a\\tb"\n\n[sources.lab]\n\ttoken = \'%$`id`\'\n'
    (tmp_path / "r.toml").write_text(text)
    given = documents("--config", tmp_path / "r.toml")[0]["stringData"]["regstats.toml"]
    assert tomllib.loads(text) == tomllib.loads(given)
    (tmp_path / "r.toml").write_text("tokn = 'a'\n")
    assert "token" in asked("kubernetes", "--config", tmp_path / "r.toml").output
    (tmp_path / "r.toml").write_text("port = 9000\n")
    assert "so a token is needed" in asked("kubernetes", "--config", tmp_path / "r.toml").output
    (tmp_path / "r.toml").write_text("token = 'a\u2028b'\n")
    assert "Line 1" in str(asked("kubernetes", "--config", tmp_path / "r.toml").output)


def instructions(text):
    """Of a Containerfile: each as a word and the rest."""
    lines = re.sub(r"^#.*\n|\\\n", "", text, flags=re.MULTILINE).splitlines()
    return [tuple(line.split(None, 1)) for line in lines if line.strip()]


def test_the_image_runs_the_collector_as_nobody():
    text = printed("container", "--base", "registry.example/python:3.13", "--extra", "lab", "--extra", "doctor")
    said = dict(instructions(text))
    assert "registry.example/python:3.13" == said["FROM"]
    assert "10001:10001" == said["USER"]
    assert ('["regstats"]', '["serve"]') == (said["ENTRYPOINT"], said["CMD"])
    assert '".[doctor,lab]"' in text
    environment = dict(pair.split("=", 1) for pair in shlex.split(said["ENV"]))
    assert said["VOLUME"] == environment["REGSTATS_DATA"]
    assert "0.0.0.0" == environment["REGSTATS_HOST"]


def test_every_extra_can_be_in_the_image():
    """Those that are not for tests."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    (choices,) = re.findall(r"--extra \[(.*?)\]", asked("container", "--help").output)
    assert sorted(extras.keys() - {"test", "all"}) == choices.split("|")


@pytest.mark.slow
def test_what_the_image_is_made_of_is_all_that_is_needed(tmp_path):
    """No base image can be had here: its steps are done in a directory, and pip may get nothing from elsewhere."""
    source, target = tmp_path / "src", tmp_path / "opt"
    source.mkdir()
    for word, rest in instructions(printed("container")):
        if word == "COPY" and not rest.startswith("--from"):
            *names, to = rest.split()
            for name in names:
                copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
                copy(ROOT / name, source / to / (name if to == "./" else ""))
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel", "--quiet", "--no-deps"]
    subprocess.run([*pip, "--no-build-isolation", "--wheel-dir", tmp_path, source], check=True)
    (wheel,) = tmp_path.glob("*.whl")
    venv.create(target, with_pip=False, system_site_packages=False)
    (packages,) = target.glob("lib/python*/site-packages")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(packages)
    here = next(path for path in map(Path, sys.path) if (path / "duckdb").is_dir())
    (packages / "others.pth").write_text(f"{here}\n")
    run = [
        target / "bin" / "python",
        "-P",
        "-c",
        "import regstats, sys; print(regstats.__file__); print(regstats.open().path)",
    ]
    assert str(packages) in subprocess.run(run, capture_output=True, text=True, cwd=tmp_path).stdout.splitlines()[0]
