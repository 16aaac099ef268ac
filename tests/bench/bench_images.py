"""Many images at once: regstats beside a loop of skopeo, and beside the loop of docker commands that people write.

Real registries and a real dockerd on loopback. Each way in turn sends the same images to a registry that is empty; then
it is looked whether all of them are there.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import docker
import reports
from contents import CONFIG, Contents
from distribution import running
from engines import archive, dockerd, short_folder
from makers import MANIFEST

REGSTATS = [sys.executable, "-m", "regstats", "images"]
DOCKER_LOOP = 'for i in $IMAGES; do docker tag "$i" "$AT/$i" && docker push -q "$AT/$i" && docker rmi "$AT/$i"; done'
SKOPEO_LOOP = (
    'for i in $IMAGES; do skopeo copy -q --all --src-tls-verify=false --dest-tls-verify=false '
    '"docker://$FROM/$i" "docker://$AT/$i"; done'
)  # fmt: skip


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--images", type=int, default=50)
    parser.add_argument("--size", type=int, default=200_000, help="Bytes of a layer of its own; another one is shared.")
    parser.add_argument("--tags", type=int, default=1000, help="In the registry that is looked through.")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args(argv)
    programs = [("skopeo", "--version"), ("dockerd", "--version"), ("docker-registry", "--version")]
    where = reports.machine("requests", "docker", programs=programs)
    with tempfile.TemporaryDirectory() as folder, short_folder() as engine:
        told = {"copy": copied(options, Path(folder)), "push": pushed(options, Path(folder), engine)}
        told["look"] = looked(options, Path(folder))
    reports.tell(REPORT.format(where=where, **vars(options), **told), options.output)


def ways(options, make):
    """A table: seconds of each way, each in turn."""
    times = {name: [] for name in make}
    for number in range(options.rounds):
        for name in reports.turned(list(make), number):
            times[name].append(make[name]())
    first = next(iter(times.values()))
    rows = [(name, reports.spread(some, 1), f"{reports.median(first) / reports.median(some):.1f}")
            for name, some in times.items()]  # fmt: skip
    return reports.table(["way", "seconds, median (range)", "times as fast as the loop"], rows)


def timed(options, folder, command, **environment):
    """Seconds that a command takes to fill a registry that is empty."""
    with tempfile.TemporaryDirectory(dir=folder) as fresh, running(Path(fresh) / "registry") as registry:
        full = [registry.address if word == "AT" else word for word in command]
        began = time.monotonic()
        subprocess.run(full, env=os.environ | environment | {"AT": registry.address}, check=True, capture_output=True)
        seconds = time.monotonic() - began
        names = set(registry.manifests_written())
        assert {f"team/app-{number}:1" for number in range(options.images)} <= names
    return seconds


def copied(options, folder):
    """From registry to registry."""
    names = [f"team/app-{number}:1" for number in range(options.images)]
    with running(folder / "source") as source:
        put = Contents(source.address)
        for number, name in enumerate(names):
            fill(put, name.partition(":")[0], "1", number, options.size)
        environment = {"FROM": source.address, "IMAGES": " ".join(names)}
        ours = [*REGSTATS, "copy", "team/*", "--to", "AT", "--registry", source.address, "--yes"]
        go = partial(timed, options, folder)
        return ways(options, {
            "a loop of `skopeo copy`": partial(go, ["bash", "-ec", SKOPEO_LOOP], **environment),
            "`images copy --jobs 1`": partial(go, [*ours, "--jobs", "1"]),
            "`images copy --jobs 8`": partial(go, [*ours, "--jobs", "8"]),
        })  # fmt: skip


def fill(put, repository, tag, number, size):
    """An image with a layer that all have, and one of its own."""
    layers = [b"shared" * (size // 6), bytes([number % 256, number // 256]) * (size // 2)]
    config = {"architecture": "amd64", "os": "linux", "number": number}
    blobs = [put.blob(repository, layer) for layer in layers]
    made = {"schemaVersion": 2, "config": put.blob(repository, json.dumps(config).encode(), CONFIG), "layers": blobs}
    put.put(repository, tag, MANIFEST, made | {"mediaType": MANIFEST})


def pushed(options, folder, engine):
    """From dockerd to a registry."""
    names = [f"team/app-{number}:1" for number in range(options.images)]
    with dockerd(engine) as host:
        client = docker.DockerClient(base_url=host)
        list(client.api.load_image(archive(names)))
        client.close()
        environment = {"DOCKER_HOST": host, "IMAGES": " ".join(names)}
        go = partial(timed, options, folder)
        ours = [*REGSTATS, "push", "--all", "--registry", "AT", "--yes"]
        return ways(options, {
            "a loop of `docker tag`, `push`, `rmi`": partial(go, ["bash", "-ec", DOCKER_LOOP], **environment),
            "`images push --jobs 1`": partial(go, [*ours, "--jobs", "1"], **environment),
            "`images push --jobs 8`": partial(go, [*ours, "--jobs", "8"], **environment),
        })  # fmt: skip


def looked(options, folder):
    """How long it takes to see what is there, and what can go."""
    with running(folder / "large") as registry:
        put = Contents(registry.address)
        for number in range(options.tags):
            put.image(f"team/app-{number % 20}", f"1.{number}", str(number))
        asked = ["--registry", registry.address, "--jobs", "8", "--data", str(folder / "none")]
        commands = {
            "`images ls --brief`": ["ls", "--brief", *asked],
            "`images ls`": ["ls", *asked],
            "`images prune --keep-last 3`, planned": ["prune", "--keep-last", "3", *asked],
        }
        times = {name: [] for name in commands}
        for number in range(options.rounds):
            for name in reports.turned(list(commands), number):
                began = time.monotonic()
                subprocess.run([*REGSTATS, *commands[name]], check=True, capture_output=True)
                times[name].append(time.monotonic() - began)
    return reports.table(
        ["command", "seconds, median (range)"], [(name, reports.spread(some, 1)) for name, some in times.items()]
    )


REPORT = """\
# Many images at once

Measured by `tests/bench/bench_images.py`, {rounds} rounds, each way in turn, with real registries on loopback; each way
begins with an empty registry, and all images are there afterwards.

## {images} images from registry to registry

Each has a layer of {size:,} bytes that all have, and one of its own.

{copy}

## {images} images from dockerd to a registry

{push}

## {tags:,} tags in a registry, in 20 repositories

{look}

    {where}
"""


if __name__ == "__main__":
    main()
