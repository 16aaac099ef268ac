"""Programs that tests start: dockerd and podman's service, each with images of its own, and nginx."""

import hashlib
import io
import json
import os
import shutil
import subprocess
import tarfile
import tempfile
from contextlib import contextmanager
from pathlib import Path

import pytest
from servers import HOST, PATIENCE, free_port, listens, stop, wait_until


def needs(*programs):
    """Skips a test where a program is not installed."""
    missing = [program for program in programs if shutil.which(program) is None]
    if missing:
        pytest.skip(f"{' and '.join(missing)} not installed")


def run(*command, **environment):
    """A client's command; it must succeed."""
    done = subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, f"{command}: {done.stderr}"
    return done.stdout


@contextmanager
def daemon(log, *command, **environment):
    """A server, until the end of the block."""
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, env=os.environ | environment)
    try:
        yield
    finally:
        stop(process)


@contextmanager
def short_folder():
    """A folder for servers whose sockets lie deep in it: a socket's path may have 107 characters."""
    with tempfile.TemporaryDirectory(prefix="rs-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)
        mounts = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
        for mount in reversed([mount for mount in mounts if mount.startswith(folder)]):  # of a server that failed
            subprocess.run(["umount", "--lazy", mount], check=True)


@contextmanager
def dockerd(folder, **settings):
    """A real one with such settings, too, until the end of the block; its address."""
    needs("dockerd", "docker", "containerd")
    host = f"unix://{folder}/d.sock"
    (folder / "daemon.json").write_text(json.dumps(settings | {
        "data-root": f"{folder}/data", "exec-root": f"{folder}/exec", "pidfile": f"{folder}/pid", "hosts": [host],
        "storage-driver": "vfs", "bridge": "none", "iptables": False, "ip6tables": False, "ip-masq": False,
        "ip-forward": False, "userland-proxy": False, "insecure-registries": ["127.0.0.0/8"],
    }))  # fmt: skip

    def is_up():
        return subprocess.run(["docker", "-H", host, "version"], capture_output=True).returncode == 0

    with daemon(folder / "log", "dockerd", "--config-file", str(folder / "daemon.json")):
        wait_until(is_up, "dockerd")
        yield host


@contextmanager
def podman_service(folder, registry):
    """The service of podman, with images of its own, and a registry that it may ask without TLS; its address."""
    needs("podman")
    socket, environment = folder / "p.sock", of_podman(folder, without_tls(registry))
    with daemon(folder / "log", "podman", "system", "service", "--time", "0", f"unix://{socket}", **environment):
        wait_until(socket.exists, "podman's service")
        yield f"unix://{socket}"


def without_tls(registry):
    """What podman has to know of a registry that has no certificate."""
    return f'[[registry]]\nlocation="{registry}"\ninsecure=true\n'


def of_podman(folder, registries):
    """Variables that give podman images of its own in a folder, and such a registries.conf."""
    (folder / "storage.conf").write_text(
        f'[storage]\ndriver="vfs"\ngraphroot="{folder}/podman"\nrunroot="{folder}/podman-run"\n'
    )
    (folder / "registries.conf").write_text(registries)
    (folder / "containers.conf").write_text(
        '[engine]\ncgroup_manager="cgroupfs"\nevents_logger="file"\n[network]\nnetwork_backend="cni"\n'
    )
    names = {
        "CONTAINERS_STORAGE_CONF": "storage",
        "CONTAINERS_REGISTRIES_CONF": "registries",
        "CONTAINERS_CONF": "containers",
    }
    return {name: str(folder / f"{file}.conf") for name, file in names.items()}


def archive(names):
    """Images as `docker save` writes them, each with a layer of its own."""
    content, listed = io.BytesIO(), []
    with tarfile.open(fileobj=content, mode="w") as whole:

        def add(name, data):
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            whole.addfile(entry, io.BytesIO(data))

        for number, name in enumerate(names):
            layer = io.BytesIO()
            with tarfile.open(fileobj=layer, mode="w") as files:
                entry = tarfile.TarInfo(f"file-{number}")
                entry.size = 2000
                files.addfile(entry, io.BytesIO(bytes([number]) * 2000))
            diff_id = hashlib.sha256(layer.getvalue()).hexdigest()
            config = json.dumps({
                "architecture": "amd64", "os": "linux", "config": {}, "created": "2026-11-24T00:00:00Z",
                "history": [{"created": "2026-11-24T00:00:00Z", "created_by": name}],
                "rootfs": {"type": "layers", "diff_ids": [f"sha256:{diff_id}"]},
            }).encode()  # fmt: skip
            add(f"{diff_id}/layer.tar", layer.getvalue())
            its = f"{hashlib.sha256(config).hexdigest()}.json"
            add(its, config)
            listed.append({"Config": its, "RepoTags": [name], "Layers": [f"{diff_id}/layer.tar"]})
        add("manifest.json", json.dumps(listed).encode())
    return content.getvalue()


NGINX_TEMPORARY = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")


@contextmanager
def nginx_of(folder, location):
    """Nginx that does this with every request; its port."""
    needs("nginx")
    port = free_port()
    place = folder / f"nginx-{port}"
    place.mkdir()
    temporary = " ".join(
        f"{kind}_temp_path {place}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (place / "nginx.conf").write_text(
        f"daemon off; pid {place}/pid; error_log {place}/error.log; events {{}}\n"
        f"http {{ access_log off; {temporary} client_max_body_size 0;\n"
        f"server {{ listen {HOST}:{port}; location / {{ {location} }} }} }}\n"
    )
    with daemon(place / "log", "nginx", "-e", str(place / "error.log"), "-c", str(place / "nginx.conf")):
        wait_until(lambda: listens(port), "nginx")
        yield port
