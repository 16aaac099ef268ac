"""The architecture: data flows one way, so modules import only what stands above them."""

import ast
from pathlib import Path

import pytest

import regstats

ROOT = Path(regstats.__file__).parent
ORDER = """
    errors extras events addresses useragents names
    payloads.dialect payloads.cloudevents payloads.distribution payloads.gitlab payloads.harbor payloads.zot
    payloads.quay payloads.acr payloads.dockerhub payloads.aliyun payloads.github payloads.gitea payloads.artifactory
    payloads.nexus payloads.ecr payloads.gar payloads.harbor_audit payloads.dockerhub_csv payloads
    privacy agenda rules config
    database journal parts storage objects ledger store sealing
    accounting moves compact rebuild check
    logfiles importer logformats logged overlap accesslogs
    sample.registry sample.clients sample.company sample.days sample.stories sample sample.grown sample.__main__
    backends.protocol backends.patience backends.duck backends.sparksql backends.spark backends
    engine parameters metrics queries series stats merging
    terminal formats exports figures charts notebook briefing printing report
    logs monitoring requesting credentials session registry outbox delivery schedule alerts dispatch
    inventory engines plans workshop images listing usage pruning
    swarm kube deployment actions tips watch deployer
    totals senders access connections collector status
    answers openapi api badges assets views explore deployed pages web app upkeep server demo
    notebooks lab notebook_report
    findings registry_config symptoms received probe doctor
    history completion options reporting deploying imaging kinds configuring hosting diagnosing cli __main__ __init__
""".split()


def modules():
    names = {}
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        names[".".join(parts[:-1] if len(parts) > 1 and parts[-1] == "__init__" else parts)] = path
    return names


def imported(path):
    """The modules of this package that a module imports, wherever in its text."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        else:
            continue
        for name in names:
            if name.startswith("regstats."):
                yield name.removeprefix("regstats.")
            elif name == "regstats" and isinstance(node, ast.Import):
                yield "__init__"


def test_every_module_has_its_place():
    """A new module is put into the order, so that it is clear what it may use."""
    assert sorted(ORDER) == sorted(modules())


@pytest.mark.parametrize("name", ORDER)
def test_a_module_imports_only_what_stands_above_it(name):
    """No module knows one that is built on it."""
    known = set(ORDER)
    above = set(ORDER[: ORDER.index(name) + 1])
    assert set() == {module for module in imported(modules()[name]) if module in known and module not in above}
